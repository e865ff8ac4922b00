// A PKCS#11 module for tests that passes every call on to another module (STRONGROOM_FAULTY_TARGET) and fails, hangs or
// denies a mechanism when it is told to.
#pragma once

namespace strongroom::roots::testing {

inline constexpr unsigned long kDeviceError = 0x30;  // CKR_DEVICE_ERROR
inline constexpr unsigned long kGeneralError = 0x5;  // CKR_GENERAL_ERROR

// A fault of one call, whatever its function is, counted from the last reset().
struct CallFault {
  unsigned number;
  unsigned long value;
  bool after;                   // passed on first
  bool sticky;                  // and every later call, unpassed
  void (*met)(void* argument);  // null, or what else happens then
  void* argument;
};

struct FaultyControl {
  void (*fail)(const char* function, unsigned long value,
               int times);  // the next calls answer `value`, unpassed
  void (*fail_after)(const char* function, unsigned long value,
                     int times);       // passed on first, when it succeeds
  void (*hang)(const char* function);  // the next call, until release()
  void (*release)();
  void (*await_hang)();  // until a call hangs
  void (*hide)(unsigned long mechanism, unsigned long answer);
  void (*protect)(unsigned long value);  // C_CreateObject of a token object answers it, unless it is 0
  unsigned (*calls)(const char* function);
  void (*set_flags)(unsigned long set, unsigned long clear);  // of CK_TOKEN_INFO
  void (*outgrow)();                                          // a list of slots never fits its buffer
  // Opens a descriptor at the next C_Initialize and closes its number at every C_Finalize after it.
  void (*close_again)();
  unsigned long (*finalise)();  // C_Finalize by other code of this process
  void (*fail_call)(const CallFault& fault);
  // From now on every call answers `value`, unpassed, while `powered` says no.
  void (*power_by)(bool (*powered)(void* argument), void* argument, unsigned long value);
  unsigned (*log)(const char** names, unsigned count_max);  // how many calls there were, and their names
  void (*reset)();
};

}  // namespace strongroom::roots::testing
