// 16 tokens as the matrix unit reads them: rows of keys and values in shared memory.

/// Rows are padded by 16 bytes, so that the eight rows that one ldmatrix phase reads lie in different banks.
template <class T, int kHeadDim>
struct unit_rows {
  static constexpr int kStride = kHeadDim + 8;
  T k[16 * kStride];
  T v[16 * kStride];
};

/// Starts copying 16 exact rows, zeros from row `valid` on, one warp. Row r lies at from + r * row_bytes.
template <int kHeadDim, class T>
__device__ __forceinline__ void stage_rows(T* rows, const unsigned char* from, int64_t row_bytes, int valid) {
  constexpr int kPieces = kHeadDim / 8;
  for (int task = lane_index(); task < 16 * kPieces; task += 32) {
    const int row = task / kPieces, piece = task % kPieces;
    copy_async(rows + row * unit_rows<T, kHeadDim>::kStride + piece * 8, row < valid ? from + row * row_bytes + piece * 16 : from, row < valid);
  }
}
