// Generated file. Do not edit.
//   template  templates/score.cu.hbs
//   kernel    antkv_score_d128_f16_exact__sm86_w8_t256_s2
//   inputs    2ad34c56c59df0b7
//   remake    npx gen --only antkv_score_d128_f16_exact__sm86_w8_t256_s2
#include "antkv.h"
#include "antkv_device.cuh"

namespace antkv_score_d128_f16_exact__sm86_w8_t256_s2_ {  // its own: device linking would merge equal names
using namespace antkv;

struct K {
  using Element = f16;  // of queries, keys, values and outputs
  static constexpr int kHeadDim = 128;
  // What the weight P is multiplied by: 1 - P, |q|, |v - o|.
  static constexpr bool kTimesRest = false, kTimesQuery = true, kTimesDistance = true;
  static constexpr bool kSoftcap = false;
  static constexpr bool kMean = false, kNorm = false;  // over the rows that see the key; of the key itself, whatever sees it
  static constexpr int kWarps = 8, kUnits = 2, kStages = 2, kSharedBytes = 71680;
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

// Which query rows of a sequence score its keys, and where those that see a key begin.

/// Rows in ascending order: list[0 ... count - 1], or without a list first, first + 1, ...
struct row_range {
  const int32_t* list;
  int first, count;
};

/// Row `i` of the range, counted in the sequence.
__device__ __forceinline__ int row_of(const row_range& rows, int i) { return rows.list ? load_global(rows.list + i) : rows.first + i; }

/// How many rows of the range are before row `least`. All lanes must call it; all get the answer.
__device__ __forceinline__ int rows_before(const row_range& rows, int least) {
  int low = 0, high = rows.count;
  if (!rows.list) return least <= rows.first ? 0 : least - rows.first < high ? least - rows.first : high;
  while (low < high) {  // 32 places at once: a list of 2^20 rows takes four loads in turn
    const int step = (high - low + 31) / 32;
    const int probe = low + lane_index() * step;
    const int before = count_bits(vote_ballot(probe < high && row_of(rows, probe < high ? probe : low) < least));
    if (before == 0) return low;
    if (low + before * step < high) high = low + before * step;
    low += (before - 1) * step + 1;
  }
  return low;
}

// A tile of query columns in shared memory, as ldmatrix reads it.

/// Rows are padded by 16 bytes, so that the eight that one ldmatrix phase reads lie in different banks.
template <class K>
struct column_tile {
  static constexpr int kColumns = 64;
  static constexpr int kStride = K::kHeadDim + 8;
  typename K::Element q[kColumns * kStride];
  typename K::Element o[K::kTimesDistance ? kColumns * kStride : 8];
  float lse[kColumns];
  float offset[kColumns];  // what the exponent of a weight begins with: P (times |q|, form massq; times |q| scale 2^1/2, form exact) = 2^(s log2(e) + offset); -inf for none
  float factor[kColumns];  // form massq: -1 / |q|; form exact: -|o|^2 / 2
  int position[kColumns];  // the last that the column sees, ascending

  /// Where piece `piece` of 16 bytes of a column lies in q and o.
  static __device__ __forceinline__ int place(int column, int piece) { return column * kStride + piece * 8; }
};

// Query columns on their way through shared memory. A column is one query head of one row; heads of a row are neighbours, so that a tile is a run of rows.
// A warp copies and prepares its own share of each tile's columns, and all warps multiply all of them.

constexpr float kLog2e = 1.44269504f;
constexpr int kNowhere = 0x7fffffff;  // position of a column that does not exist

/// The tiles of a range of rows, as one lane copies them.
template <class K, class P>
struct column_source {
  static constexpr int kShare = column_tile<K>::kColumns / K::kWarps, kPieces = K::kHeadDim / 8, kAtOnce = 32 / kPieces;  // columns of a warp, 16-byte pieces of each
  static constexpr int kLanes = 32 / kShare;  // that prepare a column
  static constexpr bool kEights = kPieces % 8 == 0;  // a column is whole lines of banks
  static_assert(kLanes <= 8 && kPieces % 4 == 0);
  using Element = typename K::Element;
  const P& p;
  row_range rows;
  int first_row, q_pos, head, ratio;  // first query row of the sequence, its position; first query head
  int share;                          // the warp's first column of a tile
  int place = 0, step = 0;            // where `find` goes on: row of the range * 32 + head, and how far a tile is
  int next = -1;                      // of the next tile, this lane's column (lane < kShare): row * 16 + head, or -1

  /// Starts at column `flat` of the range.
  __device__ __forceinline__ void start(int flat) {
    const int mine = flat + share + lane_index();
    place = mine / ratio * 32 + mine % ratio;
    step = column_tile<K>::kColumns / ratio * 32 + column_tile<K>::kColumns % ratio;
    find();
  }

  /// Finds the next tile's column. Without a division: columns are found for every tile.
  __device__ __forceinline__ void find() {
    next = (place >> 5) < rows.count && lane_index() < kShare ? row_of(rows, place >> 5) * 16 + (place & 31) : -1;
    place += step;
    if ((place & 31) >= ratio) place += 32 - ratio;
  }

  /// Starts copying the columns that `next` says, and finds those of the tile after: their rows have a tile's time to arrive.
  __device__ __forceinline__ void copy(column_tile<K>& tile) {
    const int lane = lane_index(), mine = share + lane;
    // A column beyond the last takes the first row's numbers, and no weight.
    const bool exists = next >= 0;
    const int row = exists ? next / 16 : 0;
    const int64_t at = first_row + row, of = head + (exists ? next % 16 : 0);
    if (lane < kShare) {
      copy_async_word(tile.lse + mine, p.lse + at * p.q_heads + of);
      store_shared(tile.position + mine, exists ? q_pos + row : kNowhere);
    }
    copy_rows(tile.q, byte_pointer(p.q) + at * p.q_row_stride + of * p.q_head_stride);
    if constexpr (K::kTimesDistance) copy_rows(tile.o, byte_pointer(p.o) + at * p.o_row_stride + of * p.o_head_stride);
    find();
  }

  /// A numbering of the warp's share, where columns are no whole lines of banks: `near` of them after one another are columns that begin 8 / near lanes of a line apart.
  static __device__ __forceinline__ int apart(int nth, int near) {
    if constexpr (kEights || kShare < 8) return nth;
    else return nth / 8 * 8 + nth % near * (8 / near) + nth % 8 / near;
  }

  /// Copies the warp's columns; lane i knows where column i lies.
  __device__ __forceinline__ void copy_rows(Element* to, const unsigned char* column) const {
    const int lane = lane_index();
#pragma unroll
    for (int i = 0; i < kShare; i += kAtOnce) {
      const int at = apart(i + lane / kPieces, 2);
      const auto* from = reinterpret_cast<const unsigned char*>(shuffle_address(reinterpret_cast<uint64_t>(column), at));
      if (32 % kPieces == 0 || lane < kAtOnce * kPieces) copy_async(to + column_tile<K>::place(share + at, lane % kPieces), from + lane % kPieces * 16, true);
    }
  }

  static __device__ __forceinline__ uint64_t shuffle_address(uint64_t x, int lane) {
    return uint64_t(shuffle(uint32_t(x >> 32), lane)) << 32 | shuffle(uint32_t(x), lane);
  }

  static constexpr int kNear = 8 / kLanes;  // columns that eight lanes prepare

  /// |x|^2 of the lane's column. Each of the column's lanes reads pieces that lie in other banks than those the seven lanes beside it read.
  __device__ __forceinline__ float norm(const Element* from) const {
    const int lane = lane_index();
    const int column = share + apart(lane / kLanes, kNear), first = lane % kLanes * (kEights ? kNear : 1);
    float sum[2] = {0, 0};  // do not wait for each other
#pragma unroll
    for (int i = 0; i < (kPieces + kLanes - 1) / kLanes; ++i) {
      const int piece = first + (kEights ? i / kNear * 8 + i % kNear : i * kLanes);
      if (kPieces % kLanes != 0 && piece >= kPieces) break;
      const bytes16 x = load_shared(reinterpret_cast<const bytes16*>(from + column_tile<K>::place(column, piece)));
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        const float value = to_float(Element{uint16_t(x.w[j / 2] >> (16 * (j % 2)))});
        sum[j % 2] = fused_multiply_add(value, value, sum[j % 2]);
      }
    }
    float total = sum[0] + sum[1];
#pragma unroll
    for (int far = kLanes / 2; far > 0; far /= 2) total += shuffle_xor(total, far);
    return total;
  }

  /// Turns what this warp copied into what weights are made of. The lane's own copies have arrived; a barrier of the block has yet to come.
  __device__ __forceinline__ void prepare(column_tile<K>& tile) const {
    warp_barrier();  // other lanes' copies
    float q_norm = 1, o_norm = 0;
    if constexpr (K::kTimesQuery) q_norm = norm(tile.q);
    if constexpr (K::kTimesDistance) o_norm = norm(tile.o);
    if (lane_index() % kLanes != 0) return;
    const int mine = share + apart(lane_index() / kLanes, kNear);
    const float lse = load_shared(tile.lse + mine);
    // A row that saw nothing has an lse of -inf and no weight to give, as has a column beyond the last, and for forms with |q| a query that is zero.
    const bool sees = lse != minus_infinity() && load_shared(tile.position + mine) != kNowhere && q_norm > 0;
    const float times = K::kTimesQuery ? 0.5f * log2_fast(K::kTimesDistance ? 2 * p.scale * p.scale * q_norm : q_norm) : 0;
    const float capped = K::kSoftcap ? p.softcap * kLog2e : 0;  // score_scale
    store_shared(tile.offset + mine, sees ? times - lse * kLog2e - capped : minus_infinity());
    if constexpr (K::kTimesDistance) store_shared(tile.factor + mine, -0.5f * o_norm);
    else if constexpr (K::kTimesQuery) store_shared(tile.factor + mine, sees ? -exp2_fast(-times) : 0);
  }
};

// A warp's keys in registers, and what a query column that sees one adds to its score. Lane = 4 * g + t throughout: products have keys g and g + 8 of a unit
// on rows, columns 2t and 2t + 1 of eight on columns.

/// Keys, and for form exact values, of the warp's units of 16, as A fragments.
template <class K>
struct key_fragments {
  static constexpr int kSteps = K::kHeadDim / 16;
  uint32_t k[K::kUnits][kSteps][4];
  uint32_t v[K::kTimesDistance ? K::kUnits : 1][kSteps][4];
  float v_norm[K::kTimesDistance ? K::kUnits : 1][2];  // -|v|^2 / 2 of keys g and g + 8
};

/// Reads 16 rows; those from `valid` on are zeros. Once per CTA: straight from global memory.
template <int kSteps>
__device__ __forceinline__ void load_fragments(uint32_t (&a)[kSteps][4], const unsigned char* rows, int64_t row_bytes, int valid) {
  const int g = lane_index() / 4, t = lane_index() % 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const bool exists = g + 8 * half < valid;
    const auto* row = reinterpret_cast<const uint32_t*>(rows + (exists ? g + 8 * half : 0) * row_bytes);
#pragma unroll
    for (int step = 0; step < kSteps; ++step)
#pragma unroll
      for (int i = 0; i < 2; ++i) a[step][half + 2 * i] = exists ? load_global(row + step * 8 + i * 4 + t) : 0;
  }
}

/// -|x|^2 / 2 of rows g and g + 8, of elements T.
template <class T, int kSteps>
__device__ __forceinline__ void half_norms(float (&norm)[2], const uint32_t (&a)[kSteps][4]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kSteps * 4; ++i) {
      const float x = to_float(T{uint16_t(a[i / 4][half + 2 * (i / 2 % 2)] >> (16 * (i % 2)))});
      sum = fused_multiply_add(x, x, sum);
    }
    sum += shuffle_xor(sum, 1);
    norm[half] = -0.5f * (sum + shuffle_xor(sum, 2));
  }
}

/// Two floats of columns 2t and 2t + 1.
__device__ __forceinline__ void load_pair(float (&x)[2], const float* from) {
  const bytes8 pair = load_shared(reinterpret_cast<const bytes8*>(from + lane_index() % 4 * 2));
  x[0] = float_of_bits(pair.w[0]), x[1] = float_of_bits(pair.w[1]);
}

/// What makes the exponent of a weight (log2 units, the column's part aside) of a product q . k: product * factor, or where scores are capped factor / (1 + 2^(product * bend)),
/// which is softcap * tanh(score / softcap) + softcap.
struct score_scale {
  float factor, bend;
};
template <class K, class P>
__device__ __forceinline__ score_scale scale_of(const P& p) {
  if constexpr (K::kSoftcap) return {2 * p.softcap * kLog2e, -2 * p.scale / p.softcap * kLog2e};
  else return {p.scale * kLog2e, 0};
}

/// A product as `factor` wants it: where scores are capped its place between -softcap (0) and softcap (1).
template <class K>
__device__ __forceinline__ float capped(float product, const score_scale& scale) {
  if constexpr (K::kSoftcap) return reciprocal_fast(1 + exp2_fast(product * scale.bend));
  else return product;
}
/// For forms that ask what a change of the key does: what it moves of the capped score over what it moves of the score, 1 - tanh^2.
template <class K>
__device__ __forceinline__ float slope_of(float place) {
  if constexpr (K::kSoftcap && K::kTimesQuery) return fused_multiply_add(-4 * place, place, 4 * place);
  else return 1;
}

/// Form exact: adds what a column of weight P |q| scale 2^1/2 and distance -|v - o|^2 / 2 gives.
__device__ __forceinline__ void add_distance(float& sum, float weight, float distance) {
  // Where v and o agree rounding may leave the wrong sign.
  sum = fused_multiply_add(weight, square_root_fast(fabsf(distance)), sum);
}

/// The other forms: adds what a column of weight P, or P |q|, gives; `factor` is the column's, `slope` that of the capped score.
template <class K>
__device__ __forceinline__ void add_share(float& sum, float weight, float factor, float slope = 1) {
  if constexpr (K::kTimesRest) sum = fused_multiply_add(weight * slope, saturate(fused_multiply_add(weight, factor, 1)), sum);
  else sum += weight;
}

// What a tile of query columns adds to the scores of a warp's keys, by mma.sync.

/// The warp's first key, counted from the block's first, and how far its next unit is.
template <class K>
__device__ __forceinline__ int first_key_of_warp() {
  return warp_index() * K::kUnits * 16;
}
constexpr int kNextUnit = 16;

/// Products of some columns with all of a warp's keys, not yet weighed.
template <class K>
struct column_products {
  // Sums that do not wait for each other: four cover the latency of the matrix unit.
  static constexpr int kSums = K::kUnits * (K::kTimesDistance ? 2 : 1);
  static constexpr int kGroups = kSums >= 3 ? 1 : kSums == 2 ? 2 : 4;  // of eight columns
  float score[kGroups][K::kUnits][4];                                   // q . k
  float distance[kGroups][K::kTimesDistance ? K::kUnits : 1][4];        // -|v - o|^2 / 2
};

/// d += keys * columns, of eight columns in shared memory.
template <class K>
__device__ __forceinline__ void multiply(float (&d)[K::kUnits][4], const uint32_t (&keys)[K::kUnits][K::kHeadDim / 16][4], const typename K::Element* columns) {
  const auto* row = columns + lane_index() % 8 * column_tile<K>::kStride + lane_index() / 8 * 8;
#pragma unroll
  for (int step = 0; step < K::kHeadDim / 16; step += 2) {
    uint32_t b[4];
    load_matrix_x4(b, row + step * 16);
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int u = 0; u < K::kUnits; ++u) multiply_add<typename K::Element>(d[u], keys[u][step + half], {b[2 * half], b[2 * half + 1]});
  }
}

/// The products of columns `first` ... with a warp's keys.
template <class K>
__device__ __forceinline__ void multiply_columns(column_products<K>& to, const key_fragments<K>& keys, const column_tile<K>& tile, int first) {
#pragma unroll
  for (int group = 0; group < column_products<K>::kGroups; ++group) {
    const int column = first + group * 8;
#pragma unroll
    for (int i = 0; i < K::kUnits * 4; ++i) to.score[group][i / 4][i % 4] = 0;
    multiply<K>(to.score[group], keys.k, tile.q + column * column_tile<K>::kStride);
    if constexpr (K::kTimesDistance) {
      // Sums begin with both norms, so that the product itself ends as the distance.
      float o_norm[2];
      load_pair(o_norm, tile.factor + column);
#pragma unroll
      for (int i = 0; i < K::kUnits * 4; ++i) to.distance[group][i / 4][i % 4] = keys.v_norm[i / 4][i / 2 % 2] + o_norm[i % 2];
      multiply<K>(to.distance[group], keys.v, tile.o + column * column_tile<K>::kStride);
    }
  }
}

/// Adds what products `from` of columns `first` ... weigh. Masked: key g of the first unit has position `key`.
template <class K, bool kMasked>
__device__ __forceinline__ void add_weights(float (&sum)[K::kUnits][2], const column_products<K>& from, const column_tile<K>& tile, int first, int key, const score_scale& scale) {
#pragma unroll
  for (int group = 0; group < column_products<K>::kGroups; ++group) {
    const int column = first + group * 8;
    float offset[2], factor[2] = {-1, -1};
    load_pair(offset, tile.offset + column);
    if constexpr (K::kTimesQuery && !K::kTimesDistance) load_pair(factor, tile.factor + column);
    int position[2];
    if constexpr (kMasked) {
#pragma unroll
      for (int c = 0; c < 2; ++c) position[c] = load_shared(tile.position + column + lane_index() % 4 * 2 + c);
    }
#pragma unroll
    for (int u = 0; u < K::kUnits; ++u)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int c = i % 2, half = i / 2;
        float score = capped<K>(from.score[group][u][i], scale);
        if constexpr (kMasked && !K::kSoftcap) score = key + u * 16 + half * 8 <= position[c] ? score : minus_infinity();
        float weight = exp2_fast(fused_multiply_add(score, scale.factor, offset[c]));
        if constexpr (kMasked && K::kSoftcap) weight = key + u * 16 + half * 8 <= position[c] ? weight : 0;  // a capped score is finite
        const float slope = slope_of<K>(score);
        if constexpr (K::kTimesDistance) add_distance(sum[u][half], weight * slope, from.distance[group][u][i]);
        else add_share<K>(sum[u][half], weight, factor[c], slope);
      }
  }
}

/// Adds what a tile of columns weighs. The next columns are multiplied before the last ones are weighed: the matrix unit and the exponentials work at the same time.
template <class K, bool kMasked>
__device__ __forceinline__ void add_tile(float (&sum)[K::kUnits][2], const key_fragments<K>& keys, const column_tile<K>& tile, int key, const score_scale& scale) {
  constexpr int kColumns = column_tile<K>::kColumns, kStep = 8 * column_products<K>::kGroups;
  // A tile's own sum: small weights would vanish one by one beside a large score.
  float part[K::kUnits][2] = {};
  column_products<K> last;
  multiply_columns<K>(last, keys, tile, 0);
#pragma unroll 1  // of more steps at once ptxas puts all products first, and the weights of the last one wait for them
  for (int first = 0; first < kColumns - kStep; first += kStep) {
    column_products<K> next;
    multiply_columns<K>(next, keys, tile, first + kStep);
    add_weights<K, kMasked>(part, last, tile, first, key, scale);
    last = next;
  }
  add_weights<K, kMasked>(part, last, tile, kColumns - kStep, key, scale);
#pragma unroll
  for (int i = 0; i < K::kUnits * 2; ++i) sum[i / 2][i % 2] += part[i / 2][i % 2];
}

/// Walks over the columns of `source` from row `start` of its range on, and adds what they weigh to the warp's sums. `key`: position of the warp's first key.
template <class K, class P>
__device__ __forceinline__ void add_rows(float (&sum)[K::kUnits][2], const key_fragments<K>& keys, column_source<K, P>& source, int start, int key, const score_scale& scale) {
  constexpr int kColumns = column_tile<K>::kColumns;
  auto& tiles = *reinterpret_cast<column_tile<K> (*)[K::kStages]>(shared_memory());
  const int begin = start * source.ratio, count = (source.rows.count * source.ratio - begin + kColumns - 1) / kColumns;
  source.start(begin);
  const auto copy = [&](int tile) {
    if (tile < count) source.copy(tiles[tile % K::kStages]);
    copy_async_commit();
  };
  const auto prepare = [&](int tile) {
    copy_async_wait<K::kStages - 2>();
    if (tile < count) source.prepare(tiles[tile % K::kStages]);
  };
#pragma unroll 1
  for (int tile = 0; tile < K::kStages - 1; ++tile) copy(tile);
  prepare(0);
  // The two warps of a scheduler change turns, so that one multiplies while the other prepares.
  const int first_turn = K::kWarps > 4 ? warp_index() / 4 % 2 : 0;
#pragma unroll 1
  for (int at = 0; at < count; ++at) {
    const column_tile<K>& tile = tiles[at % K::kStages];
    block_barrier();  // the tile is whole, and all warps are done with the one before it: its place takes new columns
#pragma unroll 1
    for (int turn = first_turn; turn < first_turn + 2; ++turn) {
      if (turn % 2 == 0) {
        copy(at + K::kStages - 1);
        prepare(at + 1);
      } else if (load_shared(tile.position) >= key + K::kUnits * 16 - 1) {
        add_tile<K, false>(sum, keys, tile, key + lane_index() / 4, scale);
      } else if (load_shared(tile.position + kColumns - 1) >= key) {
        add_tile<K, true>(sum, keys, tile, key + lane_index() / 4, scale);
      }
    }
  }
  copy_async_wait<0>();
  block_barrier();
}

// Anchor score of every key: a second pass over QK^T, after any attention that returned the log-sum-exp.
// grid (key tiles, kv_heads, batch). A warp keeps its keys in registers and walks over all query columns that may see them, which pass through shared memory in
// tiles, a few of them under way: no atomics, and the sums come out the same every time.
//   column  s_j = sum_i P_ij                        mass    s_j = sum_i P_ij (1 - P_ij)
//   massq   s_j = sum_i P_ij (1 - P_ij) |q_i|       exact   s_j = sum_i P_ij |v_j - o_i| |q_i| scale
// With softcap P is that of the capped score s, and massq and exact, which say what a change of the key does, count 1 - (s / softcap)^2 of each term.
//   saliency: column over the number of those rows  norm    s_j = scale |k_j|
// over the rows i that see j and the query heads of the KV head; exact is how far a change of key j moves the outputs o_i. Rows may be a sample: each listed one then
// stands for several. Form norm asks no row.

/// Block `i` of the grid as this CTA's place in it. Blocks start in the order of x: early keys, which most rows see, of all heads and sequences come first, so that
/// those that end last are short.
__device__ __forceinline__ index3 longest_first() {
  const index3 block = block_index(), grid = grid_size();
  const int i = block.x + grid.x * (block.y + grid.y * block.z), lists = grid.y * grid.z;
  return {i / lists, i % lists % grid.y, i % lists / grid.y};
}

/// How many rows see the key at `position`: of the `rows` from position `q_pos` on, and of those before that, which were scored by earlier calls.
struct seen_by {
  int earlier, now;
};
template <class P>
__device__ __forceinline__ seen_by rows_that_see(const P& p, int position, int q_pos, int rows) {
  const int before = q_pos - position, until = before + rows;
  return {p.accumulate && before > 0 ? before : 0, until < 0 ? 0 : until < rows ? until : rows};
}

/// Form saliency: the mean of all rows that see a key, from that of the earlier ones and what these add; -inf of a key that none sees.
__device__ __forceinline__ float mean_of(const seen_by& rows, const float* earlier, float added) {
  const int all = rows.earlier + rows.now;
  if (all == 0) return minus_infinity();
  return ((rows.earlier > 0 ? load_global(earlier) * float(rows.earlier) : 0.0f) + added) / float(all);
}

template <class K, class P>
__device__ __forceinline__ void score(const P& p) {
  static_assert(sizeof(column_tile<K>) * K::kStages <= K::kSharedBytes && K::kStages >= 2 && column_tile<K>::kColumns % (K::kWarps * column_source<K, P>::kAtOnce) == 0, "generator/shared.ts or tile.ts is wrong");
  const index3 place = longest_first();
  const int head = place.y, b = place.z, ratio = p.q_heads / p.kv_heads;
  const int first_key = load_global(p.cu_k + b), keys = load_global(p.cu_k + b + 1) - first_key;
  const int first_row = K::kNorm ? 0 : load_global(p.cu_q + b), rows = K::kNorm ? 0 : load_global(p.cu_q + b + 1) - first_row;
  const int first_pos = element_or(p.first_pos, b, 0), q_pos = element_or(p.q_pos, b, first_pos + keys - rows);
  const int block_key = place.x * K::kWarps * K::kUnits * 16, mine = block_key + first_key_of_warp<K>();
  if (block_key >= keys) return;

  key_fragments<K> fragments;
#pragma unroll
  for (int u = 0; u < K::kUnits; ++u) {
    const int key = mine + u * kNextUnit;
    const int64_t row = key < keys ? first_key + key : first_key;
    load_fragments(fragments.k[u], byte_pointer(p.k) + row * p.k_row_stride + head * p.k_head_stride, p.k_row_stride, keys - key);
    if constexpr (K::kTimesDistance) {
      load_fragments(fragments.v[u], byte_pointer(p.v) + row * p.v_row_stride + head * p.v_head_stride, p.v_row_stride, keys - key);
      half_norms<typename K::Element>(fragments.v_norm[u], fragments.v[u]);
    }
  }

  // Older rows by their sample, then the newest ones; without a sample all are newest.
  const int newest = !p.cu_sampled || p.newest_rows > rows ? rows : p.newest_rows, older = rows - newest;
  const int first_listed = p.cu_sampled ? load_global(p.cu_sampled + b) : 0, listed = p.cu_sampled ? load_global(p.cu_sampled + b + 1) - first_listed : 0;
  float sum[K::kUnits][2] = {};
  if constexpr (K::kNorm) {
#pragma unroll
    for (int u = 0; u < K::kUnits; ++u) half_norms<typename K::Element>(sum[u], fragments.k[u]);
  }
#pragma unroll 1
  for (int part = 0; part < (K::kNorm ? 0 : 2); ++part) {
    const row_range range = part == 0 ? row_range{p.sampled_rows + first_listed, 0, listed} : row_range{nullptr, older, newest};
    if (range.count == 0) continue;
    column_source<K, P> source{p, range, first_row, q_pos, head * ratio, ratio, warp_index() * column_source<K, P>::kShare};
    // Rows before the block's first key see none of its keys.
    add_rows<K>(sum, fragments, source, rows_before(range, first_pos + block_key - q_pos), first_pos + mine, scale_of<K>(p));
    if (part == 0) {
#pragma unroll
      for (int i = 0; i < K::kUnits * 2; ++i) sum[i / 2][i % 2] *= float(older) / float(listed);
    }
  }

  float* scores = p.scores + (int64_t(b) * p.kv_heads + head) * p.score_stride + element_or(p.first_key, b, 0);
#pragma unroll
  for (int i = 0; i < K::kUnits * 2; ++i) {
    float total = sum[i / 2][i % 2];
    if constexpr (K::kNorm) {
      total = p.scale * square_root(-2 * total);
    } else {
      total += shuffle_xor(total, 1);
      total += shuffle_xor(total, 2);
    }
    const int key = mine + i / 2 * kNextUnit + i % 2 * 8 + lane_index() / 4;
    const bool adds = !K::kMean && !K::kNorm && p.accumulate;
    if constexpr (K::kMean) total = lane_index() % 4 == 0 && key < keys ? mean_of(rows_that_see(p, first_pos + key, q_pos, rows), scores + key, total) : 0;
    if (lane_index() % 4 == 0 && key < keys) store_global(scores + key, adds ? load_global(scores + key) + total : total);
  }
}

// At least one CTA per SM is all that is asked for: without the 1, ptxas may spill to fit more.
extern "C" __global__ void __launch_bounds__(256, 1)
antkv_score_d128_f16_exact__sm86_w8_t256_s2(const __grid_constant__ antkv_score_params p) {
  score<K>(p);
}

}  // namespace antkv_score_d128_f16_exact__sm86_w8_t256_s2_
