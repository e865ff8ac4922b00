// OpenSSL's set-up, and the memory that it works in.
//
// Invariant: every block that OpenSSL frees is wiped first. It copies private keys into blocks that it frees as they are
// (the buffers of its decoders, for one); with this no copy outlives the object that it was made for. The size of a
// block stands in front of it.
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "base/secret_memory.h"
#include "crypto/openssl.h"

namespace strongroom::crypto {
namespace {

constexpr std::size_t kHeaderBytes = alignof(std::max_align_t);
static_assert(kHeaderBytes >= sizeof(std::size_t));

std::uint8_t* block_of(void* memory) { return static_cast<std::uint8_t*>(memory) - kHeaderBytes; }

std::size_t size_of(void* memory) {
  std::size_t size = 0;
  std::memcpy(&size, block_of(memory), sizeof size);
  return size;
}

void set_size(std::uint8_t* block, std::size_t size) { std::memcpy(block, &size, sizeof size); }

void* take(std::size_t size, const char* /*file*/, int /*line*/) {
  if (size == 0 || size > SIZE_MAX - kHeaderBytes) return nullptr;
  auto* const block = static_cast<std::uint8_t*>(std::malloc(size + kHeaderBytes));
  if (block == nullptr) return nullptr;
  set_size(block, size);
  return block + kHeaderBytes;
}

void release(void* memory, const char* /*file*/, int /*line*/) {
  if (memory == nullptr) return;
  wipe({static_cast<std::uint8_t*>(memory), size_of(memory)});
  std::free(block_of(memory));
}

void* resize(void* memory, std::size_t size, const char* file, int line) {
  if (memory == nullptr) return take(size, file, line);
  if (size == 0) {
    release(memory, file, line);
    return nullptr;
  }
  const std::size_t before = size_of(memory);
  if (size <= before) {
    wipe({static_cast<std::uint8_t*>(memory) + size, before - size});
    set_size(block_of(memory), size);
    return memory;
  }
  void* const larger = take(size, file, line);
  if (larger == nullptr) return nullptr;
  std::memcpy(larger, memory, before);
  release(memory, file, line);
  return larger;
}

}  // namespace

void prepare_library() {
  static const bool ready =
      // Refused once OpenSSL has allocated anything: whoever uses it first calls this before.
      CRYPTO_set_mem_functions(take, resize, release) == 1 &&
      OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT | OPENSSL_INIT_NO_LOAD_CONFIG, nullptr) == 1;
  SR_REQUIRE(ready);
}

}  // namespace strongroom::crypto
