#include "addon/testing.h"

#ifdef STRONGROOM_TESTING

#include <csignal>

#include "addon/value.h"
#include "os/testing/manual_clock.h"

namespace strongroom::addon::testing {
namespace {

using os::testing::ManualClock;

constexpr napi_type_tag kClockTag{0x5354524f4e47524fULL, 0x434c4f434b303031ULL};

std::shared_ptr<ManualClock>* holder_of(napi_env env, napi_value value) {
  bool ours = false;
  void* data = nullptr;
  if (type_of(env, value) != napi_object ||
      napi_check_object_type_tag(env, value, &kClockTag, &ours) != napi_ok || !ours ||
      napi_unwrap(env, value, &data) != napi_ok) {
    return nullptr;
  }
  return static_cast<std::shared_ptr<ManualClock>*>(data);
}

// Calls `act(clock, argument)` and returns undefined.
template <void (*kAct)(ManualClock&, double)>
napi_value method(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  auto* holder = holder_of(env, arguments.receiver);
  if (holder == nullptr) return throw_error(env, Reason::kInvalidArgument, "not a manual clock");
  kAct(**holder, read_number(env, arguments[0]).value_or(0));
  return nullptr;
}

void advance(ManualClock& clock, double ms) { clock.advance(static_cast<std::uint64_t>(ms)); }
void suspend(ManualClock& clock, double ms) { clock.suspend(static_cast<std::uint64_t>(ms)); }
void set_wall(ManualClock& clock, double ms) { clock.set_wall(static_cast<std::int64_t>(ms)); }
void advance_wall(ManualClock& clock, double ms) { clock.advance_wall(static_cast<std::int64_t>(ms)); }
void reboot(ManualClock& clock, double off_ms) { clock.reboot(static_cast<std::uint64_t>(off_ms)); }

napi_value wall_ms(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  auto* holder = holder_of(env, arguments.receiver);
  if (holder == nullptr) return throw_error(env, Reason::kInvalidArgument, "not a manual clock");
  return time_value(env, (*holder)->wall_ms());
}

// createManualClock(wallMs?, bootMs?)
napi_value create_manual_clock(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  const double wall =
      read_number(env, arguments[0]).value_or(static_cast<double>(ManualClock::kWallMsAtStart));
  const double boot =
      read_number(env, arguments[1]).value_or(static_cast<double>(ManualClock::kBootMsAtStart));
  auto holder = std::make_unique<std::shared_ptr<ManualClock>>(
      std::make_shared<ManualClock>(static_cast<std::int64_t>(wall), static_cast<std::uint64_t>(boot)));
  Object object(env);
  const auto add = [&](const char* name, napi_callback callback) {
    napi_value function = nullptr;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function);
    object.set(name, function);
  };
  add("advance", method<advance>);
  add("suspend", method<suspend>);
  add("setWall", method<set_wall>);
  add("advanceWall", method<advance_wall>);
  add("reboot", method<reboot>);
  add("wallMs", wall_ms);
  napi_type_tag_object(env, object.value(), &kClockTag);
  napi_wrap(
      env, object.value(), holder.get(),
      [](napi_env, void* data, void*) { delete static_cast<std::shared_ptr<ManualClock>*>(data); }, nullptr,
      nullptr);
  holder.release();  // the finalizer owns it
  return object.value();
}

}  // namespace

Status read_clock(const Record& given, const char* name, std::shared_ptr<os::Clock>* out) {
  const napi_value value = given.get(name);
  if (value == nullptr) return {};
  auto* holder = holder_of(given.env(), value);
  if (holder == nullptr) return given.invalid(name);
  *out = *holder;
  return {};
}

void kill_this_process() { (void)std::raise(SIGKILL); }

void define_testing(napi_env env, napi_value exports) {
  napi_value function = nullptr;
  napi_create_function(env, "createManualClock", NAPI_AUTO_LENGTH, create_manual_clock, nullptr, &function);
  napi_set_named_property(env, exports, "createManualClock", function);
}

}  // namespace strongroom::addon::testing

#endif  // STRONGROOM_TESTING
