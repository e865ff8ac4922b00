// SecretStore back end `secret-service`: the desktop's keyring over D-Bus (freedesktop Secret Service 0.2),
// through libsecret-1.so.0, which is loaded when the first such store is opened.
//
//   schema      org.strongroom.Secret
//   attributes  application = instance name, storage-id = 32 hex digits,
//               name = VaultHash | TimeTamper | RootKey
//   label       "<instance> <name>"
//   secret      the item's record (secret_record.h) in hex, text/plain
//
// Invariants:
// - Items are looked up by application and name, in every collection. Only one storage id is found, and
//   the record holds the same one as the attributes.
// - Absent is said only when the default collection is there and unlocked and nothing that matches is
//   locked.
// - A locked collection is never asked to unlock, which would prompt. A service that prompts of itself,
//   to confirm an access, has until the deadline.
// - Every operation is cancelled at its deadline, has a bus connection of its own and leaves nothing
//   behind. A daemon or bus that went away is met afresh by the next one; the end of the bus does not
//   end the process.
// - save() is as durable as the daemon's answer. What gnome-keyring-daemon has answered survives its
//   kill.
#pragma once

#include <memory>
#include <string>

#include "secret_store/secret_store.h"

namespace strongroom::store {

inline constexpr std::uint32_t kSecretServiceDeadlineMs =
    5000;  // for one load, save or remove, however many calls

// kLibraryMissing when libsecret is not installed. The instance name was checked by open_secret_store().
[[nodiscard]] Result<std::unique_ptr<SecretStore>> open_service_secret_store(
    const std::string& instance, std::uint32_t deadline_ms = kSecretServiceDeadlineMs);

}  // namespace strongroom::store
