// A tile of query columns in shared memory, as the matrix unit reads it by itself.

/// Rows of 64 elements, 128 bytes, so that q and o have a part for each 64 of the head dim. The pieces of a row take the places that group_operand() says.
template <class K>
struct column_tile {
  static constexpr int kColumns = 8 * K::kWarps;
  static constexpr int kPart = kColumns * 64;  // elements of a part
  alignas(1024) typename K::Element q[kColumns * K::kHeadDim];
  typename K::Element o[K::kTimesDistance ? kColumns * K::kHeadDim : 512];
  float lse[kColumns];
  float offset[kColumns];  // what the exponent of a weight begins with: P (times |q|, form massq; times |q| scale 2^1/2, form exact) = 2^(s log2(e) + offset); -inf for none
  float factor[kColumns];  // form massq: -1 / |q|; form exact: -|o|^2 / 2
  int position[kColumns];  // the last that the column sees, ascending

  /// Where piece `piece` of 16 bytes of a column lies in q and o.
  static __device__ __forceinline__ int place(int column, int piece) { return piece / 8 * kPart + column * 64 + ((piece ^ column) & 7) * 8; }
};
