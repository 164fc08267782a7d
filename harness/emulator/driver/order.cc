// The rules of order.h. Small lists: a block fences and adds a few times, however long it runs.
#include "order.h"

#include <algorithm>
#include <unordered_map>
#include <vector>

namespace antkv_emu {
namespace {

/// A fence or an atomic of the running block.
struct Event {
  Record now, block_start, warp_start;
  int thread;
};
/// What others may learn by an addition: of each thread of its block, every access before `upto`, if between `first` and `last`.
struct Release {
  Record first, last;
  std::vector<Record> upto;
  std::vector<size_t> before;  // what the block itself had learned
};
/// An addition of the running block, and what the word told it. Known to a thread that fences after it.
struct Learned {
  Event atomic;
  std::vector<size_t> releases;
};
/// The fence by which a thread may use what was learned.
struct Acquired {
  Event fence;
  size_t learned;
};

std::vector<Release> releases;                          // of the launch
std::unordered_map<uint64_t, std::vector<size_t>> chains;  // releases by word
std::vector<Event> fences;                              // of the block, and so on
std::vector<Learned> learned;
std::vector<Acquired> known;
int block_threads;

bool before(const Event& e, const Clock& c) {
  if (e.thread == c.thread || e.now < c.block_start) return true;
  return e.thread / kWarp == c.thread / kWarp && e.now < c.warp_start;
}
Event event(const Clock& c) { return {c.now, c.block_start, c.warp_start, c.thread}; }

void add_all(std::vector<size_t>& to, const std::vector<size_t>& from) {
  to.insert(to.end(), from.begin(), from.end());
  std::sort(to.begin(), to.end());
  to.erase(std::unique(to.begin(), to.end()), to.end());
}

}  // namespace

void start_order() {
  releases.clear();
  chains.clear();
}

void start_block_order(int threads) {
  fences.clear();
  learned.clear();
  known.clear();
  block_threads = threads;
}

void after_barrier_order() {
  // One thread's fence is now as good as another's.
  std::vector<bool> seen(learned.size());
  size_t kept = 0;
  for (const Acquired& k : known) {
    if (seen[k.learned]) continue;
    seen[k.learned] = true;
    known[kept++] = k;
  }
  known.resize(kept);
}

void fence_orders(const Clock& c) {
  fences.push_back(event(c));
  for (size_t i = 0; i < learned.size(); i++) {
    if (before(learned[i].atomic, c)) known.push_back({event(c), i});
  }
}

void atomic_orders(const Clock& c, uint64_t at) {
  std::vector<size_t>& chain = chains[at];
  if (!chain.empty()) learned.push_back({event(c), chain});
  Release mine{c.block_first, c.now, {}, {}};
  Record block = 0, warp[1024 / kWarp] = {};
  for (const Event& f : fences) {
    if (!before(f, c)) continue;
    if (mine.upto.empty()) mine.upto.resize(size_t(block_threads));
    // A fence covers its thread's accesses before it, and those that a barrier had put before them.
    Record& own = mine.upto[size_t(f.thread)];
    own = std::max(own, f.now >> kTickShift << kTickShift);
    warp[f.thread / kWarp] = std::max(warp[f.thread / kWarp], f.warp_start);
    block = std::max(block, f.block_start);
  }
  if (mine.upto.empty()) return;
  for (size_t i = 0; i < mine.upto.size(); i++) mine.upto[i] = std::max({mine.upto[i], warp[i / kWarp], block});
  for (const Acquired& k : known) {
    if (before(k.fence, c)) add_all(mine.before, learned[k.learned].releases);
  }
  add_all(chain, mine.before);
  chain.push_back(releases.size());
  releases.push_back(std::move(mine));
}

void store_orders(uint64_t at, uint32_t bytes) {
  if (chains.empty()) return;
  for (uint64_t word = at / 4 * 4; word < at + bytes; word += 4) chains.erase(word);
}

bool acquired(const Clock& c, Record r) {
  for (const Acquired& k : known) {
    if (!before(k.fence, c)) continue;
    for (const size_t i : learned[k.learned].releases) {
      const Release& from = releases[i];
      if (r >= from.first && r < from.last && r < from.upto[size_t(record_thread(r))]) return true;
    }
  }
  return false;
}

}  // namespace antkv_emu
