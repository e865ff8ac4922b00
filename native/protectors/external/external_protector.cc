#include "protectors/external/external_protector.h"

#include <utility>

#include "base/limits.h"
#include "protectors/external/spelled_key.h"
#include "protectors/registry.h"

namespace strongroom::store {
namespace {

// An answer that never came, or came as another error than a refusal, is an outage.
Status service_failure(const char* function, const Status& failed) {
  if (failed.is(Reason::kAborted)) return failed;
  const Reason reason =
      failed.is(Reason::kKeyServiceRefused) ? Reason::kKeyServiceRefused : Reason::kKeyServiceUnreachable;
  return {reason, std::string("protector.") + function + ": " + failed.error().detail};
}

// What the functions said of a root key that nothing else may repeat.
Status without_root(const char* function, const Status& failed, ByteView root) {
  if (!is_spelled_in(failed.error().detail, root)) return failed;
  return {failed.error().reason,
          std::string("protector.") + function + ": its message is left out, because it holds the root key"};
}

// Of an answer that no key service means: a broken service or function, which says nothing of the root.
Status malformed(std::string detail) { return {Reason::kKeyServiceUnreachable, std::move(detail)}; }

Status refused(std::string detail) { return {Reason::kKeyServiceRefused, std::move(detail)}; }

}  // namespace

void ExternalProtector::describe_slot(const KeySlot& slot, SlotDescription& description) {
  Result<ExternalSlot> named = parse_external_parameters(slot.parameters);
  if (named.ok()) description.secret_store = std::move(named->secret_store);
}

Status ExternalProtector::check_functions() const {
  const ExternalOptions& external = context().options.external;
  if (external.wrap && external.unwrap) return {};
  return {
      Reason::kInvalidOption,
      "protector: the root key of this store is wrapped by a key service of the application; open it with "
      "`protector: { type: 'external', wrap, unwrap }`"};
}

Status ExternalProtector::plan() {
  context().ring.planned_core().witnesses = kWitnessTamperFile | kind().witnesses;
  return plan_new_root(context().ring.planned_header());
}

Status ExternalProtector::plan_new_root(PersistenceHeader& next) {
  SR_ASSIGN(KeySlot slot, wrap_new_root(context().secret_config, context().next_slot_id(),
                                        context().ring.dek().view(), next));
  std::erase_if(next.slots, [this](const KeySlot& each) { return kind_of(each) == &kind(); });
  next.slots.push_back(std::move(slot));
  return {};
}

Result<SecretBytes> ExternalProtector::root_of(ByteView wrapped, const PersistenceHeader& header,
                                               std::uint32_t slot_id) const {
  SR_TRY(check_functions());
  const ExternalOptions& external = context().options.external;
  Result<SecretBytes> root = external.unwrap(wrapped, external_context(header, slot_id), external.limit);
  if (!root.ok()) return service_failure("unwrap", root.status());
  if (root->size() != crypto::kKeyBytes) {
    return malformed("`unwrap` answered " + std::to_string(root->size()) +
                     " bytes, and the root key of this store has 32");
  }
  return root;
}

Result<KeySlot> ExternalProtector::wrap_new_root(const SecretStoreConfig& place, std::uint32_t slot_id,
                                                 ByteView dek, const PersistenceHeader& next) const {
  SR_TRY(check_functions());
  const ExternalOptions& external = context().options.external;
  SecretBytes root(crypto::kKeyBytes);
  crypto::random_bytes(root.span());
  const Result<SecretBytes> wrapped =
      external.wrap(root.view(), external_context(next, slot_id), external.limit);
  if (!wrapped.ok()) return without_root("wrap", service_failure("wrap", wrapped.status()), root.view());
  if (wrapped->empty() || wrapped->size() > kWrappedRootBytesMax) {
    return malformed("`wrap` answered " + std::to_string(wrapped->size()) +
                     " bytes, and a wrapped root key has 1 to 4,096");
  }
  const Result<SecretBytes> again = root_of(wrapped->view(), next, slot_id);
  if (!again.ok()) return without_root("unwrap", again.status(), root.view());
  if (!crypto::equal_constant_time(again->view(), root.view()))
    return refused("`unwrap` answered another key than `wrap` was given");
  ExternalSlot slot{place, Bytes(wrapped->view().begin(), wrapped->view().end())};
  Bytes parameters = encode_external_parameters(slot);
  if (parameters.size() > limits::kSlotParametersBytesMax) {
    return Status(Reason::kInvalidOption,
                  "secretStore: the path of the directory and the wrapped root key are too long together");
  }
  return wrap_dek(slot_id, kind().slot, std::move(parameters),
                  external_kek(root.view(), next.storage_id).view(), dek, next.storage_id, next.key_id);
}

Result<SecretBytes> ExternalProtector::unwrap(const PersistenceHeader& header, const KeySlot& slot) {
  SR_ASSIGN(const ExternalSlot named, parse_external_parameters(slot.parameters));
  SR_ASSIGN(const SecretBytes root, root_of(named.wrapped, header, slot.id));
  bool fits = false;
  Result<SecretBytes> opened = unwrap_dek(slot, external_kek(root.view(), header.storage_id).view(),
                                          header.storage_id, header.key_id, &fits);
  if (!fits) {
    return refused(
        "`unwrap` answered a key that does not open this store: that of another store or key slot, or the "
        "key "
        "slot in persistence.bin was changed");
  }
  return opened;
}

// Functions that are not there, and an outage, are no loss.
Status ExternalProtector::replace_lost(const Status& refusal) {
  SR_TRY(check_functions());
  return error_info(refusal.error().reason).retryable ? refusal : Status();
}

Result<KeySlot> ExternalProtector::wrap(const KeySlot& present, std::uint32_t slot_id, ByteView dek,
                                        const PersistenceHeader& next) {
  SR_ASSIGN(const SecretStoreConfig place, place_in(present));
  return wrap_new_root(place, slot_id, dek, next);
}

Result<SecretStoreConfig> ExternalProtector::place_in(const KeySlot& slot) const {
  SR_ASSIGN(ExternalSlot named, parse_external_parameters(slot.parameters));
  return named.secret_store;
}

Result<KeySlot> ExternalProtector::slot_naming(const SecretStoreConfig& place, const KeySlot& slot) {
  return wrap_new_root(place, slot.id, context().ring.dek().view(), context().ring.header());
}

std::unique_ptr<KeyProtector> ExternalProtector::beside(ProtectorContext context,
                                                        ProtectorOptions& options) const {
  options.external = this->context().options.external;
  return std::make_unique<ExternalProtector>(kind(), std::move(context));
}

}  // namespace strongroom::store
