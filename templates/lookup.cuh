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
