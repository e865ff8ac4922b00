// The anchor protocol, searched exhaustively: copies of one store, each with a process that may be stopped at every step, and
// an adversary between them and the TPM who answers, loses, withholds and later delivers every command.
//
// What a copy does is decided by the functions that the product runs (stand, explain, next_step, value_after); the search
// only walks. docs/design/anchors.md has the table of states.
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <string>
#include <unordered_set>
#include <vector>

#include "reliability_fixture.h"
#include "witnesses/tpm_counter/anchor_protocol.h"

namespace strongroom::store::testing {
namespace {

using Ids = std::vector<std::uint8_t>;
constexpr std::uint8_t kNoNode = 0xFF;

struct Bounds {
  std::size_t copies = 2;
  std::size_t anchors = 4;   // records that are ever made, the first one included
  std::size_t clonings = 2;  // a directory put in another one's place
  std::size_t held = 2;      // commands withheld at the same time
  std::size_t reanchors = 0;
  bool adversary = true;  // otherwise only faults: kills, lost answers, lost commands
  bool extend_index = true;
};

enum class Pc : std::uint8_t { kOff, kReadCounter, kReadHead, kExtend, kIncrement, kIdle };

struct Process {
  Pc pc = Pc::kOff;
  bool starting = false;  // what is read decides whether the copy opens
  bool extended = false;  // sent in this walk
  bool incremented = false;
  bool settled = false;
  std::uint8_t seen_counter = 0;

  [[nodiscard]] std::uint32_t flags() const {
    return (starting ? 1U : 0U) | (extended ? 2U : 0U) | (incremented ? 4U : 0U) | (settled ? 8U : 0U);
  }
};

// A record: its place in the tree of histories. `node` of Ids is the data that it extends by.
struct Node {
  std::uint8_t parent = kNoNode;
  std::uint8_t number = 0;
  bool accepted = false;  // by authority: the value as it was
  Ids before;
};

struct State {
  std::uint8_t counter = 1;
  Ids head;  // what the extend index was extended by, in order
  std::vector<Node> nodes;
  std::uint32_t acknowledged = 0;
  std::vector<std::uint8_t> disks;  // the newest record of each copy
  std::vector<Process> processes;
  std::vector<std::uint8_t> held;  // withheld extends by their node, increments as kNoNode; sorted
  std::uint8_t clonings = 0;
  std::uint8_t reanchors = 0;

  [[nodiscard]] std::uint32_t rank(std::size_t i) const {
    const Process& process = processes[i];
    return std::uint32_t{disks[i]} << 24 | static_cast<std::uint32_t>(process.pc) << 16 |
           process.flags() << 8 | process.seen_counter;
  }
  [[nodiscard]] std::string key() const {
    std::string out;
    out.reserve(64);
    const auto put = [&out](std::uint64_t byte) { out.push_back(static_cast<char>(byte)); };
    const auto put_all = [&](const Ids& ids) {
      put(ids.size());
      out.append(ids.begin(), ids.end());
    };
    put(counter);
    put_all(head);
    for (const Node& node : nodes) {
      put(node.parent);
      put(node.number);
      put(node.accepted ? 1 : 0);
      put_all(node.before);
    }
    put(acknowledged);
    put_all(disks);
    for (const Process& process : processes) {
      put(static_cast<std::uint64_t>(process.pc));
      put(process.flags());
      put(process.seen_counter);
    }
    put_all(held);
    put(clonings);
    put(reanchors);
    return out;
  }
};

class Search {
 public:
  explicit Search(const Bounds& bounds) : bounds_(bounds) {
    State first;
    first.nodes.push_back({kNoNode, 1, true, {}});
    first.acknowledged = 1;
    first.disks.assign(bounds.copies, kNoNode);
    first.disks[0] = 0;
    first.processes.resize(bounds.copies);
    push(std::move(first));
  }

  void run() {
    while (!open_.empty()) {
      const State state = std::move(open_.back());
      open_.pop_back();
      for (std::size_t i = 0; i < bounds_.copies; ++i) {
        if (state.disks[i] != kNoNode) step(state, i);
      }
      if (bounds_.adversary) interfere(state);
    }
  }
  [[nodiscard]] std::size_t states() const { return seen_.size(); }
  [[nodiscard]] std::size_t lost() const { return lost_; }  // an acknowledged anchor that a later one lacks
  [[nodiscard]] std::size_t refused() const { return refused_; }  // a copy that was refused
  [[nodiscard]] std::size_t acknowledgements() const { return acknowledgements_; }

 private:
  // Copies are alike: which of them is in a state makes no difference.
  void push(State state) {
    for (std::size_t i = 1; i < bounds_.copies; ++i) {
      for (std::size_t j = i; j > 0 && state.rank(j) < state.rank(j - 1); --j) {
        std::swap(state.disks[j], state.disks[j - 1]);
        std::swap(state.processes[j], state.processes[j - 1]);
      }
    }
    if (seen_.insert(state.key()).second) open_.push_back(std::move(state));
  }

  const Digest& value_of(const Ids& ids) {
    const auto at = values_.find(ids);
    if (at != values_.end()) return at->second;
    Digest value{};
    if (!ids.empty()) {
      Ids rest = ids;
      rest.pop_back();
      value = roots::extended(value_of(rest), data_of(ids.back()));
    }
    return values_.emplace(ids, value).first->second;
  }
  static Digest data_of(std::uint8_t node) { return crypto::sha256({ByteView(&node, 1)}); }

  AnchorRecord record_of(const State& state, std::uint8_t id) {
    const Node& node = state.nodes[id];
    AnchorRecord record;
    record.number = node.number;
    if (!bounds_.extend_index) return record;
    record.head =
        AnchorHead{value_of(node.before), node.accepted ? std::nullopt : std::optional(data_of(id))};
    return record;
  }
  static Ids after(const State& state, std::uint8_t id) {
    Ids out = state.nodes[id].before;
    if (!state.nodes[id].accepted) out.push_back(id);
    return out;
  }
  void step(const State& state, std::size_t i) {
    const Process& process = state.processes[i];
    if (process.pc == Pc::kOff) {
      become(state, i, {.pc = Pc::kReadCounter, .starting = true});
      if (state.reanchors < bounds_.reanchors) reanchor(state, i);
      return;
    }
    become(state, i, {});  // killed
    switch (process.pc) {
      case Pc::kOff:
        break;
      case Pc::kReadCounter: {
        Process next = process;
        next.pc = Pc::kReadHead;
        next.seen_counter = state.counter;
        become(state, i, next);
        break;
      }
      case Pc::kReadHead:
        decide(state, i);
        break;
      case Pc::kExtend:
      case Pc::kIncrement:
        send(state, i);
        break;
      case Pc::kIdle:
        idle(state, i);
        break;
    }
  }
  void become(const State& state, std::size_t i, const Process& process) {
    State next = state;
    next.processes[i] = process;
    push(std::move(next));
  }

  void decide(const State& state, std::size_t i) {
    const std::uint8_t disk = state.disks[i];
    const AnchorRecord newest = record_of(state, disk);
    TpmObservation tpm{state.processes[i].seen_counter, std::nullopt};
    if (bounds_.extend_index) tpm.head = value_of(state.head);
    const AnchorStanding standing = stand(newest, tpm);
    if (!explain(standing, newest, tpm).ok()) {
      ++refused_;
      become(state, i, {});
      return;
    }
    Process process = state.processes[i];
    const AnchorStep next = next_step(standing, newest);
    if (process.starting) {
      process = {.pc = Pc::kIdle};
      process.settled = next == AnchorStep::kNone;
      become(state, i, process);
      return;
    }
    if (next == AnchorStep::kNone) {
      acknowledge(state, i);
      return;
    }
    const bool again = next == AnchorStep::kExtend ? process.extended : process.incremented;
    if (again) {
      process = {.pc = Pc::kIdle};  // unavailable; to be tried again
    } else {
      process.pc = next == AnchorStep::kExtend ? Pc::kExtend : Pc::kIncrement;
    }
    become(state, i, process);
  }

  void acknowledge(const State& state, std::size_t i) {
    State next = state;
    next.processes[i] = {.pc = Pc::kIdle, .settled = true};
    const std::uint8_t disk = state.disks[i];
    // A store that authority accepted is open only when its first own anchor is complete.
    if (!state.nodes[disk].accepted) {
      ++acknowledgements_;
      std::uint32_t history = 0;
      bool decided = false;  // this completes an administrative operation: what it gives up stays given up
      for (std::uint8_t at = disk; at != kNoNode; at = state.nodes[at].parent) {
        history |= 1U << at;
        decided |= state.nodes[at].accepted && (state.acknowledged >> at & 1U) == 0;
      }
      if (!decided && (state.acknowledged & ~history) != 0) ++lost_;
      next.acknowledged = decided ? history : state.acknowledged | 1U << disk;
    }
    push(std::move(next));
  }

  // Executed and answered or not, lost, or withheld.
  void send(const State& state, std::size_t i) {
    Process process = state.processes[i];
    const bool extend = process.pc == Pc::kExtend;
    const std::uint8_t command = extend ? state.disks[i] : kNoNode;
    (extend ? process.extended : process.incremented) = true;
    process.pc = extend ? Pc::kReadHead : Pc::kReadCounter;
    State done = state;
    execute(done, command);
    become(done, i, process);   // whether the answer is lost makes no difference: the TPM is read
    become(state, i, process);  // lost
    if (!bounds_.adversary || state.held.size() == bounds_.held) return;
    State kept = state;
    kept.held.insert(std::ranges::upper_bound(kept.held, command), command);
    become(kept, i, process);
  }
  static void execute(State& state, std::uint8_t command) {
    if (command == kNoNode) {
      ++state.counter;
    } else {
      state.head.push_back(command);
    }
  }

  void idle(const State& state, std::size_t i) {
    if (!state.processes[i].settled) {
      become(state, i, {.pc = Pc::kReadCounter});
      return;
    }
    if (state.nodes.size() == bounds_.anchors) return;
    State next = state;
    const std::uint8_t disk = state.disks[i];
    next.nodes.push_back(
        {disk, static_cast<std::uint8_t>(state.nodes[disk].number + 1), false, after(state, disk)});
    next.disks[i] = static_cast<std::uint8_t>(state.nodes.size());
    become(next, i, {.pc = Pc::kReadCounter});
    // The TPM is believed to be as the anchor before has left it, however long ago that was.
    if (bounds_.extend_index) become(next, i, {.pc = Pc::kExtend, .seen_counter = state.nodes[disk].number});
  }

  // Authority accepts a copy.
  void reanchor(const State& state, std::size_t i) {
    if (state.nodes.size() == bounds_.anchors) return;
    State next = state;
    next.nodes.push_back({state.disks[i], state.counter, true, state.head});
    next.disks[i] = static_cast<std::uint8_t>(state.nodes.size());
    ++next.reanchors;
    become(next, i, {.pc = Pc::kReadCounter});
  }

  void interfere(const State& state) {
    for (std::size_t at = 0; at < state.held.size(); ++at) {
      State next = state;
      next.held.erase(next.held.begin() + static_cast<std::ptrdiff_t>(at));
      execute(next, state.held[at]);
      push(std::move(next));
    }
    if (state.clonings == bounds_.clonings) return;
    for (std::size_t from = 0; from < bounds_.copies; ++from) {
      for (std::size_t to = 0; to < bounds_.copies; ++to) {
        if (state.disks[from] == kNoNode || state.disks[to] == state.disks[from] ||
            state.processes[to].pc != Pc::kOff)
          continue;
        State next = state;
        next.disks[to] = state.disks[from];
        ++next.clonings;
        push(std::move(next));
      }
    }
  }

  const Bounds bounds_;
  std::vector<State> open_;
  std::unordered_set<std::string> seen_;
  std::map<Ids, Digest> values_;
  std::size_t lost_ = 0;
  std::size_t refused_ = 0;
  std::size_t acknowledgements_ = 0;
};

Search searched(const Bounds& bounds) {
  Search search(bounds);
  search.run();
  std::cout << "anchor model: " << search.states() << " states\n";
  return search;
}

// Whichever copy is stopped, delayed, restarted or cloned: what one of them acknowledged is never undone by another.
TEST(AnchorModel, TwoCopiesNeverBothAcknowledge) {
  const Search search = searched({.anchors = 3, .clonings = 2, .held = 2});
  EXPECT_EQ(search.lost(), 0U);
  EXPECT_GT(search.refused(), 0U);
  EXPECT_GT(search.acknowledgements(), 0U);
}

TEST(AnchorModel, ACloneOfAClone) {
  const Search search = searched({.copies = 3, .anchors = 3, .clonings = 2, .held = 0});
  EXPECT_EQ(search.lost(), 0U);
  EXPECT_GT(search.refused(), 0U);
}

TEST(AnchorModel, TheSameDeeper) {
  if (!long_campaign()) GTEST_SKIP() << "a part of the long campaign";
  EXPECT_EQ(searched({.anchors = 4, .clonings = 2, .held = 2}).lost(), 0U);
  EXPECT_EQ(searched({.copies = 3, .anchors = 3, .clonings = 2, .held = 1}).lost(), 0U);
}

TEST(AnchorModel, AuthorityChoosesOneOfTwo) {
  const Search search = searched({.anchors = 4, .clonings = 1, .held = 1, .reanchors = 1});
  EXPECT_EQ(search.lost(), 0U);
}

TEST(AnchorModel, OneMachineWithFaultsIsNeverRefused) {
  const Search search = searched({.copies = 1, .anchors = 6, .adversary = false});
  EXPECT_EQ(search.refused(), 0U);
  EXPECT_EQ(search.lost(), 0U);
  EXPECT_GT(search.acknowledgements(), 0U);
}

// What the search is worth: with a counter alone it finds the fork.
TEST(AnchorModel, ACounterAloneIsForked) {
  const Search search = searched({.anchors = 3, .clonings = 1, .held = 1, .extend_index = false});
  EXPECT_GT(search.lost(), 0U);
}

}  // namespace
}  // namespace strongroom::store::testing
