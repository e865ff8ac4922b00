#include "protectors/pkcs11/token_kek.h"

#include <algorithm>

#include "protectors/registry.h"

namespace strongroom::store {

Status TokenKek::connect(const TokenSlot* named) {
  const Pkcs11Options& options = context_.options.pkcs11;
  const auto make_store = [this] {
    store_ = std::make_unique<TokenStore>(token_, context_.ring.header().instance);
  };
  if (token_) {
    if (!store_) make_store();
    return {};
  }
  roots::TokenLocator locator = options.locator;
  if (locator.module.empty()) {
    return {Reason::kInvalidOption,
            "protector.module: needed" +
                (named != nullptr ? "; the store was made with " + named->module : std::string())};
  }
  if (named != nullptr && !options.another_token) locator.preferred_serial = named->token_serial;
  const auto open = [&options, &locator] {
    return roots::Token::open(locator, options.pin.clone(), options.limit);
  };
  if (named == nullptr || locator.label || locator.serial || locator.slot_id) {
    SR_ASSIGN(token_, open());
  } else {
    locator.label = named->token_label;
    locator.serial = named->token_serial;
    Result<std::unique_ptr<roots::Token>> opened = open();
    // Set up anew, a token has its old label and another serial number.
    locator.serial.reset();
    if (opened.is(Reason::kTokenMissing)) opened = open();
    if (!opened.ok()) return opened.status();
    token_ = *std::move(opened);
  }
  make_store();
  return {};
}

// What was not found in the token that the options name is not lost while the store's own token is there.
Status TokenKek::unless_misnamed(const TokenSlot& named, Status lost) const {
  const Pkcs11Options& options = context_.options.pkcs11;
  const roots::TokenLocator& given = options.locator;
  if (!is_loss_of_kek(lost) || options.another_token || !(given.label || given.serial || given.slot_id))
    return lost;
  const auto is_named = [&named](const roots::TokenInfo& other) {
    return named.token_serial.empty() ? other.label == named.token_label : other.serial == named.token_serial;
  };
  if (token_ && is_named(token_->info())) return lost;
  SR_ASSIGN(const std::vector<roots::TokenInfo> present,
            roots::Token::list(given.module, options.limit, given.init_arguments, roots::Listing::kAsIs));
  const bool is_there = std::any_of(present.begin(), present.end(), [&](const roots::TokenInfo& other) {
    return other.initialised && is_named(other);
  });
  if (!is_there) return lost;
  std::string words;
  if (given.label) words += " '" + *given.label + "'";
  if (given.serial) words += " with serial number " + *given.serial;
  if (given.slot_id) words += " in slot " + std::to_string(*given.slot_id);
  if (token_) words += ", which does not hold the store's key";
  return {Reason::kTokenMisnamed, "the options name the token" + words + "; this store's token '" +
                                      named.token_label + "' (serial number " + named.token_serial +
                                      ") is there"};
}

Result<SecretBytes> TokenKek::open(const PersistenceHeader& header, const KeySlot& slot) {
  SR_ASSIGN(TokenSlot named, parse_token_parameters(slot.parameters));
  context_.ring.planned_header().instance = header.instance;
  const auto open = [&]() -> Result<SecretBytes> {
    SR_TRY(connect(&named));
    return open_token_slot(*token_, slot, named);
  };
  Result<SecretBytes> opened = open();
  if (!opened.ok()) return unless_misnamed(named, opened.status());
  slot_ = std::move(named);
  return opened;
}

void TokenKek::adopt(const KeySlot& slot) {
  if (Result<TokenSlot> wrapped = parse_token_parameters(slot.parameters); wrapped.ok())
    slot_ = *std::move(wrapped);
}

Status TokenKek::plan() {
  const roots::TokenLocator& locator = context_.options.pkcs11.locator;
  if (locator.object.empty())
    return {Reason::kInvalidOption, "protector.object: the label of the KEK is needed at COLDSTART"};
  slot_ = TokenSlot();
  move_from({});
  PersistenceHeader& header = context_.ring.planned_header();
  slot_.kek.id = new_kek_id(header.storage_id);
  KeySlot planned;
  planned.id = context_.next_slot_id();
  planned.type = SlotType::kPkcs11;
  planned.parameters = encode_token_parameters(slot_);
  header.slots.push_back(std::move(planned));
  return {};
}

Status TokenKek::make(PersistenceHeader& next) {
  SR_ASSIGN(slot_.kek, token_->generate_kek(slot_.kek_label, std::nullopt, new_kek_id(next.storage_id)));
  SR_ASSIGN(KeySlot slot, wrap(context_.next_slot_id(), context_.ring.dek().view()));
  std::erase_if(next.slots, [&slot](const KeySlot& other) { return other.type == slot.type; });
  next.slots.push_back(std::move(slot));
  return {};
}

void TokenKek::move_from(const TokenSlot& former) {
  slot_ = former;
  const roots::TokenLocator& locator = context_.options.pkcs11.locator;
  if (!locator.object.empty()) slot_.kek_label = locator.object;
  slot_.secret_store = context_.secret_config;
  slot_.module = locator.module;
  slot_.token_label = token_->info().label;
  slot_.token_serial = token_->info().serial;
}

Status TokenKek::remove_all_but(const Bytes& kept) {
  const std::string& object = context_.options.pkcs11.locator.object;
  const std::string& label = object.empty() ? slot_.kek_label : object;
  SR_ASSIGN(const std::vector<roots::Kek> keks, token_->find_keks(label));
  for (const roots::Kek& kek : keks) {
    if (kek.id == kept || !is_kek_id_of(kek.id, context_.ring.header().storage_id)) continue;
    SR_TRY(token_->destroy_kek(label, kek));
  }
  return {};
}

void TokenKek::adopt_name(TokenSlot named) {
  if (slot_.kek_label.empty()) slot_ = std::move(named);
}

}  // namespace strongroom::store
