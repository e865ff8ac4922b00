// A file system that calls back when one file is made or synced, so that a test can do something at exactly that
// moment, and that shows every write. Everything else goes through.
#pragma once

#include <functional>
#include <string>

#include "os/os.h"

namespace strongroom::store::testing {

class HookedFiles final : public os::FileSystem {
 public:
  HookedFiles(os::FileSystem& inner, std::string name) : inner_(inner), name_(std::move(name)) {}

  std::function<void()> on_create;                // before the file is made
  std::function<void()> on_sync;                  // before it is synced
  int syncs_hooked = 1;                           // so many of its first ones
  std::optional<os::FileSystemInfo> file_system;  // what directories say that they are on
  std::function<void()> on_lock;                  // before a directory is locked
  std::function<void(std::string_view name, ByteView data)> on_write;  // of any file

  Result<std::shared_ptr<os::Directory>> open_directory(const std::string& path,
                                                        os::DirectoryMode mode) override {
    SR_ASSIGN(std::shared_ptr<os::Directory> directory, inner_.open_directory(path, mode));
    return std::shared_ptr<os::Directory>(std::make_shared<HookedDirectory>(*this, std::move(directory)));
  }
  Result<std::unique_ptr<os::FileLock>> lock_on_host(std::string_view key) override {
    return inner_.lock_on_host(key);
  }

 private:
  class HookedFile final : public os::File {
   public:
    HookedFile(HookedFiles& hooks, std::string_view name, bool hooked, std::unique_ptr<os::File> inner)
        : hooks_(hooks), name_(name), hooked_(hooked), inner_(std::move(inner)) {}
    Result<std::size_t> read_at(std::uint64_t offset, MutableBytes out) override {
      return inner_->read_at(offset, out);
    }
    Status write_at(std::uint64_t offset, ByteView data) override {
      if (hooks_.on_write) hooks_.on_write(name_, data);
      return inner_->write_at(offset, data);
    }
    Status sync() override {
      // Only before the lock of the commits is taken for publishing; a commit there would wait for itself.
      if (hooked_ && hooks_.on_sync && syncs_++ < hooks_.syncs_hooked) hooks_.on_sync();
      return inner_->sync();
    }
    Status truncate(std::uint64_t size) override { return inner_->truncate(size); }
    Status allocate(std::uint64_t offset, std::uint64_t length) override {
      return inner_->allocate(offset, length);
    }
    Result<os::FileInfo> info() override { return inner_->info(); }

   private:
    HookedFiles& hooks_;
    const std::string name_;
    const bool hooked_;
    std::unique_ptr<os::File> inner_;
    int syncs_ = 0;
  };

  class HookedDirectory final : public os::Directory {
   public:
    HookedDirectory(HookedFiles& hooks, std::shared_ptr<os::Directory> inner)
        : hooks_(hooks), inner_(std::move(inner)) {}
    Result<std::unique_ptr<os::File>> open(std::string_view name, os::OpenMode mode) override {
      const bool hooked = name == hooks_.name_ && mode == os::OpenMode::kCreate;
      if (hooked && hooks_.on_create) hooks_.on_create();
      SR_ASSIGN(std::unique_ptr<os::File> file, inner_->open(name, mode));
      return std::unique_ptr<os::File>(std::make_unique<HookedFile>(hooks_, name, hooked, std::move(file)));
    }
    Result<std::optional<os::FileInfo>> stat(std::string_view name) override { return inner_->stat(name); }
    Status replace(std::string_view from, std::string_view to) override { return inner_->replace(from, to); }
    Status remove(std::string_view name) override { return inner_->remove(name); }
    Result<std::vector<std::string>> list() override { return inner_->list(); }
    Status sync() override { return inner_->sync(); }
    Result<os::FileInfo> info() override { return inner_->info(); }
    Result<os::FileSystemInfo> file_system() override {
      return hooks_.file_system ? Result<os::FileSystemInfo>(*hooks_.file_system) : inner_->file_system();
    }
    Result<std::unique_ptr<os::FileLock>> lock(std::string_view name) override { return inner_->lock(name); }
    Result<std::unique_ptr<os::FileLock>> lock_directory(std::string_view name) override {
      if (hooks_.on_lock) hooks_.on_lock();
      return inner_->lock_directory(name);
    }
    [[nodiscard]] const std::string& path() const override { return inner_->path(); }

   private:
    HookedFiles& hooks_;
    std::shared_ptr<os::Directory> inner_;
  };

  os::FileSystem& inner_;
  const std::string name_;
};

}  // namespace strongroom::store::testing
