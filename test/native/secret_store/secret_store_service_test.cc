// The `secret-service` back end on a real gnome-keyring-daemon, each test in a private session of its own.
#include "secret_store/secret_store_service.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <optional>
#include <string>
#include <thread>

#include "base/cancellation.h"
#include "base/limits.h"
#include "expect_status.h"
#include "os/posix.h"
#include "private_keyring.h"
#include "secret_store/libsecret.h"
#include "secret_store/secret_record.h"
#include "secret_store_conformance.h"

namespace strongroom::store::testing {
namespace {

Result<std::unique_ptr<SecretStore>> open_store(const std::string& instance = "acme") {
  return open_secret_store({os::posix_files(), os::posix_clock()}, {SecretStoreType::kSecretService, ""},
                           instance, os::DirectoryMode::kCreate);
}

class ServiceWorld {
 public:
  Result<std::unique_ptr<SecretStore>> open(const std::string& instance, os::DirectoryMode) {
    return open_store(instance);
  }
  void make_unreachable() { ASSERT_TRUE(keyring_.lock()); }
  void make_reachable() { ASSERT_TRUE(keyring_.replace_daemon()); }

 private:
  PrivateKeyring keyring_;
};

INSTANTIATE_TYPED_TEST_SUITE_P(SecretService, SecretStoreConformance, ServiceWorld);

using Milliseconds = std::chrono::milliseconds;

Milliseconds since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration_cast<Milliseconds>(std::chrono::steady_clock::now() - start);
}

// Makes items that the back end would not make, straight through libsecret.
class RawItems {
 public:
  RawItems() {
    lib_ = *libsecret::functions();
    connection_ = lib_->g_dbus_connection_new_for_address_sync(
        getenv("DBUS_SESSION_BUS_ADDRESS"),
        libsecret::kConnectionAuthenticationClient | libsecret::kConnectionMessageBus, nullptr, nullptr,
        nullptr);
    service_ = libsecret::new_service(*lib_, connection_, nullptr, nullptr);
    collection_ = lib_->secret_collection_for_alias_sync(service_, "default", libsecret::kCollectionNone,
                                                         nullptr, nullptr);
    schema_ = lib_->secret_schema_new("org.strongroom.Secret", libsecret::kSchemaNone, "application",
                                      libsecret::kAttributeString, "storage-id", libsecret::kAttributeString,
                                      "name", libsecret::kAttributeString, nullptr);
  }
  ~RawItems() {
    lib_->g_object_unref(collection_);
    lib_->g_object_unref(service_);
    lib_->g_object_unref(connection_);
  }
  RawItems(const RawItems&) = delete;
  RawItems& operator=(const RawItems&) = delete;

  // `replace`: an item with the same attributes; otherwise another one beside it.
  void make(SecretName name, const std::string& storage_id, const std::string& text, bool replace = false) {
    libsecret::GHashTable* const attributes =
        lib_->secret_attributes_build(schema_, "application", "acme", "storage-id", storage_id.c_str(),
                                      "name", secret_name_text(name).data(), nullptr);
    libsecret::SecretValue* const value =
        lib_->secret_value_new(text.data(), static_cast<std::ptrdiff_t>(text.size()), "text/plain");
    libsecret::SecretItem* const item =
        lib_->secret_item_create_sync(collection_, schema_, attributes, "a test's", value,
                                      replace ? libsecret::kItemCreateReplace : 0, nullptr, nullptr);
    ASSERT_NE(item, nullptr);
    lib_->g_object_unref(item);
    lib_->secret_value_unref(value);
    lib_->g_hash_table_unref(attributes);
  }

 private:
  const libsecret::Functions* lib_;
  libsecret::GDBusConnection* connection_;
  libsecret::SecretService* service_;
  libsecret::SecretCollection* collection_;
  libsecret::SecretSchema* schema_;
};

std::string record_text(SecretName name, const StorageId& id, ByteView value,
                        const std::string& instance = "acme") {
  return to_hex(encode_secret_record(name, instance, id, value).view());
}

class SecretServiceTest : public ::testing::Test {
 protected:
  // Every call answers that the store cannot be reached, and says why in words that hold `part`.
  void expect_unavailable(SecretStore& store, const std::string& part) {
    for (const SecretName name : kAllNames) {
      const Result<std::optional<Secret>> loaded = store.load(name);
      ASSERT_TRUE(loaded.is(Reason::kSecretStoreUnavailable)) << secret_name_text(name);
      EXPECT_NE(loaded.error().detail.find(part), std::string::npos) << loaded.error().detail;
    }
    EXPECT_TRUE(
        store.save(SecretName::kVaultHash, id_of(1), as_bytes("x")).is(Reason::kSecretStoreUnavailable));
    EXPECT_TRUE(store.remove(SecretName::kVaultHash).is(Reason::kSecretStoreUnavailable));
  }

  PrivateKeyring keyring_;
  std::unique_ptr<SecretStore> store_ = *open_store();
};

TEST_F(SecretServiceTest, DaemonKilled) {
  ASSERT_TRUE(succeeded(store_->save(SecretName::kVaultHash, id_of(1), as_bytes("checkpoint"))));
  keyring_.kill_daemon();
  expect_unavailable(*store_, "");
}

TEST_F(SecretServiceTest, SavedIsThereAfterTheDaemonWasKilled) {
  ASSERT_TRUE(succeeded(store_->save(SecretName::kVaultHash, id_of(1), as_bytes("older"))));
  ASSERT_TRUE(succeeded(store_->save(SecretName::kVaultHash, id_of(1), as_bytes("checkpoint"))));
  keyring_.kill_daemon();
  expect_unavailable(*store_, "");
  ASSERT_TRUE(keyring_.replace_daemon());
  EXPECT_TRUE(holds(*store_, SecretName::kVaultHash, id_of(1), as_bytes("checkpoint")));
}

TEST_F(SecretServiceTest, BusKilled) {
  ASSERT_TRUE(succeeded(store_->save(SecretName::kVaultHash, id_of(1), as_bytes("checkpoint"))));
  keyring_.kill_bus();
  expect_unavailable(*store_, "");
}

TEST_F(SecretServiceTest, NoBusInTheEnvironment) {
  const EnvironmentVariable address("DBUS_SESSION_BUS_ADDRESS", nullptr);
  {
    const EnvironmentVariable runtime("XDG_RUNTIME_DIR", nullptr);
    const EnvironmentVariable display("DISPLAY", ":99");
    expect_unavailable(**open_store(), "no D-Bus session");
  }
  {
    const EnvironmentVariable runtime("XDG_RUNTIME_DIR", "/nowhere at, all");
    expect_unavailable(**open_store(), "cannot connect");
  }
  // The runtime directory's own bus is found, whatever characters its path has.
  const std::string odd = keyring_.directory() + "/a,b;c=d %";
  std::filesystem::create_directory(odd);
  std::filesystem::create_symlink("../bus", odd + "/bus");
  const EnvironmentVariable runtime("XDG_RUNTIME_DIR", odd.c_str());
  EXPECT_TRUE(absent(**open_store(), SecretName::kVaultHash));
}

TEST_F(SecretServiceTest, AddressesThatLeadNowhere) {
  for (const char* text : {"unix:path=/nowhere/bus", "nonsense", "unix:", "tcp:host=127.0.0.1,port=1"}) {
    const EnvironmentVariable address("DBUS_SESSION_BUS_ADDRESS", text);
    expect_unavailable(**open_store(), "cannot connect");
  }
}

TEST_F(SecretServiceTest, LockedIsNeitherAbsentNorAskedFor) {
  ASSERT_TRUE(succeeded(store_->save(SecretName::kVaultHash, id_of(1), as_bytes("checkpoint"))));
  ASSERT_TRUE(keyring_.lock());
  const auto start = std::chrono::steady_clock::now();
  expect_unavailable(*store_, "locked");
  EXPECT_LT(since(start), Milliseconds(kSecretServiceDeadlineMs)) << "something waited for a prompt";
  ASSERT_TRUE(keyring_.replace_daemon());
  EXPECT_TRUE(holds(*store_, SecretName::kVaultHash, id_of(1), as_bytes("checkpoint")));
}

// Between the back end and the bus: until a client calls Unlock, every property `Locked` in an answer that has the property
// `marker` too is true, as KWallet answers of a wallet that was opened at login.
class LockedUntilAsked {
 public:
  LockedUntilAsked(const PrivateKeyring& keyring, std::string marker)
      : marker_(std::move(marker)),
        bus_(keyring.directory() + "/bus"),
        path_(keyring.directory() + "/relay") {
    struct sockaddr_un address = address_of(path_);
    EXPECT_EQ(bind(listener_, reinterpret_cast<const struct sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(listener_, 16), 0);
    EXPECT_EQ(pipe2(stop_, O_CLOEXEC), 0);
    thread_ = std::thread([this] { serve(); });
    variable_.emplace("DBUS_SESSION_BUS_ADDRESS", ("unix:path=" + path_).c_str());
  }
  ~LockedUntilAsked() {
    variable_.reset();
    close(stop_[1]);
    thread_.join();
    close(stop_[0]);
    close(listener_);
    unlink(path_.c_str());
  }
  LockedUntilAsked(const LockedUntilAsked&) = delete;
  LockedUntilAsked& operator=(const LockedUntilAsked&) = delete;

  // The prompt of a reply to Unlock becomes a string, which has the same bytes as an object path.
  void answer_with_another_type() { another_type_ = true; }

  [[nodiscard]] int changed() const { return changed_; }
  [[nodiscard]] int asked() const { return asked_; }
  [[nodiscard]] int dismissed() const { return dismissed_; }

 private:
  static struct sockaddr_un address_of(const std::string& path) {
    struct sockaddr_un address {};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    return address;
  }

  void serve() {
    struct pollfd waits[] = {{stop_[0], POLLIN, 0}, {listener_, POLLIN, 0}};
    while (poll(waits, 2, -1) > 0 && waits[0].revents == 0) {
      const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      const int bus = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      struct sockaddr_un address = address_of(bus_);
      if (connect(bus, reinterpret_cast<const struct sockaddr*>(&address), sizeof address) == 0)
        relay(client, bus);
      close(bus);
      close(client);
    }
  }

  void relay(int client, int bus) {
    struct pollfd waits[] = {{stop_[0], POLLIN, 0}, {client, POLLIN, 0}, {bus, POLLIN, 0}};
    std::string text(1 << 20, 0);
    while (poll(waits, 3, -1) > 0 && waits[0].revents == 0) {
      const bool from_client = waits[1].revents != 0;
      const ssize_t size = read(from_client ? client : bus, text.data(), text.size());
      if (size <= 0) return;
      std::string part = text.substr(0, static_cast<std::size_t>(size));
      from_client ? note(part) : change(part);
      if (write(from_client ? bus : client, part.data(), part.size()) != size) return;
    }
  }

  void note(const std::string& part) {
    if (part.find(std::string("Unlock\0", 7)) != std::string::npos) ++asked_;
    if (part.find(std::string("Dismiss\0", 8)) != std::string::npos) ++dismissed_;
  }

  void change(std::string& part) {
    const std::string signature("\3aoo\0", 5);
    const std::size_t reply = part.find(signature);
    if (another_type_ && asked_ > 0 && reply != std::string::npos) {
      part[reply + 3] = 's';
      ++changed_;
    }
    if (asked_ > 0 || part.find(marker_) == std::string::npos) return;
    // The name, its variant's signature, and padding; then a boolean of four bytes.
    const std::string property("Locked\0\1b\0\0\0", 12);
    for (std::size_t at = part.find(property); at != std::string::npos; at = part.find(property, at + 1)) {
      const std::uint32_t locked = 1;
      std::memcpy(part.data() + at + property.size(), &locked, sizeof locked);
      ++changed_;
    }
  }

  const std::string marker_;
  const std::string bus_;
  const std::string path_;
  const int listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int stop_[2] = {-1, -1};
  std::atomic<bool> another_type_ = false;
  std::atomic<int> changed_ = 0;
  std::atomic<int> asked_ = 0;
  std::atomic<int> dismissed_ = 0;
  std::thread thread_;
  std::optional<EnvironmentVariable> variable_;
};

TEST_F(SecretServiceTest, WhatIsLockedUntilAskedForIsAskedFor) {
  ASSERT_TRUE(succeeded(store_->save(SecretName::kVaultHash, id_of(1), as_bytes("checkpoint"))));
  for (const char* marker : {"Items", "Attributes"}) {
    const LockedUntilAsked relay(keyring_, marker);
    EXPECT_TRUE(holds(**open_store(), SecretName::kVaultHash, id_of(1), as_bytes("checkpoint"))) << marker;
    EXPECT_GT(relay.changed(), 0);
    EXPECT_EQ(relay.asked(), 1);
    EXPECT_EQ(relay.dismissed(), 0);
  }
  const LockedUntilAsked relay(keyring_, "Items");
  EXPECT_TRUE(succeeded((*open_store())->save(SecretName::kVaultHash, id_of(1), as_bytes("newest"))));
  EXPECT_EQ(relay.asked(), 1);
}

TEST_F(SecretServiceTest, AQuestionToSomebodyIsDismissed) {
  ASSERT_TRUE(keyring_.lock());
  const LockedUntilAsked relay(keyring_, "nothing");
  const Result<std::optional<Secret>> loaded = (*open_store())->load(SecretName::kVaultHash);
  ASSERT_TRUE(loaded.is(Reason::kSecretStoreUnavailable)) << described(loaded.status());
  EXPECT_NE(loaded.error().detail.find("ask somebody"), std::string::npos) << loaded.error().detail;
  EXPECT_EQ(relay.asked(), 1);
  EXPECT_EQ(relay.dismissed(), 1);
}

TEST_F(SecretServiceTest, AReplyOfAnotherTypeIsAnOutage) {
  ASSERT_TRUE(keyring_.lock());
  LockedUntilAsked relay(keyring_, "nothing");
  relay.answer_with_another_type();
  const Result<std::optional<Secret>> loaded = (*open_store())->load(SecretName::kVaultHash);
  EXPECT_TRUE(loaded.is(Reason::kSecretStoreUnavailable)) << described(loaded.status());
  EXPECT_EQ(relay.changed(), 1);
}

TEST_F(SecretServiceTest, NoDefaultCollection) {
  ASSERT_TRUE(keyring_.replace_daemon_and_forget_everything());
  expect_unavailable(*store_, "no default collection");
}

TEST_F(SecretServiceTest, SilentDaemonMeetsTheDeadline) {
  ASSERT_TRUE(succeeded(store_->save(SecretName::kVaultHash, id_of(1), as_bytes("checkpoint"))));
  constexpr std::uint32_t kDeadlineMs = 200;
  const auto hasty = *open_service_secret_store("acme", kDeadlineMs);
  keyring_.stop_daemon();
  const auto start = std::chrono::steady_clock::now();
  expect_unavailable(*hasty, "no answer within 200 ms");
  EXPECT_LT(since(start), Milliseconds(20'000)) << "five calls of 200 ms each";
  EXPECT_GE(since(start), Milliseconds(5 * kDeadlineMs));
  keyring_.continue_daemon();
  EXPECT_TRUE(holds(*store_, SecretName::kVaultHash, id_of(1), as_bytes("checkpoint")));
}

TEST_F(SecretServiceTest, SilentBusMeetsTheDeadline) {
  const std::string path = keyring_.directory() + "/silent";
  struct sockaddr_un address {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(bind(listener, reinterpret_cast<const struct sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(listener, 16), 0);
  const EnvironmentVariable variable("DBUS_SESSION_BUS_ADDRESS", ("unix:path=" + path).c_str());
  const auto start = std::chrono::steady_clock::now();
  expect_unavailable(**open_service_secret_store("acme", 200), "no answer within 200 ms");
  EXPECT_LT(since(start), Milliseconds(20'000));
  close(listener);
}

// The deadline is a minute, which the test does not wait for.
TEST_F(SecretServiceTest, ASilentDaemonIsLeftWhenTheTaskIsCancelled) {
  ASSERT_TRUE(succeeded(store_->save(SecretName::kVaultHash, id_of(1), as_bytes("checkpoint"))));
  const auto patient = *open_service_secret_store("acme", 60'000);
  keyring_.stop_daemon();
  Cancellation cancellation;
  const auto start = std::chrono::steady_clock::now();
  std::thread task([&] {
    const CancellationScope scope(&cancellation);
    const Result<std::optional<Secret>> loaded = patient->load(SecretName::kVaultHash);
    EXPECT_TRUE(loaded.is(Reason::kAborted)) << described(loaded.status());
  });
  cancellation.request();  // before it waits, or while
  task.join();
  EXPECT_LT(since(start), Milliseconds(20'000));
  keyring_.continue_daemon();
  EXPECT_TRUE(holds(*store_, SecretName::kVaultHash, id_of(1), as_bytes("checkpoint")));
}

TEST_F(SecretServiceTest, AnItemThatIsTooLargeIsNotDecoded) {
  RawItems raw;
  raw.make(SecretName::kVaultHash, to_hex(id_of(1)), std::string(2 * kSecretRecordBytesMax + 2, '0'));
  const Result<std::optional<Secret>> loaded = store_->load(SecretName::kVaultHash);
  ASSERT_TRUE(loaded.is(Reason::kWitnessReplaced)) << described(loaded.status());
  EXPECT_NE(loaded.error().detail.find("too large"), std::string::npos) << loaded.error().detail;
}

TEST_F(SecretServiceTest, MoreItemsThanAnyCrashCanLeaveAreNotRead) {
  RawItems raw;
  const std::string id = to_hex(id_of(1));
  const std::string text = record_text(SecretName::kVaultHash, id_of(1), as_bytes("checkpoint"));
  for (std::size_t i = 0; i < limits::kSecretItemsMax; ++i) raw.make(SecretName::kVaultHash, id, text);
  EXPECT_TRUE(holds(*store_, SecretName::kVaultHash, id_of(1), as_bytes("checkpoint")));
  raw.make(SecretName::kVaultHash, id, text);
  EXPECT_TRUE(store_->load(SecretName::kVaultHash).is(Reason::kWitnessReplaced));
  ASSERT_TRUE(succeeded(store_->save(SecretName::kVaultHash, id_of(1), as_bytes("newest"))));
  EXPECT_TRUE(holds(*store_, SecretName::kVaultHash, id_of(1), as_bytes("newest")));
}

TEST_F(SecretServiceTest, ItemsOfSeveralStoresAreRefusedAndSaveLeavesOne) {
  for (const SecretName name : kAllNames) {
    RawItems raw;
    raw.make(name, to_hex(id_of(1)), record_text(name, id_of(1), as_bytes("mine")));
    raw.make(name, to_hex(id_of(2)), record_text(name, id_of(2), as_bytes("theirs")));
    EXPECT_TRUE(store_->load(name).is(Reason::kWitnessReplaced));
    ASSERT_TRUE(succeeded(store_->save(name, id_of(2), as_bytes("newest"))));
    EXPECT_TRUE(holds(*store_, name, id_of(2), as_bytes("newest")));
    ASSERT_TRUE(succeeded(store_->save(name, id_of(3), as_bytes("other"))));
    EXPECT_TRUE(holds(*store_, name, id_of(3), as_bytes("other")));
  }
}

TEST_F(SecretServiceTest, TwoItemsOfOneStore) {
  RawItems raw;
  const std::string id = to_hex(id_of(1));
  raw.make(SecretName::kVaultHash, id, record_text(SecretName::kVaultHash, id_of(1), as_bytes("checkpoint")));
  raw.make(SecretName::kVaultHash, id, record_text(SecretName::kVaultHash, id_of(1), as_bytes("checkpoint")));
  EXPECT_TRUE(holds(*store_, SecretName::kVaultHash, id_of(1), as_bytes("checkpoint")));
  raw.make(SecretName::kVaultHash, id, record_text(SecretName::kVaultHash, id_of(1), as_bytes("other")));
  const Result<std::optional<Secret>> loaded = store_->load(SecretName::kVaultHash);
  ASSERT_TRUE(loaded.is(Reason::kWitnessReplaced));
  EXPECT_NE(loaded.error().detail.find("twice"), std::string::npos) << loaded.error().detail;
  ASSERT_TRUE(succeeded(store_->remove(SecretName::kVaultHash)));
  EXPECT_TRUE(absent(*store_, SecretName::kVaultHash));
}

TEST_F(SecretServiceTest, DamageOfEveryByteOfTheSecretIsRefused) {
  RawItems raw;
  const std::string id = to_hex(id_of(1));
  const std::string text = record_text(SecretName::kVaultHash, id_of(1), as_bytes("checkpoint"));
  std::size_t damages = 0;
  const auto expect_damaged = [&](const std::string& damaged) {
    raw.make(SecretName::kVaultHash, id, damaged, true);
    const Result<std::optional<Secret>> loaded = store_->load(SecretName::kVaultHash);
    ASSERT_TRUE(loaded.is(Reason::kWitnessReplaced)) << damaged;
    EXPECT_NE(loaded.error().detail.find("damaged"), std::string::npos) << loaded.error().detail;
    ++damages;
  };
  for (std::size_t at = 0; at < text.size(); at += 2) {
    std::string flipped = text;
    flipped[at] = flipped[at] == '0' ? '1' : '0';
    expect_damaged(flipped);
  }
  for (std::size_t size = 0; size < text.size(); size += 16) expect_damaged(text.substr(0, size));
  expect_damaged(text + "00");
  expect_damaged("not hexadecimal");
  raw.make(SecretName::kVaultHash, id, text, true);
  EXPECT_TRUE(holds(*store_, SecretName::kVaultHash, id_of(1), as_bytes("checkpoint")));
  std::printf("%zu damages of the secret: all refused\n", damages);
}

TEST_F(SecretServiceTest, AttributesAndSecretMustAgree) {
  const std::string id = to_hex(id_of(1));
  const std::pair<std::string, std::string> disagreeing[] = {
      {to_hex(id_of(2)), record_text(SecretName::kVaultHash, id_of(1), as_bytes("x"))},
      {"", record_text(SecretName::kVaultHash, id_of(1), as_bytes("x"))},
      {id, record_text(SecretName::kTimeTamper, id_of(1), as_bytes("x"))},
      {id, record_text(SecretName::kVaultHash, id_of(1), as_bytes("x"), "acmf")},
  };
  for (const auto& [attribute, text] : disagreeing) {
    RawItems().make(SecretName::kVaultHash, attribute, text);
    EXPECT_TRUE(store_->load(SecretName::kVaultHash).is(Reason::kWitnessReplaced));
    ASSERT_TRUE(succeeded(store_->remove(SecretName::kVaultHash)));
  }
  RawItems().make(SecretName::kRootKey, to_hex(id_of(2)),
                  record_text(SecretName::kRootKey, id_of(1), as_bytes("x")));
  EXPECT_TRUE(store_->load(SecretName::kRootKey).is(Reason::kRootUnavailable));
}

std::ptrdiff_t entries(const char* directory) {
  return std::distance(std::filesystem::directory_iterator(directory), std::filesystem::directory_iterator());
}

TEST_F(SecretServiceTest, NothingIsLeftBehind) {
  const auto settle = [] {
    // Connections are closed by GLib's worker in the order they were given up, so wait until it did.
    std::ptrdiff_t now = 0;
    for (int tries = 0; tries < 200; ++tries) {
      const std::ptrdiff_t before = now;
      usleep(5'000);
      now = entries("/proc/self/fd");
      if (now == before) break;
    }
    return now;
  };
  ASSERT_TRUE(succeeded(store_->save(SecretName::kVaultHash, id_of(1), as_bytes("checkpoint"))));
  const std::ptrdiff_t descriptors = settle();
  const std::ptrdiff_t threads = entries("/proc/self/task");
  const auto start = std::chrono::steady_clock::now();
  constexpr int kRounds = 50;
  for (int i = 0; i < kRounds; ++i) {
    ASSERT_TRUE(succeeded(store_->save(SecretName::kVaultHash, id_of(1), as_bytes("checkpoint"))));
    ASSERT_TRUE(holds(*store_, SecretName::kVaultHash, id_of(1), as_bytes("checkpoint")));
  }
  std::printf("%.1f ms for a save and a load\n", static_cast<double>(since(start).count()) / kRounds);
  EXPECT_LE(settle(), descriptors + 2);
  EXPECT_LE(entries("/proc/self/task"), threads + 2);
}

}  // namespace
}  // namespace strongroom::store::testing
