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

  static constexpr int kEntries = 32 / kEntryBytes;  // of a task: 32 bytes, one sector, of the codebook
  static constexpr int kTasks = K::kHeadDim * 256 * 2 / 32, kThreads = K::kWarps * 32, kTurns = (kTasks + kThreads - 1) / kThreads;
  struct raw_table {
    bytes16 piece[kTurns][2];
  };
  /// Starts loading the codebook of one KV head, all threads.
  template <class F>
  static __device__ __forceinline__ void load(raw_table& raw, const unsigned char* codebook, const F&) {
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const int task = min_int(thread_index() + turn * kThreads, kTasks - 1), slot = task % kSlots, line = task / kSlots % (256 / kEntries), slice = task / (kSlots * 256 / kEntries);
      const bytes16* from = reinterpret_cast<const bytes16*>(codebook + (chunk_of(slot, slice) * 256 + line * kEntries) * kEntryBytes);
      raw.piece[turn][0] = load_global(from), raw.piece[turn][1] = load_global(from + 1);
    }
  }
  /// Lays the table out, all threads. Of a general RoPE no one reads it: its place is the warps' rows, after a barrier.
  static __device__ __forceinline__ void fill(unsigned char* table, const raw_table& raw, float*) {
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
  __device__ __forceinline__ void multiply(const row_places<K>& rows, float (&s)[kScores], const uint32_t (&codes)[2][kCodeWords]) const {
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
              look_up(found[v][n][partner], rows.at(codes[unit][byte / 4], byte % 4, address[2 * n + partner]) + pair / kNeighbours * kSlice);
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
  __device__ __forceinline__ void scores(const P& p, const row_places<K>& rows, float (&s)[kScores], const uint32_t (&codes)[2][kCodeWords], const uint32_t (&gains)[2][kGainWords],
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
      multiply(rows, s, codes);
    }
#pragma unroll
    for (int i = 0; i < kScores; ++i) s[i] = fused_multiply_add(s[i], Rows::factor(scale, gains, i), bias[i % kLaneColumns]);
  }
};

/// How this kernel scores coded keys.
template <class K>
using key_method = turn_keys<K>;
