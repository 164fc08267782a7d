// The nth largest of many numbers, by 8 bits at a time.

/// Where a CTA counts digits, and what it found.
struct radix_memory {
  uint32_t histogram[256];
  uint32_t digit, nth, equals;
};

/// The digit that the `nth` largest number has, by one warp: lane l looks at digits 255 - 8l ... 248 - 8l.
__device__ __forceinline__ void find_digit(radix_memory& mem, uint32_t nth) {
  const int lane = lane_index(), top = 255 - 8 * lane;
  uint32_t here[8], before = 0;  // before: numbers whose digit is larger
#pragma unroll
  for (int j = 0; j < 8; ++j) before += here[j] = load_shared(mem.histogram + top - j);
  before = sum_to_lane(before) - before;
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    if (before < nth && nth <= before + here[j]) {
      store_shared(&mem.digit, uint32_t(top - j));
      store_shared(&mem.nth, nth - before);
      store_shared(&mem.equals, here[j]);
    }
    before += here[j];
  }
}

struct nth_number {
  uint32_t number;
  uint32_t nth, equals;  // how many of those equal to it are among the nth largest, and how many there are
};

/// The `nth` largest (from 1) of the numbers that `number_of(i, number)` gives for i = 0 ... count - 1; it returns false where i does not take part. All threads
/// of the CTA must call it, and at least nth numbers take part.
template <int kThreads, class NumberOf>
__device__ __forceinline__ nth_number nth_largest(radix_memory& mem, int count, uint32_t nth, NumberOf number_of) {
  nth_number found{0, nth, 0};
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int i = thread_index(); i < 256; i += kThreads) store_shared(mem.histogram + i, 0u);
    block_barrier();
    for (int i = thread_index(); i < count; i += kThreads) {
      uint32_t number = 0;
      if (!number_of(i, number)) continue;
      if (shift == 24 || number >> (shift + 8) == found.number >> (shift + 8)) atomic_add_shared(mem.histogram + (number >> shift & 255), 1u);
    }
    block_barrier();
    if (warp_index() == 0) find_digit(mem, found.nth);
    block_barrier();
    found.number |= load_shared(&mem.digit) << shift;
    found.nth = load_shared(&mem.nth);
    found.equals = load_shared(&mem.equals);
    block_barrier();  // all have read before the histogram is cleared
  }
  return found;
}
