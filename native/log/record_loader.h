// Loads the records of authentic frames into the index
//
// Invariant: a frame is all or nothing. Its values are checked before its first operation takes effect. With verifier
// threads they are checked concurrently, and the caller uses nothing that was loaded unless finish() confirms it all.
#pragma once

#include <optional>

#include "log/index.h"
#include "log/value_verifier.h"

namespace strongroom::log {

class RecordLoader {
 public:
  RecordLoader(Index& index, const EpochKeys& keys, unsigned verifier_threads);

  // `entry_table` is decrypted and authentic. False when it or a value is not what the header says: nothing was loaded.
  [[nodiscard]] bool apply(const FrameHeader& header, ByteView entry_table, ByteView values);
  // False when a value did not authenticate that a verifier thread checked.
  [[nodiscard]] bool finish();
  // Drops the checks that wait: nothing of what was loaded is used.
  void discard();

 private:
  // What the entry table says of one operation.
  struct Entry {
    Operation operation = Operation::kPut;
    ByteView key;
    std::uint32_t value_bytes = 0;
    ByteView tag;
  };

  // Fills `entries_`. False for a table that is malformed or does not match the header.
  [[nodiscard]] bool parse(const FrameHeader& header, ByteView entry_table);
  void make_records(const FrameHeader& header, ByteView values);
  [[nodiscard]] bool check_values();
  void prefetch_from(std::size_t first);

  Index& index_;
  ValueCipher cipher_;
  WipedBuffer plaintext_;
  // One for each operation of the frame in hand; the record of a delete is null.
  std::vector<Entry> entries_;
  std::vector<Record::Pointer> records_;
  std::vector<std::string_view> prefetched_;
  std::vector<Record::Pointer> retired_;  // replaced while the verifier may still look at them
  std::vector<const Record*> unchecked_;
  std::optional<ValueVerifier> verifier_;  // last: it ends before what it looks at
};

}  // namespace strongroom::log
