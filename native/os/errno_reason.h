// The reason that an errno of a file operation stands for.
#pragma once

#include "base/status.h"

namespace strongroom::os {

[[nodiscard]] Reason reason_of_errno(int error);

}  // namespace strongroom::os
