// Key protector 'pkcs11': the KEK in a token, from COLDSTART to rotation.
#include <algorithm>

#include "store/engine_state.h"

namespace strongroom::store {

// `named`: the slot, for what the caller left open.
Status Engine::State::connect_token(const TokenSlot* named) {
  if (token) {
    if (!token_store) token_store = std::make_unique<TokenStore>(token, ring.header().instance);
    return {};
  }
  roots::TokenLocator locator = options.pkcs11.locator;
  if (locator.module.empty()) {
    return {Reason::kInvalidOption,
            "protector.module: needed" +
                (named != nullptr ? "; the store was made with " + named->module : std::string())};
  }
  if (named != nullptr && !options.pkcs11.another_token) locator.preferred_serial = named->token_serial;
  const auto open = [this, &locator] {
    return roots::Token::open(locator, options.pkcs11.pin.clone(), options.pkcs11.limit);
  };
  if (named == nullptr || locator.label || locator.serial || locator.slot_id) {
    SR_ASSIGN(token, open());
  } else {
    locator.label = named->token_label;
    locator.serial = named->token_serial;
    Result<std::unique_ptr<roots::Token>> opened = open();
    // Set up anew, a token has its old label and another serial number.
    locator.serial.reset();
    if (opened.is(Reason::kTokenMissing)) opened = open();
    if (!opened.ok()) return opened.status();
    token = *std::move(opened);
  }
  token_store = std::make_unique<TokenStore>(token, ring.header().instance);
  return {};
}

// What was not found in the token that the options name is not lost while the store's own token is there.
Status Engine::State::unless_misnamed(const TokenSlot& named, Status lost) const {
  const roots::TokenLocator& given = options.pkcs11.locator;
  const bool is_loss = lost.is(Reason::kTokenMissing) || lost.is(Reason::kKekMissing) ||
                       lost.is(Reason::kKekReplaced) || lost.is(Reason::kWrappedDekCorrupt);
  if (!is_loss || options.pkcs11.another_token || !(given.label || given.serial || given.slot_id))
    return lost;
  const auto is_named = [&named](const roots::TokenInfo& other) {
    return named.token_serial.empty() ? other.label == named.token_label : other.serial == named.token_serial;
  };
  if (token && is_named(token->info())) return lost;
  SR_ASSIGN(
      const std::vector<roots::TokenInfo> present,
      roots::Token::list(given.module, options.pkcs11.limit, given.init_arguments, roots::Listing::kAsIs));
  const bool is_there = std::any_of(present.begin(), present.end(), [&](const roots::TokenInfo& other) {
    return other.initialised && is_named(other);
  });
  if (!is_there) return lost;
  std::string words;
  if (given.label) words += " '" + *given.label + "'";
  if (given.serial) words += " with serial number " + *given.serial;
  if (given.slot_id) words += " in slot " + std::to_string(*given.slot_id);
  if (token) words += ", which does not hold the store's key";
  return {Reason::kTokenMisnamed, "the options name the token" + words + "; this store's token '" +
                                      named.token_label + "' (serial number " + named.token_serial +
                                      ") is there"};
}

Result<SecretBytes> Engine::State::open_by_token(const PersistenceHeader& candidate, const KeySlot& slot) {
  SR_ASSIGN(TokenSlot named, parse_token_parameters(slot.parameters));
  secret_config = options.secret_store.value_or(named.secret_store);
  SR_ASSIGN(secrets, open_secret_store(environment, secret_config, candidate.instance));
  SR_TRY(lock_shared(candidate.storage_id, slot.type));
  ring.planned_header().instance = candidate.instance;
  const auto open = [&]() -> Result<SecretBytes> {
    SR_TRY(connect_token(&named));
    SR_TRY(token->find_kek(named.kek_label, named.kek));
    return open_token_slot(*token, slot, named);
  };
  Result<SecretBytes> opened = open();
  if (!opened.ok()) return unless_misnamed(named, opened.status());
  token_slot = std::move(named);
  return opened;
}

Status Engine::State::plan_kek() {
  ring.planned_core().witnesses = kWitnessTamperFile | kWitnessSecretStore | kWitnessToken;
  const roots::TokenLocator& locator = options.pkcs11.locator;
  if (locator.object.empty())
    return {Reason::kInvalidOption, "protector.object: the label of the KEK is needed at COLDSTART"};
  token_slot.module = locator.module;
  token_slot.token_label = token->info().label;
  token_slot.token_serial = token->info().serial;
  token_slot.kek_label = locator.object;
  token_slot.secret_store = secret_config;
  token_slot.kek.id = new_kek_id(ring.header().storage_id);
  KeySlot planned;
  planned.id = next_slot_id();
  planned.type = SlotType::kPkcs11;
  planned.parameters = encode_token_parameters(token_slot);
  ring.planned_header().slots.push_back(std::move(planned));
  return {};
}

Status Engine::State::make_kek(PersistenceHeader& header_new) {
  SR_ASSIGN(token_slot.kek,
            token->generate_kek(token_slot.kek_label, std::nullopt, new_kek_id(ring.header().storage_id)));
  SR_ASSIGN(KeySlot slot, wrap_token_slot(*token, next_slot_id(), token_slot, ring.dek().view()));
  std::erase_if(header_new.slots, [](const KeySlot& other) { return other.type == SlotType::kPkcs11; });
  header_new.slots.push_back(std::move(slot));
  return {};
}

Status Engine::State::remove_stray_keks(const Bytes& kept) {
  const std::string& label =
      options.pkcs11.locator.object.empty() ? token_slot.kek_label : options.pkcs11.locator.object;
  SR_ASSIGN(const std::vector<roots::Kek> keks, token->find_keks(label));
  for (const roots::Kek& kek : keks) {
    if (kek.id == kept || !is_kek_id_of(kek.id, ring.header().storage_id)) continue;
    SR_TRY(token->destroy_kek(label, kek));
  }
  return {};
}

TokenStatus Engine::State::describe_token() const {
  TokenStatus out;
  out.module = options.pkcs11.locator.module;
  out.token_label = token->info().label;
  out.token_serial = token->info().serial;
  out.token_model = token->info().model;
  out.kek_label = token_slot.kek_label;
  out.kek_id = token_slot.kek.id;
  out.kek_type = token_slot.kek.type;
  return out;
}

Status Engine::rotate_kek() {
  State& state = *state_;
  const std::lock_guard maintenance(state.maintenance_mutex);
  SR_TRY(state.accepts_writes());
  if (!state.has_token()) return {Reason::kNothingToDo, "this store has no KEK in a token"};
  {
    const std::lock_guard persistence(state.persistence_mutex);
    SR_TRY(state.settle_header());  // before anything is taken for a stray
    SR_TRY(state.before_step("begin"));
    SR_TRY(state.remove_stray_keks(state.token_slot.kek.id));
    PersistenceHeader header = state.ring.header();
    const auto replace = [&]() -> Status {
      SR_TRY(state.before_step("kek"));
      SR_TRY(state.make_kek(header));
      SR_TRY(state.before_step("commit"));
      SystemRecordChanges changes;
      return state.replace_header(header, log::CommitKind::kKek, changes);
    };
    if (Status replaced = replace(); !replaced.ok()) {
      state.adopt_slot();  // of the file that is there
      return replaced;
    }
    SR_TRY(state.before_step("strays"));
    SR_TRY(state.remove_stray_keks(state.token_slot.kek.id));
  }
  return although_durable(state.move_witnesses(true));
}

}  // namespace strongroom::store
