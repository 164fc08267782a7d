// Scores of a list: their order as unsigned numbers, and loads of many at a time.

/// A score as it is counted: -inf for what never wins, NaN too, and +0 for both zeros.
__device__ __forceinline__ float competing(float score) { return fmaxf(score + 0.0f, minus_infinity()); }

/// An unsigned number in the order of the scores, kNever for what never wins.
__device__ __forceinline__ uint32_t key_of(float score) {
  const uint32_t bits = float_bits(competing(score));
  return bits ^ (uint32_t(int(bits) >> 31) | 0x80000000u);
}
constexpr uint32_t kNever = 0x007fffffu;
/// The score of a key beyond kNever.
__device__ __forceinline__ float score_of(uint32_t key) { return float_of_bits(key & 0x80000000u ? key ^ 0x80000000u : ~key); }

/// The scores of one list; those of tokens first ... tokens - 1 compete.
struct score_list {
  const float* scores;
  int first, tokens;

  /// Loads the scores of tokens `from` + i * kApart, NaN beyond the list. All are under way together, and none costs an address or, within the list, a comparison.
  template <int kApart, int kScores>
  __device__ __forceinline__ void load(float (&score)[kScores], int from, bool within) const {
    const float* at = scores + from;
    if (within) {
#pragma unroll
      for (int i = 0; i < kScores; ++i) score[i] = load_global(at + i * kApart);
    } else {
#pragma unroll
      for (int i = 0; i < kScores; ++i) score[i] = i * kApart < tokens - from ? load_global(at + i * kApart) : float_of_bits(0xffffffffu);
    }
  }

  /// Calls use(score[32], token) with the scores of all tokens that compete, and with NaN, all threads; score[i] is that of `token` + i * the block's threads.
  template <class K, class F>
  __device__ __forceinline__ void visit(const F& use) const {
    constexpr int kThreads = K::kWarps * 32;
    for (int base = first; base < tokens; base += 32 * kThreads) {
      float score[32];
      load<kThreads>(score, base + thread_index(), tokens - base >= 32 * kThreads);
      use(score, base + thread_index());
    }
  }
};
