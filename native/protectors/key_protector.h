// A key protector: how the DEK of a store is opened in everyday use. Each kind has a directory of its own, and registry.h
// lists them. Whoever works with a protector asks it through this interface and never for its kind.
//
// The calls of a COLDSTART: refuse_leftovers(), plan(), then persistence.bin is written, then provision(). Each of them may
// be cut, and the next COLDSTART goes on with what is there.
// The calls of a WARMSTART: unwrap(); after a refusal that does not heal, replace_lost().
//
// Invariants:
// - What a key slot says is untrusted until the wrap that it is bound into has authenticated: it serves to ask, no more.
// - An outage is never told as a loss: a reason that is retryable says nothing about what is there.
// Calls are serialised by the engine's locks. Once the store is open these only read, from any thread: describe(), kind(),
// witness_store(), beside(), and the token of token_kek().
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "header/key_ring.h"
#include "os/os.h"
#include "secret_store/secret_store.h"

namespace strongroom::store {

class SealedRoot;
class TokenKek;
struct ProtectorKind;
struct ProtectorOptions;
struct ProtectorStatus;
struct SlotDescription;

// What a protector works with; it is the engine's, and outlives the protector.
struct ProtectorContext {
  os::Environment& environment;
  const ProtectorOptions& options;
  KeyRing& ring;
  // Of a kind that has one: opened before unwrap() and provision().
  const std::unique_ptr<SecretStore>& secrets;
  const SecretStoreConfig& secret_config;
  std::function<std::uint32_t()> next_slot_id;
};

// A part of a store whose files are gone.
struct Leftover {
  std::string name;   // "RootKey", "NV index 0x01800003", "vault.bin"
  std::string place;  // "the SecretStore /srv/secrets"
  std::optional<StorageId> storage_id;
};

// The items of these names that are in `store`.
template <typename Names>
[[nodiscard]] Status add_leftovers(SecretStore& store, const std::string& place, const Names& names,
                                   std::vector<Leftover>& found) {
  for (const SecretName name : names) {
    const Result<std::optional<Secret>> item = store.load(name);
    const bool damaged = item.is(Reason::kWitnessReplaced) || item.is(Reason::kRootUnavailable);
    if (!item.ok() && !damaged) return item.status();
    if (item.ok() && !*item) continue;
    const auto id = damaged ? std::nullopt : std::optional((*item)->storage_id);
    found.push_back({std::string(secret_name_text(name)), place, id});
  }
  return {};
}

// How a store's root leaves its place, with a decommission or as what is left of a store.
class ProtectorRemoval {
 public:
  ProtectorRemoval() = default;
  ProtectorRemoval(const ProtectorRemoval&) = delete;
  ProtectorRemoval& operator=(const ProtectorRemoval&) = delete;
  ProtectorRemoval(ProtectorRemoval&&) = delete;
  ProtectorRemoval& operator=(ProtectorRemoval&&) = delete;
  virtual ~ProtectorRemoval() = default;

  // Whether a decommission that was cut has removed the root. Only while persistence.bin says that one is under way.
  [[nodiscard]] virtual Result<bool> is_removed() { return false; }
  // Finds what remove_witness() and remove_root() remove, but for the SecretStore. False where it cannot be removed; what is
  // not there is put into `missing`, as phrases. `opened`: what came of opening the root.
  [[nodiscard]] virtual Result<bool> reach(const KeySlot& /*root*/, const Status& /*opened*/,
                                           std::vector<std::string>& /*missing*/) {
    return false;
  }
  [[nodiscard]] virtual Status remove_witness() { return {}; }
  [[nodiscard]] virtual Status remove_root() { return {}; }
  // Of this instance, where the options name a place; `found` has the items of the other places.
  [[nodiscard]] virtual Status find_leftovers(std::vector<Leftover>& /*found*/) { return {}; }
  [[nodiscard]] virtual Status remove_leftovers(const std::vector<Leftover>& /*found*/) { return {}; }
};

class KeyProtector {
 public:
  KeyProtector(const ProtectorKind& kind, ProtectorContext context)
      : kind_(kind), context_(std::move(context)) {}
  KeyProtector(const KeyProtector&) = delete;
  KeyProtector& operator=(const KeyProtector&) = delete;
  KeyProtector(KeyProtector&&) = delete;
  KeyProtector& operator=(KeyProtector&&) = delete;
  virtual ~KeyProtector() = default;

  [[nodiscard]] const ProtectorKind& kind() const { return kind_; }

  // kPartialRestore where something remembers a store of this instance, other than the COLDSTART that was cut, if one was.
  [[nodiscard]] virtual Status refuse_leftovers(const ParsedPersistence* /*interrupted*/) { return {}; }
  // Puts witnesses and the key slot into the ring's planned core and header.
  [[nodiscard]] virtual Status plan() = 0;
  // Makes durable what the slot needs, of plan() or plan_new_root(). The planned header may get the final slot here.
  [[nodiscard]] virtual Status provision() = 0;

  // The DEK. A reason that is not retryable is a finding about the root, or about this copy of persistence.bin.
  [[nodiscard]] virtual Result<SecretBytes> unwrap(const PersistenceHeader& header, const KeySlot& slot) = 0;
  // The root was refused, and authority has opened the DEK: connects what is to hold a new root. `refused` itself where it
  // may heal, or where its remedy is another one.
  [[nodiscard]] virtual Status replace_lost(const Status& /*refused*/) { return {}; }
  // The slot of the persistence.bin that is on disk now.
  virtual void adopt(const KeySlot& /*slot*/) {}
  // The slot for another DEK, under the root that is there; `next` is the header that will hold it.
  [[nodiscard]] virtual Result<KeySlot> wrap(const KeySlot& present, std::uint32_t slot_id, ByteView dek,
                                             const PersistenceHeader& next) = 0;
  // With a new root, in place of the present slot of this kind. For kinds whose repair is recover().
  [[nodiscard]] virtual Status plan_new_root(PersistenceHeader& next);
  // A copy of the root that was found damaged.
  [[nodiscard]] virtual Status repair() { return {}; }

  // The place of the SecretStore that a slot names, and the slot that names another one; of kinds that have one.
  [[nodiscard]] virtual Result<SecretStoreConfig> place_in(const KeySlot& slot) const;
  [[nodiscard]] virtual Result<KeySlot> slot_naming(const SecretStoreConfig& place, const KeySlot& slot);

  [[nodiscard]] virtual ProtectorRemoval& removal() = 0;
  // With the ring's lock held; from any thread.
  virtual void describe(ProtectorStatus& /*status*/) const {}
  // For a second reading of the same store by this process: over the same connection, since a device may serve no other.
  // `options` are those of the context, and get what it needs besides the places.
  [[nodiscard]] virtual std::unique_ptr<KeyProtector> beside(ProtectorContext context,
                                                             ProtectorOptions& options) const = 0;
  // The store is closed in good order.
  [[nodiscard]] virtual Status shut_down() { return {}; }
  virtual void forget_secrets() {}

  // What some kinds are besides. Null for the others.
  [[nodiscard]] virtual SealedRoot* sealed_root() { return nullptr; }
  [[nodiscard]] virtual TokenKek* token_kek() { return nullptr; }
  [[nodiscard]] virtual SecretStore* witness_store() { return nullptr; }

 protected:
  [[nodiscard]] const ProtectorContext& context() const { return context_; }

 private:
  const ProtectorKind& kind_;
  ProtectorContext context_;
};

}  // namespace strongroom::store
