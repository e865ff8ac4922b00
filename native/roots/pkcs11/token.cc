#include "roots/pkcs11/token.h"

#include <algorithm>

#include "roots/pkcs11/token_state.h"

namespace strongroom::roots {

using pkcs11::list_slots;
using pkcs11::Module;
using pkcs11::Session;
using pkcs11::Slot;
using pkcs11::Worker;

namespace {

constexpr std::chrono::milliseconds kCloseLimit{1000};

}  // namespace

Token::State::~State() {
  if (session == nullptr) return;
  module->settle(kCloseLimit, [session = std::move(session)](Worker& worker) {
    session->close(worker);
    std::erase(worker.sessions, session.get());
  });
}

Token::Token(std::unique_ptr<State> state) : state_(std::move(state)) {}
Token::~Token() = default;

const TokenInfo& Token::info() const { return state_->info; }

Result<std::vector<TokenInfo>> Token::list(const std::string& module, std::chrono::milliseconds limit,
                                           const std::string& init_arguments, Listing listing) {
  SR_ASSIGN(Module* const loaded, Module::get(module, init_arguments));
  return loaded->run(limit, [init_arguments, listing](Worker& worker) -> Result<std::vector<TokenInfo>> {
    SR_TRY(worker.set_init_arguments(init_arguments));
    SR_TRY(worker.ensure_ready());
    if (listing == Listing::kAgain && !worker.fresh() && worker.may_reinitialise())
      SR_TRY(worker.reinitialise());
    Status unreadable;
    SR_ASSIGN(const std::vector<Slot> slots, list_slots(worker, &unreadable));
    std::vector<TokenInfo> tokens;
    tokens.reserve(slots.size());
    for (const Slot& slot : slots) tokens.push_back(slot.info);
    return tokens;
  });
}

Result<std::unique_ptr<Token>> Token::open(const TokenLocator& locator, SecretBytes pin,
                                           std::chrono::milliseconds limit) {
  if (!locator.label && !locator.serial && !locator.slot_id) {
    return Status(Reason::kInvalidOption, "a token is named by its label, serial number or slot");
  }
  SR_ASSIGN(Module* const module, Module::get(locator.module, locator.init_arguments));
  // The job owns the state: when its outcome comes too late, the session is closed with it.
  auto state = std::make_unique<State>();
  state->module = module;
  state->limit = limit;
  auto session = std::make_shared<Session>(locator, std::move(pin));
  auto job = [state = std::move(state), session = std::move(session),
              arguments = locator.init_arguments](Worker& worker) mutable -> Result<std::unique_ptr<State>> {
    SR_TRY(worker.set_init_arguments(arguments));
    SR_TRY(worker.perform(*session, [] { return Status(); }));
    worker.sessions.push_back(session.get());
    state->info = session->info();
    state->session = std::move(session);
    return std::move(state);
  };
  SR_ASSIGN(std::unique_ptr<State> opened, module->run(limit, std::move(job)));
  return std::unique_ptr<Token>(new Token(std::move(opened)));
}

}  // namespace strongroom::roots
