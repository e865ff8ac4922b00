#include "addon/border_types.h"

namespace strongroom::addon {

FileSystemType file_system_type(const store::FileSystemKind& kind) {
  if (kind.network) return FileSystemType::kNetwork;
  if (kind.memory) return FileSystemType::kMemory;
  return kind.fuse ? FileSystemType::kFuse : FileSystemType::kLocal;
}

InspectionReport report_of(store::Inspection found) {
  InspectionReport report;
  report.key_slots = store::key_slot_status(found.header);
  report.root = store::describe_root_slot(found.header);
  report.found = std::move(found);
  return report;
}

}  // namespace strongroom::addon
