// Generated file. Do not edit.
//   template  templates/encode.cu.hbs
//   kernel    antkv_encode_d128_k8c8b_v8c8bq8_f16_gain__sm80_w4_t32
//   inputs    4cfa4960d2097a5e
//   remake    npx gen --only antkv_encode_d128_k8c8b_v8c8bq8_f16_gain__sm80_w4_t32
#include "antkv.h"
#include "antkv_device.cuh"

namespace antkv_encode_d128_k8c8b_v8c8bq8_f16_gain__sm80_w4_t32_ {  // its own: device linking would merge equal names
using namespace antkv;

struct K {
  static constexpr int kHeadDim = 128;
  struct Key {
    static constexpr bool kExact = false;
    static constexpr int kRowBytes = 16, kCodebookBytes = 81920;
    static constexpr int kChannels = 8, kBits = 8, kEntries = 256;
    static constexpr bool kQ8 = false;
    static constexpr int kScaleOffset = 65536, kHalfNormOffset = 65536;
    static constexpr bool kKeys = true, kByLane = true;  // the order of codes in a unit
    static constexpr int kChunks = 16, kPiece = 8, kTurnHigh = 0, kTurnShift = 0, kTurnMask = 3;
  };
  struct Value {
    static constexpr bool kExact = false;
    static constexpr int kRowBytes = 16, kCodebookBytes = 49664;
    static constexpr int kChannels = 8, kBits = 8, kEntries = 256;
    static constexpr bool kQ8 = true;
    static constexpr int kScaleOffset = 32768, kHalfNormOffset = 33280;
    static constexpr bool kKeys = false, kByLane = true;
    static constexpr int kChunks = 16, kPiece = 8, kRowSpan = 4;
  };
  static constexpr bool kCoded = true;  // a side is coded: pages carry a bitmap, and anchors exist
  static constexpr int kUnitBytes = 544, kValueOffset = 256, kKeyGainOffset = 512;
  static constexpr bool kPre = false, kKeyGain = true;
  static constexpr int kMaxChunks = 16, kMaxRowBytes = 16;  // of the two sides
  static constexpr int kWarps = 4, kTokens = 32, kSharedBytes = 21120;
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
      lane = (span / (kChunks / 8) * C::kRowSpan + chunk % C::kRowSpan) * 4 + token % 4;
      position = token / 4 * (kChunks / 8) + span % (kChunks / 8);
    }
    return int(position / kPiece * 32 * kPiece + lane * kPiece + position % kPiece);
  }
}

/// The index of token `token`'s gain among the 16 of its unit: a lane that holds tokens g and g + 8 reads one word.
__device__ __forceinline__ int gain_index(int token) { return token % 8 * 2 + token / 8; }

// From codes to channels: one codebook entry becomes the f16 channels of one chunk. C is the traits struct of one side.

/// The code of `chunk` of token `token` (0 ... 15); `codes` is one side of a unit in shared memory.
template <class C>
__device__ __forceinline__ int code_at(const unsigned char* codes, int token, int chunk) {
  return load_shared(codes + code_offset<C>(token, chunk));
}

/// Bytes of one codebook entry, how many of them move at once, and the 32-bit words that hold them.
template <class C>
struct entry_bytes {
  static constexpr int kAll = C::kChannels * (C::kQ8 ? 1 : 2);
  static constexpr int kPiece = kAll < 16 ? kAll : 16;
  static constexpr int kPieces = kAll / kPiece;
  static constexpr int kWords = (kAll + 3) / 4;
};

/// Loads the entry at `entry` (global) as 32-bit words.
template <class C>
__device__ __forceinline__ void load_entry(uint32_t (&words)[entry_bytes<C>::kWords], const unsigned char* entry) {
  using E = entry_bytes<C>;
#pragma unroll
  for (int i = 0; i < E::kPieces; ++i) {
    if constexpr (E::kPiece == 2) {  // 2 channels of 8 bits
      words[i] = load_global(reinterpret_cast<const uint16_t*>(entry));
    } else if constexpr (E::kPiece == 4) {
      words[i] = load_global(reinterpret_cast<const uint32_t*>(entry) + i);
    } else if constexpr (E::kPiece == 8) {
      const bytes8 piece = load_global(reinterpret_cast<const bytes8*>(entry) + i);
      words[2 * i] = piece.w[0], words[2 * i + 1] = piece.w[1];
    } else {
      const bytes16 piece = load_global(reinterpret_cast<const bytes16*>(entry) + i);
#pragma unroll
      for (int j = 0; j < 4; ++j) words[4 * i + j] = piece.w[j];
    }
  }
}

/// Channel `i` of a loaded entry as stored: the f16 centroid, or the int8 step count.
template <class C>
__device__ __forceinline__ float entry_channel(const uint32_t (&words)[entry_bytes<C>::kWords], int i) {
  if constexpr (C::kQ8) return float(int8_t(words[i / 4] >> (8 * (i % 4)) & 0xff));
  return to_float(f16{uint16_t(words[i / 2] >> (16 * (i % 2)))});
}

/// Stores `kWords` pairs of channels in shared memory, in as few stores as their alignment allows.
template <int kWords>
__device__ __forceinline__ void store_channels(f16* to, const uint32_t (&words)[kWords]) {
  if constexpr (kWords == 1) {
    store_shared(reinterpret_cast<uint32_t*>(to), words[0]);
  } else if constexpr (kWords == 2) {
    store_shared(reinterpret_cast<bytes8*>(to), bytes8{{words[0], words[1]}});
  } else {
#pragma unroll
    for (int i = 0; i < kWords; i += 4)
      store_shared(reinterpret_cast<bytes16*>(to) + i / 4, bytes16{{words[i], words[i + 1], words[i + 2], words[i + 3]}});
  }
}

/// The factors of an int8 codebook's channels, null for an f16 codebook.
template <class C>
__device__ __forceinline__ const float* channel_scales(const unsigned char* codebook) {
  return C::kQ8 ? reinterpret_cast<const float*>(codebook + C::kScaleOffset) : nullptr;
}

/// Expands 16 rows of codes in shared memory to 16 rows of f16 in shared memory, one warp.
/// `codes` is one side of a unit, `codebook` the packed codebook of this KV head (global). Without kScaled an int8 codebook's rows keep their whole
/// numbers, exact in f16, and whoever reads them next applies channel_scales: one rounding instead of two.
template <class C, int kHeadDim, bool kScaled>
__device__ __forceinline__ void expand_rows(f16* rows, int row_stride, const unsigned char* codes, const unsigned char* codebook) {
  constexpr int kChunks = kHeadDim / C::kChannels;
  // A lane keeps its chunk, so that scales are loaded once; its gathers for several rows are under way together.
  constexpr int kLanes = kChunks < 32 ? kChunks : 32, kRowsAtOnce = 32 / kLanes;
  const int lane = lane_index(), first_row = lane / kLanes;
  if (first_row >= kRowsAtOnce) return;
  for (int chunk = lane % kLanes; chunk < kChunks; chunk += kLanes) {
    const unsigned char* entries = codebook + int64_t(chunk) * C::kEntries * entry_bytes<C>::kAll;
    float scale[C::kChannels];
    if constexpr (C::kQ8 && kScaled) {
#pragma unroll
      for (int i = 0; i < C::kChannels; ++i) scale[i] = load_global(channel_scales<C>(codebook) + chunk * C::kChannels + i);
    }
#pragma unroll
    for (int row = first_row; row < 16; row += kRowsAtOnce) {
      uint32_t words[entry_bytes<C>::kWords];
      load_entry<C>(words, entries + code_at<C>(codes, row, chunk) * entry_bytes<C>::kAll);
      uint32_t channels[C::kChannels / 2];
#pragma unroll
      for (int i = 0; i < C::kChannels; i += 2) {
        if constexpr (C::kQ8) {
          float x = entry_channel<C>(words, i), y = entry_channel<C>(words, i + 1);
          if constexpr (kScaled) x *= scale[i], y *= scale[i + 1];
          channels[i / 2] = pack(to_f16(x), to_f16(y));
        } else {
          channels[i / 2] = words[i / 2];
        }
      }
      store_channels<C::kChannels / 2>(rows + row * row_stride + chunk * C::kChannels, channels);
    }
  }
}

/// Copies 16 exact rows inside shared memory, zeros from row `valid` on (they were never written: 0 * NaN is NaN), one warp.
template <int kHeadDim>
__device__ __forceinline__ void copy_rows(f16* rows, int row_stride, const unsigned char* from, int valid) {
  constexpr int kPieces = kHeadDim / 8;
  for (int task = lane_index(); task < 16 * kPieces; task += 32) {
    const int row = task / kPieces, piece = task % kPieces;
    bytes16 value = {};
    if (row < valid) value = load_shared(reinterpret_cast<const bytes16*>(from) + task);
    store_shared(reinterpret_cast<bytes16*>(rows + row * row_stride + piece * 8), value);
  }
}

// K/V rows to whole coded pages: nearest centroid per chunk, gains, bitmap; kept rows to anchor pages.
// grid (token tiles, then anchor pages; kv_heads; batch). A token tile is a CTA, and inside it a thread finds one code at a time:
// consecutive threads hold consecutive tokens of the same chunk, so a warp reads each centroid once.

/// Shared memory of a token tile: one side at a time.
template <class K>
struct encode_memory {
  static constexpr int kStride = K::kHeadDim + 1;  // consecutive tokens in consecutive banks
  static constexpr int kMaxChunks = K::kMaxChunks;
  float rows[K::kTokens * kStride];
  float norm[K::kTokens * kMaxChunks];      // |x|^2 of each chunk
  float estimate[K::kTokens * kMaxChunks];  // |c|^2 of the centroid chosen for it
  alignas(16) unsigned char codes[K::kTokens * K::kMaxRowBytes];  // units as their pages have them
};

/// Rotates one row of fp32 channels in place, forwards (+1) or backwards (-1), by the threads of one warp.
template <class P>
__device__ __forceinline__ void rotate_row(const P& p, float* row, int position, float direction) {
  const float factor = direction > 0 ? p.attention_factor : 1.0f / p.attention_factor;
  for (int i = lane_index(); i < p.rotary_dim / 2; i += 32) {
    const rope_pair pair = rope_channels(p, i);
    float sine, cosine;
    rope_angle(position, load_global(p.inv_freq + i), sine, cosine);
    sine *= direction;
    const float x = load_shared(row + pair.first), y = load_shared(row + pair.second);
    store_shared(row + pair.first, (x * cosine - y * sine) * factor);
    store_shared(row + pair.second, (x * sine + y * cosine) * factor);
  }
}

/// Loads `count` rows of the tile as fp32, zeros behind them, one row per warp and turn.
template <class K>
__device__ __forceinline__ void load_tile(float* rows, const unsigned char* from, int64_t row_stride, int count) {
  for (int row = warp_index(); row < K::kTokens; row += K::kWarps)
    for (int channel = lane_index() * 2; channel < K::kHeadDim; channel += 64) {
      uint32_t two = 0;
      if (row < count) two = load_global(reinterpret_cast<const uint32_t*>(from + row * row_stride + channel * 2));
      store_shared(rows + row * encode_memory<K>::kStride + channel, to_float(f16{uint16_t(two)}));
      store_shared(rows + row * encode_memory<K>::kStride + channel + 1, to_float(f16{uint16_t(two >> 16)}));
    }
}

/// Finds the nearest centroid of every chunk of the tile: the largest x.c - |c|^2/2, the lower entry on a tie.
template <class K, class C>
__device__ __forceinline__ void find_codes(encode_memory<K>& mem, const unsigned char* codebook, int count) {
  constexpr int kChunks = K::kHeadDim / C::kChannels;
  const float* half_norms = reinterpret_cast<const float*>(codebook + C::kHalfNormOffset);
  for (int task = thread_index(); task < K::kTokens * kChunks; task += K::kWarps * 32) {
    const int token = task % K::kTokens, chunk = task / K::kTokens;
    float x[C::kChannels], scaled[C::kChannels];
    float norm = 0;
#pragma unroll
    for (int i = 0; i < C::kChannels; ++i) {
      x[i] = load_shared(mem.rows + token * encode_memory<K>::kStride + chunk * C::kChannels + i);
      norm += x[i] * x[i];
      scaled[i] = x[i];
      if constexpr (C::kQ8) scaled[i] *= load_global(reinterpret_cast<const float*>(codebook + C::kScaleOffset) + chunk * C::kChannels + i);
    }
    float best = minus_infinity();
    int code = 0;
    for (int entry = 0; entry < C::kEntries; ++entry) {
      uint32_t words[entry_bytes<C>::kWords];
      load_entry<C>(words, codebook + (int64_t(chunk) * C::kEntries + entry) * entry_bytes<C>::kAll);
      float closeness = -load_global(half_norms + chunk * C::kEntries + entry);
#pragma unroll
      for (int i = 0; i < C::kChannels; ++i) closeness += scaled[i] * entry_channel<C>(words, i);
      if (closeness > best) best = closeness, code = entry;
    }
    if (token >= count) code = 0;
    store_shared(mem.codes + token / 16 * 16 * C::kRowBytes + code_offset<C>(token % 16, chunk), (unsigned char)code);
    store_shared(mem.norm + token * K::kMaxChunks + chunk, norm);
    store_shared(mem.estimate + token * K::kMaxChunks + chunk, 2.0f * load_global(half_norms + chunk * C::kEntries + code));
  }
}

/// The factor that gives the estimate its true norm: |x| / |x^|, 1 where the estimate is 0, 0 where there is no token.
template <class K, int kChunks>
__device__ __forceinline__ float gain_of(const encode_memory<K>& mem, int token, int count) {
  if (token >= count) return 0;
  float norm = 0, estimate = 0;
  for (int chunk = 0; chunk < kChunks; ++chunk) {
    norm += load_shared(mem.norm + token * K::kMaxChunks + chunk);
    estimate += load_shared(mem.estimate + token * K::kMaxChunks + chunk);
  }
  return estimate > 0 ? fminf(square_root(norm / estimate), 65504.0f) : 1.0f;  // finite in f16: inf * 0 is NaN
}

/// Writes one side of the tile's units: codes, or the exact rows.
template <class K, class C, class P>
__device__ __forceinline__ void store_side(const P& p, encode_memory<K>& mem, const unsigned char* codebook, int b, int head, int first, int count,
                                           int side_offset) {
  if constexpr (!C::kExact) {
    find_codes<K, C>(mem, codebook, count);
  }
  block_barrier();
  for (int unit = 0; unit * 16 < count; ++unit) {
    unsigned char* to = page_block(p, b, head, first + unit * 16) + (first + unit * 16) % p.page_size / 16 * K::kUnitBytes + side_offset;
    for (int at = thread_index() * 16; at < 16 * C::kRowBytes; at += K::kWarps * 32 * 16) {
      bytes16 piece;
      if constexpr (C::kExact) {
        const float* from = mem.rows + (unit * 16 + at / C::kRowBytes) * encode_memory<K>::kStride + at % C::kRowBytes / 2;
#pragma unroll
        for (int i = 0; i < 4; ++i) piece.w[i] = pack(to_f16(load_shared(from + 2 * i)), to_f16(load_shared(from + 2 * i + 1)));
      } else {
        piece = load_shared(reinterpret_cast<const bytes16*>(mem.codes + unit * 16 * C::kRowBytes + at));
      }
      store_global(reinterpret_cast<bytes16*>(to + at), piece);
    }
  }
}

/// The anchor bitmap of the page whose first logical token is `first`: all its words, whatever a page held before.
template <class K, class P>
__device__ __forceinline__ void store_bitmap(const P& p, int b, int head, int first, int end) {
  uint32_t* bitmap = reinterpret_cast<uint32_t*>(page_block(p, b, head, first) + p.page_size / 16 * K::kUnitBytes);
  const uint32_t* keep = p.keep_bitmap ? p.keep_bitmap + (int64_t(b) * p.kv_heads + head) * p.keep_words : nullptr;
  for (int word = thread_index(); word * 32 < p.page_size; word += K::kWarps * 32) {
    uint32_t bits = 0;
    for (int half = 0; half < 2 && keep; ++half) {
      // By halves: a page of 16 tokens may begin in the middle of a word of keep_bitmap.
      const int token = first + word * 32 + half * 16;
      if (word * 32 + half * 16 >= p.page_size || token >= end) break;
      uint32_t sixteen = load_global(keep + token / 32) >> token % 32 & 0xffff;
      if (end - token < 16) sixteen &= (1u << (end - token)) - 1;
      bits |= sixteen << (16 * half);
    }
    store_global(bitmap + word, bits);
  }
}

/// Anchor page number `entry` of the sequence: the rows of its 16 kept tokens, exact.
template <class K, class P>
__device__ __forceinline__ void store_anchors(const P& p, int b, int head, int entry, int first_row, int first, int count) {
  if (!p.keep_indices || !p.anchor_table) return;
  const int32_t* list = anchor_pages(p, b);
  if (entry >= count_anchor_pages(list, p.max_anchor_pages)) return;  // what follows the list's -1 is no one's
  const int number = load_global(list + entry);
  unsigned char* page = anchor_block(p, number, head);
  float* row_memory = reinterpret_cast<encode_memory<K>*>(shared_memory())->rows;
  for (int row = warp_index(); row < 16; row += K::kWarps) {
    const int at = entry * 16 + row;
    const int token = at < p.max_anchors ? load_global(p.keep_indices + (int64_t(b) * p.kv_heads + head) * p.max_anchors + at) : -1;
    if (token >= 0 && (token < first || token >= first + count)) continue;  // stored by an earlier chunk of the prompt
    if (lane_index() == 0) store_global(reinterpret_cast<int32_t*>(page + 16 * K::kHeadDim * 2 * 2) + row, token);
    if (token < 0) continue;
    const int64_t from = first_row + token - first;
    const unsigned char* k = byte_pointer(p.k) + from * p.k_row_stride + head * p.k_head_stride;
    const unsigned char* v = byte_pointer(p.v) + from * p.v_row_stride + head * p.v_head_stride;
    float* memory = row_memory + row * encode_memory<K>::kStride;
    for (int channel = lane_index(); channel < K::kHeadDim; channel += 32) {
      store_shared(memory + channel, to_float(load_global(reinterpret_cast<const f16*>(k) + channel)));
      store_global(reinterpret_cast<f16*>(page) + (16 + row) * K::kHeadDim + channel, load_global(reinterpret_cast<const f16*>(v) + channel));
    }
    warp_barrier();
    if (p.keys_unrotated) rotate_row(p, memory, element_or(p.first_pos, b, 0) + token, 1);
    warp_barrier();
    for (int channel = lane_index(); channel < K::kHeadDim; channel += 32)
      store_global(reinterpret_cast<f16*>(page) + row * K::kHeadDim + channel, to_f16(load_shared(memory + channel)));
    warp_barrier();
  }
}

template <class K, class P>
__device__ __forceinline__ void encode(const P& p) {
  static_assert(sizeof(encode_memory<K>) <= K::kSharedBytes && K::kTokens >= 16, "generator/shared.ts is wrong");
  const index3 block = block_index();
  const int head = block.y, b = block.z;
  const int first_row = load_global(p.cu_tokens + b), count = load_global(p.cu_tokens + b + 1) - first_row;
  const int first = element_or(p.first_token, b, 0);
  const int tiles = (p.max_tokens + K::kTokens - 1) / K::kTokens;
  if (block.x >= tiles) {
    if constexpr (K::kCoded) store_anchors<K>(p, b, head, block.x - tiles, first_row, first, count);
    return;
  }

  const int tile = block.x * K::kTokens;  // of this call's rows
  if (tile >= count) return;
  const int mine = count - tile < K::kTokens ? count - tile : K::kTokens;
  auto& mem = *reinterpret_cast<encode_memory<K>*>(shared_memory());
  const unsigned char* k_codebook = byte_pointer(p.k_codebook) + int64_t(head) * K::Key::kCodebookBytes;
  const unsigned char* v_codebook = byte_pointer(p.v_codebook) + int64_t(head) * K::Value::kCodebookBytes;

  load_tile<K>(mem.rows, byte_pointer(p.k) + int64_t(first_row + tile) * p.k_row_stride + head * p.k_head_stride, p.k_row_stride, mine);
  const bool rotated = !p.keys_unrotated;
  if (rotated == K::kPre) {  // given as the codes do not want them
    block_barrier();
    for (int row = warp_index(); row < mine; row += K::kWarps)
      rotate_row(p, mem.rows + row * encode_memory<K>::kStride, element_or(p.first_pos, b, 0) + first + tile + row, rotated ? -1.0f : 1.0f);
  }
  block_barrier();
  store_side<K, typename K::Key>(p, mem, k_codebook, b, head, first + tile, mine, 0);
  if constexpr (K::kKeyGain) {
    for (int token = thread_index(); token < (mine + 15) / 16 * 16; token += K::kWarps * 32) {
      const int logical = first + tile + token;
      unsigned char* unit = page_block(p, b, head, logical) + logical % p.page_size / 16 * K::kUnitBytes;
      store_global(reinterpret_cast<f16*>(unit + K::kKeyGainOffset) + gain_index(logical % 16), to_f16(gain_of<K, K::kHeadDim / K::Key::kChannels>(mem, token, mine)));
    }
  }
  block_barrier();

  load_tile<K>(mem.rows, byte_pointer(p.v) + int64_t(first_row + tile) * p.v_row_stride + head * p.v_head_stride, p.v_row_stride, mine);
  block_barrier();
  store_side<K, typename K::Value>(p, mem, v_codebook, b, head, first + tile, mine, K::kValueOffset);

  if constexpr (K::kCoded) {
    // A page is marked by the tile that holds its first token.
    for (int token = (first + tile + p.page_size - 1) / p.page_size * p.page_size; token < first + tile + mine; token += p.page_size)
      store_bitmap<K>(p, b, head, token, first + count);
  }
}

// At least one CTA per SM is all that is asked for: without the 1, ptxas may spill to fit more.
extern "C" __global__ void __launch_bounds__(128, 1)
antkv_encode_d128_k8c8b_v8c8bq8_f16_gain__sm80_w4_t32(const __grid_constant__ antkv_encode_params p) {
  encode<K>(p);
}

}  // namespace antkv_encode_d128_k8c8b_v8c8bq8_f16_gain__sm80_w4_t32_
