// A tile of query columns in shared memory, as ldmatrix reads it.

/// Rows are padded by 16 bytes, so that the eight that one ldmatrix phase reads lie in different banks.
template <class K>
struct column_tile {
  static constexpr int kColumns = 64;
  static constexpr int kStride = K::kHeadDim + 8;
  typename K::Element q[kColumns * kStride];
  typename K::Element o[K::kTimesDistance ? kColumns * kStride : 8];
  float lse[kColumns];
  float offset[kColumns];  // what the exponent of a weight begins with: P (times |q|, form massq; times |q| scale 2^1/2, form exact) = 2^(s log2(e) + offset); -inf for none
  float factor[kColumns];  // form massq: -1 / |q|; form exact: -|o|^2 / 2
  int position[kColumns];  // the last that the column sees, ascending

  /// Where piece `piece` of 16 bytes of a column lies in q and o.
  static __device__ __forceinline__ int place(int column, int piece) { return column * kStride + piece * 8; }
};
