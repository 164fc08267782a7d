// Units of 16 tokens from the three segments to rows in one warp's shared memory.

/// One warp's part of shared memory: staged units, and the rows they become.
template <class K, bool kInPlace = K::Key::kExact && K::Value::kExact>
struct warp_memory {
  struct alignas(16) staged {
    unsigned char bytes[K::kUnitBytes];
  };
  staged stage[K::kStages][K::kWarpUnits];
  unit_rows<typename K::Element, K::kHeadDim> rows[K::kWarpUnits];

  __device__ __forceinline__ const unsigned char* stage_of(int slot, int u) { return stage[slot][u].bytes; }
  __device__ __forceinline__ unit_rows<typename K::Element, K::kHeadDim>& rows_of(int, int u) { return rows[u]; }
  __device__ __forceinline__ void prefetch(int slot, int u, const unsigned char* unit, int) {
    stage_unit<K::kUnitBytes>(stage[slot][u].bytes, unit);
  }
  /// `valid` tokens of the unit were ever written; the first stands at `position`.
  template <class P>
  __device__ __forceinline__ void expand(const P& p, int slot, int u, const unsigned char* k_codebook, const unsigned char* v_codebook, int valid, int position) {
    expand_unit<K>(rows[u], stage[slot][u].bytes, k_codebook, v_codebook, valid);
    if constexpr (K::kPre) {
      warp_barrier();
      rotate_rows<16, K::kHeadDim>(p, decoded_rows(rows[u].k), unit_rows<typename K::Element, K::kHeadDim>::kStride, position, channel_scales<typename K::Key>(k_codebook));
    }
  }
};

/// With exact rows on both sides, what is staged already is what the matrix unit reads.
template <class K>
struct warp_memory<K, true> {
  unit_rows<typename K::Element, K::kHeadDim> rows[K::kStages][K::kWarpUnits];

  __device__ __forceinline__ const unsigned char* stage_of(int, int) { return nullptr; }
  __device__ __forceinline__ unit_rows<typename K::Element, K::kHeadDim>& rows_of(int slot, int u) { return rows[slot][u]; }
  __device__ __forceinline__ void prefetch(int slot, int u, const unsigned char* unit, int valid) {
    stage_rows<K::kHeadDim>(rows[slot][u].k, unit, K::kHeadDim * 2, valid);
    stage_rows<K::kHeadDim>(rows[slot][u].v, unit + K::kValueOffset, K::kHeadDim * 2, valid);
  }
  template <class P>
  __device__ __forceinline__ void expand(const P&, int, int, const unsigned char*, const unsigned char*, int, int) {}
};

/// The pages' unit number `unit` of the sequence.
template <class K, class P>
__device__ __forceinline__ const unsigned char* coded_unit(const P& p, int b, int head, int unit) {
  return page_block(p, b, head, unit * 16) + unit * 16 % p.page_size / 16 * K::kUnitBytes;
}

/// What the lane knows of a fetched unit: logical token (-1: nobody sees it) and score factor of rows g and g + 8.
struct fetched {
  int token[2];
  float factor[2];
};

/// A coded unit whose bytes have arrived.
template <class K, class P>
__device__ __forceinline__ fetched fetch_coded(const P& p, const decode_view& s, warp_memory<K>& mem, int slot, int u, int b, int head, int unit,
                                               const unsigned char* k_codebook, const unsigned char* v_codebook) {
  const unsigned char* stage = mem.stage_of(slot, u);
  uint32_t anchored = 0;
  if constexpr (K::kCoded) {
    const uint32_t* bitmap = reinterpret_cast<const uint32_t*>(page_block(p, b, head, unit * 16) + p.page_size / 16 * K::kUnitBytes);
    const int in_page = unit * 16 % p.page_size;
    anchored = load_global(bitmap + in_page / 32) >> in_page % 32;
  }
  uint32_t gains = 0;  // of rows g and g + 8
  if constexpr (K::kKeyGain) gains = load_shared(reinterpret_cast<const uint32_t*>(stage + K::kKeyGainOffset) + lane_index() / 4);
  fetched f;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = lane_index() / 4 + 8 * half, token = unit * 16 + row;
    f.token[half] = token < s.coded_len && !(anchored >> row & 1) ? token : -1;
    f.factor[half] = p.scale;
    if constexpr (K::kKeyGain) f.factor[half] *= to_float(f16{uint16_t(gains >> (16 * half))});
  }
  mem.expand(p, slot, u, k_codebook, v_codebook, s.coded_len - unit * 16, s.first_pos + unit * 16);
  return f;
}

/// Copies row `row` of a unit, or zeros: what was never written may be NaN, and 0 * NaN is NaN.
template <class T, int kHeadDim>
__device__ __forceinline__ void fetch_row(unit_rows<T, kHeadDim>& rows, int row, const unsigned char* k, const unsigned char* v, bool used) {
  const int piece = lane_index();
  if (piece < kHeadDim / 8) {
    copy_async(rows.k + row * unit_rows<T, kHeadDim>::kStride + piece * 8, k + piece * 16, used);
    copy_async(rows.v + row * unit_rows<T, kHeadDim>::kStride + piece * 8, v + piece * 16, used);
  }
}

/// Entry `entry` of the list of anchor pages.
template <class K, class P>
__device__ __forceinline__ fetched fetch_anchors(const P& p, const decode_view& s, unit_rows<typename K::Element, K::kHeadDim>& rows, int head, int entry) {
  constexpr int kRowBytes = K::kHeadDim * 2;
  const unsigned char* page = anchor_block(p, load_global(s.anchors + entry), head);
  const int32_t* index = reinterpret_cast<const int32_t*>(page + 32 * kRowBytes);
  const auto used = [&](int token) { return is_anchor(token, entry, s.coded_len, s.frozen_pages, s.frozen_len); };
  for (int row = 0; row < 16; ++row)
    fetch_row(rows, row, page + row * kRowBytes, page + (16 + row) * kRowBytes, used(load_global(index + row)));
  fetched f;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int token = load_global(index + lane_index() / 4 + 8 * half);
    f.token[half] = used(token) ? token : -1;
    f.factor[half] = p.scale;
  }
  copy_async_commit();
  copy_async_wait<0>();
  return f;
}

/// The ring's tokens `first` ... `first` + 15.
template <class K, class P>
__device__ __forceinline__ fetched fetch_ring(const P& p, const decode_view& s, unit_rows<typename K::Element, K::kHeadDim>& rows, int head, int first) {
  const int64_t block = s.slot * p.ring_slot_stride + head * p.ring_head_stride;
  for (int row = 0; row < 16; ++row) {
    const bool used = first + row < s.kv_len;
    const int64_t at = block + (used ? (first + row) % p.ring_rows * p.ring_row_stride : 0);
    fetch_row(rows, row, byte_pointer(p.ring_k) + at, byte_pointer(p.ring_v) + at, used);
  }
  fetched f;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int token = first + lane_index() / 4 + 8 * half;
    f.token[half] = token < s.kv_len ? token : -1;
    f.factor[half] = p.scale;
  }
  copy_async_commit();
  copy_async_wait<0>();
  return f;
}
