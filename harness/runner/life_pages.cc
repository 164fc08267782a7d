// What a runtime does between launches: pages given out, shared, copied before they are written, and given back.
#include "life.h"

namespace runner {

LiveSequence LifeCache::start(int id, int first_pos) {
  LiveSequence s{};
  s.id = id;
  s.slot = free_slots_.back();
  free_slots_.pop_back();
  s.score_row = -1;
  s.sim = life_->start(first_pos);
  s.digest.assign(shape_.kv_heads, 0xcbf29ce484222325), s.outputs = s.digest;
  counts.starts++;
  return s;
}

void LifeCache::end(LiveSequence& s) {
  for (int page : s.pages) pool_->drop(page);
  for (int page : s.anchor_pages) anchor_pool_->drop(page);
  free_slots_.push_back(s.slot);
  counts.ends++;
}

/// The sequence alone holds page number `at` of its list from here on: a page that others hold too is copied whole before it is written.
void LifeCache::own(LiveSequence& s, int at) {
  if (!pool_->shared(s.pages[at])) return;
  const int copy = pool_->take();
  std::memcpy(pages_->host.data() + copy * page_stride_, pages_->host.data() + s.pages[at] * page_stride_, size_t(shape_.kv_heads * page_head_stride_));
  pool_->drop(s.pages[at]);
  s.pages[at] = copy;
  counts.copied_pages++;
}

/// Pages for `tokens` tokens, those from token `coded` on to be written.
void LifeCache::grow(LiveSequence& s, int coded, int tokens) {
  while (int64_t(s.pages.size()) * shape_.page_size < tokens) s.pages.push_back(pool_->take());
  for (int at = coded / shape_.page_size; at * shape_.page_size < tokens; at++) own(s, at);
}

/// Own anchor pages for what the budget may keep of `coded` tokens, with empty rows.
void LifeCache::grow_anchors(LiveSequence& s, int coded) {
  if (shape_.anchor_pages == 0 || coded == 0) return;
  const int64_t rows = shape_.most_anchors(coded);
  const int64_t most = shape_.anchor_pages - s.frozen_pages;
  while (int64_t(s.anchor_pages.size()) - s.frozen_pages < std::min(most, ceil_div(rows, ANTKV_ANCHOR_ROWS))) {
    s.anchor_pages.push_back(anchor_pool_->take());
    for (int head = 0; head < shape_.kv_heads; head++)
      std::memset(anchor_block(s, head, int(s.anchor_pages.size()) - 1) + antkv_anchor_index_offset(format().head_dim), 0xff, 4 * ANTKV_ANCHOR_ROWS);
  }
}

/// Copies the inherited anchor pages that have, or may still be given, rows at or beyond frozen_len, without those: with a larger frozen_len they would no longer be skipped.
void LifeCache::seal(LiveSequence& s) {
  for (int entry = s.sealed_pages; entry < s.frozen_pages && shape_.seal; entry++) {
    const int from = s.anchor_pages[entry], copy = anchor_pool_->take();
    std::memcpy(anchors_->host.data() + copy * anchor_page_stride_, anchors_->host.data() + from * anchor_page_stride_, size_t(shape_.kv_heads * anchor_head_stride_));
    anchor_pool_->drop(from);
    s.anchor_pages[entry] = copy;
    counts.copied_anchor_pages++;
    for (int head = 0; head < shape_.kv_heads; head++) {
      auto* tokens = reinterpret_cast<int32_t*>(anchor_block(s, head, entry) + antkv_anchor_index_offset(format().head_dim));
      for (int row = 0; row < ANTKV_ANCHOR_ROWS; row++) {
        if (tokens[row] >= s.sim.frozen) tokens[row] = -1;
      }
    }
  }
  s.sealed_pages = s.frozen_pages;
}

void LifeCache::copy_slot(int from, int to) {
  for (Buffer* ring : {ring_k_, ring_v_}) {
    if (ring) std::memcpy(ring->host.data() + ring_at(to, 0, 0), ring->host.data() + ring_at(from, 0, 0), size_t(p_.ring_slot_stride));
  }
  for (Buffer* list : {ring_score_, ring_count_}) {
    if (list) std::memcpy(list->as<float>() + score_at(to, 0, 0), list->as<float>() + score_at(from, 0, 0), 4 * (score_at(1, 0, 0) - score_at(0, 0, 0)));
  }
}

bool LifeCache::may_fork(const LiveSequence& donor) const {
  const int64_t rows = shape_.most_anchors(shape_.max_tokens);
  return shape_.anchor_pages == 0 || int64_t(donor.anchor_pages.size()) + ceil_div(rows, ANTKV_ANCHOR_ROWS) <= shape_.anchor_pages;
}

/// A child that inherits `frozen` tokens. At the donor's coded length both inherit all anchor pages and go on with new ones. Before it (a prefix that is found again) the
/// donor goes on in its pages, and keeps what it has chosen of the prefix.
LiveSequence LifeCache::fork(LiveSequence& donor, int id, int frozen, bool whole) {
  const bool exact = life_->rules().exact();
  const int frozen_before = donor.sim.frozen;
  if (donor.sim.frozen < frozen || frozen == donor.sim.coded) seal(donor);
  LiveSequence s = donor;
  s.id = id;
  s.slot = free_slots_.back();
  free_slots_.pop_back();
  s.sim = life_->fork(donor.sim, frozen, whole);
  s.digest.assign(shape_.kv_heads, 0xcbf29ce484222325 + uint64_t(id)), s.outputs = s.digest;
  s.pages.resize(size_t(ceil_div(exact ? donor.sim.tokens() : frozen, shape_.page_size)));
  for (int page : s.pages) pool_->share(page);
  for (int page : s.anchor_pages) anchor_pool_->share(page);
  s.frozen_pages = int(s.anchor_pages.size());
  if (!exact) donor.sim.frozen = std::max(donor.sim.frozen, frozen);
  // Of a shorter prefix than the donor's own even pages that no one writes hold rows beyond it.
  if (frozen == donor.sim.coded) donor.frozen_pages = donor.sealed_pages = s.sealed_pages = s.frozen_pages;
  else if (frozen < frozen_before) s.sealed_pages = 0;
  if (whole) copy_slot(donor.slot, s.slot);
  else s.pending = 0, s.score_row = -1;
  counts.forks++;
  return s;
}

/// The rows of one block of an own anchor page that do not hold a token of the frozen prefix: others may share those.
void LifeCache::allow_anchor_rows(const uint8_t* block, int frozen) {
  const int d = format().head_dim;
  const size_t at = size_t(block - anchors_->host.data());
  for (int row = 0; row < ANTKV_ANCHOR_ROWS; row++) {
    int32_t token;
    std::memcpy(&token, block + antkv_anchor_index_offset(d) + 4 * row, 4);
    if (token >= 0 && token < frozen) continue;
    for (const int64_t to : {int64_t(0), antkv_anchor_v_offset(d)}) anchors_->allow(at + size_t(to + row * 2 * d), size_t(2 * d));
    anchors_->allow(at + size_t(antkv_anchor_index_offset(d) + 4 * row), 4);
  }
}

/// Says what append may write of a sequence: the pages that it fills, bits and anchor rows that it may hand back, new rows, scores.
void LifeCache::allow_append(const LiveSequence& s, int coded_before) {
  const antkv_format& f = format();
  const int size = shape_.page_size, n = s.sim.tokens(), coded = s.sim.coded;
  const auto offset = [](const Buffer* b, const uint8_t* at) { return size_t(at - b->host.data()); };
  for (int head = 0; head < shape_.kv_heads; head++) {
    if (life_->rules().exact()) {
      const antkv_unit u = antkv_unit_layout(f);
      for (int token = n - s.fresh; token < n; token++) {
        const uint8_t* unit = block(s, head, token) + token % size / ANTKV_UNIT_TOKENS * u.bytes;
        for (const int side : {ANTKV_KEYS, ANTKV_VALUES}) pages_->allow(offset(pages_, unit + antkv_side_offset(f, side) + token % ANTKV_UNIT_TOKENS * 2 * f.head_dim), size_t(2 * f.head_dim));
      }
      continue;
    }
    for (int token = coded_before; token < coded; token += size) pages_->allow(offset(pages_, block(s, head, token)), size_t(antkv_page_bytes(f, size)));
    for (int token = s.sim.frozen; token < coded_before && coded_before < coded; token += size)
      pages_->allow(offset(pages_, block(s, head, token) + antkv_bitmap_offset(f, size)), size_t((size + 31) / 32 * 4));
    for (int entry = s.frozen_pages; entry < int(s.anchor_pages.size()) && coded_before < coded; entry++) allow_anchor_rows(anchor_block(s, head, entry), s.sim.frozen);
    const size_t row = (size_t(s.slot) * shape_.kv_heads + head) * shape_.anchor_pages;
    if (anchor_score_ && coded_before < coded) anchor_score_->allow((row + s.frozen_pages) * ANTKV_ANCHOR_ROWS * 4, (s.anchor_pages.size() - s.frozen_pages) * ANTKV_ANCHOR_ROWS * 4);
    for (int token = n - s.fresh; token < n; token++) {
      for (Buffer* ring : {ring_k_, ring_v_}) ring->allow(size_t(ring_at(s.slot, head, token)), size_t(2 * f.head_dim));
    }
    for (Buffer* list : {ring_score_, ring_count_}) {
      if (list) list->allow(4 * score_at(s.slot, head, 0), 4 * size_t(p_.ring_rows));
    }
  }
}

}  // namespace runner
