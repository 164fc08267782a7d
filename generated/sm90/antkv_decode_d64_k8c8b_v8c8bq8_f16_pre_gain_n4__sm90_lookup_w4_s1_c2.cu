// Generated file. Do not edit.
//   template  templates/decode_lookup.cu.hbs
//   kernel    antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain_n4__sm90_lookup_w4_s1_c2
//   inputs    b3d55ad5e1e125a5
//   remake    npx gen --only antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain_n4__sm90_lookup_w4_s1_c2
#include "antkv.h"
#include "antkv_device.cuh"

namespace antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain_n4__sm90_lookup_w4_s1_c2_ {  // its own: device linking would merge equal names
using namespace antkv;

struct K {
  using Element = f16;  // of queries, exact rows and output
  static constexpr int kHeadDim = 64;
  struct Key {
    static constexpr bool kExact = false;
    static constexpr int kRowBytes = 8, kCodebookBytes = 40960;
    static constexpr int kChannels = 8, kBits = 8, kCodeStages = 1, kEntries = 256;
    static constexpr bool kQ8 = false;
    static constexpr int kScaleOffset = 32768, kHalfNormOffset = 32768;
    static constexpr bool kKeys = true, kByLane = true;  // the order of codes in a unit
    static constexpr int kChunks = 8, kPiece = 4, kTurnHigh = 1, kTurnShift = 1, kTurnMask = 0;
  };
  struct Value {
    static constexpr bool kExact = false;
    static constexpr int kRowBytes = 8, kCodebookBytes = 24832;
    static constexpr int kChannels = 8, kBits = 8, kCodeStages = 1, kEntries = 256;
    static constexpr bool kQ8 = true;
    static constexpr int kScaleOffset = 16384, kHalfNormOffset = 16640;
    static constexpr bool kKeys = false, kByLane = true;
    static constexpr int kChunks = 8, kPiece = 4, kRowSpan = 4;
  };
  static constexpr bool kCoded = true;  // a side is coded: pages carry a bitmap, and anchors exist
  static constexpr int kUnitBytes = 288, kValueOffset = 128, kKeyGainOffset = 256;
  static constexpr bool kPre = true, kKeyGain = true;
  static constexpr bool kSink = false;
  static constexpr int kColumns = 4;  // query columns of a CTA
  static constexpr bool kKeySum = false, kKeyTurn = true;  // how scores come about
  static constexpr int kWarps = 4, kStages = 1;       // sets of registers that codes of tiles come to
  static constexpr int kCopies = 2;                           // of the table of values
  static constexpr int kWarpBytes = 1120;                     // of shared memory: a warp's own
  static constexpr bool kResultsOverTables = false;    // results lie in the tables' place when these have been used
  static constexpr int kKeyTableBytes = 32768, kValueTableBytes = 32768, kSharedBytes = 75152;
};

// The 16-bit type of a contract's queries, exact rows and output, f16 or bf16: what the two do differently, by one set of names.

template <class T>
constexpr bool kIsBf16 = false;
template <>
constexpr bool kIsBf16<bf16> = true;

/// The nearest T, ties to even.
template <class T>
__device__ __forceinline__ T round_to(float x) {
  if constexpr (kIsBf16<T>) return to_bf16(x);
  else return to_f16(x);
}
/// Two of them in a register, `lo` in the low 16 bits.
template <class T>
__device__ __forceinline__ uint32_t round_pair(float lo, float hi) {
  if constexpr (kIsBf16<T>) return pack_bf16(lo, hi);
  else return pack_halves(lo, hi);
}
/// d += A * B of 16 x 16 and 16 x 8 elements of T.
template <class T>
__device__ __forceinline__ void multiply_add(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if constexpr (kIsBf16<T>) mma_16x8x16_bf16(d, a, b);
  else mma_16x8x16(d, a, b);
}
/// A channel of a query, within what halves can be: those have more digits than bf16, but not room for all of its sizes. What is no number stays none.
template <class T>
__device__ __forceinline__ float float_of_query(uint32_t bits) {
  const float x = to_float(T{uint16_t(bits)});
  if constexpr (!kIsBf16<T>) return x;
  return x != x ? x : fminf(fmaxf(x, -65504.0f), 65504.0f);
}
/// A pair of a query's channels as halves, for keys that were codes.
template <class T>
__device__ __forceinline__ uint32_t halves_of_query(uint32_t pair) {
  if constexpr (!kIsBf16<T>) return pair;
  return pack_halves(float_of_query<T>(pair), float_of_query<T>(pair >> 16));
}

// Where things lie: coded pages, anchor pages, per-sequence state. P is any parameter struct with these fields.

__device__ __forceinline__ const unsigned char* byte_pointer(const void* p) { return static_cast<const unsigned char*>(p); }
__device__ __forceinline__ unsigned char* byte_pointer(void* p) { return static_cast<unsigned char*>(p); }
__device__ __forceinline__ int min_int(int a, int b) { return a < b ? a : b; }

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

/// The place of group `group` in a row of a key. Groups turn within their part: powers of two from the largest on, so that part and number of groups differ first in the part's bit.
template <class C>
__device__ __forceinline__ constexpr uint32_t key_place(uint32_t row, uint32_t group) {
  constexpr uint32_t kGroups = C::kChunks / 4;
  if constexpr ((kGroups & (kGroups - 1)) == 0) {
    return group ^ key_turn<C>(row);
  } else {
    uint32_t below = (group ^ kGroups) >> 1;  // to all bits below the highest
    below |= below >> 1, below |= below >> 2, below |= below >> 4;
    return group ^ (key_turn<C>(row) & below);
  }
}

/// The byte in which the code of `chunk` of token `token` (0 ... 15) begins, from the start of the side.
template <class C>
__device__ __forceinline__ int code_offset(uint32_t token, uint32_t chunk) {
  if constexpr (!C::kByLane) {
    return int(token * C::kRowBytes + chunk * C::kBits / 8);
  } else {
    constexpr uint32_t kChunks = C::kKeys ? C::kChunks : C::kChunks / 8 * 8, kPiece = C::kPiece;
    uint32_t lane, position;  // position: among the lane's bytes
    if constexpr (C::kKeys) {
      const uint32_t row = token % 8;
      lane = row * 4 + chunk % 4;
      position = token / 8 * (kChunks / 4) + key_place<C>(row, chunk / 4);
    } else {
      // The last four of an odd number of fours: of half of the lanes.
      if (C::kChunks > kChunks && chunk >= kChunks) return int(16 * kChunks + (chunk % 4 * 4 + token % 4) * 4 + token / 4);
      const uint32_t span = chunk / C::kRowSpan;
      lane = (span / (kChunks / 8) * C::kRowSpan + chunk % C::kRowSpan) * 4 + token % 4;
      position = token / 4 * (kChunks / 8) + span % (kChunks / 8);
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

/// Columns of T as halves.
template <class T, int kSteps>
__device__ __forceinline__ void round_columns(uint32_t (&to)[kSteps][2], const uint32_t (&from)[kSteps][2]) {
#pragma unroll
  for (int i = 0; i < kSteps * 2; ++i) to[i / 2][i % 2] = halves_of_query<T>(from[i / 2][i % 2]);
}

/// d[token][column] = rows . columns over all channels; `rows` are 16 rows in shared memory.
template <int kHeadDim, class T>
__device__ __forceinline__ void multiply_rows(float (&d)[4], const T* rows, int row_stride, const uint32_t (&columns)[kHeadDim / 16][2]) {
  const int lane = lane_index();
  const T* from = rows + (lane % 16) * row_stride + lane / 16 * 8;
#pragma unroll
  for (int step = 0; step < kHeadDim / 16; ++step) {
    uint32_t a[4];
    load_matrix_x4(a, from + step * 16);
    multiply_add<T>(d, a, columns[step]);
  }
}

/// Weights as a B operand. A product's result has its tokens on rows; as B operand the tokens belong on pairs of registers: one transpose per 8 x 8 block.
template <class T>
__device__ __forceinline__ void transpose_weights(uint32_t (&b)[2], const float (&weights)[4]) {
  b[0] = transpose_matrix(pack(round_to<T>(weights[0]), round_to<T>(weights[1])));
  b[1] = transpose_matrix(pack(round_to<T>(weights[2]), round_to<T>(weights[3])));
}

/// d[channel][column] += rows^T . weights; `weights` holds token g (d[0], d[1]) and g + 8 (d[2], d[3]) of columns 2t, 2t + 1.
template <int kHeadDim, class T>
__device__ __forceinline__ void accumulate_rows(float (&d)[kHeadDim / 16][4], const T* rows, int row_stride, const float (&weights)[4]) {
  const int lane = lane_index();
  const T* from = rows + (lane % 8 + lane / 16 * 8) * row_stride + lane / 8 % 2 * 8;
  uint32_t b[2];
  transpose_weights<T>(b, weights);
#pragma unroll
  for (int tile = 0; tile < kHeadDim / 16; ++tile) {
    uint32_t a[4];
    load_matrix_x4_transposed(a, from + tile * 16);
    multiply_add<T>(d[tile], a, b);
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

// What a sequence costs, in one unit per algorithm: it decides where a line of work is cut, never what is computed. kPiece is the price of a piece, its start and its
// merge. Of it kSide units without tokens lie on the line before the sequence's tokens, and as many behind them: a CTA whose share begins or ends among them leaves the
// sequence to its neighbour, which has a piece of it anyhow. So no sequence is begun for a few tokens; a CTA pays for all its pieces but one.
// Look-up: 32 coded tokens; 16 exact ones take the slow path, 370 clocks. Where keys are scored by a table of sums a piece makes its own: start and merge take about
// 15,500 clocks of an SM, 32 tokens of a head 70 and 2 per look-up (H200, harness/bench/NOTES.md). A line cut without that leaves the CTAs with many short sequences behind.
template <class K>
struct lookup_cost {
  static constexpr int kPiece = K::kKeySum ? 15500 / (70 + 2 * K::kHeadDim / K::Key::kChannels) : 32, kSide = (kPiece - 1) / 2, kCoded32 = 1, kExact16 = 4;
};
struct rows_cost {  // units of 16 tokens, all alike; the start and the merge
  static constexpr int kPiece = 8, kSide = 0, kCoded32 = 2, kExact16 = 1;
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

/// This CTA's share of the line, and where it begins. Of the CTAs, the first `longer` get `share` + 1 units of the line, the others `share`.
/// Costs add up below 2^31, so a batch's coded tokens below 2^36 / Cost::kCoded32.
struct line_share {
  int begin, end, share, longer;
  int b, at;  // the first sequence that has tokens behind `begin`, and where on the line it begins
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
  const int ctas = p.splits < total ? p.splits : total;
  if (x >= ctas) return s;
  s.share = int(uint32_t(total) / uint32_t(ctas));
  s.longer = total - s.share * ctas;
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
    const uint32_t beyond = vote_ballot(s.at + after - Cost::kSide > s.begin);
    if (beyond) {
      const int holder = count_bits((beyond & (0u - beyond)) - 1);
      s.b = base + holder;
      s.at += shuffle(after - cost, holder);
      return s;
    }
    s.at += shuffle(after, 31);
    if (Cost::kSide > 0 && base + 32 >= p.batch) return s;  // the share lies behind the last tokens
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
  if (s.at + Cost::kSide >= s.end) return {};
  int cost = cost_of<K, Cost>(p, s.b);
  while (cost == 0) cost = cost_of<K, Cost>(p, ++s.b);
  const auto owner = [&](int i) {  // the CTA that unit i of the line belongs to
    const int beyond = i - s.longer * (s.share + 1);
    return beyond < 0 ? int(uint32_t(i) / uint32_t(s.share + 1)) : s.longer + int(uint32_t(beyond) / uint32_t(s.share));
  };
  piece w;
  w.b = s.b++;
  const int tokens = s.at + Cost::kSide;
  w.from = s.begin > tokens ? s.begin - tokens : 0;
  w.of = cost - 2 * Cost::kSide;
  w.to = s.end - tokens < w.of ? s.end - tokens : w.of;
  w.first = owner(tokens);
  w.parts = owner(tokens + w.of - 1) - w.first + 1;
  s.at += cost;
  return w;
}

/// The piece under way: in a static launch from the block's place alone, else what advance() left in shared memory.
template <class P>
__device__ __forceinline__ piece piece_now(const P& p, const work_memory* memory) {
  const index3 block = block_index();
  if (p.spread) {
    piece now = load_words(&memory->now);
    now.b = uniform(now.b), now.parts = uniform(now.parts);  // what ends the loop over pieces
    return now;
  }
  return {block.z, block.x, block.x + 1, p.splits, p.splits, 0};
}

/// Before the first piece, all threads: where this CTA's share of the line lies, in a spread launch. False in all threads if the CTA has nothing to do.
template <class K, class Cost, class P>
__device__ __forceinline__ bool begin_pieces(const P& p, work_memory* memory) {
  if (!p.spread) return uniform(int(has_columns<K>(p, block_index().z)));
  if (!p.counters && p.splits > 1) clear_partials<K>(p);
  if (warp_index() == 0) {
    const line_share s = share_of_line<K, Cost>(p);
    if (thread_index() == 0) store_words(&memory->line, s);
  }
  return true;
}

/// Works out the next piece of a spread launch, one thread; all others see it after a block barrier.
template <class K, class Cost, class P>
__device__ __forceinline__ void advance(const P& p, work_memory* memory) {
  line_share s = load_words(&memory->line);
  store_words(&memory->now, next_piece<K, Cost>(p, s));
  store_words(&memory->line, s);
}

/// Calls body(const piece&) for each piece of this CTA, in order, all threads together; `memory` is shared. All threads of the block must call it.
/// A block barrier stands between two bodies.
template <class K, class Cost, class P, class Body>
__device__ __forceinline__ void for_each_piece(const P& p, work_memory* memory, Body&& body) {
  if (!begin_pieces<K, Cost>(p, memory)) return;
  // One call of `body`: it is large, and the compiler would inline a second one.
#pragma unroll 1
  while (true) {
    if (p.spread) {
      if (thread_index() == 0) advance<K, Cost>(p, memory);
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

/// The results of a CTA's warps, `stride` bytes apart in shared memory.
template <class K>
struct warp_results {
  unsigned char* first;
  int stride;
  __device__ __forceinline__ warp_result<K>& operator[](int i) const { return *reinterpret_cast<warp_result<K>*>(first + i * stride); }
};

/// What `merge_results` merges: the results of a CTA's warps. of(): four channels of a column, at(i) being those of result i.
template <class K>
struct results_of_warps {
  static constexpr float kToLog2 = 1;  // what a maximum is multiplied by
  warp_results<K> results;
  int count;
  struct fours {
    const unsigned char *o, *maximum, *weight;
    int stride;
    __device__ __forceinline__ float maximum_of(int i) const { return load_shared(reinterpret_cast<const float*>(maximum + i * stride)); }
    __device__ __forceinline__ float weight_of(int i) const { return load_shared(reinterpret_cast<const float*>(weight + i * stride)); }
    /// Of a result that saw nothing they may never have been written.
    __device__ __forceinline__ bytes16 sums_of(int i, float maximum) const {
      return maximum == minus_infinity() ? bytes16{} : load_shared(reinterpret_cast<const bytes16*>(o + i * stride));
    }
  };
  __device__ __forceinline__ fours of(const column&, int at, int channel) const {
    const warp_result<K>& r = results[0];
    return {byte_pointer(r.o + at * warp_result<K>::kStride + channel), byte_pointer(r.maximum + at), byte_pointer(r.weight + at), results.stride};
  }
};

/// The same of the parts of a sequence that CTAs have left in global memory, whose weights are 1.
template <class K, class P>
struct parts_of_ctas {
  static constexpr float kToLog2 = kLog2e;
  const P& p;
  int first, count;
  struct fours {
    const float *o, *lse;
    int64_t stride;  // in columns
    __device__ __forceinline__ float maximum_of(int i) const { return load_global_coherent(lse + i * stride); }
    __device__ __forceinline__ float weight_of(int) const { return 1; }
    __device__ __forceinline__ bytes16 sums_of(int i, float) const { return load_global_coherent(reinterpret_cast<const bytes16*>(o + i * stride * K::kHeadDim)); }
  };
  __device__ __forceinline__ fours of(const column& c, int, int channel) const {
    const int64_t stride = int64_t(p.rows) * p.q_heads, place = first * stride + c.row * p.q_heads + c.head;
    return {p.partial_o + place * K::kHeadDim + channel, p.partial_lse + place, stride};
  }
};

/// How merge_results shares its work: a thread has four channels of a column, of every kGroups-th part.
template <class K>
struct merge_groups {
  static constexpr int kFours = K::kHeadDim / 4, kMost = K::kWarps * 32 / (K::kColumns * kFours);
  static constexpr int kGroups = kMost >= 8 ? 8 : kMost >= 4 ? 4 : kMost >= 2 ? 2 : 1, kLanes = 32 / kGroups;  // the groups of a warp have the same kLanes fours
};

/// Merges `parts`, in a fixed order, and writes output and log-sum-exp, or this CTA's part of them. kAtOnce parts are under way together in each thread.
/// `sinks`: learned sink logits of contracts that have them join here, as one more key whose value is 0. All threads.
template <int kAtOnce, class K, class P, class Column, class Parts>
__device__ __forceinline__ void merge_results(const P& p, const Column& column_at, const Parts& parts, bool whole, bool sinks) {
  constexpr int kFours = merge_groups<K>::kFours, kGroups = merge_groups<K>::kGroups, kLanes = merge_groups<K>::kLanes;
  const int group = lane_index() / kLanes;
#pragma unroll 1
  for (int first = warp_index() * kLanes; first < K::kColumns * kFours; first += K::kWarps * kLanes) {
    const int flat = first + lane_index() % kLanes, at = flat / kFours, channel = flat % kFours * 4;
    const column c = column_at(at);
    float top = minus_infinity(), total = 0, sum[4] = {};  // log2 units
    if constexpr (K::kSink)
      if (sinks && c.valid && group == 0) top = load_global(p.sink_logits + c.head) * kLog2e, total = top == minus_infinity() ? 0.0f : 1.0f;
    // To what a maximum of `with` leads.
    const auto lower = [&](float with) {
      const float before = top;
      top = fmaxf(top, with);
      const float zero = top == minus_infinity() ? 0.0f : top;  // not -inf - -inf
      const float shrink = exp2_fast(before - zero);
      total *= shrink;
#pragma unroll
      for (int j = 0; j < 4; ++j) sum[j] *= shrink;
      return zero;
    };
    const auto fours = parts.of(c, at, channel);
#pragma unroll 1
    for (int base = group; base < (c.valid ? parts.count : 0); base += kAtOnce * kGroups) {
      // Instead of those behind the last part it is loaded again: a branch would wait for what is loaded in it.
      float maximum[kAtOnce], weight[kAtOnce];
      bytes16 o[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const int part = min_int(base + i * kGroups, parts.count - 1);
        maximum[i] = fours.maximum_of(part), weight[i] = fours.weight_of(part);
        o[i] = fours.sums_of(part, maximum[i]);
      }
      float most = minus_infinity();
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        maximum[i] = base + i * kGroups < parts.count ? maximum[i] * Parts::kToLog2 : minus_infinity();
        most = fmaxf(most, maximum[i]);
      }
      const float zero = lower(most);
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const float factor = exp2_fast(maximum[i] - zero);
        total += weight[i] * factor;
#pragma unroll
        for (int j = 0; j < 4; ++j) sum[j] += factor * float_of_bits(o[i].w[j]);
      }
    }
#pragma unroll
    for (int mask = kLanes; mask < 32; mask *= 2) {
      lower(shuffle_xor(top, mask));
      total += shuffle_xor(total, mask);
#pragma unroll
      for (int j = 0; j < 4; ++j) sum[j] += shuffle_xor(sum[j], mask);
    }

    if (!c.valid || group > 0) continue;
    const float scale = total > 0 ? 1 / total : 0.0f, lse = total > 0 ? (top + log2_fast(total)) * kLn2 : minus_infinity();
#pragma unroll
    for (int j = 0; j < 4; ++j) sum[j] = total > 0 ? sum[j] * scale : 0.0f;
    if (whole) {
      bytes8* out = reinterpret_cast<bytes8*>(byte_pointer(p.out) + c.row * p.out_row_stride + c.head * p.out_head_stride + channel * 2);
      store_global(out, bytes8{{round_pair<typename K::Element>(sum[0], sum[1]), round_pair<typename K::Element>(sum[2], sum[3])}});
      if (p.lse && channel == 0) store_global(p.lse + int64_t(c.row) * p.q_heads + c.head, lse);
    } else {
      const int64_t place = (int64_t(block_index().x) * p.rows + c.row) * p.q_heads + c.head;
      store_global(reinterpret_cast<bytes16*>(p.partial_o + place * K::kHeadDim + channel), bytes16{{float_bits(sum[0]), float_bits(sum[1]), float_bits(sum[2]), float_bits(sum[3])}});
      if (channel == 0) store_global(p.partial_lse + place, lse);
    }
  }
}

/// Tells the CTAs of the piece's sequence that this one's part is written. True, in all threads, for the last one, which sees all parts.
template <class P>
__device__ __forceinline__ bool arrive_last(const P& p, const piece& w, uint32_t* flag) {
  block_barrier();  // what this puts before the addition, its release covers: one thread's is enough
  if (thread_index() == 0) {
    uint32_t* counter = p.counters + int64_t(w.b) * grid_size().y + block_index().y;
    const bool last = atomic_add_acquire_release(counter, 1) == uint32_t(w.parts - 1);
    store_shared(flag, uint32_t(last));
    if (last) store_global(counter, 0u);  // for the next launch
  }
  block_barrier();
  return uniform(load_shared(flag)) != 0;
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

/// Merges `count` results in shared memory, and with `counters` the parts of all CTAs if this one is the last, and writes what the piece owes. `flag`: a word of
/// shared memory beside them. All threads, after a block barrier.
template <class K, class P, class Column>
__device__ __forceinline__ void finish_piece(const P& p, const piece& w, const decode_view& s, const Column& column_at, const warp_results<K>& results, int count, uint32_t* flag) {
  if (p.ring_scores && w.from == 0) clear_ring_scores<K>(p, s, column_at);
  // Without counters combine follows, and reads the part even of a sequence that one CTA had to itself.
  const bool whole = p.splits == 1 || (p.counters && w.parts == 1);
  merge_results<4, K>(p, column_at, results_of_warps<K>{results, count}, whole, w.from == 0);
  if (whole || !p.counters || !arrive_last(p, w, flag)) return;
  merge_results<16 / merge_groups<K>::kGroups, K>(p, column_at, parts_of_ctas<K, P>{p, w.first, w.parts}, true, false);  // a part has brought the sinks
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
/// `page`: the entry of the sequence's list of anchor pages, where the unit is one of anchors.
template <class K, class P>
__device__ __forceinline__ exact_unit exact_unit_of(const P& p, const decode_view& s, int kv_head, int unit, int page) {
  if (unit < s.anchor_units) {
    const unsigned char* rows = anchor_block(p, page, kv_head);
    return {rows, rows + 32 * K::kHeadDim, 2 * K::kHeadDim, 0, 16, 16};
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

/// This warp's units of a piece: number n is unit first + n * warps.
struct exact_units {
  int first, count;
  int page;  // lane n: the anchor page of unit base + n
};
/// Loads the pages of up to 32 units from number `base` on.
template <class K>
__device__ __forceinline__ void load_pages(exact_units& units, const decode_view& s, int base) {
  const int unit = units.first + (base + lane_index()) * K::kWarps;
  units.page = base + lane_index() < units.count && unit < s.anchor_units ? load_global(s.anchors + unit) : 0;
}
template <class K, class Context>
__device__ __forceinline__ exact_units exact_units_of(const Context* context) {
  const decode_view s = load_words(&context->s);
  exact_units units;
  int end;
  units.first = first_exact<K>(load_words(&context->w), s, end);
  units.first = uniform(units.first);
  units.count = uniform(end > units.first ? (end - units.first + K::kWarps - 1) / K::kWarps : 0);
  load_pages<K>(units, s, 0);
  return units;
}

/// Asks for the lines of unit number `n`, if there is one.
template <class K, class P>
__device__ __forceinline__ void prefetch_exact(const P& p, const decode_view& s, int kv_head, const exact_units& units, int n) {
  const int page = shuffle(units.page, n % 32);
  if (n >= units.count) return;
  // A lane asks for half a row of K or of V; the anchors' tokens lie behind their rows.
  const exact_unit u = exact_unit_of<K>(p, s, kv_head, units.first + n * K::kWarps, page);
  const int64_t at = u.offset(lane_index() / 2) + lane_index() % 2 * K::kHeadDim;
#pragma unroll
  for (int line = 0; line < K::kHeadDim; line += 128) {
    prefetch_global(u.k + at + line);
    prefetch_global(u.v + at + line);
  }
  if (lane_index() == 0 && units.first + n * K::kWarps < s.anchor_units) prefetch_global(u.k + 64 * K::kHeadDim);
}

/// What a lane reads at once of a value's row: 8 channels, or 4 of head dims that are not made of spans of 64.
template <int kWords>
struct value_piece {
  using type = bytes16;
};
template <>
struct value_piece<2> {
  using type = bytes8;
};

/// Attends to this warp's share of the piece's exact rows and adds them to `result`, which holds what its coded tokens came to.
template <class K, class P, class Context>
__device__ __forceinline__ void attend_exact(const P& p, const Context* context, exact_units& units, warp_result<K>& result) {
  constexpr int kPieces = K::kHeadDim / 32;   // 16-byte pieces of a row that a lane reads of K
  constexpr int kSpan = K::kHeadDim % 64 ? 32 : 64, kSpans = K::kHeadDim / kSpan, kWords = kSpan / 16;  // ... and of V, in words
  using value_words = typename value_piece<kWords>::type;
  constexpr int kStride = warp_result<K>::kStride;
  using T = typename K::Element;
  const int g = lane_index() / 4, t = lane_index() % 4;
  if (units.count == 0) return;
  decode_view s = load_words(&context->s);
  s.anchor_units = uniform(s.anchor_units);
  const int kv_head = load_shared(&context->kv_head);
  prefetch_exact<K>(p, s, kv_head, units, 1);

  // Tokens before `open` a column sees. This lane's column g gives the query, and columns 2t and 2t + 1 are those of its scores.
  column own = load_words(context->columns + g % K::kColumns);
  own.valid = own.valid && g < K::kColumns;
  const unsigned char* query = byte_pointer(p.q) + own.row * p.q_row_stride + own.head * p.q_head_stride + t * 16;
  const int own_open = own.valid && own.position >= s.first_pos ? own.position - s.first_pos + 1 : 0;
  const int open[2] = {shuffle(own_open, 8 * t), shuffle(own_open, 8 * t + 4)};

  // The sums stay in the result between units: registers are for rows on their way, K's and V's together.
  float* const sums = result.o + 2 * t * kStride + g * 2 * kWords;
  float maximum[2], weight[2];
#pragma unroll
  for (int c = 0; c < 2; ++c) {
    const bool mine = 2 * t < K::kColumns;
    maximum[c] = mine ? load_shared(result.maximum + 2 * t + c) : minus_infinity();
    weight[c] = mine && g == 0 ? load_shared(result.weight + 2 * t + c) : 0.0f;
  }
#pragma unroll 1
  for (int n = 0; n < units.count; ++n) {
    if (n > 0 && n % 32 == 0) load_pages<K>(units, s, n);
    const int unit = units.first + n * K::kWarps;
    const exact_unit rows = exact_unit_of<K>(p, s, kv_head, unit, shuffle(units.page, n % 32));
    bytes16 k[2][kPieces];
    value_words v[4][kSpans];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const bytes16* row = reinterpret_cast<const bytes16*>(rows.k + rows.offset(g + 8 * half)) + t;
#pragma unroll
      for (int i = 0; i < kPieces; ++i) k[half][i] = load_global_once(row + i * 4);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const value_words* row = reinterpret_cast<const value_words*>(rows.v + rows.offset(2 * t + i % 2 + i / 2 * 8)) + g;
#pragma unroll
      for (int span = 0; span < kSpans; ++span) v[i][span] = load_global_once(row + span * 8);
    }
    if (n % 32 < 30) prefetch_exact<K>(p, s, kv_head, units, n + 2);
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
      for (int h = 0; h < 4; h += 2) multiply_add<T>(score, {k[0][i].w[h], k[1][i].w[h], k[0][i].w[h + 1], k[1][i].w[h + 1]}, {q.w[h], q.w[h + 1]});
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
    const uint32_t b[2] = {transpose_matrix(round_pair<T>(score[0], score[1])), transpose_matrix(round_pair<T>(score[2], score[3]))};
#pragma unroll
    for (int span = 0; span < kSpans; ++span) {
      float o[kWords][4] = {};  // tile h: rows g and g + 8 are channels kSpan * span + 2 (kWords g + h) and the next; columns 2t, 2t + 1
#pragma unroll
      for (int h = 0; h < kWords; ++h)
        multiply_add<T>(o[h], {permute_bytes(v[0][span].w[h], v[1][span].w[h], 0x5410), permute_bytes(v[0][span].w[h], v[1][span].w[h], 0x7632),
                           permute_bytes(v[2][span].w[h], v[3][span].w[h], 0x5410), permute_bytes(v[2][span].w[h], v[3][span].w[h], 0x7632)}, b);
      if (2 * t >= K::kColumns) continue;
#pragma unroll
      for (int c = 0; c < 2; ++c)
#pragma unroll
        for (int h = 0; h < kWords; h += 2) {
          bytes16* at = reinterpret_cast<bytes16*>(sums + c * kStride + span * kSpan + h * 2);
          float sum[4] = {o[h][c], o[h][c + 2], o[h + 1][c], o[h + 1][c + 2]};
          const bytes16 before = load_shared(at);
#pragma unroll
          for (int i = 0; i < 4; ++i) sum[i] += float_of_bits(before.w[i]) * shrink[c];
          store_shared(at, bytes16{{float_bits(sum[0]), float_bits(sum[1]), float_bits(sum[2]), float_bits(sum[3])}});
        }
    }
  }

  warp_barrier();  // every lane has read what the first ones write now
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

// What all warps of a CTA want to know of the piece under way.

/// What the phases of a piece share, in shared memory: in registers it would take room from the loop, made anew it would take time.
template <class K>
struct piece_context {
  decode_view s;
  piece w;
  int kv_head;
  int open;  // tokens below it are seen by every column
  column columns[K::kColumns];
};

/// Fills it, one warp.
template <class K, class P>
__device__ __forceinline__ void store_context(const P& p, const piece& w, int group, int kv_head, piece_context<K>* context) {
  const query_rows rows = query_rows_of(p, w.b);
  const decode_view s = view_of(p, w.b, rows.count);
  int open = 0x7fffffff;
  if (lane_index() < K::kColumns) {
    const column c = column_of(p, s, w.b, rows.first, rows.count, kv_head, group * K::kColumns + lane_index());
    store_words(context->columns + lane_index(), c);
    if (c.valid) open = c.position - s.first_pos + 1;
    if (p.tree_mask) open = min_int(open, s.first_new);
  }
#pragma unroll
  for (int mask = 1; mask < K::kColumns; mask *= 2) open = min_int(open, shuffle_xor(open, mask));
  if (lane_index() == 0) {
    store_words(&context->s, s);
    store_words(&context->w, w);
    store_shared(&context->kv_head, kv_head);
    store_shared(&context->open, open);
  }
}

// Values by look-up: int8 centroids in shared memory, so laid out that (with 4 copies) the 32 lanes of a look-up never meet in a bank, and what they bring are operands of
// the matrix unit. Lane = 4r + t: r owns channels, t owns tokens t, 4 + t, 8 + t and 12 + t of a unit.

__constant__ uint32_t kByteTimes128[4] = {0x80u, 0x8000u, 0x800000u, 0x80000000u};
/// Places of entries in tables with rows of 128 bytes: 128 times byte `i` of `word`, plus c, in one instruction. Its factors are held in registers where there is room.
template <bool kHold>
struct byte_rows {
  uint32_t times[kHold ? 4 : 1];

  __device__ __forceinline__ byte_rows(uint32_t zero) {
#pragma unroll
    for (int i = 0; i < (kHold ? 4 : 0); ++i) times[i] = opaque(0x80u << (8 * i), zero);
  }
  __device__ __forceinline__ uint32_t at(uint32_t word, int i, uint32_t c) const { return dot_bytes(word, kHold ? times[kHold ? i : 0] : kByteTimes128[i], c); }
};
template <class K>
using row_places = byte_rows<K::kKeySum>;  // the other ways of scoring keys leave no room

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
  /// An odd number of fours of chunks: of the last four, rows r and r + 4 look up half an entry each.
  static constexpr bool kHalved = kChunks % 8 == 4;
  static_assert(!kHalved || (C::kChannels == 8 && kSlots == 4), "generator/layout.ts let other halves through");
  static constexpr int kGroupsPerRow = 4 / kCopies;               // groups of kSlots slots that a row has room for
  static constexpr int kWords = kSlotBytes / 4;
  static constexpr int kOwnWords = kChunks / 8;                   // 32-bit words of codes of a lane and unit, of four bytes for every eight chunks
  static constexpr int kCodeWords = kOwnWords + (kHalved ? 1 : 0);
  static constexpr int kLaneWords = kPerLane * kWords + (kHalved ? 1 : 0);  // of entries that a lane reads per token
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
  /// The same of the half entries.
  static __device__ __forceinline__ int half_offset(int r, int t) { return group_offset(kChunks / kSlots - 1) + (r % 4 * kCopies + t % kCopies) * kSlotBytes + r / 4 * 4; }
  /// The channel in byte `byte` of word `word` (of a lane's kPerLane * kWords) that lane row r looks up.
  static __device__ __forceinline__ int channel(int r, int word, int byte) {
    const int slot = word / kWords, part = word % kWords;
    if (kHalved && slot == kPerLane) return (kChunks - 4 + r % 4) * C::kChannels + r / 4 * 4 + byte;
    if constexpr (kPairs) return ((2 * slot + byte / 2) * 8 + r) * 2 + byte % 2;
    return ((r / kSlots * kPerLane + slot) * kSlots + r % kSlots) * C::kChannels + 4 * part + byte;
  }

  /// Half `half` of a pair's slot, in the low half of the word.
  static __device__ __forceinline__ uint32_t look_up_half(const row_places<K>& rows, const uint32_t (&codes)[kCodeWords], uint32_t at, int token, int slot, int half) {
    const int byte = (token * kPerLane + slot) * 2 + half;
    return load_table_u16(rows.at(codes[byte / 4], byte % 4, at) + (group_offset(slot) + half * 2));
  }
  /// Slot `slot` of token `token` (of a lane's four in a unit); `at` is the shared address that lane_offset leads to.
  static __device__ __forceinline__ void look_up(uint32_t (&words)[kWords], const row_places<K>& rows, const uint32_t (&codes)[kCodeWords], uint32_t at, int token, int slot) {
    const auto row = [&](int byte) { return rows.at(codes[byte / 4], byte % 4, at) + group_offset(slot); };
    if constexpr (kPairs) {
      words[0] = permute_bytes(look_up_half(rows, codes, at, token, slot, 0), look_up_half(rows, codes, at, token, slot, 1), 0x5410);
    } else if constexpr (kWords == 1) {
      words[0] = load_table_u32(row(token * kPerLane + slot));
    } else if constexpr (kWords == 2) {
      const bytes8 entry = load_table_8(row(token * kPerLane + slot));
      words[0] = entry.w[0], words[kWords - 1] = entry.w[1];
    } else {
      const bytes16 entry = load_table_16(row(token * kPerLane + slot));
#pragma unroll
      for (int i = 0; i < kWords; ++i) words[i] = entry.w[i];
    }
  }

  /// Half of the entry of token `token`'s last chunk in this row; `half_at` is the shared address that half_offset leads to.
  static __device__ __forceinline__ uint32_t look_up_last(const row_places<K>& rows, const uint32_t (&codes)[kCodeWords], uint32_t half_at, int token) {
    return load_table_u32(rows.at(codes[kCodeWords - 1], token, half_at));
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
    const int thread = thread_index_anew();
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const int task = thread + turn * kThreads;
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

// Sums of weighted values, and which column and channel a lane's sums belong to. 4 columns: channels are on the narrow side of the product, a pair of them and a
// pair of tokens to a register of B, which one PRMT makes of two look-ups' words. A holds the weights, high and low bytes in rows of their own; a row sums one channel
// of each pair, so every second number of it is zero, which the sparse product need not be told. 8 columns would need twice the products for that: four tokens
// are brought together by transposing bytes instead, and channels are A's rows.
template <class K>
struct value_sums {
  using T = value_table<K>;
  static constexpr bool kSparse = K::kColumns == 4;
  static constexpr int kSets = K::kColumns / 4;
  /// Words of weights of a tile: high and low bytes of either unit, or a word of each unit for each set of bytes.
  static constexpr int kWeightSets = kSparse ? 1 : 2, kWeightWords = kSparse ? 4 : 2;
  static constexpr int kTiles = K::kHeadDim / 16;

  int sums[kSets][kTiles][4] = {};

  /// The table's copy and rows that this lane reads, from its begin; those of half entries.
  static __device__ __forceinline__ int lane_offset() { return T::lane_offset(lane_index() / 4, lane_index() % 4); }
  static __device__ __forceinline__ int half_offset() { return T::half_offset(lane_index() / 4, lane_index() % 4); }
  /// Which channel of a pair the lane's rows of A are for, as the sparse product is told; `element` is 0 or 1.
  static __device__ __forceinline__ uint32_t places_of(int element, uint32_t zero) { return opaque(element ? 0xddddddddu : 0x88888888u, zero); }

  /// Adds the words found(unit, i) that tokens t + 4 i of either unit look up in one place: `word` of a lane's.
  template <class F>
  __device__ __forceinline__ void add_word(const F& found, int word, const uint32_t (&weights)[kWeightSets][kWeightWords], uint32_t places) {
    const int tile = word * 2;
    if constexpr (kSparse) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        uint32_t b[4];  // tokens t and 8 + t, 4 + t and 12 + t of either unit
#pragma unroll
        for (int i = 0; i < 4; ++i) b[i] = permute_bytes(found(i / 2, i % 2), found(i / 2, i % 2 + 2), half ? 0x7632 : 0x5410);
        mma_sparse_16x8x64_u8s8(sums[0][tile + half], weights[0], b, places);
      }
    } else {
      uint32_t turned[2][4];
#pragma unroll
      for (int unit = 0; unit < 2; ++unit) {
#pragma unroll
        for (int token = 0; token < 4; ++token) turned[unit][token] = found(unit, token);
        transpose_bytes(turned[unit]);
      }
#pragma unroll
      for (int k = 0; k < 2; ++k)
#pragma unroll
        for (int set = 0; set < kSets; ++set)
          mma_16x8x32_s8u8(sums[set][tile + k], {turned[0][2 * k], turned[0][2 * k + 1], turned[1][2 * k], turned[1][2 * k + 1]}, weights[kSparse ? 0 : set]);
    }
  }

  /// Adds a tile of two units. `at` and `half_at` are the shared addresses that lane_offset and half_offset lead to.
  __device__ __forceinline__ void add(const row_places<K>& rows, uint32_t at, uint32_t half_at, const uint32_t (&codes)[2][T::kCodeWords], const uint32_t (&weights)[kWeightSets][kWeightWords],
                                      uint32_t places) {
#pragma unroll
    for (int slot = 0; slot < T::kPerLane; ++slot) {
      if constexpr (kSparse && T::kPairs) {  // a pair of channels is a look-up of its own
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          uint32_t b[4];
#pragma unroll
          for (int i = 0; i < 4; ++i)
            b[i] = permute_bytes(T::look_up_half(rows, codes[i / 2], at, i % 2, slot, half), T::look_up_half(rows, codes[i / 2], at, i % 2 + 2, slot, half), 0x5410);
          mma_sparse_16x8x64_u8s8(sums[0][slot * 2 + half], weights[0], b, places);
        }
      } else {
        uint32_t found[2][4][T::kWords];
#pragma unroll
        for (int unit = 0; unit < 2; ++unit)
#pragma unroll
          for (int token = 0; token < 4; ++token) T::look_up(found[unit][token], rows, codes[unit], at, token, slot);
#pragma unroll
        for (int word = 0; word < T::kWords; ++word) add_word([&](int unit, int token) { return found[unit][token][word]; }, slot * T::kWords + word, weights, places);
      }
    }
    if constexpr (T::kHalved) {
      uint32_t words[2][4];
#pragma unroll
      for (int i = 0; i < 8; ++i) words[i / 4][i % 4] = T::look_up_last(rows, codes[i / 4], half_at, i % 4);
      add_word([&](int unit, int token) { return words[unit][token]; }, T::kLaneWords - 1, weights, places);
    }
  }

  /// Shifts right by `places` (0 ... 31) of the columns, rounding: [0] of this lane's only one, or of 2t and 2t + 1.
  __device__ __forceinline__ void lower(const float (&places)[kSets]) {
    int by[kSets], half[kSets];
#pragma unroll
    for (int set = 0; set < kSets; ++set) by[set] = int(places[set]), half[set] = (1 << by[set]) / 2 & 0x1fffffff;  // more would overflow, and is nothing beside 2^30
#pragma unroll
    for (int set = 0; set < kSets; ++set)
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[set][tile][i] = (sums[set][tile][i] + half[kSparse ? 0 : i % 2]) >> by[kSparse ? 0 : i % 2];
  }

  /// Of column `c` of this lane's: how many sums it has here, the sum of number `i`, and its channel; `row` is what tells the lanes of a column's weights apart.
  static constexpr int kSums = K::kHeadDim / 8;
  __device__ __forceinline__ float sum(int c, int i) const {
    if constexpr (kSparse) return float(sums[0][i / 2][i % 2]) * 256.0f + float(sums[0][i / 2][2 + i % 2]);
    else return float(sums[0][i / 2][i % 2 * 2 + c]) * 256.0f + float(sums[kSets - 1][i / 2][i % 2 * 2 + c]);
  }
  static __device__ __forceinline__ int channel(int row, int i) {
    if constexpr (kSparse) return T::channel(lane_index() % 4 * 2 + i % 2, i / 4, i / 2 % 2 * 2 + row);
    else return T::channel(lane_index() / 4, i / 4, i / 2 % 2 * 2 + i % 2);
  }
};

/// Weights of a unit to operands: `first` and `second` hold those of tokens 2t and 2t + 1 of its halves, 16 bits each.
template <class K>
__device__ __forceinline__ void pack_weights(uint32_t (&w)[value_sums<K>::kWeightSets][value_sums<K>::kWeightWords], int unit, uint32_t first, uint32_t second) {
  if constexpr (K::kColumns == 4) {
    w[0][2 * unit] = permute_bytes(first, second, 0x7351);  // tokens 2t, 8 + 2t, 2t + 1, 9 + 2t, as B has them in pairs
    w[0][2 * unit + 1] = permute_bytes(first, second, 0x6240);
  } else {
    // Of column g: tokens t, 4 + t, 8 + t, 12 + t.
    const int from = lane_index() / 4 * 4 + lane_index() % 4 / 2;
    const uint32_t merge = lane_index() % 2 ? 0x7351 : 0x6240;
#pragma unroll
    for (int set = 0; set < 2; ++set) {
      const uint32_t bytes = permute_bytes(first, second, set ? 0x6420 : 0x7531);
      w[value_sums<K>::kSparse ? 0 : set][unit] = permute_bytes(shuffle(bytes, from), shuffle(bytes, from + 2), merge);
    }
  }
}

// Scores that have tokens as rows of the matrix unit's result: what turned and dotted keys have in common. Lane 4g + t holds tokens g and
// g + 8 of each unit, and column t of 4, or columns 2t and 2t + 1 of 8.

template <class K>
struct token_rows {
  static constexpr int kColumns = K::kColumns;
  static constexpr int kScores = kColumns, kLaneColumns = kColumns / 4;
  static constexpr int kSharedBits = 4 | 8 | 16;        // lanes that share columns, and hold other tokens, differ in these
  static constexpr bool kTablePerPiece = false;         // the table depends on the KV head alone
  static constexpr int kMaximaBytes = 0;
  static constexpr bool kKept = true;
  struct dot_products {};                               // the table holds centroids

  /// What the bias of column `c` begins as.
  __device__ __forceinline__ float origin(int) const { return 0; }

  /// Column of score `i`, token of score `i` in the tile of 32.
  static __device__ __forceinline__ int column(int i) { return kColumns == 4 ? lane_index() % 4 : lane_index() % 4 * 2 + i % 2; }
  static __device__ __forceinline__ int token(int i) { return i / kLaneColumns * 8 + lane_index() / 4; }
  static __device__ __forceinline__ bool is_writer() { return lane_index() < 4; }

  // Gains of a unit, as loaded: tokens g and g + 8.
  static constexpr int kGainWords = 1;
  static __device__ __forceinline__ const unsigned char* gains_at(const unsigned char* gains) { return gains + lane_index() / 4 * 4; }
  static __device__ __forceinline__ void load_gains(uint32_t (&words)[1], const unsigned char* gains) {
    words[0] = load_global_once(reinterpret_cast<const uint32_t*>(gains));
  }
  /// The factor of score `i`: `scale` of its column, and its token's gain.
  static __device__ __forceinline__ float factor(float scale, const uint32_t (&gains)[2][kGainWords], int i) {
    if constexpr (!K::kKeyGain) return scale;
    return scale * to_float(f16{uint16_t(gains[i / (2 * kLaneColumns)][0] >> (16 * (i / kLaneColumns % 2)))});
  }

  /// Of 4 columns: the one whose values this lane sums, and the place of its channels in a pair.
  static __device__ __forceinline__ int value_column() { return lane_index() / 8; }
  static __device__ __forceinline__ int value_element() { return lane_index() / 4 % 2; }
  /// The value that `mine` has in the lanes of the columns whose values this lane sums.
  static __device__ __forceinline__ void to_value_lanes(float (&theirs)[kLaneColumns], const float (&mine)[kLaneColumns]) {
#pragma unroll
    for (int c = 0; c < kLaneColumns; ++c) theirs[c] = kColumns == 4 ? shuffle(mine[c], value_column()) : mine[c];
  }
  /// Weights (fixed point in the low 16 bits) to operands of the values' product, by one transpose per 8 tokens; 4 columns come twice, in rows 2n and 2n + 1.
  static __device__ __forceinline__ void weights(uint32_t (&w)[value_sums<K>::kWeightSets][value_sums<K>::kWeightWords], const uint32_t (&x)[kScores]) {
#pragma unroll
    for (int unit = 0; unit < 2; ++unit) {
      uint32_t rows[2];
#pragma unroll
      for (int v = 0; v < 2; ++v) {
        const int i = (2 * unit + v) * kLaneColumns;
        rows[v] = transpose_matrix(kColumns == 4 ? permute_bytes(x[i], x[i], 0x1010) : permute_bytes(x[i], x[i + kLaneColumns - 1], 0x5410));
      }
      pack_weights<K>(w, unit, rows[0], rows[1]);
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
  round_columns<typename K::Element>(queries, queries);
  float d[4] = {};
  multiply_rows<K::kHeadDim>(d, rows, K::kHeadDim, queries);
#pragma unroll
  for (int i = 0; i < 4; ++i) products[i] = d[i];
}

// Scores of keys coded before RoPE: centroids are looked up as f16 fragments and turned in registers by their place in the tile of 32
// tokens, which is the same in every tile (slow pairs are not turned but expanded: see multiply()); the tile's own position turns the
// queries instead. Tokens are rows of A.

template <class K>
struct turn_keys : token_rows<K> {
  using C = typename K::Key;
  static_assert(!C::kQ8 && (C::kChannels == 16 || C::kChannels == 8 || C::kChannels == 4), "generator/tile.ts let another key codec through");
  using Rows = token_rows<K>;
  using typename Rows::dot_products;
  using Rows::kColumns, Rows::kScores, Rows::kLaneColumns, Rows::kGainWords;
  // Entries of 16 channels are looked up in two halves, by neighbouring lane columns: what follows knows them as chunks of 8 channels, two of which have the same code.
  static constexpr bool kHalves = C::kChannels == 16;
  static constexpr int kChannels = kHalves ? 8 : C::kChannels, kChunks = K::kHeadDim / kChannels;
  static constexpr int kPairs = kChunks / 8;           // groups of 4 chunks whose partners lie kPairs groups higher
  static constexpr int kWords = kChannels / 2;         // of a look-up, two channels each
  static constexpr int kEntryBytes = 2 * kChannels, kSlots = 128 / kEntryBytes;
  static constexpr bool kSwaps = kChannels == 4;       // neighbours trade places in every second pair of lane rows
  static constexpr int kRow = 128, kSlice = 256 * kRow, kSlices = kChunks / kSlots;
  static constexpr int kTableBytes = kSlices * kSlice;
  static constexpr int kCodeWords = C::kChunks / 8;    // of a lane and unit, as they are stored; of halves one
  // Words 0 ... kFast - 1 of a lane are of pairs that are turned in registers, the rest of slow ones (see "multiply").
  static constexpr int kAll = kPairs * kWords, kFast = 4, kSlow = kAll - kFast;
  static_assert(kSlow == 0 || kSlow == kFast, "a lane turns as many slow words as fast ones");
  static constexpr bool kCorrects = kSlow == 0;        // head dim 64: those 4 words hold slow pairs too (see "multiply")
  static constexpr bool kShares = kColumns == 4;       // lanes 4 apart turn one half each of a column's pairs
  static constexpr int kOwn = kShares ? 2 : 4;         // words (of each half) that a lane turns, of fast pairs and of slow ones
  static constexpr int kFine = kColumns / 4;           // operands that hold the nearest halves and their rests; those of w q and w^2 q
  static constexpr float kFastest = 0.0105f;           // of the slow pairs' frequencies: 10000^-0.5 and a little
  static constexpr bool kInPairs = kSlow > 0;          // slow pairs stand for two tiles, which are neighbours then
  static constexpr int kFastPairs = 8 * kFast, kSlowPairs = K::kHeadDim / 2 - kFastPairs;
  /// Shared memory of the CTA, divided by its warps: coefficients of the fast pairs at a tile's 32 places; then the fast pairs' ways to the next tile, of an even and of an odd one, and the slow pairs'.
  static constexpr int kPlaceBytes = 32 * 128, kWayBytes = kFastPairs * 8;
  static constexpr int kWarpBytes = (kPlaceBytes + 2 * kWayBytes + kSlowPairs * 8 + 16 * K::kWarps - 1) / (16 * K::kWarps) * 16;

  /// Pairs of a column as they stand at a tile: first halves, second halves. What a lane turns of them.
  using turned = float[2][2 * kOwn];
  turned fast, slow;
  const unsigned char* row;            // where they came from, null if the column is idle
  /// Coefficients of places: what the look-up of a pair's first half (in odd rows its second one) and of its partner are multiplied by.
  struct place_factors {
    uint32_t near[kFast], far[kFast];
  };
  static constexpr bool kHold = K::kWarps <= 8;  // in registers, where there is room
  place_factors held[kHold ? 4 : 1];
  const unsigned char* places;         // place g of this lane's column
  uint32_t first_power[kSlow ? kSlow : 1], second_power[kSlow && kColumns == 8 ? kSlow : 1];
  uint32_t fast_columns[kFine][2][kFast];  // B of fast pairs, for the next tile
  uint32_t slow_columns[kFine][2][kSlow ? kSlow : 1], power_columns[kFine][2][kSlow ? kSlow : 1];  // B of slow pairs, which stay for two tiles where tiles come in pairs
  const float* ways;
  float scale;
  float step, first_place;             // of powers: a token's, and of token g of an even tile
  float sign;                          // of the second halves' sums: lanes of odd rows have them negated
  uint32_t address[kSwaps ? 4 : 2];    // of the look-ups of code 0: [partner + 2 * neighbour]
  bool paired;                         // tiles 2 n and 2 n + 1 of a warp are neighbours

  bool general;                        // another RoPE than this kernel is made for: rows are expanded and turned one by one

  /// Whether the pairs are not (i, i + d / 2) over the whole head, or the second half of them is not slow. By a vote, so that the compiler knows all lanes to agree; all call.
  template <class P>
  static __device__ __forceinline__ bool is_general(const P& p, float slow_freq) {
    const bool faster = kSlow && kFastPairs + lane_index() < p.rotary_dim / 2 && !(slow_freq <= kFastest);  // or not a number
    return vote_any(faster || p.rope_interleaved || p.rotary_dim != K::kHeadDim);
  }

  /// The chunk in slot `slot` of slice `slice`: slots differ in t, in the partner and, of 8-byte entries, in the neighbour.
  static __device__ __forceinline__ int chunk_of(int slot, int slice) {
    const int partner = slot / 4 % 2, group = kSwaps ? slice * 2 + slot / 8 : slice;
    return 4 * (partner * kPairs + group) + slot % 4;
  }

  static constexpr int kEntries = 32 / kEntryBytes;  // of a task: 32 bytes, one sector, of the codebook
  static constexpr int kTasks = K::kHeadDim * 256 * 2 / 32, kThreads = K::kWarps * 32, kTurns = (kTasks + kThreads - 1) / kThreads;
  /// Words of a lane's pairs as they stand in q.
  struct placing {
    uint32_t x[kOwn], y[kOwn];
  };
  static_assert(kFastPairs == 32 && (kSlow == 0 || kSlowPairs == 32), "a frequency of each kind for each lane");
  struct raw_table {
    bytes16 piece[kTurns][2];
    placing fast, slow;
    float fast_freq, slow_freq;  // of pairs number lane and kFastPairs + lane
  };
  /// Starts loading the codebook of one KV head, all threads.
  static __device__ __forceinline__ void load(raw_table& raw, const unsigned char* codebook) {
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const int task = min_int(thread_index() + turn * kThreads, kTasks - 1), slot = task % kSlots, line = task / kSlots % (256 / kEntries), slice = task / (kSlots * 256 / kEntries);
      const int chunk = chunk_of(slot, slice);
      // Of entries in halves two lanes ask for a sector: one for the first halves of two entries, one for the second ones.
      const bytes16* from = reinterpret_cast<const bytes16*>(kHalves ? codebook + (chunk / 2 * 256 + line * kEntries) * 2 * kEntryBytes + chunk % 2 * kEntryBytes : codebook + (chunk * 256 + line * kEntries) * kEntryBytes);
      raw.piece[turn][0] = load_global(from), raw.piece[turn][1] = load_global(from + (kHalves ? 2 : 1));
    }
  }
  /// Lays the table out, all threads. Of a general RoPE no one reads it: its place is the warps' rows, after a barrier.
  static __device__ __forceinline__ void fill(unsigned char* table, const dot_products&, const raw_table& raw, float*) {
    const int thread = thread_index_anew();
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const int task = thread + turn * kThreads, slot = task % kSlots, line = task / kSlots % (256 / kEntries), slice = task / (kSlots * 256 / kEntries);
      if (task >= kTasks) break;
      unsigned char* to = table + slice * kSlice + line * kEntries * kRow + slot * kEntryBytes;
#pragma unroll
      for (int e = 0; e < kEntries; ++e) {
        if constexpr (kEntryBytes == 16) store_shared(reinterpret_cast<bytes16*>(to + e * kRow), raw.piece[turn][e % 2]);
        else store_shared(reinterpret_cast<bytes8*>(to + e * kRow), bytes8{{raw.piece[turn][e / 2].w[e % 2 * 2], raw.piece[turn][e / 2].w[e % 2 * 2 + 1]}});
      }
    }
  }

  /// Channel of the first half of pair `e` (0, 1) in word `i` of lane column t.
  static __device__ __forceinline__ int first_channel(int i, int t, int e) { return (4 * (i / kWords) + t) * kChannels + 2 * (i % kWords) + e; }

  /// Whether turning pair `pair` is a correction of what it is unturned.
  static __device__ __forceinline__ bool is_corrected(int pair) { return kCorrects && pair >= K::kHeadDim / 8; }

  /// The column's row of q, null if it is idle, of which this lane turns some pairs.
  template <class F>
  static __device__ __forceinline__ const unsigned char* row_of(const F& columns) { return columns(kShares ? lane_index() / 8 : lane_index() / 4); }

  /// Starts loading what queries and places are turned by and from; `columns(c)` is column c's row of q, null if it is idle.
  template <class P, class F>
  static __device__ __forceinline__ void load_queries(const P& p, raw_table& raw, const F& columns, const unsigned char*) {
    const int lane = lane_index(), pairs = p.rotary_dim / 2;
    raw.fast_freq = lane < pairs ? load_global(p.inv_freq + lane) : 0.0f;
    raw.slow_freq = kSlow && kFastPairs + lane < pairs ? load_global(p.inv_freq + kFastPairs + lane) : 0.0f;
    const unsigned char* const from = row_of(columns);
    load_pairs(raw.fast, from, 0);
    if constexpr (kSlow > 0) load_pairs(raw.slow, from, kFast);
  }

  /// Coefficients of places and ways, by all threads.
  template <class P>
  static __device__ __forceinline__ void fill_turns(const P& p, unsigned char* turns, const raw_table& raw, bool paired) {
    float* const ways = reinterpret_cast<float*>(turns + kPlaceBytes);
    const int lane = lane_index();
    if (is_general(p, raw.slow_freq)) return;  // queries go nowhere
    const int channel = first_channel(lane % 4, lane / 4 % 4, 0);
    const float freq[2] = {shuffle(raw.fast_freq, channel), shuffle(raw.fast_freq, channel + 1)};
#pragma unroll 1
    for (int place = thread_index() / 16; place < 32; place += kThreads / 16) {
      float c[2], s[2];
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        rope_angle(place < 16 ? 16 - place : place - 16, freq[e], s[e], c[e]);
        if (place >= 16) s[e] = -s[e];
        if (is_corrected(channel + e)) c[e] -= 1.0f;
      }
      uint32_t* to = reinterpret_cast<uint32_t*>(turns + place * 128) + lane % 16;
      store_shared(to, pack_halves(c[0], c[1]));
      store_shared(to + 16, pack_halves(s[0], s[1]));
    }
    // To the next tile: of even tiles, of odd ones, and of slow pairs.
    const int around = K::kWarps * 32;
    for (int table = warp_index(); table < (kSlow ? 3 : 2); table += K::kWarps) {
      const int way = !paired ? around : table == 0 ? 32 : table == 1 ? 2 * around - 32 : 2 * around;
      float c, s;
      rope_angle(way, table < 2 ? raw.fast_freq : raw.slow_freq, s, c);
      store_shared(ways + table * 2 * kFastPairs + lane, c);
      store_shared(ways + table * 2 * kFastPairs + 32 + lane, s);
    }
  }

  /// This CTA's query columns, which stand at `position` first, and the rotations within a tile, which `turns` holds.
  template <class P, class F>
  __device__ __forceinline__ void begin(const P& p, const unsigned char* table, const raw_table& raw, const F& columns, const float*, unsigned char* turns, bool in_pairs, int position) {
    const int g = lane_index() / 4, t = lane_index() % 4;
    row = row_of(columns);
    general = is_general(p, raw.slow_freq);
    scale = p.scale * (general ? 1.0f : p.attention_factor) * kLog2e;
    paired = in_pairs;
    ways = reinterpret_cast<const float*>(turns + kPlaceBytes);
    if (general) return;
    const uint32_t zero = uint32_t(p.batch) >> 31;  // what follows is not to be made again before each use
    sign = float_of_bits(opaque(float_bits(g % 2 ? -1.0f : 1.0f), zero));
    step = float_of_bits(opaque(float_bits(paired ? 0.03125f : 0.0625f), zero));
    first_place = float_of_bits(opaque(float_bits(paired ? g * 0.03125f - 1.0f : g * 0.0625f - 1.0f), zero));
    places = turns + g * 128 + t * 16;
#pragma unroll
    for (int v = 0; v < (kHold ? 4 : 0); ++v) held[v] = load_factors(v);
    const float span = paired ? 32.0f : 16.0f;
#pragma unroll
    for (int i = 0; i < kSlow; ++i) {
      const int pair = first_channel(kFast + i, t, 0) - kFastPairs;
      const float x = span * shuffle(raw.slow_freq, pair), y = span * shuffle(raw.slow_freq, pair + 1);
      // For |a| <= x sin a = a - a^3 / 6 is (1 - x^2 / 8) a to within x^3 / 24, and cos a = 1 - a^2 / 2 + a^4 / 24 is 1 - (1 - x^2 / 12) a^2 / 2 to within x^4 / 96 (Chebyshev).
      const auto sine = [](float x) { return x - x * x * x * 0.125f; };
      const auto cosine = [](float x) { return -0.5f * x * x * (1.0f - x * x * (1.0f / 12)); };
      const uint32_t sines = pack_halves(sine(x), sine(y)), cosines = pack_halves(cosine(x), cosine(y));
      first_power[i] = kColumns == 4 && g % 2 ? cosines : sines;
      if constexpr (kColumns == 8) second_power[i] = cosines;
    }
#pragma unroll
    for (int neighbour = 0; neighbour < (kSwaps ? 2 : 1); ++neighbour)
#pragma unroll
      for (int partner = 0; partner < 2; ++partner)
        address[2 * neighbour + partner] =
            opaque(shared_address(table) + (t + 4 * (partner ^ (g % 2)) + 8 * (kSwaps ? neighbour ^ (g / 2 % 2) : 0)) * kEntryBytes, uint32_t(p.batch) >> 31);
    turn_pairs(fast, raw.fast, raw.fast_freq, position_before(position, false));
    if constexpr (kSlow > 0) turn_pairs(slow, raw.slow, raw.slow_freq, position_before(position, true));
  }

  /// Of place g + 8 v. Rows of odd places look up second halves first.
  __device__ __forceinline__ place_factors load_factors(int v) const {
    const int parity = lane_index() / 4 % 2 * 64;
    const bytes16 x = load_shared(reinterpret_cast<const bytes16*>(places + v * 8 * 128 + parity)), y = load_shared(reinterpret_cast<const bytes16*>(places + v * 8 * 128 + (64 - parity)));
    place_factors factors;
#pragma unroll
    for (int i = 0; i < kFast; ++i) factors.near[i] = x.w[i], factors.far[i] = y.w[i];
    return factors;
  }

  /// The first of this lane's words among those of fast (or slow) pairs: words 2 j and 2 j + 1 are neighbours.
  static __device__ __forceinline__ int own_word() { return kShares ? lane_index() / 4 % 2 * kOwn : 0; }
  static __device__ __forceinline__ void load_pairs(placing& raw, const unsigned char* row, int first_word) {
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      const uint32_t* from = reinterpret_cast<const uint32_t*>(row + first_channel(first_word + own_word() + i, lane_index() % 4, 0) * 2);
      raw.x[i] = row ? load_global(from) : 0, raw.y[i] = row ? load_global(from + K::kHeadDim / 4) : 0;
    }
  }
  /// Each lane works out one of the 32 angles, and has its own from the others.
  static __device__ __forceinline__ void turn_pairs(turned& q, const placing& raw, float inv_freq, int position) {
    float sine, cosine;
    rope_angle(position, inv_freq, sine, cosine);
#pragma unroll
    for (int i = 0; i < kOwn; ++i)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int pair = first_channel(own_word() + i, lane_index() % 4, e);
        turn(q, i, e, float_of_query<typename K::Element>(raw.x[i] >> (16 * e)), float_of_query<typename K::Element>(raw.y[i] >> (16 * e)), shuffle(sine, pair), shuffle(cosine, pair));
      }
  }
  static __device__ __forceinline__ void turn(turned& q, int i, int e, float x, float y, float sine, float cosine) {
    q[0][2 * i + e] = x * cosine + y * sine;
    q[1][2 * i + e] = y * cosine - x * sine;
  }
  /// Turns them on by the way whose cosines lie at `way`; its sines lie kFastPairs further.
  static __device__ __forceinline__ void advance(turned& q, const float* way) {
#pragma unroll
    for (int i = 0; i < kOwn; i += 2) {
      const bytes16* from = reinterpret_cast<const bytes16*>(way + first_channel(own_word() + i, lane_index() % 4, 0));
      const bytes16 c = load_shared(from), s = load_shared(from + kFastPairs / 4);
#pragma unroll
      for (int e = 0; e < 4; ++e) turn(q, i, e, q[0][2 * i + e], q[1][2 * i + e], float_of_bits(s.w[e]), float_of_bits(c.w[e]));
    }
  }

  /// Of this lane's words: the nearest halves, and what they leave.
  struct halves {
    uint32_t high[2][kOwn], low[2][kOwn];
  };
  static __device__ __forceinline__ halves split(const turned& q) {
    halves h;
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int i = 0; i < kOwn; ++i) {
        const float x = q[half][2 * i], y = q[half][2 * i + 1];
        h.high[half][i] = pack_halves(x, y);
        h.low[half][i] = pack_halves(x - to_float(f16{uint16_t(h.high[half][i])}), y - to_float(f16{uint16_t(h.high[half][i] >> 16)}));
      }
    return h;
  }
  /// Operands of the columns, both halves and rests. 4 columns fill 8: even ones hold the halves of words 0 and 1 and the rests of words 2 and 3, odd ones the others.
  static __device__ __forceinline__ void columns_of(uint32_t (&b)[kFine][2][kFast], const halves& h) {
    const bool odd = lane_index() / 4 % 2;
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int i = 0; i < kOwn; ++i) {
        if constexpr (kShares) {
          const uint32_t other = shuffle_xor(h.low[half][i], 4);
          b[0][half][i] = odd ? other : h.high[half][i];
          b[0][half][kOwn + i] = odd ? h.high[half][i] : other;
        } else {
          b[0][half][i] = h.high[half][i];
          b[kFine - 1][half][i] = h.low[half][i];
        }
      }
  }
  /// Operands of the slow pairs, for as long as they stay. Of 4 columns even ones hold w q, (x, y) times (b, -a), odd ones w^2 q.
  __device__ __forceinline__ void make_slow_columns() {
    const halves h = split(slow);
    columns_of(slow_columns, h);
    const bool odd = lane_index() / 4 % 2;
    if constexpr (kShares) {
      const uint32_t minus = odd ? 0 : 0x80008000u;
#pragma unroll
      for (int i = 0; i < kOwn; ++i) {
        // What the neighbour wants has the halves the other way round.
        const uint32_t x = h.high[0][i], y = h.high[1][i], mine[2] = {odd ? x : y, odd ? y : x};
        const uint32_t other[2] = {shuffle_xor(mine[1], 4), shuffle_xor(mine[0], 4)};
#pragma unroll
        for (int part = 0; part < 2; ++part)  // words 0 and 1, which even lanes have turned, and 2 and 3
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const int word = part * kOwn + i;
            power_columns[0][half][word] = multiply_halves(part == (odd ? 1 : 0) ? mine[half] : other[half], half ? first_power[word] ^ minus : first_power[word]);
          }
      }
    } else {
#pragma unroll
      for (int half = 0; half < 2; ++half)
#pragma unroll
        for (int i = 0; i < kSlow; ++i) {
          power_columns[0][1 - half][i] = multiply_halves(half ? h.high[half][i] : negate_halves(h.high[half][i]), first_power[i]);
          power_columns[kFine - 1][half][i] = multiply_halves(h.high[half][i], second_power[i]);
        }
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

  /// Codes of entries in halves as a lane looks them up: of token g, then of g + 8, partner 0 of both pairs, then partner 1. Lane columns 2 n and 2 n + 1 share an entry, whose
  /// code lies in column n (first pair) and 2 + n.
  static __device__ __forceinline__ void trade_codes(uint32_t (&words)[2], const uint32_t (&stored)[kCodeWords]) {
    const int from = lane_index() / 4 * 4 + lane_index() % 4 / 2;
    const uint32_t first = shuffle(stored[0], from), second = shuffle(stored[0], from + 2);
    words[0] = permute_bytes(first, second, 0x5140), words[1] = permute_bytes(first, second, 0x7362);
  }

  /// Products of the tile's keys and this lane's columns, neither scaled nor with gains. `second_tile`: of a pair of neighbours, where tiles come in pairs.
  // The queries stand turned back by the position of the tile's middle, in f16 twice: the nearest halves and what they leave.
  // Fast pairs of keys are turned in registers from place m = -16 ... 15 to 0, in f16. Odd rows look up (y, x), a reflection, which no rotation
  // undoes: their second halves come out negated, and so do the sums of these, which are kept apart.
  // Slow pairs turn so little, by |m w| < 0.34, that cos(m w) = 1 - (m w)^2 / 2 (1 - ...) and sin(m w) = m w (1 - ...) do, and powers of m leave the
  // sum over the channels: centroids as they are, exact, times q, w q and w^2 q, three products whose sum each token weighs by 1, m, m^2.
  // Head dim 64 has no words for them alone. Its pairs from number 8 on are multiplied twice by the same q: as they are, exact, and what a turn adds to them,
  // (cos(m w) - 1) and sin(m w) of them, which is small, and so is what rounding it to f16 loses.
  __device__ __forceinline__ void multiply(const row_places<K>& rows, float (&s)[kScores], const uint32_t (&codes)[2][kCodeWords], bool second_tile) const {
    const bool odd = lane_index() / 4 % 2;
    const float first = second_tile && paired ? first_place + 1.0f : first_place;
    float products[2][4] = {}, second[2][4] = {}, powers[2][kFine][4] = {};
    place_factors factors[4];
#pragma unroll
    for (int v = 0; v < 4; ++v) factors[v] = kHold ? held[v % (kHold ? 4 : 1)] : load_factors(v);
    uint32_t traded[2][2];
    if constexpr (kHalves) trade_codes(traded[0], codes[0]), trade_codes(traded[1], codes[1]);
    constexpr int kNeighbours = kSwaps ? 2 : 1;
#pragma unroll
    for (int pair = 0; pair < kPairs; pair += kNeighbours) {
      uint32_t found[4][kNeighbours][2][kWords];  // [token][neighbour][partner]
#pragma unroll
      for (int v = 0; v < 4; ++v)
#pragma unroll
        for (int n = 0; n < kNeighbours; ++n)
#pragma unroll
          for (int partner = 0; partner < 2; ++partner) {
            const int byte = v % 2 * 2 * kPairs + partner * kPairs + pair + n;
            look_up(found[v][n][partner], rows.at(kHalves ? traded[v / 2][byte / 4] : codes[v / 2][byte / 4 % kCodeWords], byte % 4, address[2 * n + partner]) + pair / kNeighbours * kSlice);
          }
      if constexpr (kSwaps) {
        const bool swapped = lane_index() / 8 % 2;
#pragma unroll
        for (int v = 0; v < 4; ++v)
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
          uint32_t x[2][4], y[2][4];  // A fragments of the units: [token + 2 * word]
          const int i = (pair + n) * kWords + w, j = i % kFast;
          const auto put_in_order = [&](int k) {  // as they are: odd rows have looked up second halves first
            const int unit = k / 4, v = k / 4 * 2 + k % 2, word = k / 2 % 2;
            const uint32_t own = found[v][n][0][w + word], partner = found[v][n][1][w + word];
            x[unit][k % 4] = odd ? partner : own;
            y[unit][k % 4] = odd ? own : partner;
          };
          if constexpr (kCorrects) {
            if (is_corrected(first_channel(i, 3, 0))) {  // of some lane column
              const uint32_t mine = is_corrected(first_channel(i, lane_index() % 4, 0)) ? ~0u : 0u;
#pragma unroll
              for (int k = 0; k < 8; ++k) put_in_order(k);
#pragma unroll
              for (int f = 0; f < kFine; ++f)
#pragma unroll
                for (int half = 0; half < 2; ++half)
#pragma unroll
                  for (int unit = 0; unit < 2; ++unit)
                    mma_16x8x16(products[unit], half ? y[unit] : x[unit], {fast_columns[f][half][j] & mine, fast_columns[f][half][j + 1] & mine});
            }
          }
#pragma unroll
          for (int k = 0; k < 8; ++k) {
            if (i < kFast) {
              const int unit = k / 4, v = k / 4 * 2 + k % 2, word = k / 2 % 2;
              const uint32_t own = found[v][n][0][w + word], partner = found[v][n][1][w + word];
              const uint32_t a = factors[v].near[j + word], b = factors[v].far[j + word];
              x[unit][k % 4] = fused_multiply_add_halves(a, own, multiply_halves(b, partner));
              y[unit][k % 4] = fused_multiply_add_halves(a, partner, multiply_halves(negate_halves(b), own));
            } else {
              put_in_order(k);
            }
          }
          // The units take turns, for a product waits for the one before into the same sums.
#pragma unroll
          for (int f = 0; f < kFine; ++f)
#pragma unroll
            for (int half = 0; half < 2; ++half)
#pragma unroll
              for (int unit = 0; unit < 2; ++unit) {
                const uint32_t(&a)[4] = half ? y[unit] : x[unit];
                if (i < kFast) {
                  mma_16x8x16(half ? second[unit] : products[unit], a, {fast_columns[f][half][j], fast_columns[f][half][j + 1]});
                } else {
                  mma_16x8x16(products[unit], a, {slow_columns[f][half][j], slow_columns[f][half][j + 1]});
                  mma_16x8x16(powers[unit][f], a, {power_columns[f][half][j], power_columns[f][half][j + 1]});
                }
              }
        }
    }
#pragma unroll
    for (int v = 0; v < 4; ++v)
#pragma unroll
      for (int c = 0; c < kLaneColumns; ++c) {
        const int unit = v / 2, d = 2 * (v % 2) + c;
        float sum = kColumns == 4 ? fused_multiply_add(second[unit][d] + second[unit][d + 1], sign, products[unit][d] + products[unit][d + 1])
                                  : fused_multiply_add(second[unit][d], sign, products[unit][d]);
        if constexpr (kSlow > 0) {
          const float m = fused_multiply_add(step, float(8 * v), first);
          const float two = kColumns == 4 ? powers[unit][0][d + 1] : powers[unit][kFine - 1][d];
          sum = fused_multiply_add(m, fused_multiply_add(m, two, powers[unit][0][d]), sum);
        }
        s[v * kLaneColumns + c] = sum;
      }
  }

  /// The same for a general RoPE.
  template <class P>
  __device__ __forceinline__ void multiply_generally(const P& p, float (&s)[kScores], const uint32_t (&codes)[2][kCodeWords], int position) const {
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
  }

  /// Where queries stand one way before the even tile whose first token stands at `position`: that place and the way add up to the middle of what they are for, a tile, or two neighbours.
  __device__ __forceinline__ int position_before(int position, bool of_slow) const {
    constexpr int kAround = K::kWarps * 32;
    if (of_slow) return position + (paired ? 32 - 2 * kAround : 16 - kAround);
    return position + 16 - (paired ? 2 * kAround - 32 : kAround);
  }
  /// Turns the queries there from scratch, as the ways' errors add up, by some 2e-7 a tile.
  template <class P>
  __device__ __forceinline__ void turn_again(const P& p, int position) {
    placing raw;
    load_pairs(raw, row, 0);
    turn_pairs(fast, raw, load_global(p.inv_freq + lane_index()), position_before(position, false));
    if constexpr (kSlow > 0) {
      load_pairs(raw, row, kFast);
      turn_pairs(slow, raw, load_global(p.inv_freq + kFastPairs + lane_index()), position_before(position, true));
    }
  }
  /// Turns the queries on to the next tile, which is an odd one or not: of fast pairs, and of slow ones.
  __device__ __forceinline__ void prepare_fast(bool odd) {
    advance(fast, ways + (odd ? 0 : 2 * kFastPairs));
    columns_of(fast_columns, split(fast));
  }
  __device__ __forceinline__ void prepare_slow() {
    if constexpr (kSlow > 0) {
      advance(slow, ways + 4 * kFastPairs);
      make_slow_columns();
    }
  }

  /// Scores of a tile, in log2 units, `bias` added. Its first token stands at `position`, the queries at the tile before.
  /// `odd`: of tiles in pairs, whether it is the second one.
  template <class Way, class P>
  __device__ __forceinline__ void scores(Way, const P& p, const row_places<K>& rows, float (&s)[kScores], const uint32_t (&codes)[2][kCodeWords], const uint32_t (&gains)[2][kGainWords],
                                         const float (&bias)[kLaneColumns], int position, bool odd) {
    if constexpr (Way::kTurns) multiply(rows, s, codes, odd);
    else multiply_generally(p, s, codes, position);
#pragma unroll
    for (int i = 0; i < kScores; ++i) s[i] = fused_multiply_add(s[i], Rows::factor(scale, gains, i), bias[i % kLaneColumns]);
  }
};

/// How this kernel scores coded keys.
template <class K>
using key_method = turn_keys<K>;

// What a warp keeps of the coded tokens it has seen: sums of values, weights and the bias that weights are formed with.

/// One warp's attention to its share of the piece's coded tokens.
template <class K>
struct coded_state {
  using Keys = key_method<K>;
  using Values = value_table<K>;
  static constexpr int kSets = K::kColumns / 4;
  static constexpr uint32_t kOne = 0x4b000000u;     // 2^23 as a float: what is added to it lies in its low bits
  static constexpr float kMost = 15.9999f;          // log2 of the largest weight, which has 16 bits
  static constexpr float kDue = -1e38f;             // as limit: the sums are to be halved before they overflow
  static constexpr float kTop = 15.5f;                                // log2 of the most that a new maximum is put to

  value_sums<K> sums;
  float bias[Keys::kLaneColumns];           // the weight of a score in log2 units is 2^(score + bias); keys add it to their sums, and what they call the origin is its first value
  float weight[Keys::kLaneColumns] = {};
  uint32_t recent[Keys::kLaneColumns] = {};  // raw weights of `tiles` tiles
  int tiles = 0;
  bool flags[Keys::kLaneColumns] = {};      // of started(), where the limit does not say it
  float limit = minus_infinity();  // a score above it calls raise: -inf until every column has seen one, then kMost, kDue where sums are to be halved first

  __device__ __forceinline__ explicit coded_state(const Keys& keys) {
#pragma unroll
    for (int c = 0; c < Keys::kLaneColumns; ++c) bias[c] = keys.origin(c);
  }
  /// Whether column `c` has seen a score.
  __device__ __forceinline__ bool started(int c) const { return Keys::kLaneColumns == 1 ? limit > minus_infinity() : flags[c]; }

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
    bool above = false;
#pragma unroll
    for (int i = 0; i < Keys::kScores; ++i) above = above || !(s[i] <= limit);  // or not a number
    if (__builtin_expect(vote_any(above), 0)) raise(s);
#pragma unroll
    for (int i = 0; i < Keys::kScores; ++i) {
      x[i] = float_bits(exp2_fast(s[i]) + 8388608.0f);
      recent[i % Keys::kLaneColumns] += x[i];
    }
    ++tiles;
  }

  /// Lowers the bias, and with it all sums, until the scores' weights fit.
  __device__ __forceinline__ void raise(float (&s)[Keys::kScores]) {
    float factor[Keys::kLaneColumns], shift[Keys::kLaneColumns], places[Keys::kLaneColumns];
    const float least = limit == kDue ? -1.0f : 0.0f;
    bool all = true;
#pragma unroll
    for (int c = 0; c < Keys::kLaneColumns; ++c) {
      float top = minus_infinity();
#pragma unroll
      for (int i = c; i < Keys::kScores; i += Keys::kLaneColumns) top = fmaxf(top, s[i]);
#pragma unroll
      for (int bit = 1; bit < 32; bit *= 2)
        if (Keys::kSharedBits & bit) top = fmaxf(top, shuffle_xor(top, bit));
      const bool before = started(c), nothing = top == minus_infinity();
      // The first score seen sets the bias, however low it is. A step is a whole number, so that sums are shifted; 31 places leave nothing of them.
      shift[c] = nothing ? (before ? least : 0.0f) : floorf(before ? fminf(kTop - top, least) : kTop - top);
      factor[c] = before ? exp2_fast(shift[c]) : 0.0f;
      places[c] = before ? fminf(-shift[c], 31.0f) : 0.0f;
      flags[c] = before || !nothing;
      all = all && flags[c];
      bias[c] += shift[c];
    }
    limit = all ? kMost : minus_infinity();
    settle(factor);
    float theirs[kSets];
    Keys::to_value_lanes(theirs, places);
    sums.lower(theirs);
#pragma unroll
    for (int i = 0; i < Keys::kScores; ++i) {
      s[i] += shift[i % Keys::kLaneColumns];
      // Not a number: a query or a gain was not. Fixed-point weights cannot say so, but their sum can.
      if (!(s[i] <= 16.0f)) weight[i % Keys::kLaneColumns] = float_of_bits(0x7fffffff), s[i] = 0;
    }
  }

  /// Puts what was seen, nothing included, into the warp's result. `scales` (shared memory): what one int8 step of each channel is worth.
  __device__ __forceinline__ void store(const Keys& keys, warp_result<K>& result, const float* scales) {
    float one[Keys::kLaneColumns];
#pragma unroll
    for (int c = 0; c < Keys::kLaneColumns; ++c) one[c] = 1;
    settle(one);
#pragma unroll
    for (int c = 0; c < Keys::kLaneColumns; ++c)
#pragma unroll
      for (int bit = 1; bit < 32; bit *= 2)
        if (Keys::kSharedBits & bit) weight[c] += shuffle_xor(weight[c], bit);
    warp_barrier();  // the places and codes lie where the result goes
#pragma unroll
    for (int c = 0; c < kSets; ++c) {
      float* const to = result.o + (kSets == 1 ? Keys::value_column() : lane_index() % 4 * 2 + c) * warp_result<K>::kStride;
#pragma unroll
      for (int i = 0; i < value_sums<K>::kSums; ++i) {
        const int channel = value_sums<K>::channel(Keys::value_element(), i);
        store_shared(to + channel, sums.sum(c, i) * load_shared(scales + channel));
      }
    }
    if (Keys::is_writer()) {
#pragma unroll
      for (int c = 0; c < Keys::kLaneColumns; ++c) {
        store_shared(result.weight + Keys::column(c), weight[c]);
        store_shared(result.maximum + Keys::column(c), started(c) ? keys.origin(c) - bias[c] : minus_infinity());
      }
    }
    warp_barrier();
  }
};

// A warp's tiles of 32 coded tokens: where they lie, and their codes' way to registers.

/// The first kCount of a lane's words of one side of a unit, kPiece bytes of each lane after the other's; `side` is where its first ones lie. Pieces of 2 bytes stay words of their own.
template <int kPiece, int kCount, int kWords>
__device__ __forceinline__ void load_codes(uint32_t (&words)[kWords], const unsigned char* side) {
  constexpr int kEach = kPiece < 4 ? 1 : kPiece / 4;
#pragma unroll
  for (int piece = 0; piece < kCount / kEach; ++piece) {
    const unsigned char* const from = side + piece * 32 * kPiece;
    if constexpr (kPiece == 2) {
      words[piece] = load_global_once(reinterpret_cast<const uint16_t*>(from));
    } else if constexpr (kPiece == 4) {
      words[piece] = load_global_once(reinterpret_cast<const uint32_t*>(from));
    } else if constexpr (kPiece == 8) {
      const bytes8 x = load_global_once(reinterpret_cast<const bytes8*>(from));
      words[2 * piece] = x.w[0], words[2 * piece + 1] = x.w[1];
    } else {
      const bytes16 x = load_global_once(reinterpret_cast<const bytes16*>(from));
#pragma unroll
      for (int i = 0; i < kEach; ++i) words[kEach * piece + i] = x.w[i];
    }
  }
}

/// As `opaque` (antkv_device.cuh): the sum that leads to the pointer stays done.
__device__ __forceinline__ const unsigned char* hold_pointer(const unsigned char* p, uint32_t zero) {
  const uint64_t at = reinterpret_cast<uint64_t>(p);
  return reinterpret_cast<const unsigned char*>(uint64_t(opaque(uint32_t(at >> 32), zero)) << 32 | opaque(uint32_t(at), zero));
}

/// The key side of a tile.
template <class Keys>
struct key_codes {
  uint32_t words[2][Keys::kCodeWords];
  uint32_t gains[2][Keys::kGainWords];
};

/// Where a warp's tiles lie, in shared memory: for each of 32, two batches of 16, its first unit, its second unit, and what nobody sees of it. Units are given
/// in 16 bytes from the begin of the pool, which may therefore have 64 GB.
struct tile_places {
  bytes16 tile[32];
};

/// A warp's own: the places, which its loop needs, then its result, unless that has no room beside the tables.
template <class K, bool kResult = !K::kResultsOverTables>
union warp_memory {
  warp_result<K> result;
  tile_places places;
  bytes16 bytes[K::kWarpBytes / 16];
};
template <class K>
union warp_memory<K, false> {
  tile_places places;
  bytes16 bytes[K::kWarpBytes / 16];
};
/// Where this warp's result goes. Over the tables every warp must be done with them.
template <class K>
__device__ __forceinline__ warp_result<K>& result_of(warp_memory<K>& memory) {
  if constexpr (K::kResultsOverTables) return reinterpret_cast<warp_result<K>*>(shared_memory())[warp_index()];
  else return memory.result;
}

/// Codes that a warp has in registers, a set of them per stage: a tile's keys (kStages 1), or of two tiles in turn, values' codes included.
template <class K, class Keys>
struct code_sets {
  key_codes<Keys> keys[K::kStages];
  uint32_t values[K::kStages == 2 ? 2 : 1][2][value_table<K>::kCodeWords];
};

/// A warp's tiles of a piece, tile i being tokens 32 * (first + i * warps) and the next 31, and the way to them. Page numbers are loaded two batches ahead, what
/// depends on them (bitmaps) one batch ahead, codes one tile, of 16 warps two. What lies beyond the last tile is that one again: no branches round the loads.
template <class K, class Keys>
struct tile_stream {
  using Values = value_table<K>;
  static constexpr int kKeyPiece = K::Key::kPiece, kValuePiece = K::Value::kPiece;  // bytes of a lane that lie together
  static constexpr bool kSameLanes = kKeyPiece == kValuePiece && Keys::kCodeWords == Values::kCodeWords;

  int first, count;
  int coded_len;
  const int32_t* pages;     // of the sequence
  int64_t head;             // of the KV head, in a page
  uint32_t next, hidden;    // lane 2 n + u: unit u of tile n of the next batch
  int page;                 // ... of the batch after that
  const unsigned char *key_codes_at, *value_codes_at, *gains;  // of this lane, in the first unit of the pool
  const unsigned char* last_codes_at;                         // the same of values' codes that two rows share
  bool paired;  // tiles 2 n and 2 n + 1 are neighbours; only of keys that are turned

  /// How many of a warp's tiles lie less than `tiles` behind its first; none unless `some`, which says whether `tiles` is positive.
  __device__ __forceinline__ int tiles_before(bool some, int tiles) const {
    if constexpr (!K::kKeyTurn) return some ? (tiles + K::kWarps - 1) / K::kWarps : 0;
    const int together = paired ? 2 : 1, round = K::kWarps * together;
    return some ? tiles / round * together + min_int(tiles % round, together) : 0;
  }
  __device__ __forceinline__ int token_of(int i) const {
    const int tile = min_int(i, count - 1);
    if constexpr (!K::kKeyTurn) return (first + tile * K::kWarps) * 32;
    return (first + (paired ? tile / 2 * (2 * K::kWarps) + tile % 2 : tile * K::kWarps)) * 32;
  }
  __device__ __forceinline__ int unit_token(int i) const { return token_of(i + lane_index() / 2) + lane_index() % 2 * 16; }

  /// The first loads, at whose end page numbers will be.
  template <class P>
  __device__ __forceinline__ void begin(const P& p, const piece& w, int kv_head) {
    coded_len = load_global(p.coded_len + w.b);
    pages = p.block_table ? p.block_table + int64_t(w.b) * p.max_pages : p.page_indices + load_global(p.page_indptr + w.b);
    head = kv_head * p.page_head_stride;
  }
  template <class P>
  __device__ __forceinline__ int page_at(const P& p, int i) const {
    const int shift = count_bits(uint32_t(p.page_size - 1));
    return load_global(pages + min_int(unit_token(i) >> shift, (coded_len - 1) >> shift));
  }
  template <class P>
  __device__ __forceinline__ void find_pages(const P& p, const piece& w, int& page_now) {
    int from, to;
    cut(w, p.segments & 1 ? (coded_len + 31) / 32 : 0, from, to);
    // Neighbours save work (lookup_turn.cuh), but a short piece would leave warps idle.
    paired = false;
    if constexpr (K::kKeyTurn) paired = Keys::kInPairs && uniform(to - from) >= 8 * K::kWarps;
    first = from + (paired ? 2 : 1) * warp_index();
    count = tiles_before(to > first, to - first);
    first = uniform(first), count = uniform(count);  // without it the loop over tiles counts as one that lanes leave one by one: every vote and shuffle in it tests for that
    page_now = 0, page = 0;
    if (count == 0) return;
    page_now = page_at(p, 0);
    page = page_at(p, 16);
  }
  /// From the number of the page to the unit's place, for the batch that begins with tile `i`. Nothing here waits for the bitmap.
  template <class P>
  __device__ __forceinline__ void place(const P& p, int i, int page_now) {
    const int in_page = unit_token(i) & (p.page_size - 1);
    const int64_t block = int64_t(page_now) * p.page_stride + head;
    next = uint32_t(block >> 4) + in_page / 16 * (K::kUnitBytes / 16);
    hidden = load_global(reinterpret_cast<const uint16_t*>(byte_pointer(p.pages) + block + (p.page_size / 16) * K::kUnitBytes) + in_page / 16);
  }
  __device__ __forceinline__ void store_places(tile_places& places, int i) const { store_shared(places.tile[(i + lane_index() / 2) % 32].w + lane_index() % 2, next); }
  __device__ __forceinline__ void store_hidden(tile_places& places, int i) const {
    const int tokens = coded_len - unit_token(i);
    const uint32_t unseen = hidden | (tokens <= 0 ? 0xffffu : tokens < 16 ? 0xffffu << tokens & 0xffffu : 0), both = unseen | shuffle_xor(unseen, 1) << 16;
    if (lane_index() % 2 == 0) store_shared(places.tile[(i + lane_index() / 2) % 32].w + 2, both);
  }

  /// Starts the way of the first tiles' bitmaps, and with them the translation of addresses in their pages.
  template <class P>
  __device__ __forceinline__ void ask_first(const P& p, int page_now) {
    if (count > 0) place(p, 0, page_now);
  }
  /// Starts the way of the first tiles' codes; first_hidden() ends what was left open.
  template <class P>
  __device__ __forceinline__ void start_first(const P& p, tile_places& places, code_sets<K, Keys>& codes) {
    const uint32_t zero = uint32_t(p.batch) >> 31;
    const unsigned char* const pool = byte_pointer(p.pages);
    key_codes_at = hold_pointer(pool + lane_index() * kKeyPiece, zero);
    value_codes_at = kSameLanes ? key_codes_at : hold_pointer(pool + lane_index() * kValuePiece, zero);
    last_codes_at = Values::kHalved ? hold_pointer(pool + lane_index() % 16 * 4, zero) : nullptr;
    gains = K::kKeyGain ? hold_pointer(Keys::gains_at(pool) + K::kKeyGainOffset, zero) : nullptr;
    if (count == 0) return;
    store_places(places, 0);
    warp_barrier();
#pragma unroll
    for (int i = 0; i < (K::kWarps >= 16 ? K::kStages : 1); ++i) {
      load_keys(codes.keys[i], units_of(places, i));
      if constexpr (K::kStages == 2) load_values(codes.values[i], units_of(places, i));
    }
    if constexpr (K::kStages == 1) prefetch(p, places, 0);
    if constexpr (K::kStages == 1 || K::kWarps < 16) prefetch(p, places, 1);
  }
  template <class P>
  __device__ __forceinline__ void first_hidden(const P& p, tile_places& places) {
    if (count == 0) return;
    store_hidden(places, 0);
    place(p, 16, page);
    page = page_at(p, 32);
    warp_barrier();
  }
  /// Makes the places of the batch of tile `i` known. Some tile of the batch before must still be to come.
  template <class P>
  __device__ __forceinline__ void find(const P& p, tile_places& places, int i) {
    warp_barrier();  // the batch before the last has been read
    store_places(places, i);
    store_hidden(places, i);
    place(p, i + 16, page);
    page = page_at(p, i + 32);
    warp_barrier();
  }

  static __device__ __forceinline__ uint32_t hidden_of(const tile_places& places, int i) { return load_shared(places.tile[i % 32].w + 2); }
  /// Asks for a tile's lines.
  template <class P>
  static __device__ __forceinline__ void prefetch(const P& p, const tile_places& places, int i) {
    const unsigned char* unit = byte_pointer(p.pages) + uint64_t(load_shared(places.tile[i % 32].w + lane_index() / 16)) * 16;
#pragma unroll
    for (int at = lane_index() % 16 * 128; at < K::kUnitBytes + 127; at += 16 * 128) prefetch_global(unit + min_int(at, K::kUnitBytes - 1));
  }
  /// Offsets of tile `i`'s units in the pool. `there`: 0, made of what must have arrived before anything is asked for at them.
  struct tile_units {
    uint64_t at[2];
  };
  static __device__ __forceinline__ tile_units units_of(const tile_places& places, int i, uint32_t there = 0) {
    const bytes8 at = load_shared(reinterpret_cast<const bytes8*>(&places.tile[i % 32]));
    return {{uint64_t(at.w[0] | there) * 16, uint64_t(at.w[1] | there) * 16}};
  }
  __device__ __forceinline__ void load_keys(key_codes<Keys>& codes, const tile_units& u) const {
#pragma unroll
    for (int unit = 0; unit < 2; ++unit) {
      load_codes<kKeyPiece, Keys::kCodeWords>(codes.words[unit], key_codes_at + u.at[unit]);
      if constexpr (K::kKeyGain) Keys::load_gains(codes.gains[unit], gains + u.at[unit]);
    }
  }
  __device__ __forceinline__ void load_values(uint32_t (&words)[2][Values::kCodeWords], const tile_units& u) const {
#pragma unroll
    for (int unit = 0; unit < 2; ++unit) {
      load_codes<kValuePiece, Values::kOwnWords>(words[unit], value_codes_at + u.at[unit] + K::kValueOffset);
      if constexpr (Values::kHalved)
        words[unit][Values::kOwnWords] = load_global_once(reinterpret_cast<const uint32_t*>(last_codes_at + u.at[unit] + K::kValueOffset + 32 * 4 * Values::kOwnWords));
    }
  }
};

// Algorithm "lookup": a warp takes 32 coded tokens at a time from codes in registers to weighted values in registers. Look-ups in
// shared memory, in tables without bank conflicts, are the matrix unit's operands; weights are 16-bit fixed-point numbers and values
// int8, so that the second product is exact. Exact rows are attended to last (exact.cuh).

/// How a loop over tiles scores keys: with queries turned on from tile to tile, or not.
template <bool kTurn>
struct loop_way {
  static constexpr bool kTurns = kTurn;
};

/// Attends to the warp's tiles and leaves the result in its memory. `codes`: of the first tiles. Returns the warp's exact units, whose pages are on their way.
template <class K, class Way, class P, class Keys>
__device__ __forceinline__ exact_units attend_coded(const P& p, const piece_context<K>* context, Keys& keys, tile_stream<K, Keys>& tiles, code_sets<K, Keys>& codes,
                                             const unsigned char* values, warp_memory<K>& memory, const float* scales) {
  using Values = value_table<K>;
  using Tiles = tile_stream<K, Keys>;
  tile_places& places = memory.places;

  // Constants that the compiler would otherwise make again before each use.
  const uint32_t zero = uint32_t(p.batch) >> 31;
  const row_places<K> rows(zero);
  const uint32_t value_places = value_sums<K>::places_of(Keys::value_element(), zero);
  const uint32_t value_address = opaque(shared_address(values) + value_sums<K>::lane_offset(), zero);
  uint32_t half_address = 0;
  if constexpr (Values::kHalved) half_address = opaque(shared_address(values) + value_sums<K>::half_offset(), zero);

  // The first of the tiles that not every column sees whole.
  const int whole = (load_shared(&context->open) >> 5) - tiles.first, masked = tiles.tiles_before(whole > 0, whole);
  const int first_position = K::kKeyTurn ? load_shared(&context->s.first_pos) : 0;

  coded_state<K> state(keys);
  using value_words = uint32_t[2][Values::kCodeWords];
  // Takes the scores of tokens that are not to be seen to minus infinity.
  const auto hide = [&](float (&score)[Keys::kScores], uint32_t hidden, int i) {
    const int first = Keys::token(0);
#pragma unroll
    for (int j = 0; j < Keys::kScores; ++j)
      if (hidden >> first >> (Keys::token(j) - first) & 1) score[j] = minus_infinity();
    if (i >= masked) {  // the queries stand before the end of the coded tokens
      decode_view s;
      s.first_pos = load_shared(&context->s.first_pos);
      s.first_new = load_shared(&context->s.first_new);
      const int token = tiles.token_of(i);
#pragma unroll
      for (int c = 0; c < Keys::kLaneColumns; ++c) {
        const column mine = load_words(context->columns + Keys::column(c));
#pragma unroll
        for (int j = c; j < Keys::kScores; j += Keys::kLaneColumns)
          if (!sees(mine, s, token + Keys::token(j), p.tree_mask != nullptr)) score[j] = minus_infinity();
      }
    }
  };
  const auto score_tile = [&](float (&score)[Keys::kScores], const key_codes<Keys>& codes, uint32_t hidden, int i, int set, const auto& meanwhile) {
    if constexpr (K::kKeyTurn) {
      meanwhile();
      keys.scores(Way(), p, rows, score, codes.words, codes.gains, state.bias, first_position + tiles.token_of(i), set == 1);
    } else {
      keys.scores(rows, score, codes.words, codes.gains, state.bias, meanwhile);
    }
    // Votes, so that the compiler knows all lanes to agree. One for this and for state.raise is 1 to 2 % slower where keys are int8.
    if (__builtin_expect(vote_any(hidden != 0 || i >= masked), 0)) hide(score, hidden, i);
  };
  const auto add_tile = [&](float (&score)[Keys::kScores], const value_words& codes, int set) {
    uint32_t x[Keys::kScores], weights[value_sums<K>::kWeightSets][value_sums<K>::kWeightWords];
    state.weigh(x, score);
    // What the next tile's keys are multiplied by, in the shade of this one's values.
    if constexpr (Way::kTurns) {
      keys.prepare_fast(set == 0);
      if (set == 1) keys.prepare_slow();
    }
    Keys::weights(weights, x);
    state.sums.add(rows, value_address, half_address, codes, weights, value_places);
    if constexpr (Way::kTurns)
      if (set == 0 && vote_any(!keys.paired)) keys.prepare_slow();
  };
  const auto find = [&](int i) {
    tiles.find(p, places, i);
    // 1024 tiles of 32 weights of 65535 times 127 fit the sums of high bytes twice.
    if (i % 1024 == 0 && state.limit == state.kMost) state.limit = state.kDue;
  };

  // The way to a tile: its page number comes two batches of 16 tiles ahead, its bitmap one, its codes a tile or two, to the set of registers i % kStages. Its units may be
  // asked for up to two tiles before its turn, so the places of a batch are found when half of the one before is done, hence after 8, 24, 40 tiles. Between the loops, not
  // in them: a branch to it would wait for all loads under way.
  int i = 0;
#pragma unroll 1
  for (int end = 8; i < tiles.count; end += 16) {
    const int stop = min_int(end, tiles.count);
    if constexpr (Way::kTurns)
      if (i == 0 || i % 64 == 56) {  // once more after 56 tiles, where this loop begins anew, and every 64 then
        if (i > 0) keys.turn_again(p, first_position + tiles.token_of(i));
        keys.prepare_fast(false);
        keys.prepare_slow();
      }
    if constexpr (K::kStages == 2) {
      // Two sets of registers in turn. ptxas counts all loads of the loop as one, so that a tile whose codes are waited for waits for those asked for last, too: they
      // are asked for where the tile before has its own. 16 warps hide that wait, and gain from two tiles ahead.
      constexpr bool kFar = K::kWarps >= 16;
#pragma unroll 1
      do {
#pragma unroll
        for (int set = 0; set < 2; ++set) {
          if (set == 1 && i == stop) break;
          float score[Keys::kScores];
          typename Tiles::tile_units units;
          score_tile(score, codes.keys[set], Tiles::hidden_of(places, i), i, set, [&] {
            units = Tiles::units_of(places, i + (kFar ? 2 : 1), kFar ? 0 : codes.keys[set].words[0][0] & zero);
            if constexpr (!kFar) {
              tiles.load_keys(codes.keys[1 - set], units);
              tiles.load_values(codes.values[1 - set], units);
            }
          });
          if constexpr (kFar) tiles.load_keys(codes.keys[set], units);
          add_tile(score, codes.values[set], set);
          if constexpr (kFar) tiles.load_values(codes.values[set], units);
          ++i;
        }
      } while (i < stop);
    } else {
      // A tile's keys are in registers while the tile before is attended to, and its values' codes come from L2 when their turn begins.
#pragma unroll 1
      do {
        value_words value_codes;
        tiles.load_values(value_codes, Tiles::units_of(places, i));
        const uint32_t hidden = Tiles::hidden_of(places, i);
        key_codes<Keys> coming = {};
        tiles.load_keys(coming, Tiles::units_of(places, i + 1));
        float score[Keys::kScores];
        score_tile(score, codes.keys[0], hidden, i, i % 2, [&] { Tiles::prefetch(p, places, i + 2); });
        add_tile(score, value_codes, i % 2);
        codes.keys[0] = coming;
        ++i;
      } while (i < stop);
    }
    if (i < tiles.count) find(i + 8);
  }
  const exact_units units = exact_units_of<K>(context);
  if constexpr (K::kResultsOverTables) block_barrier();
  state.store(keys, result_of<K>(memory), scales);
  return units;
}

/// Asks for the lines at which a static launch's chains of loads begin, one per lane: whatever this launch is the first to see of a buffer takes long, its
/// translation above all, and one wait is enough for all.
template <bool kTurn, class P>
__device__ __forceinline__ void touch_first(const P& p) {
  const int b = block_index().z, slot = p.state_slot ? 0 : b, lane = lane_index();
  const auto row = [&](const auto* from, int64_t i) { return from ? reinterpret_cast<const unsigned char*>(from + i) : nullptr; };
  const unsigned char* at = nullptr;
  if (lane == 0) at = row(p.coded_len, b);
  if (lane == 1) at = row(p.block_table, int64_t(b) * p.max_pages);
  if (lane == 2) at = row(p.kv_len, b);
  if (lane == 3) at = row(byte_pointer(p.q), b * p.q_row_stride);
  if (lane == 4) at = row(p.anchor_table, int64_t(slot) * p.max_anchor_pages);
  if (lane == 5) at = row(byte_pointer(p.ring_k), slot * p.ring_slot_stride);
  if (lane == 6) at = row(byte_pointer(p.ring_v), slot * p.ring_slot_stride);
  if (lane == 7) at = byte_pointer(p.pages);
  if (lane == 8) at = byte_pointer(p.anchors);
  if (lane == 9) at = byte_pointer(p.k_codebook);
  if (lane == 10) at = byte_pointer(p.v_codebook);
  if (lane == 11) at = byte_pointer(p.out);
  if (lane == 12) at = byte_pointer(p.partial_o);
  if (lane == 13) at = byte_pointer(p.counters);
  if constexpr (kTurn)
    if (lane == 14) at = byte_pointer(p.inv_freq);
  if (at) prefetch_global(at);
}

template <class K, class P>
__device__ __forceinline__ void decode_lookup(const P& p) {
  if (thread_index() < 32 && !p.spread) touch_first<K::kKeyTurn>(p);
  using Keys = key_method<K>;
  using Values = value_table<K>;
  static_assert(sizeof(warp_memory<K>) == K::kWarpBytes, "generator/shared.ts is wrong");
  static_assert(!K::kResultsOverTables || (Keys::kTablePerPiece && K::kWarps * sizeof(warp_result<K>) <= K::kValueTableBytes + K::kKeyTableBytes), "generator/shared.ts puts results where they must not be");
  static_assert(Keys::kTableBytes == K::kKeyTableBytes && Values::kTableBytes == K::kValueTableBytes, "generator/shared.ts is wrong");
  struct cta_memory {
    alignas(16) uint32_t flag;
    work_memory work;
    piece_context<K> context;
    alignas(16) float scales[K::kHeadDim];  // of the values' int8 steps, one per channel
  };
  unsigned char* const values = shared_memory();
  unsigned char* const key_table = values + K::kValueTableBytes;
  warp_memory<K>* const warps = reinterpret_cast<warp_memory<K>*>(key_table + K::kKeyTableBytes);
  cta_memory* const cta = reinterpret_cast<cta_memory*>(warps + K::kWarps);
  // One of the two, as the keys' method wants.
  float* const maxima = reinterpret_cast<float*>(cta + 1);
  unsigned char* const turns = reinterpret_cast<unsigned char*>(cta + 1);
  static_assert(K::kValueTableBytes + K::kKeyTableBytes + K::kWarps * (sizeof(warp_memory<K>) + Keys::kWarpBytes) + Keys::kMaximaBytes + sizeof(cta_memory) <= K::kSharedBytes,
                "generator/shared.ts is wrong");

  const index3 block = block_index();
  const int group = int(uint32_t(block.y) / uint32_t(p.kv_heads)), kv_head = block.y - group * p.kv_heads;
  const unsigned char* k_codebook = byte_pointer(p.k_codebook) + int64_t(kv_head) * K::Key::kCodebookBytes;
  const unsigned char* v_codebook = byte_pointer(p.v_codebook) + int64_t(kv_head) * K::Value::kCodebookBytes;
  // What tables are made of waits in registers, both tables' at once where there is room. Where sums are of a piece and kept as well, the keys' book comes for the
  // next piece while this one is finished: 64 KB take 2,600 clocks when all SMs ask for them.
  constexpr bool kTogether = sizeof(typename Keys::raw_table) + sizeof(typename Values::raw_entries) <= 4 * 208;
  constexpr bool kAhead = Keys::kTablePerPiece && Keys::kKept && kTogether;
  typename Keys::raw_table raw_keys = {};
  using Cost = lookup_cost<K>;
  if (!begin_pieces<K, Cost>(p, &cta->work)) return;
  if (p.spread) {
    if (thread_index() == 0) advance<K, Cost>(p, &cta->work);
    block_barrier();
  }
  // As for_each_piece (work.cuh), but for when the next piece is worked out.
#pragma unroll 1
  for (bool first = true;; first = false) {
    const piece w = piece_now(p, &cta->work);
    if (w.parts == 0) return;
    const auto columns = [&](int c) -> const unsigned char* {
      const query_rows rows = query_rows_of(p, w.b);
      const int flat = group * K::kColumns + c, ratio = int(uint32_t(p.q_heads) / uint32_t(p.kv_heads));
      if (flat >= rows.count * ratio) return nullptr;
      const int row = rows.count > 1 ? int(uint32_t(flat) / uint32_t(ratio)) : 0;
      return byte_pointer(p.q) + (rows.first + row) * p.q_row_stride + (kv_head * ratio + flat - row * ratio) * p.q_head_stride;
    };

    // Loads begin in the order in which they are wanted: a warp that waits for a length issues nothing behind it, and what many bytes are ahead of comes late. The chain
    // of length, page number and codes goes on between the steps of what the others are for.
    tile_stream<K, Keys> tiles;
    tiles.begin(p, w, kv_head);
    typename Values::raw_entries raw_values = {};  // not of the piece before
    if (first || K::kResultsOverTables) Values::load(raw_values, v_codebook);
    if (warp_index() == K::kWarps - 2) store_context(p, w, group, kv_head, &cta->context);
    Keys::load_queries(p, raw_keys, columns, k_codebook);
    int page;
    tiles.find_pages(p, w, page);
    const bool without_book = first || (Keys::kTablePerPiece && !kAhead);
    if (without_book && kTogether) Keys::load(raw_keys, k_codebook);
    if constexpr (K::kKeyTurn) Keys::fill_turns(p, turns, raw_keys, tiles.paired);
    tiles.ask_first(p, page);
    if (first || K::kResultsOverTables) {
#pragma unroll 1
      for (int i = thread_index(); i < K::kHeadDim; i += K::kWarps * 32) copy_async_word(cta->scales + i, reinterpret_cast<const float*>(v_codebook + K::Value::kScaleOffset) + i);
      copy_async_commit();
      Values::store(values, raw_values);
    }
    if (without_book && !kTogether) Keys::load(raw_keys, k_codebook);
    typename Keys::dot_products products;
    if constexpr (K::kKeySum) Keys::multiply_all(products, raw_keys, maxima);
    code_sets<K, Keys> codes = {};
    if (kTogether) tiles.start_first(p, warps[warp_index()].places, codes);
    block_barrier();  // the context is there, and the largest products
    const exact_units coming = exact_units_of<K>(&cta->context);  // whose pages come meanwhile
    Keys keys;
    if constexpr (!K::kKeySum) keys.begin(p, key_table, raw_keys, columns, maxima, turns, tiles.paired, load_shared(&cta->context.s.first_pos) + tiles.token_of(0));
    if (first || Keys::kTablePerPiece) Keys::fill(key_table, products, raw_keys, maxima);
    if (!kTogether) tiles.start_first(p, warps[warp_index()].places, codes);
    tiles.first_hidden(p, warps[warp_index()].places);
    copy_async_wait<0>();
    block_barrier();  // the tables are there
    // Not before: requests for lines of pages that no one has touched hold up the first tiles' bitmaps and codes behind them.
    prefetch_exact<K>(p, load_words(&cta->context.s), kv_head, coming, 0);
    if constexpr (K::kKeySum) keys.begin(p, key_table, raw_keys, columns, maxima, turns, false, 0);
    exact_units units;
    const auto attend = [&](auto way) { units = attend_coded<K, decltype(way)>(p, &cta->context, keys, tiles, codes, values, warps[warp_index()], cta->scales); };
    // A RoPE that the kernel is not made for has a loop of its own, for its calls cost the other's registers and schedule.
    if constexpr (!K::kKeyTurn) attend(loop_way<false>());
    else if (__builtin_expect(vote_any(keys.general), 0)) attend(loop_way<false>());
    else attend(loop_way<true>());
    attend_exact<K>(p, &cta->context, units, result_of<K>(warps[warp_index()]));
    // The last warp has the fewest exact rows: the way to the next piece, two trips to L2, is nobody's wait.
    if (p.spread && thread_index() == (K::kWarps - 1) * 32) advance<K, Cost>(p, &cta->work);
    block_barrier();
    raw_keys = {};
    if (kAhead && p.spread && load_shared(&cta->work.now.parts)) Keys::load(raw_keys, k_codebook);
    finish_piece<K>(p, load_words(&cta->context.w), load_words(&cta->context.s), [&](int c) { return load_words(cta->context.columns + c); },
                    {K::kResultsOverTables ? values : reinterpret_cast<unsigned char*>(warps), K::kResultsOverTables ? sizeof(warp_result<K>) : sizeof(warp_memory<K>)}, K::kWarps, &cta->flag);
    if (!p.spread) return;
    block_barrier();  // shared memory is the next piece's
  }
}

// At least one CTA per SM is all that is asked for: without the 1, ptxas may spill to fit more.
extern "C" __global__ void __launch_bounds__(128, 1)
antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain_n4__sm90_lookup_w4_s1_c2(const __grid_constant__ antkv_decode_params p) {
  decode_lookup<K>(p);
}

}  // namespace antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain_n4__sm90_lookup_w4_s1_c2_
