// NV counters and extend indices on a connection. tpm.h says what the commands mean.
#pragma once

#include <string_view>
#include <vector>

#include "roots/tpm/connection.h"
#include "roots/tpm/tpm.h"

namespace strongroom::roots::nv {

[[nodiscard]] Result<std::vector<NvIndexInfo>> find(Connection& connection, std::uint32_t first,
                                                    std::uint32_t count);
[[nodiscard]] Status define(Connection& connection, NvKind kind, std::uint32_t index, const Digest& label,
                            ByteView secret);
[[nodiscard]] Status undefine(Connection& connection, std::uint32_t number);
[[nodiscard]] Result<std::uint64_t> read_counter(Connection& connection, std::uint32_t number,
                                                 const TpmName& name, ByteView secret);
[[nodiscard]] Result<Digest> read_extend(Connection& connection, std::uint32_t number, const TpmName& name,
                                         ByteView secret);
[[nodiscard]] Status increment(Connection& connection, std::uint32_t number, const TpmName& name,
                               ByteView secret);
[[nodiscard]] Status extend(Connection& connection, std::uint32_t number, const TpmName& name,
                            ByteView secret, const Digest& data);

// Whether an index that was never written will do.
enum class Unwritten : std::uint8_t { kRefused, kAllowed };

// The index if its name is the expected one, or, where allowed, will be after its first write. What the library kept
// of it may be out of date, so "no" is only said after it was read anew. kWitnessMissing, kWitnessReplaced, kTpmRefused.
[[nodiscard]] Result<const Connection::Index*> expected(Connection& connection, std::uint32_t number,
                                                        const TpmName& name, Unwritten unwritten);
// After an error of a command on an index: what reading the index anew says about it; ok when it is as expected, and when
// the connection is lost.
[[nodiscard]] Status look_again(Connection& connection, std::uint32_t number, const TpmName& name,
                                Unwritten unwritten);
// As Connection::check(), for a command that the owner hierarchy authorises, whose authorisation is empty unless somebody
// set one.
[[nodiscard]] Status check_owner(Connection& connection, std::string_view command, TSS2_RC rc);

}  // namespace strongroom::roots::nv
