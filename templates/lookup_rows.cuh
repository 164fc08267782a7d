// The slow way of keys coded before RoPE, for a RoPE that lookup_turn.cuh is not made for: a unit's codes become rows of f16 in shared memory.

/// Products of the queries and a unit's keys, by way of rows of f16 in the place of the table: any RoPE. The unit's first token stands at `position`.
// No part of the loop that it is called from, whose registers it would cost.
template <class K, class P>
__device__ __noinline__ void multiply_as_rows(const P& p, float* products, const uint32_t* codes, const unsigned char* row, int position) {
  using C = typename K::Key;
  constexpr int kPairs = C::kChunks / 8, kWords = C::kChannels / 2, kEntryBytes = 2 * C::kChannels;
  static_assert(K::kWarps * 16 * K::kHeadDim * 2 <= K::kKeyTableBytes, "no room for the warps' rows");
  const int lane = lane_index(), g = lane / 4, t = lane % 4, turn = int(key_turn<C>(g));
  f16* rows = reinterpret_cast<f16*>(shared_memory() + K::kValueTableBytes) + warp_index() * 16 * K::kHeadDim;
  const unsigned char* codebook = byte_pointer(p.k_codebook) + int64_t(block_index().y % p.kv_heads) * C::kCodebookBytes;
  warp_barrier();  // the unit before has been read
#pragma unroll
  for (int byte = 0; byte < 4 * kPairs; ++byte) {
    const int token = byte / (2 * kPairs) * 8 + g, chunk = 4 * (byte % (2 * kPairs) ^ turn) + t;
    const int code = codes[byte / 4] >> (8 * (byte % 4)) & 0xff;
    const uint32_t* entry = reinterpret_cast<const uint32_t*>(codebook + (chunk * 256 + code) * kEntryBytes);
#pragma unroll
    for (int w = 0; w < kWords; ++w) store_shared(reinterpret_cast<uint32_t*>(rows + token * K::kHeadDim + chunk * C::kChannels) + w, load_global(entry + w));
  }
  warp_barrier();
  rotate_rows<16, K::kHeadDim>(p, rows, K::kHeadDim, position, nullptr);
  warp_barrier();
  uint32_t queries[K::kHeadDim / 16][2];
  load_columns<K::kHeadDim>(queries, row, row != nullptr);
  round_columns<typename K::Element>(queries, queries);
  float d[4] = {};
  multiply_rows<K::kHeadDim>(d, rows, K::kHeadDim, queries);
#pragma unroll
  for (int i = 0; i < 4; ++i) products[i] = d[i];
}
