// The end of the audit log: the commits since a checkpoint, chained under the tamper key. It feeds the tamper file.
//
// Invariant: the entries are consecutive, and the newest one is the newest durable commit.
// Thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "base/thread_annotations.h"
#include "log/format.h"
#include "time/time_tamper.h"
#include "witnesses/tamper_file/tamper_file.h"

namespace strongroom::store {

[[nodiscard]] AuditEntry entry_of(const log::CommitInfo& commit);
[[nodiscard]] AuditCheckpoint following(const AuditCheckpoint& checkpoint, const AuditEntry& entry,
                                        ByteView tamper_key);

class AuditTail {
 public:
  AuditTail(SecretBytes tamper_key, std::uint32_t capacity)
      : tamper_key_(std::move(tamper_key)), capacity_(capacity) {}

  // The checkpoint from which commits are noted: at COLDSTART the genesis, at WARMSTART the snapshot.
  void begin(const AuditCheckpoint& start);
  // Notes a durable commit. The tail is bounded; what falls out of it is folded into its start.
  void note(const log::CommitInfo& commit, const std::optional<TimeStamp>& stamp);
  [[nodiscard]] AuditCheckpoint newest() const;
  [[nodiscard]] std::vector<AuditEntry> entries() const;

  // What a witness that holds the commits up to `generation` lacks: all of the tail when that is before its start.
  struct Rest {
    AuditCheckpoint start;  // of the tail
    AuditCheckpoint newest;
    std::int64_t wall_ms = 0;           // of the newest commit
    std::optional<TimeStamp> stamp;     // the newest that a commit carried
    std::vector<AuditEntry> entries{};  // behind `generation`
  };
  [[nodiscard]] Rest behind(std::uint64_t generation) const;

  // The log moves to another tamper key: from prepare_next() on the tail is chained under that one as well, from the
  // checkpoint of `file` on, where that leads to its start. adopt_next() or abandon_next() ends this.
  void prepare_next(SecretBytes tamper_key, const TamperContent* file);
  [[nodiscard]] AuditCheckpoint newest_next() const;
  void abandon_next();
  void adopt_next();

 private:
  struct Next {
    SecretBytes tamper_key;
    AuditCheckpoint start;  // not before start_
    AuditCheckpoint newest;
  };

  mutable Mutex mutex_;
  SecretBytes tamper_key_ SR_GUARDED_BY(mutex_);
  const std::uint32_t capacity_;
  AuditCheckpoint start_ SR_GUARDED_BY(mutex_);
  std::deque<AuditEntry> entries_ SR_GUARDED_BY(mutex_);  // after start_
  AuditCheckpoint newest_ SR_GUARDED_BY(mutex_);
  std::optional<Next> next_ SR_GUARDED_BY(mutex_);
  std::int64_t wall_ms_ SR_GUARDED_BY(mutex_) = 0;
  std::optional<TimeStamp> stamp_ SR_GUARDED_BY(mutex_);
};

}  // namespace strongroom::store
