// What choosing by rank counts with: select and append.

template <class T>
__device__ __forceinline__ T smaller(T a, T b) {
  return a < b ? a : b;
}

/// The sum of the values of this lane and the lanes before it.
__device__ __forceinline__ uint32_t sum_to_lane(uint32_t value) {
#pragma unroll
  for (int by = 1; by < 32; by *= 2) {
    const uint32_t before = shuffle_up(value, by);
    if (lane_index() >= by) value += before;
  }
  return value;
}
