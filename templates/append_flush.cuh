// A block that leaves the window: what its tokens score, its anchors, its codes. Rows come from the ring, where they lie after RoPE.

enum append_policy { kPolicyColumn, kPolicySmallestKey, kPolicyLargestKey, kPolicyNone };

/// |k| of the token's key, by one warp; all lanes get it.
template <class K, class P>
__device__ __forceinline__ float key_size(const P& p, const flush_view& f, int token) {
  using T = typename K::Element;
  const unsigned char* row = byte_pointer(p.ring_k) + ring_offset(p, f.slot, f.head, token);
  float sum = 0;
  for (int channel = lane_index() * 2; channel < K::kHeadDim; channel += 64) {
    const uint32_t two = load_global(reinterpret_cast<const uint32_t*>(row + channel * 2));
    const float x = to_float(T{uint16_t(two)}), y = to_float(T{uint16_t(two >> 16)});
    sum += x * x + y * y;
  }
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) sum += shuffle_xor(sum, mask);
  return square_root(sum);
}

/// Turns the block's entries of ring_score into what its tokens score: they leave the ring, so their sums are no longer wanted.
template <class K, class P>
__device__ __forceinline__ void settle_scores(const P& p, const flush_view& f) {
  if (p.policy == kPolicySmallestKey || p.policy == kPolicyLargestKey) {
    for (int token = f.begin + warp_index(); token < f.end; token += K::kWarps) {
      const float size = key_size<K>(p, f, token);
      if (lane_index() == 0) store_global(f.token_score + token % p.ring_rows, p.policy == kPolicyLargestKey ? size : -size);
    }
    return;
  }
  const int32_t* counts = p.ring_count + (f.token_score - p.ring_score);
  for (int token = f.begin + thread_index(); token < f.end; token += K::kWarps * 32) {
    const int row = token % p.ring_rows;
    float score = minus_infinity();  // of a token that no row has seen
    if (p.policy == kPolicyColumn) {
      const int seen = load_global(counts + row);
      if (seen > 0) score = load_global(f.token_score + row) / float(seen);
    }
    store_global(f.token_score + row, score);
  }
}

/// Encodes the block into its pages, a tile of tokens at a time.
template <class K, class P>
__device__ __forceinline__ void encode_block(const P& p, const flush_view& f) {
  auto& mem = *reinterpret_cast<encode_memory<K>*>(shared_memory());
  for (int first = f.begin; first < f.end; first += K::kTokens) {
    block_barrier();  // memory is free: of the choice, of the tile before
    const auto row_of = [&](const void* ring, int i) { return byte_pointer(ring) + ring_offset(p, f.slot, f.head, first + i); };
    encode_tile<K>(p, mem, f.b, f.head, first, smaller(f.end - first, K::kTokens), K::kPre ? -1.0f : 0.0f, [&](int i) { return row_of(p.ring_k, i); },
                   [&](int i) { return row_of(p.ring_v, i); });
  }
}
