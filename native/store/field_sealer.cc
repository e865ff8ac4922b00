#include "store/field_sealer.h"

#include <algorithm>

#include "base/limits.h"

namespace strongroom::store {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kSaltAt = 5;
constexpr std::size_t kCounterAt = 21;
constexpr std::string_view kSaltLabel = "strongroom/v5 field salt";
constexpr std::uint64_t kSaltMessagesMax = std::uint64_t{1} << 32;
constexpr std::uint64_t kSaltBytesMax = std::uint64_t{1} << 36;
constexpr std::size_t kOpeningCiphersMax = 256;

using AssociatedData = std::array<std::uint8_t, kFieldHeaderBytes + limits::kFieldContextBytesMax>;

ByteView associate(AssociatedData& memory, ByteView header, ByteView context) {
  const auto end = std::copy(header.begin(), header.end(), memory.begin());
  std::copy(context.begin(), context.end(), end);
  return ByteView(memory).first(header.size() + context.size());
}

crypto::Nonce nonce_of(ByteView header) {
  crypto::Nonce nonce{};
  std::copy_n(header.data() + kCounterAt, sizeof(std::uint32_t), nonce.begin());
  return nonce;
}

Status not_authentic() { return {Reason::kFieldNotAuthentic, "the sealed field does not open"}; }

Status key_unknown(std::uint32_t key_id) {
  return {Reason::kFieldKeyUnknown,
          "the field was sealed under key " + std::to_string(key_id) + ", which this store does not have"};
}

Status check_context(ByteView context) {
  if (context.size() <= limits::kFieldContextBytesMax) return {};
  return {Reason::kInvalidArgument, "a context has at most 1,024 bytes"};
}

}  // namespace

FieldSealer::FieldSealer(std::uint32_t key_id, SecretBytes key) : key_id_(key_id) {
  keys_.emplace(key_id, std::move(key));
  renew_salt();
}

void FieldSealer::add_former_key(std::uint32_t key_id, SecretBytes key) {
  keys_.insert_or_assign(key_id, std::move(key));
}

void FieldSealer::renew_salt() {
  salt_ = crypto::random_array<16>();
  sealing_.emplace(crypto::hkdf_sha256(keys_.at(key_id_).view(), salt_, kSaltLabel).view());
  messages_ = bytes_ = 0;
}

Status FieldSealer::seal(ByteView plaintext, ByteView context, MutableBytes out) {
  if (plaintext.size() > limits::kFieldBytesMax) {
    return {Reason::kInvalidArgument, "a field has at most 1,048,576 bytes"};
  }
  SR_TRY(check_context(context));
  if (out.size() != plaintext.size() + kFieldOverheadBytes) {
    return {Reason::kInvalidArgument, "the plaintext is not as long as it said"};
  }
  if (messages_ == kSaltMessagesMax || bytes_ + plaintext.size() > kSaltBytesMax) renew_salt();
  const MutableBytes header = out.first(kFieldHeaderBytes);
  header[0] = kVersion;
  store_le(header.data() + 1, key_id_);
  std::copy(salt_.begin(), salt_.end(), header.begin() + kSaltAt);
  store_le(header.data() + kCounterAt, static_cast<std::uint32_t>(messages_));
  ++messages_;
  bytes_ += plaintext.size();
  AssociatedData memory;
  std::uint8_t* const body = out.data() + kFieldHeaderBytes;
  sealing_->seal(nonce_of(header), associate(memory, header, context), plaintext, body,
                 body + plaintext.size());
  return {};
}

Status FieldSealer::open(ByteView sealed, ByteView context, MutableBytes out) {
  SR_TRY(check_context(context));
  SR_ASSIGN(const std::uint32_t id, key_id(sealed));
  if (out.size() != sealed.size() - kFieldOverheadBytes) {
    return {Reason::kInvalidArgument, "the sealed field is not as long as it said"};
  }
  const ByteView header = sealed.first(kFieldHeaderBytes);
  crypto::Aead* const cipher = cipher_of(header);
  if (cipher == nullptr) return key_unknown(id);
  AssociatedData memory;
  const bool authentic = cipher->open(nonce_of(header), associate(memory, header, context),
                                      sealed.subspan(kFieldHeaderBytes, out.size()),
                                      sealed.last(crypto::kTagBytes).data(), out.data());
  return authentic ? Status() : not_authentic();
}

Result<std::uint32_t> FieldSealer::key_id(ByteView sealed) {
  if (sealed.size() < kFieldOverheadBytes || sealed.size() > kFieldOverheadBytes + limits::kFieldBytesMax ||
      sealed[0] != kVersion) {
    return not_authentic();
  }
  return load_le<std::uint32_t>(sealed.data() + 1);
}

Result<bool> FieldSealer::needs_rotation(ByteView sealed) const {
  SR_ASSIGN(const std::uint32_t id, key_id(sealed));
  if (!keys_.contains(id)) return key_unknown(id);
  return id != key_id_;
}

// A salt that was made up costs a derivation, and at the worst pushes out one that is then derived again.
crypto::Aead* FieldSealer::cipher_of(ByteView header) {
  CipherId id;
  std::copy_n(header.data() + 1, id.size(), id.begin());
  if (latest_ != opening_.end() && latest_->first == id) return &latest_->second;
  latest_ = opening_.find(id);
  if (latest_ != opening_.end()) return &latest_->second;
  const auto key = keys_.find(load_le<std::uint32_t>(header.data() + 1));
  if (key == keys_.end()) return nullptr;
  if (opening_order_.size() == kOpeningCiphersMax) {
    opening_.erase(opening_order_.front());
    opening_order_.pop_front();
  }
  const ByteView salt = header.subspan(kSaltAt, sizeof(Salt));
  opening_order_.push_back(id);
  latest_ =
      opening_.emplace(id, crypto::Aead(crypto::hkdf_sha256(key->second.view(), salt, kSaltLabel).view()))
          .first;
  return &latest_->second;
}

}  // namespace strongroom::store
