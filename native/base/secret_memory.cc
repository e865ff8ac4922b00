// Invariants:
// - Secrets of up to kSlotBytes share locked pages, kSlotBytes apart; the pages are never given back, so that
// taking
//   and releasing a key makes no system call. Larger secrets have pages of their own.
// - A free slot holds zeros: release() wipes, and fresh pages are zero.
// - The arena is never destroyed: secrets may be released by destructors that run at process exit.
#include "base/secret_memory.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <new>

#include "base/thread_annotations.h"

namespace strongroom {
namespace {

constexpr std::size_t kSlotBytes = 64;

std::size_t page_bytes() {
  static const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

std::size_t whole_pages(std::size_t size) { return (size + page_bytes() - 1) / page_bytes() * page_bytes(); }

// Zeroed pages, locked as far as the limit allows, never part of a core file. Out of memory ends the process.
std::uint8_t* map_pages(std::size_t size) {
  if (size > SIZE_MAX - page_bytes()) std::abort();
  const std::size_t length = whole_pages(size);
  void* const pages = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) std::abort();
  (void)::mlock(pages, length);  // RLIMIT_MEMLOCK may forbid it: wiped and not dumped all the same
  (void)::madvise(pages, length, MADV_DONTDUMP);  // unknown only to kernels before 3.4
  return static_cast<std::uint8_t*>(pages);
}

class Arena {
 public:
  std::uint8_t* take() SR_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    if (free_ == nullptr) add_page();
    Slot* const slot = free_;
    if (slot == nullptr) std::abort();  // a page has at least one slot
    free_ = slot->next;
    slot->next = nullptr;  // zeros again
    return reinterpret_cast<std::uint8_t*>(slot);
  }

  void release(std::uint8_t* wiped) SR_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    push(wiped);
  }

 private:
  struct Slot {
    Slot* next;
  };

  void push(std::uint8_t* memory) SR_REQUIRES(mutex_) { free_ = ::new (memory) Slot{free_}; }

  void add_page() SR_REQUIRES(mutex_) {
    std::uint8_t* const page = map_pages(page_bytes());
    for (std::size_t at = page_bytes(); at != 0; at -= kSlotBytes) push(page + at - kSlotBytes);
  }

  Mutex mutex_;
  Slot* free_ SR_GUARDED_BY(mutex_) = nullptr;
};

Arena& arena() {
  static Arena* const instance = new Arena;
  return *instance;
}

}  // namespace

void wipe(MutableBytes bytes) {
  if (!bytes.empty()) ::explicit_bzero(bytes.data(), bytes.size());
}

SecretBytes::SecretBytes(std::size_t size) : size_(size) {
  if (size == 0) return;
  data_ = size <= kSlotBytes ? arena().take() : map_pages(size);
}

SecretBytes::SecretBytes(ByteView copy_of) : SecretBytes(copy_of.size()) {
  if (data_ != nullptr) std::memcpy(data_, copy_of.data(), copy_of.size());
}

SecretBytes::~SecretBytes() {
  if (data_ == nullptr) return;
  wipe(span());
  if (size_ <= kSlotBytes) {
    arena().release(data_);
  } else {
    (void)::munmap(data_, whole_pages(size_));
  }
}

void WipedBuffer::resize(std::size_t size) {
  if (size < bytes_.size()) wipe(span().subspan(size));
  if (size > bytes_.capacity()) {
    // The vector would free its old block unwiped when it moves.
    Bytes larger;
    larger.reserve(std::max(size, bytes_.capacity() * 2));
    larger.assign(bytes_.begin(), bytes_.end());
    wipe(bytes_);
    bytes_ = std::move(larger);
  }
  bytes_.resize(size);
}

}  // namespace strongroom
