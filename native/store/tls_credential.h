// The TLS credential of the application's web server: key, certificate and chain in the vault, and the files that the web
// server reads.
//
// System records:
//   strongroom/tls       u8 version, 1 | prefixed (varint length, bytes): certificate (PEM), chain (PEM)
//   strongroom/tls/key   the private key (PEM)
// What was given is kept byte for byte.
//
// Invariants:
// - Only a key and a certificate that fit each other are stored, both in one commit.
// - Files are made of stored bytes only and with mode 0600, each whole: written as "<name>.new", synced, renamed.
#pragma once

#include <string>

#include "store/system_records.h"

namespace strongroom::store {

inline constexpr std::string_view kTlsKeyFile = "tls.key";
inline constexpr std::string_view kTlsCertificateFile = "tls.crt";
inline constexpr std::string_view kTlsChainFile = "chain.pem";

struct TlsCertificate {
  std::string certificate;  // PEM
  std::string chain;        // PEM; may be empty
};

// The key has at most 16 KiB, certificate and chain 256 KiB each. kInvalidArgument, kCertificateMismatch; as durable as
// `witnessed`.
[[nodiscard]] Status set_tls(Engine& engine, ByteView key, const TlsCertificate& certificate);
// nullopt when none was set.
[[nodiscard]] Result<std::optional<TlsCertificate>> tls_certificate(Engine& engine);
[[nodiscard]] Status remove_tls(Engine& engine);

// Writes tls.key, tls.crt and chain.pem into `directory`, which is there and belongs to this user or to root; an empty
// chain removes chain.pem. kTlsNotSet, and the reasons of input and output.
//
// All files are durable under their new names before the first is renamed. Renames: chain.pem, tls.key, tls.crt; so key and
// certificate differ only between two renames that follow each other, and a process that is killed between them leaves
// that, until this is called again. When a rename fails, those before it are taken back: after any failure that the system
// lets us mend the former files are in place.
[[nodiscard]] Status extract_tls(Engine& engine, os::FileSystem& files, const std::string& directory);

}  // namespace strongroom::store
