// Scores as numbers, and small sums.

/// An unsigned number in the order of the scores; 0 for what never wins. -0 and +0 are equal.
__device__ __forceinline__ uint32_t score_key(float score) {
  const uint32_t bits = float_bits(score + 0.0f);
  return score > minus_infinity() ? bits ^ (uint32_t(int(bits) >> 31) | 0x80000000u) : 0;  // NaN too
}

template <class T>
__device__ __forceinline__ T smaller(T a, T b) {
  return a < b ? a : b;
}

/// Sums the first `index` entries of `counts`.
__device__ __forceinline__ uint32_t sum_before(const uint32_t* counts, int index) {
  uint32_t sum = 0;
  for (int i = 0; i < index; ++i) sum += load_shared(counts + i);
  return sum;
}
