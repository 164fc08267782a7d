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
