#include "roots/tpm/tss.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "base/thread_annotations.h"
#include "os/dynlib.h"

extern "C" char**
    environ;  // NOLINT(readability-redundant-declaration): POSIX declares it in no header for C++

namespace strongroom::roots::tss {
namespace {

// The library writes every refusal of a TPM to stderr, a wrong PIN included, unless TSS2_LOG says otherwise, and offers no
// function for that. Each of its source files reads the variable when it first logs, so it must be set before the load and
// stay; what the user has set is left alone. A program that this process starts inherits it.
//
// Not setenv(): it may free the array in which another thread is looking a variable up. Here a copy with one entry more
// takes the array's place by one store. Nothing is freed, so a reader that holds the former array goes on reading it;
// setenv() itself copes with an array that is not its own. What remains is a setenv() on another thread between the
// copy and the store, a few nanoseconds once in the life of a process.
void silence() {
  static char entry[] = "TSS2_LOG=all+none";
  static std::atomic<char**>
      kept;  // reachable also after somebody's setenv() has put another array in its place
  if (getenv("TSS2_LOG") != nullptr) return;
  char** const before = __atomic_load_n(&environ, __ATOMIC_ACQUIRE);
  std::size_t count = 0;
  while (before != nullptr && before[count] != nullptr) ++count;
  char** const after = static_cast<char**>(std::calloc(count + 2, sizeof(char*)));
  if (after == nullptr) return;
  if (count > 0) std::memcpy(after, before, count * sizeof(char*));
  after[count] = entry;
  kept = after;
  __atomic_store_n(&environ, after, __ATOMIC_RELEASE);
}

Status load(Functions& table) {
  constexpr const char* kPurpose = "the TPM";
#define SR_FUNCTION(name) {#name, table.name},
  SR_TRY(os::load_functions(kPurpose, "libtss2-esys-3.0.2-0 libtss2-tctildr0 libtss2-tcti-device0",
                            {"libtss2-esys.so.0"}, {SR_TSS_ESYS(SR_FUNCTION)}));
  SR_TRY(os::load_functions(kPurpose, "libtss2-mu0", {"libtss2-mu.so.0"}, {SR_TSS_MU(SR_FUNCTION)}));
  SR_TRY(os::load_functions(kPurpose, "libtss2-tctildr0 libtss2-tcti-device0", {"libtss2-tctildr.so.0"},
                            {SR_TSS_TCTILDR(SR_FUNCTION)}));
#undef SR_FUNCTION
  return Status();
}

}  // namespace

Result<const Functions*> functions() {
  static struct {
    Mutex mutex;
    Functions table SR_GUARDED_BY(mutex);  // changed by no one once it is loaded
    bool loaded SR_GUARDED_BY(mutex) = false;
  } shared;
  const MutexLock lock(shared.mutex);
  if (shared.loaded) return &shared.table;
  silence();
  SR_TRY(load(shared.table));
  shared.loaded = true;
  return &shared.table;
}

}  // namespace strongroom::roots::tss
