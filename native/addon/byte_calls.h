// Functions of the application that threads of the core ask for bytes
//
// JavaScript is called as call(input, context, settle) with copies, and calls settle(bytes) or settle(undefined, reason,
// detail) once, whenever it has an answer. Later calls of `settle` do nothing.
//
// Invariants:
// - A thread of the core waits for the answer, the event loop never does.
// - An answer that nobody waits for any more is dropped where it arrives.
// - No thread touches a function that the environment has taken down.
#pragma once

#include <node_api.h>

#include "base/byte_call.h"

namespace strongroom::addon {

// On the JavaScript thread; the call itself is for every other thread, and may be destroyed on any.
[[nodiscard]] Result<ByteCall> make_byte_call(napi_env env, napi_value function);

// The environment of this thread ends: whoever waits is answered, and nothing is asked any more.
void end_byte_calls();

}  // namespace strongroom::addon
