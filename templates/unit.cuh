// One coded unit of 16 tokens on its way from its page to rows: staged bytes, then channels.

/// Starts copying a coded unit as it lies in its page, one warp.
template <int kUnitBytes>
__device__ __forceinline__ void stage_unit(unsigned char* stage, const unsigned char* unit) {
  for (int at = lane_index() * 16; at < kUnitBytes; at += 32 * 16) copy_async(stage + at, unit + at, true);
}

/// Rows of one side of a coded unit: what codes become is f16, as their codebooks are, whatever the dtype; exact rows are elements.
template <class K, class C>
struct unit_row {
  static constexpr bool kElements = C::kExact || !kIsBf16<typename K::Element>;
};
/// The rows of a side of codes.
template <class T>
__device__ __forceinline__ f16* decoded_rows(T* rows) {
  return reinterpret_cast<f16*>(rows);
}

/// Turns a staged coded unit into rows, one warp. `valid` tokens of it were ever written. Keys coded before RoPE still want
/// rotate_rows, which also scales them.
template <class K>
__device__ __forceinline__ void expand_unit(unit_rows<typename K::Element, K::kHeadDim>& rows, const unsigned char* stage, const unsigned char* k_codebook,
                                            const unsigned char* v_codebook, int valid) {
  constexpr int kStride = unit_rows<typename K::Element, K::kHeadDim>::kStride;
  if constexpr (K::Key::kExact) {
    copy_rows<K::kHeadDim>(rows.k, kStride, stage, valid);
  } else {
    expand_rows<typename K::Key, K::kHeadDim, !K::kPre>(decoded_rows(rows.k), kStride, stage, k_codebook);
  }
  if constexpr (K::Value::kExact) {
    copy_rows<K::kHeadDim>(rows.v, kStride, stage + K::kValueOffset, valid);
  } else {
    expand_rows<typename K::Value, K::kHeadDim, true>(decoded_rows(rows.v), kStride, stage + K::kValueOffset, v_codebook);
  }
}
