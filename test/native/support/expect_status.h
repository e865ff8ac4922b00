// Expectations about a Status or a Result, which tell the reason and the detail of what they got instead.
#pragma once

#include <gtest/gtest.h>

#include "base/status.h"

namespace strongroom {

inline Status status_of(Status status) { return status; }
template <typename T>
Status status_of(const Result<T>& result) {
  return result.status();
}
inline std::string described(const Status& status) {
  if (status.ok()) return "ok";
  return std::string(error_info(status.error().reason).reason) + ": " + status.error().detail;
}

}  // namespace strongroom

#define EXPECT_OK(expression)                                                   \
  do {                                                                          \
    const ::strongroom::Status sr_status = ::strongroom::status_of(expression); \
    EXPECT_TRUE(sr_status.ok()) << ::strongroom::described(sr_status);          \
  } while (false)

#define ASSERT_OK(expression)                                                   \
  do {                                                                          \
    const ::strongroom::Status sr_status = ::strongroom::status_of(expression); \
    ASSERT_TRUE(sr_status.ok()) << ::strongroom::described(sr_status);          \
  } while (false)

#define EXPECT_REASON(expression, expected)                                                               \
  do {                                                                                                    \
    const ::strongroom::Status sr_status = ::strongroom::status_of(expression);                           \
    EXPECT_TRUE(sr_status.is(expected)) << #expected " expected; " << ::strongroom::described(sr_status); \
  } while (false)
