// A block that leaves the window: what its tokens score, its anchors, its codes. Rows come from the ring, where they lie after RoPE.

enum append_policy { kPolicyColumn, kPolicySmallestKey, kPolicyLargestKey, kPolicyNone };

/// |k| of the token's key, by one warp; all lanes get it.
template <class K, class P>
__device__ __forceinline__ float key_size(const P& p, const flush_view& f, int token) {
  const unsigned char* row = byte_pointer(p.ring_k) + ring_offset(p, f.slot, f.head, token);
  float sum = 0;
  for (int channel = lane_index() * 2; channel < K::kHeadDim; channel += 64) {
    const uint32_t two = load_global(reinterpret_cast<const uint32_t*>(row + channel * 2));
    const float x = to_float(f16{uint16_t(two)}), y = to_float(f16{uint16_t(two >> 16)});
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

/// Loads `count` tokens from `first` on out of ring_k or ring_v as fp32, zeros behind them, one row per warp and turn.
template <class K, class P>
__device__ __forceinline__ void load_ring_tile(const P& p, const flush_view& f, float* rows, const void* ring, int first, int count) {
  for (int row = warp_index(); row < K::kTokens; row += K::kWarps) {
    const unsigned char* from = byte_pointer(ring) + ring_offset(p, f.slot, f.head, first + row);
    for (int channel = lane_index() * 2; channel < K::kHeadDim; channel += 64) {
      uint32_t two = 0;
      if (row < count) two = load_global(reinterpret_cast<const uint32_t*>(from + channel * 2));
      store_shared(rows + row * encode_memory<K>::kStride + channel, to_float(f16{uint16_t(two)}));
      store_shared(rows + row * encode_memory<K>::kStride + channel + 1, to_float(f16{uint16_t(two >> 16)}));
    }
  }
}

/// Encodes the block into its pages, a tile of tokens at a time.
template <class K, class P>
__device__ __forceinline__ void encode_block(const P& p, const flush_view& f) {
  auto& mem = *reinterpret_cast<encode_memory<K>*>(shared_memory());
  const unsigned char* k_codebook = byte_pointer(p.k_codebook) + int64_t(f.head) * K::Key::kCodebookBytes;
  const unsigned char* v_codebook = byte_pointer(p.v_codebook) + int64_t(f.head) * K::Value::kCodebookBytes;
  for (int first = f.begin; first < f.end; first += K::kTokens) {
    const int count = smaller(f.end - first, K::kTokens);
    block_barrier();  // memory is free: of the choice, of the tile before
    load_ring_tile<K>(p, f, mem.rows, p.ring_k, first, count);
    block_barrier();
    if constexpr (K::kPre) {
      for (int row = warp_index(); row < count; row += K::kWarps)
        rotate_row(p, mem.rows + row * encode_memory<K>::kStride, element_or(p.first_pos, f.b, 0) + first + row, -1.0f);
      block_barrier();
    }
    store_side<K, typename K::Key>(p, mem, k_codebook, f.b, f.head, first, count, 0);
    if constexpr (K::kKeyGain) {
      for (int token = thread_index(); token < count; token += K::kWarps * 32) {
        unsigned char* unit = page_block(p, f.b, f.head, first + token) + (first + token) % p.page_size / 16 * K::kUnitBytes;
        store_global(reinterpret_cast<f16*>(unit + K::kKeyGainOffset) + gain_index((first + token) % 16), to_f16(gain_of<K, K::kHeadDim / K::Key::kChannels>(mem, token, count)));
      }
    }
    block_barrier();
    load_ring_tile<K>(p, f, mem.rows, p.ring_v, first, count);
    block_barrier();
    store_side<K, typename K::Value>(p, mem, v_codebook, f.b, f.head, first, count, K::kValueOffset);
  }
}
