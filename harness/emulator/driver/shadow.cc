// The rules of shadow.h.
#pragma GCC optimize("O3")  // the hot path of race checks, whatever the driver is built with
#include "order.h"
#include "shadow.h"

namespace antkv_emu {
namespace {

inline bool ordered(const Clock& c, Record r) {
  if (r < c.block_start) return !c.global || r >= c.block_first || r < c.launch_first || acquired(c, r);
  if (record_thread(r) == c.thread) return true;
  return record_thread(r) / kWarp == c.thread / kWarp && r < c.warp_start;
}

/// A record of the set that is not ordered before now, or 0.
inline Record unordered(const Clock& c, const Readers& r) {
  if (r.last < c.block_start && !c.global) return 0;  // the others are older
  if (!ordered(c, r.last)) return r.last;
  if (!ordered(c, r.mate)) return r.mate;
  if (!ordered(c, r.other)) return r.other;
  return 0;
}

void add(const Clock& c, Readers& r) {
  const bool keep = c.global && r.other >= c.launch_first && r.other < c.block_first && !ordered(c, r.other);
  if (r.last < c.block_first) {
    r.mate = 0;
    if (!keep) r.other = c.global && r.last >= c.launch_first ? r.last : 0;
  } else if (record_thread(r.last) / kWarp != c.thread / kWarp) {
    if (!keep) r.other = r.last;
    r.mate = 0;
  } else if (record_thread(r.last) != c.thread) {
    r.mate = r.last;
  }
  r.last = c.now;
}

bool writes(Access how) { return how == Access::store || how == Access::copy; }

}  // namespace

Verdict ShadowPage::touch(const Clock& c, Cell& cell, Access how) {
  if (how == Access::once && cell.write >= c.launch_first) return {Finding::read_only, cell.write};
  if (!ordered(c, cell.write)) return {Finding::race, cell.write};
  if (writes(how)) {
    const Record r = unordered(c, cell.readers);
    if (r) return {Finding::race, r};
    cell.write = c.now;
    cell.readers = {};
    return {};
  }
  if (how == Access::atomic) {
    const Record r = unordered(c, cell.readers);
    if (r) return {Finding::race, r};
  } else {
    add(c, cell.readers);
  }
  // The reader is on record all the same: if another thread's unordered write follows, this was a race.
  return {!c.global && cell.write < c.block_first ? Finding::uninitialised : Finding::none, 0};
}

void ShadowPage::split(uint32_t word) {
  if (state_[word] & kParts) return;
  if (!parts_) parts_.reset(new Cell[kBytes]());
  for (uint32_t i = 0; i < 4; i++) parts_[word * 4 + i] = words_[slot(word)];
  state_[word] |= kParts;
}

Verdict ShadowPage::touch_parts(const Clock& c, uint32_t word, uint32_t from, uint32_t count, Access how) {
  Verdict worst;
  for (uint32_t i = from; i < from + count; i++) {
    const Verdict v = touch(c, parts_[word * 4 + i], how);
    if (v.fatal()) return v;
    if (v.finding != Finding::none) worst = v;
  }
  return worst;
}

Verdict ShadowPage::touch_special(const Clock& c, uint32_t word, uint32_t offset, uint32_t bytes, Access how) {
  uint8_t& state = state_[word];
  if (state & kFlying) return {writes(how) ? Finding::overwrite : Finding::early_read, words_[slot(word)].write};
  if ((state & kAtomics) && how != Access::atomic) {
    // Of global words only the last adder counts: whoever added after the others, and so saw what they left, may do with the word as it pleases.
    const Record last = atomics_[word].last;
    const Record r = !c.global ? unordered(c, atomics_[word]) : ordered(c, last) ? 0 : last;
    if (r) return {Finding::race, r};
    if (writes(how) && bytes >= 4) {  // whoever comes after this write comes after the atomics too
      state &= uint8_t(~kAtomics);
      atomics_[word] = {};
    }
  }
  const bool whole = bytes >= 4;
  if (!whole) split(word);
  Verdict v;
  if (state & kParts) {
    v = touch_parts(c, word, whole ? 0 : offset % 4, whole ? 4 : bytes, how);
    if (whole && writes(how)) {  // one cell is enough again
      state &= uint8_t(~kParts);
      words_[slot(word)] = parts_[word * 4];
    }
  } else {
    v = touch(c, words_[slot(word)], how);
  }
  if (v.fatal()) return v;
  if (how == Access::atomic) {
    if (!atomics_) atomics_.reset(new Readers[kBytes / 4]());
    state |= kAtomics;
    add(c, atomics_[word]);
  }
  return v;
}

Verdict ShadowPage::access(const Clock& c, uint32_t offset, uint32_t bytes, Access how) {
  uint32_t word = offset / 4;
  const uint32_t end = (offset + bytes + 3) / 4;
  const bool special = bytes < 4 || how == Access::atomic;
  Verdict worst;
  for (; word < end; word++) {
    const Verdict v = special || state_[word] ? touch_special(c, word, offset, bytes, how) : touch(c, words_[slot(word)], how);
    if (v.fatal()) return v;
    if (v.finding != Finding::none) worst = v;
    if (how == Access::copy && !c.global) state_[word] |= kFlying;
  }
  return worst;
}

void ShadowPage::arrive(const Clock& c, uint32_t offset, uint32_t bytes) {
  for (uint32_t word = offset / 4; word < (offset + bytes) / 4; word++) {
    state_[word] &= uint8_t(~kFlying);
    words_[slot(word)].write = c.now;
  }
}

void ShadowPage::drop(uint32_t offset, uint32_t bytes) {
  for (uint32_t word = offset / 4; word < (offset + bytes) / 4; word++) state_[word] &= uint8_t(~kFlying);
}

}  // namespace antkv_emu
