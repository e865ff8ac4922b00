#include "secret_store/libsecret.h"

#include "base/thread_annotations.h"
#include "os/dynlib.h"

namespace strongroom::store::libsecret {
namespace {

// libsecret's constructor asks for the process's shared connection to the session bus. That one ends the
// process when the bus goes away, outlives it, and may belong to other code; so a class of ours takes the
// wish back. (Properties that can be set only during construction can be set here and nowhere later.)
const Functions* class_functions = nullptr;
void* (*parent_constructor)(GType, unsigned, void*) = nullptr;

void* construct(GType type, unsigned count, void* properties) {
  void* const object = parent_constructor(type, count, properties);
  class_functions->g_object_set(object, "g-bus-type", kBusTypeNone, nullptr);
  return object;
}

void init_class(void* klass, void* /*data*/) {
  auto* const object_class = static_cast<GObjectClass*>(klass);
  parent_constructor = object_class->constructor;  // as inherited
  object_class->constructor = construct;
}

GType service_type(const Functions& functions) {
  static const GType type = [&functions] {
    class_functions = &functions;
    const GType parent = functions.secret_service_get_type();
    GTypeQuery query{};
    functions.g_type_query(parent, &query);
    return functions.g_type_register_static_simple(parent, "StrongroomSecretService", query.class_bytes,
                                                   init_class, query.instance_bytes, nullptr, 0);
  }();
  return type;
}

}  // namespace

SecretService* new_service(const Functions& functions, GDBusConnection* connection, GCancellable* cancellable,
                           GError** error) {
  // Name, path and interface are set by libsecret's constructor; to set them twice would leak.
  return static_cast<SecretService*>(functions.g_initable_new(service_type(functions), cancellable, error,
                                                              "g-connection", connection, "flags",
                                                              kServiceOpenSession, nullptr));
}

Result<const Functions*> functions() {
  static Mutex mutex;
  static Functions table;
  static bool loaded = false;
  const MutexLock lock(mutex);
  if (loaded) return &table;
#define SR_FUNCTION(name) {#name, table.name}
  SR_TRY(os::load_functions("the secret-service SecretStore", "libsecret-1-0", {"libsecret-1.so.0"},
                            {SR_FUNCTION(g_object_unref),
                             SR_FUNCTION(g_error_free),
                             SR_FUNCTION(g_free),
                             SR_FUNCTION(g_list_free_full),
                             SR_FUNCTION(g_hash_table_lookup),
                             SR_FUNCTION(g_hash_table_unref),
                             SR_FUNCTION(g_main_context_new),
                             SR_FUNCTION(g_main_context_unref),
                             SR_FUNCTION(g_main_context_push_thread_default),
                             SR_FUNCTION(g_main_context_pop_thread_default),
                             SR_FUNCTION(g_main_context_iteration),
                             SR_FUNCTION(g_cancellable_new),
                             SR_FUNCTION(g_cancellable_cancel),
                             SR_FUNCTION(g_dbus_address_escape_value),
                             SR_FUNCTION(g_dbus_connection_new_for_address_sync),
                             SR_FUNCTION(g_dbus_connection_call_sync),
                             SR_FUNCTION(g_dbus_proxy_get_object_path),
                             SR_FUNCTION(g_variant_new),
                             SR_FUNCTION(g_variant_get),
                             SR_FUNCTION(g_variant_unref),
                             SR_FUNCTION(g_initable_new),
                             SR_FUNCTION(g_type_query),
                             SR_FUNCTION(g_type_register_static_simple),
                             SR_FUNCTION(g_object_set),
                             SR_FUNCTION(secret_service_get_type),
                             SR_FUNCTION(secret_schema_new),
                             SR_FUNCTION(secret_attributes_build),
                             SR_FUNCTION(secret_service_search_sync),
                             SR_FUNCTION(secret_collection_for_alias_sync),
                             SR_FUNCTION(secret_collection_get_locked),
                             SR_FUNCTION(secret_item_create_sync),
                             SR_FUNCTION(secret_item_delete_sync),
                             SR_FUNCTION(secret_item_get_attributes),
                             SR_FUNCTION(secret_item_get_locked),
                             SR_FUNCTION(secret_item_get_secret),
                             SR_FUNCTION(secret_item_set_secret_sync),
                             SR_FUNCTION(secret_value_get),
                             SR_FUNCTION(secret_value_new),
                             SR_FUNCTION(secret_value_unref)}));
#undef SR_FUNCTION
  loaded = true;
  return &table;
}

}  // namespace strongroom::store::libsecret
