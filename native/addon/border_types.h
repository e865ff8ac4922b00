// The structs of the border that are not the core's own, and the headers of those that are
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "crypto/temporary_certificate.h"
#include "log/format.h"
#include "os/posix.h"
#include "protectors/registry.h"
#include "roots/pkcs11/token.h"
#include "store/engine.h"
#include "store/managed_keys.h"
#include "store/start/planned_start.h"
#include "store/tls_credential.h"

namespace strongroom::addon {

enum class FileSystemType : std::uint8_t { kLocal, kNetwork, kMemory, kFuse };
[[nodiscard]] FileSystemType file_system_type(const store::FileSystemKind& kind);

// An inspection with what the key slots say.
struct InspectionReport {
  store::Inspection found;
  std::vector<store::KeySlotStatus> key_slots;
  store::SlotDescription root;
};
[[nodiscard]] InspectionReport report_of(store::Inspection found);

struct StoreOptions {
  store::EngineOptions engine;
  std::shared_ptr<os::Clock> clock;  // null: the real one
  std::string kill_before_step;      // a test's
};

struct TokenListing {
  roots::TokenLocator locator;
  std::chrono::milliseconds limit = roots::kTokenTimeLimit;
  bool as_is = false;
};

struct TokenPlan {
  roots::TokenLocator locator;
  std::string confirmation;
  SecretBytes so_pin;
  SecretBytes pin;
  std::chrono::milliseconds limit = roots::kTokenTimeLimit;
};

}  // namespace strongroom::addon
