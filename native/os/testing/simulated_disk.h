// A file system in memory that fails on demand and forgets what was not synced: the faulty twin of posix.h.
//
// The model. A disk has a visible state, which calls see, and a durable state, which a power cut leaves.
// Between them stand, per file, the ordered writes, truncates and allocations since its last sync, and per
// directory the ordered name operations (make, create, replace, remove) since its last sync. A sync of a file
// makes its content and size durable, never its name; a sync of a directory makes its names durable, never a
// content. A power cut keeps any subset of the former, in order and perhaps torn, and for each directory a
// prefix of the latter.
//
// Numbering. Every mutating call gets the next number, from 1: the making of a directory, create, write,
// truncate, allocate, sync, replace, remove, sync of a directory. So does the parent's sync in
// DirectoryMode::kCreate, and the creation of a missing lock file; calls refused for their arguments or for
// what is in the way, and those that would change nothing (removing what is not there, writing nothing), get
// none. The owner's id in a lock file is neither numbered nor ever pending: after a crash it means nothing. Locks of
// directories and of the host are no calls of the disk: they have no number, and fail only as they are told to.
//
// Invariants:
// - One mutex guards a disk; every call is atomic. Files, directories and locks share the disk's state and
// may outlive
//   the SimulatedDisk; those of one disk have no effect on a disk made from it.
// - The same calls give the same numbers, the same states and the same order of states.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "os/os.h"

namespace strongroom::os::testing {

inline constexpr std::size_t kSectorBytes =
    512;  // what a disk writes whole or not at all; aligned to the file

// What became of one pending operation on a file. `sectors` counts those that the first and last kinds keep.
struct Survival {
  enum class Kind : std::uint8_t {
    kLost,
    kWhole,
    kFirstSectors,
    kLastSectors,
    kEvenSectors,  // the first, third, … sector that the write touches
    kOddSectors,
    kSizeOnly,  // a write beyond the end of the file: it grew, and the new bytes are zero
  };
  Kind kind = Kind::kLost;
  std::size_t sectors = 0;
};

// One state that a power cut may leave, of the disk that named it. Valid until that disk's next mutating
// call.
struct CrashState {
  std::vector<Survival> operations;          // of each pending file operation, by number of the call
  std::map<std::string, std::size_t> names;  // per directory with pending names: how many of them survived
  std::string description;
};

class SimulatedDisk final : public FileSystem {
 public:
  SimulatedDisk();  // holds "/" only
  ~SimulatedDisk() override;
  SimulatedDisk(const SimulatedDisk&) = delete;
  SimulatedDisk& operator=(const SimulatedDisk&) = delete;

  // Paths are absolute and have no ".", ".." or empty component (else kInvalidArgument).
  Result<std::shared_ptr<Directory>> open_directory(const std::string& path, DirectoryMode mode) override;
  Result<std::unique_ptr<FileLock>> lock_on_host(std::string_view key) override;

  // How many mutating calls there were, and what they were: "7 write /store/vault.bin 0+512".
  [[nodiscard]] std::uint64_t calls() const;
  [[nodiscard]] std::vector<std::string> call_log() const;

  // Call `number` takes effect as un-synced state at most (a write that crash_states() tears; a sync does
  // nothing); it and every later call, reading ones too, answers kIoError "power cut".
  void power_cut_at(std::uint64_t number);
  void cut_power_now();
  [[nodiscard]] bool power_is_cut() const;

  // How a planned call fails.
  struct Failure {
    Reason reason = Reason::kIoError;  // or kNoSpace; system_error is EIO or ENOSPC
    // And every later mutating call does; for kNoSpace only those that need space (make, create, write, allocate), as on
    // a disk that stays full.
    bool sticky = false;
    // A failed write has written its first half. A failed sync of a file has dropped what it should have written: the
    // data stay visible, later syncs do not write them, and a crash may lose them (as Linux marks pages clean after EIO).
    // Otherwise a failed call changes nothing. A failed sync of a directory leaves names pending.
    bool partial = true;
  };
  void fail_at(std::uint64_t number, const Failure& failure);
  // From here on, syncs of files and directories answer ok and make nothing durable.
  void lie_about_sync();
  // No more faults are planned, and syncs are true again; a power cut that happened stays.
  void clear_faults();
  // As on a file system that cannot lock a directory, and a host that has no place for locks.
  void refuse_directory_locks();
  void refuse_host_locks();

  // What the disk may hold if power fails now (or failed at the cut), each different from the others by its
  // contents. Pending file operations: none, all, every prefix, every single one alone, every single one
  // missing, and each write torn at sector boundaries (alone, after all earlier ones, among all others); each
  // combined with every choice of name prefixes per directory (beyond 4,096 choices: with the prefixes of all
  // name operations in one order). The first state has nothing that is pending, the last one all (unless that
  // comes to the same). More than `limit` (at least 2): sampled evenly between these two. Large writes are
  // torn at 16 evenly chosen boundaries.
  [[nodiscard]] std::vector<CrashState> crash_states(std::size_t limit = 1000) const;
  // That state as a disk of its own: all of it durable, no locks, no faults, numbering from the start.
  [[nodiscard]] std::unique_ptr<SimulatedDisk> after_crash(const CrashState& state) const;
  // The same for the visible state: a restart of the process, or an image to try something on.
  [[nodiscard]] std::unique_ptr<SimulatedDisk> clone() const;

  // Straight access for tests: visible state, no number, no fault, durable at once. A path that cannot be:
  // abort().
  [[nodiscard]] std::optional<Bytes> content(const std::string& path) const;
  // Makes the file if need be. In an existing file, pending operations are forgotten; the pending names of
  // its directory become durable, as with remove().
  void set_content(const std::string& path, Bytes bytes);
  void remove(const std::string& path);          // a file, if it exists
  void make_directory(const std::string& path);  // with all parents
  [[nodiscard]] std::vector<std::string> list(
      const std::string& directory) const;  // empty when there is none

  struct Core;  // internal to the implementation

 private:
  explicit SimulatedDisk(std::shared_ptr<Core> core);
  std::shared_ptr<Core> core_;
};

}  // namespace strongroom::os::testing
