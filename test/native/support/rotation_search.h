// The search for anything in the files and secrets of a store that is still of a former DEK.
#pragma once

#include <set>

#include "protectors/password/password_slot.h"
#include "protectors/software/software_slot.h"
#include "reliability_fixture.h"

namespace strongroom::store::testing {

inline constexpr const char* kBackup = "backup";

inline PersistenceHeader header_in(const Files& files) {
  const auto parsed = parse_persistence(files.at(kPersistencePath));
  EXPECT_TRUE(parsed.ok() && parsed->size() == 1);
  return parsed->front().header;
}

inline SecretBytes dek_in(const Files& files, std::string_view password = kBackup) {
  auto dek = open_by_password(header_in(files), as_bytes(password));
  EXPECT_TRUE(dek.ok());
  return dek.ok() ? *std::move(dek) : SecretBytes(crypto::kKeyBytes);
}

inline CoreData core_in(const Files& files) {
  const auto parsed = parse_persistence(files.at(kPersistencePath));
  auto core = open_core_data(parsed->front(), dek_in(files).view());
  EXPECT_TRUE(core.ok());
  return *std::move(core);
}

// The value in a file of the SecretStore: the record's, in its first copy.
inline Bytes secret_value(const Bytes& file) {
  const std::size_t instance = file[11];
  const auto size = load_le<std::uint32_t>(file.data() + 12);
  const auto begin = file.begin() + static_cast<std::ptrdiff_t>(32 + instance);
  return {begin, begin + static_cast<std::ptrdiff_t>(size)};
}

// Every frame of a vault file that opens under some epoch key of this DEK, whatever salt it is tried with.
inline std::size_t frames_of(const Bytes& vault, ByteView dek, const Bytes& vault_salt,
                             const StorageId& storage_id) {
  const SecretBytes vault_key = create_get_vault_key(dek, vault_salt);
  std::vector<log::EpochSalt> salts;
  struct Frame {
    log::FrameHeader header;
    std::size_t at;
  };
  std::vector<Frame> frames;
  for (std::size_t at = log::kFileHeaderBytes; at + log::kFrameHeaderBytes <= vault.size(); at += 8) {
    const auto header = log::parse_frame_header(ByteView(vault).subspan(at), storage_id);
    if (!header) continue;
    frames.push_back({*header, at});
    if (header->salt_bytes() != 0) {
      std::copy_n(vault.begin() + static_cast<std::ptrdiff_t>(at + log::kFrameHeaderBytes), log::kSaltBytes,
                  salts.emplace_back().begin());
    }
  }
  // A frame behind the snapshot takes its salt from the snapshot's description, so what the snapshot seals is looked at through the
  // chain: all that is wanted here is whether a directory authenticates, so each possible chain value is tried as well.
  std::vector<Digest> chains{log::snapshot_chain_start(ByteView(vault).first(log::kFileHeaderBytes))};
  std::size_t found = 0;
  for (const Frame& frame : frames) {
    const std::size_t salt_bytes = frame.header.salt_bytes();
    const ByteView header_and_salt = ByteView(vault).subspan(frame.at, log::kFrameHeaderBytes + salt_bytes);
    const ByteView directory =
        ByteView(vault).subspan(frame.at + header_and_salt.size(), frame.header.entry_table_bytes);
    const ByteView tag =
        ByteView(vault).subspan(frame.at + header_and_salt.size() + directory.size(), crypto::kTagBytes);
    bool opened = false;
    for (const log::EpochSalt& salt : salts) {
      const SecretBytes key = crypto::hkdf_sha256(vault_key.view(), salt, "strongroom/v5 epoch");
      crypto::Aead cipher(key.view());
      for (const Digest& chain : chains) {
        Bytes associated(storage_id.begin(), storage_id.end());
        associated.insert(associated.end(), chain.begin(), chain.end());
        associated.insert(associated.end(), header_and_salt.begin(), header_and_salt.end());
        Bytes out(directory.size() + 1);
        opened |= cipher.open(log::counter_nonce(frame.header.counter), associated, directory, tag.data(),
                              out.data());
        if (opened && frame.header.kind == log::CommitKind::kSnapshotHead) {
          out.resize(directory.size());
          if (const auto info = log::parse_snapshot_info(out)) {
            chains.push_back(info->checkpoint.head);
            for (const auto& [epoch, announced] : info->epochs) salts.push_back(announced);
          }
        }
        if (opened) break;
      }
      if (opened) break;
    }
    found += opened ? 1 : 0;
    std::vector<Digest> next;
    for (const Digest& chain : chains) next.push_back(log::next_link(chain, header_and_salt, tag));
    chains.insert(chains.end(), next.begin(), next.end());
    if (chains.size() > 64) chains.erase(chains.begin(), chains.end() - 64);
  }
  return found;
}

inline void find_in_slots(const Files& files, ByteView dek, std::vector<std::string>& left) {
  const PersistenceHeader header = header_in(files);
  const StorageId& id = header.storage_id;
  for (const KeySlot& slot : header.slots) {
    if (slot.type != SlotType::kPassword) continue;
    const auto opened = open_by_password(header, as_bytes(kBackup));
    if (opened.ok() && equal(opened->view(), dek)) left.emplace_back("password slot");
  }
  // A store with a TPM has no SecretStore.
  if (files.contains(kRootKeyPath)) {
    const Bytes root = secret_value(files.at(kRootKeyPath));
    for (const KeySlot& slot : header.slots) {
      if (slot.type != SlotType::kSoftware) continue;
      bool fits = false;
      const auto opened = unwrap_dek(slot, software_kek(root, id).view(), id, header.key_id, &fits);
      if (!opened.ok()) left.emplace_back("a root slot that does not open");
      if (opened.ok() && equal(opened->view(), dek)) left.emplace_back("root slot");
    }
  }
}

inline void find_in_tamper_file(const Files& files, ByteView dek, const StorageId& id,
                                std::vector<std::string>& left) {
  const SecretBytes tamper = tamper_key(dek, id);
  if (parse_tamper_file(files.at(kTamperPath), tamper.view(), id).ok()) left.emplace_back("tmtmp.bin");
  const Bytes& entries = files.at(kTamperPath);
  for (std::size_t at = kTamperHeaderBytes; at + kTamperEntryBytes <= entries.size();
       at += kTamperEntryBytes) {
    Digest previous;
    std::copy_n(entries.begin() + static_cast<std::ptrdiff_t>(at == kTamperHeaderBytes ? 80 : at - 32), 32,
                previous.begin());
    const Digest chain =
        crypto::hmac_sha256(tamper.view(), {previous, ByteView(entries).subspan(at, kTamperEntryBytes - 32)});
    if (equal(chain, ByteView(entries).subspan(at + kTamperEntryBytes - 32, 32)))
      left.emplace_back("an entry of tmtmp.bin");
  }
}

inline constexpr std::size_t kSealedRun = 24;
// Every run of 24 bytes that a vault file sealed: all but zeros, headers and salts.
inline std::set<std::string_view> sealed_runs(const Bytes& vault, const StorageId& id) {
  std::set<std::string_view> runs;
  std::size_t at = log::kFileHeaderBytes;
  while (at + log::kFrameHeaderBytes <= vault.size()) {
    const auto frame = log::parse_frame_header(ByteView(vault).subspan(at), id);
    if (!frame) break;
    const std::size_t begin = at + log::kFrameHeaderBytes + frame->salt_bytes();
    const std::size_t end = at + frame->content_bytes();
    for (std::size_t run = begin; run + kSealedRun <= end; run += 8)
      runs.insert(as_text(ByteView(vault).subspan(run, kSealedRun)));
    at += frame->frame_bytes();
  }
  return runs;
}

inline void find_sealed_bytes(const Files& files, const Bytes& vault_before, const StorageId& id,
                              std::vector<std::string>& left) {
  const std::set<std::string_view> runs = sealed_runs(vault_before, id);
  if (runs.empty()) left.emplace_back("nothing to search for");
  for (const auto& [path, content] : files) {
    for (std::size_t from = 0; from + kSealedRun <= content.size(); ++from) {
      if (!runs.contains(as_text(ByteView(content).subspan(from, kSealedRun)))) continue;
      left.push_back("sealed bytes of the former vault in " + path);
      break;
    }
  }
}

// What of these files and secrets still opens or authenticates under `dek`, which is not the present one. `vault_before`
// is the vault file of its time: none of the bytes that it sealed may be there.
inline std::vector<std::string> left_of(const Files& files, ByteView dek, const Bytes& vault_before) {
  std::vector<std::string> left;
  const PersistenceHeader header = header_in(files);
  const StorageId& id = header.storage_id;
  const auto parsed = parse_persistence(files.at(kPersistencePath));
  if (open_core_data(parsed->front(), dek).ok()) left.emplace_back("core data");
  find_in_slots(files, dek, left);
  const CoreData core = core_in(files);
  if (core.previous) left.emplace_back("previous DEK in the core data");
  const Bytes salt(core.vault_salt.begin(), core.vault_salt.end());
  if (frames_of(files.at(kVaultPath), dek, salt, id) != 0) left.emplace_back("frames of vault.bin");
  const SecretBytes present = dek_in(files);
  if (frames_of(files.at(kVaultPath), present.view(), salt, id) == 0)
    left.emplace_back("the search finds no frame of the present DEK: it searches wrongly");
  find_in_tamper_file(files, dek, id, left);
  const bool has_secrets = files.contains(kRootKeyPath);
  const SecretBytes witness = witness_key(dek, id);
  if (has_secrets && parse_vault_hash(secret_value(files.at(kVaultHashPath)), witness.view(), id).ok())
    left.emplace_back("VaultHash");
  if (has_secrets && parse_witness_time(secret_value(files.at(kTimeTamperPath)), witness.view(), id).ok())
    left.emplace_back("TimeTamper");

  find_sealed_bytes(files, vault_before, id, left);
  return left;
}

}  // namespace strongroom::store::testing
