#include "store/lifecycle.h"

namespace strongroom::store {

Status Lifecycle::require(Stage wanted) const {
  const Stage now = stage_;
  if (now == wanted) return {};
  if (now == Stage::kClosed) return {Reason::kClosed, "the store was closed"};
  if (now == Stage::kOpen) return {Reason::kAlreadyOpen, "the store is open"};
  return {Reason::kNotOpen, "a step was called out of order"};
}

Status Lifecycle::accepts_reads() const {
  const Stage now = stage_;
  if (now == Stage::kClosed) return {Reason::kClosed, "the store was closed"};
  if (now != Stage::kOpen) return {Reason::kNotOpen, "the store is not open"};
  return {};
}

Status Lifecycle::accepts_writes() const {
  SR_TRY(accepts_reads());
  if (options_.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  return {};
}

bool Lifecycle::has_damaged_secret() const {
  return opening_ ? opening_->evidence.has_damaged_copy() : findings_.secret_damaged;
}

void Lifecycle::root_replaced() {
  opening_->is_recovering = false;
  findings_.persistence_damaged = false;
}

// Other threads see the stage first, and what it says must hold then.
void Lifecycle::opened() {
  if (!options_.read_only) {
    findings_.secret_damaged = has_damaged_secret();
    opening_.reset();
  }
  stage_ = Stage::kOpen;
}

}  // namespace strongroom::store
