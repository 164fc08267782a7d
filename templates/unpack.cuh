// A range of coded tokens as exact rows: codes expanded, keys rotated and scaled by their gain, anchors put in their places.
// grid (token tiles, then anchor pages; kv_heads; batch). Coded rows skip the anchors and anchor rows fill the gaps, so the two never meet.

template <class K>
struct unpack_memory {
  alignas(16) unsigned char stage[K::kUnitBytes];
  unit_rows<typename K::Element, K::kHeadDim> rows;
};

/// Copies 8 channels of one row to the output; what codes became is rounded to the dtype.
template <class K, class C, class T>
__device__ __forceinline__ void store_row(unsigned char* to, const T* from_shared, int piece) {
  bytes16 channels = load_shared(reinterpret_cast<const bytes16*>(from_shared) + piece);
  if constexpr (!unit_row<K, C>::kElements) {
#pragma unroll
    for (int i = 0; i < 4; ++i) channels.w[i] = round_pair<T>(to_float(f16{uint16_t(channels.w[i])}), to_float(f16{uint16_t(channels.w[i] >> 16)}));
  }
  store_global(reinterpret_cast<bytes16*>(to) + piece, channels);
}

template <class K, class P>
__device__ __forceinline__ void unpack(const P& p) {
  static_assert(K::kWarps * sizeof(unpack_memory<K>) <= K::kSharedBytes, "generator/shared.ts is wrong");
  constexpr int kStride = unit_rows<typename K::Element, K::kHeadDim>::kStride;
  constexpr int kPieces = K::kHeadDim / 8;
  const index3 block = block_index();
  const int head = block.y, b = block.z, lane = lane_index();
  const int first_row = load_global(p.cu_tokens + b), count = load_global(p.cu_tokens + b + 1) - first_row;
  const int first = element_or(p.first_token, b, 0), first_pos = element_or(p.first_pos, b, 0);
  unsigned char* k = byte_pointer(p.k) + first_row * p.k_row_stride + head * p.k_head_stride;
  unsigned char* v = byte_pointer(p.v) + first_row * p.v_row_stride + head * p.v_head_stride;
  const int tiles = (p.max_tokens + K::kTokens - 1) / K::kTokens;

  if (block.x >= tiles) {
    if constexpr (K::kCoded) {
      if (!p.anchor_table) return;
      const int entry = block.x - tiles;
      const int32_t* list = anchor_pages(p, b);
      if (entry >= count_anchor_pages(list, p.max_anchor_pages)) return;
      const unsigned char* page = anchor_block(p, load_global(list + entry), head);
      for (int row = warp_index(); row < 16; row += K::kWarps) {
        const int token = load_global(reinterpret_cast<const int32_t*>(page + 16 * K::kHeadDim * 2 * 2) + row);
        if (!is_anchor(token, entry, first + count, element_or(p.frozen_anchor_pages, b, 0), element_or(p.frozen_len, b, 0)) || token < first) continue;
        const bytes16* from = reinterpret_cast<const bytes16*>(page) + row * kPieces;
        for (int piece = lane; piece < kPieces; piece += 32) {
          store_global(reinterpret_cast<bytes16*>(k + (token - first) * p.k_row_stride) + piece, load_global(from + piece));
          store_global(reinterpret_cast<bytes16*>(v + (token - first) * p.v_row_stride) + piece, load_global(from + 16 * kPieces + piece));
        }
      }
    }
    return;
  }

  auto& mem = reinterpret_cast<unpack_memory<K>*>(shared_memory())[warp_index()];
  const unsigned char* k_codebook = byte_pointer(p.k_codebook) + int64_t(head) * K::Key::kCodebookBytes;
  const unsigned char* v_codebook = byte_pointer(p.v_codebook) + int64_t(head) * K::Value::kCodebookBytes;
  for (int unit = warp_index(); unit < K::kTokens / 16; unit += K::kWarps) {
    const int offset = block.x * K::kTokens + unit * 16;  // from the first token of the range
    if (offset >= count) break;
    const int token = first + offset, in_page = token % p.page_size;
    const unsigned char* page = page_block(p, b, head, token);
    stage_unit<K::kUnitBytes>(mem.stage, page + in_page / 16 * K::kUnitBytes);
    copy_async_commit();
    copy_async_wait<0>();
    warp_barrier();
    expand_unit<K>(mem.rows, mem.stage, k_codebook, v_codebook, count - offset);
    warp_barrier();
    if constexpr (K::kPre) rotate_rows<16, K::kHeadDim>(p, decoded_rows(mem.rows.k), kStride, first_pos + token, channel_scales<typename K::Key>(k_codebook));
    if constexpr (K::kPre) warp_barrier();
    if constexpr (K::kKeyGain) {
      for (int i = lane; i < 16 * K::kHeadDim; i += 32) {
        const float gain = to_float(load_shared(reinterpret_cast<const f16*>(mem.stage + K::kKeyGainOffset) + gain_index(i / K::kHeadDim)));
        f16* at = decoded_rows(mem.rows.k) + i / K::kHeadDim * kStride + i % K::kHeadDim;
        store_shared(at, to_f16(gain * to_float(load_shared(at))));
      }
      warp_barrier();
    }
    uint32_t anchored = 0;
    if constexpr (K::kCoded) anchored = load_global(reinterpret_cast<const uint32_t*>(page + p.page_size / 16 * K::kUnitBytes) + in_page / 32) >> in_page % 32;
    for (int task = lane; task < 16 * kPieces; task += 32) {
      const int row = task / kPieces, piece = task % kPieces;
      if (offset + row >= count || anchored >> row & 1) continue;
      store_row<K, typename K::Key>(k + (offset + row) * p.k_row_stride, mem.rows.k + row * kStride, piece);
      store_row<K, typename K::Value>(v + (offset + row) * p.v_row_stride, mem.rows.v + row * kStride, piece);
    }
    warp_barrier();  // the stage is written again
  }
}
