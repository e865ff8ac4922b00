// What each file system means for a store, by the magic number that statfs() gives.
#include <algorithm>
#include <array>
#include <cstdio>

#include "store/engine.h"

namespace strongroom::store {
namespace {

enum class Kind : std::uint8_t { kLocal, kNetwork, kMemory, kFuse };

struct Known {
  std::uint64_t type;
  const char* name;
  Kind kind;
};

// The numbers of linux/magic.h and of the file systems' own sources.
constexpr std::array kKnown{
    Known{0xEF53, "ext4", Kind::kLocal},         Known{0x58465342, "xfs", Kind::kLocal},
    Known{0x9123683E, "btrfs", Kind::kLocal},    Known{0xF2F52010, "f2fs", Kind::kLocal},
    Known{0x2FC12FC1, "zfs", Kind::kLocal},      Known{0xCA451A4E, "bcachefs", Kind::kLocal},
    Known{0x794C7630, "overlay", Kind::kLocal},  Known{0x01021994, "tmpfs", Kind::kMemory},
    Known{0x858458F6, "ramfs", Kind::kMemory},   Known{0x6969, "nfs", Kind::kNetwork},
    Known{0xFF534D42, "cifs", Kind::kNetwork},   Known{0xFE534D42, "smb2", Kind::kNetwork},
    Known{0x517B, "smb", Kind::kNetwork},        Known{0x01021997, "9p", Kind::kNetwork},
    Known{0x00C36400, "ceph", Kind::kNetwork},   Known{0x0BD00BD0, "lustre", Kind::kNetwork},
    Known{0x47504653, "gpfs", Kind::kNetwork},   Known{0x5346414F, "afs", Kind::kNetwork},
    Known{0x73757245, "coda", Kind::kNetwork},   Known{0x01161970, "gfs2", Kind::kNetwork},
    Known{0x7461636F, "ocfs2", Kind::kNetwork},  Known{0x19830326, "fhgfs", Kind::kNetwork},
    Known{0x786F4256, "vboxsf", Kind::kNetwork}, Known{0xBACBACBC, "vmhgfs", Kind::kNetwork},
    Known{0x65735546, "fuse", Kind::kFuse},
};

}  // namespace

FileSystemKind file_system_kind(std::uint64_t type) {
  type &= 0xFFFFFFFF;  // some machines extend the sign
  const auto found =
      std::find_if(kKnown.begin(), kKnown.end(), [type](const Known& known) { return known.type == type; });
  FileSystemKind out;
  if (found == kKnown.end()) {
    std::array<char, 16> text{};
    (void)std::snprintf(text.data(), text.size(), "0x%llx", static_cast<unsigned long long>(type));
    out.name = text.data();
    return out;
  }
  out.name = found->name;
  out.network = found->kind == Kind::kNetwork;
  out.memory = found->kind == Kind::kMemory;
  out.fuse = found->kind == Kind::kFuse;
  return out;
}

}  // namespace strongroom::store
