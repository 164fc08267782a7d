// Large caches for timing: made on the device from small random blocks, and small parts of them read back for the reference.
#pragma once
#include "bench_arena.h"
#include "random.h"

namespace runner {

/// The shape of a bench request (README.md, "bench").
struct BenchShape {
  int batch, q_heads, kv_heads;
  std::vector<int32_t> kv_len;                            ///< [batch]; 0, decode only: a row of the batch that no sequence uses
  int page_size, anchor_permille;                         // ops on a cache
  std::string codes;
  int window, q_len, splits;                              // decode
  bool spread = false, merges = false;                    // decode; merges: the last CTA does

  /// `attends`: the shape of decode, not of encode or unpack.
  static BenchShape read(const Json& shape, const reference::Contract& contract, bool attends);
  /// Only what ops without a cache need: batch, tokens, heads. `empty`: sequences of no tokens are taken.
  static BenchShape read_plain(const Json& shape, bool empty = false);
  int ratio() const { return q_heads / kv_heads; }
  int most_tokens() const;
  int64_t tokens() const;  ///< of all sequences
  Json json() const;
};

/// Random numbers in bulk: gaussian elements and codes by table, a few nanoseconds each.
class Content {
 public:
  Content(Random& random, reference::Element element);
  /// Whole elements.
  void gaussian(void* to, size_t bytes);
  std::vector<uint8_t> gaussian_block(size_t bytes);
  /// The distribution of codes: "uniform", "zipf" (entry of rank r with probability ~ 1/(r + 1)), "equal". Throws RequestError.
  void choose_codes(const std::string& distribution, antkv_codec codec, std::vector<uint16_t>& table);
  /// Fills one coded side of the unit at `unit` with codes drawn from `table`.
  void codes(uint8_t* unit, const antkv_format& f, int side, const std::vector<uint16_t>& table);
  Random& random;

 private:
  std::vector<uint16_t> elements_;
};

struct CacheSlice;

/// Pages, anchors, codebooks and tables of a cache, at offsets of an arena. Pages and anchor pages are dealt to the sequences in random order.
class BenchCache {
 public:
  /// Decides who owns which page and which tokens are anchors, and places everything. `coded_len` [batch].
  BenchCache(Arena& arena, Content& content, const reference::Contract& contract, const BenchShape& shape, std::vector<int32_t> coded_len);
  /// Writes copy 0. `encoded` false: not pages and anchor pages, which encode is to write after poison().
  void fill(bool encoded);
  /// Pages and anchor pages of all copies as before encode.
  void poison();
  /// What one sequence and KV head has in copy 0, read back.
  CacheSlice slice(int b, int head) const;
  template <class P>
  void bind(ArenaParams<P>& p) const;

  // Useful bytes of all sequences and KV heads: what an ideal kernel must read or write once.
  int64_t code_bytes() const;                       ///< codes, gains and bitmap of every coded token
  int64_t anchor_bytes() const;                     ///< anchor rows with their index
  int64_t codebook_bytes(bool half_norms) const;    ///< once per KV head; only encode reads the half norms
  int64_t anchors() const;

  const BenchShape& shape() const { return shape_; }
  const antkv_format& format() const { return contract_.format; }
  const std::vector<int32_t>& coded_len() const { return coded_len_; }
  const std::vector<int32_t>& slots() const { return slots_; }
  /// Anchor tokens of a sequence and KV head, ascending.
  const std::vector<int32_t>& kept(int b, int head) const { return kept_[size_t(b) * shape_.kv_heads + head]; }
  int max_anchor_pages() const { return max_anchor_pages_; }
  size_t pages_at() const { return pages_; }
  /// Where the page of a sequence's token lies.
  size_t page_at(int b, int token) const { return pages_ + size_t(table_[size_t(b) * max_pages_ + token / shape_.page_size]) * page_stride_; }

 private:
  void choose_anchors();
  void fill_pages();
  void fill_anchors();
  std::vector<uint8_t> make_codebook(antkv_codec codec);

  Arena& arena_;
  Content& content_;
  reference::Contract contract_;
  BenchShape shape_;
  std::vector<int32_t> coded_len_, slots_;
  int64_t head_stride_, page_stride_, anchor_head_stride_, anchor_stride_;
  int max_pages_ = 1, max_anchor_pages_ = 0, pool_ = 0, block_pages_ = 0, anchor_pool_ = 0;
  std::vector<int32_t> table_, anchor_table_;               ///< as on the device
  std::vector<std::vector<std::vector<int32_t>>> marked_;  ///< [block page][KV head] slots whose bitmap bit is set
  std::vector<std::vector<int32_t>> kept_;
  size_t pages_ = 0, block_table_at_ = 0, anchors_at_ = 0, anchor_table_at_ = 0, state_slot_ = 0, k_codebook_ = 0, v_codebook_ = 0, inv_freq_ = 0;
};

/// One sequence and KV head on the host, as a cache of its own with batch 1 and one KV head.
struct CacheSlice {
  std::vector<uint8_t> pages, anchors, k_codebook, v_codebook;
  std::vector<int32_t> table, anchor_table;
  std::vector<float> inv_freq;
  int64_t page_stride, anchor_stride;
  int page_size, head_dim, coded_len;

  /// Points the cache fields of a host struct here.
  template <class P>
  void bind(P& p) {
    p.struct_size = sizeof(P);
    p.abi_version = ANTKV_ABI_VERSION;
    p.pages = pages.data();
    p.block_table = table.data();
    p.k_codebook = k_codebook.data();
    p.v_codebook = v_codebook.data();
    p.inv_freq = inv_freq.data();
    if (!anchor_table.empty()) p.anchors = anchors.data(), p.anchor_table = anchor_table.data();
    p.page_stride = p.page_head_stride = page_stride;
    p.anchor_page_stride = p.anchor_head_stride = anchor_stride;
    p.batch = p.kv_heads = 1;
    p.page_size = page_size;
    p.max_pages = int(table.size());
    p.max_anchor_pages = int(anchor_table.size());
    p.rotary_dim = head_dim;
    p.attention_factor = 1;
  }
};

template <class P>
void BenchCache::bind(ArenaParams<P>& p) const {
  p.bind(&P::pages, arena_, pages_);
  p.bind(&P::block_table, arena_, block_table_at_);
  if (!format().k.exact) p.bind(&P::k_codebook, arena_, k_codebook_);
  if (!format().v.exact) p.bind(&P::v_codebook, arena_, v_codebook_);
  if (contract_.format.pre) p.bind(&P::inv_freq, arena_, inv_freq_);
  if (max_anchor_pages_ > 0) p.bind(&P::anchors, arena_, anchors_at_), p.bind(&P::anchor_table, arena_, anchor_table_at_);
  p.bind(&P::state_slot, arena_, state_slot_);
  p->page_stride = page_stride_;
  p->page_head_stride = head_stride_;
  p->anchor_page_stride = anchor_stride_;
  p->anchor_head_stride = anchor_head_stride_;
  p->batch = shape_.batch;
  p->kv_heads = shape_.kv_heads;
  p->page_size = shape_.page_size;
  p->max_pages = max_pages_;
  p->max_anchor_pages = max_anchor_pages_;
  p->rotary_dim = format().head_dim;
  p->attention_factor = 1;
}

}  // namespace runner
