#include "log/commit_queue.h"

#include <algorithm>

namespace strongroom::log {

// Decides the operations of one group in order and gathers what is to be written.
class CommitQueue::Group {
 public:
  Group(const Index& index, ValueCipher& cipher, std::vector<QueuedOperation>& operations)
      : index_(index), cipher_(cipher) {
    conditional_ = std::any_of(operations.begin(), operations.end(), [](const QueuedOperation& operation) {
      return operation.type == QueuedOperation::Type::kIncrement ||
             operation.type == QueuedOperation::Type::kCompareAndSet;
    });
    changes_.reserve(operations.size() + 1);
  }

  // Sets `completion`'s result; its status stays ok when the operation is part of the group.
  void decide(QueuedOperation& operation, Completion& completion) {
    switch (operation.type) {
      case QueuedOperation::Type::kSet:
        change(Operation::kPut, operation.content.key(), operation.content.value());
        break;
      case QueuedOperation::Type::kDelete:
        change(Operation::kDelete, operation.content.key(), {});
        break;
      case QueuedOperation::Type::kBatch:
        for (const BatchItem& item : operation.batch) {
          change(item.operation, item.content.key(), item.content.value());
        }
        break;
      case QueuedOperation::Type::kIncrement:
        completion.status = increment(operation, completion.number);
        break;
      case QueuedOperation::Type::kCompareAndSet:
        completion.status = compare_and_set(operation, completion.swapped);
        break;
    }
  }

  [[nodiscard]] std::vector<Change>& changes() { return changes_; }

 private:
  void change(Operation type, ByteView key, ByteView value) {
    if (conditional_) {
      const auto [found, is_new] = latest_.try_emplace(as_text(key), changes_.size());
      if (!is_new) {  // the frame is atomic, so only a key's last change in it can ever be seen
        changes_[found->second].operation = type;
        changes_[found->second].value = value;
        return;
      }
    }
    changes_.push_back(Change{type, key, value});
  }

  // The value as the operations before this one leave it; `absent` when there is none.
  Status current(ByteView key, WipedBuffer& value, bool& absent) {
    absent = true;
    const auto found = latest_.find(as_text(key));
    if (found != latest_.end()) {
      const Change& change = changes_[found->second];
      if (change.operation == Operation::kDelete) return {};
      absent = false;
      value = WipedBuffer(change.value);
      return {};
    }
    const Record* record = index_.find(as_text(key));
    if (record == nullptr) return {};
    absent = false;
    value.resize(record->value_bytes());
    if (!cipher_.open(*record, value.span().data())) {
      return {Reason::kInternal, "a record in memory does not authenticate"};
    }
    return {};
  }

  Status increment(QueuedOperation& operation, std::int64_t& number) {
    WipedBuffer value;
    bool absent = true;
    SR_TRY(current(operation.content.key(), value, absent));
    const std::optional<std::int64_t> before = absent ? 0 : parse_counter(value.view());
    if (!before)
      return {Reason::kNotACounter,
              "the value under this key has " + std::to_string(value.size()) + " bytes"};
    const IncrementBounds& bounds = operation.increment;
    if (__builtin_add_overflow(*before, bounds.delta, &number)) {
      number = *before;
      return {Reason::kCounterOverflow, "the counter stands at " + std::to_string(*before)};
    }
    const bool below = bounds.min && number < *bounds.min;
    const bool above = bounds.max && number > *bounds.max;
    if (below || above) {
      number = *before;
      return {below ? Reason::kBelowMinimum : Reason::kAboveMaximum,
              "the counter stands at " + std::to_string(*before)};
    }
    operation.content.set_value(encode_counter(number));
    change(Operation::kPut, operation.content.key(), operation.content.value());
    return {};
  }

  Status compare_and_set(QueuedOperation& operation, bool& swapped) {
    WipedBuffer value;
    bool absent = true;
    SR_TRY(current(operation.content.key(), value, absent));
    const CompareAndSet& compare = *operation.compare;
    swapped =
        absent ? !compare.expected : (compare.expected && equal(compare.expected->view(), value.view()));
    if (!swapped) return {};
    if (compare.next) {
      change(Operation::kPut, operation.content.key(), compare.next->view());
    } else if (!absent) {
      change(Operation::kDelete, operation.content.key(), {});
    }
    return {};
  }

  const Index& index_;
  ValueCipher& cipher_;
  bool conditional_ = false;
  std::vector<Change> changes_;
  std::unordered_map<std::string_view, std::size_t> latest_;  // only with conditional operations in the group
};

CommitQueue::CommitQueue(Index& index, LogWriter& writer, const EpochKeys& keys, Hooks hooks)
    : index_(index), writer_(writer), cipher_(keys), hooks_(std::move(hooks)) {}

CommitQueue::~CommitQueue() { stop(); }

void CommitQueue::start() {
  thread_ = std::thread([this] { run(); });
}

void CommitQueue::stop() {
  waiting_.close();
  if (thread_.joinable()) {
    thread_.join();
  } else {
    drain();  // there was no thread to do it
  }
}

void CommitQueue::run() {
  std::vector<QueuedOperation> operations;
  while (waiting_.await()) {
    std::vector<Completion> completions;
    const MutexLock commit(commit_mutex_);
    waiting_.take_group(operations);
    commit_waiting(operations, completions);
    if (!completions.empty()) hooks_.completed(std::move(completions));
    operations.clear();  // after the answer, which need not wait for it
  }
}

void CommitQueue::drain() {
  std::vector<Completion> completions;
  const MutexLock commit(commit_mutex_);
  std::size_t left = waiting_.count();
  std::vector<QueuedOperation> operations;
  while (left != 0) {  // what others submit meanwhile is not waited for
    waiting_.take_group(operations);
    left -= std::min(left, operations.size());
    commit_waiting(operations, completions);
  }
  if (!completions.empty()) hooks_.completed(std::move(completions));
}

Completion CommitQueue::commit_now(QueuedOperation operation) {
  std::vector<Completion> completions;
  const MutexLock commit(commit_mutex_);
  std::vector<QueuedOperation> operations;
  // A long queue goes in several groups, this operation in the last.
  for (waiting_.take_group(operations); waiting_.count() != 0; waiting_.take_group(operations))
    commit_waiting(operations, completions);
  operations.push_back(std::move(operation));
  commit_waiting(operations, completions);
  Completion own = std::move(completions.back());
  completions.pop_back();
  if (!completions.empty()) hooks_.completed(std::move(completions));
  return own;
}

void CommitQueue::commit_waiting(std::vector<QueuedOperation>& operations,
                                 std::vector<Completion>& completions) {
  if (operations.empty()) return;
  const std::size_t first = completions.size();
  completions.reserve(first + operations.size());
  if (const Status open = hooks_.gate ? hooks_.gate() : Status(); !open.ok()) {
    for (const QueuedOperation& operation : operations) {
      Completion& refused = completions.emplace_back();
      refused.ticket = operation.ticket;
      refused.durability = operation.durability;
      refused.status = open;
    }
    return;
  }
  Group group(committed_index(), cipher_, operations);
  for (QueuedOperation& operation : operations) {
    Completion completion;
    completion.ticket = operation.ticket;
    completion.durability = operation.durability;
    group.decide(operation, completion);
    completions.push_back(std::move(completion));
  }
  if (group.changes().empty()) return;
  if (hooks_.decorate) hooks_.decorate(group.changes());
  const Result<CommitInfo> written = write(CommitKind::kData, group.changes());
  for (std::size_t i = first; i < completions.size(); ++i) {
    Completion& completion = completions[i];
    if (!completion.status.ok()) continue;
    if (written.ok()) {
      completion.generation = written->checkpoint.generation;
    } else {
      completion.status = written.status();
      completion.swapped = false;
    }
  }
}

Result<CommitInfo> CommitQueue::write(CommitKind kind, const std::vector<Change>& changes) {
  SR_ASSIGN(Appended appended, writer_.append(kind, changes, hooks_.wall_ms(), hooks_.tamper_synced()));
  std::vector<std::string_view> keys;
  keys.reserve(changes.size());
  for (const Change& change : changes) keys.push_back(as_text(change.key));
  committed_index().prefetch(keys);
  std::vector<Record::Pointer> replaced;
  {
    const MutexLock lock(index_mutex_);
    Index& index = changed_index();
    for (std::size_t i = 0; i < changes.size(); ++i) {
      Record::Pointer record = changes[i].operation == Operation::kPut
                                   ? index.put(changes[i].key, appended.values[i], old_records_)
                                   : index.erase(keys[i]);
      if (record) replaced.push_back(std::move(record));
    }
  }
  if (old_records_ == OldRecord::kKept) {
    retired_.insert(retired_.end(), std::make_move_iterator(replaced.begin()),
                    std::make_move_iterator(replaced.end()));
  }
  if (hooks_.committed) hooks_.committed(appended.info);
  return appended.info;
}

Result<CommitInfo> CommitQueue::commit_system(CommitKind kind, const std::vector<Change>& changes) {
  const MutexLock commit(commit_mutex_);
  if (kind == CommitKind::kData && hooks_.gate) SR_TRY(hooks_.gate());
  std::vector<Change> decorated = changes;
  if (hooks_.decorate) hooks_.decorate(decorated);
  return write(kind, decorated);
}

void CommitQueue::exclusively(const std::function<void()>& work) {
  const MutexLock commit(commit_mutex_);
  work();
}

Result<std::optional<std::size_t>> CommitQueue::read(
    ValueCipher& cipher, std::string_view key, const std::function<std::uint8_t*(std::size_t)>& take) const {
  const MutexLock lock(index_mutex_);
  const Record* record = read_index().find(key);
  if (record == nullptr) return std::optional<std::size_t>();
  std::uint8_t* out = take(record->value_bytes());
  if (out != nullptr && !cipher.open(*record, out)) {
    return Status(Reason::kInternal, "a record in memory does not authenticate");
  }
  return std::optional(record->value_bytes());
}

void CommitQueue::scan(const KeyRange& range, const std::function<bool(const Record&)>& visit) const {
  const MutexLock lock(index_mutex_);
  read_index().scan(range, visit);
}

std::size_t CommitQueue::size() const {
  const MutexLock lock(index_mutex_);
  return read_index().size();
}

std::uint64_t CommitQueue::live_bytes() const {
  const MutexLock lock(index_mutex_);
  return read_index().live_bytes();
}

std::vector<const Record*> CommitQueue::hold_records() {
  commit_mutex_.assume_held();
  old_records_ = OldRecord::kKept;
  return committed_index().all_records();
}

void CommitQueue::release_records() {
  std::vector<Record::Pointer> retired;
  const MutexLock commit(commit_mutex_);
  old_records_ = OldRecord::kOverwritten;
  retired.swap(retired_);
}

}  // namespace strongroom::log
