// A witness: what remembers a checkpoint of the vault outside of the vault. Each kind has a directory, and registry.h lists
// them. Code that works with witnesses asks them through this interface and never for their kind.
//
// The calls of a start: observe(), before the vault is read; once every verdict has passed try_write(), before anything is
// written, then adopt(). Those of a COLDSTART: begin(). Those of an open store: move() and check().
//
// Invariants:
// - observe(), try_write() and check() change nothing.
// - A witness moves only to a checkpoint that is durable in the vault.
// Calls are serialised by the owner. From any thread: kind(), alarm(), alarmed(), position().
#pragma once

#include <memory>
#include <string_view>

#include "header/key_ring.h"
#include "protectors/key_protector.h"
#include "witnesses/observation.h"

namespace strongroom::store {

class CounterWitness;
class TamperWitness;
class Witness;

// Where a witness stands, for the status.
struct WitnessPosition {
  log::Checkpoint checkpoint;
  std::int64_t moved_wall_ms = 0;
  bool failing = false;
};

// What tamper file and witness values are authenticated with.
struct WitnessKeys {
  SecretBytes tamper;
  SecretBytes witness;
  StorageId storage_id{};
  std::uint32_t key_id = 1;
};

// What witnesses work with; it outlives them.
struct WitnessContext {
  os::Directory& directory;
  KeyRing& ring;
  const std::unique_ptr<SecretStore>& secrets;     // null where the store has none
  const std::unique_ptr<KeyProtector>& protector;  // which may get a token later
  const WitnessKeys& keys;
  std::uint32_t tamper_capacity;
};

// kBeside: a file beside the vault. It is read and judged after those outside, and moves before them, so that what those
// remember is in it.
enum class Place : std::uint8_t { kOutside, kBeside };
// kPaced: slow, or worn by each move. It moves when an operation waits for it, and else seldom.
enum class Pace : std::uint8_t { kEachMove, kPaced };

struct WitnessKind {
  WitnessBits bit;
  std::string_view name;  // in the status: "tamper-file"
  std::string_view noun;  // in messages: "tamper file"
  Place place;
  Pace pace;
  bool confirms_alone;    // a vault whose tamper file is missing
  bool proves_freshness;  // on its own, so that the age of the state is no finding
  std::unique_ptr<Witness> (*make)(const WitnessKind& kind, const WitnessContext& context);
};

// What a move does with a value that this process did not leave there: only authority replaces it.
enum class Foreign : std::uint8_t { kRefuse, kReplace };

struct Move {
  VaultHash target;
  const AuditTail::Rest& rest;  // behind what the tamper file holds
  Foreign foreign;
};

class Witness {
 public:
  explicit Witness(const WitnessKind& kind) : kind_(kind) {}
  Witness(const Witness&) = delete;
  Witness& operator=(const Witness&) = delete;
  Witness(Witness&&) = delete;
  Witness& operator=(Witness&&) = delete;
  virtual ~Witness() = default;

  [[nodiscard]] const WitnessKind& kind() const { return kind_; }
  // False while what holds it is lost, and a new one is not connected.
  [[nodiscard]] virtual bool is_connected() const { return true; }

  // An error is an outage, or a witness that cannot be read; a finding is in the observation.
  [[nodiscard]] virtual Result<std::unique_ptr<Observation>> observe() = 0;
  // Whether it is another store's, so that authority over this store does not replace it.
  [[nodiscard]] virtual Result<bool> is_of_another_store() { return false; }
  [[nodiscard]] virtual Status check_time(const Observation& /*found*/, const Now& /*now*/,
                                          std::uint64_t /*tolerance_ms*/) {
    return {};
  }
  // Whether it can be written, as far as that can be tried without a change.
  [[nodiscard]] virtual Status try_write(const Observation& /*found*/) { return {}; }
  // Continues from what was found. `synced`: the generation up to which the tamper file is known to be durable.
  virtual void adopt(Observation& /*found*/, std::uint64_t /*synced*/) {}
  // Remembers its first checkpoint at once, whatever it held.
  [[nodiscard]] virtual Status begin(const VaultHash& /*first*/, const std::optional<TimeStamp>& /*stamp*/) {
    return {};
  }
  // The keys of the context became others: with the next move everything is written under them.
  virtual void rekeyed() {}

  [[nodiscard]] virtual Status move(const Move& move) = 0;
  // Whether it still holds what this process left there. Changes nothing but alarm().
  [[nodiscard]] virtual Status check() { return {}; }
  // It says that this store is not the one that it last saw.
  [[nodiscard]] virtual Status alarm() const { return {}; }
  [[nodiscard]] virtual bool alarmed() const { return false; }  // the same without a lock
  [[nodiscard]] virtual WitnessPosition position() const = 0;

  // What some witnesses are besides. Null for the others.
  [[nodiscard]] virtual CounterWitness* counter() { return nullptr; }
  [[nodiscard]] virtual TamperWitness* tamper_file() { return nullptr; }

 private:
  const WitnessKind& kind_;
};

}  // namespace strongroom::store
