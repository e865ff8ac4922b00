#include "faulty_module.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <p11-kit/pkcs11.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <type_traits>
#include <vector>

namespace {

using strongroom::roots::testing::CallFault;
using strongroom::roots::testing::FaultyControl;

struct Fault {
  unsigned long value = 0;
  int times = 0;
  bool after = false;
};

std::mutex mutex;
std::condition_variable changed;
std::map<std::string, Fault> faults;
std::map<std::string, unsigned> counts;
std::map<CK_MECHANISM_TYPE, CK_RV> hidden;  // what C_GetMechanismInfo answers
std::string hang_in;
bool hanging = false;
unsigned long protection = 0;
bool closes_again = false;
int descriptor = -1;
unsigned long flags_set = 0;
unsigned long flags_cleared = 0;
bool outgrown = false;
std::vector<const char*> call_log;
CallFault call_fault{};
bool (*is_powered)(void*) = nullptr;
void* power_argument = nullptr;
unsigned long power_value = 0;

CK_FUNCTION_LIST* target = nullptr;
CK_FUNCTION_LIST list;

// True when the call is to answer `value` without being passed on.
bool before(const char* name, unsigned long& value) {
  std::unique_lock lock(mutex);
  ++counts[name];
  call_log.push_back(name);
  if (is_powered != nullptr && !is_powered(power_argument)) {
    value = power_value;
    return true;
  }
  const unsigned number = static_cast<unsigned>(call_log.size());
  const bool is_met = call_fault.number == number && !call_fault.after;
  const bool is_past = call_fault.sticky && number > call_fault.number;
  if (call_fault.number != 0 && (is_met || is_past)) {
    if (is_met && call_fault.met != nullptr) call_fault.met(call_fault.argument);
    value = call_fault.value;
    return true;
  }
  if (closes_again && descriptor < 0 && std::strcmp(name, "C_Initialize") == 0)
    descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (descriptor >= 0 && std::strcmp(name, "C_Finalize") == 0) close(descriptor);
  if (hang_in == name) {
    hanging = true;
    changed.notify_all();
    changed.wait(lock, [name] { return hang_in != name; });
    hanging = false;
  }
  const auto fault = faults.find(name);
  if (fault == faults.end() || fault->second.times == 0 || fault->second.after) return false;
  --fault->second.times;
  value = fault->second.value;
  return true;
}

unsigned long after(const char* name, unsigned long value) {
  const std::lock_guard lock(mutex);
  if (call_fault.after && call_fault.number == call_log.size()) {
    if (call_fault.met != nullptr) call_fault.met(call_fault.argument);
    return call_fault.value;
  }
  const auto fault = faults.find(name);
  if (value != CKR_OK || fault == faults.end() || fault->second.times == 0 || !fault->second.after)
    return value;
  --fault->second.times;
  return fault->second.value;
}

bool is_denied(...) { return false; }
bool is_denied(CK_SESSION_HANDLE, CK_ATTRIBUTE* attributes, CK_ULONG count, CK_OBJECT_HANDLE*) {
  const std::lock_guard lock(mutex);
  return protection != 0 && std::any_of(attributes, attributes + count, [](const CK_ATTRIBUTE& attribute) {
           return attribute.type == CKA_TOKEN && *static_cast<const CK_BBOOL*>(attribute.pValue) == CK_TRUE;
         });
}

void change_answer(unsigned long& /*value*/, ...) {}
void change_answer(unsigned long& value, CK_SLOT_ID, CK_MECHANISM_TYPE mechanism, CK_MECHANISM_INFO*) {
  const std::lock_guard lock(mutex);
  if (const auto answer = hidden.find(mechanism); answer != hidden.end()) value = answer->second;
}
void change_answer(unsigned long& value, CK_SLOT_ID, CK_MECHANISM_TYPE* mechanisms, CK_ULONG* count) {
  const std::lock_guard lock(mutex);
  if (value != CKR_OK || mechanisms == nullptr) return;
  const auto is_hidden = [](CK_MECHANISM_TYPE one) { return hidden.contains(one); };
  *count = static_cast<CK_ULONG>(std::remove_if(mechanisms, mechanisms + *count, is_hidden) - mechanisms);
}
void change_answer(unsigned long& value, CK_SLOT_ID, CK_TOKEN_INFO* info) {
  const std::lock_guard lock(mutex);
  if (value == CKR_OK) info->flags = (info->flags | flags_set) & ~flags_cleared;
}

void change_answer(unsigned long& value, CK_BBOOL, CK_SLOT_ID* slots, CK_ULONG*) {
  const std::lock_guard lock(mutex);
  if (slots != nullptr && outgrown) value = CKR_BUFFER_TOO_SMALL;
}

template <auto Member, const char* Name>
struct Wrapper;
template <typename... Arguments, CK_RV (*_CK_FUNCTION_LIST::*Member)(Arguments...), const char* Name>
struct Wrapper<Member, Name> {
  static CK_RV call(Arguments... arguments) {
    CK_RV value = CKR_OK;
    if (before(Name, value)) return value;
    if (is_denied(arguments...)) return protection;
    value = (target->*Member)(arguments...);
    change_answer(value, arguments...);
    return after(Name, value);
  }
};

#define WRAP(function)                                                                                  \
  {                                                                                                     \
    static constexpr char name[] = #function;                                                           \
    if (target->function != nullptr) list.function = Wrapper<&_CK_FUNCTION_LIST::function, name>::call; \
  }

CK_RV get_function_list(CK_FUNCTION_LIST** out);

bool load() {
  const char* path = std::getenv("STRONGROOM_FAULTY_TARGET");
  void* library = path != nullptr ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
  void* symbol = library != nullptr ? dlsym(library, "C_GetFunctionList") : nullptr;
  if (symbol == nullptr || reinterpret_cast<CK_C_GetFunctionList>(symbol)(&target) != CKR_OK) return false;
  list = *target;
  list.C_GetFunctionList = get_function_list;
  WRAP(C_Initialize)
  WRAP(C_Finalize)
  WRAP(C_GetSlotList)
  WRAP(C_GetTokenInfo)
  WRAP(C_GetMechanismList)
  WRAP(C_GetMechanismInfo)
  WRAP(C_InitToken)
  WRAP(C_InitPIN)
  WRAP(C_OpenSession)
  WRAP(C_CloseSession)
  WRAP(C_Login)
  WRAP(C_Logout)
  WRAP(C_CreateObject)
  WRAP(C_DestroyObject)
  WRAP(C_GetAttributeValue)
  WRAP(C_FindObjectsInit)
  WRAP(C_FindObjects)
  WRAP(C_FindObjectsFinal)
  WRAP(C_DecryptInit)
  WRAP(C_Decrypt)
  WRAP(C_SignInit)
  WRAP(C_Sign)
  WRAP(C_GenerateKey)
  WRAP(C_GenerateKeyPair)
  WRAP(C_WrapKey)
  WRAP(C_UnwrapKey)
  return true;
}

CK_RV get_function_list(CK_FUNCTION_LIST** out) {
  static const bool loaded = load();
  if (!loaded) return CKR_GENERAL_ERROR;
  *out = &list;
  return CKR_OK;
}

constexpr FaultyControl kControl = {
    [](const char* function, unsigned long value, int times) {
      const std::lock_guard lock(mutex);
      faults[function] = {value, times, false};
    },
    [](const char* function, unsigned long value, int times) {
      const std::lock_guard lock(mutex);
      faults[function] = {value, times, true};
    },
    [](const char* function) {
      const std::lock_guard lock(mutex);
      hang_in = function;
    },
    [] {
      const std::lock_guard lock(mutex);
      hang_in.clear();
      changed.notify_all();
    },
    [] {
      std::unique_lock lock(mutex);
      changed.wait(lock, [] { return hanging; });
    },
    [](unsigned long mechanism, unsigned long answer) {
      const std::lock_guard lock(mutex);
      hidden[mechanism] = answer;
    },
    [](unsigned long value) {
      const std::lock_guard lock(mutex);
      protection = value;
    },
    [](const char* function) {
      const std::lock_guard lock(mutex);
      return counts[function];
    },
    [](unsigned long set, unsigned long clear) {
      const std::lock_guard lock(mutex);
      flags_set = set;
      flags_cleared = clear;
    },
    [] {
      const std::lock_guard lock(mutex);
      outgrown = true;
    },
    [] {
      const std::lock_guard lock(mutex);
      closes_again = true;
    },
    [] { return target->C_Finalize(nullptr); },
    [](const CallFault& fault) {
      const std::lock_guard lock(mutex);
      call_fault = fault;
    },
    [](bool (*powered)(void*), void* argument, unsigned long value) {
      const std::lock_guard lock(mutex);
      is_powered = powered;
      power_argument = argument;
      power_value = value;
    },
    [](const char** names, unsigned count_max) {
      const std::lock_guard lock(mutex);
      const std::size_t count = std::min<std::size_t>(count_max, call_log.size());
      std::copy_n(call_log.begin(), count, names);
      return static_cast<unsigned>(call_log.size());
    },
    [] {
      const std::lock_guard lock(mutex);
      faults.clear();
      counts.clear();
      hidden.clear();
      hang_in.clear();
      closes_again = false;
      descriptor = -1;
      flags_set = flags_cleared = protection = 0;
      outgrown = false;
      call_log.clear();
      call_fault = {};
      is_powered = nullptr;
      changed.notify_all();
    },
};

}  // namespace

extern "C" {
__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST** out) {
  return get_function_list(out);
}
__attribute__((visibility("default"))) const FaultyControl* strongroom_faulty_control() { return &kControl; }
}
