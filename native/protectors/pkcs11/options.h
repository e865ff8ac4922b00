// What may be chosen, and what can be told, of a KEK in a PKCS#11 token.
#pragma once

#include <chrono>
#include <string>

#include "base/secret_memory.h"
#include "roots/pkcs11/token.h"

namespace strongroom::store {

struct Pkcs11Options {
  // `module` is needed at every start: what persistence.bin names is not loaded. The token, when it is not named here, is
  // the one that the key slot names; `object` (the KEK's label) is needed at COLDSTART.
  roots::TokenLocator locator;
  // The token that `locator` names takes the place of the store's, even where that one is there. A restore that moves a
  // store from one token to another says so.
  bool another_token = false;
  SecretBytes pin;
  std::chrono::milliseconds limit = roots::kTokenTimeLimit;  // for each call into the module
};

// What a key slot says.
struct TokenSlotStatus {
  std::string module;
  std::string token_label;
  std::string token_serial;
  std::string kek_label;
  Bytes kek_id;
  roots::KekType kek_type = roots::KekType::kAesKeyWrap;
};

// `module` is as the caller named it, label and serial number are of the token that was found.
struct TokenStatus : TokenSlotStatus {
  std::string token_model;
};

}  // namespace strongroom::store
