// reanchor(): authority accepts the state that is there as the new truth, whatever the witnesses say of it.
//
// Invariants:
// - A checkpoint is accepted once. The history and the witnesses remember which ones were.
// - What authority cannot repair is refused as before: another store's witness, and a persistence.bin of the past.
// - Nothing is written before the credential is proven.
#pragma once

#include "store/engine.h"
#include "store/records.h"

namespace strongroom::store {

class Reanchoring {
 public:
  explicit Reanchoring(Engine& engine) : store_(engine.state()) {}

  // After initialize_storage_identifier(). Leaves the store open. kNothingToDo when every verdict is ok; kAlreadyAccepted.
  [[nodiscard]] Status reanchor(const Credential& credential);

 private:
  // What the history says of the reanchor before this one.
  using Earlier = std::optional<ReanchorRecord>;

  [[nodiscard]] Status refuse_other_stores() const;
  [[nodiscard]] bool is_time_valid(const Now& now) const;
  // The checkpoint that the credential is over; `present`, or that of an attempt that was cut behind its commit.
  [[nodiscard]] Result<log::Checkpoint> accept(const Credential& credential, const log::Checkpoint& present,
                                               const Earlier& earlier) const;
  [[nodiscard]] Status refuse_accepted(const log::Checkpoint& accepted, const log::Checkpoint& present,
                                       const Earlier& earlier) const;
  [[nodiscard]] Status commit(const ReanchorRecord& record, SystemRecordChanges& changes, const Now& now);

  Engine::State& store_;
};

}  // namespace strongroom::store
