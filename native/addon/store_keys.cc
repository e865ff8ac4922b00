#include <algorithm>
#include <array>

#include "addon/store_parts.h"

namespace strongroom::addon {
namespace {

using store::Engine;
using store::ManagedKey;
using store::ManagedKeys;

template <typename Enum, std::size_t N>
Result<Enum> read_name(napi_env env, napi_value value, const char* what, const NameTable<Enum, N>& names) {
  const Enum* const found = of_name(read_string(env, value).value_or(""), names);
  if (found != nullptr) return *found;
  return Status(Reason::kInvalidArgument, std::string(what) + " has an unknown name");
}

struct KeyPlan {
  std::string id;
  store::KeyAlgorithm algorithm{};
  store::KeyLocation location{};
};

// (id, algorithm, location)
Result<KeyPlan> read_plan(const Napi::CallbackInfo& info) {
  KeyPlan plan;
  SR_ASSIGN(plan.id, read_text(info.Env(), info[0], "the id of a key"));
  SR_ASSIGN(plan.algorithm, read_name(info.Env(), info[1], "algorithm", kKeyAlgorithmNames));
  SR_ASSIGN(plan.location, read_name(info.Env(), info[2], "location", kKeyLocationNames));
  return plan;
}

Status check_message(ByteView input) {
  if (input.size() <= limits::kSignedMessageBytesMax) return {};
  return {Reason::kInvalidArgument, "a message has at most 1,048,576 bytes"};
}

Status check_digest(store::KeyAlgorithm algorithm, ByteView digest) {
  const std::size_t bytes = crypto::digest_bytes(algorithm);
  if (digest.size() == bytes) return {};
  return {Reason::kInvalidArgument, bytes == 0 ? "Ed25519 signs messages, not digests"
                                               : "the digest must have " + std::to_string(bytes) + " bytes"};
}

}  // namespace

store::KeyRecords Keys::records() const {
  return {store().engine().queue(), store().cipher(), store().engine().token_keys()};
}

// generate(id, algorithm, location)
Napi::Value Keys::generate(const Napi::CallbackInfo& info) {
  if (!store().check_open_task(info.Env())) return {};
  const Result<KeyPlan> plan = read_plan(info);
  if (!plan.ok()) return refuse(info, plan.error());
  return run_for<ManagedKey>(
      info, "strongroom.generateKey",
      [plan = *plan, &clock = store().clock()](Engine& engine) {
        ManagedKeys keys(engine, engine.token_keys());
        return keys.generate(plan.id, plan.algorithm, plan.location, clock.wall_ms());
      },
      [](napi_env env, const ManagedKey& key) { return describe(env, key); });
}

Napi::Value Keys::change(const Napi::CallbackInfo& info, const char* name, Change act) {
  if (!store().check_open_task(info.Env())) return {};
  const Result<std::string> id = read_text(info.Env(), info[0], "the id of a key");
  if (!id.ok()) return refuse(info, id.error());
  const Result<std::string> text = is_undefined(info.Env(), info[1])
                                       ? Result<std::string>("")
                                       : read_text(info.Env(), info[1], "the text");
  if (!text.ok()) return refuse(info, text.error());
  return run(info, name, [act, id = *id, text = *text](Engine& engine) {
    ManagedKeys keys(engine, engine.token_keys());
    return act(keys, id, text);
  });
}

// attachChain(id, pem)
Napi::Value Keys::attach_chain(const Napi::CallbackInfo& info) {
  return change(info, "strongroom.attachKeyChain",
                [](ManagedKeys& keys, const std::string& id, const std::string& pem) {
                  return keys.attach_chain(id, pem);
                });
}

// deactivate(id, reason)
Napi::Value Keys::deactivate(const Napi::CallbackInfo& info) {
  return change(info, "strongroom.deactivateKey",
                [](ManagedKeys& keys, const std::string& id, const std::string& reason) {
                  return keys.deactivate(id, reason);
                });
}

Napi::Value Keys::reactivate(const Napi::CallbackInfo& info) {
  return change(
      info, "strongroom.reactivateKey",
      [](ManagedKeys& keys, const std::string& id, const std::string&) { return keys.reactivate(id); });
}

Napi::Value Keys::remove(const Napi::CallbackInfo& info) {
  return change(info, "strongroom.removeKey",
                [](ManagedKeys& keys, const std::string& id, const std::string&) { return keys.remove(id); });
}

Napi::Value Keys::find(const Napi::CallbackInfo& info) {
  if (!store().check_open(info.Env())) return {};
  const Result<std::string> id = read_text(info.Env(), info[0], "the id of a key");
  if (!id.ok()) return refuse(info, id.error());
  const Result<ManagedKey> key = records().find(*id);
  if (!key.ok()) return refuse(info, key.error());
  return {info.Env(), describe(info.Env(), *key)};
}

Napi::Value Keys::list(const Napi::CallbackInfo& info) {
  if (!store().check_open(info.Env())) return {};
  const Result<std::vector<ManagedKey>> keys = records().list();
  if (!keys.ok()) return refuse(info, keys.error());
  return {info.Env(), describe(info.Env(), *keys)};
}

// --- Signatures ---

Result<Keys::Signing> Keys::prepare(const Napi::CallbackInfo& info, const char* what) {
  Signing signing;
  ByteView input;
  SR_ASSIGN(const std::string id, read_text(info.Env(), info[0], "the id of a key"));
  SR_TRY(read_bytes(info.Env(), info[1], what, &input));
  SR_TRY(check_message(input));
  SR_TRY(admit(input.size()));
  SR_ASSIGN(signing.format, read_name(info.Env(), info[2], "format", kSignatureFormatNames));
  SR_ASSIGN(store::KeySigner signer, records().signer(id));
  signing.signer = std::make_shared<store::KeySigner>(std::move(signer));
  signing.input.assign(input.begin(), input.end());
  return signing;
}

Status Keys::admit(std::size_t bytes) const {
  const Store::Signatures& waiting = store().signatures();
  if (waiting.count < limits::kPendingSignaturesMax &&
      waiting.bytes + bytes <= limits::kPendingSignatureBytesMax) {
    return {};
  }
  return {Reason::kQueueFull, std::to_string(waiting.count) + " signatures wait already"};
}

Napi::Value Keys::sign(const Napi::CallbackInfo& info, Signing signing, Sign act) {
  const std::size_t bytes = signing.input.size();
  Store::Signatures& waiting = store().signatures();
  ++waiting.count;
  waiting.bytes += bytes;
  auto signature = std::make_shared<Bytes>();
  Task task;
  // The signer is the task's alone: its key is wiped as soon as it has signed.
  task.work = [signature, act, signing = std::move(signing)]() -> Status {
    SR_ASSIGN(*signature, act(*signing.signer, signing.input, signing.format));
    return {};
  };
  task.value = [signature](napi_env env) { return to_buffer(env, *signature); };
  task.settled = [&waiting, bytes](napi_env) {
    --waiting.count;
    waiting.bytes -= bytes;
  };
  return {info.Env(), start_task(info.Env(), owner(), "strongroom.signWithKey", std::move(task))};
}

// signMessage(id, message, SignatureFormat)
Napi::Value Keys::sign_message(const Napi::CallbackInfo& info) {
  if (!store().check_open(info.Env())) return {};
  Result<Signing> signing = prepare(info, "the message");
  if (!signing.ok()) return refuse(info, signing.error());
  return sign(info, *std::move(signing),
              [](store::KeySigner& signer, ByteView message, store::SignatureFormat format) {
                return signer.sign(crypto::to_be_signed(signer.algorithm(), message), format);
              });
}

// signDigest(id, digest, SignatureFormat)
Napi::Value Keys::sign_digest(const Napi::CallbackInfo& info) {
  if (!store().check_open(info.Env())) return {};
  Result<Signing> signing = prepare(info, "the digest");
  if (!signing.ok()) return refuse(info, signing.error());
  if (const Status status = check_digest(signing->signer->algorithm(), signing->input); !status.ok()) {
    return refuse(info, status.error());
  }
  return sign(info, *std::move(signing),
              [](store::KeySigner& signer, ByteView digest, store::SignatureFormat format) {
                return signer.sign(digest, format);
              });
}

Napi::Function Keys::define(Napi::Env env) {
  return DefineClass(
      env, kName,
      {InstanceMethod<&Keys::generate>("generate"), InstanceMethod<&Keys::attach_chain>("attachChain"),
       InstanceMethod<&Keys::deactivate>("deactivate"), InstanceMethod<&Keys::reactivate>("reactivate"),
       InstanceMethod<&Keys::remove>("remove"), InstanceMethod<&Keys::find>("find"),
       InstanceMethod<&Keys::list>("list"), InstanceMethod<&Keys::sign_message>("signMessage"),
       InstanceMethod<&Keys::sign_digest>("signDigest")});
}

}  // namespace strongroom::addon
