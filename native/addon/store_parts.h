// The cold calls of a store, by subject: `store.start`, `store.operations`, `store.maintenance`, `store.passwords`,
// `store.keys` and `store.tls`
//
// Each is a class of its own on node-addon-api. Its object holds the store's object, and is made at each access.
#pragma once

#include <napi.h>

#include <functional>
#include <memory>

#include "addon/store.h"
#include "store/managed_keys.h"

namespace strongroom::addon {

template <typename Part>
class StorePart : public Napi::ObjectWrap<Part> {
 public:
  // new Part(store)
  explicit StorePart(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<Part>(info), store_(Store::of(info.Env(), info[0])) {
    if (store_ == nullptr) return;  // it has thrown
    object_ = Napi::Persistent(info[0].As<Napi::Object>());
    napi_type_tag_object(info.Env(), info.This(), &Part::kTag);
  }

  // Hides that of ObjectWrap, which takes whatever an object wraps.
  static Part* Unwrap(Napi::Object object) {
    bool ours = false;
    if (napi_check_object_type_tag(object.Env(), object, &Part::kTag, &ours) == napi_ok && ours) {
      return Napi::ObjectWrap<Part>::Unwrap(object);
    }
    throw_error(object.Env(), Reason::kInvalidArgument,
                "the method was called on something that is no part of a store");
    return nullptr;
  }

 protected:
  [[nodiscard]] Store& store() const { return *store_; }
  [[nodiscard]] napi_value owner() const { return object_.Value(); }

  // What a call answers after throwing.
  static Napi::Value refuse(const Napi::CallbackInfo& info, const Error& error) {
    return {info.Env(), throw_error(info.Env(), error)};
  }

  // The promise of a task that answers nothing, or null after throwing.
  Napi::Value run(const Napi::CallbackInfo& info, const char* name, Store::Work&& work,
                  Store::MakeValue&& value = {}) {
    if (!store_->check_task(info.Env())) return {};
    return {info.Env(), store_->run(owner(), name, std::move(work), std::move(value))};
  }
  Napi::Value run_cancellable(const Napi::CallbackInfo& info, const char* name, Store::Work&& work,
                              Store::MakeValue&& value = {}) {
    if (!store_->check_task(info.Env())) return {};
    return {info.Env(), store_->run_cancellable(owner(), name, std::move(work), std::move(value))};
  }
  Napi::Value run_to_open(const Napi::CallbackInfo& info, const char* name, Store::Work&& work) {
    if (!store_->check_task(info.Env())) return {};
    return {info.Env(), store_->run_to_open(owner(), name, std::move(work))};
  }
  // The promise of a task that answers what `convert` makes of a T, which `work` has filled.
  template <typename T>
  Napi::Value run_for(const Napi::CallbackInfo& info, const char* name,
                      std::function<Result<T>(store::Engine&)> work,
                      std::function<napi_value(napi_env, const T&)> convert) {
    auto found = std::make_shared<T>();
    return run(info, name, keep<T>(found, std::move(work)), make<T>(found, std::move(convert)));
  }
  template <typename T>
  Napi::Value run_cancellable_for(const Napi::CallbackInfo& info, const char* name,
                                  std::function<Result<T>(store::Engine&)> work,
                                  std::function<napi_value(napi_env, const T&)> convert) {
    auto found = std::make_shared<T>();
    return run_cancellable(info, name, keep<T>(found, std::move(work)), make<T>(found, std::move(convert)));
  }

 private:
  template <typename T>
  static Store::Work keep(std::shared_ptr<T> found, std::function<Result<T>(store::Engine&)> work) {
    return [found, work = std::move(work)](store::Engine& engine) -> Status {
      SR_ASSIGN(*found, work(engine));
      return {};
    };
  }
  template <typename T>
  static Store::MakeValue make(std::shared_ptr<T> found,
                               std::function<napi_value(napi_env, const T&)> convert) {
    return [found, convert = std::move(convert)](napi_env env) { return convert(env, *found); };
  }

  Store* store_;
  Napi::ObjectReference object_;
};

// A start, by its plan.
class Start : public StorePart<Start> {
 public:
  static constexpr napi_type_tag kTag{0x5354524f4e47524fULL, 0x5354415254303031ULL};
  static constexpr const char* kName = "Start";
  using StorePart::StorePart;
  static Napi::Function define(Napi::Env env);

  Napi::Value open(const Napi::CallbackInfo& info);
  Napi::Value proceed(const Napi::CallbackInfo& info);

 private:
  Napi::Value run_start(const Napi::CallbackInfo& info, napi_value progress);
};

// The administrative operations.
class Operations : public StorePart<Operations> {
 public:
  static constexpr napi_type_tag kTag{0x5354524f4e47524fULL, 0x4f50455230303031ULL};
  static constexpr const char* kName = "Operations";
  using StorePart::StorePart;
  static Napi::Function define(Napi::Env env);

  template <auto kStep>  // called with the engine
  Napi::Value step(const Napi::CallbackInfo& info);
  template <auto kOperation>  // called with the engine and a credential
  Napi::Value operate(const Napi::CallbackInfo& info);
  Napi::Value validate_restore(const Napi::CallbackInfo& info);
  Napi::Value restore(const Napi::CallbackInfo& info);
  Napi::Value note_restore(const Napi::CallbackInfo& info);
  Napi::Value rotate_kek(const Napi::CallbackInfo& info);
  Napi::Value rotate_dek(const Napi::CallbackInfo& info);
  Napi::Value decommission(const Napi::CallbackInfo& info);
  Napi::Value find_leftovers(const Napi::CallbackInfo& info);
};

// What is done to an open store apart from reads and writes of its vault.
class Maintenance : public StorePart<Maintenance> {
 public:
  static constexpr napi_type_tag kTag{0x5354524f4e47524fULL, 0x4d41494e30303031ULL};
  static constexpr const char* kName = "Maintenance";
  using StorePart::StorePart;
  static Napi::Function define(Napi::Env env);

  template <auto kStep>  // called with the engine
  Napi::Value step(const Napi::CallbackInfo& info);
  Napi::Value shut(const Napi::CallbackInfo& info);
  Napi::Value set_system_record(const Napi::CallbackInfo& info);
  Napi::Value get_system_record(const Napi::CallbackInfo& info);
  Napi::Value verify(const Napi::CallbackInfo& info);
  Napi::Value audit_log(const Napi::CallbackInfo& info);
};

// The backup passwords.
class Passwords : public StorePart<Passwords> {
 public:
  static constexpr napi_type_tag kTag{0x5354524f4e47524fULL, 0x5041535330303031ULL};
  static constexpr const char* kName = "Passwords";
  using StorePart::StorePart;
  static Napi::Function define(Napi::Env env);

  Napi::Value change(const Napi::CallbackInfo& info);
  Napi::Value add(const Napi::CallbackInfo& info);
  Napi::Value remove(const Napi::CallbackInfo& info);
  Napi::Value verify(const Napi::CallbackInfo& info);
};

// The managed keys.
//
// A signature takes what it needs of the store on the JavaScript thread, in microseconds, and signs on the pool without it:
// any number run side by side, also next to a task of the store or after it was closed. All changes are tasks.
class Keys : public StorePart<Keys> {
 public:
  static constexpr napi_type_tag kTag{0x5354524f4e47524fULL, 0x4b45595330303031ULL};
  static constexpr const char* kName = "Keys";
  using StorePart::StorePart;
  static Napi::Function define(Napi::Env env);

  Napi::Value generate(const Napi::CallbackInfo& info);
  Napi::Value attach_chain(const Napi::CallbackInfo& info);
  Napi::Value deactivate(const Napi::CallbackInfo& info);
  Napi::Value reactivate(const Napi::CallbackInfo& info);
  Napi::Value remove(const Napi::CallbackInfo& info);
  Napi::Value find(const Napi::CallbackInfo& info);
  Napi::Value list(const Napi::CallbackInfo& info);
  Napi::Value sign_message(const Napi::CallbackInfo& info);
  Napi::Value sign_digest(const Napi::CallbackInfo& info);

 private:
  using Change = Status (*)(store::ManagedKeys& keys, const std::string& id, const std::string& text);
  // A task on one key, by its id and a text.
  Napi::Value change(const Napi::CallbackInfo& info, const char* name, Change act);
  [[nodiscard]] store::KeyRecords records() const;

  // What a signature needs of the store.
  struct Signing {
    std::shared_ptr<store::KeySigner> signer;
    Bytes input;
    store::SignatureFormat format{};
  };
  using Sign = Result<Bytes> (*)(store::KeySigner& signer, ByteView input, store::SignatureFormat format);
  // (id, input, SignatureFormat); `what` names the input in messages.
  [[nodiscard]] Result<Signing> prepare(const Napi::CallbackInfo& info, const char* what);
  // kQueueFull when too many signatures wait.
  [[nodiscard]] Status admit(std::size_t bytes) const;
  Napi::Value sign(const Napi::CallbackInfo& info, Signing signing, Sign act);
};

// The TLS credential.
class Tls : public StorePart<Tls> {
 public:
  static constexpr napi_type_tag kTag{0x5354524f4e47524fULL, 0x544c533030303031ULL};
  static constexpr const char* kName = "Tls";
  using StorePart::StorePart;
  static Napi::Function define(Napi::Env env);

  Napi::Value set(const Napi::CallbackInfo& info);
  Napi::Value certificate(const Napi::CallbackInfo& info);
  Napi::Value remove(const Napi::CallbackInfo& info);
  Napi::Value extract(const Napi::CallbackInfo& info);
};

// Keeps the classes of the parts; once in each environment.
void define_parts(napi_env env);

// `new Part(store)`, or null after throwing.
template <typename Part>
[[nodiscard]] napi_value make_part(napi_env env, napi_value store_object);

// --- What several parts read ---

// (password | undefined, permit | undefined)
[[nodiscard]] Result<std::shared_ptr<store::Credential>> read_credential(napi_env env, napi_value password,
                                                                         napi_value permit);
// Shared, as a closure that is copied needs it; undefined is empty.
[[nodiscard]] Result<std::shared_ptr<SecretBytes>> read_shared_secret(napi_env env, napi_value value,
                                                                      const char* what);
// kInvalidArgument; TypeScript has checked that it is a string.
[[nodiscard]] Result<std::string> read_text(napi_env env, napi_value value, const char* what);

}  // namespace strongroom::addon
