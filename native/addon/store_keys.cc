// Sealed fields, managed keys and the TLS credential.
//
// A signature takes what it needs of the store on the JavaScript thread, in microseconds, and signs on the pool without
// it: any number run side by side, also beside a task of the store or after it was closed. All other changes are tasks.
#include <algorithm>
#include <array>

#include "addon/store.h"
#include "os/posix.h"
#include "store/managed_keys.h"
#include "store/tls_credential.h"

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

// TypeScript has checked that it is a string.
Result<std::string> read_text(napi_env env, napi_value value, const char* what) {
  std::optional<std::string> text = read_string(env, value);
  if (!text) return Status(Reason::kInvalidArgument, std::string(what) + " must be a string");
  return *std::move(text);
}

// The memory that TypeScript made for the answer.
Status read_out(napi_env env, napi_value value, MutableBytes* out) {
  void* data = nullptr;
  std::size_t size = 0;
  if (napi_get_buffer_info(env, value, &data, &size) != napi_ok) {
    return {Reason::kInternal, "the answer needs a Buffer"};
  }
  *out = {static_cast<std::uint8_t*>(data), size};
  return {};
}

}  // namespace

Store* Store::open_task_receiver(napi_env env, napi_value value) {
  Store* self = task_receiver(env, value);
  if (self == nullptr || self->phase_ == Phase::kOpen) return self;
  throw_error(env, Reason::kNotOpen, "the store is not open yet");
  return nullptr;
}

// --- Fields ---

store::FieldSealer* Store::fields(napi_env env, napi_value value) {
  Store* self = open_receiver(env, value);
  if (self == nullptr) return nullptr;
  // After a rotation of the DEK fields are sealed under the new one.
  const bool outlived =
      self->fields_ != nullptr && self->fields_->sealing_key_id() != self->engine_->epoch_keys().key_id();
  if (self->fields_ == nullptr || outlived) {
    Result<std::unique_ptr<store::FieldSealer>> made = self->engine_->field_sealer();
    if (!made.ok()) {
      throw_error(env, made.error());
      return nullptr;
    }
    self->fields_ = *std::move(made);
  }
  return self->fields_.get();
}

// sealField(plaintext, context, out), openField(sealed, context, out)
template <Status (store::FieldSealer::*kOperation)(ByteView, ByteView, MutableBytes)>
napi_value Store::field(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  store::FieldSealer* const sealer = fields(env, arguments.receiver);
  if (sealer == nullptr) return nullptr;
  ContextArgument context;
  ByteView in;
  MutableBytes out;
  const auto act = [&]() -> Status {
    SR_TRY(context.read(env, arguments[1]));
    SR_TRY(read_bytes(env, arguments[0], "a field", &in));
    SR_TRY(read_out(env, arguments[2], &out));
    return (sealer->*kOperation)(in, context.bytes(), out);
  };
  const Status status = act();
  return status.ok() ? nullptr : throw_error(env, status.error());
}
template napi_value Store::field<&store::FieldSealer::seal>(napi_env, napi_callback_info);
template napi_value Store::field<&store::FieldSealer::open>(napi_env, napi_callback_info);

napi_value Store::field_key_id(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  if (fields(env, arguments.receiver) == nullptr) return nullptr;
  ByteView sealed;
  if (const Status status = read_bytes(env, arguments[0], "a field", &sealed); !status.ok()) {
    return throw_error(env, status.error());
  }
  const Result<std::uint32_t> id = store::FieldSealer::key_id(sealed);
  return id.ok() ? count_value(env, *id) : throw_error(env, id.error());
}

napi_value Store::field_needs_rotation(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const store::FieldSealer* const sealer = fields(env, arguments.receiver);
  if (sealer == nullptr) return nullptr;
  ByteView sealed;
  if (const Status status = read_bytes(env, arguments[0], "a field", &sealed); !status.ok()) {
    return throw_error(env, status.error());
  }
  const Result<bool> needs = sealer->needs_rotation(sealed);
  return needs.ok() ? flag_value(env, *needs) : throw_error(env, needs.error());
}

// --- Managed keys ---

// generateKey(id, algorithm, location)
napi_value Store::generate_key(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  Store* self = open_task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  const Result<std::string> id = read_text(env, arguments[0], "the id of a key");
  if (!id.ok()) return throw_error(env, id.error());
  const auto algorithm = read_name<store::KeyAlgorithm>(env, arguments[1], "algorithm", kKeyAlgorithmNames);
  if (!algorithm.ok()) return throw_error(env, algorithm.error());
  const auto location = read_name<store::KeyLocation>(env, arguments[2], "location", kKeyLocationNames);
  if (!location.ok()) return throw_error(env, location.error());
  auto key = std::make_shared<ManagedKey>();
  return self->run(
      arguments.receiver, "strongroom.generateKey",
      [=, clock = self->clock_, id = *id, algorithm = *algorithm,
       location = *location](Engine& engine) -> Status {
        ManagedKeys keys(engine, engine.token_keys());
        SR_ASSIGN(*key, keys.generate(id, algorithm, location, clock->wall_ms()));
        return {};
      },
      [key](napi_env task_env) { return describe(task_env, *key); });
}

// A task on one key, by its id and a text.
napi_value Store::change_key(napi_env env, napi_callback_info info, const char* name,
                             Status (*act)(ManagedKeys&, const std::string&, const std::string&)) {
  const Arguments<2> arguments(env, info);
  Store* self = open_task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  const Result<std::string> id = read_text(env, arguments[0], "the id of a key");
  if (!id.ok()) return throw_error(env, id.error());
  std::string text;
  if (!is_undefined(env, arguments[1])) {
    Result<std::string> given = read_text(env, arguments[1], "the text");
    if (!given.ok()) return throw_error(env, given.error());
    text = *std::move(given);
  }
  return self->run(arguments.receiver, name, [act, id = *id, text = std::move(text)](Engine& engine) {
    ManagedKeys keys(engine, engine.token_keys());
    return act(keys, id, text);
  });
}

// attachKeyChain(id, pem)
napi_value Store::attach_key_chain(napi_env env, napi_callback_info info) {
  return change_key(env, info, "strongroom.attachKeyChain",
                    [](ManagedKeys& keys, const std::string& id, const std::string& pem) {
                      return keys.attach_chain(id, pem);
                    });
}

// deactivateKey(id, reason)
napi_value Store::deactivate_key(napi_env env, napi_callback_info info) {
  return change_key(env, info, "strongroom.deactivateKey",
                    [](ManagedKeys& keys, const std::string& id, const std::string& reason) {
                      return keys.deactivate(id, reason);
                    });
}

napi_value Store::reactivate_key(napi_env env, napi_callback_info info) {
  return change_key(
      env, info, "strongroom.reactivateKey",
      [](ManagedKeys& keys, const std::string& id, const std::string&) { return keys.reactivate(id); });
}

napi_value Store::remove_key(napi_env env, napi_callback_info info) {
  return change_key(
      env, info, "strongroom.removeKey",
      [](ManagedKeys& keys, const std::string& id, const std::string&) { return keys.remove(id); });
}

napi_value Store::find_key(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = open_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  const Result<std::string> id = read_text(env, arguments[0], "the id of a key");
  if (!id.ok()) return throw_error(env, id.error());
  const store::KeyRecords records(self->engine_->queue(), *self->cipher_, self->engine_->token_keys());
  const Result<ManagedKey> key = records.find(*id);
  return key.ok() ? describe(env, *key) : throw_error(env, key.error());
}

napi_value Store::list_keys(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = open_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  const store::KeyRecords records(self->engine_->queue(), *self->cipher_, self->engine_->token_keys());
  const Result<std::vector<ManagedKey>> keys = records.list();
  if (!keys.ok()) return throw_error(env, keys.error());
  return describe(env, *keys);
}

// signWithKey(id, digest or message, whether it is a digest, whether the signature is raw)
napi_value Store::sign_with_key(napi_env env, napi_callback_info info) {
  const Arguments<4> arguments(env, info);
  Store* self = open_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  const bool is_digest = read_boolean(env, arguments[2]).value_or(false);
  const auto format = read_boolean(env, arguments[3]).value_or(false) ? store::SignatureFormat::kRaw
                                                                      : store::SignatureFormat::kDer;
  ByteView input;
  const store::KeyRecords records(self->engine_->queue(), *self->cipher_, self->engine_->token_keys());
  const auto prepare = [&]() -> Result<store::KeySigner> {
    SR_ASSIGN(const std::string id, read_text(env, arguments[0], "the id of a key"));
    SR_TRY(read_bytes(env, arguments[1], is_digest ? "the digest" : "the message", &input));
    if (input.size() > limits::kSignedMessageBytesMax) {
      return Status(Reason::kInvalidArgument, "a message has at most 1,048,576 bytes");
    }
    SR_ASSIGN(store::KeySigner signer, records.signer(id));
    if (is_digest && input.size() != crypto::digest_bytes(signer.algorithm())) {
      return Status(Reason::kInvalidArgument,
                    crypto::digest_bytes(signer.algorithm()) == 0
                        ? std::string("Ed25519 signs messages, not digests")
                        : "the digest must have " + std::to_string(crypto::digest_bytes(signer.algorithm())) +
                              " bytes");
    }
    if (self->signatures_ >= limits::kPendingSignaturesMax ||
        self->signature_bytes_ + input.size() > limits::kPendingSignatureBytesMax) {
      return Status(Reason::kQueueFull, std::to_string(self->signatures_) + " signatures wait already");
    }
    return signer;
  };
  Result<store::KeySigner> prepared = prepare();
  if (!prepared.ok()) return throw_error(env, prepared.error());

  auto signer = std::make_shared<store::KeySigner>(*std::move(prepared));
  auto signature = std::make_shared<Bytes>();
  const std::size_t bytes = input.size();
  ++self->signatures_;
  self->signature_bytes_ += bytes;
  Task task;
  task.work = [signer, signature, is_digest, format, copy = Bytes(input.begin(), input.end())]() -> Status {
    if (is_digest) {
      SR_ASSIGN(*signature, signer->sign(copy, format));
    } else {
      SR_ASSIGN(*signature, signer->sign(crypto::to_be_signed(signer->algorithm(), copy), format));
    }
    return {};
  };
  signer.reset();  // the task's alone: its key is wiped as soon as it has signed
  task.value = [signature](napi_env task_env) { return to_buffer(task_env, *signature); };
  task.settled = [self, bytes](napi_env) {
    --self->signatures_;
    self->signature_bytes_ -= bytes;
  };
  return start_task(env, arguments.receiver, "strongroom.signWithKey", std::move(task));
}

// --- TLS ---

// setTls(key, certificate, chain)
napi_value Store::set_tls(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  Store* self = open_task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  auto key = std::make_shared<SecretBytes>();
  auto certificate = std::make_shared<store::TlsCertificate>();
  const auto read = [&]() -> Status {
    ByteView bytes;
    SR_TRY(read_bytes(env, arguments[0], "the key", &bytes));
    if (bytes.size() > limits::kPrivateKeyPemBytesMax) {
      return {Reason::kInvalidArgument, "the key has at most 16,384 bytes"};
    }
    *key = SecretBytes(bytes);
    SR_TRY(read_bytes(env, arguments[1], "the certificate", &bytes));
    certificate->certificate = as_text(bytes);
    SR_TRY(read_bytes(env, arguments[2], "the chain", &bytes));
    certificate->chain = as_text(bytes);
    return {};
  };
  if (const Status status = read(); !status.ok()) return throw_error(env, status.error());
  return self->run(arguments.receiver, "strongroom.setTls", [key, certificate](Engine& engine) {
    return store::set_tls(engine, key->view(), *certificate);
  });
}

napi_value Store::tls_certificate(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = open_task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  auto found = std::make_shared<std::optional<store::TlsCertificate>>();
  return self->run(
      arguments.receiver, "strongroom.tlsCertificate",
      [found](Engine& engine) -> Status {
        SR_ASSIGN(*found, store::tls_certificate(engine));
        return {};
      },
      [found](napi_env task_env) { return describe(task_env, *found); });
}

napi_value Store::remove_tls(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = open_task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  return self->run(arguments.receiver, "strongroom.removeTls",
                   [](Engine& engine) { return store::remove_tls(engine); });
}

// extractTls(directory)
napi_value Store::extract_tls(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = open_task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  const Result<std::string> directory = read_text(env, arguments[0], "the directory");
  if (!directory.ok()) return throw_error(env, directory.error());
  return self->run(arguments.receiver, "strongroom.extractTls", [directory = *directory](Engine& engine) {
    return store::extract_tls(engine, os::posix_files(), directory);
  });
}

}  // namespace strongroom::addon
