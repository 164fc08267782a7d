// Shadow memory: who last wrote each byte and who read it since, and whether a barrier lies between.
//
// A warp runs until a block barrier before the next warp does, but that order is an accident: two accesses are ordered only if
// they are the same thread's, or a block barrier, or a warp barrier of their common warp, lies between. Time is a counter ("tick") that
// every barrier raises; with the tick of an access, and the ticks at which the block and each warp last synchronised, that is two comparisons.
#pragma once
#include <stdint.h>
#include <memory>

#include "antkv_emu_machine.h"

namespace antkv_emu {

/// One access: tick (36 bits), thread (10), source line (16), kind (2: load, store, atomic, copy). 0: none.
using Record = uint64_t;
constexpr int kTickShift = 28;
inline int record_thread(Record r) { return int(r >> 18) & 1023; }
inline int record_line(Record r) { return int(r >> 2) & 0xffff; }
inline Access record_access(Record r) { return Access(r & 3); }

/// The running thread's view of time. Ticks are shifted into place: `record < clock.block_start` compares them.
struct Clock {
  Record launch_first;  // first of the launch, of the block
  Record block_first;
  Record block_start;   // after the last block barrier, after the last barrier of this thread's warp
  Record warp_start;
  Record now;           // this access
  int thread;
  bool global = false;  // blocks of one launch are ordered by order.h alone; shared memory is one block's
};

/// Enough of a set of readers to find one that is unordered with any later access, if there is one:
/// the last; the last of another thread of that one's warp; the last of another warp, or one of another block that is not ordered.
/// (Exact because warps take turns only at block barriers; of readers in several blocks, one is kept.)
struct Readers {
  Record last, mate, other;
};
struct alignas(32) Cell {
  Record write;
  Readers readers;
};

enum class Finding { none, race, uninitialised, early_read, overwrite, read_only };
struct Verdict {
  Finding finding = Finding::none;
  Record earlier = 0;  // the access in conflict
  /// Uninitialised reads wait for the next block barrier: the write may yet come, and make it a race.
  bool fatal() const { return finding != Finding::none && finding != Finding::uninitialised; }
};

/// Shadow of 4096 bytes: a cell per word; a cell per byte where a word is used in parts; readers' sets of atomics where there are any.
class ShadowPage {
 public:
  static constexpr uint32_t kBytes = 4096;
  /// An access to `bytes` (1, 2, 4, 8, 16; aligned) at `offset` of the page. `copy` marks the bytes as under way.
  Verdict access(const Clock&, uint32_t offset, uint32_t bytes, Access);
  /// The same for loads and stores in shared memory that are plainly in order, which is nearly all of them. False, with nothing decided: ask access().
  bool quick(const Clock&, uint32_t offset, uint32_t bytes, Access);
  /// The bytes of a copy (whole words) are there: from now on a write of this moment.
  void arrive(const Clock&, uint32_t offset, uint32_t bytes);
  /// Forgets that a copy to these bytes is under way.
  void drop(uint32_t offset, uint32_t bytes);

 private:
  enum : uint8_t { kParts = 1, kAtomics = 2, kFlying = 4 };
  Verdict touch(const Clock&, Cell&, Access);
  Verdict touch_parts(const Clock&, uint32_t word, uint32_t from, uint32_t count, Access);
  Verdict touch_special(const Clock&, uint32_t word, uint32_t offset, uint32_t bytes, Access);
  void split(uint32_t word);

  /// Where a word's cell lies: tables with a column for each lane would have all cells of a column in a few sets of the cache.
  static uint32_t slot(uint32_t word) { return (word & ~31u) | ((word + word / 32) & 31); }

  Cell words_[kBytes / 4] = {};
  uint8_t state_[kBytes / 4] = {};
  std::unique_ptr<Cell[]> parts_;
  std::unique_ptr<Readers[]> atomics_;
};

inline bool ShadowPage::quick(const Clock& c, uint32_t offset, uint32_t bytes, Access how) {
  if (bytes < 4 || (how != Access::load && how != Access::store)) return false;
  const uint32_t end = (offset + bytes) / 4;
  for (uint32_t word = offset / 4; word < end; word++) {
    if (state_[word]) return false;
    Cell& cell = words_[slot(word)];
    const Record last = cell.readers.last;
    if (cell.write >= c.block_start && record_thread(cell.write) != c.thread) return false;
    if (how == Access::store) {
      if (last >= c.block_start) return false;
      cell.write = c.now;
      cell.readers.last = 0;  // older than the block: the others are forgotten with it
    } else {
      if (cell.write < c.block_first) return false;
      if (last < c.block_first) {
        cell.readers.mate = cell.readers.other = 0;
      } else if (record_thread(last) / kWarp != c.thread / kWarp) {
        cell.readers.other = last;
        cell.readers.mate = 0;
      } else if (record_thread(last) != c.thread) {
        cell.readers.mate = last;
      }
      cell.readers.last = c.now;
    }
  }
  return true;
}

}  // namespace antkv_emu
