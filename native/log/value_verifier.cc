#include "log/value_verifier.h"

#include <system_error>

namespace strongroom::log {
namespace {

constexpr std::size_t kJobsWaitingMax = 64;

}  // namespace

ValueVerifier::ValueVerifier(const EpochKeys& keys, unsigned threads) : keys_(keys), own_cipher_(keys) {
  try {
    for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
  } catch (const std::system_error&) {
    // Those that there are suffice, and so does none.
  }
}

ValueVerifier::~ValueVerifier() { (void)finish(); }

bool ValueVerifier::authentic(ValueCipher& cipher, const std::vector<const Record*>& records,
                              WipedBuffer& out) const {
  for (const Record* record : records) {
    if (discarded_.load(std::memory_order_relaxed)) break;
    if (out.size() < record->value_bytes()) out.resize(record->value_bytes());
    if (!cipher.open(*record, out.span().data())) return false;
  }
  return true;
}

void ValueVerifier::check(std::vector<const Record*> records) {
  if (threads_.empty()) {
    const MutexLock lock(mutex_);
    failed_ = failed_ || !authentic(own_cipher_, records, own_out_);
    return;
  }
  const MutexLock lock(mutex_);
  while (jobs_.size() >= kJobsWaitingMax) changed_.wait(mutex_);
  jobs_.push_back(std::move(records));
  changed_.notify_all();
}

void ValueVerifier::run() {
  ValueCipher cipher(keys_);
  WipedBuffer out;
  MutexLock lock(mutex_);
  for (;;) {
    while (jobs_.empty() && !done_) changed_.wait(mutex_);
    if (jobs_.empty()) return;
    const std::vector<const Record*> records = std::move(jobs_.front());
    jobs_.pop_front();
    changed_.notify_all();
    lock.unlock();
    const bool good = authentic(cipher, records, out);
    lock.lock();
    failed_ = failed_ || !good;
  }
}

bool ValueVerifier::finish() {
  {
    const MutexLock lock(mutex_);
    done_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  const MutexLock lock(mutex_);
  return !failed_;
}

void ValueVerifier::discard() {
  discarded_.store(true, std::memory_order_relaxed);
  const MutexLock lock(mutex_);
  jobs_.clear();
}

}  // namespace strongroom::log
