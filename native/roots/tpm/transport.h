// The way to a TPM: a TCTI of the library, driven by a thread of its own, under a TCTI of ours that the ESAPI uses.
//
// Invariants:
// - No call waits longer than the time limit, whatever the TCTI does: those of tpm2-tss block in connect() or read() without
//   one. After the limit the transport is broken and stays so.
// - A thread that is stuck is left behind with its TCTI, and ends when the TPM answers or its end closes. Until then no
//   second connection with the same configuration is begun: an unanswered command may still be executed, and what is
//   read after it must see its effect. So a TPM that hangs costs one thread, too.
// - No signal is handled on that thread: a TPM that closes its end is an error of write(), not a SIGPIPE.
// One command at a time; not thread-safe.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/status.h"
#include "roots/tpm/tss.h"

namespace strongroom::roots {

class Transport {
 public:
  // `configuration` as of tcti(7), empty for the library's own order. The part before the colon names a TCTI; a path of a
  // library is kInvalidOption, because the name may come from a file that is not yet authenticated.
  // kLibraryMissing, kTpmUnavailable.
  [[nodiscard]] static Result<std::unique_ptr<Transport>> connect(const tss::Functions& functions,
                                                                  const std::string& configuration,
                                                                  std::chrono::milliseconds limit);
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;
  Transport(Transport&&) = delete;
  Transport& operator=(Transport&&) = delete;
  ~Transport();

  // Valid as long as this object.
  [[nodiscard]] TSS2_TCTI_CONTEXT* context();
  [[nodiscard]] bool broken() const;
  [[nodiscard]] bool timed_out() const;

 private:
  struct Shared;
  struct Context;
  explicit Transport(std::shared_ptr<Shared> shared, std::chrono::milliseconds limit);
  std::shared_ptr<Shared> shared_;
  std::unique_ptr<Context> context_;
};

}  // namespace strongroom::roots
