// What the parts of Token share.
#pragma once

#include "roots/pkcs11/objects.h"
#include "roots/pkcs11/token.h"

namespace strongroom::roots {

struct Token::State {
  pkcs11::Module* module = nullptr;
  std::shared_ptr<pkcs11::Session> session;
  TokenInfo info;
  std::chrono::milliseconds limit{0};

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  State(State&&) = delete;
  State& operator=(State&&) = delete;
  ~State();  // closes the session; from any thread, and waits a second at most

  // Runs work(Worker&, Session&) with an open session on the module's thread; repeated as Worker::perform() says.
  template <typename Work>
  auto run(Work work, std::chrono::milliseconds longest = std::chrono::milliseconds(0)) {
    return module->run(std::max(limit, longest),
                       [session = session, work = std::move(work)](pkcs11::Worker& worker) {
                         return worker.perform(*session, [&] { return work(worker, *session); });
                       });
  }
};

}  // namespace strongroom::roots
