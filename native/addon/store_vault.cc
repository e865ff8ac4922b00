// The calls of a vault: reads from memory, and submissions to the commit queue.
#include <algorithm>

#include "addon/store.h"

namespace strongroom::addon {
namespace {

// A value above this size gets memory of its own, so that a small one does not keep much alive.
constexpr std::size_t kSlabValueBytesMax = 4096;
// As many operations wait for the end of the turn at most, so that a long loop of calls keeps the disk busy.
constexpr std::size_t kGatheredOperationsMax = 256;
constexpr std::size_t kGatheredBytesMax = std::size_t{1} << 20;

napi_value int_value(napi_env env, std::int32_t number) {
  napi_value value = nullptr;
  napi_create_int32(env, number, &value);
  return value;
}

log::Durability durability_of(napi_env env, napi_value value) {
  std::int32_t number = 0;
  napi_get_value_int32(env, value, &number);
  return number == 1 ? log::Durability::kWitnessed : log::Durability::kJournal;
}

Status read_put(napi_env env, const Arguments<3>& arguments, log::QueuedOperation* operation) {
  KeyArgument key;
  SR_TRY(key.read(env, arguments[0]));
  ByteView value;
  SR_TRY(read_vault_value(env, arguments[1], &value));
  operation->type = log::QueuedOperation::Type::kSet;
  operation->durability = durability_of(env, arguments[2]);
  operation->content = log::KeyAndValue(key.bytes(), value);
  return {};
}

Status read_delete(napi_env env, const Arguments<2>& arguments, log::QueuedOperation* operation) {
  KeyArgument key;
  SR_TRY(key.read(env, arguments[0]));
  operation->type = log::QueuedOperation::Type::kDelete;
  operation->durability = durability_of(env, arguments[1]);
  operation->content = log::KeyAndValue(key.bytes());
  return {};
}

Status read_int64(napi_env env, napi_value value, const char* what, std::int64_t* out) {
  bool lossless = false;
  if (napi_get_value_bigint_int64(env, value, out, &lossless) != napi_ok) {
    return {Reason::kInvalidArgument, std::string(what) + " must be a bigint"};
  }
  if (!lossless) return {Reason::kInvalidArgument, std::string(what) + " does not fit 64 bits with sign"};
  return {};
}

Status read_bound(napi_env env, napi_value value, const char* what, std::optional<std::int64_t>* out) {
  if (is_undefined(env, value)) return {};
  std::int64_t number = 0;
  SR_TRY(read_int64(env, value, what, &number));
  *out = number;
  return {};
}

Status read_optional_value(napi_env env, napi_value value, std::optional<WipedBuffer>* out) {
  if (is_undefined(env, value)) return {};
  ByteView bytes;
  SR_TRY(read_vault_value(env, value, &bytes));
  *out = WipedBuffer(bytes);
  return {};
}

// [key, value, key, value, …]; an undefined value deletes.
Status read_batch(napi_env env, napi_value list, std::vector<log::BatchItem>* items) {
  std::uint32_t length = 0;
  if (napi_get_array_length(env, list, &length) != napi_ok || length % 2 != 0) {
    return {Reason::kInvalidArgument, "a batch must be an array"};
  }
  if (length / 2 > limits::kBatchOperationsMax) {
    return {Reason::kBatchTooLarge,
            "the batch has " + std::to_string(length / 2) + " operations; 65,536 is the most"};
  }
  items->reserve(length / 2);
  std::size_t bytes = 0;
  napi_handle_scope scope = nullptr;
  napi_open_handle_scope(env, &scope);
  Status status;
  for (std::uint32_t i = 0; i < length && status.ok(); i += 2) {
    napi_value key_value = nullptr;
    napi_value value = nullptr;
    napi_get_element(env, list, i, &key_value);
    napi_get_element(env, list, i + 1, &value);
    log::BatchItem item;
    KeyArgument key;
    ByteView view;
    status = key.read(env, key_value);
    if (!status.ok()) break;
    if (is_undefined(env, value)) {
      item.operation = log::Operation::kDelete;
    } else {
      status = read_vault_value(env, value, &view);
      if (!status.ok()) break;
    }
    bytes += key.text().size() + view.size();
    if (bytes > limits::kBatchBytesMax) {
      status = Status(Reason::kBatchTooLarge, "the batch has more than 67,108,864 bytes of keys and values");
      break;
    }
    item.content = log::KeyAndValue(key.bytes(), view);
    items->push_back(std::move(item));
  }
  napi_close_handle_scope(env, scope);
  return status;
}

}  // namespace

// Returns true when the caller is to call flush() at the end of this turn.
napi_value Store::submit(log::QueuedOperation operation) {
  if (read_only_) return throw_error(env_, Reason::kReadOnly, "the store was opened for reading only");
  const std::size_t bytes = operation.bytes();
  if (const Status status = deliveries_.accept(operation.durability, bytes); !status.ok()) {
    return throw_error(env_, status.error());
  }
  const bool first = gathered_.operations.empty();
  gathered_.bytes += bytes;
  gathered_.operations.push_back(std::move(operation));
  if (gathered_.operations.size() >= kGatheredOperationsMax || gathered_.bytes >= kGatheredBytesMax) flush();
  return flag_value(env_, first);
}

void Store::flush() {
  if (const Status status = engine_->submit_all(gathered_.operations); !status.ok()) {
    std::vector<log::Completion> refused;
    for (const log::QueuedOperation& operation : gathered_.operations) {
      log::Completion completion;
      completion.durability = operation.durability;
      completion.status = status;
      refused.push_back(std::move(completion));
    }
    deliveries_.completions()->push(std::move(refused));
  }
  gathered_.operations.clear();
  gathered_.bytes = 0;
}

napi_value Store::js_flush(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = own(arguments.data);
  if (self->phase_ == Phase::kOpen) self->flush();
  return nullptr;
}

napi_value Store::commit_now(log::QueuedOperation operation) {
  flush();
  const log::Completion completion = engine_->commit_now(std::move(operation));
  if (!completion.status.ok()) return throw_error(env_, completion.status.error());
  return count_value(env_, completion.generation);
}

// get(key): the number of bytes decrypted into the slab, where the last value ended (rounded up to 8); -1:
// absent; -2: the slab is full; or a Buffer for a larger value.
napi_value Store::get(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = own_open(env, arguments.data);
  if (self == nullptr) return nullptr;
  KeyArgument key;
  if (const Status status = key.read(env, arguments[0]); !status.ok())
    return throw_error(env, status.error());

  std::uint8_t* into = nullptr;
  const auto take = [self, &into](std::size_t size) {
    if (size <= kSlabValueBytesMax && self->slab_.memory.size() - self->slab_.used >= size) {
      into = self->slab_.memory.data() + self->slab_.used;
    }
    return into;
  };
  const auto size = self->engine_->queue().read(*self->cipher_, key.text(), take);
  if (!size.ok()) return throw_error(env, size.error());
  if (!*size) return int_value(env, layout::kGetAbsent);
  if (into != nullptr) {
    const std::size_t used = self->slab_.used + **size;
    self->slab_.used =
        std::min(self->slab_.memory.size(),
                 (used + layout::kSlabAlignment - 1) / layout::kSlabAlignment * layout::kSlabAlignment);
    return int_value(env, static_cast<std::int32_t>(**size));
  }
  if (**size <= kSlabValueBytesMax) return int_value(env, layout::kGetSlabFull);
  return self->get_large(key.text(), **size);
}

napi_value Store::get_large(std::string_view key, std::size_t size) {
  for (;;) {
    napi_value buffer = nullptr;
    void* data = nullptr;
    if (napi_create_buffer(env_, size, &data, &buffer) != napi_ok) {
      return throw_error(env_, Reason::kInternal, "no memory for the value");
    }
    const auto read = engine_->queue().read(*cipher_, key, [&](std::size_t now) {
      return now == size ? static_cast<std::uint8_t*>(data) : nullptr;
    });
    if (!read.ok()) return throw_error(env_, read.error());
    if (!*read) return int_value(env_, layout::kGetAbsent);
    if (**read == size) return buffer;
    size = **read;  // a commit came between
  }
}

napi_value Store::has(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = open_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  KeyArgument key;
  if (const Status status = key.read(env, arguments[0]); !status.ok())
    return throw_error(env, status.error());
  const auto size =
      self->engine_->queue().read(*self->cipher_, key.text(), [](std::size_t) { return nullptr; });
  if (!size.ok()) return throw_error(env, size.error());
  return flag_value(env, size->has_value());
}

napi_value Store::set_slab(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = of(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  void* data = nullptr;
  std::size_t size = 0;
  if (napi_get_buffer_info(env, arguments[0], &data, &size) != napi_ok) {
    return throw_error(env, Reason::kInternal, "the slab must be a Buffer");
  }
  self->slab_ = {{static_cast<std::uint8_t*>(data), size}, 0};
  return nullptr;
}

// set(key, value, durability)
napi_value Store::set(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  Store* self = own_open(env, arguments.data);
  if (self == nullptr) return nullptr;
  log::QueuedOperation operation;
  if (const Status status = read_put(env, arguments, &operation); !status.ok()) {
    return throw_error(env, status.error());
  }
  return self->submit(std::move(operation));
}

napi_value Store::set_sync(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  Store* self = open_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  log::QueuedOperation operation;
  if (const Status status = read_put(env, arguments, &operation); !status.ok()) {
    return throw_error(env, status.error());
  }
  return self->commit_now(std::move(operation));
}

// delete(key, durability)
napi_value Store::remove(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  Store* self = own_open(env, arguments.data);
  if (self == nullptr) return nullptr;
  log::QueuedOperation operation;
  if (const Status status = read_delete(env, arguments, &operation); !status.ok()) {
    return throw_error(env, status.error());
  }
  return self->submit(std::move(operation));
}

napi_value Store::remove_sync(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  Store* self = open_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  log::QueuedOperation operation;
  if (const Status status = read_delete(env, arguments, &operation); !status.ok()) {
    return throw_error(env, status.error());
  }
  return self->commit_now(std::move(operation));
}

// increment(key, delta, min, max, durability)
napi_value Store::increment(napi_env env, napi_callback_info info) {
  const Arguments<5> arguments(env, info);
  Store* self = own_open(env, arguments.data);
  if (self == nullptr) return nullptr;
  log::QueuedOperation operation;
  operation.type = log::QueuedOperation::Type::kIncrement;
  KeyArgument key;
  const auto read = [&]() -> Status {
    SR_TRY(key.read(env, arguments[0]));
    SR_TRY(read_int64(env, arguments[1], "the step of a counter", &operation.increment.delta));
    SR_TRY(read_bound(env, arguments[2], "min", &operation.increment.min));
    return read_bound(env, arguments[3], "max", &operation.increment.max);
  };
  if (const Status status = read(); !status.ok()) return throw_error(env, status.error());
  operation.content =
      log::KeyAndValue(key.bytes(), log::encode_counter(0));  // with room for what it comes to
  operation.durability = durability_of(env, arguments[4]);
  return self->submit(std::move(operation));
}

// compareAndSet(key, expected | undefined, next | undefined, durability)
napi_value Store::compare_and_set(napi_env env, napi_callback_info info) {
  const Arguments<4> arguments(env, info);
  Store* self = own_open(env, arguments.data);
  if (self == nullptr) return nullptr;
  log::QueuedOperation operation;
  operation.type = log::QueuedOperation::Type::kCompareAndSet;
  operation.compare = std::make_unique<log::CompareAndSet>();
  KeyArgument key;
  const auto read = [&]() -> Status {
    SR_TRY(key.read(env, arguments[0]));
    SR_TRY(read_optional_value(env, arguments[1], &operation.compare->expected));
    return read_optional_value(env, arguments[2], &operation.compare->next);
  };
  if (const Status status = read(); !status.ok()) return throw_error(env, status.error());
  operation.content = log::KeyAndValue(key.bytes());
  operation.durability = durability_of(env, arguments[3]);
  return self->submit(std::move(operation));
}

// batch([key, value | undefined, …], durability)
napi_value Store::batch(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  Store* self = own_open(env, arguments.data);
  if (self == nullptr) return nullptr;
  log::QueuedOperation operation;
  operation.type = log::QueuedOperation::Type::kBatch;
  if (const Status status = read_batch(env, arguments[0], &operation.batch); !status.ok()) {
    return throw_error(env, status.error());
  }
  operation.durability = durability_of(env, arguments[1]);
  return self->submit(std::move(operation));
}

napi_value Store::validate_before_write(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = open_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  const Status status = self->engine_->validate_before_write();
  return status.ok() ? nullptr : throw_error(env, status.error());
}

napi_value Store::boot_time_ms(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* const self = own(arguments.data);
  // While a task opens or closes it, the engine is the task's.
  const bool is_open = self->phase_ == Phase::kOpen || self->phase_ == Phase::kShut;
  if (is_open && self->engine_->alarmed()) return number_value(env, std::numeric_limits<double>::quiet_NaN());
  return count_value(env, self->clock_->boot_ms());
}

}  // namespace strongroom::addon
