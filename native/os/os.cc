// What every implementation of the seam shares: the rule for names, and reading and replacing whole files.
#include "os/os.h"

#include <algorithm>
#include <cerrno>

#include "os/errno_reason.h"

namespace strongroom::os {

namespace {

// Writes `content` under a name that does not exist yet, and makes the content durable (not the name).
Status write_new(Directory& directory, std::string_view name, ByteView content) {
  SR_ASSIGN(const std::unique_ptr<File> file, directory.open(name, OpenMode::kCreate));
  SR_TRY(file->write_at(0, content));
  return file->sync();
}

}  // namespace

Reason reason_of_errno(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return Reason::kNoSpace;
    case EACCES:
    case EPERM:
    case EROFS:
      return Reason::kPermissionDenied;
    case ENOENT:
      return Reason::kNotFound;
    case ELOOP:
      return Reason::kUnsafePath;
    case ENAMETOOLONG:
      return Reason::kInvalidArgument;
    default:
      return Reason::kIoError;
  }
}

Status check_name(std::string_view name) {
  constexpr std::size_t kNameBytesMax = 255;
  if (name.empty()) return {Reason::kInvalidArgument, "a file name is empty"};
  if (name == "." || name == "..") return {Reason::kInvalidArgument, "a file name is '.' or '..'"};
  if (name.size() > kNameBytesMax) return {Reason::kInvalidArgument, "a file name is longer than 255 bytes"};
  if (name.find('/') != std::string_view::npos) return {Reason::kInvalidArgument, "a file name holds a '/'"};
  if (name.find('\0') != std::string_view::npos) return {Reason::kInvalidArgument, "a file name holds a NUL"};
  return {};
}

Result<Bytes> read_whole(Directory& directory, std::string_view name, std::size_t bytes_max) {
  const auto too_large = [&] {
    return Status(Reason::kPersistenceCorrupt, directory.path() + "/" + std::string(name) + ": larger than " +
                                                   std::to_string(bytes_max) + " bytes");
  };
  SR_ASSIGN(const std::unique_ptr<File> file, directory.open(name, OpenMode::kRead));
  SR_ASSIGN(const FileInfo info, file->info());
  if (info.size_bytes > bytes_max) return too_large();

  // One byte more than expected: a short answer proves the end of the file, so that the usual file takes one
  // read.
  Bytes content(static_cast<std::size_t>(info.size_bytes) + 1);
  std::size_t filled = 0;
  for (;;) {
    SR_ASSIGN(const std::size_t got, file->read_at(filled, MutableBytes(content).subspan(filled)));
    filled += got;
    if (filled > bytes_max) return too_large();
    if (filled < content.size()) break;
    content.resize(std::min(content.size() * 2, bytes_max) + 1);  // it grew meanwhile
  }
  content.resize(filled);
  return content;
}

Status try_replace_file(Directory& directory, std::string_view name, ByteView content) {
  const std::string fresh = std::string(name) + ".new";
  SR_TRY(check_name(fresh));
  SR_TRY(directory.remove(fresh));
  const Status written = [&]() -> Status {
    SR_ASSIGN(const std::unique_ptr<File> file, directory.open(fresh, OpenMode::kCreate));
    return file->write_at(0, content);
  }();
  const Status removed = directory.remove(fresh);
  return written.ok() ? removed : written;
}

Status replace_file(Directory& directory, std::string_view name, ByteView content) {
  const std::string fresh = std::string(name) + ".new";
  SR_TRY(check_name(fresh));
  SR_ASSIGN(const std::optional<FileInfo> leftover, directory.stat(fresh));
  if (leftover) SR_TRY(directory.remove(fresh));

  Status status = write_new(directory, fresh, content);
  if (status.ok()) status = directory.replace(fresh, name);
  if (!status.ok()) {
    directory.remove(fresh).ignore(
        "the first failure is the one to report; a leftover is overwritten next time");
    return status;
  }
  return directory.sync();
}

}  // namespace strongroom::os
