// A self-signed certificate for a server that lives for minutes: EC P-256, of a key that nobody has seen before.
//
// Invariant: the private key leaves this module as PEM in SecretBytes and in no other form, and is written nowhere.
#pragma once

#include <chrono>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/secret_memory.h"
#include "base/status.h"

namespace strongroom::crypto {

struct TemporaryCertificate {
  SecretBytes key;    // PKCS#8, PEM (RFC 7468)
  Bytes certificate;  // X.509 version 3 (RFC 5280), PEM
};

// For a TLS server under each of `names`, which are IP addresses or host names of letters, digits, '.' and '-', at most
// 253 bytes each; one at least, the first is the subject's common name where it fits into 64 bytes. Valid from five
// minutes before now, for the sake of clocks that differ, until `lifetime` after. kInvalidArgument.
[[nodiscard]] Result<TemporaryCertificate> make_temporary_certificate(std::span<const std::string> names,
                                                                      std::chrono::seconds lifetime);

}  // namespace strongroom::crypto
