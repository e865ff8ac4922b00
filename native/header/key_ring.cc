#include "header/key_ring.h"

#include "base/limits.h"

namespace strongroom::store {

Bytes encode_persistence_record(const PersistenceRecord& record) {
  Bytes out;
  ByteWriter writer(out);
  writer.number(static_cast<std::uint8_t>(record.intent ? 1 : 2));
  writer.bytes(record.old_hash);
  writer.bytes(record.new_hash);
  return out;
}

std::optional<PersistenceRecord> parse_persistence_record(ByteView bytes) {
  ByteReader reader(bytes);
  PersistenceRecord record;
  const auto state = reader.number<std::uint8_t>();
  record.intent = state == 1;
  record.old_hash = reader.array<32>();
  record.new_hash = reader.array<32>();
  if (!reader.done() || state == 0 || state > 2) return std::nullopt;
  return record;
}

PlannedIndices PlannedIndices::of(const CoreData& core) {
  return {{core.counter_index, core.counter_secret.clone()}, {core.extend_index, core.extend_secret.clone()}};
}

void PlannedIndices::put_into(CoreData& core) const {
  core.counter_index = counter.index;
  core.counter_secret = counter.secret.clone();
  core.extend_index = extend.index;
  core.extend_secret = extend.secret.clone();
  core.witnesses |= kWitnessTpmExtend;
}

Result<Bytes> read_persistence_file(os::Directory& directory) {
  Result<Bytes> file = os::read_whole(directory, kPersistenceFileName, limits::kPersistenceFileBytesMax);
  if (!file.is(Reason::kPersistenceCorrupt)) return file;
  return Status(Reason::kPersistenceTampered, "persistence.bin is larger than any release writes");
}

const SecretBytes* KeyRing::dek_of(std::uint32_t key_id) const {
  if (key_id == header_.key_id) return &dek_;
  return core_.previous && core_.previous->key_id == key_id ? &core_.previous->key : nullptr;
}

PersistenceHeader KeyRing::header_now() {
  const MutexLock lock(mutex_);
  return header_;
}

void KeyRing::draw_dek() {
  dek_ = SecretBytes(crypto::kKeyBytes);
  crypto::random_bytes(dek_.span());
}

Result<std::vector<ParsedPersistence>> KeyRing::read(os::Directory& directory) {
  SR_ASSIGN(file_, read_persistence_file(directory));
  return parse_persistence(file_);
}

Status KeyRing::open(const ParsedPersistence& candidate, SecretBytes dek) {
  SR_ASSIGN(core_, open_core_data(candidate, dek.view()));
  header_ = candidate.header;
  hash_ = candidate.hash;
  dek_ = std::move(dek);
  return {};
}

void KeyRing::close() {
  const MutexLock lock(mutex_);
  dek_ = SecretBytes();
}

Status KeyRing::write(os::Directory& directory, const PersistenceHeader& next) {
  Digest hash{};
  SR_ASSIGN(const Bytes file, encode_persistence(next, core_, dek_.view(), &hash));
  SR_TRY(os::replace_file(directory, kPersistenceFileName, file));
  header_ = next;
  hash_ = hash;
  return {};
}

Result<KeyRing::Change> KeyRing::plan(PersistenceHeader next, std::optional<NextKeys> keys,
                                      SystemRecordChanges& intent) const {
  Change change{{}, std::move(next), {}, std::move(keys)};
  CoreData core = core_.clone();
  ByteView dek = dek_.view();
  if (change.keys) {
    core.previous = clone(change.keys->previous);
    core.former_field_keys = clone(change.keys->former_field_keys);
    if (!change.keys->dek.empty()) dek = change.keys->dek.view();
    if (change.keys->indices) change.keys->indices->put_into(core);
  }
  SR_ASSIGN(change.file, encode_persistence(change.header, core, dek, &change.hash));
  intent.put(kPersistenceKey, encode_persistence_record({true, hash_, change.hash}));
  return change;
}

Result<KeyRing::Settled> KeyRing::settle(os::Directory& directory) {
  if (!pending_) return Settled::kNothing;
  SR_TRY(os::replace_file(directory, kPersistenceFileName, pending_->file));
  const Settled settled = pending_->keys ? Settled::kKeys : Settled::kHeader;
  {
    const MutexLock lock(mutex_);
    header_ = std::move(pending_->header);
    if (pending_->keys) adopt(*pending_->keys);
  }
  hash_ = pending_->hash;
  pending_.reset();
  return settled;
}

// The rest of the core data is read without a lock and stays as it is.
void KeyRing::adopt(NextKeys& keys) {
  core_.previous = std::move(keys.previous);
  core_.former_field_keys = std::move(keys.former_field_keys);
  if (!keys.dek.empty()) dek_ = std::move(keys.dek);
  if (keys.indices) keys.indices->put_into(core_);
}

void KeyRing::put_done(SystemRecordChanges& done) const {
  done.put(kPersistenceKey, encode_persistence_record({false, hash_, hash_}));
}

}  // namespace strongroom::store
