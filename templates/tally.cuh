// Algorithm "tally": keys and values of large codebooks, which no table in shared memory holds centroid by centroid.
// A CTA attends to kPass query columns at a time. Scores come from a table of q . centroid; weights are added to the tallies of the values' centroids,
// and the codebook of values is multiplied by them once, when all tokens are through. So a token costs a look-up per key code and column pair, and an
// addition in shared memory per value code and column; tables and the last product cost as much as some ten thousand tokens.
// All warps share the tallies, and so the reference that weights are formed against. They go in rounds of kTokens tokens: scores of all, then, behind a
// barrier, the reference, which is raised only when it must, by a whole number, so that tallies are shifted; then weights. Sums of integers do not depend on
// who comes first: equal calls give equal bits.

/// What a pass is about: columns `first` ... `first` + kPass - 1 and tiles begin ... end - 1, of 32 tokens; `token`: the lane's of its warp's first.
struct tally_pass {
  int first, begin, end, token;
};

/// Makes the table of a pass and clears the tallies, all threads. step[]: what a step of the table is worth, in log2 units. Returns the columns, as bits, whose query is
/// no number somewhere.
template <class K, class P>
__device__ __forceinline__ uint32_t make_table(const P& p, tally_memory<K>& cta, unsigned char* table, uint32_t* tally, const unsigned char* codebook, int first, float (&step)[K::kPass]) {
  using Keys = score_table<K>;
  float* products = reinterpret_cast<float*>(tally);
  const int g = lane_index() / 4;
  const unsigned char* row = nullptr;
  if (g < K::kPass && first + g < K::kColumns) {
    const column c = load_words(cta.context.columns + first + g);
    if (c.valid) row = byte_pointer(p.q) + c.row * p.q_row_stride + c.head * p.q_head_stride;
  }
  Keys::multiply(products, codebook, row);
  block_barrier();
  float most[K::kPass];
  Keys::find_largest(most, products);
  leave_largest<K>(cta.largest[0], most, warp_index());
  leave_sum<K>(cta.added[1], {}, warp_index());  // nothing before round 0
  block_barrier();
  uint32_t broken = 0;
#pragma unroll
  for (int c = 0; c < K::kPass; ++c) {
    most[c] = largest_of<K>(cta.largest[0], c);
    step[c] = most[c] / Keys::kMiddle * p.scale * kLog2e;
    broken |= uint32_t(most[c] >= kNoNumber) << c;
  }
  Keys::round(table, products, most);
  block_barrier();
  value_tally<K>::clear(tally);
  block_barrier();
  return broken;
}

/// Scores of a token, in log2 units; -inf if no column may see it.
template <class K>
__device__ __forceinline__ void score_token(float (&score)[K::kPass], const token_codes<K>& codes, uint32_t table, const float (&step)[K::kPass], bool none) {
  score_table<K>::add_up(score, table, codes.key);
#pragma unroll
  for (int c = 0; c < K::kPass; ++c) {
    float factor = step[c];
    if constexpr (K::kKeyGain) factor *= to_float(f16{uint16_t(codes.gain)});
    score[c] = none ? minus_infinity() : score[c] * factor;
  }
}

/// -inf where a column of the pass does not see `token`, one of the last.
template <class K, class P>
__device__ __forceinline__ void hide_unseen(const P& p, const tally_memory<K>& cta, float (&score)[K::kPass], int first, int token) {
  const decode_view s = load_words(&cta.context.s);
#pragma unroll
  for (int c = 0; c < K::kPass; ++c)
    if (!sees(load_words(cta.context.columns + min_int(first + c, K::kColumns - 1)), s, token, p.tree_mask != nullptr)) score[c] = minus_infinity();
}

/// Goes through the tokens of a pass in rounds, and adds up their weights. `coming`: codes of the first round, `pages`: of the second. All threads.
template <class K, class P, int kTiles>
__device__ __forceinline__ tally_reference<K> count_tokens(const P& p, tally_memory<K>& cta, uint32_t table, uint32_t* tally, const token_source& source, const tally_pass& pass,
                                                          token_codes<K> (&coming)[kTiles], int (&pages)[kTiles], const float (&step)[K::kPass], uint32_t broken) {
  const int warp = warp_index(), open = load_shared(&cta.context.open), rounds = (pass.end - pass.begin + kTiles * K::kWarps - 1) / (kTiles * K::kWarps);
  tally_reference<K> reference;
#pragma unroll 1
  for (int round = 0; round < rounds; ++round) {
    token_row<typename K::Value> values[kTiles];
    float score[kTiles][K::kPass], top[K::kPass];
#pragma unroll
    for (int j = 0; j < kTiles; ++j) {
      token_codes<K> codes = coming[j];
      const int token = token_of<K, kTiles>(pass.token, round, j);
      source.load(coming[j], p, token_of<K, kTiles>(pass.token, round + 1, j), pages[j]);
      pages[j] = source.page_of(p, token_of<K, kTiles>(pass.token, round + 2, j));
      const bool hidden = source.settle<K>(codes, token);
      values[j] = codes.value;
      // What lies beyond the last tile belongs to another CTA, or to no one.
      score_token<K>(score[j], codes, table, step, hidden || token >= pass.end * 32);
    }
    // Once a round, for all tiles: branches between them would part their look-ups.
    if (__builtin_expect(token_of<K, kTiles>(pass.token, round, kTiles - 1) >= open, 0)) {
#pragma unroll
      for (int j = 0; j < kTiles; ++j) {
        const int token = token_of<K, kTiles>(pass.token, round, j);
        if (token >= open) hide_unseen<K>(p, cta, score[j], pass.first, token);
      }
    }
#pragma unroll
    for (int c = 0; c < K::kPass; ++c) top[c] = minus_infinity();
#pragma unroll
    for (int j = 0; j < kTiles; ++j) {
#pragma unroll
      for (int c = 0; c < K::kPass; ++c) {
        if (!(score[j][c] < kNoNumber)) broken |= 1u << c, score[j][c] = minus_infinity();
        top[c] = fmaxf(top[c], score[j][c]);
      }
    }
    leave_largest<K>(cta.largest[round % 2], top, warp);
    block_barrier();
    reference.raise(cta, tally, round);

    uint32_t added[K::kPass] = {};
#pragma unroll
    for (int j = 0; j < kTiles; ++j) {
      uint32_t weights[K::kPass];
#pragma unroll
      for (int c = 0; c < K::kPass; ++c) {
        weights[c] = reference.weight(c, score[j][c]);
        added[c] += weights[c];
      }
      value_tally<K>::add(tally, values[j], weights);
    }
    leave_sum<K>(cta.added[round % 2], added, warp);
  }
#pragma unroll
  for (int c = 0; c < K::kPass; ++c) broken = vote_any(broken >> c & 1) ? broken | 1u << c : broken;
  if (lane_index() == 0) store_shared(cta.broken + warp, broken);
  return reference;
}

/// Puts what a pass came to, of which `partial` holds the slices, into the piece's result; all threads.
template <class K>
__device__ __forceinline__ void store_pass(tally_memory<K>& cta, const float* partial, const float* scales, const tally_reference<K>& reference, int first) {
  uint32_t broken = lane_index() < K::kWarps ? load_shared(cta.broken + lane_index()) : 0;
#pragma unroll
  for (int mask = 1; mask < 32; mask *= 2) broken |= shuffle_xor(broken, mask);
#pragma unroll
  for (int c = 0; c < K::kPass; ++c) {
    if (first + c >= K::kColumns) break;
    for (int i = thread_index(); i <= K::kHeadDim; i += K::kWarps * 32) {
      float sum = 0;
#pragma unroll
      for (int slice = 0; slice < value_tally<K>::kSlices; ++slice) sum += load_shared(partial + (slice * K::kPass + c) * value_tally<K>::kStride + i);
      sum *= exp2_fast(float(-tally_reference<K>::kPlaces));
      if (i < K::kHeadDim) {
        if constexpr (K::Value::kQ8) sum *= load_global(scales + i);
        store_shared(cta.coded.o + (first + c) * warp_result<K>::kStride + i, sum);
      } else {
        store_shared(cta.coded.weight + first + c, broken >> c & 1 ? float_of_bits(0x7fffffff) : sum);
        store_shared(cta.coded.maximum + first + c, reference.at[c]);
      }
    }
  }
}

/// Attends to the tiles of a pass and leaves what they come to in cta.coded. All threads.
template <class K, class P>
__device__ __forceinline__ void attend_pass(const P& p, tally_memory<K>& cta, unsigned char* table, uint32_t* tally, const token_source& source, const tally_pass& pass) {
  constexpr int kTiles = K::kTokens / (K::kWarps * 32);
  const int kv_head = load_shared(&cta.context.kv_head);
  const unsigned char* k_codebook = byte_pointer(p.k_codebook) + int64_t(kv_head) * K::Key::kCodebookBytes;
  const unsigned char* v_codebook = byte_pointer(p.v_codebook) + int64_t(kv_head) * K::Value::kCodebookBytes;
  // Codes of the first round and pages of the second are on their way while the table is made.
  int pages[kTiles];
  token_codes<K> coming[kTiles];
#pragma unroll
  for (int j = 0; j < kTiles; ++j) pages[j] = source.page_of(p, token_of<K, kTiles>(pass.token, 0, j));
#pragma unroll
  for (int j = 0; j < kTiles; ++j) {
    source.load(coming[j], p, token_of<K, kTiles>(pass.token, 0, j), pages[j]);
    pages[j] = source.page_of(p, token_of<K, kTiles>(pass.token, 1, j));
  }
  float step[K::kPass];
  const uint32_t broken = make_table(p, cta, table, tally, k_codebook, pass.first, step);
  const uint32_t address = opaque(shared_address(table), uint32_t(p.batch) >> 31);  // not the table of the pass before
  const tally_reference<K> reference = count_tokens<K>(p, cta, address, tally, source, pass, coming, pages, step, broken);
  block_barrier();
  float* partial = reinterpret_cast<float*>(table);
  value_tally<K>::multiply(partial, tally, v_codebook);
  block_barrier();
  store_pass<K>(cta, partial, reinterpret_cast<const float*>(v_codebook + K::Value::kScaleOffset), reference, pass.first);
  block_barrier();
}

template <class K>
__device__ __forceinline__ void clear_result(warp_result<K>& result, int index, int threads) {
  for (int i = index; i < K::kColumns * warp_result<K>::kStride; i += threads) store_shared(result.o + i, 0.0f);
  for (int c = index; c < K::kColumns; c += threads) store_shared(result.maximum + c, minus_infinity()), store_shared(result.weight + c, 0.0f);
}

template <class K, class P>
__device__ __forceinline__ void decode_tally(const P& p) {
  using Places = tally_places<K>;
  unsigned char* const table = shared_memory();
  uint32_t* const tally = reinterpret_cast<uint32_t*>(table + Places::kTable);
  warp_result<K>* const results = reinterpret_cast<warp_result<K>*>(table);
  tally_memory<K>& cta = *reinterpret_cast<tally_memory<K>*>(table + Places::kFirst);
  const index3 block = block_index();
  const int group = int(uint32_t(block.y) / uint32_t(p.kv_heads)), kv_head = block.y - group * p.kv_heads;
  for_each_piece<K, tally_cost<K>>(p, &cta.work, [&](const piece& w) {
    if (warp_index() == 0) store_context(p, w, group, kv_head, &cta.context);
    clear_result<K>(cta.coded, thread_index(), K::kWarps * 32);
    block_barrier();
    const decode_view s = load_words(&cta.context.s);
    int begin, end;
    cut(w, (s.coded_units + 1) / 2, begin, end);
    if (end > begin) {
      const token_source source = token_source::of(p, w.b, kv_head, s.coded_len);
      const int token = (begin + warp_index()) * 32 + lane_index();
#pragma unroll 1
      for (int first = 0; first < K::kColumns && load_words(cta.context.columns + first).valid; first += K::kPass) attend_pass<K>(p, cta, table, tally, source, {first, begin, end, token});
    }
    // A warp's exact rows; warp 0's are added to what the coded tokens came to.
    warp_result<K>& mine = results[warp_index()];
    if (warp_index() > 0) {
      clear_result<K>(mine, lane_index(), 32);
    } else {
      for (int i = lane_index(); i < int(sizeof(mine) / 4); i += 32) store_shared(reinterpret_cast<uint32_t*>(&mine) + i, load_shared(reinterpret_cast<const uint32_t*>(&cta.coded) + i));
    }
    warp_barrier();
    exact_units units = exact_units_of<K>(&cta.context);
    prefetch_exact<K>(p, s, kv_head, units, 0);
    attend_exact<K>(p, &cta.context, units, mine);
    block_barrier();
    finish_piece<K>(p, load_words(&cta.context.w), s, [&](int c) { return load_words(cta.context.columns + c); },
                    {reinterpret_cast<unsigned char*>(results), sizeof(warp_result<K>)}, K::kWarps, &cta.flag);
  });
}
