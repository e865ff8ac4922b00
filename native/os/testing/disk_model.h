// The state behind a SimulatedDisk: what is visible, what is durable, and what stands between them.
//
// Invariants:
// - Node::visible is Node::base with every operation applied; an operation that is durable stays in the list
// only
//   while an earlier one is not, so that the order of overlapping writes is kept.
// - DirectoryState::visible is DirectoryState::durable with every pending name operation applied.
// - A file has one name at most; directories are never removed.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/thread_annotations.h"
#include "os/testing/simulated_disk.h"

namespace strongroom::os::testing {

inline constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();
inline constexpr std::uint64_t kFileBytesMax = std::uint64_t{1} << 32;
inline constexpr std::size_t kTornBoundariesMax = 16;
inline constexpr std::size_t kNameChoicesMax = 4096;

struct FileOperation {
  enum class Kind : std::uint8_t { kWrite, kTruncate, kAllocate };
  Kind kind = Kind::kWrite;
  std::uint64_t call = 0;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;  // bytes written or allocated; the new size of a truncate
  Bytes data;
  bool grows = false;    // beyond the size that was visible before
  bool durable = false;  // synced, but an earlier operation is not
  bool dropped = false;  // a sync failed on it: later syncs pass it by

  [[nodiscard]] std::uint64_t end() const { return offset + size; }
  [[nodiscard]] std::size_t sectors() const {
    return kind == Kind::kWrite
               ? static_cast<std::size_t>((end() - 1) / kSectorBytes - offset / kSectorBytes + 1)
               : 1;
  }
};

struct Node {
  std::uint64_t inode = 0;
  std::int64_t modified_ns = 0;
  Bytes base;
  Bytes visible;
  std::vector<FileOperation> operations;
};
using NodePtr = std::shared_ptr<Node>;

struct Names {
  std::map<std::string, NodePtr> files;
  std::set<std::string> directories;
};

struct NameOperation {
  enum class Kind : std::uint8_t { kMake, kCreate, kReplace, kRemove };
  Kind kind = Kind::kCreate;
  std::uint64_t call = 0;
  std::string name;
  std::string to;
  NodePtr node;
};

struct DirectoryState {
  std::uint64_t inode = 0;
  Names durable;
  Names visible;
  std::vector<NameOperation> pending;
};
using DirectoryPtr = std::shared_ptr<DirectoryState>;

struct Fault {
  std::uint64_t number = kNever;
  SimulatedDisk::Failure failure;
};

// What a power cut leaves of the names: full path to file.
struct Tree {
  std::map<std::string, NodePtr> files;
  std::set<std::string> directories;
};

inline void put(Bytes& image, std::uint64_t offset, ByteView data) {
  const auto at = static_cast<std::size_t>(offset);
  if (image.size() < at + data.size()) image.resize(at + data.size());
  std::copy(data.begin(), data.end(), image.begin() + static_cast<std::ptrdiff_t>(at));
}

inline bool sector_survives(const Survival& survival, std::size_t sector, std::size_t sectors) {
  switch (survival.kind) {
    case Survival::Kind::kWhole:
      return true;
    case Survival::Kind::kFirstSectors:
      return sector < survival.sectors;
    case Survival::Kind::kLastSectors:
      return sector + survival.sectors >= sectors;
    case Survival::Kind::kEvenSectors:
      return sector % 2 == 0;
    case Survival::Kind::kOddSectors:
      return sector % 2 == 1;
    default:
      return false;
  }
}

inline void apply(Bytes& image, const FileOperation& operation, const Survival& survival) {
  if (survival.kind == Survival::Kind::kLost) return;
  const auto end = static_cast<std::size_t>(operation.end());
  if (operation.kind == FileOperation::Kind::kTruncate) {
    image.resize(static_cast<std::size_t>(operation.size));
  } else if (operation.kind == FileOperation::Kind::kAllocate || survival.kind == Survival::Kind::kSizeOnly) {
    if (image.size() < end) image.resize(end);
  } else if (survival.kind == Survival::Kind::kWhole) {
    put(image, operation.offset, operation.data);
  } else {
    const std::size_t sectors = operation.sectors();
    const std::uint64_t first = operation.offset / kSectorBytes;
    for (std::size_t sector = 0; sector < sectors; ++sector) {
      if (!sector_survives(survival, sector, sectors)) continue;
      const std::uint64_t from = std::max<std::uint64_t>(operation.offset, (first + sector) * kSectorBytes);
      const std::uint64_t to = std::min<std::uint64_t>(operation.end(), (first + sector + 1) * kSectorBytes);
      put(image, from,
          ByteView(operation.data)
              .subspan(static_cast<std::size_t>(from - operation.offset),
                       static_cast<std::size_t>(to - from)));
    }
  }
}

inline void apply(Names& names, const NameOperation& operation) {
  switch (operation.kind) {
    case NameOperation::Kind::kMake:
      names.directories.insert(operation.name);
      break;
    case NameOperation::Kind::kCreate:
      names.files[operation.name] = operation.node;
      break;
    case NameOperation::Kind::kReplace:
      names.files.erase(operation.name);
      names.files[operation.to] = operation.node;
      break;
    case NameOperation::Kind::kRemove:
      names.files.erase(operation.name);
      break;
  }
}

// Directory and last name of an absolute path: "/", "store" of "/store".
inline std::pair<std::string, std::string> split(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) std::abort();
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

inline std::string join(const std::string& directory, std::string_view name) {
  return (directory == "/" ? "/" : directory + "/") + std::string(name);
}

inline std::string trimmed(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

inline bool plain_path(const std::string& path) {
  if (path.empty() || path.front() != '/') return false;
  if (path == "/") return true;
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t next = std::min(path.find('/', at + 1), path.size());
    if (!check_name(std::string_view(path).substr(at + 1, next - at - 1)).ok()) return false;
    at = next;
  }
  return true;
}

inline FileInfo to_info(const Node& node) {
  FileInfo info;
  info.size_bytes = node.visible.size();
  info.inode = node.inode;
  info.device = 1;
  info.modified_ns = node.modified_ns;
  return info;
}

struct SimulatedDisk::Core {
  enum class Outcome : std::uint8_t { kDone, kCut, kFailed, kFailedPartly };
  // Whether a call needs more of the disk than before.
  enum class Space : std::uint8_t { kNotTaken, kTaken };

  mutable Mutex mutex;
  std::map<std::string, DirectoryPtr> directories SR_GUARDED_BY(mutex);  // visible ones, by path
  // Locks are of what bears a name, not of the name: what is removed stays locked, and what takes its name is not.
  std::set<const Node*> locked_files SR_GUARDED_BY(mutex);
  std::set<const DirectoryState*> locked_directories SR_GUARDED_BY(mutex);
  std::set<std::string> locked_on_host SR_GUARDED_BY(mutex);
  bool directories_lock SR_GUARDED_BY(mutex) = true;  // whether the file system can lock a directory
  bool host_locks SR_GUARDED_BY(mutex) = true;  // whether there is a place for the locks of lock_on_host()
  std::vector<std::string> log SR_GUARDED_BY(mutex);
  std::vector<Fault> faults SR_GUARDED_BY(mutex);
  std::uint64_t cut_at SR_GUARDED_BY(mutex) = kNever;
  std::uint64_t inodes SR_GUARDED_BY(mutex) = 0;
  bool cut SR_GUARDED_BY(mutex) = false;
  bool lies SR_GUARDED_BY(mutex) = false;
  Reason failed_with SR_GUARDED_BY(mutex) = Reason::kIoError;  // of the last call that failed

  [[nodiscard]] std::uint64_t calls() const SR_REQUIRES(mutex) { return log.size(); }

  // Numbers a mutating call and says what becomes of it.
  Outcome begin(const std::string& what, Space space) SR_REQUIRES(mutex) {
    const std::uint64_t number = log.size() + 1;
    log.push_back(std::to_string(number) + " " + what);
    if (number >= cut_at) {
      cut = true;
      return Outcome::kCut;
    }
    for (const Fault& fault : faults) {
      const SimulatedDisk::Failure& failure = fault.failure;
      const bool later = failure.sticky && number > fault.number &&
                         (failure.reason != Reason::kNoSpace || space == Space::kTaken);
      if (number != fault.number && !later) continue;
      failed_with = failure.reason;
      return failure.partial ? Outcome::kFailedPartly : Outcome::kFailed;
    }
    return Outcome::kDone;
  }

  [[nodiscard]] Status power_cut(const std::string& path) const {
    return {Reason::kIoError, path + ": power cut", EIO};
  }
  [[nodiscard]] Status finish(Outcome outcome, const std::string& path) const SR_REQUIRES(mutex) {
    if (outcome == Outcome::kDone) return {};
    if (outcome == Outcome::kCut) return power_cut(path);
    return {failed_with, path + ": simulated failure", failed_with == Reason::kNoSpace ? ENOSPC : EIO};
  }
  [[nodiscard]] static bool happened(Outcome outcome) {
    return outcome == Outcome::kDone || outcome == Outcome::kCut;
  }

  NodePtr new_node() SR_REQUIRES(mutex) {
    auto node = std::make_shared<Node>();
    node->inode = ++inodes;
    touch(*node);
    return node;
  }
  // Its inode follows from its path, so that it survives a crash, as a real one does.
  [[nodiscard]] static DirectoryPtr new_directory(const std::string& path) {
    auto directory = std::make_shared<DirectoryState>();
    directory->inode = 0xcbf29ce484222325;
    for (const char c : path)
      directory->inode = (directory->inode ^ static_cast<std::uint8_t>(c)) * 0x100000001b3;
    return directory;
  }
  void touch(Node& node) const SR_REQUIRES(mutex) {
    node.modified_ns = static_cast<std::int64_t>(calls() + 1) * 1'000'000;
  }

  void change_name(DirectoryState& directory, NameOperation operation) SR_REQUIRES(mutex) {
    operation.call = calls();
    apply(directory.visible, operation);
    directory.pending.push_back(std::move(operation));
  }

  void change_file(Node& node, FileOperation operation) SR_REQUIRES(mutex) {
    operation.call = calls();
    operation.grows = operation.end() > node.visible.size();
    apply(node.visible, operation, {Survival::Kind::kWhole, 0});
    node.operations.push_back(std::move(operation));
    touch(node);
  }

  static void settle(Node& node) {
    for (FileOperation& operation : node.operations)
      operation.durable = operation.durable || !operation.dropped;
    std::size_t first = 0;
    for (; first < node.operations.size() && node.operations[first].durable; ++first) {
      apply(node.base, node.operations[first], {Survival::Kind::kWhole, 0});
    }
    node.operations.erase(node.operations.begin(),
                          node.operations.begin() + static_cast<std::ptrdiff_t>(first));
  }

  static void settle(DirectoryState& directory) {
    directory.durable = directory.visible;
    directory.pending.clear();
  }

  // Durable and visible at once; with all parents.
  DirectoryPtr settled_directory(const std::string& path) SR_REQUIRES(mutex) {
    if (!plain_path(path)) std::abort();
    if (const auto found = directories.find(path); found != directories.end()) return found->second;
    auto made = new_directory(path);
    if (path != "/") {
      const auto [parent_path, name] = split(path);
      const DirectoryPtr parent = settled_directory(parent_path);
      if (parent->visible.files.contains(name)) std::abort();
      parent->visible.directories.insert(name);
      settle(*parent);
    }
    directories[path] = made;
    return made;
  }

  NodePtr put_settled(const std::string& path, Bytes bytes) SR_REQUIRES(mutex) {
    const auto [directory_path, name] = split(path);
    if (!check_name(name).ok()) std::abort();
    const DirectoryPtr directory = settled_directory(directory_path);
    if (directory->visible.directories.contains(name)) std::abort();
    NodePtr& node = directory->visible.files[name];
    if (!node) node = new_node();
    node->base = bytes;
    node->visible = std::move(bytes);
    node->operations.clear();
    touch(*node);
    settle(*directory);
    return node;
  }

  [[nodiscard]] NodePtr find(const std::string& path) const SR_REQUIRES(mutex) {
    const auto [directory_path, name] = split(path);
    const auto directory = directories.find(directory_path);
    if (directory == directories.end()) return nullptr;
    const auto file = directory->second->visible.files.find(name);
    return file == directory->second->visible.files.end() ? nullptr : file->second;
  }

  // Every pending operation of a file that a crash can leave reachable, in the order of the calls.
  [[nodiscard]] std::vector<std::pair<const Node*, const FileOperation*>> pending_operations() const
      SR_REQUIRES(mutex) {
    std::map<std::uint64_t, const Node*> nodes;
    for (const auto& [path, directory] : directories) {
      for (const auto& [name, node] : directory->durable.files) nodes[node->inode] = node.get();
      for (const NameOperation& operation : directory->pending) {
        if (operation.node) nodes[operation.node->inode] = operation.node.get();
      }
    }
    std::vector<std::pair<const Node*, const FileOperation*>> pending;
    for (const auto& [inode, node] : nodes) {
      for (const FileOperation& operation : node->operations) {
        if (!operation.durable) pending.emplace_back(node, &operation);
      }
    }
    std::sort(pending.begin(), pending.end(),
              [](const auto& a, const auto& b) { return a.second->call < b.second->call; });
    return pending;
  }

  [[nodiscard]] Tree tree_after(const std::map<std::string, std::size_t>& survived) const SR_REQUIRES(mutex) {
    Tree tree;
    const std::function<void(const std::string&)> visit = [&](const std::string& path) SR_REQUIRES(mutex) {
      const DirectoryState& directory = *directories.at(path);
      Names names = directory.durable;
      const auto choice = survived.find(path);
      const std::size_t count = choice == survived.end() ? 0 : choice->second;
      for (std::size_t i = 0; i < count; ++i) apply(names, directory.pending.at(i));
      tree.directories.insert(path);
      for (const auto& [name, node] : names.files) tree.files[join(path, name)] = node;
      for (const std::string& name : names.directories) visit(join(path, name));
    };
    visit("/");
    return tree;
  }

  // Every combination of a prefix per directory; where those are too many, the prefixes of all calls in one
  // order.
  [[nodiscard]] std::vector<std::map<std::string, std::size_t>> name_choices() const SR_REQUIRES(mutex) {
    std::map<std::string, std::size_t> choice;
    std::vector<std::pair<std::uint64_t, std::string>> in_order;
    std::size_t combinations = 1;
    for (const auto& [path, directory] : directories) {
      if (directory->pending.empty()) continue;
      choice[path] = 0;
      combinations = std::min(combinations * (directory->pending.size() + 1), kNameChoicesMax + 1);
      for (const NameOperation& operation : directory->pending) in_order.emplace_back(operation.call, path);
    }
    std::vector<std::map<std::string, std::size_t>> choices{choice};
    if (combinations > kNameChoicesMax) {
      std::sort(in_order.begin(), in_order.end());
      for (const auto& [call, path] : in_order) {
        ++choice[path];
        choices.push_back(choice);
      }
      return choices;
    }
    while (choices.size() < combinations) {
      for (auto& [path, count] : choice) {  // counts up, as a number with one digit per directory
        if (++count <= directories.at(path)->pending.size()) break;
        count = 0;
      }
      choices.push_back(choice);
    }
    return choices;
  }
};

}  // namespace strongroom::os::testing
