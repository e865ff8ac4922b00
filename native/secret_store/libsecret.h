// The part of libsecret 0.19 and later, GIO and GLib that the secret-service back end calls: opaque types,
// the structs whose layout is part of GLib's ABI, and the table of functions. Declared here so that the
// build needs no headers of theirs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/status.h"

namespace strongroom::store::libsecret {

using gboolean = int;
using GType = std::size_t;
using GDestroyNotify = void (*)(void*);

struct GCancellable;
struct GDBusConnection;
struct GHashTable;
struct GMainContext;
struct GVariant;
struct SecretCollection;
struct SecretItem;
struct SecretSchema;
struct SecretService;
struct SecretValue;

struct GError {
  std::uint32_t domain;
  int code;
  char* message;
};
struct GList {
  void* data;
  GList* next;
  GList* prev;
};
struct GTypeQuery {
  GType type;
  const char* type_name;
  unsigned class_bytes;
  unsigned instance_bytes;
};
// The beginning of the class structure of every GObject.
struct GObjectClass {
  GType type;
  void* construct_properties;
  void* (*constructor)(GType type, unsigned count, void* properties);
};
static_assert(std::is_standard_layout_v<GError> && offsetof(GError, message) == 8);
static_assert(std::is_standard_layout_v<GList> && offsetof(GList, next) == sizeof(void*));

// Values of the enumerations, which are part of the ABI. All of them are passed as int.
inline constexpr int kBusTypeNone = 0;
inline constexpr int kConnectionAuthenticationClient = 1 << 0;
inline constexpr int kConnectionMessageBus = 1 << 3;
inline constexpr int kCallNone = 0;
inline constexpr int kCallTimeoutDefault = -1;
inline constexpr int kSchemaNone = 0;
inline constexpr int kAttributeString = 0;
inline constexpr int kServiceOpenSession = 1 << 1;
inline constexpr int kCollectionNone = 0;
inline constexpr int kSearchAll = 1 << 1;
inline constexpr int kSearchLoadSecrets = 1 << 3;
inline constexpr int kItemCreateReplace = 1 << 1;

struct Functions {
  void (*g_object_unref)(void*);
  void (*g_error_free)(GError*);
  void (*g_free)(void*);
  void (*g_list_free_full)(GList*, GDestroyNotify);
  void* (*g_hash_table_lookup)(GHashTable*, const void*);
  void (*g_hash_table_unref)(void*);
  GMainContext* (*g_main_context_new)();
  void (*g_main_context_unref)(GMainContext*);
  void (*g_main_context_push_thread_default)(GMainContext*);
  void (*g_main_context_pop_thread_default)(GMainContext*);
  gboolean (*g_main_context_iteration)(GMainContext*, gboolean may_block);
  GCancellable* (*g_cancellable_new)();
  void (*g_cancellable_cancel)(GCancellable*);
  char* (*g_dbus_address_escape_value)(const char*);
  GDBusConnection* (*g_dbus_connection_new_for_address_sync)(const char* address, int flags, void* observer,
                                                             GCancellable*, GError**);
  GVariant* (*g_dbus_connection_call_sync)(GDBusConnection*, const char* name, const char* path,
                                           const char* interface, const char* method, GVariant* parameters,
                                           const void* reply_type, int flags, int timeout_ms, GCancellable*,
                                           GError**);
  const char* (*g_dbus_proxy_get_object_path)(void* proxy);
  GVariant* (*g_variant_new)(const char* format, ...);
  void (*g_variant_get)(GVariant*, const char* format, ...);
  void (*g_variant_unref)(void*);
  void* (*g_initable_new)(GType, GCancellable*, GError**, const char* first_property, ...);

  void (*g_type_query)(GType, GTypeQuery*);
  GType (*g_type_register_static_simple)(GType parent, const char* name, unsigned class_bytes,
                                         void (*class_init)(void* klass, void* data), unsigned instance_bytes,
                                         void (*instance_init)(void*, void*), int flags);
  void (*g_object_set)(void* object, const char* first_property, ...);

  GType (*secret_service_get_type)();
  SecretSchema* (*secret_schema_new)(const char* name, int flags, ...);
  GHashTable* (*secret_attributes_build)(const SecretSchema*, ...);
  GList* (*secret_service_search_sync)(SecretService*, const SecretSchema*, GHashTable*, int flags,
                                       GCancellable*, GError**);
  SecretCollection* (*secret_collection_for_alias_sync)(SecretService*, const char* alias, int flags,
                                                        GCancellable*, GError**);
  gboolean (*secret_collection_get_locked)(SecretCollection*);
  SecretItem* (*secret_item_create_sync)(SecretCollection*, const SecretSchema*, GHashTable*,
                                         const char* label, SecretValue*, int flags, GCancellable*, GError**);
  gboolean (*secret_item_delete_sync)(SecretItem*, GCancellable*, GError**);
  GHashTable* (*secret_item_get_attributes)(SecretItem*);
  gboolean (*secret_item_get_locked)(SecretItem*);
  SecretValue* (*secret_item_get_secret)(SecretItem*);
  gboolean (*secret_item_set_secret_sync)(SecretItem*, SecretValue*, GCancellable*, GError**);
  const char* (*secret_value_get)(SecretValue*, std::size_t* length);
  SecretValue* (*secret_value_new)(const char* secret, std::ptrdiff_t length, const char* content_type);
  void (*secret_value_unref)(void*);
};

// Loaded once per process and kept. kLibraryMissing says why not; the next call tries again.
[[nodiscard]] Result<const Functions*> functions();

// A SecretService on a connection of the caller's, with a session for the transfer of secrets. Null and an
// error when the service cannot be reached.
[[nodiscard]] SecretService* new_service(const Functions& functions, GDBusConnection* connection,
                                         GCancellable*, GError**);

}  // namespace strongroom::store::libsecret
