#include "secret_store/secret_store_service.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/cancellation.h"
#include "base/limits.h"
#include "base/thread_annotations.h"
#include "base/thread_refused.h"
#include "secret_store/libsecret.h"
#include "secret_store/secret_record.h"

namespace strongroom::store {
namespace {

using libsecret::Functions;
using libsecret::GCancellable;
using libsecret::GError;
using libsecret::GHashTable;
using libsecret::GList;
using libsecret::GVariant;
using libsecret::SecretCollection;
using libsecret::SecretItem;
using libsecret::SecretSchema;
using libsecret::SecretService;
using libsecret::SecretValue;

constexpr const char* kServiceName = "org.freedesktop.secrets";
constexpr const char* kServicePath = "/org/freedesktop/secrets";
constexpr std::string_view kNoPrompt = "/";
constexpr const char* kUnlockReply = "(aoo)";  // what was unlocked, and a prompt

template <typename T>
using Owned = std::unique_ptr<T, void (*)(void*)>;

// Cancels when the deadline passes first, or when the caller's task is cancelled.
class Watchdog {
 public:
  Watchdog(const Functions& glib, GCancellable* cancellable, std::uint32_t deadline_ms)
      : wakeup_([this] {
          {
            const MutexLock lock(mutex_);
            given_up_ = true;
          }
          ended_.notify_one();
        }) {
    try {
      thread_ = std::thread([this, &glib, cancellable, deadline_ms] {
        // Without the lock: cancelling runs the handlers of whatever waits.
        if (must_cancel(std::chrono::milliseconds(deadline_ms))) glib.g_cancellable_cancel(cancellable);
      });
    } catch (const std::system_error&) {
      // The operation is refused: nothing would end its wait.
    }
  }
  ~Watchdog() {
    {
      const MutexLock lock(mutex_);
      done_ = true;
    }
    ended_.notify_one();
    if (thread_.joinable()) thread_.join();
  }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  [[nodiscard]] bool is_watching() const { return thread_.joinable(); }
  [[nodiscard]] bool expired() SR_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return expired_;
  }

 private:
  // Waits for whatever comes first. True when it was not the end of the operation.
  [[nodiscard]] bool must_cancel(std::chrono::milliseconds limit) SR_EXCLUDES(mutex_) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    const MutexLock lock(mutex_);
    while (!done_ && !given_up_ && ended_.wait_until(mutex_, deadline) == std::cv_status::no_timeout) {
    }
    if (done_) return false;
    expired_ = !given_up_;
    return true;
  }

  Mutex mutex_;
  CondVar ended_;
  bool done_ SR_GUARDED_BY(mutex_) = false;
  bool expired_ SR_GUARDED_BY(mutex_) = false;
  bool given_up_ SR_GUARDED_BY(mutex_) = false;
  std::thread thread_;         // after what it uses
  CancellationWakeup wakeup_;  // last: it ends first
};

// A main context of our own for as long as an operation lasts: signals of the bus go there and end with it,
// whatever main loop the process has or has not.
class PrivateContext {
 public:
  explicit PrivateContext(const Functions& glib) : glib_(glib), context_(glib.g_main_context_new()) {
    glib_.g_main_context_push_thread_default(context_);
  }
  ~PrivateContext() {
    // What objects left behind to be released in this context.
    while (glib_.g_main_context_iteration(context_, 0) != 0) {
    }
    glib_.g_main_context_pop_thread_default(context_);
    glib_.g_main_context_unref(context_);
  }
  PrivateContext(const PrivateContext&) = delete;
  PrivateContext& operator=(const PrivateContext&) = delete;

 private:
  const Functions& glib_;
  libsecret::GMainContext* context_;
};

struct FoundItem {
  SecretItem* item;        // owned by the list
  std::string storage_id;  // as the attribute has it
};

// The items that match, and the list that owns them.
class FoundItems {
 public:
  FoundItems(const Functions& glib, GList* list) : glib_(&glib), list_(list) {}
  FoundItems(FoundItems&& other) noexcept
      : items(std::move(other.items)), glib_(other.glib_), list_(std::exchange(other.list_, nullptr)) {}
  FoundItems& operator=(FoundItems&&) = delete;
  ~FoundItems() { glib_->g_list_free_full(list_, glib_->g_object_unref); }

  [[nodiscard]] const GList* list() const { return list_; }

  std::vector<FoundItem> items;

 private:
  const Functions* glib_;
  GList* list_;
};

// One load, save or remove: the connection and everything that hangs on it.
class Operation {
 public:
  Operation(const Functions& glib, const SecretSchema* schema, const std::string& instance, SecretName name,
            std::uint32_t deadline_ms)
      : glib_(glib),
        schema_(schema),
        instance_(instance),
        name_(name),
        deadline_ms_(deadline_ms),
        context_(glib),
        cancellable_(own(glib.g_cancellable_new())),
        watchdog_(glib, cancellable_.get(), deadline_ms) {}

  Status connect(const std::string& address) {
    if (!watchdog_.is_watching()) return unavailable(kThreadRefused);
    GError* error = nullptr;
    // A connection of our own rather than the process's shared one: libsecret.cc says why.
    connection_ = own(glib_.g_dbus_connection_new_for_address_sync(
        address.c_str(), libsecret::kConnectionAuthenticationClient | libsecret::kConnectionMessageBus,
        nullptr, cancellable_.get(), &error));
    if (connection_ == nullptr) return failed("cannot connect to the D-Bus session bus", error);
    service_ = own(libsecret::new_service(glib_, connection_.get(), cancellable_.get(), &error));
    if (service_ == nullptr) return failed("cannot reach the Secret Service", error);
    collection_ = own(glib_.secret_collection_for_alias_sync(
        service_.get(), "default", libsecret::kCollectionNone, cancellable_.get(), &error));
    if (error != nullptr) return failed("cannot read the default collection", error);
    if (collection_ == nullptr) {
      return unavailable("the Secret Service has no default collection; log in, or make one");
    }
    if (glib_.secret_collection_get_locked(collection_.get()) != 0)
      return unlock(collection_.get(), "the default collection");
    return Status();
  }

  // Every item of this instance and name. With `load_secrets` their secrets are there too.
  Result<FoundItems> search(bool load_secrets) {
    SR_ASSIGN(FoundItems found, look(load_secrets));
    bool unlocked = false;
    for (const FoundItem& each : found.items) {
      if (glib_.secret_item_get_locked(each.item) == 0) continue;
      SR_TRY(unlock(each.item, "an item of this instance"));
      unlocked = true;
    }
    // What libsecret has read of an item, it read while that was locked.
    if (unlocked) return look(load_secrets);
    return found;
  }

  Result<std::optional<Secret>> load() {
    SR_ASSIGN(const FoundItems found, search(true));
    if (found.items.size() > limits::kSecretItemsMax) {
      return secret_item_error(name_, where(), "is there " + std::to_string(found.items.size()) + " times");
    }
    std::optional<Secret> result;
    for (const FoundItem& each : found.items) {
      if (each.storage_id != found.items.front().storage_id) {
        return Status(Reason::kWitnessReplaced, "the Secret Service holds items " + std::string(name_text()) +
                                                    " of several stores with the instance name '" +
                                                    instance_ + "'");
      }
      SR_ASSIGN(Secret secret, read(each));
      if (result && !equal(result->value.view(), secret.value.view())) {
        return secret_item_error(name_, where(), "is there twice, with different values");
      }
      result = std::move(secret);
    }
    return result;
  }

  Status save(const StorageId& storage_id, ByteView value) {
    const SecretBytes record = encode_secret_record(name_, instance_, storage_id, value);
    std::string text = to_hex(record.view());
    const Owned<SecretValue> secret(
        glib_.secret_value_new(text.data(), static_cast<std::ptrdiff_t>(text.size()), "text/plain"),
        glib_.secret_value_unref);
    wipe({reinterpret_cast<std::uint8_t*>(text.data()), text.size()});

    SR_ASSIGN(const FoundItems found, search(false));
    const std::string id = to_hex(storage_id);
    const auto same = std::find_if(found.items.begin(), found.items.end(),
                                   [&id](const FoundItem& each) { return each.storage_id == id; });
    GError* error = nullptr;
    if (same != found.items.end()) {
      if (glib_.secret_item_set_secret_sync(same->item, secret.get(), cancellable_.get(), &error) == 0) {
        return failed("cannot replace the item", error);
      }
    } else {
      SR_TRY(create(id, secret.get()));
    }
    // Only when the new value is there: a fault in between leaves too much rather than nothing, and saving
    // again mends it.
    for (const FoundItem& each : found.items) {
      if (same == found.items.end() || each.item != same->item) SR_TRY(remove(each));
    }
    return Status();
  }

  Status remove_all() {
    SR_ASSIGN(const FoundItems found, search(false));
    for (const FoundItem& each : found.items) SR_TRY(remove(each));
    return Status();
  }

 private:
  template <typename T>
  Owned<T> own(T* object) {
    return Owned<T>(object, glib_.g_object_unref);
  }
  Owned<GHashTable> owned_table(GHashTable* table) const {
    return Owned<GHashTable>(table, glib_.g_hash_table_unref);
  }
  [[nodiscard]] const char* name_text() const { return secret_name_text(name_).data(); }
  [[nodiscard]] std::string where() const { return "secret-service, instance '" + instance_ + "'"; }

  Result<FoundItems> look(bool load_secrets) {
    const Owned<GHashTable> attributes = owned_table(glib_.secret_attributes_build(
        schema_, "application", instance_.c_str(), "name", name_text(), nullptr));
    GError* error = nullptr;
    const int flags = libsecret::kSearchAll | (load_secrets ? libsecret::kSearchLoadSecrets : 0);
    FoundItems found(glib_, glib_.secret_service_search_sync(service_.get(), schema_, attributes.get(), flags,
                                                             cancellable_.get(), &error));
    if (error != nullptr) return failed("cannot search", error);
    for (const GList* at = found.list(); at != nullptr; at = at->next) {
      auto* const item = static_cast<SecretItem*>(at->data);
      const Owned<GHashTable> of_item = owned_table(glib_.secret_item_get_attributes(item));
      const void* id = of_item == nullptr ? nullptr : glib_.g_hash_table_lookup(of_item.get(), "storage-id");
      found.items.push_back({item, id == nullptr ? "" : static_cast<const char*>(id)});
    }
    return found;
  }

  // KWallet calls locked what was opened at login until a client asks for it, and then gives it. Nobody sits before a
  // server to answer a question, so one is dismissed.
  Status unlock(void* proxy, const std::string& what) {
    const char* const path = glib_.g_dbus_proxy_get_object_path(proxy);
    const char* const paths[] = {path, nullptr};
    GError* error = nullptr;
    const Owned<GVariant> reply(call(kServicePath, "org.freedesktop.Secret.Service", "Unlock",
                                     glib_.g_variant_new("(^ao)", paths), kUnlockReply, &error),
                                glib_.g_variant_unref);
    if (reply == nullptr) return failed(what + " is locked, and cannot be unlocked", error);
    const char** unlocked = nullptr;  // what they point at belongs to the reply
    const char* prompt = nullptr;
    glib_.g_variant_get(reply.get(), "(^a&o&o)", &unlocked, &prompt);
    const bool asks = prompt != kNoPrompt;
    bool opened = false;
    for (const char** each = unlocked; *each != nullptr; ++each)
      opened = opened || std::string_view(*each) == path;
    glib_.g_free(unlocked);
    if (opened && !asks) return Status();
    if (asks) dismiss(prompt);
    return unavailable(what + " is locked" + (asks ? ", and its service would have to ask somebody" : "") +
                       "; unlock it (log in), then try again");
  }

  // A prompt that was not dismissed ends with the connection.
  void dismiss(const char* prompt) {
    GError* error = nullptr;
    GVariant* const reply =
        call(prompt, "org.freedesktop.Secret.Prompt", "Dismiss", nullptr, nullptr, &error);
    if (reply != nullptr) glib_.g_variant_unref(reply);
    if (error != nullptr) glib_.g_error_free(error);
  }

  // Takes the floating parameters; null and an error when the call failed, or its reply is not of `reply_type`.
  GVariant* call(const char* path, const char* interface, const char* method, GVariant* parameters,
                 const char* reply_type, GError** error) {
    return glib_.g_dbus_connection_call_sync(connection_.get(), kServiceName, path, interface, method,
                                             parameters, reply_type, libsecret::kCallNone,
                                             libsecret::kCallTimeoutDefault, cancellable_.get(), error);
  }

  Result<Secret> read(const FoundItem& found) {
    const Owned<SecretValue> value(glib_.secret_item_get_secret(found.item), glib_.secret_value_unref);
    if (value == nullptr) return unavailable("an item's secret was not handed out");
    std::size_t length = 0;
    const char* text = glib_.secret_value_get(value.get(), &length);
    if (length > 2 * kSecretRecordBytesMax)
      return secret_item_error(name_, where(), "is damaged: it is too large");
    std::optional<Bytes> record = from_hex({text, length});
    const bool intact = record && secret_record_intact(*record);
    Result<Secret> secret = intact ? decode_secret_record(*record, name_, instance_)
                                   : Result<Secret>(secret_item_error(name_, where(), "is damaged"));
    if (record) wipe(*record);
    if (secret.ok() && to_hex(secret->storage_id) != found.storage_id) {
      return secret_item_error(name_, where(),
                               "is damaged: its storage id differs from that of its attributes");
    }
    return secret;
  }

  Status create(const std::string& id, SecretValue* secret) {
    const Owned<GHashTable> attributes = owned_table(glib_.secret_attributes_build(
        schema_, "application", instance_.c_str(), "storage-id", id.c_str(), "name", name_text(), nullptr));
    const std::string label = instance_ + " " + name_text();
    GError* error = nullptr;
    const Owned<SecretItem> item =
        own(glib_.secret_item_create_sync(collection_.get(), schema_, attributes.get(), label.c_str(), secret,
                                          libsecret::kItemCreateReplace, cancellable_.get(), &error));
    return item == nullptr ? failed("cannot make the item", error) : Status();
  }

  Status remove(const FoundItem& found) {
    GError* error = nullptr;
    if (glib_.secret_item_delete_sync(found.item, cancellable_.get(), &error) == 0) {
      return failed("cannot remove an item", error);
    }
    return Status();
  }

  static Status unavailable(const std::string& why) {
    return Status(Reason::kSecretStoreUnavailable, "secret-service: " + why);
  }

  // Takes the error. Messages of GLib and of the daemon name paths and causes, never secrets.
  Status failed(const std::string& what, GError* error) {
    std::string why = error != nullptr && error->message != nullptr ? error->message : "no reason given";
    if (error != nullptr) glib_.g_error_free(error);
    SR_TRY(check_cancelled());
    if (watchdog_.expired()) why = "no answer within " + std::to_string(deadline_ms_) + " ms";
    return unavailable(what + ": " + why);
  }

  // The order matters: what is below is released before what is above.
  const Functions& glib_;
  const SecretSchema* schema_;
  const std::string& instance_;
  const SecretName name_;
  const std::uint32_t deadline_ms_;
  PrivateContext context_;
  Owned<GCancellable> cancellable_;
  Watchdog watchdog_;
  Owned<libsecret::GDBusConnection> connection_{nullptr, nullptr};
  Owned<SecretService> service_{nullptr, nullptr};
  Owned<SecretCollection> collection_{nullptr, nullptr};
};

class ServiceSecretStore final : public SecretStore {
 public:
  ServiceSecretStore(const Functions& glib, const SecretSchema* schema, std::string instance,
                     std::string address, std::uint32_t deadline_ms)
      : glib_(glib),
        schema_(schema),
        instance_(std::move(instance)),
        address_(std::move(address)),
        deadline_ms_(deadline_ms) {}

  Result<std::optional<Secret>> load(SecretName name) override {
    SR_TRY(check_address());
    Operation operation(glib_, schema_, instance_, name, deadline_ms_);
    SR_TRY(operation.connect(address_));
    return operation.load();
  }

  Status save(SecretName name, const StorageId& storage_id, ByteView value) override {
    SR_TRY(check_secret_value(value));
    SR_TRY(check_address());
    Operation operation(glib_, schema_, instance_, name, deadline_ms_);
    SR_TRY(operation.connect(address_));
    return operation.save(storage_id, value);
  }

  Status remove(SecretName name) override {
    SR_TRY(check_address());
    Operation operation(glib_, schema_, instance_, name, deadline_ms_);
    SR_TRY(operation.connect(address_));
    return operation.remove_all();
  }

 private:
  Status check_address() const {
    if (!address_.empty()) return Status();
    return Status(
        Reason::kSecretStoreUnavailable,
        "secret-service: no D-Bus session: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set");
  }

  const Functions& glib_;
  const SecretSchema* const schema_;
  const std::string instance_;
  const std::string address_;  // empty when the environment names no bus
  const std::uint32_t deadline_ms_;
};

// Where the session bus is, by the environment alone. GLib would also start a bus of its own ("autolaunch"),
// whose keyring could only be empty.
std::string session_bus_address(const Functions& glib) {
  const char* address = std::getenv("DBUS_SESSION_BUS_ADDRESS");
  if (address != nullptr && *address != '\0') return address;
  const char* directory = std::getenv("XDG_RUNTIME_DIR");
  if (directory == nullptr || *directory == '\0') return "";
  char* const escaped = glib.g_dbus_address_escape_value((std::string(directory) + "/bus").c_str());
  std::string result = std::string("unix:path=") + escaped;
  glib.g_free(escaped);
  return result;
}

}  // namespace

Result<std::unique_ptr<SecretStore>> open_service_secret_store(const std::string& instance,
                                                               std::uint32_t deadline_ms) {
  SR_ASSIGN(const Functions* const glib, libsecret::functions());
  static const SecretSchema* const schema = glib->secret_schema_new(
      "org.strongroom.Secret", libsecret::kSchemaNone, "application", libsecret::kAttributeString,
      "storage-id", libsecret::kAttributeString, "name", libsecret::kAttributeString, nullptr);
  return std::unique_ptr<SecretStore>(
      std::make_unique<ServiceSecretStore>(*glib, schema, instance, session_bus_address(*glib), deadline_ms));
}

}  // namespace strongroom::store
