// Random caches: page pool, page index, codebooks, anchor pages, per-sequence state, laid out as adversarially as the contract allows.
#pragma once
#include "kernel.h"
#include "../reference/numeric.h"
#include "random.h"

namespace runner {

/// What is asked of a cache (README.md, "cache fields").
struct CacheShape {
  int batch, kv_heads, page_size, pad;
  bool csr;
  std::vector<int32_t> tokens;     ///< [batch] tokens in coded pages
  std::vector<int32_t> first_pos;  ///< [batch], or empty
  int anchor_permille;             ///< of the coded tokens; -1: no anchors at all
  std::vector<int32_t> frozen_len, frozen_anchor_pages;  ///< [batch], or empty
  int shared_prefix;               ///< tokens that all sequences have from the pages and anchor pages of the first; whole pages
  int spare_pages;                 ///< pages of the pool that no sequence uses
  bool state_slot;                 ///< state lies in slots of its own, in random order; else at the batch row
  int rotary_dim;
  bool interleaved;
  double theta, factor;

  /// Reads the cache fields of a request's shape; `tokens` is named `tokens_key` there. Throws RequestError.
  static CacheShape read(const Json& shape, const reference::Contract& contract, const char* tokens_key);
};

/// [batch] integers of field `key`: a list of that length, or empty when absent.
std::vector<int32_t> per_sequence(const Json& shape, const char* key, int batch);
/// The field `key`, which must lie in [least, most].
int bounded(const Json& shape, const char* key, int64_t otherwise, int64_t least, int64_t most);

/// The buffers of a cache. Slots are in random order, pages shuffled, and whatever no one may read is NaN, garbage codes or a wild index.
struct Cache {
  CacheShape shape;
  reference::Contract contract;
  int slots, max_pages = 1, max_anchor_pages = 0;
  int64_t page_stride, page_head_stride, anchor_page_stride, anchor_head_stride;
  Buffer *pages, *block_table = nullptr, *page_indptr = nullptr, *page_indices = nullptr, *k_codebook = nullptr, *v_codebook = nullptr, *inv_freq = nullptr;
  Buffer *anchors = nullptr, *anchor_table = nullptr, *state_slot = nullptr, *first_pos = nullptr, *frozen_len = nullptr, *frozen_anchor_pages = nullptr;
  std::vector<int32_t> page_list;                    ///< pages of all sequences, one after the other
  std::vector<int32_t> page_start;                   ///< [batch + 1] into page_list
  std::vector<int32_t> slot_of;                      ///< [batch]
  std::vector<int32_t> anchor_list, anchor_start;    ///< as page_list, page_start, but of a sequence's own pages: inherited ones come before them

  /// Makes pool, index, codebooks and state; pages hold garbage. `anchor_rows` [batch]: rows that the anchor pages of a sequence must have.
  Cache(Memory& memory, Random& random, const reference::Contract& contract, const CacheShape& shape, const std::vector<int32_t>& anchor_rows);
  /// Fills pages with random tokens, and anchor pages with the tokens that `kept` [batch * kv_heads][token] names.
  void fill(Random& random, const std::vector<std::vector<bool>>& kept);
  uint8_t* block(int b, int head, int token) {
    return pages->host.data() + page_list[page_start[b] + token / shape.page_size] * page_stride + head * page_head_stride;
  }
  uint8_t* anchor_block(int b, int head, int entry) { return anchors->host.data() + anchor_list[anchor_start[b] + entry] * anchor_page_stride + head * anchor_head_stride; }

 private:
  void make_pages(Memory& memory, Random& random);
  void make_anchors(Memory& memory, Random& random, const std::vector<int32_t>& rows);
};

/// Chooses the anchors of each sequence and KV head: [batch * kv_heads][token].
std::vector<std::vector<bool>> choose_anchors(Random& random, const CacheShape& shape);
/// Rows that an anchor list needs per sequence: the most of any head, and three rows of tokens that are no longer there.
std::vector<int32_t> anchor_rows_of(const CacheShape& shape, const std::vector<std::vector<bool>>& kept);
/// A channel of an entry, drawn: any half; where entries of stages are added up, a multiple of 1/256 below 4, as all their sums must be halves.
uint16_t entry_channel(antkv_codec codec, Random& random);
/// One side's packed codebooks: gaussian centroids, or int8 steps and scales of about 1/40; null for an exact side.
Buffer* make_codebook(Memory& memory, Random& random, const char* name, antkv_codec codec, int head_dim, int kv_heads);
/// `count` gaussian elements.
void gaussian_elements(Random& random, reference::Element element, void* to, int count, double size = 1);

/// Points the fields that decode, encode and unpack share to the cache.
template <class P>
void bind_cache(Params<P>& p, Cache& c) {
  p.bind(&P::pages, *c.pages);
  if (c.block_table) p.bind(&P::block_table, *c.block_table);
  if (c.page_indptr) p.bind(&P::page_indptr, *c.page_indptr), p.bind(&P::page_indices, *c.page_indices);
  if (c.k_codebook) p.bind(&P::k_codebook, *c.k_codebook);
  if (c.v_codebook) p.bind(&P::v_codebook, *c.v_codebook);
  if (c.inv_freq) p.bind(&P::inv_freq, *c.inv_freq);
  if (c.anchors) p.bind(&P::anchors, *c.anchors), p.bind(&P::anchor_table, *c.anchor_table);
  if (c.state_slot) p.bind(&P::state_slot, *c.state_slot);
  if (c.first_pos) p.bind(&P::first_pos, *c.first_pos);
  p->page_stride = c.page_stride;
  p->page_head_stride = c.page_head_stride;
  p->anchor_page_stride = c.anchor_page_stride;
  p->anchor_head_stride = c.anchor_head_stride;
  p->batch = c.shape.batch;
  p->kv_heads = c.shape.kv_heads;
  p->page_size = c.shape.page_size;
  p->max_pages = c.max_pages;
  p->max_anchor_pages = c.max_anchor_pages;
  p->rotary_dim = c.shape.rotary_dim;
  p->rope_interleaved = c.shape.interleaved;
  p->attention_factor = float(c.shape.factor);
}

}  // namespace runner
