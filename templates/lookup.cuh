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
