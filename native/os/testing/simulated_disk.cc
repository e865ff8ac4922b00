// The calls of the simulated disk, and the states that a power cut may leave. The model is in disk_model.h.
#include "os/testing/simulated_disk.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <limits>
#include <set>
#include <utility>

#include "os/lock_owner.h"
#include "os/testing/crash_choices.h"
#include "os/testing/disk_model.h"

namespace strongroom::os::testing {

namespace {

using Core = SimulatedDisk::Core;
using Outcome = Core::Outcome;
using Space = Core::Space;

class SimulatedFile final : public File {
 public:
  SimulatedFile(std::shared_ptr<Core> core, NodePtr node, std::string path, bool writable)
      : core_(std::move(core)), node_(std::move(node)), path_(std::move(path)), writable_(writable) {}

  Result<std::size_t> read_at(std::uint64_t offset, MutableBytes out) override {
    const MutexLock lock(core_->mutex);
    if (core_->cut) return core_->power_cut(path_);
    SR_TRY(check_range(offset, out.size()));
    const Bytes& content = node_->visible;
    if (offset >= content.size()) return std::size_t{0};
    const std::size_t size = std::min(out.size(), content.size() - static_cast<std::size_t>(offset));
    std::copy_n(content.begin() + static_cast<std::ptrdiff_t>(offset), size, out.begin());
    return size;
  }

  Status write_at(std::uint64_t offset, ByteView data) override {
    const MutexLock lock(core_->mutex);
    SR_TRY(check_change(offset, data.size()));
    if (data.empty()) return {};
    const Outcome outcome = core_->begin("write " + range(offset, data.size()), Space::kTaken);
    ByteView written = data;
    if (outcome == Outcome::kFailedPartly) written = data.first(data.size() / 2);
    if (outcome != Outcome::kFailed && !written.empty()) {
      FileOperation operation;
      operation.offset = offset;
      operation.size = written.size();
      operation.data.assign(written.begin(), written.end());
      core_->change_file(*node_, std::move(operation));
    }
    return core_->finish(outcome, path_);
  }

  Status sync() override {
    const MutexLock lock(core_->mutex);
    if (core_->cut) return core_->power_cut(path_);
    const Outcome outcome = core_->begin("sync " + path_, Space::kNotTaken);
    if (outcome == Outcome::kDone && !core_->lies) Core::settle(*node_);
    if (outcome == Outcome::kFailedPartly) {
      for (FileOperation& operation : node_->operations) operation.dropped = !operation.durable;
    }
    return core_->finish(outcome, path_);
  }

  Status truncate(std::uint64_t size) override {
    const MutexLock lock(core_->mutex);
    SR_TRY(check_change(size, 0));
    return change(FileOperation::Kind::kTruncate, 0, size,
                  "truncate " + path_ + " to " + std::to_string(size));
  }

  Status allocate(std::uint64_t offset, std::uint64_t length) override {
    const MutexLock lock(core_->mutex);
    SR_TRY(check_change(offset, length));
    if (length == 0) return {};
    return change(FileOperation::Kind::kAllocate, offset, length, "allocate " + range(offset, length));
  }

  Result<FileInfo> info() override {
    const MutexLock lock(core_->mutex);
    if (core_->cut) return core_->power_cut(path_);
    return to_info(*node_);
  }

 private:
  [[nodiscard]] std::string range(std::uint64_t offset, std::uint64_t length) const {
    return path_ + " " + std::to_string(offset) + "+" + std::to_string(length);
  }

  [[nodiscard]] Status check_range(std::uint64_t offset, std::uint64_t length) const {
    constexpr auto kOffsetMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (offset <= kOffsetMax && length <= kOffsetMax - offset) return {};
    return {Reason::kInvalidArgument, path_ + ": an offset is beyond the largest file"};
  }

  [[nodiscard]] Status check_change(std::uint64_t offset, std::uint64_t length) const
      SR_REQUIRES(core_->mutex) {
    if (core_->cut) return core_->power_cut(path_);
    SR_TRY(check_range(offset, length));
    if (!writable_) return {Reason::kIoError, path_ + ": opened for reading", EBADF};
    if (offset + length > kFileBytesMax) return {Reason::kNoSpace, path_ + ": larger than the disk", ENOSPC};
    return {};
  }

  Status change(FileOperation::Kind kind, std::uint64_t offset, std::uint64_t size, const std::string& what)
      SR_REQUIRES(core_->mutex) {
    const Outcome outcome =
        core_->begin(what, kind == FileOperation::Kind::kAllocate ? Space::kTaken : Space::kNotTaken);
    if (Core::happened(outcome)) {
      FileOperation operation;
      operation.kind = kind;
      operation.offset = offset;
      operation.size = size;
      core_->change_file(*node_, std::move(operation));
    }
    return core_->finish(outcome, path_);
  }

  const std::shared_ptr<Core> core_;
  const NodePtr node_;
  const std::string path_;
  const bool writable_;
};

class SimulatedLock final : public FileLock {
 public:
  // `directory` is null where it is not locked.
  SimulatedLock(std::shared_ptr<Core> core, NodePtr node, DirectoryPtr directory)
      : core_(std::move(core)), node_(std::move(node)), directory_(std::move(directory)) {}
  SimulatedLock(const SimulatedLock&) = delete;
  SimulatedLock& operator=(const SimulatedLock&) = delete;
  ~SimulatedLock() override {
    const MutexLock lock(core_->mutex);
    core_->locked_files.erase(node_.get());
    if (directory_) core_->locked_directories.erase(directory_.get());
    if (!core_->cut) set_owner(*node_, "");
  }

  static void set_owner(Node& node, std::string_view text) {
    const ByteView bytes = as_bytes(text);
    node.operations.clear();
    node.base.assign(bytes.begin(), bytes.end());
    node.visible = node.base;
  }

 private:
  const std::shared_ptr<Core> core_;
  const NodePtr node_;
  const DirectoryPtr directory_;
};

class SimulatedHostLock final : public FileLock {
 public:
  SimulatedHostLock(std::shared_ptr<Core> core, std::string key)
      : core_(std::move(core)), key_(std::move(key)) {}
  SimulatedHostLock(const SimulatedHostLock&) = delete;
  SimulatedHostLock& operator=(const SimulatedHostLock&) = delete;
  ~SimulatedHostLock() override {
    const MutexLock lock(core_->mutex);
    core_->locked_on_host.erase(key_);
  }

 private:
  const std::shared_ptr<Core> core_;
  const std::string key_;
};

class SimulatedDirectory final : public Directory {
 public:
  SimulatedDirectory(std::shared_ptr<Core> core, DirectoryPtr state, std::string path, bool foreign)
      : core_(std::move(core)), state_(std::move(state)), path_(std::move(path)), foreign_(foreign) {}

  Result<std::unique_ptr<File>> open(std::string_view name, OpenMode mode) override {
    const MutexLock lock(core_->mutex);
    SR_TRY(check(name, mode != OpenMode::kRead));
    NodePtr node = node_of(name);
    if (mode == OpenMode::kCreate) {
      if (node) return Status(Reason::kIoError, full(name) + ": exists", EEXIST);
      SR_ASSIGN(node, create(name));
    }
    if (!node) return Status(Reason::kNotFound, full(name) + ": no such file", ENOENT);
    return std::unique_ptr<File>(
        std::make_unique<SimulatedFile>(core_, std::move(node), full(name), mode != OpenMode::kRead));
  }

  Result<std::optional<FileInfo>> stat(std::string_view name) override {
    const MutexLock lock(core_->mutex);
    SR_TRY(check(name, false));
    const NodePtr node = node_of(name);
    return node ? std::optional<FileInfo>(to_info(*node)) : std::nullopt;
  }

  Status replace(std::string_view from, std::string_view to) override {
    const MutexLock lock(core_->mutex);
    SR_TRY(check(from, true));
    SR_TRY(check(to, true));
    const NodePtr node = node_of(from);
    if (!node) return {Reason::kNotFound, full(from) + ": no such file", ENOENT};
    const Outcome outcome = core_->begin("replace " + full(from) + " to " + full(to), Space::kNotTaken);
    if (Core::happened(outcome)) {
      core_->change_name(*state_,
                         {NameOperation::Kind::kReplace, 0, std::string(from), std::string(to), node});
    }
    return core_->finish(outcome, full(from));
  }

  Status remove(std::string_view name) override {
    const MutexLock lock(core_->mutex);
    SR_TRY(check(name, true));
    if (!node_of(name)) return {};
    const Outcome outcome = core_->begin("remove " + full(name), Space::kNotTaken);
    if (Core::happened(outcome)) {
      core_->change_name(*state_, {NameOperation::Kind::kRemove, 0, std::string(name), "", nullptr});
    }
    return core_->finish(outcome, full(name));
  }

  Result<std::vector<std::string>> list() override {
    const MutexLock lock(core_->mutex);
    if (core_->cut) return core_->power_cut(path_);
    std::vector<std::string> names;
    for (const auto& [name, node] : state_->visible.files) names.push_back(name);
    return names;
  }

  Status sync() override {
    const MutexLock lock(core_->mutex);
    if (core_->cut) return core_->power_cut(path_);
    const Outcome outcome = core_->begin("sync directory " + path_, Space::kNotTaken);
    if (outcome == Outcome::kDone && !core_->lies) Core::settle(*state_);
    return core_->finish(outcome, path_);
  }

  Result<FileInfo> info() override {
    const MutexLock lock(core_->mutex);
    if (core_->cut) return core_->power_cut(path_);
    FileInfo info;
    info.inode = state_->inode;
    info.device = 1;
    return info;
  }

  Result<std::unique_ptr<FileLock>> lock(std::string_view name) override { return take(name, Scope::kName); }
  Result<std::unique_ptr<FileLock>> lock_directory(std::string_view name) override {
    return take(name, Scope::kDirectory);
  }

  const std::string& path() const override { return path_; }

 private:
  enum class Scope : std::uint8_t { kName, kDirectory };

  [[nodiscard]] std::string full(std::string_view name) const { return join(path_, name); }

  [[nodiscard]] Result<std::unique_ptr<FileLock>> take(std::string_view name, Scope scope) {
    const MutexLock lock(core_->mutex);
    const bool with_directory = scope == Scope::kDirectory && core_->directories_lock;
    SR_TRY(check(name, true));
    NodePtr node = node_of(name);
    const bool file_taken = node && core_->locked_files.contains(node.get());
    if (file_taken || (with_directory && core_->locked_directories.contains(state_.get()))) {
      const std::string owner(file_taken ? as_text(node->visible) : "");
      return Status(
          Reason::kLocked,
          full(name) + ": locked by " +
              (file_taken ? lock_owner_text(owner) : "a process whose lock file was removed or replaced"),
          EAGAIN);
    }
    if (!node) {
      SR_ASSIGN(node, create(name));
    }
    core_->locked_files.insert(node.get());
    if (with_directory) core_->locked_directories.insert(state_.get());
    SimulatedLock::set_owner(*node, lock_owner_content());
    return std::unique_ptr<FileLock>(
        std::make_unique<SimulatedLock>(core_, std::move(node), with_directory ? state_ : nullptr));
  }

  [[nodiscard]] NodePtr node_of(std::string_view name) const {
    const auto found = state_->visible.files.find(std::string(name));
    return found == state_->visible.files.end() ? nullptr : found->second;
  }

  [[nodiscard]] Status check(std::string_view name, bool changes) const SR_REQUIRES(core_->mutex) {
    if (core_->cut) return core_->power_cut(path_);
    SR_TRY(check_name(name));
    if (changes && foreign_) return {Reason::kPermissionDenied, path_ + ": opened for reading only"};
    if (state_->visible.directories.contains(std::string(name))) {
      return {Reason::kUnsafePath, full(name) + ": is a directory"};
    }
    return {};
  }

  Result<NodePtr> create(std::string_view name) SR_REQUIRES(core_->mutex) {
    const Outcome outcome = core_->begin("create " + full(name), Space::kTaken);
    NodePtr node = core_->new_node();
    if (Core::happened(outcome)) {
      core_->change_name(*state_, {NameOperation::Kind::kCreate, 0, std::string(name), "", node});
    }
    SR_TRY(core_->finish(outcome, full(name)));
    return node;
  }

  const std::shared_ptr<Core> core_;
  const DirectoryPtr state_;
  const std::string path_;
  const bool foreign_;
};

}  // namespace

SimulatedDisk::SimulatedDisk() : core_(std::make_shared<Core>()) { core_->settled_directory("/"); }
SimulatedDisk::SimulatedDisk(std::shared_ptr<Core> core) : core_(std::move(core)) {}
SimulatedDisk::~SimulatedDisk() = default;

Result<std::shared_ptr<Directory>> SimulatedDisk::open_directory(const std::string& given,
                                                                 DirectoryMode mode) {
  const MutexLock lock(core_->mutex);
  const std::string path = trimmed(given);
  if (core_->cut) return core_->power_cut(path);
  if (!plain_path(path)) return Status(Reason::kInvalidArgument, "not a plain absolute path: " + path);
  if (path != "/" && core_->find(path))
    return Status(Reason::kUnsafePath, path + ": is not a directory", ENOTDIR);

  auto found = core_->directories.find(path);
  if (mode == DirectoryMode::kCreate && path != "/") {
    const auto [parent_path, name] = split(path);
    const auto parent = core_->directories.find(parent_path);
    if (parent == core_->directories.end())
      return Status(Reason::kNotFound, parent_path + ": no such directory", ENOENT);
    if (found == core_->directories.end()) {
      const Outcome made = core_->begin("make " + path, Space::kTaken);
      if (Core::happened(made)) {
        core_->change_name(*parent->second, {NameOperation::Kind::kMake, 0, name, "", nullptr});
        found = core_->directories.emplace(path, Core::new_directory(path)).first;
      }
      SR_TRY(core_->finish(made, path));
    }
    const Outcome synced = core_->begin("sync directory " + parent_path, Space::kNotTaken);
    if (synced == Outcome::kDone && !core_->lies) Core::settle(*parent->second);
    SR_TRY(core_->finish(synced, parent_path));
  }
  if (found == core_->directories.end())
    return Status(Reason::kNotFound, path + ": no such directory", ENOENT);
  const bool foreign = mode == DirectoryMode::kForeignReadOnly;
  return std::shared_ptr<Directory>(
      std::make_shared<SimulatedDirectory>(core_, found->second, path, foreign));
}

Result<std::unique_ptr<FileLock>> SimulatedDisk::lock_on_host(std::string_view key) {
  SR_TRY(check_name(key));
  const MutexLock lock(core_->mutex);
  if (core_->cut) return core_->power_cut("the host's lock " + std::string(key));
  if (!core_->host_locks) return std::unique_ptr<FileLock>();
  if (!core_->locked_on_host.emplace(key).second) {
    return Status(
        Reason::kLocked,
        "the host's lock " + std::string(key) + ": locked by " + lock_owner_text(lock_owner_content()),
        EAGAIN);
  }
  return std::unique_ptr<FileLock>(std::make_unique<SimulatedHostLock>(core_, std::string(key)));
}

void SimulatedDisk::refuse_directory_locks() {
  const MutexLock lock(core_->mutex);
  core_->directories_lock = false;
}

void SimulatedDisk::refuse_host_locks() {
  const MutexLock lock(core_->mutex);
  core_->host_locks = false;
}

std::uint64_t SimulatedDisk::calls() const {
  const MutexLock lock(core_->mutex);
  return core_->calls();
}

std::vector<std::string> SimulatedDisk::call_log() const {
  const MutexLock lock(core_->mutex);
  return core_->log;
}

void SimulatedDisk::power_cut_at(std::uint64_t number) {
  const MutexLock lock(core_->mutex);
  core_->cut_at = number;
}

void SimulatedDisk::cut_power_now() {
  const MutexLock lock(core_->mutex);
  core_->cut = true;
}

bool SimulatedDisk::power_is_cut() const {
  const MutexLock lock(core_->mutex);
  return core_->cut;
}

void SimulatedDisk::fail_at(std::uint64_t number, const Failure& failure) {
  const MutexLock lock(core_->mutex);
  core_->faults.push_back({number, failure});
}

void SimulatedDisk::clear_faults() {
  const MutexLock lock(core_->mutex);
  core_->faults.clear();
  core_->lies = false;
  core_->cut_at = kNever;
}

void SimulatedDisk::lie_about_sync() {
  const MutexLock lock(core_->mutex);
  core_->lies = true;
}

std::vector<CrashState> SimulatedDisk::crash_states(std::size_t limit) const {
  if (limit < 2) std::abort();
  const MutexLock lock(core_->mutex);
  const Pending pending = core_->pending_operations();
  const std::vector<FileChoice> of_files = file_choices(pending);
  const std::vector<std::map<std::string, std::size_t>> of_names = core_->name_choices();
  std::vector<Tree> trees;
  trees.reserve(of_names.size());
  for (const auto& names : of_names) trees.push_back(core_->tree_after(names));

  // Twice: first the candidates whose contents are compared, then the different ones that are answered.
  const std::size_t count = of_files.size() * of_names.size();
  const std::size_t candidates_max = std::max(limit * 4, std::size_t{4096});
  std::vector<std::pair<std::size_t, std::size_t>> different;
  std::set<std::string> seen;
  std::map<const Node*, std::string> fingerprints;
  std::size_t fingerprinted = of_files.size();
  // All is looked at right after none, so that neither is taken for a duplicate of a state between them.
  std::vector<std::size_t> candidates = sample(count, candidates_max);
  if (count > 2) std::rotate(candidates.begin() + 1, candidates.end() - 1, candidates.end());
  for (const std::size_t candidate : candidates) {
    const std::size_t file_choice = candidate / of_names.size();
    const std::size_t name_choice = candidate % of_names.size();
    if (file_choice != fingerprinted) {
      fingerprints.clear();
      for (const auto& [node, image] :
           contents_after(pending, survivals_of(of_files[file_choice], pending.size()))) {
        fingerprints[node] = fingerprint(image);
      }
      fingerprinted = file_choice;
    }
    std::string key;
    for (const std::string& directory : trees[name_choice].directories) key += directory + '\0';
    for (const auto& [path, node] : trees[name_choice].files) {
      const auto found = fingerprints.find(node.get());
      key += path + '\0' + (found == fingerprints.end() ? fingerprint(node->base) : found->second) + '\0';
    }
    if (seen.insert(std::move(key)).second) different.emplace_back(file_choice, name_choice);
  }
  const bool all_is_different =
      different.size() > 1 && different[1] == std::pair(of_files.size() - 1, of_names.size() - 1);
  if (all_is_different) std::rotate(different.begin() + 1, different.begin() + 2, different.end());

  std::vector<CrashState> states;
  for (const std::size_t index : sample(different.size(), limit)) {
    const auto [file_choice, name_choice] = different[index];
    CrashState state;
    state.operations = survivals_of(of_files[file_choice], pending.size());
    state.names = of_names[name_choice];
    state.description =
        "of " + std::to_string(pending.size()) + " file operations: " + of_files[file_choice].description();
    for (const auto& [path, survived] : state.names) {
      state.description += "; names of " + path + ": " + std::to_string(survived) + " of " +
                           std::to_string(core_->directories.at(path)->pending.size());
    }
    states.push_back(std::move(state));
  }
  return states;
}

std::unique_ptr<SimulatedDisk> SimulatedDisk::after_crash(const CrashState& state) const {
  const MutexLock lock(core_->mutex);
  const Pending pending = core_->pending_operations();
  if (pending.size() != state.operations.size()) std::abort();  // the disk went on since it named this state
  const std::map<const Node*, Bytes> contents = contents_after(pending, state.operations);
  const Tree tree = core_->tree_after(state.names);
  auto core = std::make_shared<Core>();
  const MutexLock made(core->mutex);
  for (const std::string& path : tree.directories) core->settled_directory(path);
  for (const auto& [path, node] : tree.files) {
    const auto found = contents.find(node.get());
    core->put_settled(path, found == contents.end() ? node->base : found->second);
  }
  return std::unique_ptr<SimulatedDisk>(new SimulatedDisk(std::move(core)));
}

std::unique_ptr<SimulatedDisk> SimulatedDisk::clone() const {
  const MutexLock lock(core_->mutex);
  auto core = std::make_shared<Core>();
  const MutexLock made(core->mutex);
  for (const auto& [path, directory] : core_->directories) {
    core->settled_directory(path);
    for (const auto& [name, node] : directory->visible.files)
      core->put_settled(join(path, name), node->visible);
  }
  return std::unique_ptr<SimulatedDisk>(new SimulatedDisk(std::move(core)));
}

std::optional<Bytes> SimulatedDisk::content(const std::string& path) const {
  const MutexLock lock(core_->mutex);
  const NodePtr node = core_->find(path);
  return node ? std::optional<Bytes>(node->visible) : std::nullopt;
}

void SimulatedDisk::set_content(const std::string& path, Bytes bytes) {
  const MutexLock lock(core_->mutex);
  core_->put_settled(path, std::move(bytes));
}

void SimulatedDisk::remove(const std::string& path) {
  const MutexLock lock(core_->mutex);
  const auto [directory_path, name] = split(path);
  const auto directory = core_->directories.find(directory_path);
  if (directory == core_->directories.end()) return;
  directory->second->visible.files.erase(name);
  Core::settle(*directory->second);
}

void SimulatedDisk::make_directory(const std::string& path) {
  const MutexLock lock(core_->mutex);
  core_->settled_directory(trimmed(path));
}

std::vector<std::string> SimulatedDisk::list(const std::string& directory) const {
  const MutexLock lock(core_->mutex);
  const auto found = core_->directories.find(trimmed(directory));
  if (found == core_->directories.end()) return {};
  std::vector<std::string> names;
  for (const auto& [name, node] : found->second->visible.files) names.push_back(name);
  return names;
}

}  // namespace strongroom::os::testing
