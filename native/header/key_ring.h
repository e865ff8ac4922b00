// The key ring: persistence.bin as an engine has it (header, core data, DEK), and the one way in which it changes.
//
// The header transaction, once the store has a history:
//
//   1. Intent: the commit that makes the change history names the current file and the next one.
//   2. Replace: with that commit durable, the next file takes the current one's place, and the engine goes by it.
//   3. Done: that commit's successor, or any later one, names the next file alone.
//
// Invariants:
// - Between 1 and 3 a start accepts either file and no third. So a transaction is completed before the next is planned.
// - A cold start, an administrative operation and an open store differ in how they commit, not in this order.
// - Outside of it, persistence.bin is written where there is no history to change: first by a cold start, and last by a
//   decommission. A damaged copy is repaired with the same content.
// - Once the store is open, header, core data and DEK change with both the engine's persistence lock and the ring's own
//   held. Who has either reads without the other.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/thread_annotations.h"
#include "header/persistence_file.h"
#include "header/system_changes.h"
#include "os/os.h"

namespace strongroom::store {

inline constexpr std::string_view kPersistenceFileName = "persistence.bin";
inline constexpr std::string_view kPersistenceKey = "strongroom/persistence";

// kNotFound without one.
[[nodiscard]] Result<Bytes> read_persistence_file(os::Directory& directory);

// The NV indices that are to be made for a store.
struct PlannedIndices {
  struct Planned {
    std::uint32_t index = 0;
    SecretBytes secret;
  };
  Planned counter;
  Planned extend;
  [[nodiscard]] static PlannedIndices of(const CoreData& core);
  void put_into(CoreData& core) const;
};

// What a change of persistence.bin may change besides the header.
struct NextKeys {
  SecretBytes dek;  // empty: as it is
  std::optional<IdentifiedKey> previous;
  std::vector<IdentifiedKey> former_field_keys;
  std::optional<PlannedIndices> indices;  // of a store that is taken over
};

// Which persistence.bin the history names: while an intent is the last word either of the two, then the newest alone.
struct PersistenceRecord {
  bool intent = false;
  Digest old_hash{};
  Digest new_hash{};
};
[[nodiscard]] Bytes encode_persistence_record(const PersistenceRecord& record);
[[nodiscard]] std::optional<PersistenceRecord> parse_persistence_record(ByteView bytes);

class KeyRing {
 public:
  // A file that is to replace the current one.
  struct Change {
    Bytes file;
    PersistenceHeader header;
    Digest hash{};
    std::optional<NextKeys> keys;
  };
  enum class Settled : std::uint8_t { kNothing, kHeader, kKeys };  // kKeys: the keys changed as well

  // While the store is being opened, and with a lock held once it is open.
  [[nodiscard]] const PersistenceHeader& header() const { return header_; }
  [[nodiscard]] const CoreData& core() const { return core_; }
  [[nodiscard]] const SecretBytes& dek() const { return dek_; }
  [[nodiscard]] const SecretBytes* dek_of(std::uint32_t key_id) const;  // null for a DEK that is not here
  [[nodiscard]] const Digest& hash() const { return hash_; }            // of one copy of the file
  [[nodiscard]] bool has_pending() const { return pending_.has_value(); }
  // From any thread.
  [[nodiscard]] PersistenceHeader header_now();
  [[nodiscard]] Mutex& mutex() { return mutex_; }

  // Before the store is open: what is to be, or what nothing has authenticated.
  [[nodiscard]] PersistenceHeader& planned_header() { return header_; }
  [[nodiscard]] CoreData& planned_core() { return core_; }
  void draw_dek();

  // The candidates in the file, and the file as it was read.
  [[nodiscard]] Result<std::vector<ParsedPersistence>> read(os::Directory& directory);
  [[nodiscard]] const Bytes& file() const { return file_; }
  // kPersistenceTampered when the core data do not authenticate under this DEK.
  [[nodiscard]] Status open(const ParsedPersistence& candidate, SecretBytes dek);
  void close();

  // Writes the file without a history that names it.
  [[nodiscard]] Status write(os::Directory& directory, const PersistenceHeader& next);
  // Plans a transaction, with none pending, and puts its intent into the changes that the caller commits.
  [[nodiscard]] Result<Change> plan(PersistenceHeader next, std::optional<NextKeys> keys,
                                    SystemRecordChanges& intent) const;
  void begin(Change change) { pending_ = std::move(change); }  // the commit with its intent is durable
  // Replaces the file of the pending transaction; to be tried again after a failure.
  [[nodiscard]] Result<Settled> settle(os::Directory& directory);
  void put_done(SystemRecordChanges& done) const;

 private:
  void adopt(NextKeys& keys);

  Mutex mutex_;
  PersistenceHeader header_;
  CoreData core_;
  SecretBytes dek_;
  Digest hash_{};
  Bytes file_;
  std::optional<Change> pending_;  // the current file or this one is there
};

}  // namespace strongroom::store
