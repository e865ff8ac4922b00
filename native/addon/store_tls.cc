#include "addon/store_parts.h"
#include "os/posix.h"
#include "store/tls_credential.h"

namespace strongroom::addon {

using store::Engine;
using store::TlsCertificate;

namespace {

struct Credential {
  SecretBytes key;
  TlsCertificate certificate;
};

// (key, certificate, chain)
Result<std::shared_ptr<Credential>> read_tls(const Napi::CallbackInfo& info) {
  auto out = std::make_shared<Credential>();
  ByteView bytes;
  SR_TRY(read_bytes(info.Env(), info[0], "the key", &bytes));
  if (bytes.size() > limits::kPrivateKeyPemBytesMax) {
    return Status(Reason::kInvalidArgument, "the key has at most 16,384 bytes");
  }
  out->key = SecretBytes(bytes);
  SR_TRY(read_bytes(info.Env(), info[1], "the certificate", &bytes));
  out->certificate.certificate = as_text(bytes);
  SR_TRY(read_bytes(info.Env(), info[2], "the chain", &bytes));
  out->certificate.chain = as_text(bytes);
  return out;
}

}  // namespace

// set(key, certificate, chain)
Napi::Value Tls::set(const Napi::CallbackInfo& info) {
  if (!store().check_open_task(info.Env())) return {};
  const auto credential = read_tls(info);
  if (!credential.ok()) return refuse(info, credential.error());
  return run(info, "strongroom.setTls", [credential = *credential](Engine& engine) {
    return store::set_tls(engine, credential->key.view(), credential->certificate);
  });
}

Napi::Value Tls::certificate(const Napi::CallbackInfo& info) {
  using Found = std::optional<TlsCertificate>;
  if (!store().check_open_task(info.Env())) return {};
  return run_for<Found>(
      info, "strongroom.tlsCertificate", [](Engine& engine) { return store::tls_certificate(engine); },
      [](napi_env env, const Found& found) { return describe(env, found); });
}

Napi::Value Tls::remove(const Napi::CallbackInfo& info) {
  if (!store().check_open_task(info.Env())) return {};
  return run(info, "strongroom.removeTls", [](Engine& engine) { return store::remove_tls(engine); });
}

// extract(directory)
Napi::Value Tls::extract(const Napi::CallbackInfo& info) {
  if (!store().check_open_task(info.Env())) return {};
  const Result<std::string> directory = read_text(info.Env(), info[0], "the directory");
  if (!directory.ok()) return refuse(info, directory.error());
  return run(info, "strongroom.extractTls", [directory = *directory](Engine& engine) {
    return store::extract_tls(engine, os::posix_files(), directory);
  });
}

Napi::Function Tls::define(Napi::Env env) {
  return DefineClass(env, kName,
                     {InstanceMethod<&Tls::set>("set"), InstanceMethod<&Tls::certificate>("certificate"),
                      InstanceMethod<&Tls::remove>("remove"), InstanceMethod<&Tls::extract>("extract")});
}

}  // namespace strongroom::addon
