// The same expectations of every PKCS#11 module that Debian has for a machine without a device: SoftHSM2, and NSS softokn,
// which is another implementation with another store, other errors and initialisation arguments.
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <set>
#include <thread>

#include "crypto/crypto.h"
#include "expect_status.h"
#include "private_token.h"

// SoftHSM 2.6 loses the name of the curve for each Ed25519 key. Its OpenSSL is the shared library; ours is linked statically.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:libcrypto.so.3\n"; }

namespace strongroom::roots {
namespace {

using testing::pin;
using testing::PrivateToken;
using testing::TemporaryDirectory;

// A token of one module, made for one test.
class Provider {
 public:
  virtual ~Provider() = default;
  virtual TokenLocator locator() = 0;
  virtual std::set<KeyAlgorithm> algorithms() = 0;
  virtual std::set<KekType> kek_types() = 0;
  virtual Bytes so_pin() { return {}; }
};

class SoftHsm final : public Provider {
 public:
  SoftHsm() { hsm_.make("acme"); }
  TokenLocator locator() override { return hsm_.locator("acme"); }
  std::set<KeyAlgorithm> algorithms() override {
    return {KeyAlgorithm::kEcP256, KeyAlgorithm::kEcP384, KeyAlgorithm::kRsa3072, KeyAlgorithm::kEd25519};
  }
  std::set<KekType> kek_types() override { return {KekType::kAesKeyWrap, KekType::kRsaOaepSha1}; }

 private:
  PrivateToken hsm_;
};

class Nss final : public Provider {
 public:
  Nss() {
    locator_.module = module();
    locator_.label = "acme db";
    locator_.object = "kek";
    locator_.init_arguments =
        "configdir='sql:" + directory_.path().string() +
        "' certPrefix='' keyPrefix='' secmod='secmod.db' flags= dbTokenDescription='acme db'";
    const auto slots = Token::list(locator_.module, kTokenTimeLimit, locator_.init_arguments);
    EXPECT_TRUE(slots.ok()) << slots.error().detail;
    for (const TokenInfo& slot : *slots) {
      if (slot.label != "acme db") continue;
      // Its security officer has an empty PIN until the user has one.
      const auto made = Token::initialise(locator_.module, slot.slot_id, "acme db", "", SecretBytes(),
                                          pin(PrivateToken::kPin), kTokenTimeLimit, locator_.init_arguments);
      EXPECT_TRUE(made.ok()) << made.error().detail;
    }
  }
  TokenLocator locator() override { return locator_; }
  std::set<KeyAlgorithm> algorithms() override {
    return {KeyAlgorithm::kEcP256, KeyAlgorithm::kEcP384, KeyAlgorithm::kRsa3072};
  }
  std::set<KekType> kek_types() override {
    return {KekType::kAesKeyWrap, KekType::kRsaOaep, KekType::kRsaOaepSha1};
  }

 private:
  static std::string module() {
    for (const char* path :
         {"/usr/lib/x86_64-linux-gnu/libsoftokn3.so", "/usr/lib/aarch64-linux-gnu/libsoftokn3.so",
          "/usr/lib/x86_64-linux-gnu/nss/libsoftokn3.so", "/usr/lib64/libsoftokn3.so"}) {
      if (std::filesystem::exists(path)) return path;
    }
    std::fprintf(stderr, "NSS is missing: apt-get install libnss3 (or run ./scripts/setup)\n");
    std::abort();
  }
  TemporaryDirectory directory_;
  TokenLocator locator_;
};

// SoftHSM2 behind p11-kit's remoting: a client module in this process, the tokens in another.
class RemoteHsm {
 public:
  RemoteHsm() : address_("P11_KIT_SERVER_ADDRESS", ("unix:path=" + socket()).c_str()) {
    hsm.make("acme");
    start();
  }
  ~RemoteHsm() { stop(); }
  RemoteHsm(const RemoteHsm&) = delete;
  RemoteHsm& operator=(const RemoteHsm&) = delete;

  void start() {
    const std::string module = testing::softhsm_module();
    const char* const words[] = {"p11-kit",    "server",       "--foreground", "--name", socket_.c_str(),
                                 "--provider", module.c_str(), "pkcs11:",      nullptr};
    posix_spawnattr_t group;
    posix_spawnattr_init(&group);
    posix_spawnattr_setflags(&group, POSIX_SPAWN_SETPGROUP);
    const int error =
        posix_spawnp(&pid_, words[0], nullptr, &group, const_cast<char* const*>(words), environ);
    posix_spawnattr_destroy(&group);
    ASSERT_EQ(error, 0) << "p11-kit is missing: apt-get install p11-kit (or run ./scripts/setup)";
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!connects() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  }
  // With the processes that serve the connections.
  void stop() {
    if (pid_ == 0) return;
    kill(-pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
    std::filesystem::remove(socket_);
  }

  static std::string module() {
    for (const char* path :
         {"/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so",
          "/usr/lib/aarch64-linux-gnu/pkcs11/p11-kit-client.so", "/usr/lib64/pkcs11/p11-kit-client.so"}) {
      if (std::filesystem::exists(path)) return path;
    }
    std::fprintf(stderr,
                 "p11-kit is missing: apt-get install p11-kit p11-kit-modules (or run ./scripts/setup)\n");
    std::abort();
  }
  [[nodiscard]] TokenLocator locator() const {
    TokenLocator locator = hsm.locator("acme");
    locator.module = module();
    return locator;
  }

 private:
  std::string socket() {
    socket_ = (directory_.path() / "socket").string();
    return socket_;
  }
  [[nodiscard]] bool connects() const {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    socket_.copy(name.sun_path, sizeof(name.sun_path) - 1);
    const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool connected = connect(descriptor, reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0;
    close(descriptor);
    return connected;
  }
  TemporaryDirectory directory_;
  std::string socket_;
  testing::EnvironmentVariable address_;
  PrivateToken hsm;
  pid_t pid_ = 0;
};

// Its client shows no slot when the server is gone. Nothing can be missing where nothing could be.
TEST(TokenRemote, AServerThatIsGoneIsAnOutage) {
  RemoteHsm remote;
  const auto opened = Token::open(remote.locator(), pin(PrivateToken::kPin));
  ASSERT_TRUE(opened.ok()) << opened.error().detail;
  Token& token = **opened;
  ASSERT_OK(token.objects().save("probe", as_bytes("value")));
  remote.stop();
  EXPECT_REASON(token.objects().load("probe"), Reason::kHsmUnreachable);
  const auto again = Token::open(remote.locator(), pin(PrivateToken::kPin));
  EXPECT_REASON(again, Reason::kHsmUnreachable);
  EXPECT_NE(again.error().detail.find("no slot"), std::string::npos) << again.error().detail;
  remote.start();
  const auto loaded = token.objects().load("probe");
  ASSERT_OK(loaded);
  ASSERT_TRUE(loaded->has_value());
  EXPECT_EQ(as_text(**loaded), "value");
  TokenLocator other = remote.locator();
  other.label = "other";
  EXPECT_REASON(Token::open(other, pin(PrivateToken::kPin)), Reason::kTokenMissing);
}

struct NamedProvider {
  const char* name;
  std::function<std::unique_ptr<Provider>()> make;
};

class TokenModules : public ::testing::TestWithParam<NamedProvider> {
 protected:
  void SetUp() override {
    provider = GetParam().make();
    reopen();
    ASSERT_NE(token, nullptr);
  }
  void reopen() {
    token.reset();
    auto opened = Token::open(provider->locator(), pin(PrivateToken::kPin));
    ASSERT_TRUE(opened.ok()) << opened.error().detail;
    token = std::move(*opened);
  }
  std::unique_ptr<Provider> provider;
  std::unique_ptr<Token> token;
};

TEST_P(TokenModules, LocatorAndPin) {
  TokenLocator locator = provider->locator();
  EXPECT_EQ(token->info().label, *locator.label);
  token.reset();
  EXPECT_TRUE(Token::open(locator, pin("not the pin")).is(Reason::kPinWrong));
  locator.label = "nobody's";
  EXPECT_TRUE(Token::open(locator, pin(PrivateToken::kPin)).is(Reason::kTokenMissing));
  locator.label.reset();
  locator.slot_id = 4711;
  EXPECT_TRUE(Token::open(locator, pin(PrivateToken::kPin)).is(Reason::kTokenMissing));
  reopen();
}

TEST_P(TokenModules, KeyEncryptionKeys) {
  for (const KekType type : {KekType::kAesKeyWrap, KekType::kRsaOaep, KekType::kRsaOaepSha1}) {
    const auto kek = token->generate_kek("kek", type);
    if (provider->kek_types().count(type) == 0) {
      EXPECT_TRUE(kek.is(Reason::kHsmRefused));
      continue;
    }
    ASSERT_TRUE(kek.ok()) << static_cast<int>(type) << " " << kek.error().detail;
    const Digest secret = crypto::random_array<32>();
    const auto wrapped = token->wrap("kek", *kek, secret);
    ASSERT_TRUE(wrapped.ok()) << wrapped.error().detail;
    const auto check = token->kek_check_value("kek", *kek);
    ASSERT_TRUE(check.ok()) << check.error().detail;
    reopen();
    const auto unwrapped = token->unwrap("kek", *kek, *wrapped);
    ASSERT_TRUE(unwrapped.ok()) << unwrapped.error().detail;
    EXPECT_TRUE(equal(unwrapped->view(), secret));
    EXPECT_TRUE(token->verify_kek("kek", *kek, *check).ok());
    for (std::size_t at = 0; at < wrapped->size(); at += 13) {
      Bytes flipped = *wrapped;
      flipped[at] ^= 1;
      const auto refused = token->unwrap("kek", *kek, flipped);
      EXPECT_TRUE(refused.is(Reason::kWrappedDekCorrupt))
          << at << (refused.ok() ? "" : refused.error().detail);
    }
    EXPECT_TRUE(token->unwrap("kek", *kek, Bytes(8)).is(Reason::kWrappedDekCorrupt));
    // Under another key of the same kind.
    const auto other = token->generate_kek("kek", type);
    ASSERT_TRUE(other.ok());
    EXPECT_TRUE(token->unwrap("kek", *other, *wrapped).is(Reason::kWrappedDekCorrupt));
    EXPECT_TRUE(token->verify_kek("kek", *other, *check).is(Reason::kKekReplaced));
    ASSERT_TRUE(token->destroy_kek("kek", *kek).ok());
    EXPECT_TRUE(token->unwrap("kek", *kek, *wrapped).is(Reason::kKekMissing));
    EXPECT_TRUE(token->find_kek("kek", *other).ok());
  }
  const auto best = token->generate_kek("kek");
  ASSERT_TRUE(best.ok());
  EXPECT_EQ(best->type, *provider->kek_types().begin());
}

TEST_P(TokenModules, Objects) {
  EXPECT_FALSE(token->objects().load("witness")->has_value());
  for (const std::size_t size : {0U, 1U, 64U, 4096U}) {
    const Bytes value(size, static_cast<std::uint8_t>(size + 1));
    const Status saved = token->objects().save("witness", value);
    ASSERT_TRUE(saved.ok()) << saved.error().detail;
    reopen();
    const auto loaded = token->objects().load("witness");
    ASSERT_TRUE(loaded.ok()) << loaded.error().detail;
    EXPECT_EQ(**loaded, value);
  }
  ASSERT_TRUE(token->objects().remove("witness").ok());
  EXPECT_FALSE(token->objects().load("witness")->has_value());
}

using PublicKey = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

bool verifies(ByteView spki, KeyAlgorithm algorithm, ByteView input, ByteView signature) {
  const unsigned char* at = spki.data();
  const PublicKey key(d2i_PUBKEY(nullptr, &at, static_cast<long>(spki.size())), EVP_PKEY_free);
  if (key == nullptr || at != spki.data() + spki.size()) return false;
  if (algorithm == KeyAlgorithm::kEd25519) {
    const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
    return EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
           EVP_DigestVerify(context.get(), signature.data(), signature.size(), input.data(), input.size()) ==
               1;
  }
  const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> context(
      EVP_PKEY_CTX_new(key.get(), nullptr), EVP_PKEY_CTX_free);
  if (EVP_PKEY_verify_init(context.get()) != 1) return false;
  if (algorithm == KeyAlgorithm::kRsa3072 &&
      (EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_PSS_PADDING) != 1 ||
       EVP_PKEY_CTX_set_signature_md(context.get(), EVP_sha256()) != 1 ||
       EVP_PKEY_CTX_set_rsa_pss_saltlen(context.get(), 32) != 1)) {
    return false;
  }
  return EVP_PKEY_verify(context.get(), signature.data(), signature.size(), input.data(), input.size()) == 1;
}

TEST_P(TokenModules, ManagedKeys) {
  std::uint8_t number = 0;
  for (const KeyAlgorithm algorithm :
       {KeyAlgorithm::kEcP256, KeyAlgorithm::kEcP384, KeyAlgorithm::kRsa3072, KeyAlgorithm::kEd25519}) {
    const Bytes id = {9, 9, ++number};
    EXPECT_TRUE(token->public_key(id).is(Reason::kNotFound));
    const Status made = token->generate_key("issuing", id, algorithm);
    if (provider->algorithms().count(algorithm) == 0) {
      // NSS 3.110 makes an Ed25519 key, and refuses to sign with it.
      EXPECT_TRUE(made.ok() || made.is(Reason::kHsmAlgorithmMissing)) << described(made);
      continue;
    }
    ASSERT_OK(made);
    EXPECT_TRUE(token->generate_key("issuing", id, algorithm).is(Reason::kHsmRefused)) << "the id is taken";
    reopen();
    const auto spki = token->public_key(id);
    ASSERT_TRUE(spki.ok()) << spki.error().detail;
    const std::size_t input_bytes = algorithm == KeyAlgorithm::kEcP384    ? 48
                                    : algorithm == KeyAlgorithm::kEd25519 ? 100'000
                                                                          : 32;
    Bytes input(input_bytes);
    crypto::random_bytes(input);
    const auto start = std::chrono::steady_clock::now();
    const auto signature = token->sign(id, algorithm, input, SignatureFormat::kDer);
    const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - start;
    ASSERT_TRUE(signature.ok()) << signature.error().detail;
    std::printf("%-8s sign, algorithm %d: %.3f ms\n", GetParam().name, static_cast<int>(algorithm),
                taken.count());
    EXPECT_TRUE(verifies(*spki, algorithm, input, *signature)) << static_cast<int>(algorithm);
    input[0] ^= 1;
    EXPECT_FALSE(verifies(*spki, algorithm, input, *signature)) << static_cast<int>(algorithm);
    const auto raw = token->sign(id, algorithm, input, SignatureFormat::kRaw);
    ASSERT_TRUE(raw.ok());
    if (algorithm == KeyAlgorithm::kEcP256 || algorithm == KeyAlgorithm::kEcP384) {
      EXPECT_EQ(raw->size(), 2 * input_bytes);
      EXPECT_FALSE(verifies(*spki, algorithm, input, *raw));
    } else {
      EXPECT_TRUE(verifies(*spki, algorithm, input, *raw));
    }
    if (algorithm != KeyAlgorithm::kEd25519) {
      EXPECT_TRUE(token->sign(id, algorithm, Bytes(20), SignatureFormat::kRaw).is(Reason::kInvalidArgument));
    } else {
      EXPECT_TRUE(
          verifies(*spki, algorithm, Bytes(), *token->sign(id, algorithm, Bytes(), SignatureFormat::kRaw)));
      EXPECT_TRUE(token->sign(id, algorithm, Bytes((1 << 20) + 1), SignatureFormat::kRaw)
                      .is(Reason::kInvalidArgument));
    }
    ASSERT_TRUE(token->destroy_key(id).ok());
    EXPECT_TRUE(token->public_key(id).is(Reason::kNotFound));
    EXPECT_TRUE(token->sign(id, algorithm, Bytes(input_bytes), SignatureFormat::kRaw).is(Reason::kNotFound));
    EXPECT_TRUE(token->destroy_key(id).is(Reason::kNotFound));
  }
  EXPECT_TRUE(token->public_key(Bytes()).is(Reason::kInvalidArgument));
  EXPECT_TRUE(token->generate_key("x", Bytes(1), static_cast<KeyAlgorithm>(9)).is(Reason::kInvalidArgument));
}

TEST_P(TokenModules, Timing) {
  using Clock = std::chrono::steady_clock;
  const auto kek = token->generate_kek("kek");
  ASSERT_TRUE(kek.ok());
  const Digest secret = crypto::random_array<32>();
  const auto wrapped = token->wrap("kek", *kek, secret);
  ASSERT_TRUE(wrapped.ok());
  const Bytes id = {1};
  ASSERT_TRUE(token->generate_key("k", id, KeyAlgorithm::kEcP256).ok());
  const auto time = [](const char* what, int times, const auto& work) {
    const auto start = Clock::now();
    for (int i = 0; i < times; ++i) work();
    const double ms = std::chrono::duration<double, std::milli>(Clock::now() - start).count() / times;
    std::printf("%-8s %-28s %8.3f ms\n", GetParam().name, what, ms);
  };
  const TokenLocator locator = provider->locator();
  time("C_Initialize, find, login", 10, [&] {
    token.reset();
    EXPECT_TRUE(Token::list(locator.module, kTokenTimeLimit, locator.init_arguments).ok());
    reopen();
  });
  time("wrap (and unwrap)", 50, [&] { EXPECT_TRUE(token->wrap("kek", *kek, secret).ok()); });
  time("unwrap", 50, [&] { EXPECT_TRUE(token->unwrap("kek", *kek, *wrapped).ok()); });
  time("check value", 50, [&] { EXPECT_TRUE(token->kek_check_value("kek", *kek).ok()); });
  time("sign P-256", 50,
       [&] { EXPECT_TRUE(token->sign(id, KeyAlgorithm::kEcP256, secret, SignatureFormat::kDer).ok()); });
  time("save object", 20, [&] { EXPECT_TRUE(token->objects().save("w", secret).ok()); });
  time("load object", 20, [&] { EXPECT_TRUE(token->objects().load("w").ok()); });
}

INSTANTIATE_TEST_SUITE_P(Modules, TokenModules,
                         ::testing::Values(NamedProvider{"SoftHSM2",
                                                         [] { return std::make_unique<SoftHsm>(); }},
                                           NamedProvider{"NSS", [] { return std::make_unique<Nss>(); }}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace strongroom::roots
