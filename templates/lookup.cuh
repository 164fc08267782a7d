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

/// A tile on its way: 32 tokens, two units. `hidden`: bit i, nobody sees token i's code.
template <class K>
struct tile_codes {
  using Keys = typename keys_of<K>::type;
  uint32_t k[2][Keys::kCodeWords], v[2][value_table<K>::kCodeWords], gains[2][Keys::kGainWords];
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

/// Where the tiles of a warp lie: lane i knows tile i of the next 32.
struct tile_places {
  const unsigned char* unit[2];
  uint32_t hidden;
};

/// Finds the places of up to 32 tiles; this lane's begins at `token`, which exists.
template <class K, class P>
__device__ __forceinline__ tile_places find_tiles(const P& p, const decode_view& s, const int32_t* pages, int kv_head, int token) {
  tile_places places;
  const int shift = count_bits(uint32_t(p.page_size - 1)), in_page = token & (p.page_size - 1);
  const auto block_of = [&](int run) { return byte_pointer(p.pages) + int64_t(load_global(pages + run)) * p.page_stride + kv_head * p.page_head_stride; };
  const auto bitmap_of = [&](const unsigned char* block) { return reinterpret_cast<const uint32_t*>(block + (p.page_size / 16) * K::kUnitBytes); };
  const unsigned char* block = block_of(token >> shift);
  places.unit[0] = block + in_page / 16 * K::kUnitBytes;
  if (p.page_size > 16) {
    places.unit[1] = places.unit[0] + K::kUnitBytes;
    places.hidden = load_global(bitmap_of(block) + in_page / 32);
  } else {
    const unsigned char* next = token + 16 < s.coded_len ? block_of((token >> shift) + 1) : block;
    places.unit[1] = next;
    places.hidden = (load_global(bitmap_of(block)) & 0xffff) | load_global(bitmap_of(next)) << 16;
  }
  if (s.coded_len - token < 32) places.hidden |= ~0u << (s.coded_len - token);
  return places;
}

/// One warp's attention to its share of the piece's coded tokens, merged into `result`.
template <class K>
struct coded_state {
  using Keys = typename keys_of<K>::type;
  using Values = value_table<K>;
  static constexpr int kSets = K::kColumns / 4;
  static constexpr uint32_t kOne = 0x4b000000u, kMost = 0x4b00ffffu;  // 2^23 and 2^23 + 65535 as floats: the low 16 bits are the weight
  static constexpr float kTop = 15.5f;                                // log2 of where a new maximum is put

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
    if (vote_ballot(all > limit)) raise(x, s);
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
      for (int mask = Keys::kReduceFrom; mask < Keys::kReduceTo; mask *= 2) top = fmaxf(top, shuffle_xor(top, mask));
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

  /// Merges the state into the warp's result and empties it. `scales`: what one int8 step of each channel is worth.
  __device__ __forceinline__ void fold(warp_result<K>& result, const float* scales) {
    float one[Keys::kLaneColumns], top[Keys::kLaneColumns], theirs[kSets];
#pragma unroll
    for (int c = 0; c < Keys::kLaneColumns; ++c) one[c] = 1;
    settle(one);
#pragma unroll
    for (int c = 0; c < Keys::kLaneColumns; ++c) {
      top[c] = started[c] ? -bias[c] : minus_infinity();
#pragma unroll
      for (int mask = Keys::kReduceFrom; mask < Keys::kReduceTo; mask *= 2) weight[c] += shuffle_xor(weight[c], mask);
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
          store_shared(at, load_shared(at) * keep + (float(high) * 256.0f + float(low)) * (load_global(scales + channel) * add));
        }
    }
    warp_barrier();
    if ((lane_index() & Keys::kReduceTo - 1 & -Keys::kReduceFrom) == 0 && Keys::is_writer()) {
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

template <class K, class P, class ColumnAt>
__device__ __forceinline__ void attend_coded(const P& p, const piece& w, const decode_view& s, int kv_head, typename keys_of<K>::type& keys, const unsigned char* key_table,
                                             const unsigned char* values, warp_result<K>& result, unsigned char* turns, const float* scales, const ColumnAt& column_at) {
  using Keys = typename keys_of<K>::type;
  using Values = value_table<K>;
  int begin, end;
  cut(w, (s.coded_units + 1) / 2, begin, end);
  const int first = begin + warp_index(), tiles = end > first ? (end - first + K::kWarps - 1) / K::kWarps : 0;
  if (tiles == 0) return;
  const int32_t* pages = p.block_table ? p.block_table + int64_t(w.b) * p.max_pages : p.page_indices + load_global(p.page_indptr + w.b);

  // Tokens below `open` are seen by every column.
  int open = s.coded_len;
#pragma unroll 1
  for (int c = 0; c < K::kColumns; ++c) {
    const column mine = column_at(c);
    if (mine.valid) open = min_int(open, p.tree_mask ? min_int(mine.position - s.first_pos + 1, s.first_new) : mine.position - s.first_pos + 1);
  }

  // Constants that the compiler would otherwise make again before each use.
  const uint32_t shift[4] = {opaque(0x80u), opaque(0x8000u), opaque(0x800000u), opaque(0x80000000u)};
  const int parity = lane_index() / 4 % 2;
  const uint32_t select[2] = {opaque(K::kColumns == 4 && parity ? 0x6420u : 0x7531u), opaque(0x6420u)};
  const uint32_t value_offset = opaque(Values::lane_offset(lane_index() / 4, lane_index() % 4));

  tile_places places;
  const auto find = [&](int i) { places = find_tiles<K>(p, s, pages, kv_head, min_int(first + (i + lane_index()) * K::kWarps, first + (tiles - 1) * K::kWarps) * 32); };
  const auto load = [&](tile_codes<K>& codes, int i) {
    const unsigned char* unit[2];
#pragma unroll
    for (int u = 0; u < 2; ++u) {
      if (u == 1 && p.page_size > 16) {
        unit[1] = unit[0] + K::kUnitBytes;
        break;
      }
      const uint64_t at = reinterpret_cast<uint64_t>(places.unit[u]);
      unit[u] = reinterpret_cast<const unsigned char*>(uint64_t(shuffle(uint32_t(at >> 32), i % 32)) << 32 | shuffle(uint32_t(at), i % 32));
    }
#pragma unroll
    for (int u = 0; u < 2; ++u) {
      load_codes(codes.k[u], unit[u]);
      load_codes(codes.v[u], unit[u] + K::kValueOffset);
      if constexpr (K::kKeyGain) Keys::load_gains(codes.gains[u], unit[u] + K::kKeyGainOffset);
    }
    codes.hidden = shuffle(places.hidden, i % 32);
  };

  coded_state<K> state;
  const auto attend = [&](const tile_codes<K>& codes, int i) {
    const int token = (first + i * K::kWarps) * 32;
    float score[Keys::kScores];
    if constexpr (K::kKeyTurn) {
      if (i % 32 == 0) keys.place(p, s.first_pos + token);
      else keys.advance();
      warp_barrier();  // the tile before has been read
      keys.publish(turns);
      warp_barrier();
      keys.scores(score, key_table, shift, codes.k, codes.gains, state.bias, turns);
    } else {
      keys.scores(score, key_table, shift, codes.k, codes.gains, state.bias);
    }
    if (codes.hidden) {
#pragma unroll
      for (int j = 0; j < Keys::kScores; ++j)
        if (codes.hidden >> Keys::token(j) & 1) score[j] = minus_infinity();
    }
    if (token + 32 > open) {  // rare: the queries stand before the end of the coded tokens
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
    accumulate_values<K>(state.sums, values, value_offset, shift, codes.v, b);
  };

  tile_codes<K> codes[K::kStages];
  find(0);
#pragma unroll
  for (int stage = 0; stage < K::kStages; ++stage) load(codes[stage], min_int(stage, tiles - 1));
#pragma unroll 1
  for (int i = 0; i < tiles; i += K::kStages) {
#pragma unroll
    for (int stage = 0; stage < K::kStages; ++stage) {
      if (i + stage >= tiles) break;
      attend(codes[stage], i + stage);
      const int next = i + stage + K::kStages;
      if (next % 32 == 0) {
        find(next);
        // 1024 tiles of 32 weights of 65535 times 127 still fit the sums' high bytes.
        if (next % 1024 == 0) state.fold(result, scales);
      }
      load(codes[stage], next);
    }
  }
  state.fold(result, scales);
}

template <class K, class P>
__device__ __forceinline__ void decode_lookup(const P& p) {
  using Keys = typename keys_of<K>::type;
  using Values = value_table<K>;
  static_assert(Keys::kTableBytes == K::kKeyTableBytes && Values::group_offset(K::kHeadDim / 32 - 1) < K::kValueTableBytes, "generator/shared.ts is wrong");
  unsigned char* const values = shared_memory();
  unsigned char* const key_table = values + K::kValueTableBytes;
  warp_result<K>* const results = reinterpret_cast<warp_result<K>*>(key_table + K::kKeyTableBytes);
  unsigned char* const after = reinterpret_cast<unsigned char*>(results + K::kWarps);
  uint32_t* const flag = reinterpret_cast<uint32_t*>(after);
  float* const maxima = reinterpret_cast<float*>(after + 128);
  unsigned char* const turns = after + 128 + (Keys::kWarpBytes > 0 ? warp_index() * Keys::kWarpBytes : 0);
  static_assert(K::kValueTableBytes + K::kKeyTableBytes + K::kWarps * (sizeof(warp_result<K>) + Keys::kWarpBytes) + Keys::kMaximaBytes + 128 <= K::kSharedBytes, "generator/shared.ts is wrong");

  const index3 block = block_index();
  const int kv_head = block.y % p.kv_heads, group = block.y / p.kv_heads;
  const unsigned char* k_codebook = byte_pointer(p.k_codebook) + int64_t(kv_head) * K::Key::kCodebookBytes;
  const unsigned char* v_codebook = byte_pointer(p.v_codebook) + int64_t(kv_head) * K::Value::kCodebookBytes;
  const float* k_scales = reinterpret_cast<const float*>(k_codebook + K::Key::kScaleOffset);
  const float* v_scales = reinterpret_cast<const float*>(v_codebook + K::Value::kScaleOffset);
  bool filled = false;
  for_each_piece<K>(p, reinterpret_cast<work_memory*>(after + 16), [&](const piece& w) {
    const auto columns = [&](int c) -> const unsigned char* {
      const query_rows rows = query_rows_of(p, w.b);
      const int flat = group * K::kColumns + c, ratio = p.q_heads / p.kv_heads;
      if (c >= K::kColumns || flat >= rows.count * ratio) return nullptr;
      return byte_pointer(p.q) + (rows.first + flat / ratio) * p.q_row_stride + (kv_head * ratio + flat % ratio) * p.q_head_stride;
    };
    // The view of the sequence is made anew for each phase: it would cost the loop of the coded phase registers.
    const auto columns_of = [&](const decode_view& s) {
      return [&](int c) {
        const query_rows rows = query_rows_of(p, w.b);
        return column_of(p, s, w.b, rows.first, rows.count, kv_head, group * K::kColumns + c);
      };
    };
    if (!filled) Values::fill(values, v_codebook);
    if (!filled || Keys::kTablePerPiece) Keys::fill(p, key_table, k_codebook, columns, maxima);
    filled = true;
    {
      const decode_view s = view_of(p, w.b, query_rows_of(p, w.b).count);
      attend_exact<K>(p, w, s, kv_head, results[warp_index()], columns, columns_of(s));
    }
    block_barrier();
    {
      Keys keys;
      keys.begin(p, columns, k_scales, maxima);
      const decode_view s = lengths_of(p, w.b, query_rows_of(p, w.b).count);
      attend_coded<K>(p, w, s, kv_head, keys, key_table, values, results[warp_index()], turns, v_scales, columns_of(s));
    }
    block_barrier();
    const decode_view s = lengths_of(p, w.b, query_rows_of(p, w.b).count);
    finish_piece<K>(p, w, s, columns_of(s), results, K::kWarps, flag);
  });
}
