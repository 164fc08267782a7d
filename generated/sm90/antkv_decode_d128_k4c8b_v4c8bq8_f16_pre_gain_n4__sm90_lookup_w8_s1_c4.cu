// Generated file. Do not edit.
//   template  templates/decode_lookup.cu.hbs
//   kernel    antkv_decode_d128_k4c8b_v4c8bq8_f16_pre_gain_n4__sm90_lookup_w8_s1_c4
//   inputs    5d16e1f27b0e7ffc
//   remake    npx gen --only antkv_decode_d128_k4c8b_v4c8bq8_f16_pre_gain_n4__sm90_lookup_w8_s1_c4
#include "antkv.h"
#include "antkv_device.cuh"

namespace antkv_decode_d128_k4c8b_v4c8bq8_f16_pre_gain_n4__sm90_lookup_w8_s1_c4_ {  // its own: device linking would merge equal names
using namespace antkv;

struct K {
  static constexpr int kHeadDim = 128;
  struct Key {
    static constexpr bool kExact = false;
    static constexpr int kRowBytes = 32, kCodebookBytes = 98304;
    static constexpr int kChannels = 4, kBits = 8, kEntries = 256;
    static constexpr bool kQ8 = false;
    static constexpr int kScaleOffset = 65536, kHalfNormOffset = 65536;
    static constexpr bool kKeys = true, kByLane = true;  // the order of codes in a unit
    static constexpr int kChunks = 32, kPiece = 16, kTurnHigh = 4, kTurnShift = 1, kTurnMask = 1;
  };
  struct Value {
    static constexpr bool kExact = false;
    static constexpr int kRowBytes = 32, kCodebookBytes = 66048;
    static constexpr int kChannels = 4, kBits = 8, kEntries = 256;
    static constexpr bool kQ8 = true;
    static constexpr int kScaleOffset = 32768, kHalfNormOffset = 33280;
    static constexpr bool kKeys = false, kByLane = true;
    static constexpr int kChunks = 32, kPiece = 16, kRowSpan = 8;
  };
  static constexpr bool kCoded = true;  // a side is coded: pages carry a bitmap, and anchors exist
  static constexpr int kUnitBytes = 1056, kValueOffset = 512, kKeyGainOffset = 1024;
  static constexpr bool kPre = true, kKeyGain = true;
  static constexpr int kColumns = 4;  // query columns of a CTA
  static constexpr bool kKeySum = false, kKeyTurn = true, kKeyDot = false;  // how scores come about
  static constexpr int kWarps = 8, kStages = 1;       // tiles whose codes are under way in a warp's registers
  static constexpr int kCopies = 4;                           // of the table of values
  static constexpr int kKeyTableBytes = 65536, kValueTableBytes = 131072, kSharedBytes = 219008;
};

// Where things lie: coded pages, anchor pages, per-sequence state. P is any parameter struct with these fields.

__device__ __forceinline__ const unsigned char* byte_pointer(const void* p) { return static_cast<const unsigned char*>(p); }
__device__ __forceinline__ unsigned char* byte_pointer(void* p) { return static_cast<unsigned char*>(p); }

/// An optional array: its element `i`, or `otherwise` where the array is null.
template <class T>
__device__ __forceinline__ T element_or(const T* array, int i, T otherwise) {
  return array ? load_global(array + i) : otherwise;
}

/// The block of the page that holds logical token `token` of sequence `b`, for one KV head.
template <class P>
__device__ __forceinline__ auto page_block(const P& p, int b, int head, int token) {
  const int run = token / p.page_size;
  const int32_t* pages = p.block_table ? p.block_table + int64_t(b) * p.max_pages : p.page_indices + load_global(p.page_indptr + b);
  const int64_t page = load_global(pages + run);
  return byte_pointer(p.pages) + page * p.page_stride + head * p.page_head_stride;
}

/// The block of anchor page number `page`, for one KV head.
template <class P>
__device__ __forceinline__ auto anchor_block(const P& p, int page, int head) {
  return byte_pointer(p.anchors) + int64_t(page) * p.anchor_page_stride + head * p.anchor_head_stride;
}

/// Sequence `b`'s list of anchor pages; -1 ends it early.
template <class P>
__device__ __forceinline__ const int32_t* anchor_pages(const P& p, int b) {
  return p.anchor_table + int64_t(element_or(p.state_slot, b, b)) * p.max_anchor_pages;
}

/// Entries of a list of anchor pages before its end. All lanes must call it; all get the answer.
__device__ __forceinline__ int count_anchor_pages(const int32_t* pages, int max_pages) {
  for (int base = 0; base < max_pages; base += 128) {  // four loads are under way together
    bool ends[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int i = base + j * 32 + lane_index();
      ends[j] = load_global(pages + (i < max_pages ? i : max_pages - 1)) < 0 || i >= max_pages;
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const uint32_t ended = vote_ballot(ends[j]);
      if (ended) return base + j * 32 + count_bits((ended & (0u - ended)) - 1);
    }
  }
  return max_pages;
}

/// Whether the row of `token`, found in entry `entry` of a list of anchor pages, belongs to the sequence: emptied rows
/// do not, nor do inherited rows at or beyond the shared prefix (CACHE.md, "Sharing").
__device__ __forceinline__ bool is_anchor(int token, int entry, int end, int frozen_pages, int frozen_len) {
  return token >= 0 && token < end && (entry >= frozen_pages || token < frozen_len);
}

// Rotary position embedding, in fp32, from data: frequencies, pairing, rotated channels, factor on cos and sin.

/// sin and cos of position * inv_freq, good to about 1e-6 for 0 <= position < 2^23 and inv_freq <= 1.
/// The product keeps its rounding error, and 2 pi is subtracted in two parts (Cody and Waite), because at position
/// 10^6 an fp32 angle alone is off by 0.06 radians.
__device__ __forceinline__ void rope_angle(int position, float inv_freq, float& sine, float& cosine) {
  const float angle = float(position) * inv_freq;
  const float error = fused_multiply_add(float(position), inv_freq, -angle);
  const float turns = round_even(angle * 0.15915494f);                     // 1 / (2 pi)
  float reduced = fused_multiply_add(turns, -6.28318548f, angle);          // 2 pi = 6.28318548 - 1.7484556e-7 + ...
  reduced = fused_multiply_add(turns, 1.7484556e-7f, reduced);
  sine_cosine_fast(reduced + error, sine, cosine);
}

/// The two channels of pair `i`: (i, i + rotary_dim/2), or (2i, 2i + 1) when interleaved.
struct rope_pair {
  int first, second;
};
template <class P>
__device__ __forceinline__ rope_pair rope_channels(const P& p, int i) {
  return p.rope_interleaved ? rope_pair{2 * i, 2 * i + 1} : rope_pair{i, i + p.rotary_dim / 2};
}

/// Rotates `kRows` rows of f16 in shared memory in place, one warp; row r stands at position `position` + r.
/// `scale` holds one factor per channel that the rows still want, or is null.
template <int kRows, int kHeadDim, class P>
__device__ __forceinline__ void rotate_rows(const P& p, f16* rows, int row_stride, int position, const float* scale) {
  for (int i = lane_index(); i < p.rotary_dim / 2; i += 32) {
    const float inv_freq = load_global(p.inv_freq + i);
    const rope_pair pair = rope_channels(p, i);
    const float first_factor = p.attention_factor * (scale ? load_global(scale + pair.first) : 1.0f);
    const float second_factor = p.attention_factor * (scale ? load_global(scale + pair.second) : 1.0f);
    // The angle is taken exactly once per call; from row to row it grows by inv_freq, a rotation of its own. 15 steps lose less than 1e-5.
    float sine, cosine, step_sine, step_cosine;
    rope_angle(position, inv_freq, sine, cosine);
    rope_angle(1, inv_freq, step_sine, step_cosine);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      f16* first = rows + r * row_stride + pair.first;
      f16* second = rows + r * row_stride + pair.second;
      const float x = to_float(load_shared(first)) * first_factor, y = to_float(load_shared(second)) * second_factor;
      store_shared(first, to_f16(x * cosine - y * sine));
      store_shared(second, to_f16(x * sine + y * cosine));
      const float next = cosine * step_cosine - sine * step_sine;
      sine = sine * step_cosine + cosine * step_sine;
      cosine = next;
    }
  }
  if (!scale) return;
  for (int channel = p.rotary_dim + lane_index(); channel < kHeadDim; channel += 32)
    for (int r = 0; r < kRows; ++r) {
      f16* at = rows + r * row_stride + channel;
      store_shared(at, to_f16(to_float(load_shared(at)) * load_global(scale + channel)));
    }
}

// Where codes and gains lie inside a unit of 16 tokens: the device's codeOffset and gainOffset (generator/layout.ts, which also computes the constants).
// C is the traits struct of one side.

/// What the groups of 4 chunks of a key in row `row` (0 ... 7) are stored turned by: group i lies in place i ^ key_turn(row).
template <class C>
__device__ __forceinline__ constexpr uint32_t key_turn(uint32_t row) {
  return (row & 1) * C::kTurnHigh | (row >> C::kTurnShift & C::kTurnMask);
}

/// The byte of the code of `chunk` of token `token` (0 ... 15), from the start of the side.
template <class C>
__device__ __forceinline__ int code_offset(uint32_t token, uint32_t chunk) {
  static_assert(C::kBits == 8, "codes of whole bytes");
  if constexpr (!C::kByLane) {
    return int(token * C::kRowBytes + chunk);
  } else {
    constexpr uint32_t kChunks = C::kChunks, kPiece = C::kPiece;
    uint32_t lane, position;  // position: among the lane's bytes
    if constexpr (C::kKeys) {
      const uint32_t row = token % 8;
      lane = row * 4 + chunk % 4;
      position = token / 8 * (kChunks / 4) + (chunk / 4 ^ key_turn<C>(row));
    } else {
      const uint32_t span = chunk / C::kRowSpan;
      lane = (span / (kChunks / 8) * C::kRowSpan + chunk % C::kRowSpan) * 4 + token % 8 / 2;
      position = (token / 8 * 2 + token % 2) * (kChunks / 8) + span % (kChunks / 8);
    }
    return int(position / kPiece * 32 * kPiece + lane * kPiece + position % kPiece);
  }
}

/// The index of token `token`'s gain among the 16 of its unit: a lane that holds tokens g and g + 8 reads one word.
__device__ __forceinline__ int gain_index(int token) { return token % 8 * 2 + token / 8; }

// Attention's two products on the matrix unit, for 16 tokens and 8 query columns. Lane = 4 * g + t throughout.

/// The 8 columns of a row-major operand with `kHeadDim` channels as B fragments: column g of this lane at `column`, or zeros.
template <int kHeadDim>
__device__ __forceinline__ void load_columns(uint32_t (&fragment)[kHeadDim / 16][2], const void* column, bool valid) {
  const uint32_t* words = static_cast<const uint32_t*>(column) + lane_index() % 4;
#pragma unroll
  for (int step = 0; step < kHeadDim / 16; ++step) {
    fragment[step][0] = valid ? load_global(words + step * 8) : 0;
    fragment[step][1] = valid ? load_global(words + step * 8 + 4) : 0;
  }
}

/// d[token][column] = rows . columns over all channels; `rows` are 16 rows in shared memory.
template <int kHeadDim>
__device__ __forceinline__ void multiply_rows(float (&d)[4], const f16* rows, int row_stride, const uint32_t (&columns)[kHeadDim / 16][2]) {
  const int lane = lane_index();
  const f16* from = rows + (lane % 16) * row_stride + lane / 16 * 8;
#pragma unroll
  for (int step = 0; step < kHeadDim / 16; ++step) {
    uint32_t a[4];
    load_matrix_x4(a, from + step * 16);
    mma_16x8x16(d, a, columns[step]);
  }
}

/// d[channel][column] += rows^T . weights; `weights` holds token g (d[0], d[1]) and g + 8 (d[2], d[3]) of columns 2t, 2t + 1.
template <int kHeadDim>
__device__ __forceinline__ void accumulate_rows(float (&d)[kHeadDim / 16][4], const f16* rows, int row_stride, const float (&weights)[4]) {
  const int lane = lane_index();
  const f16* from = rows + (lane % 8 + lane / 16 * 8) * row_stride + lane / 8 % 2 * 8;
  // A product's result has its tokens on rows; as B operand the tokens belong on pairs of registers: one transpose per 8 x 8 block.
  const uint32_t b[2] = {transpose_matrix(pack(to_f16(weights[0]), to_f16(weights[1]))),
                         transpose_matrix(pack(to_f16(weights[2]), to_f16(weights[3])))};
#pragma unroll
  for (int tile = 0; tile < kHeadDim / 16; ++tile) {
    uint32_t a[4];
    load_matrix_x4_transposed(a, from + tile * 16);
    mma_16x8x16(d[tile], a, b);
  }
}

// One sequence as decode sees it: three segments as one list of units of 16 tokens, and what each query column may see.

/// The sequence as this CTA sees it.
struct decode_view {
  int coded_len, kv_len, first_pos, first_new;  // first_new: logical index of the first of this step's rows
  int coded_units, anchor_units, units;
  int frozen_pages, frozen_len;
  const int32_t* anchors;
  int slot;
};

/// The sequence without its anchors, whose list takes time to count.
template <class P>
__device__ __forceinline__ decode_view lengths_of(const P& p, int b, int q_len) {
  decode_view s;
  s.coded_len = load_global(p.coded_len + b);
  s.kv_len = load_global(p.kv_len + b);
  s.first_pos = element_or(p.first_pos, b, 0);
  s.first_new = s.kv_len - q_len;
  s.slot = element_or(p.state_slot, b, b);
  s.frozen_pages = element_or(p.frozen_anchor_pages, b, 0);
  s.frozen_len = element_or(p.frozen_len, b, 0);
  s.coded_units = p.segments & 1 ? (s.coded_len + 15) / 16 : 0;
  s.anchors = nullptr;
  s.anchor_units = 0;
  s.units = s.coded_units + (p.segments & 4 ? (s.kv_len - s.coded_len + 15) / 16 : 0);
  return s;
}
/// Counts the anchors in.
template <class P>
__device__ __forceinline__ void add_anchors(const P& p, int b, decode_view& s) {
  if (!(p.segments & 2 && p.anchor_table)) return;
  s.anchors = anchor_pages(p, b);
  s.anchor_units = count_anchor_pages(s.anchors, p.max_anchor_pages);
  s.units += s.anchor_units;
}
template <class P>
__device__ __forceinline__ decode_view view_of(const P& p, int b, int q_len) {
  decode_view s = lengths_of(p, b, q_len);
  add_anchors(p, b, s);
  return s;
}

/// A query column: which row of which head, and what it may see.
struct column {
  bool valid;
  int row, head, position;
  uint32_t new_rows;  // tree mask, or all ones
};

template <class P>
__device__ __forceinline__ column column_of(const P& p, const decode_view& s, int b, int first_row, int q_len, int kv_head, int flat) {
  const uint32_t ratio = uint32_t(p.q_heads) / uint32_t(p.kv_heads);
  column c;
  c.valid = flat < q_len * int(ratio);
  int row = 0;
  if (c.valid && q_len > 1) row = int(uint32_t(flat) / ratio);  // a branch: divisions are long
  c.row = first_row + row;
  c.head = kv_head * int(ratio) + (c.valid ? flat - row * int(ratio) : 0);
  c.position = element_or(p.q_pos, b, s.first_pos + s.first_new) + row;
  c.new_rows = c.valid && p.tree_mask ? load_global(p.tree_mask + c.row) : ~0u;
  return c;
}

/// Whether `c` sees logical token `token`. New rows obey the tree mask where there is one, all others their position.
__device__ __forceinline__ bool sees(const column& c, const decode_view& s, int token, bool has_tree) {
  if (!c.valid) return false;
  if (has_tree && token >= s.first_new) return c.new_rows >> (token - s.first_new) & 1;
  return s.first_pos + token <= c.position;
}

// Which part of which sequence a CTA of decode works on. grid (splits, kv_heads * groups of query columns, spread ? 1 : batch).
// Static: a sequence is cut by its own length alone, so that what else is in the batch never changes its bits. Spread: the sequences
// lie end to end on one line of work, cut into equal shares, so that ragged batches fill the device.

/// A CTA's share [from / of, to / of) of sequence `b`. The CTAs first ... first + parts - 1 (x of the block) hold its shares, in this order.
struct piece {
  int b, from, to, of, parts, first;
};

/// The share of `n` things that lie along the sequence: begin ... end - 1. All shares together are all things, each once: a boundary is the same
/// for the CTAs on its two sides, and boundaries ascend. Floats, because 64-bit divisions are slow; being off by a thing does no harm.
__device__ __forceinline__ void cut(const piece& w, int n, int& begin, int& end) {
  const float things = float(n) / float(w.of);
  const auto boundary = [&](int at) {
    const int near = int(things * float(at));
    return at == w.of || near > n ? n : near;
  };
  begin = boundary(w.from);
  end = boundary(w.to);
}

// What a sequence costs, in one unit per algorithm: it decides where a line of work is cut, never what is computed.
struct lookup_cost {  // clocks of 32 coded tokens; the tables of the queries; exact tokens take the slow path
  static constexpr int kPiece = 32, kCoded32 = 1, kExact16 = 8;
};
struct rows_cost {  // units of 16 tokens, all alike; the start and the merge
  static constexpr int kPiece = 8, kCoded32 = 2, kExact16 = 1;
};

/// First query row of sequence `b`, and how many it has.
struct query_rows {
  int first, count;
};
template <class P>
__device__ __forceinline__ query_rows query_rows_of(const P& p, int b) {
  if (!p.cu_q) return {b, 1};
  const int first = load_global(p.cu_q + b);
  return {first, load_global(p.cu_q + b + 1) - first};
}

/// Whether this CTA's group of query columns holds one of sequence `b`: others may have more rows.
template <class K, class P>
__device__ __forceinline__ bool has_columns(const P& p, int b) {
  const int count = query_rows_of(p, b).count;
  if (block_index().y < p.kv_heads) return count > 0;  // the first group: no division
  return block_index().y / p.kv_heads * K::kColumns < count * (p.q_heads / p.kv_heads);
}

/// Cost of sequence `b` for this CTA's group of query columns.
template <class K, class Cost, class P>
__device__ __forceinline__ int cost_of(const P& p, int b) {
  if (!has_columns<K>(p, b)) return 0;
  const int coded = load_global(p.coded_len + b), exact = load_global(p.kv_len + b) - coded;
  return Cost::kPiece + (p.segments & 1 ? (coded + 31) / 32 * Cost::kCoded32 : 0) + (p.segments & 4 ? (exact + 15) / 16 * Cost::kExact16 : 0);
}

/// This CTA's share of the line, and where it begins. Costs add up below 2^31: 2^36 tokens.
/// Of the CTAs, the first `longer` get `share` + 1 units of the line, the others `share`.
struct line_share {
  int begin, end, ctas, share, longer;
  int b, at;  // the sequence that holds `begin`, and where on the line that sequence begins
};

/// What a CTA keeps of its work in shared memory: in registers it would take room from the loop over tokens.
struct work_memory {
  line_share line;
  piece now;
};

template <class T>
__device__ __forceinline__ T load_words(const T* from) {
  uint32_t words[sizeof(T) / 4];
#pragma unroll
  for (int i = 0; i < int(sizeof(T) / 4); ++i) words[i] = load_shared(reinterpret_cast<const uint32_t*>(from) + i);
  T value;
  memcpy(&value, words, sizeof(T));
  return value;
}
template <class T>
__device__ __forceinline__ void store_words(T* to, const T& value) {
  uint32_t words[sizeof(T) / 4];
  memcpy(words, &value, sizeof(T));
#pragma unroll
  for (int i = 0; i < int(sizeof(T) / 4); ++i) store_shared(reinterpret_cast<uint32_t*>(to) + i, words[i]);
}

/// One warp works it out.
template <class K, class Cost, class P>
__device__ __forceinline__ line_share share_of_line(const P& p) {
  const int x = block_index().x, lane = lane_index();
  line_share s = {};
  int total = 0;
#pragma unroll 1
  for (int b = lane; b < p.batch; b += 32) total += cost_of<K, Cost>(p, b);
#pragma unroll
  for (int mask = 1; mask < 32; mask *= 2) total += shuffle_xor(total, mask);
  // No more CTAs than there is work, so that every CTA from a sequence's first to its last holds a share of it.
  s.ctas = p.splits < total ? p.splits : total;
  if (x >= s.ctas) return s;
  s.share = int(uint32_t(total) / uint32_t(s.ctas));
  s.longer = total - s.share * s.ctas;
  s.begin = x * s.share + (x < s.longer ? x : s.longer);
  s.end = s.begin + s.share + (x < s.longer ? 1 : 0);
#pragma unroll 1
  for (int base = 0;; base += 32) {
    const int cost = base + lane < p.batch ? cost_of<K, Cost>(p, base + lane) : 0;
    int after = cost;  // costs of the 32 sequences up to this lane's, added up
#pragma unroll
    for (int delta = 1; delta < 32; delta *= 2) {
      const int before = shuffle_up(after, delta);
      if (lane >= delta) after += before;
    }
    const uint32_t beyond = vote_ballot(s.at + after > s.begin);
    if (beyond) {
      const int holder = count_bits((beyond & (0u - beyond)) - 1);
      s.b = base + holder;
      s.at += shuffle(after - cost, holder);
      return s;
    }
    s.at += shuffle(after, 31);
  }
}

/// What combine reads for the CTAs that hold no share of a sequence; the pieces overwrite it for those that do.
template <class K, class P>
__device__ __forceinline__ void clear_partials(const P& p) {
  const index3 block = block_index();
  const int ratio = p.q_heads / p.kv_heads, kv_head = block.y % p.kv_heads, group = block.y / p.kv_heads;
  for (int i = thread_index(); i < p.batch * K::kColumns; i += K::kWarps * 32) {
    const query_rows rows = query_rows_of(p, i / K::kColumns);
    const int column = group * K::kColumns + i % K::kColumns;
    if (column < rows.count * ratio)
      store_global(p.partial_lse + (int64_t(block.x) * p.rows + rows.first + column / ratio) * p.q_heads + kv_head * ratio + column % ratio, minus_infinity());
  }
  block_barrier();
}

/// The next piece of the share; parts is 0 after the last.
template <class K, class Cost, class P>
__device__ __forceinline__ piece next_piece(const P& p, line_share& s) {
  if (s.at >= s.end) return {};
  int cost = cost_of<K, Cost>(p, s.b);
  while (cost == 0) cost = cost_of<K, Cost>(p, ++s.b);
  const auto owner = [&](int i) {  // the CTA that unit i of the line belongs to
    const int beyond = i - s.longer * (s.share + 1);
    return beyond < 0 ? int(uint32_t(i) / uint32_t(s.share + 1)) : s.longer + int(uint32_t(beyond) / uint32_t(s.share));
  };
  piece w;
  w.b = s.b++;
  w.from = s.begin > s.at ? s.begin - s.at : 0;
  w.to = s.end - s.at < cost ? s.end - s.at : cost;
  w.of = cost;
  w.first = owner(s.at);
  w.parts = owner(s.at + cost - 1) - w.first + 1;
  s.at += cost;
  return w;
}

/// The piece under way: in a static launch from the block's place alone, else what for_each_piece left in shared memory.
template <class P>
__device__ __forceinline__ piece piece_now(const P& p, const work_memory* memory) {
  const index3 block = block_index();
  if (p.spread) return load_words(&memory->now);
  return {block.z, block.x, block.x + 1, p.splits, p.splits, 0};
}

/// Calls body(const piece&) for each piece of this CTA, in order, all threads together; `memory` is shared. All threads of the block must call it.
/// A block barrier stands between two bodies.
template <class K, class Cost = lookup_cost, class P, class Body>
__device__ __forceinline__ void for_each_piece(const P& p, work_memory* memory, Body&& body) {
  if (p.spread) {
    if (!p.counters && p.splits > 1) clear_partials<K>(p);
    if (warp_index() == 0) {
      const line_share s = share_of_line<K, Cost>(p);
      if (thread_index() == 0) store_words(&memory->line, s);
    }
  } else if (!has_columns<K>(p, block_index().z)) {
    return;
  }
  // One call of `body`: it is large, and the compiler would inline a second one.
#pragma unroll 1
  while (true) {
    if (p.spread) {
      if (thread_index() == 0) {
        line_share s = load_words(&memory->line);
        store_words(&memory->now, next_piece<K, Cost>(p, s));
        store_words(&memory->line, s);
      }
      block_barrier();
    }
    const piece w = piece_now(p, memory);
    if (w.parts == 0) return;
    body(w);
    if (!p.spread) return;
    block_barrier();  // shared memory is the next piece's
  }
}

// From the results of a CTA's warps to output and log-sum-exp: warps in a fixed order, then the CTAs that share a sequence, also in a fixed order.

constexpr float kLog2e = 1.44269504f;
constexpr float kLn2 = 0.693147181f;

/// What a warp leaves for the merge: [columns, d] weighted sums (finite), maxima (log2 units, -inf: nothing seen) and weights.
template <class K>
struct alignas(16) warp_result {
  static constexpr int kStride = K::kHeadDim + 4;  // lanes of one store hit 32 banks: columns apart by 4, channels by 1
  float o[K::kColumns * kStride];
  float maximum[K::kColumns];
  float weight[K::kColumns];
};

/// Merges results and writes output and log-sum-exp, or this CTA's part of them. A warp takes a column, a lane 4 of its channels.
/// What a result without weight holds is not read.
template <class K, class P, class Column>
__device__ __forceinline__ void write_results(const P& p, const Column& column_at, const warp_result<K>* results, int count, bool whole) {
  constexpr int kQuads = K::kHeadDim / 4, kAbreast = 32 / kQuads;  // results that a warp reads at once
  static_assert(kQuads * kAbreast == 32, "head dims of 64 and 128");
  const int lane = lane_index(), channel = lane % kQuads * 4;
#pragma unroll 1
  for (int flat = warp_index(); flat < K::kColumns; flat += K::kWarps) {
    // Factors first, a lane's of one result: there are at most 32.
    float top = lane < count ? load_shared(results[lane].maximum + flat) : minus_infinity();
    float factor = top, total = lane < count ? load_shared(results[lane].weight + flat) : 0.0f;
#pragma unroll
    for (int mask = 1; mask < 32; mask *= 2) top = fmaxf(top, shuffle_xor(top, mask));
    factor = factor == minus_infinity() ? 0.0f : exp2_fast(factor - top);
    total *= factor;
#pragma unroll
    for (int mask = 1; mask < 32; mask *= 2) total += shuffle_xor(total, mask);
    factor = total > 0 ? factor / total : 0.0f;

    float sum[4] = {};
#pragma unroll 4
    for (int i = 0; i < count; i += kAbreast) {
      const int mine = i + lane / kQuads;
      const float times = shuffle(factor, mine);
      if (times > 0) {
        const bytes16 o = load_shared(reinterpret_cast<const bytes16*>(results[mine].o + flat * warp_result<K>::kStride + channel));
#pragma unroll
        for (int j = 0; j < 4; ++j) sum[j] += times * float_of_bits(o.w[j]);
      }
    }
    if constexpr (kAbreast == 2) {
#pragma unroll
      for (int j = 0; j < 4; ++j) sum[j] += shuffle_xor(sum[j], 16);
    }

    const auto c = column_at(flat);
    if (!c.valid || lane >= kQuads) continue;
    const float lse = total > 0 ? (top + log2_fast(total)) * kLn2 : minus_infinity();
    if (whole) {
      bytes8* out = reinterpret_cast<bytes8*>(byte_pointer(p.out) + c.row * p.out_row_stride + c.head * p.out_head_stride + channel * 2);
      store_global(out, bytes8{{pack_halves(sum[0], sum[1]), pack_halves(sum[2], sum[3])}});
      if (p.lse && lane == 0) store_global(p.lse + int64_t(c.row) * p.q_heads + c.head, lse);
    } else {
      const int64_t at = (int64_t(block_index().x) * p.rows + c.row) * p.q_heads + c.head;
      store_global(reinterpret_cast<bytes16*>(p.partial_o + at * K::kHeadDim + channel), bytes16{{float_bits(sum[0]), float_bits(sum[1]), float_bits(sum[2]), float_bits(sum[3])}});
      if (lane == 0) store_global(p.partial_lse + at, lse);
    }
  }
}

/// Tells the CTAs of the piece's sequence that this one's part is written. True, in all threads, for the last one, which sees all parts.
template <class P>
__device__ __forceinline__ bool arrive_last(const P& p, const piece& w, uint32_t* flag) {
  block_barrier();  // what this puts before the fence, the fence puts before the addition: one thread's is enough
  if (thread_index() == 0) {
    grid_fence();
    uint32_t* counter = p.counters + int64_t(w.b) * grid_size().y + block_index().y;
    const bool last = atomic_add_global(counter, 1) == uint32_t(w.parts - 1);
    if (last) store_global(counter, 0u);  // for the next launch
    grid_fence();
    store_shared(flag, uint32_t(last));
  }
  block_barrier();
  return load_shared(flag) != 0;
}

/// Gathers the parts of a sequence into at most `capacity` results, one per warp; returns how many. A result takes every so-many-th part, in order.
template <class K, class P, class Column>
__device__ __forceinline__ int gather_parts(const P& p, const piece& w, const Column& column_at, warp_result<K>* results, int capacity) {
  constexpr int kQuads = K::kHeadDim / 4;
  const int used = w.parts < capacity ? w.parts : capacity, lane = lane_index(), warp = warp_index(), channel = lane % kQuads * 4;
  if (warp >= used) return used;
  warp_result<K>& r = results[warp];
  const auto mine = column_at(lane % K::kColumns);
  const int place = mine.valid ? mine.row * p.q_heads + mine.head : -1;  // of the lane's column in a part
#pragma unroll 1
  for (int base = 0; base < K::kColumns; base += 4) {
    int at[4];
    float maximum[4], weight[4] = {}, sum[4][4] = {};
#pragma unroll
    for (int c = 0; c < 4; ++c) maximum[c] = minus_infinity(), at[c] = shuffle(place, base + c);
#pragma unroll 1
    for (int part = warp; part < w.parts; part += used) {
      const int64_t from = int64_t(w.first + part) * p.rows * p.q_heads;
      float lse[4];
      bytes16 o[4];
#pragma unroll
      for (int c = 0; c < 4; ++c) {  // all of them under way together
        lse[c] = minus_infinity(), o[c] = {};
        if (at[c] >= 0) {
          lse[c] = load_global_coherent(p.partial_lse + from + at[c]);
          o[c] = load_global_coherent(reinterpret_cast<const bytes16*>(p.partial_o + (from + at[c]) * K::kHeadDim + channel));
        }
      }
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const float top = fmaxf(maximum[c], lse[c] * kLog2e), zero = top == minus_infinity() ? 0.0f : top;  // not -inf - -inf
        const float shrink = exp2_fast(maximum[c] - zero), factor = exp2_fast(lse[c] * kLog2e - zero);
        maximum[c] = top;
        weight[c] = weight[c] * shrink + factor;
#pragma unroll
        for (int j = 0; j < 4; ++j) sum[c][j] = sum[c][j] * shrink + factor * float_of_bits(o[c].w[j]);
      }
    }
    if (lane >= kQuads) continue;
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      store_shared(reinterpret_cast<bytes16*>(r.o + (base + c) * warp_result<K>::kStride + channel),
                   bytes16{{float_bits(sum[c][0]), float_bits(sum[c][1]), float_bits(sum[c][2]), float_bits(sum[c][3])}});
      if (lane == 0) {
        store_shared(r.maximum + base + c, maximum[c]);
        store_shared(r.weight + base + c, weight[c]);
      }
    }
  }
  return used;
}

/// Writes -inf where the ring holds no token of the sequence: what the buffer held before would come out of combine as attention mass.
template <class K, class P, class Column>
__device__ __forceinline__ void clear_ring_scores(const P& p, const decode_view& s, const Column& column_at) {
  const int held = p.segments & 4 ? s.kv_len - s.coded_len : 0;
  for (int i = thread_index(); i < K::kColumns * p.ring_rows; i += K::kWarps * 32) {
    const int row = i % p.ring_rows, after_coded = (row - s.coded_len % p.ring_rows + p.ring_rows) % p.ring_rows;
    const auto c = column_at(i / p.ring_rows);
    if (c.valid && after_coded >= held) store_global(p.ring_scores + (int64_t(c.row) * p.q_heads + c.head) * p.ring_rows + row, minus_infinity());
  }
}

/// Merges `count` results (1 to 32, in shared memory; they are used up), and with `counters` the parts of the other CTAs if this one is the last, and
/// writes what the piece owes. `flag`: a word of shared memory beside them. All threads, after a block barrier.
template <class K, class P, class Column>
__device__ __forceinline__ void finish_piece(const P& p, const piece& w, const decode_view& s, const Column& column_at, warp_result<K>* results, int count, uint32_t* flag) {
  if (p.ring_scores && w.from == 0) clear_ring_scores<K>(p, s, column_at);
  // Without counters combine follows, and reads the part even of a sequence that one CTA had to itself.
  bool whole = p.splits == 1 || (p.counters && w.parts == 1);
  for (int have = count;;) {
    write_results<K>(p, column_at, results, have, whole);
    if (whole || !p.counters || !arrive_last(p, w, flag)) break;
    have = gather_parts<K>(p, w, column_at, results, count);
    whole = true;
    block_barrier();
  }
}

// Attention over exact rows, anchors and ring, without shared memory: rows go from global memory straight to the matrix unit's registers.
// Channels are permuted so that a lane's 16 bytes are its fragments: q . k does not care, and the output's place says which channel it is.
// Most warps come here for one unit or none: what runs once costs its instructions' way from memory, so there are few.

/// Unit number `unit` of a sequence's exact rows, anchors first, then the ring. Row n lies in row (start + n) mod `wrap` of k and v; of a ring that
/// holds fewer tokens the first stands for those it lacks, whose memory was perhaps never written.
struct exact_unit {
  const unsigned char *k, *v;
  int64_t stride;
  int start, wrap, rows;

  __device__ __forceinline__ int row(int n) const {
    const int row = start + (n < rows ? n : 0);
    return row < wrap ? row : row - wrap;
  }
  __device__ __forceinline__ int64_t offset(int n) const { return row(n) * stride; }
};
template <class K, class P>
__device__ __forceinline__ exact_unit exact_unit_of(const P& p, const decode_view& s, int kv_head, int unit) {
  if (unit < s.anchor_units) {
    const unsigned char* page = anchor_block(p, load_global(s.anchors + unit), kv_head);
    return {page, page + 32 * K::kHeadDim, 2 * K::kHeadDim, 0, 16, 16};
  }
  const int token = s.coded_len + (unit - s.anchor_units) * 16;
  const int64_t at = s.slot * p.ring_slot_stride + kv_head * p.ring_head_stride;
  return {byte_pointer(p.ring_k) + at, byte_pointer(p.ring_v) + at, p.ring_row_stride, int(uint32_t(token) % uint32_t(p.ring_rows)), p.ring_rows, s.kv_len - token};
}

/// The first unit of this warp and the end of the piece's; the warps take turns, the last first: coded tiles begin with the first.
template <class K>
__device__ __forceinline__ int first_exact(const piece& w, const decode_view& s, int& end) {
  int begin;
  cut(w, s.units - s.coded_units, begin, end);
  return begin + K::kWarps - 1 - warp_index();
}

/// Asks for the lines of this warp's first unit.
template <class K, class P>
__device__ __forceinline__ void prefetch_exact(const P& p, const piece& w, const decode_view& s, int kv_head) {
  int end;
  const int unit = first_exact<K>(w, s, end);
  if (unit >= end) return;
  // A lane asks for half a row of K or of V.
  const exact_unit u = exact_unit_of<K>(p, s, kv_head, unit);
  const int64_t at = u.offset(lane_index() / 2) + lane_index() % 2 * K::kHeadDim;
  prefetch_global(u.k + at);
  prefetch_global(u.v + at);
}

/// Attends to this warp's share of the piece's exact rows and leaves the result, nothing seen included, in `result`.
/// `column_at(c)`: column c, and what it may see.
template <class K, class P, class ColumnAt>
__device__ __forceinline__ void attend_exact(const P& p, const piece& w, const decode_view& s, int kv_head, warp_result<K>& result, const ColumnAt& column_at) {
  constexpr int kPieces = K::kHeadDim / 32;   // 16-byte pieces of a row that a lane reads of K
  constexpr int kSpans = K::kHeadDim / 64;    // ... and of V
  constexpr int kStride = warp_result<K>::kStride;
  const int g = lane_index() / 4, t = lane_index() % 4;
  int end;
  const int first = first_exact<K>(w, s, end);
  if (first >= end) {
#pragma unroll 1
    for (int i = lane_index() * 4; i < K::kColumns * kStride; i += 128) store_shared(reinterpret_cast<bytes16*>(result.o + i), bytes16{});
    if (lane_index() < K::kColumns) {
      store_shared(result.maximum + lane_index(), minus_infinity());
      store_shared(result.weight + lane_index(), 0.0f);
    }
    warp_barrier();  // the coded tokens' results are added next, by other lanes
    return;
  }

  // Tokens before `open` a column sees. This lane's column g gives the query, and columns 2t and 2t + 1 are those of its scores.
  const column own = column_at(g);
  const unsigned char* query = byte_pointer(p.q) + own.row * p.q_row_stride + own.head * p.q_head_stride + t * 16;
  const int own_open = own.valid && own.position >= s.first_pos ? own.position - s.first_pos + 1 : 0;
  const int open[2] = {shuffle(own_open, 8 * t), shuffle(own_open, 8 * t + 4)};

  // The sums stay in the result between units: registers are for rows on their way, K's and V's together.
  float* const sums = result.o + 2 * t * kStride + g * 8;
  float maximum[2] = {minus_infinity(), minus_infinity()}, weight[2] = {};
#pragma unroll 1
  for (int unit = first; unit < end; unit += K::kWarps) {
    const exact_unit rows = exact_unit_of<K>(p, s, kv_head, unit);
    bytes16 k[2][kPieces], v[4][kSpans];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const bytes16* row = reinterpret_cast<const bytes16*>(rows.k + rows.offset(g + 8 * half)) + t;
#pragma unroll
      for (int i = 0; i < kPieces; ++i) k[half][i] = load_global_once(row + i * 4);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const bytes16* row = reinterpret_cast<const bytes16*>(rows.v + rows.offset(2 * t + i % 2 + i / 2 * 8)) + g;
#pragma unroll
      for (int span = 0; span < kSpans; ++span) v[i][span] = load_global_once(row + span * 8);
    }
    int token[2];                   // of rows g and g + 8; -1: none
    uint32_t used[2] = {~0u, ~0u};  // bit 4 n: there is row n, or n + 8
    if (unit < s.anchor_units) {
      const int32_t* tokens = reinterpret_cast<const int32_t*>(rows.k + 64 * K::kHeadDim) + g;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        token[half] = load_global(tokens + 8 * half);
        if (!is_anchor(token[half], unit, s.coded_len, s.frozen_pages, s.frozen_len)) token[half] = -1;
      }
      used[0] = vote_ballot(token[0] >= 0), used[1] = vote_ballot(token[1] >= 0);
    } else {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int n = g + 8 * half;
        token[half] = n < rows.rows ? s.coded_len + (unit - s.anchor_units) * 16 + n : -1;
      }
    }

    float score[4] = {};
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      const bytes16 q = load_global(reinterpret_cast<const bytes16*>(query) + i * 4);  // of an idle column another's, which no one looks at
#pragma unroll
      for (int h = 0; h < 4; h += 2) mma_16x8x16(score, {k[0][i].w[h], k[1][i].w[h], k[0][i].w[h + 1], k[1][i].w[h + 1]}, {q.w[h], q.w[h + 1]});
    }

    bool seen[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) seen[i] = uint32_t(token[i / 2]) < uint32_t(open[i % 2]);
    if (p.tree_mask) {  // new rows obey it instead of their position
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const uint32_t tree = shuffle(own.valid ? own.new_rows : 0, 8 * t + 4 * c);
#pragma unroll
        for (int i = c; i < 4; i += 2)
          if (token[i / 2] >= 0 && token[i / 2] >= s.first_new) seen[i] = tree >> (token[i / 2] - s.first_new) & 1;
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) score[i] = seen[i] ? score[i] * p.scale : minus_infinity();
    if (p.ring_scores && unit >= s.anchor_units) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const int place = shuffle(own.valid ? own.row * p.q_heads + own.head : -1, 8 * t + 4 * c);
#pragma unroll
        for (int i = c; i < 4; i += 2)
          if (place >= 0 && token[i / 2] >= 0) store_global(p.ring_scores + int64_t(place) * p.ring_rows + rows.row(g + i / 2 * 8), score[i]);
      }
    }

    float shrink[2];
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      float top = fmaxf(maximum[c], fmaxf(score[c], score[c + 2]) * kLog2e);
#pragma unroll
      for (int mask = 4; mask < 32; mask *= 2) top = fmaxf(top, shuffle_xor(top, mask));
      const float zero = top == minus_infinity() ? 0.0f : top;  // not -inf - -inf
      shrink[c] = exp2_fast(maximum[c] - zero);
      maximum[c] = top;
#pragma unroll
      for (int i = c; i < 4; i += 2) score[i] = exp2_fast(score[i] * kLog2e - zero);
      weight[c] = weight[c] * shrink[c] + (score[c] + score[c + 2]);
    }
          if ((used[0] & used[1]) != ~0u) {  // never written perhaps: 0 * NaN is NaN
#pragma unroll
            for (int i = 0; i < 4; ++i)
              if (!(used[i / 2] >> (8 * t + i % 2 * 4) & 1)) {
#pragma unroll
                for (int span = 0; span < kSpans; ++span) v[i][span] = {};
              }
          }
    const uint32_t b[2] = {transpose_matrix(pack_halves(score[0], score[1])), transpose_matrix(pack_halves(score[2], score[3]))};
#pragma unroll
    for (int span = 0; span < kSpans; ++span) {
      float o[4][4] = {};  // tile h: rows g and g + 8 are channels 64 * span + 8 g + 2 h and the next; columns 2t, 2t + 1
#pragma unroll
      for (int h = 0; h < 4; ++h)
        mma_16x8x16(o[h], {permute_bytes(v[0][span].w[h], v[1][span].w[h], 0x5410), permute_bytes(v[0][span].w[h], v[1][span].w[h], 0x7632),
                           permute_bytes(v[2][span].w[h], v[3][span].w[h], 0x5410), permute_bytes(v[2][span].w[h], v[3][span].w[h], 0x7632)}, b);
      if (2 * t >= K::kColumns) continue;
#pragma unroll
      for (int c = 0; c < 2; ++c)
#pragma unroll
        for (int h = 0; h < 4; h += 2) {
          bytes16* at = reinterpret_cast<bytes16*>(sums + c * kStride + span * 64 + h * 2);
          float sum[4] = {o[h][c], o[h][c + 2], o[h + 1][c], o[h + 1][c + 2]};
          if (unit > first) {
            const bytes16 before = load_shared(at);
#pragma unroll
            for (int i = 0; i < 4; ++i) sum[i] += float_of_bits(before.w[i]) * shrink[c];
          }
          store_shared(at, bytes16{{float_bits(sum[0]), float_bits(sum[1]), float_bits(sum[2]), float_bits(sum[3])}});
        }
    }
  }

#pragma unroll
  for (int c = 0; c < 2; ++c) {
#pragma unroll
    for (int mask = 4; mask < 32; mask *= 2) weight[c] += shuffle_xor(weight[c], mask);
    if (g == 0 && 2 * t < K::kColumns) {
      store_shared(result.maximum + 2 * t + c, maximum[c]);
      store_shared(result.weight + 2 * t + c, weight[c]);
    }
  }
  warp_barrier();
}

// Values by look-up: int8 centroids in shared memory, so laid out that the 32 lanes of a look-up never meet in a bank, and the
// words they bring are transposed in registers to the matrix unit's fragments. Lane = 4r + t: r owns channels, t owns tokens.

__device__ __forceinline__ int min_int(int a, int b) { return a < b ? a : b; }

// Constant memory can be an operand where an immediate cannot, and registers are scarce in the loop.
__constant__ uint32_t kByteTimes128[4] = {0x80u, 0x8000u, 0x800000u, 0x80000000u};
/// 128 times byte `i` of `word`, plus c: the place of an entry in a table with rows of 128 bytes, in one instruction.
__device__ __forceinline__ uint32_t row_of_byte(uint32_t word, int i, uint32_t c) { return dot_bytes(word, kByteTimes128[i], c); }

/// The table. A row of 128 bytes holds, for one entry, a few chunks kCopies times: lane t reads copy t % kCopies, lane r its own chunk.
/// With 4 copies every bank serves one lane; with fewer, 2 or 4 lanes share one and their entries differ.
template <class K>
struct value_table {
  using C = typename K::Value;
  static_assert(C::kQ8 && C::kBits == 8, "generator/tile.ts let another value codec through");
  static constexpr int kCopies = K::kCopies;
  /// Bytes of a slot: one entry, or the entries of two chunks side by side where one alone would be half a word.
  static constexpr int kSlotBytes = C::kChannels < 4 ? 4 : C::kChannels;
  static constexpr bool kPairs = C::kChannels == 2;
  static constexpr int kChunks = K::kHeadDim / C::kChannels;
  static constexpr int kSlots = 32 / kSlotBytes;                  // that 4 copies leave room for in a row
  static constexpr int kPerLane = K::kHeadDim / 8 / kSlotBytes;   // slots that a lane reads per token
  static constexpr int kGroupsPerRow = 4 / kCopies;               // groups of kSlots slots that a row has room for
  static constexpr int kWords = kSlotBytes / 4;
  static constexpr int kCodeWords = kChunks / 8;                  // 32-bit words of codes of a lane and unit: kChunks / 2 bytes
  static constexpr int kRow = 128, kSlice = 256 * kRow;
  static constexpr int kTableBytes = (K::kHeadDim / 32 + kGroupsPerRow - 1) / kGroupsPerRow * kSlice;

  /// Where group `g` of slots begins in a row, and in which slice of 32 KB.
  static __device__ __forceinline__ constexpr int group_offset(int g) {
    return g / kGroupsPerRow * kSlice + g % kGroupsPerRow * kSlots * kCopies * kSlotBytes;
  }
  /// The byte, from the table's begin, that lane 4r + t adds 128 * code to.
  static __device__ __forceinline__ int lane_offset(int r, int t) {
    return group_offset(r / kSlots * kPerLane) + (r % kSlots * kCopies + t % kCopies) * kSlotBytes;
  }
  /// The channel in half `j` of matrix tile `m` that lane row r owns.
  static __device__ __forceinline__ int channel(int r, int m, int j) {
    const int slot = m / 2 / kWords, word = m / 2 % kWords, k = m % 2;
    if constexpr (kPairs) return ((2 * slot + k) * 8 + r) * 2 + j;
    return ((r / kSlots * kPerLane + slot) * kSlots + r % kSlots) * C::kChannels + 4 * word + 2 * k + j;
  }

  // A task is 32 bytes, one sector, of the codebook: some entries of one slot.
  static constexpr int kEntries = 32 / kSlotBytes, kLines = 256 / kEntries, kTasks = K::kHeadDim * 256 / 32;
  static constexpr int kThreads = K::kWarps * 32, kTurns = (kTasks + kThreads - 1) / kThreads;
  struct raw_entries {
    bytes16 piece[kTurns][2];
  };

  /// Starts loading the codebook of one KV head, all threads of the CTA.
  static __device__ __forceinline__ void load(raw_entries& raw, const unsigned char* codebook) {
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const int task = min_int(thread_index() + turn * kThreads, kTasks - 1);
      const int slot = task % kSlots, entry = task / kSlots % kLines * kEntries, group = task / (kSlots * kLines);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int chunk = kPairs ? (2 * group + half) * 8 + slot : group * kSlots + slot;
        raw.piece[turn][half] = load_global(reinterpret_cast<const bytes16*>(codebook + (chunk * 256 + entry) * C::kChannels) + (kPairs ? 0 : half));
      }
    }
  }
  /// Lays the table out, all threads.
  static __device__ __forceinline__ void store(unsigned char* table, const raw_entries& raw) {
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const int task = thread_index() + turn * kThreads;
      if (task >= kTasks) break;
      const int slot = task % kSlots, line = task / kSlots, entry = line % kLines * kEntries, group = task / (kSlots * kLines);
      unsigned char* to = table + group_offset(group) + entry * kRow + slot * kCopies * kSlotBytes;
#pragma unroll
      for (int e = 0; e < kEntries; ++e) {
        uint32_t words[kWords];
        if constexpr (kPairs) {
          words[0] = permute_bytes(raw.piece[turn][0].w[e / 2], raw.piece[turn][1].w[e / 2], e % 2 ? 0x7632 : 0x5410);
        } else {
#pragma unroll
          for (int i = 0; i < kWords; ++i) words[i] = raw.piece[turn][(e * kWords + i) / 4].w[(e * kWords + i) % 4];
        }
        store_copies(to + e * kRow, words, line);
      }
    }
  }

  /// Stores an entry kCopies times, side by side. Lanes that share banks begin at different pieces.
  static __device__ __forceinline__ void store_copies(unsigned char* to, const uint32_t (&words)[kWords], int line) {
    constexpr int kBytes = kCopies * kSlotBytes;
    if constexpr (kBytes == 4) {
      store_shared(reinterpret_cast<uint32_t*>(to), words[0]);
    } else if constexpr (kBytes == 8) {
      store_shared(reinterpret_cast<bytes8*>(to), bytes8{{words[0], words[1 % kWords]}});
    } else if constexpr (kWords == 4) {
      const bytes16 entry = {{words[0], words[1 % kWords], words[2 % kWords], words[3 % kWords]}};
#pragma unroll
      for (int piece = 0; piece < kBytes / 16; ++piece) store_shared(reinterpret_cast<bytes16*>(to) + (piece + line) % (kBytes / 16), entry);
    } else {
      const bytes16 entries = {{words[0], words[1 % kWords], words[0], words[1 % kWords]}};
#pragma unroll
      for (int piece = 0; piece < kBytes / 16; ++piece) store_shared(reinterpret_cast<bytes16*>(to) + (piece + line) % (kBytes / 16), entries);
    }
  }
};

/// Four tokens x four channels of bytes, transposed: word i comes back as channel i of the four tokens.
__device__ __forceinline__ void transpose_bytes(uint32_t (&x)[4]) {
  const uint32_t even01 = permute_bytes(x[0], x[1], 0x5140), even23 = permute_bytes(x[2], x[3], 0x5140);
  const uint32_t odd01 = permute_bytes(x[0], x[1], 0x7362), odd23 = permute_bytes(x[2], x[3], 0x7362);
  x[0] = permute_bytes(even01, even23, 0x5410);
  x[1] = permute_bytes(even01, even23, 0x7632);
  x[2] = permute_bytes(odd01, odd23, 0x5410);
  x[3] = permute_bytes(odd01, odd23, 0x7632);
}

/// sums[set][tile] += values^T . weights for one tile of two units. `weights[set][unit]` holds the bytes of tokens
/// 2t, 2t + 1, 8 + 2t, 9 + 2t of column g; `lane_address` is the shared address that lane_offset leads to.
template <class K, int kSets>
__device__ __forceinline__ void accumulate_values(int (&sums)[kSets][K::kHeadDim / 16][4], uint32_t lane_address,
                                                  const uint32_t (&codes)[2][value_table<K>::kCodeWords], const uint32_t (&weights)[kSets][2]) {
  using T = value_table<K>;
#pragma unroll
  for (int slot = 0; slot < T::kPerLane; ++slot) {
    uint32_t words[2][T::kWords][4];  // [unit][word of the slot][token]
#pragma unroll
    for (int unit = 0; unit < 2; ++unit)
#pragma unroll
      for (int token = 0; token < 4; ++token) {
        const auto at = [&](int byte) { return row_of_byte(codes[unit][byte / 4], byte % 4, lane_address) + T::group_offset(slot); };
        if constexpr (T::kPairs) {
          const int byte = token * T::kPerLane * 2 + slot * 2;
          const uint32_t low = load_table_u16(at(byte)), high = load_table_u16(at(byte + 1) + 2);
          words[unit][0][token] = permute_bytes(low, high, 0x5410);
        } else if constexpr (T::kWords == 1) {
          words[unit][0][token] = load_table_u32(at(token * T::kPerLane + slot));
        } else if constexpr (T::kWords == 2) {
          const bytes8 entry = load_table_8(at(token * T::kPerLane + slot));
          words[unit][0][token] = entry.w[0], words[unit][T::kWords - 1][token] = entry.w[1];
        } else {
          const bytes16 entry = load_table_16(at(token * T::kPerLane + slot));
#pragma unroll
          for (int i = 0; i < T::kWords; ++i) words[unit][i][token] = entry.w[i];
        }
      }
#pragma unroll
    for (int word = 0; word < T::kWords; ++word) {
      transpose_bytes(words[0][word]);
      transpose_bytes(words[1][word]);
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        const uint32_t a[4] = {words[0][word][2 * k], words[0][word][2 * k + 1], words[1][word][2 * k], words[1][word][2 * k + 1]};
#pragma unroll
        for (int set = 0; set < kSets; ++set) mma_16x8x32_s8u8(sums[set][(slot * T::kWords + word) * 2 + k], a, weights[set]);
      }
    }
  }
}

// Scores by look-up sums (ADC): a table of q . centroid per chunk and entry, so that a score is the sum of one look-up per chunk.
// Entries are unsigned 14-bit fixed point in 16 bits: four add up in plain integer instructions, two columns to a word, and the matrix
// unit adds the rest, a look-up's bytes being its B fragment and A picking columns and bytes. Sums are exact. Tokens are columns of B.

template <class K>
struct sum_keys {
  using C = typename K::Key;
  static constexpr int kColumns = K::kColumns;
  static constexpr int kChunks = K::kHeadDim / C::kChannels, kPerLane = kChunks / 4;  // look-ups of a lane per token
  static constexpr int kEntryBytes = 2 * kColumns, kSlots = 128 / kEntryBytes;        // chunks in a row of 128 bytes
  static constexpr int kCopies = kChunks < kSlots ? kSlots / kChunks : 1;
  static constexpr int kRow = 128, kSlice = 256 * kRow;
  static constexpr int kTableBytes = (kChunks + kSlots - 1) / kSlots * kSlice;
  static constexpr int kCodeWords = kChunks / 8;
  static constexpr bool kFour = kColumns == 4;
  static constexpr int kBlocks = kFour ? 2 : 1;  // of 8 tokens that share a product: the rows of 4 columns hold two
  static constexpr int kScores = 8 / kBlocks, kLaneColumns = 1;
  static constexpr int kAtOnce = kPerLane < 4 ? kPerLane : 4;    // look-ups added before the matrix unit adds
  static constexpr bool kTablePerPiece = true;
  static constexpr int kWarpBytes = 0;      // of shared memory beside the table
  static constexpr int kMiddle = 8191;      // what a dot product of 0 is in the table: entries are 0 ... 16382
  static constexpr int kMaximaBytes = K::kWarps * kColumns * 4;

  uint32_t address[kAtOnce];           // of the lane's look-ups, of code 0
  // A fragments: rows 0 ... 7 pick the low bytes of the columns, rows 8 ... 15 the high ones. Of 4 columns, rows 0 ... 3 (8 ... 11) are
  // one block's, the others the next block's: [block]. Of 8 columns: [quad of columns].
  uint32_t pick[2][4];
  float step, shift;                   // score = sum * step + shift, log2 units, in lanes of that column

  /// Column of score `i`, token of score `i` in the tile of 32.
  static __device__ __forceinline__ int column(int) { return lane_index() / 4 % kColumns; }
  static __device__ __forceinline__ int token(int i) { return (i / 2 * kBlocks + (kFour ? lane_index() / 16 : 0)) * 8 + lane_index() % 4 * 2 + i % 2; }

  /// Builds the table from this CTA's query columns, all threads; `columns(c)` is column c's row of q, null if it is idle. `maxima`: kMaximaBytes of
  /// shared memory, which holds each warp's largest |q . centroid| per column until the next call.
  template <class P, class F>
  static __device__ __forceinline__ void fill(const P& p, unsigned char* table, const unsigned char* codebook, const F& columns, float* maxima) {
    constexpr int kEntries = C::kChannels <= 16 ? 16 / C::kChannels : 1;  // of a task: 32 bytes, one sector, of the codebook
    constexpr int kThreads = K::kWarps * 32, kWords = C::kChannels / 2, kLines = 256 / kEntries, kStride = kThreads / kChunks;
    constexpr int kTurns = (kLines + kStride - 1) / kStride;
    constexpr bool kHold = kTurns * kEntries * kColumns <= 64;  // all of a thread's dot products in registers: else they are computed again
    static_assert(kThreads % kChunks == 0, "a thread keeps its chunk");
    const int warp = warp_index(), chunk = thread_index() % kChunks, first = thread_index() / kChunks;
    uint32_t q[kColumns][kWords];
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      const unsigned char* row = columns(c);
#pragma unroll
      for (int i = 0; i < kWords; ++i) q[c][i] = row ? load_global(reinterpret_cast<const uint32_t*>(row) + chunk * kWords + i) : 0;
    }
    const auto load_line = [&](uint32_t (&words)[kEntries * kWords], int line) {
      const bytes16* from = reinterpret_cast<const bytes16*>(codebook + (chunk * 256 + line * kEntries) * C::kChannels * 2);
#pragma unroll
      for (int i = 0; i < kEntries * kWords / 4; ++i) {
        const bytes16 piece = load_global(from + i);
#pragma unroll
        for (int j = 0; j < 4; ++j) words[4 * i + j] = piece.w[j];
      }
    };
    const auto multiply = [&](float (&dot)[kEntries][kColumns], const uint32_t (&words)[kEntries * kWords]) {
#pragma unroll
      for (int e = 0; e < kEntries; ++e) {
#pragma unroll
        for (int c = 0; c < kColumns; ++c) dot[e][c] = 0;
#pragma unroll
        for (int i = 0; i < kWords; ++i) {
          const float x = to_float(f16{uint16_t(words[e * kWords + i])}), y = to_float(f16{uint16_t(words[e * kWords + i] >> 16)});
#pragma unroll
          for (int c = 0; c < kColumns; ++c)
            dot[e][c] = fused_multiply_add(y, to_float(f16{uint16_t(q[c][i] >> 16)}), fused_multiply_add(x, to_float(f16{uint16_t(q[c][i])}), dot[e][c]));
        }
      }
    };

    float held[kHold ? kTurns : 1][kEntries][kColumns], most[kColumns] = {};
    constexpr int kAhead = kTurns < 2 ? kTurns : 2;  // lines whose loads are under way together
#pragma unroll
    for (int group = 0; group < kTurns; group += kAhead) {
      uint32_t words[kAhead][kEntries * kWords];
#pragma unroll
      for (int i = 0; i < kAhead; ++i) load_line(words[i], min_int(first + (group + i) * kStride, kLines - 1));
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        if (group + i >= kTurns) break;
        float(&dot)[kEntries][kColumns] = held[kHold ? group + i : 0];
        multiply(dot, words[i]);
#pragma unroll
        for (int e = 0; e < kEntries; ++e)
#pragma unroll
          for (int c = 0; c < kColumns; ++c) most[c] = fmaxf(most[c], fabsf(dot[e][c]));
      }
    }
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
#pragma unroll
      for (int mask = 1; mask < 32; mask *= 2) most[c] = fmaxf(most[c], shuffle_xor(most[c], mask));
      if (lane_index() == 0) store_shared(maxima + warp * kColumns + c, most[c]);
    }
    block_barrier();
    float steps[kColumns];  // to the unit
#pragma unroll
    for (int c = 0; c < kColumns; ++c) steps[c] = kMiddle / largest(maxima, c);
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const int line = first + turn * kStride;
      if (line >= kLines) break;
      if constexpr (!kHold) {
        uint32_t words[kEntries * kWords];
        load_line(words, line);
        multiply(held[0], words);
      }
#pragma unroll
      for (int e = 0; e < kEntries; ++e) {
        uint32_t packed[kColumns / 2];
#pragma unroll
        for (int c = 0; c < kColumns; c += 2) {
          // 2^23 + x, rounded to a whole number, has x in its low bits.
          const float* dot = held[kHold ? turn : 0][e];
          const uint32_t low = float_bits(fused_multiply_add(dot[c], steps[c], 8388608.0f + kMiddle));
          const uint32_t high = float_bits(fused_multiply_add(dot[c + 1], steps[c + 1], 8388608.0f + kMiddle));
          packed[c / 2] = permute_bytes(low, high, 0x5410);
        }
        unsigned char* to = table + chunk / kSlots * kSlice + (line * kEntries + e) * kRow + chunk % kSlots * kEntryBytes;
#pragma unroll
        for (int copy = 0; copy < kCopies; ++copy) {
          if constexpr (kColumns == 4) store_shared(reinterpret_cast<bytes8*>(to + copy * kChunks * kEntryBytes), bytes8{{packed[0], packed[1]}});
          else store_shared(reinterpret_cast<bytes16*>(to + copy * kChunks * kEntryBytes), bytes16{{packed[0], packed[1], packed[kColumns / 2 - 2], packed[kColumns / 2 - 1]}});
        }
      }
    }
  }
  /// The largest |q . centroid| of a column, never 0.
  static __device__ __forceinline__ float largest(const float* maxima, int column) {
    float most = 1e-30f;
#pragma unroll
    for (int w = 0; w < K::kWarps; ++w) most = fmaxf(most, load_shared(maxima + w * kColumns + column));
    return most;
  }

  template <class P, class F>
  __device__ __forceinline__ void begin(const P& p, const unsigned char* table, const F&, const float*, const float* maxima, unsigned char*) {
    const uint32_t zero = uint32_t(p.batch) >> 31;
    const int r = lane_index() / 4, t = lane_index() % 4;
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int chunk = 4 * (i ^ int(key_turn<C>(r))) + t;
      address[i] = opaque(shared_address(table) + chunk / kSlots * kSlice + chunk % kSlots * kEntryBytes + (kCopies > 1 ? r / 2 % kCopies * kChunks * kEntryBytes : 0), zero);
    }
    // k = 4 t + byte of lane t's look-up: byte 0 and 1 of a word are one column, 2 and 3 the next.
    const int mine = column(0);
#pragma unroll
    for (int part = 0; part < 2; ++part)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int at = kFour ? (r / 4 == part ? mine - i / 2 * 2 : -1) : mine - 4 * part - i / 2 * 2;  // of the two columns in the word
        pick[part][i] = opaque(at == 0 ? (i % 2 ? 0x100u : 1u) : at == 1 ? (i % 2 ? 0x1000000u : 0x10000u) : 0u, zero);
      }
    step = float_of_bits(opaque(float_bits(largest(maxima, mine) / kMiddle * p.scale * kLog2e), zero));
    shift = float_of_bits(opaque(float_bits(-step * float(kChunks * kMiddle)), zero));
  }

  // Gains of a unit, as loaded: tokens 2t, 8 + 2t, 2t + 1, 9 + 2t, two halves to a word.
  static constexpr int kGainWords = 2;
  static __device__ __forceinline__ void load_gains(uint32_t (&words)[2], const unsigned char* gains) {
    const bytes8 four = load_global_once(reinterpret_cast<const bytes8*>(gains) + lane_index() % 4);
    words[0] = four.w[0], words[1] = four.w[1];
  }

  /// Scores of a tile, in log2 units, `bias` added.
  __device__ __forceinline__ void scores(float (&s)[kScores], const uint32_t (&codes)[2][kCodeWords],
                                         const uint32_t (&gains)[2][kGainWords], const float (&bias)[1]) const {
    const float shifted = shift + bias[0];
#pragma unroll
    for (int pair = 0; pair < 4 / kBlocks; ++pair) {
      int d[4] = {};
#pragma unroll
      for (int half = 0; half < kBlocks; ++half) {
        const int block = pair * kBlocks + half, unit = block / 2, v = block % 2;
#pragma unroll
        for (int i = 0; i < kPerLane; i += kAtOnce) {
          uint32_t found[kAtOnce][kColumns / 2];
#pragma unroll
          for (int j = 0; j < kAtOnce; ++j) {
            const int byte = v * kPerLane + i + j;
            const uint32_t at = row_of_byte(codes[unit][byte / 4], byte % 4, address[j]) + i / 4 * (16 / kSlots) * kSlice;
            if constexpr (kFour) {
              const bytes8 entry = load_table_8(at);
              found[j][0] = entry.w[0], found[j][1] = entry.w[1];
            } else {
              const bytes16 entry = load_table_16(at);
#pragma unroll
              for (int c = 0; c < kColumns / 2; ++c) found[j][c] = entry.w[c];
            }
          }
#pragma unroll
          for (int c = 0; c < kColumns / 2; ++c) {
            uint32_t sum = found[0][c] + found[1][c];  // of 4 at most: below 2^16, no carry into the other column
            if constexpr (kAtOnce == 4) sum = sum + found[kAtOnce - 2][c] + found[kAtOnce - 1][c];
            found[0][c] = sum;
          }
#pragma unroll
          for (int quad = 0; quad < kColumns / 4; ++quad) {
            mma_16x8x32_s8u8(d, pick[kFour ? half : quad], {found[0][2 * quad], found[0][2 * quad + 1]});
          }
        }
      }
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const float sum = float(d[2 + j] * 256 + d[j]);
        float& score = s[2 * pair + j];
        if constexpr (!K::kKeyGain) {
          score = fused_multiply_add(sum, step, shifted);
        } else {
          // Gains lie as tokens (2t, 8 + 2t), (2t + 1, 9 + 2t) of a unit.
          const uint32_t two = gains[kFour ? pair : pair / 2][j];
          const float gain = to_float(f16{uint16_t(kFour ? (lane_index() / 16 ? two >> 16 : two) : pair % 2 ? two >> 16 : two)});
          score = fused_multiply_add(fused_multiply_add(sum, step, shift), gain, bias[0]);
        }
      }
    }
  }

  /// The value that `mine` has in the lanes of the columns whose value sums this lane holds: column t, or 2t and 2t + 1.
  static __device__ __forceinline__ void to_value_lanes(float (&theirs)[kColumns / 4], const float (&mine)[1]) {
    const int t = lane_index() % 4;
#pragma unroll
    for (int c = 0; c < kColumns / 4; ++c) theirs[c] = shuffle(mine[0], kFour ? 4 * t : 8 * t + 4 * c);
  }
  /// Lanes that share columns differ in these bits.
  static constexpr int kSharedBits = 1 | 2 | (kFour ? 16 : 0);
  static __device__ __forceinline__ bool is_writer() { return lane_index() % 4 == 0 && (!kFour || lane_index() < 16); }

  /// Weights (fixed point in the low 16 bits) to B fragments of the values' product: bytes of tokens 2t, 2t + 1, 8 + 2t, 9 + 2t of column g,
  /// where 4 columns come twice, for the high and the low bytes.
  static __device__ __forceinline__ void weights(uint32_t (&b)[kColumns / 4][2], const uint32_t (&x)[kScores], const uint32_t (&select)[2]) {
    const int from = lane_index() / 8 * 4 + lane_index() % 4;
#pragma unroll
    for (int unit = 0; unit < 2; ++unit) {
      if constexpr (kFour) {
        const uint32_t pair = permute_bytes(x[2 * unit], x[2 * unit + 1], 0x5410);
        b[0][unit] = permute_bytes(shuffle(pair, from), shuffle(pair, from + 16), select[0]);
      } else {
        const uint32_t two = permute_bytes(x[4 * unit], x[4 * unit + 1], 0x5410), more = permute_bytes(x[4 * unit + 2], x[4 * unit + 3], 0x5410);
#pragma unroll
        for (int set = 0; set < kColumns / 4; ++set) b[set][unit] = permute_bytes(two, more, select[set]);
      }
    }
  }
};

// Scores that have tokens as rows of the matrix unit's result: what turned and dotted keys have in common. Lane 4g + t holds tokens g and
// g + 8 of each unit, and column t of 4, or columns 2t and 2t + 1 of 8.

template <class K>
struct token_rows {
  static constexpr int kColumns = K::kColumns;
  static constexpr int kScores = kColumns, kLaneColumns = kColumns / 4;
  static constexpr int kSharedBits = 4 | 8 | 16;        // lanes that share columns, and hold other tokens, differ in these
  static constexpr bool kTablePerPiece = false;         // the table depends on the KV head alone
  static constexpr int kMaximaBytes = 0;

  /// Column of score `i`, token of score `i` in the tile of 32.
  static __device__ __forceinline__ int column(int i) { return kColumns == 4 ? lane_index() % 4 : lane_index() % 4 * 2 + i % 2; }
  static __device__ __forceinline__ int token(int i) { return i / kLaneColumns * 8 + lane_index() / 4; }
  static __device__ __forceinline__ bool is_writer() { return lane_index() < 4; }

  // Gains of a unit, as loaded: tokens g and g + 8.
  static constexpr int kGainWords = 1;
  static __device__ __forceinline__ void load_gains(uint32_t (&words)[1], const unsigned char* gains) {
    words[0] = load_global_once(reinterpret_cast<const uint32_t*>(gains) + lane_index() / 4);
  }
  /// The factor of score `i`: `scale` of its column, and its token's gain.
  static __device__ __forceinline__ float factor(float scale, const uint32_t (&gains)[2][kGainWords], int i) {
    if constexpr (!K::kKeyGain) return scale;
    return scale * to_float(f16{uint16_t(gains[i / (2 * kLaneColumns)][0] >> (16 * (i / kLaneColumns % 2)))});
  }

  /// The lanes that sum a column's values are those that score it.
  static __device__ __forceinline__ void to_value_lanes(float (&theirs)[kLaneColumns], const float (&mine)[kLaneColumns]) {
#pragma unroll
    for (int c = 0; c < kLaneColumns; ++c) theirs[c] = mine[c];
  }
  /// Weights (fixed point in the low 16 bits) to B fragments of the values' product, by one transpose per 8 tokens: bytes of tokens
  /// 2t, 2t + 1, 8 + 2t, 9 + 2t of column g, where 4 columns come twice, for the high and the low bytes.
  static __device__ __forceinline__ void weights(uint32_t (&b)[kColumns / 4][2], const uint32_t (&x)[kScores], const uint32_t (&select)[2]) {
#pragma unroll
    for (int unit = 0; unit < 2; ++unit) {
      uint32_t rows[2];
#pragma unroll
      for (int v = 0; v < 2; ++v) {
        const int i = (2 * unit + v) * kLaneColumns;
        rows[v] = transpose_matrix(kColumns == 4 ? permute_bytes(x[i], x[i], 0x1010) : permute_bytes(x[i], x[i + kLaneColumns - 1], 0x5410));
      }
#pragma unroll
      for (int set = 0; set < kColumns / 4; ++set) b[set][unit] = permute_bytes(rows[0], rows[1], select[set]);
    }
  }
};

// The slow way of keys coded before RoPE, for a RoPE that lookup_turn.cuh is not made for: a unit's codes become rows of f16 in shared memory.

/// Products of the queries and a unit's keys, by way of rows of f16 in the place of the table: any RoPE. The unit's first token stands at `position`.
// No part of the loop that it is called from, whose registers it would cost.
template <class K, class P>
__device__ __noinline__ void multiply_as_rows(const P& p, float* products, const uint32_t* codes, const unsigned char* row, int position) {
  using C = typename K::Key;
  constexpr int kPairs = C::kChunks / 8, kWords = C::kChannels / 2, kEntryBytes = 2 * C::kChannels;
  static_assert(K::kWarps * 16 * K::kHeadDim * 2 <= K::kKeyTableBytes, "no room for the warps' rows");
  const int lane = lane_index(), g = lane / 4, t = lane % 4, turn = int(key_turn<C>(g));
  f16* rows = reinterpret_cast<f16*>(shared_memory() + K::kValueTableBytes) + warp_index() * 16 * K::kHeadDim;
  const unsigned char* codebook = byte_pointer(p.k_codebook) + int64_t(block_index().y % p.kv_heads) * C::kCodebookBytes;
  warp_barrier();  // the unit before has been read
#pragma unroll
  for (int byte = 0; byte < 4 * kPairs; ++byte) {
    const int token = byte / (2 * kPairs) * 8 + g, chunk = 4 * (byte % (2 * kPairs) ^ turn) + t;
    const int code = codes[byte / 4] >> (8 * (byte % 4)) & 0xff;
    const uint32_t* entry = reinterpret_cast<const uint32_t*>(codebook + (chunk * 256 + code) * kEntryBytes);
#pragma unroll
    for (int w = 0; w < kWords; ++w) store_shared(reinterpret_cast<uint32_t*>(rows + token * K::kHeadDim + chunk * C::kChannels) + w, load_global(entry + w));
  }
  warp_barrier();
  rotate_rows<16, K::kHeadDim>(p, rows, K::kHeadDim, position, nullptr);
  warp_barrier();
  uint32_t queries[K::kHeadDim / 16][2];
  load_columns<K::kHeadDim>(queries, row, row != nullptr);
  float d[4] = {};
  multiply_rows<K::kHeadDim>(d, rows, K::kHeadDim, queries);
#pragma unroll
  for (int i = 0; i < 4; ++i) products[i] = d[i];
}

// Scores of keys coded before RoPE: centroids are looked up as f16 fragments and turned in registers by their place in the tile of 32
// tokens, which is the same in every tile; the tile's own position turns the queries instead. Tokens are rows of A.

template <class K>
struct turn_keys : token_rows<K> {
  using C = typename K::Key;
  static_assert(!C::kQ8 && (C::kChannels == 8 || C::kChannels == 4), "generator/tile.ts let another key codec through");
  using Rows = token_rows<K>;
  using Rows::kColumns, Rows::kScores, Rows::kLaneColumns, Rows::kGainWords;
  static constexpr int kChunks = K::kHeadDim / C::kChannels;
  static constexpr int kPairs = kChunks / 8;           // groups of 4 chunks whose partners lie kPairs groups higher
  static constexpr int kWords = C::kChannels / 2;      // of a look-up, two channels each
  static constexpr int kEntryBytes = 2 * C::kChannels, kSlots = 128 / kEntryBytes;
  static constexpr bool kSwaps = C::kChannels == 4;    // neighbours trade places in every second pair of lane rows
  static constexpr int kRow = 128, kSlice = 256 * kRow, kSlices = kChunks / kSlots;
  static constexpr int kTableBytes = kSlices * kSlice;
  static constexpr int kCodeWords = kChunks / 8;
  // Words 0 ... kFast - 1 of a lane are of pairs that are turned in registers, the rest of slow ones (see "multiply").
  static constexpr int kAll = kPairs * kWords, kFast = kAll < 8 ? kAll : kAll / 2, kSlow = kAll - kFast;
  static constexpr bool kShares = kColumns == 4 && kSlow > 0;  // lanes 4 apart turn one half each of a column's pairs
  static constexpr int kOwn = kShares ? kAll / 2 : kAll;       // words (of each half) that a lane turns
  static constexpr float kSplit = 0.1f;                        // fast pairs of frequencies up to this are split
  static constexpr float kFastest = 0.0105f;                   // of the slow pairs' frequencies: 10000^-0.5 and a little
  /// Shared memory, by warps: cosines and sines of the fast pairs at a tile's 32 places; then those of the way to a warp's next tile.
  static constexpr int kPlaceBytes = 32 * 128, kWarpBytes = (kPlaceBytes + K::kHeadDim * 4 + 16 * K::kWarps - 1) / (16 * K::kWarps) * 16;

  float q[2][2 * kOwn];                // first and second halves of the pairs that this lane turns, as they stand at this tile
  const unsigned char* row;            // where they came from, null if the column is idle
  const unsigned char* places;         // coefficients of place g of this lane's column
  uint32_t first_power[kSlow ? kSlow : 1], second_power[kSlow && kColumns == 8 ? kSlow : 1];
  uint32_t whole[kFast];               // masks of the halves whose pairs are split
  const float* steps;                  // the way's cosines
  float scale;
  uint32_t address[kSwaps ? 4 : 2];    // of the look-ups of code 0: [partner + 2 * neighbour]

  bool general;                        // another RoPE than this kernel is made for: rows are expanded and turned one by one

  /// Whether the pairs are not (i, i + d / 2) over the whole head, or the second half of them is not slow. The same in all threads; all call.
  template <class P>
  static __device__ __forceinline__ bool is_general(const P& p) {
    if (p.rope_interleaved || p.rotary_dim != K::kHeadDim) return true;
    bool fast = false;
    if constexpr (kSlow > 0)
      for (int i = K::kHeadDim / 4 + lane_index(); i < K::kHeadDim / 2; i += 32) fast = fast || !(load_global(p.inv_freq + i) <= kFastest);
    return vote_ballot(fast) != 0;
  }

  /// The chunk in slot `slot` of slice `slice`: slots differ in t, in the partner and, of 8-byte entries, in the neighbour.
  static __device__ __forceinline__ int chunk_of(int slot, int slice) {
    const int partner = slot / 4 % 2, group = kSwaps ? slice * 2 + slot / 8 : slice;
    return 4 * (partner * kPairs + group) + slot % 4;
  }

  /// Copies the codebook of one KV head from global memory, all threads.
  template <class P, class F>
  static __device__ __forceinline__ void fill(const P& p, unsigned char* table, const unsigned char* codebook, const F&, float*) {
    if (is_general(p)) return;                  // the table's place is the warps' rows
    constexpr int kEntries = 32 / kEntryBytes;  // of a task: 32 bytes, one sector, of the codebook
    for (int task = thread_index(); task < K::kHeadDim * 256 * 2 / 32; task += K::kWarps * 32) {
      const int slot = task % kSlots, line = task / kSlots % (256 / kEntries), slice = task / (kSlots * 256 / kEntries);
      const bytes16* from = reinterpret_cast<const bytes16*>(codebook + (chunk_of(slot, slice) * 256 + line * kEntries) * kEntryBytes);
      const bytes16 raw[2] = {load_global(from), load_global(from + 1)};
      unsigned char* to = table + slice * kSlice + line * kEntries * kRow + slot * kEntryBytes;
#pragma unroll
      for (int e = 0; e < kEntries; ++e) {
        if constexpr (kEntryBytes == 16) store_shared(reinterpret_cast<bytes16*>(to + e * kRow), raw[e % 2]);
        else store_shared(reinterpret_cast<bytes8*>(to + e * kRow), bytes8{{raw[e / 2].w[e % 2 * 2], raw[e / 2].w[e % 2 * 2 + 1]}});
      }
    }
  }

  /// Channel of the first half of pair `e` (0, 1) in word `i` of lane column t.
  static __device__ __forceinline__ int first_channel(int i, int t, int e) { return (4 * (i / kWords) + t) * C::kChannels + 2 * (i % kWords) + e; }

  /// Where a pair's way lies: 16-byte places that lanes read together, 128 bytes apart, in different banks.
  static __device__ __forceinline__ int skewed(int pair) { return kShares ? pair ^ pair / 32 * 20 : pair; }

  /// Coefficients of places and ways, by all threads.
  template <class P>
  static __device__ __forceinline__ void fill_turns(const P& p, unsigned char* turns) {
    if (is_general(p)) return;
    static_assert(kFast == 4, "a row of 128 bytes has coefficients of 4 words of 4 columns");
    for (int i = thread_index(); i < 32 * kFast * 4; i += K::kWarps * 32) {
      const int place = i / 16, t = i / 4 % 4, w = i % 4;
      float c[2], s[2];
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const float inv_freq = load_global(p.inv_freq + first_channel(w, t, e));
        rope_angle(place < 16 ? 16 - place : place - 16, inv_freq, s[e], c[e]);
        if (place >= 16) s[e] = -s[e];
        if (inv_freq <= kSplit) c[e] -= 1;
      }
      uint32_t* to = reinterpret_cast<uint32_t*>(turns + place * 128 + place % 2 * 64) + t * 4 + w;
      store_shared(to, pack_halves(c[0], c[1]));
      store_shared(reinterpret_cast<uint32_t*>(turns + place * 128 + (1 - place % 2) * 64) + t * 4 + w, pack_halves(s[0], s[1]));
    }
    for (int i = thread_index(); i < K::kHeadDim / 2; i += K::kWarps * 32) {
      float* way = reinterpret_cast<float*>(turns + kPlaceBytes);
      float c, s;
      rope_angle(K::kWarps * 32, load_global(p.inv_freq + i), s, c);
      store_shared(way + skewed(i), c);
      store_shared(way + K::kHeadDim / 2 + skewed(i), s);
    }
  }

  /// This CTA's query columns and the rotations within a unit, which `turns` holds; `columns(c)` is column c's row of q, null if it is idle.
  template <class P, class F>
  __device__ __forceinline__ void begin(const P& p, const unsigned char* table, const F& columns, const float*, const float*, unsigned char* turns) {
    const int g = lane_index() / 4, t = lane_index() % 4;
    row = columns(kColumns == 4 ? g / 2 : g);
    general = is_general(p);
    scale = p.scale * (general ? 1.0f : p.attention_factor) * kLog2e;
    if (general) return;
    places = turns + g * 128 + t * 16;
#pragma unroll
    for (int i = 0; i < kFast; ++i) {
      const float* inv_freq = p.inv_freq + first_channel(i, t, 0);
      whole[i] = (load_global(inv_freq) <= kSplit ? 0xffffu : 0) | (load_global(inv_freq + 1) <= kSplit ? 0xffff0000u : 0);
    }
#pragma unroll
    for (int i = 0; i < kSlow; ++i) {
      const int channel = first_channel(kFast + i, t, 0);
      const float x = 16.0f * load_global(p.inv_freq + channel), y = 16.0f * load_global(p.inv_freq + channel + 1);
      // sin a = a - a^3 / 6 is (1 - x^2 / 8) a to within x^3 / 24 for |a| <= x.
      const uint32_t sines = pack_halves(x - x * x * x * 0.125f, y - y * y * y * 0.125f), cosines = pack_halves(-0.5f * x * x, -0.5f * y * y);
      first_power[i] = kColumns == 4 && g % 2 ? cosines : sines;
      if constexpr (kColumns == 8) second_power[i] = cosines;
    }
    steps = reinterpret_cast<const float*>(turns + kPlaceBytes);
#pragma unroll
    for (int neighbour = 0; neighbour < (kSwaps ? 2 : 1); ++neighbour)
#pragma unroll
      for (int partner = 0; partner < 2; ++partner)
        address[2 * neighbour + partner] =
            opaque(shared_address(table) + (t + 4 * (partner ^ (g % 2)) + 8 * (kSwaps ? neighbour ^ (g / 2 % 2) : 0)) * kEntryBytes, uint32_t(p.batch) >> 31);
  }

  /// Pair `e` of this lane's word `i` in the order of pairs; words 2 j and 2 j + 1 are neighbours.
  static __device__ __forceinline__ int own_pair(int i, int e) {
    return first_channel(kShares ? i + lane_index() / 4 % 2 * kOwn : i, lane_index() % 4, e);
  }
  /// The queries turned to `position` from scratch, so that the ways' errors do not add up over more than 32 tiles. No part of the loop either.
  template <class P>
  static __device__ __noinline__ void place(const P& p, float (*q)[2 * kOwn], const unsigned char* row, int position) {
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      const uint32_t* from = reinterpret_cast<const uint32_t*>(row + own_pair(i, 0) * 2);
      const uint32_t x = row ? load_global(from) : 0, y = row ? load_global(from + K::kHeadDim / 4) : 0;
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float sine, cosine;
        rope_angle(position, load_global(p.inv_freq + own_pair(i, e)), sine, cosine);
        turn(q, i, e, to_float(f16{uint16_t(x >> (16 * e))}), to_float(f16{uint16_t(y >> (16 * e))}), sine, cosine);
      }
    }
  }
  static __device__ __forceinline__ void turn(float (*q)[2 * kOwn], int i, int e, float x, float y, float sine, float cosine) {
    q[0][2 * i + e] = x * cosine + y * sine;
    q[1][2 * i + e] = y * cosine - x * sine;
  }
  /// Turns them on by a warp's way to its next tile.
  __device__ __forceinline__ void advance() {
#pragma unroll
    for (int i = 0; i < kOwn; i += 2) {
      const bytes16* from = reinterpret_cast<const bytes16*>(steps + skewed(own_pair(i, 0)));
      const bytes16 c = load_shared(from), s = load_shared(from + K::kHeadDim / 8);
#pragma unroll
      for (int e = 0; e < 4; ++e) turn(q, i, e, q[0][2 * i + e], q[1][2 * i + e], float_of_bits(s.w[e]), float_of_bits(c.w[e]));
    }
  }

  /// One look-up: the words of an entry.
  static __device__ __forceinline__ void look_up(uint32_t (&words)[kWords], uint32_t at) {
    if constexpr (kWords == 4) {
      const bytes16 entry = load_table_16(at);
#pragma unroll
      for (int w = 0; w < kWords; ++w) words[w] = entry.w[w];
    } else {
      const bytes8 entry = load_table_8(at);
      words[0] = entry.w[0], words[1] = entry.w[1];
    }
  }

  /// Products of the tile's keys and this lane's columns, neither scaled nor with gains.
  // The queries stand turned back by the position of the tile's middle, in f16 twice: the nearest halves and what they leave.
  // Fast pairs of keys are turned in registers from place m = -16 ... 15 to 0, in f16. Slow pairs turn so little, by |m w| < 0.17, that
  // cos(m w) = 1 - (m w)^2 / 2 and sin(m w) = m w (1 - ...) do, and powers of m leave the sum over the channels: centroids as they
  // are, exact, times q, w q and w^2 q, three products whose sum each token weighs by 1, m, m^2.
  // Fast pairs that do not turn far are split, for the error of one rounding is of what it rounds: centroids as they are, and (cos - 1, sin) of them in f16.
  // 4 columns fill 8: even ones q and w q, odd ones what q leaves and w^2 q.
  __device__ __forceinline__ void multiply(float (&s)[kScores], const uint32_t (&codes)[2][kCodeWords]) const {
    constexpr int kFine = kColumns / 4;                       // operands that hold the halves and their rests
    constexpr int kPowers = kSlow ? kColumns / 4 : 0;         // ... and the other powers
    uint32_t b[kFine][2][kAll], power[kPowers ? kPowers : 1][2][kSlow ? kSlow : 1];
    const bool odd = lane_index() / 4 % 2;
    {
      uint32_t high[2][kOwn], low[2][kOwn], wholes[2][kOwn];
#pragma unroll
      for (int half = 0; half < 2; ++half)
#pragma unroll
        for (int i = 0; i < kOwn; ++i) {
          const float x = q[half][2 * i], y = q[half][2 * i + 1];
          high[half][i] = pack_halves(x, y);
          low[half][i] = pack_halves(x - to_float(f16{uint16_t(high[half][i])}), y - to_float(f16{uint16_t(high[half][i] >> 16)}));
        }
#pragma unroll
      for (int half = 0; half < 2; ++half)
#pragma unroll
        for (int i = 0; i < kOwn; ++i) {
          if constexpr (kShares) {
            // Even lanes have turned the fast pairs and want the slow ones' halves, odd lanes the other way round their rests.
            const uint32_t other = shuffle_xor(odd ? high[half][i] : low[half][i], 4);
            b[0][half][i] = odd ? other : high[half][i];
            b[0][half][kOwn + i] = odd ? low[half][i] : other;
            wholes[half][i] = odd ? high[half][i] : other;
          } else {
            b[0][half][i] = kColumns == 4 && odd ? low[half][i] : high[half][i];
            if constexpr (kColumns == 8) b[kFine - 1][half][i] = low[half][i];
            if constexpr (kPowers > 0) {
              if (i >= kFast) {
                power[0][1 - half][i - kFast] = multiply_halves(half ? high[half][i] : negate_halves(high[half][i]), first_power[i - kFast]);
                power[kPowers - 1][half][i - kFast] = multiply_halves(high[half][i], second_power[i - kFast]);
              }
            }
          }
        }
      if constexpr (kShares) {
        // w q: (x, y) times (b, -a); w^2 q: times (a, b).
        const uint32_t minus = odd ? 0 : 0x80008000u;
#pragma unroll
        for (int i = 0; i < kOwn; ++i) {
          power[0][0][i] = multiply_halves(odd ? wholes[0][i] : wholes[1][i], first_power[i]);
          power[0][1][i] = multiply_halves(odd ? wholes[1][i] : wholes[0][i], first_power[i] ^ minus);
        }
      }
    }
#pragma unroll
    for (int unit = 0; unit < 2; ++unit) {
      float products[4] = {}, powers[kFine][4] = {};
      uint32_t near[2][4], far[2][4];  // what the look-up of the even place and its partner's are multiplied by
#pragma unroll
      for (int v = 0; v < 2; ++v) {
        const int at = (2 * unit + v) * 8 * 128, parity = lane_index() / 4 % 2 * 64;
        const bytes16 x = load_shared(reinterpret_cast<const bytes16*>(places + at + parity)), y = load_shared(reinterpret_cast<const bytes16*>(places + at + (64 - parity)));
#pragma unroll
        for (int i = 0; i < 4; ++i) near[v][i] = x.w[i], far[v][i] = y.w[i];
      }
      constexpr int kNeighbours = kSwaps ? 2 : 1;
#pragma unroll
      for (int pair = 0; pair < kPairs; pair += kNeighbours) {
        uint32_t found[2][kNeighbours][2][kWords];  // [token][neighbour][partner]
#pragma unroll
        for (int v = 0; v < 2; ++v)
#pragma unroll
          for (int n = 0; n < kNeighbours; ++n)
#pragma unroll
            for (int partner = 0; partner < 2; ++partner) {
              const int byte = v * 2 * kPairs + partner * kPairs + pair + n;
              look_up(found[v][n][partner], row_of_byte(codes[unit][byte / 4], byte % 4, address[2 * n + partner]) + pair / kNeighbours * kSlice);
            }
        if constexpr (kSwaps) {
          const bool swapped = lane_index() / 8 % 2;
#pragma unroll
          for (int v = 0; v < 2; ++v)
#pragma unroll
            for (int partner = 0; partner < 2; ++partner)
#pragma unroll
              for (int w = 0; w < kWords; ++w) {
                const uint32_t x = found[v][0][partner][w], y = found[v][kNeighbours - 1][partner][w];
                found[v][0][partner][w] = swapped ? y : x;
                found[v][kNeighbours - 1][partner][w] = swapped ? x : y;
              }
        }
#pragma unroll
        for (int n = 0; n < kNeighbours; ++n)
#pragma unroll
          for (int w = 0; w < kWords; w += 2) {
            uint32_t x[4], y[4], raw_x[4], raw_y[4];  // A fragments: [token + 2 * word]
            const int i = (pair + n) * kWords + w;
#pragma unroll
            for (int k = 0; k < 4; ++k) {
              const int v = k % 2;
              const uint32_t even_place = found[v][n][0][w + k / 2], odd_place = found[v][n][1][w + k / 2];
              const uint32_t close = near[v][(i + k / 2) % kFast], distant = far[v][(i + k / 2) % kFast];
              raw_x[k] = odd ? odd_place : even_place;  // odd rows look up (y, x)
              raw_y[k] = odd ? even_place : odd_place;
              x[k] = raw_x[k], y[k] = raw_y[k];
              if (i < kFast) {
                x[k] = fused_multiply_add_halves(close, raw_x[k], multiply_halves(distant, raw_y[k]));
                y[k] = fused_multiply_add_halves(close, raw_y[k], multiply_halves(negate_halves(distant), raw_x[k]));
              }
            }
#pragma unroll
            for (int f = 0; f < kFine; ++f) {
              mma_16x8x16(products, x, {b[f][0][i], b[f][0][i + 1]});
              mma_16x8x16(products, y, {b[f][1][i], b[f][1][i + 1]});
              if (i < kFast) {
                mma_16x8x16(products, raw_x, {b[f][0][i] & whole[i % kFast], b[f][0][i + 1] & whole[(i + 1) % kFast]});
                mma_16x8x16(products, raw_y, {b[f][1][i] & whole[i % kFast], b[f][1][i + 1] & whole[(i + 1) % kFast]});
              }
            }
            if constexpr (kPowers > 0) {
              if (i >= kFast) {
#pragma unroll
                for (int f = 0; f < kPowers; ++f) {
                  mma_16x8x16(powers[f], x, {power[f][0][i - kFast], power[f][0][i - kFast + 1]});
                  mma_16x8x16(powers[f], y, {power[f][1][i - kFast], power[f][1][i - kFast + 1]});
                }
              }
            }
          }
      }
#pragma unroll
      for (int v = 0; v < 2; ++v)
#pragma unroll
        for (int c = 0; c < kLaneColumns; ++c) {
          const int d = 2 * v + c;
          float sum = kColumns == 4 ? products[d] + products[(d + 1) % 4] : products[d];
          if constexpr (kPowers > 0) {
            const float m = float(lane_index() / 4 + 8 * (2 * unit + v) - 16) * 0.0625f;
            const float two = kColumns == 4 ? powers[0][(d + 1) % 4] : powers[kFine - 1][d];
            sum = fused_multiply_add(m, fused_multiply_add(m, two, powers[0][d]), sum);
          }
          s[(2 * unit + v) * kLaneColumns + c] = sum;
        }
    }
  }

  /// Scores of a tile, in log2 units, `bias` added. Its first token stands at `position`; `anew`: the tile before is not kWarps * 32 tokens before it.
  template <class P>
  __device__ __forceinline__ void scores(const P& p, float (&s)[kScores], const uint32_t (&codes)[2][kCodeWords], const uint32_t (&gains)[2][kGainWords],
                                         const float (&bias)[kLaneColumns], int position, bool anew) {
    if (__builtin_expect(general, 0)) {
#pragma unroll 1
      for (int unit = 0; unit < 2; ++unit) {
        uint32_t words[kCodeWords];
#pragma unroll
        for (int i = 0; i < kCodeWords; ++i) words[i] = unit ? codes[1][i] : codes[0][i];
        float d[4];
        multiply_as_rows<K>(p, d, words, row, position + 16 * unit);
#pragma unroll
        for (int i = 0; i < kScores; ++i)
          if (i / (2 * kLaneColumns) == unit) s[i] = d[i / kLaneColumns % 2 * 2 + i % kLaneColumns];
      }
    } else {
      if (anew) {
        float placed[2][2 * kOwn];
        place(p, placed, row, position + 16);
#pragma unroll
        for (int i = 0; i < 4 * kOwn; ++i) q[i / (2 * kOwn)][i % (2 * kOwn)] = placed[i / (2 * kOwn)][i % (2 * kOwn)];
      } else {
        advance();
      }
      multiply(s, codes);
    }
#pragma unroll
    for (int i = 0; i < kScores; ++i) s[i] = fused_multiply_add(s[i], Rows::factor(scale, gains, i), bias[i % kLaneColumns]);
  }
};

// Scores by dot product with int8 centroids: look-ups are A fragments of the integer matrix unit, and q, with the centroids' scales
// in it, is a 16-bit fixed-point number whose two bytes are two columns of B. Sums are exact. Tokens are rows of A.

template <class K>
struct dot_keys : token_rows<K> {
  using C = typename K::Key;
  static_assert(C::kQ8 && C::kChannels == 2, "generator/tile.ts let another key codec through");
  static_assert(C::kTurnHigh == 0 && C::kTurnShift == 0 && C::kTurnMask == 3, "place m holds word m ^ (g % 4)");
  using Rows = token_rows<K>;
  using Rows::kColumns, Rows::kScores, Rows::kLaneColumns, Rows::kGainWords;
  static constexpr int kChunks = K::kHeadDim / 2, kPerLane = kChunks / 4;
  static constexpr int kRow = 128, kSlice = 256 * kRow, kSlices = K::kHeadDim / 64;
  static constexpr int kTableBytes = kSlices * kSlice;
  static constexpr int kCodeWords = kChunks / 8;
  static constexpr int kSteps = K::kHeadDim / 32;
  static constexpr int kSets = kColumns / 4;  // B fragments: both bytes of 4 columns, or the high and the low bytes of 8
  static constexpr int kWarpBytes = 0;
  static constexpr float kLargest = 32639;  // 127 * 256 + 127: both bytes stay signed bytes

  uint32_t q[kSets][kSteps][2];
  float scale[kLaneColumns];
  uint32_t address[4];  // of the look-ups of code 0

  /// Word t + 4 * m of a slice's row holds the entries of chunks 4 * (8 * slice + m) + t and 16 further, in both halves of the row.
  template <class P, class F>
  static __device__ __forceinline__ void fill(const P&, unsigned char* table, const unsigned char* codebook, const F&, float*) {
    const int lane = lane_index(), word = lane % 16;
    for (int line = warp_index(); line < 32 * kSlices; line += K::kWarps) {
      const int slice = line / 32, entry = line % 32 * 8, chunk = 4 * (8 * slice + word / 4) + word % 4;
      const bytes16 low = load_global(reinterpret_cast<const bytes16*>(codebook + (chunk * 256 + entry) * 2));
      const bytes16 high = load_global(reinterpret_cast<const bytes16*>(codebook + ((chunk + 16) * 256 + entry) * 2));
#pragma unroll
      for (int e = 0; e < 8; ++e)
        store_shared(reinterpret_cast<uint32_t*>(table + slice * kSlice + (entry + e) * kRow) + lane, permute_bytes(low.w[e / 2], high.w[e / 2], e % 2 ? 0x7632 : 0x5410));
    }
  }

  /// Channel `i` (0 ... 3) of word `word` (of a token's kSteps * 2) in lane column t.
  static __device__ __forceinline__ int channel(int word, int t, int i) { return (4 * (word / 4 * 8 + word % 4 + i / 2 * 4) + t) * 2 + i % 2; }

  /// This CTA's query columns; `columns(c)` is column c's row of q, null if it is idle; `scales` are the codebook's, one per channel.
  template <class P, class F>
  __device__ __forceinline__ void begin(const P& p, const unsigned char* table, const F& columns, const float* scales, const float*, unsigned char*) {
    const int g = lane_index() / 4, t = lane_index() % 4;
    const unsigned char* row = columns(kColumns == 4 ? g / 2 : g);
    float x[kSteps * 2][4], most = 0;
#pragma unroll
    for (int word = 0; word < kSteps * 2; ++word)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int at = channel(word, t, i);
        x[word][i] = row ? to_float(load_global(reinterpret_cast<const f16*>(row) + at)) * load_global(scales + at) : 0;
        most = fmaxf(most, fabsf(x[word][i]));
      }
    most = fmaxf(most, shuffle_xor(most, 1));
    most = fmaxf(most, shuffle_xor(most, 2));
    const float steps = most > 0 ? kLargest / most : 0;
    const float step = most / kLargest * p.scale * kLog2e;
#pragma unroll
    for (int c = 0; c < kLaneColumns; ++c) scale[c] = shuffle(step, 8 * t + 4 * c);
#pragma unroll
    for (int word = 0; word < kSteps * 2; ++word) {
      uint32_t high = 0, low = 0;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int fixed = int(round_even(x[word][i] * steps)), upper = (fixed + 128) >> 8;
        high |= uint32_t(upper & 0xff) << (8 * i);
        low |= uint32_t((fixed - upper * 256) & 0xff) << (8 * i);
      }
      if constexpr (kColumns == 4) {
        q[0][word / 2][word % 2] = g % 2 ? low : high;
      } else {
        q[0][word / 2][word % 2] = high;
        q[kSets - 1][word / 2][word % 2] = low;
      }
    }
    // Rows g and g ^ 4 read the two halves of a table row; the four rows between them read four different words.
#pragma unroll
    for (int m = 0; m < 4; ++m) address[m] = opaque(shared_address(table) + (g / 4 * 16 + t + 4 * (m ^ (g % 4))) * 4, uint32_t(p.batch) >> 31);
  }

  /// Scores of a tile, in log2 units, `bias` added.
  __device__ __forceinline__ void scores(float (&s)[kScores], const uint32_t (&codes)[2][kCodeWords],
                                         const uint32_t (&gains)[2][kGainWords], const float (&bias)[kLaneColumns]) const {
    const bool odd = lane_index() / 4 % 2, upper = lane_index() / 8 % 2;
#pragma unroll
    for (int unit = 0; unit < 2; ++unit) {
      int sum[kSets][4] = {};
#pragma unroll
      for (int slice = 0; slice < kSlices; ++slice) {
        uint32_t words[2][4];  // [token][word]
#pragma unroll
        for (int v = 0; v < 2; ++v) {
#pragma unroll
          for (int m = 0; m < 4; ++m) {
            const int byte = v * kPerLane + slice * 8 + m;
            const auto at = [&](int b) { return row_of_byte(codes[unit][b / 4], b % 4, address[m]) + slice * kSlice; };
            const uint32_t low = load_table_u16(at(byte)), high = load_table_u16(at(byte + 4) + 2);
            words[v][m] = permute_bytes(low, high, 0x5410);
          }
          // Place m holds word m ^ (g % 4): back into order, so that a step's words are the same in every row.
          uint32_t turned[4];
#pragma unroll
          for (int m = 0; m < 4; ++m) turned[m] = odd ? words[v][m ^ 1] : words[v][m];
#pragma unroll
          for (int m = 0; m < 4; ++m) words[v][m] = upper ? turned[m ^ 2] : turned[m];
        }
#pragma unroll
        for (int half = 0; half < 2; ++half)
#pragma unroll
          for (int set = 0; set < kSets; ++set)
            mma_16x8x32_s8s8(sum[set], {words[0][2 * half], words[1][2 * half], words[0][2 * half + 1], words[1][2 * half + 1]}, q[set][slice * 2 + half]);
      }
#pragma unroll
      for (int v = 0; v < 2; ++v)
#pragma unroll
        for (int c = 0; c < kLaneColumns; ++c) {
          const int high = kColumns == 4 ? sum[0][2 * v] : sum[0][2 * v + c], low = kColumns == 4 ? sum[0][2 * v + 1] : sum[kSets - 1][2 * v + c];
          const int i = (2 * unit + v) * kLaneColumns + c;
          s[i] = fused_multiply_add(float(high * 256 + low), Rows::factor(scale[c], gains, i), bias[c]);
        }
    }
  }
};

// Algorithm "lookup": a warp takes 32 coded tokens at a time from codes in registers to weighted values in registers. Look-ups in
// shared memory, in tables without bank conflicts, are the matrix unit's operands; weights are 16-bit fixed-point numbers and values
// int8, so that the second product is exact. Exact rows are attended to first (exact.cuh).

template <class K, bool kSum = K::kKeySum, bool kTurn = K::kKeyTurn, bool kDot = K::kKeyDot>
struct keys_of;
template <class K>
struct keys_of<K, true, false, false> {
  using type = sum_keys<K>;
};
template <class K>
struct keys_of<K, false, true, false> {
  using type = turn_keys<K>;
};
template <class K>
struct keys_of<K, false, false, true> {
  using type = dot_keys<K>;
};

/// The key side of a tile of 32 tokens, two units. `hidden`: bit i, nobody sees token i's code.
template <class K>
struct key_codes {
  using Keys = typename keys_of<K>::type;
  uint32_t words[2][Keys::kCodeWords], gains[2][Keys::kGainWords];
  uint32_t hidden;
};

/// A lane's words of one side of a unit.
template <int kWords>
__device__ __forceinline__ void load_codes(uint32_t (&words)[kWords], const unsigned char* side) {
  const int lane = lane_index();
  if constexpr (kWords == 1) {
    words[0] = load_global_once(reinterpret_cast<const uint32_t*>(side) + lane);
  } else if constexpr (kWords == 2) {
    const bytes8 x = load_global_once(reinterpret_cast<const bytes8*>(side) + lane);
    words[0] = x.w[0], words[1] = x.w[1];
  } else {
#pragma unroll
    for (int piece = 0; piece < kWords / 4; ++piece) {
      const bytes16 x = load_global_once(reinterpret_cast<const bytes16*>(side) + piece * 32 + lane);
#pragma unroll
      for (int i = 0; i < 4; ++i) words[4 * piece + i] = x.w[i];
    }
  }
}

/// Where the units of 16 tiles lie: lane 2 i + u knows unit u of tile i.
struct unit_place {
  const unsigned char* at;
  uint32_t hidden;  // 16 bits
};

/// The place of the unit whose first token is `token`, in page number `page`; where no token is, nothing is seen.
template <class K, class P>
__device__ __forceinline__ unit_place place_of(const P& p, const decode_view& s, int kv_head, int token, int page) {
  const int in_page = token & (p.page_size - 1), tokens = s.coded_len - token;
  const unsigned char* block = byte_pointer(p.pages) + int64_t(page) * p.page_stride + kv_head * p.page_head_stride;
  unit_place place;
  place.at = block + in_page / 16 * K::kUnitBytes;
  place.hidden = load_global(reinterpret_cast<const uint16_t*>(block + (p.page_size / 16) * K::kUnitBytes) + in_page / 16);
  if (tokens < 16) place.hidden |= tokens > 0 ? 0xffffu << tokens & 0xffffu : 0xffffu;
  return place;
}

/// One warp's attention to its share of the piece's coded tokens, merged into `result`.
template <class K>
struct coded_state {
  using Keys = typename keys_of<K>::type;
  using Values = value_table<K>;
  static constexpr int kSets = K::kColumns / 4;
  static constexpr uint32_t kOne = 0x4b000000u, kMost = 0x4b00ffffu;  // 2^23 and 2^23 + 65535 as floats: the low 16 bits are the weight
  static constexpr float kTop = 15.0f;                                // log2 of where a new maximum is put

  int sums[kSets][K::kHeadDim / 16][4] = {};
  float bias[Keys::kLaneColumns] = {};      // the weight of score s is 2^(s + bias)
  float weight[Keys::kLaneColumns] = {};
  uint32_t recent[Keys::kLaneColumns] = {};  // raw weights of `tiles` tiles
  int tiles = 0;
  bool started[Keys::kLaneColumns] = {};
  uint32_t limit = 0;

  /// Moves the recent weights to the float.
  __device__ __forceinline__ void settle(const float (&factor)[Keys::kLaneColumns]) {
#pragma unroll
    for (int c = 0; c < Keys::kLaneColumns; ++c) {
      weight[c] = (weight[c] + float(recent[c] - uint32_t(tiles * (Keys::kScores / Keys::kLaneColumns)) * kOne)) * factor[c];
      recent[c] = 0;
    }
    tiles = 0;
  }

  /// Scores (log2 units, bias added) to weights; the bias is lowered first where one would not fit into 16 bits.
  __device__ __forceinline__ void weigh(uint32_t (&x)[Keys::kScores], float (&s)[Keys::kScores]) {
    uint32_t all = 0;
#pragma unroll
    for (int i = 0; i < Keys::kScores; ++i) x[i] = float_bits(exp2_fast(s[i]) + 8388608.0f), all |= x[i];
    if (__builtin_expect(vote_ballot(all > limit) != 0, 0)) raise(x, s);
#pragma unroll
    for (int i = 0; i < Keys::kScores; ++i) recent[i % Keys::kLaneColumns] += x[i];
    ++tiles;
  }

  __device__ __forceinline__ void raise(uint32_t (&x)[Keys::kScores], float (&s)[Keys::kScores]) {
    float factor[Keys::kLaneColumns], shift[Keys::kLaneColumns];
    limit = kMost;
#pragma unroll
    for (int c = 0; c < Keys::kLaneColumns; ++c) {
      float top = minus_infinity();
#pragma unroll
      for (int i = c; i < Keys::kScores; i += Keys::kLaneColumns) top = fmaxf(top, s[i]);
#pragma unroll
      for (int bit = 1; bit < 32; bit *= 2)
        if (Keys::kSharedBits & bit) top = fmaxf(top, shuffle_xor(top, bit));
      shift[c] = top == minus_infinity() ? 0.0f : started[c] ? fminf(kTop - top, 0.0f) : kTop - top;
      factor[c] = started[c] ? exp2_fast(shift[c]) : 0.0f;
      started[c] = started[c] || top > minus_infinity();
      if (!started[c]) limit = 0;  // the first score seen sets the bias, however low it is
      bias[c] += shift[c];
    }
    settle(factor);
    float scale[kSets];
    Keys::to_value_lanes(scale, factor);
#pragma unroll
    for (int set = 0; set < kSets; ++set)
#pragma unroll
      for (int tile = 0; tile < K::kHeadDim / 16; ++tile)
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[set][tile][i] = int(round_even(float(sums[set][tile][i]) * scale[kSets == 1 ? 0 : i % 2]));
#pragma unroll
    for (int i = 0; i < Keys::kScores; ++i) {
      s[i] += shift[i % Keys::kLaneColumns];
      x[i] = float_bits(exp2_fast(s[i]) + 8388608.0f);
      // Not a number: a query or a gain was not. Fixed-point weights cannot say so, but their sum can.
      if (x[i] > kMost) weight[i % Keys::kLaneColumns] = float_of_bits(0x7fffffff);
    }
  }

  /// Merges the state into the warp's result and empties it. `scales` (shared memory): what one int8 step of each channel is worth.
  __device__ __forceinline__ void fold(warp_result<K>& result, const float* scales) {
    float one[Keys::kLaneColumns], top[Keys::kLaneColumns], theirs[kSets];
#pragma unroll
    for (int c = 0; c < Keys::kLaneColumns; ++c) one[c] = 1;
    settle(one);
#pragma unroll
    for (int c = 0; c < Keys::kLaneColumns; ++c) {
      top[c] = started[c] ? -bias[c] : minus_infinity();
#pragma unroll
      for (int bit = 1; bit < 32; bit *= 2)
        if (Keys::kSharedBits & bit) weight[c] += shuffle_xor(weight[c], bit);
    }
    Keys::to_value_lanes(theirs, top);
    const int r = lane_index() / 4, t = lane_index() % 4;
#pragma unroll
    for (int c = 0; c < kSets; ++c) {
      const int column = t * kSets + c;
      const float before = load_shared(result.maximum + column), after = fmaxf(before, theirs[c]);
      const float keep = before == minus_infinity() ? 0.0f : exp2_fast(before - after), add = theirs[c] == minus_infinity() ? 0.0f : exp2_fast(theirs[c] - after);
#pragma unroll
      for (int tile = 0; tile < K::kHeadDim / 16; ++tile)
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          const int channel = Values::channel(r, tile, j);
          const int high = kSets == 1 ? sums[0][tile][2 * j] : sums[0][tile][2 * j + c], low = kSets == 1 ? sums[0][tile][2 * j + 1] : sums[kSets - 1][tile][2 * j + c];
          float* at = result.o + column * warp_result<K>::kStride + channel;
          store_shared(at, load_shared(at) * keep + (float(high) * 256.0f + float(low)) * (load_shared(scales + channel) * add));
        }
    }
    warp_barrier();
    if (Keys::is_writer()) {
#pragma unroll
      for (int c = 0; c < Keys::kLaneColumns; ++c) {
        const int column = Keys::column(c);
        const float before = load_shared(result.maximum + column), after = fmaxf(before, top[c]);
        const float keep = before == minus_infinity() ? 0.0f : exp2_fast(before - after), add = top[c] == minus_infinity() ? 0.0f : exp2_fast(top[c] - after);
        store_shared(result.weight + column, load_shared(result.weight + column) * keep + weight[c] * add);
        store_shared(result.maximum + column, after);
      }
    }
    warp_barrier();
    *this = {};
  }
};

/// This warp's tiles of a piece: tile i covers tokens 32 * (first + i * warps) and the next 31.
struct warp_tiles {
  int first, count;
  const int32_t* pages;
};
template <class K, class P>
__device__ __forceinline__ warp_tiles tiles_of(const P& p, const piece& w, const decode_view& s) {
  int begin, end;
  cut(w, (s.coded_units + 1) / 2, begin, end);
  warp_tiles t;
  t.first = begin + warp_index();
  t.count = end > t.first ? (end - t.first + K::kWarps - 1) / K::kWarps : 0;
  t.pages = p.block_table ? p.block_table + int64_t(w.b) * p.max_pages : p.page_indices + load_global(p.page_indptr + w.b);
  return t;
}
/// The first token of tile `i`, or of the last one.
template <class K>
__device__ __forceinline__ int token_of(const warp_tiles& t, int i) {
  return (t.first + min_int(i, t.count - 1) * K::kWarps) * 32;
}

/// Asks for the lines of this warp's first tiles and first exact rows, which lie at the ends of chains of loads, before anything else
/// is done. The two chains are followed side by side.
template <class K, class P>
__device__ __forceinline__ void prefetch_first(const P& p, const piece& w, decode_view s, int kv_head) {
  const warp_tiles tiles = tiles_of<K>(p, w, s);
  const bool asks = lane_index() < min_int(2, tiles.count);
  const int token = asks ? token_of<K>(tiles, lane_index()) : 0, in_page = token & (p.page_size - 1);
  const int64_t page = asks ? load_global(tiles.pages + (token >> count_bits(uint32_t(p.page_size - 1)))) : 0;
  add_anchors(p, w.b, s);
  if (asks) {
    const unsigned char* block = byte_pointer(p.pages) + page * p.page_stride + kv_head * p.page_head_stride;
#pragma unroll
    for (int at = 0; at < 2 * K::kUnitBytes; at += 128) prefetch_global(block + in_page / 16 * K::kUnitBytes + at);
    prefetch_global(block + p.page_size / 16 * K::kUnitBytes);
  }
  prefetch_exact<K>(p, w, s, kv_head);
}

template <class K, class P, class ColumnAt>
__device__ __forceinline__ void attend_coded(const P& p, const piece& w, const decode_view& s, int kv_head, typename keys_of<K>::type& keys, const unsigned char* values,
                                             warp_result<K>& result, const float* scales, int first_row, const ColumnAt& column_at) {
  using Keys = typename keys_of<K>::type;
  using Values = value_table<K>;
  const warp_tiles tiles = tiles_of<K>(p, w, s);
  if (tiles.count == 0) return;

  // Tokens below `open` are seen by every column: the first row stands before the others.
  int open = element_or(p.q_pos, w.b, s.first_pos + s.first_new) + first_row - s.first_pos + 1;
  if (p.tree_mask) open = min_int(open, s.first_new);

  // Constants that the compiler would otherwise make again before each use.
  const uint32_t zero = uint32_t(p.batch) >> 31;
  const int parity = lane_index() / 4 % 2;
  const uint32_t select[2] = {opaque(K::kColumns == 4 && parity ? 0x6420u : 0x7531u, zero), opaque(0x6420u, zero)};
  const uint32_t value_address = opaque(shared_address(values) + Values::lane_offset(lane_index() / 4, lane_index() % 4), zero);

  // Places come in batches of 16 tiles and from the ends of two more loads: the page's number is loaded two batches ahead, and its
  // bitmap one ahead, so that no one waits.
  unit_place place, next_place;
  int next_page;
  struct tile_units {
    const unsigned char* unit[2];
  };
  const auto unit_token = [&](int i) { return token_of<K>(tiles, i + lane_index() / 2) + lane_index() % 2 * 16; };
  const auto page_at = [&](int i) {
    const int shift = count_bits(uint32_t(p.page_size - 1));
    return load_global(tiles.pages + min_int(unit_token(i) >> shift, (s.coded_len - 1) >> shift));
  };
  const auto find = [&](int i) {
    place = next_place;
    next_place = place_of<K>(p, s, kv_head, unit_token(i + 16), next_page);
    next_page = page_at(i + 32);
  };
  const auto from_lane = [&](int lane) {
    const uint64_t at = reinterpret_cast<uint64_t>(place.at);
    return reinterpret_cast<const unsigned char*>(uint64_t(shuffle(uint32_t(at >> 32), lane)) << 32 | shuffle(uint32_t(at), lane));
  };
  const auto units_of = [&](int i) {
    tile_units u;
    u.unit[0] = from_lane(i % 16 * 2);
    u.unit[1] = u.unit[0] + K::kUnitBytes;
    if (p.page_size == 16) u.unit[1] = from_lane(i % 16 * 2 + 1);
    return u;
  };
  const auto hidden_of = [&](int i) { return shuffle(place.hidden, i % 16 * 2) | shuffle(place.hidden, i % 16 * 2 + 1) << 16; };
  const auto load_keys = [&](key_codes<K>& codes, const tile_units& u) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      load_codes(codes.words[i], u.unit[i]);
      if constexpr (K::kKeyGain) Keys::load_gains(codes.gains[i], u.unit[i] + K::kKeyGainOffset);
    }
  };
  // Lines of a tile that will be loaded in two tiles' time: registers could not hold what is under way.
  const auto prefetch = [&](int i) {
    constexpr int kLines = (2 * K::kUnitBytes + 127) / 128 + 1;
    const unsigned char* unit = from_lane(i % 16 * 2);
    int at = lane_index() * 128;
    if (p.page_size == 16) {
      const unsigned char* second = from_lane(i % 16 * 2 + 1);
      if (lane_index() >= 16) unit = second, at -= 16 * 128;
      if (at < K::kUnitBytes) prefetch_global(unit + at);
    } else if (lane_index() < kLines) {
      prefetch_global(unit + min_int(at, 2 * K::kUnitBytes - 1));
    }
  };

  coded_state<K> state;
  const auto attend = [&](const key_codes<K>& codes, const uint32_t (&value_words)[2][Values::kCodeWords], int i) {
    const int token = token_of<K>(tiles, i);
    float score[Keys::kScores];
    if constexpr (K::kKeyTurn) {
      keys.scores(p, score, codes.words, codes.gains, state.bias, s.first_pos + token, i % 32 == 0);
    } else {
      keys.scores(score, codes.words, codes.gains, state.bias);
    }
    if (codes.hidden) {
      const uint32_t hidden = codes.hidden >> Keys::token(0);
#pragma unroll
      for (int j = 0; j < Keys::kScores; ++j)
        if (hidden >> (Keys::token(j) - Keys::token(0)) & 1) score[j] = minus_infinity();
    }
    if (__builtin_expect(token + 32 > open, 0)) {  // the queries stand before the end of the coded tokens
#pragma unroll
      for (int c = 0; c < Keys::kLaneColumns; ++c) {
        const column mine = column_at(Keys::column(c));
#pragma unroll
        for (int j = c; j < Keys::kScores; j += Keys::kLaneColumns)
          if (!sees(mine, s, token + Keys::token(j), p.tree_mask != nullptr)) score[j] = minus_infinity();
      }
    }
    uint32_t x[Keys::kScores], b[K::kColumns / 4][2];
    state.weigh(x, score);
    Keys::weights(b, x, select);
    accumulate_values<K>(state.sums, value_address, value_words, b);
  };

  const auto load_values = [&](uint32_t (&words)[2][Values::kCodeWords], const tile_units& u) {
#pragma unroll
    for (int i = 0; i < 2; ++i) load_codes(words[i], u.unit[i] + K::kValueOffset);
  };
  // With two stages a tile's codes are in registers while the tile before is attended to; with one only its keys are, and its values'
  // codes come from L2 when their turn begins. What lies beyond the last tile is that one again: no branch round the loads.
  constexpr int kAhead = K::kStages == 1 ? 2 : 1;
  next_place = place_of<K>(p, s, kv_head, unit_token(0), page_at(0));
  next_page = page_at(16);
  find(0);
  tile_units units = units_of(0);
  key_codes<K> codes;
  uint32_t value_words[2][Values::kCodeWords];
  load_keys(codes, units);
  if constexpr (K::kStages == 2) load_values(value_words, units);
  codes.hidden = hidden_of(0);
  if constexpr (K::kStages == 1) prefetch(min_int(1, tiles.count - 1));
#pragma unroll 1
  for (int i = 0; i < tiles.count; ++i) {
    if constexpr (K::kStages == 1) load_values(value_words, units);
    const auto find_next = [&] {
      if (__builtin_expect((i + kAhead) % 16 == 0, 0)) {
        find(i + kAhead);
        // 1024 tiles of 32 weights of 65535 times 127 still fit the sums' high bytes.
        if ((i + kAhead) % 1024 == 0) state.fold(result, scales);
      }
    };
    if constexpr (K::kStages == 2) find_next();
    units = units_of(i + 1);
    key_codes<K> coming;
    uint32_t coming_values[2][Values::kCodeWords];
    load_keys(coming, units);
    if constexpr (K::kStages == 2) load_values(coming_values, units);
    coming.hidden = hidden_of(i + 1);
    if constexpr (K::kStages == 1) {
      find_next();
      prefetch(i + 2);
    }
    attend(codes, value_words, i);
    codes = coming;
    if constexpr (K::kStages == 2) {
#pragma unroll
      for (int u = 0; u < 2; ++u)
#pragma unroll
        for (int j = 0; j < Values::kCodeWords; ++j) value_words[u][j] = coming_values[u][j];
    }
  }
  state.fold(result, scales);
}

template <class K, class P>
__device__ __forceinline__ void decode_lookup(const P& p) {
  using Keys = typename keys_of<K>::type;
  using Values = value_table<K>;
  static_assert(K::kStages == 1 || K::kStages == 2, "generator/tile.ts let other stages through");
  static_assert(Keys::kTableBytes == K::kKeyTableBytes && Values::kTableBytes == K::kValueTableBytes, "generator/shared.ts is wrong");
  unsigned char* const values = shared_memory();
  unsigned char* const key_table = values + K::kValueTableBytes;
  warp_result<K>* const results = reinterpret_cast<warp_result<K>*>(key_table + K::kKeyTableBytes);
  unsigned char* const after = reinterpret_cast<unsigned char*>(results + K::kWarps);
  uint32_t* const flag = reinterpret_cast<uint32_t*>(after);
  work_memory* const work = reinterpret_cast<work_memory*>(after + 16);
  float* const scales = reinterpret_cast<float*>(after + 128);  // of the values' int8 steps, one per channel
  float* const maxima = scales + K::kHeadDim;
  unsigned char* const turns = after + 128 + K::kHeadDim * 4;
  static_assert(K::kValueTableBytes + K::kKeyTableBytes + K::kWarps * (sizeof(warp_result<K>) + Keys::kWarpBytes) + Keys::kMaximaBytes + K::kHeadDim * 4 + 128 <= K::kSharedBytes,
                "generator/shared.ts is wrong");

  const index3 block = block_index();
  const int group = int(uint32_t(block.y) / uint32_t(p.kv_heads)), kv_head = block.y - group * p.kv_heads;
  const unsigned char* k_codebook = byte_pointer(p.k_codebook) + int64_t(kv_head) * K::Key::kCodebookBytes;
  const unsigned char* v_codebook = byte_pointer(p.v_codebook) + int64_t(kv_head) * K::Value::kCodebookBytes;
  bool filled = false;
  for_each_piece<K>(p, work, [&](const piece& w) {
    const auto columns = [&](int c) -> const unsigned char* {
      const query_rows rows = query_rows_of(p, w.b);
      const int flat = group * K::kColumns + c, ratio = int(uint32_t(p.q_heads) / uint32_t(p.kv_heads));
      if (c >= K::kColumns || flat >= rows.count * ratio) return nullptr;
      const int row = rows.count > 1 ? int(uint32_t(flat) / uint32_t(ratio)) : 0;
      return byte_pointer(p.q) + (rows.first + row) * p.q_row_stride + (kv_head * ratio + flat - row * ratio) * p.q_head_stride;
    };
    // The view of the sequence is made anew for each phase: it would cost the loop of the coded phase registers.
    const auto columns_of = [&](const decode_view& s) {
      return [&](int c) {
        const query_rows rows = query_rows_of(p, w.b);
        // Columns beyond kColumns are padding of a matrix instruction.
        return column_of(p, s, w.b, rows.first, rows.count, kv_head, c < K::kColumns ? group * K::kColumns + c : 0x7fffffff);
      };
    };
    const auto view = [&] { return lengths_of(p, w.b, query_rows_of(p, w.b).count); };

    // Lines whose addresses are known are asked for first, then those at the end of chains.
    if (!filled) {
      for (int at = thread_index() * 128; at < K::Value::kCodebookBytes; at += K::kWarps * 32 * 128) prefetch_global(v_codebook + at);
      for (int at = thread_index() * 128; at < K::Key::kCodebookBytes; at += K::kWarps * 32 * 128) prefetch_global(k_codebook + at);
    }
    if (thread_index() < K::kColumns * (K::kHeadDim / 64)) {
      const unsigned char* row = columns(thread_index() / (K::kHeadDim / 64));
      if (row) prefetch_global(row + thread_index() % (K::kHeadDim / 64) * 128);
    }
    prefetch_first<K>(p, w, view(), kv_head);
    if (!filled) {
      typename Values::raw_entries raw;
      Values::load(raw, v_codebook);
      Values::store(values, raw);
      for (int i = thread_index(); i < K::kHeadDim; i += K::kWarps * 32) store_shared(scales + i, load_global(reinterpret_cast<const float*>(v_codebook + K::Value::kScaleOffset) + i));
    }
    if (!filled || Keys::kTablePerPiece) Keys::fill(p, key_table, k_codebook, columns, maxima);
    if constexpr (K::kKeyTurn) Keys::fill_turns(p, turns);
    filled = true;
    block_barrier();  // the tables are there; a warp without exact rows goes on to its codes
    {
      decode_view s = view();
      add_anchors(p, w.b, s);
      attend_exact<K>(p, w, s, kv_head, results[warp_index()], columns_of(s));
    }
    {
      Keys keys;
      keys.begin(p, key_table, columns, reinterpret_cast<const float*>(k_codebook + K::Key::kScaleOffset), maxima, turns);
      const decode_view s = view();
      attend_coded<K>(p, w, s, kv_head, keys, values, results[warp_index()], scales, group * K::kColumns / (p.q_heads / p.kv_heads), columns_of(s));
    }
    block_barrier();
    const decode_view s = view();
    finish_piece<K>(p, w, s, columns_of(s), results, K::kWarps, flag);
  });
}

// At least one CTA per SM is all that is asked for: without the 1, ptxas may spill to fit more.
extern "C" __global__ void __launch_bounds__(256, 1)
antkv_decode_d128_k4c8b_v4c8bq8_f16_pre_gain_n4__sm90_lookup_w8_s1_c4(const __grid_constant__ antkv_decode_params p) {
  decode_lookup<K>(p);
}

}  // namespace antkv_decode_d128_k4c8b_v4c8bq8_f16_pre_gain_n4__sm90_lookup_w8_s1_c4_
