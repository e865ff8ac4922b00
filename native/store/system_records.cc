#include "store/system_records.h"

namespace strongroom::store {

Result<std::optional<Bytes>> SystemRecordReader::read(std::string_view key) const {
  Bytes value;
  SR_ASSIGN(const std::optional<std::size_t> size, queue_.read(cipher_, key, [&value](std::size_t bytes) {
    value.resize(bytes);
    return value.data();
  }));
  return size ? std::optional(std::move(value)) : std::nullopt;
}

Result<std::optional<SecretBytes>> SystemRecordReader::read_secret(std::string_view key) const {
  SecretBytes value;
  SR_ASSIGN(const std::optional<std::size_t> size, queue_.read(cipher_, key, [&value](std::size_t bytes) {
    value = SecretBytes(bytes);
    return value.span().data();
  }));
  return size ? std::optional(std::move(value)) : std::nullopt;
}

bool SystemRecordReader::has(std::string_view key) const {
  const auto size = queue_.read(cipher_, key, [](std::size_t) { return nullptr; });
  return size.ok() && size->has_value();
}

std::vector<std::string> SystemRecordReader::keys(std::string_view prefix) const {
  log::KeyRange range;
  range.lower = std::string(prefix);
  std::vector<std::string> found;
  queue_.scan(range, [&](const log::Record& record) {
    if (!record.key().starts_with(prefix)) return false;
    found.emplace_back(record.key());
    return true;
  });
  return found;
}

Status commit_system(Engine& engine, const std::vector<log::Change>& changes) {
  SR_TRY(engine.validate_before_write());
  SR_TRY(engine.queue().commit_system(log::CommitKind::kData, changes).status());
  const Status moved = engine.anchor();
  if (moved.ok()) return {};
  Error error = moved.error();
  error.committed = true;
  return error;
}

}  // namespace strongroom::store
