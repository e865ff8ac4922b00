// A PKCS#11 token (v2.40 and later): the key-encryption key that wraps the DEK, the witness object, and managed keys.
//
// Invariants:
// - One registry for the process: a module is loaded once per real path, initialised once with CKF_OS_LOCKING_OK, and
//   never closed. "Already initialised" is adopted and then never finalised. After fork() the child is refused.
// - Every call into a module runs on a thread of the module's own and has a time limit; a module that hangs costs that
//   thread and nothing else, and every later call answers kHsmUnreachable until it returns.
// - A failure is classified (kHsmUnreachable, kTokenMissing, ...) before anything is decided; raw return values appear only
//   in the detail. After a device error the module is initialised anew once, if it is ours, and the call repeated only
//   when it changes nothing on the token.
// - Keys are sensitive, non-extractable and private; what a token made is checked by reading its attributes back.
// - PINs are wiped and never appear in errors.
// Thread-safe.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/secret_memory.h"
#include "base/status.h"
#include "crypto/private_key.h"

namespace strongroom::roots {

// Which token, and which object on it. At least one of label, serial and slot_id is given.
struct TokenLocator {
  std::string module;  // absolute path
  std::optional<std::string> label;
  std::optional<std::string> serial;
  std::optional<std::uint64_t> slot_id;
  std::optional<std::string> manufacturer;  // these two only narrow the choice
  std::optional<std::string> model;
  std::optional<std::string> preferred_serial;  // decides between several tokens that fit
  std::string object;                           // label of the KEK
  std::string
      init_arguments;  // for C_Initialize's pReserved, which NSS needs; at most 1,024 bytes, usually empty
};

// RFC 7512, for example "pkcs11:token=acme;object=kek?module-path=/usr/lib/softhsm/libsofthsm2.so". kInvalidOption names
// the attribute that is unknown, repeated, or does not belong here: a `pin-value` is always refused, and so is
// `module-name`, because nothing is searched for; `pin-source` is answered in `pin_source` and not followed. Attributes
// that begin with "x-" are ignored.
struct ParsedUri {
  TokenLocator locator;     // `module` is empty without a module-path
  std::optional<Bytes> id;  // CKA_ID of the KEK
  std::optional<std::string> pin_source;
};
[[nodiscard]] Result<ParsedUri> parse_pkcs11_uri(std::string_view uri);

// The permitted length of a PIN, in bytes.
struct PinLimits {
  std::uint32_t min = 0;
  std::uint32_t max = 0;
};
// Of ulMinPinLen and ulMaxPinLen. Empty for zeros, CK_UNAVAILABLE_INFORMATION, and limits that no PIN fits.
[[nodiscard]] std::optional<PinLimits> pin_limits(std::uint64_t min, std::uint64_t max);

struct TokenInfo {
  std::uint64_t slot_id = 0;
  std::string label;  // trailing blanks removed
  std::string serial;
  std::string manufacturer;
  std::string model;
  bool initialised = false;
  bool pin_initialised = false;
  bool pin_locked = false;
  std::optional<PinLimits> pin_limits;
};

// A KEK: AES-256 (wraps by CKM_AES_KEY_WRAP, RFC 3394) or, where the token has none, RSA-3072 (CKM_RSA_PKCS_OAEP, with
// SHA-256; with SHA-1 where the token's OAEP knows nothing else, which is no weakness of OAEP).
enum class KekType : std::uint8_t { kAesKeyWrap = 1, kRsaOaep = 2, kRsaOaepSha1 = 3 };
struct Kek {
  KekType type = KekType::kAesKeyWrap;
  Bytes id;  // CKA_ID, 16 random bytes: with the label it is unique on the token
};

using crypto::KeyAlgorithm;
using crypto::SignatureFormat;

inline constexpr std::chrono::milliseconds kTokenTimeLimit{10'000};
inline constexpr std::chrono::milliseconds kKeyGenerationTimeLimit{
    60'000};  // unless the token's own is longer

// Most modules see what other processes did to the tokens only when they are initialised again, which costs every user of
// the module in this process its sessions.
enum class Listing : std::uint8_t {
  kAgain,  // initialises the module again
  kAsIs,   // as the module sees it now: after a failure, which has looked
};

class Token {
 public:
  // Loads and initialises the module and lists its tokens; no PIN is needed and nothing is changed.
  [[nodiscard]] static Result<std::vector<TokenInfo>> list(const std::string& module,
                                                           std::chrono::milliseconds limit = kTokenTimeLimit,
                                                           const std::string& init_arguments = {},
                                                           Listing listing = Listing::kAgain);
  // Finds the one token that fits and logs in. kHsmUnreachable, kTokenMissing, kTokenAmbiguous, kPinWrong, kPinLocked,
  // kPinNotInitialized. An empty `pin` uses the token's protected authentication path where it has one, else kPinMissing.
  [[nodiscard]] static Result<std::unique_ptr<Token>> open(const TokenLocator& locator, SecretBytes pin,
                                                           std::chrono::milliseconds limit = kTokenTimeLimit);
  // C_InitToken and C_InitPIN. `confirmation` must be the label of an initialised token, which is erased; empty for an
  // uninitialised slot. kHsmRefused otherwise, and when another token has `label` already.
  [[nodiscard]] static Result<TokenInfo> initialise(const std::string& module, std::uint64_t slot_id,
                                                    const std::string& label, const std::string& confirmation,
                                                    SecretBytes so_pin, SecretBytes user_pin,
                                                    std::chrono::milliseconds limit = kTokenTimeLimit,
                                                    const std::string& init_arguments = {});
  Token(const Token&) = delete;
  Token& operator=(const Token&) = delete;
  Token(Token&&) = delete;
  Token& operator=(Token&&) = delete;
  ~Token();  // closes the session

  [[nodiscard]] const TokenInfo& info() const;

  // Makes a KEK with `id`, or with a random one of 16 bytes where it is empty. The module is initialised again and must show
  // it, its attributes are checked, and a key is wrapped and unwrapped; else it is removed again. AES where the token has AES
  // key wrap, unless `type` asks for another. kHsmRefused, kTokenWriteFailed.
  [[nodiscard]] Result<Kek> generate_kek(const std::string& label, std::optional<KekType> type = std::nullopt,
                                         Bytes id = {});
  // Every KEK with this label, of whichever kind of wrapping; only to tell them apart by id and to destroy them.
  [[nodiscard]] Result<std::vector<Kek>> find_keks(const std::string& label);
  // kKekMissing, kKekDuplicate.
  [[nodiscard]] Status find_kek(const std::string& label, const Kek& kek);
  [[nodiscard]] Status destroy_kek(const std::string& label, const Kek& kek);
  // `key` has 32 bytes. The wrapped form is unwrapped and compared before it is returned.
  [[nodiscard]] Result<Bytes> wrap(const std::string& label, const Kek& kek, ByteView key);
  // kWrappedDekCorrupt when the token refuses the wrapped bytes; whether the key is another one than wrapped them is for
  // the caller to tell by kek_check_value().
  [[nodiscard]] Result<SecretBytes> unwrap(const std::string& label, const Kek& kek, ByteView wrapped);
  // The same, for a KEK that is found once and told by its check value first: kKekReplaced where that is another.
  [[nodiscard]] Result<SecretBytes> unwrap_verified(const std::string& label, const Kek& kek,
                                                    ByteView check_value, ByteView wrapped);
  // 8 bytes that tell this KEK from another: the beginning of a SHA-256, for AES over the wrap of a key that everyone knows,
  // for RSA over the public key.
  [[nodiscard]] Result<Bytes> kek_check_value(const std::string& label, const Kek& kek);
  // kKekMissing, kKekDuplicate, and kKekReplaced when the check value is another.
  [[nodiscard]] Status verify_kek(const std::string& label, const Kek& kek, ByteView check_value);

  // Lives as long as the token.
  class Objects;
  [[nodiscard]] Objects objects();

  // Managed keys. `id` is CKA_ID of both halves.
  [[nodiscard]] Status generate_key(const std::string& label, ByteView id, KeyAlgorithm algorithm);
  // DER SubjectPublicKeyInfo. kKekMissing is never answered here: a missing managed key is kNotFound.
  [[nodiscard]] Result<Bytes> public_key(ByteView id);
  // Over a digest (32 bytes for P-256 and RSA, 48 for P-384), or, for Ed25519, over the message itself (at most 1 MiB). RSA
  // is PSS with SHA-256 and a salt of 32 bytes.
  [[nodiscard]] Result<Bytes> sign(ByteView id, KeyAlgorithm algorithm, ByteView digest_or_message,
                                   SignatureFormat format);
  [[nodiscard]] Status destroy_key(ByteView id);

 private:
  struct State;
  explicit Token(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Private data objects (CKO_DATA), found by label and application "strongroom". At most 4,096 bytes. Where a token has no
// such objects, the CKA_ID of a secret key of no use carries the value.
class Token::Objects {
 public:
  // Leaves the previous object in the token in addition to the new one, which it reads back: a module may answer CKR_OK and
  // store nothing. kTokenWriteFailed when it did; the earlier objects stay.
  [[nodiscard]] Status save(const std::string& label, ByteView value);
  // The newest value, if any.
  [[nodiscard]] Result<std::optional<Bytes>> load(const std::string& label);
  // Every value, the newest first. With more than two the newest belongs to a save that was cut off or failed.
  [[nodiscard]] Result<std::vector<Bytes>> load_all(const std::string& label);
  // Removes all but the newest, for values that must not be read again. Where the module can be initialised again, it must
  // show the newest after that.
  [[nodiscard]] Status keep_newest(const std::string& label);
  [[nodiscard]] Status remove(const std::string& label);

 private:
  friend class Token;
  explicit Objects(State& state) : state_(state) {}
  State& state_;
};

inline Token::Objects Token::objects() { return Objects(*state_); }

}  // namespace strongroom::roots
