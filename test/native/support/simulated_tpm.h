// A TPM in memory. What a chip keeps in non-volatile memory (seeds, counters, the highest counter that it ever had, its
// clock) survives the process and every cut; a handle is what one process has of it.
//
// Numbering. Every call gets the next number, from 1, the opening of a handle too. A test may cut the machine's power
// before or after the effect of call n, or have it answer kTpmUnavailable with or without its effect.
//
// Invariants: a first value of a counter is one above the highest that any counter of this chip ever had; nothing takes
// a counter back; an unsealing checks what the real one does, in its order: load, counter, PCRs, policy, authorisation.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <mutex>

#include "crypto/crypto.h"
#include "roots/tpm/policy.h"
#include "roots/tpm/tpm.h"

namespace strongroom::store::testing {

class SimulatedChip : public std::enable_shared_from_this<SimulatedChip> {
 public:
  enum class When : std::uint8_t { kBefore, kAfter };
  static constexpr std::uint64_t kNever = UINT64_MAX;

  SimulatedChip() = default;
  SimulatedChip(const SimulatedChip&) = delete;
  SimulatedChip& operator=(const SimulatedChip&) = delete;

  // The same chip's memory on another machine's time line: for trying something on an image.
  [[nodiscard]] std::shared_ptr<SimulatedChip> clone() const {
    const std::lock_guard lock(mutex_);
    auto copy = std::make_shared<SimulatedChip>();
    copy->memory_ = memory_;
    return copy;
  }

  // --- Faults ---
  [[nodiscard]] std::uint64_t calls() const {
    const std::lock_guard lock(mutex_);
    return log_.size();
  }
  [[nodiscard]] std::vector<std::string> call_log() const {
    const std::lock_guard lock(mutex_);
    return log_;
  }
  [[nodiscard]] std::size_t count(std::string_view name) const {
    const std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(std::count(log_.begin(), log_.end(), name));
  }
  // Whether a cut or failure after the effect differs from one before it.
  [[nodiscard]] static bool changes_something(std::string_view call) {
    return call == "define" || call == "undefine" || call == "increment" || call == "extend";
  }
  void power_cut_at(std::uint64_t number, When when) {
    const std::lock_guard lock(mutex_);
    cut_ = {number, when};
  }
  void fail_at(std::uint64_t number, When when, bool sticky = false) {
    const std::lock_guard lock(mutex_);
    fault_ = {number, when};
    sticky_ = sticky;
  }
  void unplug(bool unplugged) {  // every call is kTpmUnavailable
    const std::lock_guard lock(mutex_);
    unplugged_ = unplugged;
  }
  void clear_faults() {
    const std::lock_guard lock(mutex_);
    cut_ = fault_ = {};
    sticky_ = unplugged_ = false;
  }

  // --- What the owner, or time, does to it ---
  void advance(std::uint64_t ms) {
    const std::lock_guard lock(mutex_);
    memory_.clock_ms += ms;
  }
  // An unclean end: what the clock counted since it was last saved is lost.
  void reset() {
    const std::lock_guard lock(mutex_);
    memory_.clock_ms -= memory_.clock_ms % 4096;
    ++memory_.resets;
  }
  void extend_pcr(std::size_t number) {
    const std::lock_guard lock(mutex_);
    memory_.pcrs.at(number) = crypto::sha256({memory_.pcrs.at(number), as_bytes("extended")});
  }
  void clear() {
    const std::lock_guard lock(mutex_);
    memory_.owner_seed = crypto::random_array<32>();
    memory_.indices.clear();
    memory_.clock_ms = 0;
  }
  void undefine(std::uint32_t index) {
    const std::lock_guard lock(mutex_);
    memory_.indices.erase(index);
  }
  void lock_out(bool locked) {
    const std::lock_guard lock(mutex_);
    memory_.locked_out = locked;
  }
  // An index of another program.
  void define_foreign(std::uint32_t index) {
    const std::lock_guard lock(mutex_);
    memory_.indices[index] = Index{};
  }
  // By someone who knows nothing of ours but what is public; it counts on from the highest.
  void define_forged(std::uint32_t index, const Digest& label, std::uint64_t increments) {
    const std::lock_guard lock(mutex_);
    Index& forged = memory_.indices[index] = Index{roots::NvKind::kCounter, label, Bytes(32, 0x66)};
    for (std::uint64_t i = 0; i < increments; ++i) move(forged);
  }
  // The same of an extend index, with any value.
  void define_forged_extend(std::uint32_t index, const Digest& label, const Digest& value) {
    const std::lock_guard lock(mutex_);
    memory_.indices[index] = Index{roots::NvKind::kExtend, label, Bytes(32, 0x66), 0, value, true};
  }
  void count_to(std::uint64_t highest) {  // as other programs' counters would have
    const std::lock_guard lock(mutex_);
    memory_.highest = std::max(memory_.highest, highest);
  }
  struct Index {
    roots::NvKind kind = roots::NvKind::kForeign;
    Digest label{};
    Bytes authorisation{};
    std::uint64_t value = 0;  // of a counter
    Digest head{};            // of an extend index
    bool written = false;
    [[nodiscard]] bool ours() const { return kind != roots::NvKind::kForeign; }
  };
  [[nodiscard]] std::map<std::uint32_t, Index> indices() const {
    const std::lock_guard lock(mutex_);
    return memory_.indices;
  }
  // Of the only counter of ours.
  [[nodiscard]] std::uint64_t value() const {
    const std::lock_guard lock(mutex_);
    std::uint64_t value = 0;
    std::size_t found = 0;
    for (const auto& [number, index] : memory_.indices) {
      if (index.kind != roots::NvKind::kCounter) continue;
      ++found;
      value = index.value;
    }
    return found == 1 ? value : 0;
  }

  // `powered`: whether the process that opens it is alive; `cut`: what else ends when the power is cut.
  [[nodiscard]] roots::TpmOpener opener(std::function<bool()> powered, std::function<void()> cut) {
    return [self = shared_from_this(), powered = std::move(powered), cut = std::move(cut)](
               const std::string& /*tcti*/, const roots::TpmName& parent,
               const roots::TpmName& endorsement) -> Result<std::unique_ptr<roots::Tpm>> {
      auto handle = std::make_unique<Handle>(self, powered, cut);
      SR_TRY(handle->connect(parent, endorsement));
      return std::unique_ptr<roots::Tpm>(std::move(handle));
    };
  }

 private:
  struct Memory {
    Digest owner_seed = crypto::random_array<32>();
    Digest endorsement_seed = crypto::random_array<32>();
    std::map<std::uint32_t, Index> indices;
    std::uint64_t highest = 0;
    std::uint64_t clock_ms = 1'000'000;
    std::uint32_t resets = 0;
    std::array<Digest, 24> pcrs{};
    bool locked_out = false;
  };
  struct Place {
    std::uint64_t number = kNever;
    When when = When::kBefore;
  };

  void move(Index& index) {
    index.value = (index.written ? index.value : memory_.highest) + 1;
    index.written = true;
    memory_.highest = std::max(memory_.highest, index.value);
  }
  [[nodiscard]] roots::TpmName name(std::string_view what, const Digest& seed) const {
    const Digest digest = crypto::sha256({as_bytes(what), seed});
    roots::TpmName out(2 + digest.size());
    out[1] = 0x0B;
    std::copy(digest.begin(), digest.end(), out.begin() + 2);
    return out;
  }
  // kWitnessMissing, kWitnessReplaced, kTpmRefused, as of Tpm::read_counter().
  Result<Index*> find(std::uint32_t number, const roots::TpmName& name, ByteView secret,
                      bool may_be_unwritten) {
    SR_ASSIGN(Index* const index, find(number, name, may_be_unwritten));
    if (!equal(index->authorisation, secret))
      return Status(Reason::kWitnessReplaced, "the NV index does not know our secret");
    return index;
  }
  Result<Index*> find(std::uint32_t number, const roots::TpmName& name, bool may_be_unwritten) {
    const auto at = memory_.indices.find(number);
    if (at == memory_.indices.end()) return Status(Reason::kWitnessMissing, "there is no such NV index");
    Index& index = at->second;
    const roots::TpmName its_name = index.kind == roots::NvKind::kCounter
                                        ? roots::counter_name(number, index.label)
                                        : roots::extend_name(number, index.label);
    if (!index.ours() || its_name != name)
      return Status(Reason::kWitnessReplaced, "the NV index is another one");
    if (!index.written && !may_be_unwritten)
      return Status(Reason::kTpmRefused, "the NV index was never written");
    return &index;
  }
  [[nodiscard]] std::vector<Digest> pcr_values(std::uint32_t selected) const {
    std::vector<Digest> out;
    for (std::size_t i = 0; i < memory_.pcrs.size(); ++i) {
      if ((selected >> i & 1U) != 0) out.push_back(memory_.pcrs[i]);
    }
    return out;
  }

  class Handle final : public roots::Tpm {
   public:
    Handle(std::shared_ptr<SimulatedChip> chip, std::function<bool()> powered, std::function<void()> cut)
        : chip_(std::move(chip)), powered_(std::move(powered)), cut_(std::move(cut)) {}

    Status connect(const roots::TpmName& parent, const roots::TpmName& endorsement) {
      return call("open", [&]() -> Status {
        const roots::TpmName mine = chip_->name("parent", memory().owner_seed);
        if (parent.empty() || parent == mine) return {};
        const bool same_chip = endorsement == chip_->name("endorsement", memory().endorsement_seed);
        return {same_chip ? Reason::kTpmCleared : Reason::kTpmReplaced, "another storage parent"};
      });
    }
    Status shut_down() override {
      return call("shutdown", []() -> Status { return {}; });
    }
    Result<roots::TpmName> parent_name() override {
      return call("parent",
                  [&]() -> Result<roots::TpmName> { return chip_->name("parent", memory().owner_seed); });
    }
    Result<roots::TpmName> endorsement_name() override {
      return call("endorsement", [&]() -> Result<roots::TpmName> {
        return chip_->name("endorsement", memory().endorsement_seed);
      });
    }
    Result<std::vector<Digest>> pcr_values(std::uint32_t pcrs) override {
      return call("pcrs", [&]() -> Result<std::vector<Digest>> { return chip_->pcr_values(pcrs); });
    }
    Result<roots::SealedObject> seal(ByteView secret, ByteView authorisation,
                                     const roots::SealPolicy& policy) override {
      return call("seal", [&]() -> Result<roots::SealedObject> {
        if (secret.empty() || secret.size() > 128 || authorisation.size() > 32 ||
            authorisation.empty() == policy.authorisation) {
          return Status(Reason::kInvalidArgument, "sealing");
        }
        const Digest digest = roots::policy_digest(policy);
        roots::SealedObject out;
        out.public_area.assign(digest.begin(), digest.end());
        Bytes body;
        ByteWriter writer(body);
        writer.prefixed(secret);
        writer.prefixed(authorisation);
        const Digest mac = crypto::hmac_sha256(memory().owner_seed, {out.public_area, body});
        out.private_area.assign(mac.begin(), mac.end());
        out.private_area.insert(out.private_area.end(), body.begin(), body.end());
        return out;
      });
    }
    Result<SecretBytes> unseal(const roots::SealedObject& object, ByteView authorisation,
                               const roots::SealPolicy& policy) override {
      return call("unseal", [&]() -> Result<SecretBytes> {
        if (authorisation.empty() == policy.authorisation)
          return Status(Reason::kInvalidArgument, "unsealing");
        const Status foreign(Reason::kTpmRefused, "the object was damaged or belongs to another parent");
        if (object.private_area.size() < 32) return foreign;
        const ByteView body = ByteView(object.private_area).subspan(32);
        const Digest mac = crypto::hmac_sha256(memory().owner_seed, {object.public_area, body});
        if (!equal(ByteView(object.private_area).first(32), mac)) return foreign;
        if (policy.bound) {
          SR_ASSIGN(const Index* const index, chip_->find(policy.bound->index, policy.bound->name, false));
          if (index->value > policy.bound->at_most)
            return Status(Reason::kVaultRolledBack, "the counter is past the bound");
        }
        if (policy.pcrs != 0 && roots::pcr_digest(chip_->pcr_values(policy.pcrs)) != policy.pcr_digest)
          return Status(Reason::kTpmPcrChanged, "the PCRs have changed");
        if (!equal(roots::policy_digest(policy), object.public_area))
          return Status(Reason::kTpmRefused, "the object has another policy");
        if (memory().locked_out) return Status(Reason::kTpmLockedOut, "locked out");
        ByteReader reader(body);
        const ByteView secret = reader.prefixed();
        if (!equal(reader.prefixed(), authorisation)) return Status(Reason::kPinWrong, "wrong PIN");
        return SecretBytes(secret);
      });
    }
    Result<std::vector<roots::NvIndexInfo>> find_indices(std::uint32_t first, std::uint32_t count) override {
      return call("find", [&]() -> Result<std::vector<roots::NvIndexInfo>> {
        std::vector<roots::NvIndexInfo> out;
        for (const auto& [number, index] : memory().indices) {
          if (number < first || number - first >= count) continue;
          out.push_back({number, index.kind, index.ours() && index.written, index.label});
        }
        return out;
      });
    }
    Status define(roots::NvKind kind, std::uint32_t index, const Digest& label, ByteView secret) override {
      return call("define", [&]() -> Status {
        if (memory().indices.contains(index)) return {Reason::kTpmRefused, "the index is taken"};
        memory().indices[index] = Index{kind, label, Bytes(secret.begin(), secret.end())};
        return {};
      });
    }
    Status undefine(std::uint32_t index) override {
      return call("undefine", [&]() -> Status {
        const auto at = memory().indices.find(index);
        if (at == memory().indices.end()) return {Reason::kWitnessMissing, "there is no such NV index"};
        if (!at->second.ours()) return {Reason::kTpmRefused, "not an index of ours"};
        memory().indices.erase(at);
        return {};
      });
    }
    Result<std::uint64_t> read_counter(std::uint32_t index, const roots::TpmName& name,
                                       ByteView secret) override {
      return call("read", [&]() -> Result<std::uint64_t> {
        SR_ASSIGN(const Index* const found, chip_->find(index, name, secret, false));
        return found->value;
      });
    }
    Status increment_counter(std::uint32_t index, const roots::TpmName& name, ByteView secret) override {
      return call("increment", [&]() -> Status {
        SR_ASSIGN(Index* const found, chip_->find(index, name, secret, true));
        chip_->move(*found);
        return {};
      });
    }
    Result<Digest> read_extend(std::uint32_t index, const roots::TpmName& name, ByteView secret) override {
      return call("read-extend", [&]() -> Result<Digest> {
        SR_ASSIGN(const Index* const found, chip_->find(index, name, secret, false));
        return found->head;
      });
    }
    Status extend(std::uint32_t index, const roots::TpmName& name, ByteView secret,
                  const Digest& data) override {
      return call("extend", [&]() -> Status {
        SR_ASSIGN(Index* const found, chip_->find(index, name, secret, true));
        found->head = roots::extended(found->head, data);
        found->written = true;
        return {};
      });
    }
    Result<roots::TpmClock> clock() override {
      return call("clock", [&]() -> Result<roots::TpmClock> {
        return roots::TpmClock{memory().clock_ms, memory().resets, 0, true};
      });
    }
    Result<std::string> description() override {
      return call("describe", []() -> Result<std::string> { return std::string("SIM 1.0"); });
    }

   private:
    template <typename Body>
    auto call(const char* what, const Body& body) -> decltype(body()) {
      const std::lock_guard lock(chip_->mutex_);
      const Status silence(Reason::kTpmUnavailable, std::string("simulated: no answer to ") + what);
      if (powered_ && !powered_()) return silence;
      chip_->log_.emplace_back(what);
      const std::uint64_t number = chip_->log_.size();
      const bool cut = chip_->cut_.number == number;
      const bool fails = chip_->fault_.number == number;
      const bool gone = chip_->unplugged_ || (chip_->sticky_ && number > chip_->fault_.number);
      if (gone) return silence;
      if ((cut && chip_->cut_.when == When::kBefore) || (fails && chip_->fault_.when == When::kBefore)) {
        if (cut && cut_) cut_();
        return silence;
      }
      auto result = body();
      if (!cut && !fails) return result;
      if (cut && cut_) cut_();
      return silence;
    }
    Memory& memory() { return chip_->memory_; }

    std::shared_ptr<SimulatedChip> chip_;
    std::function<bool()> powered_;
    std::function<void()> cut_;
  };

  mutable std::mutex mutex_;
  Memory memory_;
  std::vector<std::string> log_;
  Place cut_;
  Place fault_;
  bool sticky_ = false;
  bool unplugged_ = false;
};

}  // namespace strongroom::store::testing
