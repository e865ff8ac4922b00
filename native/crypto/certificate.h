// Certificates and private keys in PEM (RFC 7468), as TLS servers read them. Checked here: that they can be read, and that
// the key is the certificate's. Whom a certificate names, when it ends and who signed it is the business of those who
// trust it.
#pragma once

#include "base/bytes.h"
#include "base/status.h"

namespace strongroom::crypto {

// `key` is one private key that is not encrypted (PKCS#8 or the traditional forms), `certificate` one certificate of it,
// `chain` any number of further ones, also none. kInvalidArgument names what cannot be read, or is of another kind;
// kCertificateMismatch.
[[nodiscard]] Status check_credential(ByteView key, ByteView certificate, ByteView chain);

// `chain` has one certificate or more, and the first is for `public_key` (SubjectPublicKeyInfo, DER). As above.
[[nodiscard]] Status check_chain(ByteView public_key, ByteView chain);

}  // namespace strongroom::crypto
