#include "protectors/pkcs11/pkcs11_protector.h"

#include <algorithm>

#include "protectors/registry.h"
#include "secret_store/items.h"

namespace strongroom::store {
namespace {

TokenSlotStatus status_of(const TokenSlot& slot) {
  return {slot.module, slot.token_label, slot.token_serial, slot.kek_label, slot.kek.id, slot.kek.type};
}

}  // namespace

Status Pkcs11Protector::refuse_leftovers(const ParsedPersistence* /*interrupted*/) {
  context().ring.planned_header().instance = context().options.instance;
  return kek_.connect(nullptr);
}

Status Pkcs11Protector::plan() {
  context().ring.planned_core().witnesses = kWitnessTamperFile | kind().witnesses;
  return kek_.plan();
}

Status Pkcs11Protector::provision() { return kek_.make(context().ring.planned_header()); }

Status Pkcs11Protector::replace_lost(const Status& refused) {
  if (!is_loss_of_kek(refused)) return refused;
  const KeySlot* slot = root_slot(context().ring.header());
  if (slot == nullptr) return {Reason::kInternal, "a store with a token has a key slot for it"};
  SR_ASSIGN(const TokenSlot named, parse_token_parameters(slot->parameters));
  const Status connected = kek_.connect(&named);
  return connected.is(Reason::kTokenMissing) ? Status() : connected;
}

Result<SecretStoreConfig> Pkcs11Protector::place_in(const KeySlot& slot) const {
  SR_ASSIGN(TokenSlot named, parse_token_parameters(slot.parameters));
  return named.secret_store;
}

// The token wraps the DEK without regard to the other parameters.
Result<KeySlot> Pkcs11Protector::slot_naming(const SecretStoreConfig& place, const KeySlot& slot) {
  KeySlot next = slot;
  SR_ASSIGN(TokenSlot parameters, parse_token_parameters(slot.parameters));
  parameters.secret_store = place;
  next.parameters = encode_token_parameters(parameters);
  return next;
}

void Pkcs11Protector::describe(ProtectorStatus& status) const {
  if (!kek_.token()) return;
  TokenStatus& out = status.token.emplace();
  // Of the header, because the token's user may be making the next KEK on another thread.
  const KeySlot* slot = root_slot(context().ring.header());
  const Result<TokenSlot> named =
      slot != nullptr ? parse_token_parameters(slot->parameters) : Result<TokenSlot>(TokenSlot());
  if (named.ok()) static_cast<TokenSlotStatus&>(out) = status_of(*named);
  out.module = context().options.pkcs11.locator.module;
  const auto& token = kek_.token()->info();
  out.token_label = token.label;
  out.token_serial = token.serial;
  out.token_model = token.model;
}

void Pkcs11Protector::describe_slot(const KeySlot& slot, SlotDescription& description) {
  Result<TokenSlot> named = parse_token_parameters(slot.parameters);
  if (!named.ok()) return;
  description.token = status_of(*named);
  description.secret_store = std::move(named->secret_store);
}

std::unique_ptr<KeyProtector> Pkcs11Protector::beside(ProtectorContext context,
                                                      ProtectorOptions& /*options*/) const {
  auto other = std::make_unique<Pkcs11Protector>(kind(), std::move(context));
  other->kek_.share(kek_);
  return other;
}

Result<bool> Pkcs11Removal::reach(const KeySlot& root, const Status& opened,
                                  std::vector<std::string>& missing) {
  SR_ASSIGN(TokenSlot named, parse_token_parameters(root.parameters));
  const std::string what = "the key '" + named.kek_label + "' and VaultHash in the token '" +
                           named.token_label + "' (serial number " + named.token_serial + ")";
  const std::shared_ptr<roots::Token>& token = kek_.token();
  // A token that is there and does not open, such as with a wrong PIN, is not missing.
  const bool is_correctable =
      !opened.ok() && (token ? opened.is(Reason::kTokenMisnamed) : !opened.is(Reason::kTokenMissing));
  if (is_correctable) return opened;
  if (!token) {
    missing.push_back(what + ", which does not open: " + (opened.ok() ? "" : opened.error().detail));
    return false;
  }
  const PersistenceHeader& header = context_.ring.header();
  SR_ASSIGN(const ItemState witness, item_state(*kek_.store(), SecretName::kVaultHash, header.storage_id));
  const bool has_key = token->find_kek(named.kek_label, named.kek).ok();
  if (!has_key && witness != ItemState::kOwn && header.state != ProvisionState::kRemovingRoot)
    missing.push_back(what);
  kek_.adopt_name(std::move(named));
  return true;
}

Status Pkcs11Removal::remove_witness() {
  SR_ASSIGN(const ItemState witness,
            item_state(*kek_.store(), SecretName::kVaultHash, context_.ring.header().storage_id));
  return witness == ItemState::kForeign ? Status() : kek_.store()->remove(SecretName::kVaultHash);
}

Status Pkcs11Removal::find_leftovers(std::vector<Leftover>& found) {
  SR_TRY(kek_.connect(nullptr));
  const std::string place = "the token '" + kek_.token()->info().label + "'";
  SR_TRY(add_leftovers(*kek_.store(), place, std::array{SecretName::kVaultHash}, found));
  const std::string& label = context_.options.pkcs11.locator.object;
  SR_ASSIGN(const std::vector<roots::Kek> keks, kek_.token()->find_keks(label));
  for (const roots::Kek& kek : keks) {
    const auto item = std::find_if(found.begin(), found.end(), [&](const Leftover& other) {
      return other.storage_id && is_kek_id_of(kek.id, *other.storage_id);
    });
    if (item != found.end()) {
      const StorageId id = *item->storage_id;
      found.push_back({"the key '" + label + "'", place, id});
    }
  }
  return {};
}

Status Pkcs11Removal::remove_leftovers(const std::vector<Leftover>& found) {
  for (const Leftover& item : found) {
    if (!item.storage_id) continue;
    context_.ring.planned_header().storage_id = *item.storage_id;
    SR_TRY(kek_.remove_all_but({}));
  }
  return kek_.store()->remove(SecretName::kVaultHash);
}

}  // namespace strongroom::store
