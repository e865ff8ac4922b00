// How two directories lie to each other.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "os/descriptor.h"
#include "os/posix.h"
#include "os/posix_error.h"

namespace strongroom::os {

namespace {

constexpr int kDepthMax = 4096;

using Identity = std::pair<dev_t, ino_t>;

// A path as the kernel sees it: the directories that exist, deepest first up to the root, and the names that are to be made.
struct Place {
  std::vector<Identity> existing;
  std::vector<std::string> missing;
};

bool starts_with(const std::vector<std::string>& whole, const std::vector<std::string>& start) {
  return start.size() <= whole.size() && std::equal(start.begin(), start.end(), whole.begin());
}

// Whether `inner` is `outer` or lies in it.
bool holds(const Place& outer, const Place& inner) {
  if (outer.missing.empty()) {
    return std::find(inner.existing.begin(), inner.existing.end(), outer.existing.front()) !=
           inner.existing.end();
  }
  return outer.existing.front() == inner.existing.front() && starts_with(inner.missing, outer.missing);
}

Result<Place> look_up(const std::string& path) {
  Place place;
  std::string existing = path;
  Fd directory;
  for (;;) {
    directory = apart(Fd(uninterrupted([&] {
      return ::open(existing.empty() ? "/" : existing.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    })));
    if (directory.valid()) break;
    if (errno != ENOENT || existing.empty()) return failure(path, "open", errno);
    const std::size_t slash = existing.rfind('/');
    if (slash == std::string::npos) return failure(path, "open", ENOENT);
    if (slash + 1 < existing.size()) place.missing.insert(place.missing.begin(), existing.substr(slash + 1));
    existing.resize(slash);
  }
  // By "..", which leads from the root of a bind mount to where it is mounted.
  for (int depth = 0; depth < kDepthMax; ++depth) {
    struct stat st {};
    if (::fstat(directory.get(), &st) != 0) return failure(path, "stat", errno);
    const Identity identity(st.st_dev, st.st_ino);
    if (!place.existing.empty() && place.existing.back() == identity) return place;
    place.existing.push_back(identity);
    Fd above = apart(
        Fd(uninterrupted([&] { return ::openat(directory.get(), "..", O_PATH | O_DIRECTORY | O_CLOEXEC); })));
    if (!above.valid()) return failure(path, "open", errno);
    directory = std::move(above);
  }
  return Status(Reason::kUnsafePath, path + ": is too deep");
}

}  // namespace

Result<PlaceRelation> relate(const std::string& one, const std::string& other) {
  SR_ASSIGN(const Place first, look_up(one));
  SR_ASSIGN(const Place second, look_up(other));
  PlaceRelation relation;
  relation.overlap = holds(first, second) || holds(second, first);
  relation.same_file_system = first.existing.front().first == second.existing.front().first;
  return relation;
}

}  // namespace strongroom::os
