// A PKCS#11 module for tests that passes every call on to another module (STRONGROOM_FAULTY_TARGET) and fails, hangs or
// denies a mechanism when it is told to.
#pragma once

namespace strongroom::roots::testing {

inline constexpr unsigned long kDeviceError = 0x30;  // CKR_DEVICE_ERROR

struct FaultyControl {
  void (*fail)(const char* function, unsigned long value,
               int times);  // the next calls answer `value`, unpassed
  void (*fail_after)(const char* function, unsigned long value,
                     int times);       // passed on first, when it succeeds
  void (*hang)(const char* function);  // the next call, until release()
  void (*release)();
  void (*await_hang)();  // until a call hangs
  void (*hide)(unsigned long mechanism);
  void (*protect)(unsigned long value);  // C_CreateObject of a token object answers it, unless it is 0
  unsigned (*calls)(const char* function);
  void (*set_flags)(unsigned long set, unsigned long clear);  // of CK_TOKEN_INFO
  void (*outgrow)();                                          // a list of slots never fits its buffer
  // Opens a descriptor at the next C_Initialize and closes its number at every C_Finalize after it.
  void (*close_again)();
  unsigned long (*finalise)();  // C_Finalize by other code of this process
  void (*reset)();
};

}  // namespace strongroom::roots::testing
