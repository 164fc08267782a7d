// Scores as numbers, and small sums.

/// An unsigned number in the order of the scores; 0 for what never wins. -0 and +0 are equal.
__device__ __forceinline__ uint32_t score_key(float score) {
  if (!(score > minus_infinity())) return 0;  // NaN too
  const uint32_t bits = float_bits(score + 0.0f);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
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
