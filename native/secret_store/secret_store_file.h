// SecretStore back end `file`: a directory of its own (0700) with one file (0600) for each item.
//
//   file name  <instance>.<name>        when the instance name matches [A-Za-z0-9._-]{1,64}
//              ~<64 hex digits>.<name>  otherwise: SHA-256 of the instance name
//   content    the item's record (secret_record.h), twice
//   lock       <instance>.lock or ~<64 hex digits>.lock: the process id of the opener for writing, empty otherwise
//
// Invariants:
// - Different instances have different files: a plain name holds no '~', and the name after the last
//   '.' is ours.
// - A file is only ever replaced whole (os::replace_file). So both copies are the same; of two that
//   differ, one was damaged (its checksum fails: the other counts) or the file was edited (both fit:
//   refused).
// - The halves of the file are the copies. A file that was cut or grown has no intact half and is
//   damaged.
#pragma once

#include <memory>
#include <string>

#include "os/os.h"
#include "secret_store/secret_store.h"

namespace strongroom::store {

// The instance name and the path were checked by open_secret_store().
[[nodiscard]] Result<std::unique_ptr<SecretStore>> open_file_secret_store(os::FileSystem& files,
                                                                          const std::string& directory,
                                                                          const std::string& instance,
                                                                          os::DirectoryMode mode);

// "acme.VaultHash"
[[nodiscard]] std::string secret_file_name(const std::string& instance, SecretName name);
// "acme.lock": made by the first lock() of the instance, removed with the instance.
[[nodiscard]] std::string secret_lock_name(const std::string& instance);

// The content of one item's file. Errors as SecretStore::load().
[[nodiscard]] Result<Secret> parse_secret_file(ByteView file, SecretName name, const std::string& instance);

}  // namespace strongroom::store
