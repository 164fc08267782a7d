// What a warp keeps of the coded tokens it has seen: sums of values, weights and the bias that weights are formed with.

/// One warp's attention to its share of the piece's coded tokens.
template <class K>
struct coded_state {
  using Keys = key_method<K>;
  using Values = value_table<K>;
  static constexpr int kSets = K::kColumns / 4;
  static constexpr uint32_t kOne = 0x4b000000u;     // 2^23 as a float: what is added to it lies in its low bits
  static constexpr float kMost = 15.9999f;          // log2 of the largest weight, which has 16 bits
  static constexpr float kDue = -1e38f;             // as limit: the sums are to be halved before they overflow
  static constexpr float kTop = 15.5f;                                // log2 of the most that a new maximum is put to

  value_sums<K> sums;
  float bias[Keys::kLaneColumns];           // the weight of a score in log2 units is 2^(score + bias); keys add it to their sums, and what they call the origin is its first value
  float weight[Keys::kLaneColumns] = {};
  uint32_t recent[Keys::kLaneColumns] = {};  // raw weights of `tiles` tiles
  int tiles = 0;
  bool flags[Keys::kLaneColumns] = {};      // of started(), where the limit does not say it
  float limit = minus_infinity();  // a score above it calls raise: -inf until every column has seen one, then kMost, kDue where sums are to be halved first

  __device__ __forceinline__ explicit coded_state(const Keys& keys) {
#pragma unroll
    for (int c = 0; c < Keys::kLaneColumns; ++c) bias[c] = keys.origin(c);
  }
  /// Whether column `c` has seen a score.
  __device__ __forceinline__ bool started(int c) const { return Keys::kLaneColumns == 1 ? limit > minus_infinity() : flags[c]; }

  /// Moves the recent weights to the float.
  __device__ __forceinline__ void settle(const float (&factor)[Keys::kLaneColumns]) {
#pragma unroll
    for (int c = 0; c < Keys::kLaneColumns; ++c) {
      weight[c] = (weight[c] + float(recent[c] - uint32_t(tiles * (Keys::kScores / Keys::kLaneColumns)) * kOne)) * factor[c];
      recent[c] = 0;
    }
    tiles = 0;
  }

  /// Scores (log2 units, bias added) to weights; the bias is lowered first where one would not fit into 16 bits.
  __device__ __forceinline__ void weigh(uint32_t (&x)[Keys::kScores], float (&s)[Keys::kScores]) {
    bool above = false;
#pragma unroll
    for (int i = 0; i < Keys::kScores; ++i) above = above || !(s[i] <= limit);  // or not a number
    if (__builtin_expect(vote_any(above), 0)) raise(s);
#pragma unroll
    for (int i = 0; i < Keys::kScores; ++i) {
      x[i] = float_bits(exp2_fast(s[i]) + 8388608.0f);
      recent[i % Keys::kLaneColumns] += x[i];
    }
    ++tiles;
  }

  /// Lowers the bias, and with it all sums, until the scores' weights fit.
  __device__ __forceinline__ void raise(float (&s)[Keys::kScores]) {
    float factor[Keys::kLaneColumns], shift[Keys::kLaneColumns], places[Keys::kLaneColumns];
    const float least = limit == kDue ? -1.0f : 0.0f;
    bool all = true;
#pragma unroll
    for (int c = 0; c < Keys::kLaneColumns; ++c) {
      float top = minus_infinity();
#pragma unroll
      for (int i = c; i < Keys::kScores; i += Keys::kLaneColumns) top = fmaxf(top, s[i]);
#pragma unroll
      for (int bit = 1; bit < 32; bit *= 2)
        if (Keys::kSharedBits & bit) top = fmaxf(top, shuffle_xor(top, bit));
      const bool before = started(c), nothing = top == minus_infinity();
      // The first score seen sets the bias, however low it is. A step is a whole number, so that sums are shifted; 31 places leave nothing of them.
      shift[c] = nothing ? (before ? least : 0.0f) : floorf(before ? fminf(kTop - top, least) : kTop - top);
      factor[c] = before ? exp2_fast(shift[c]) : 0.0f;
      places[c] = before ? fminf(-shift[c], 31.0f) : 0.0f;
      flags[c] = before || !nothing;
      all = all && flags[c];
      bias[c] += shift[c];
    }
    limit = all ? kMost : minus_infinity();
    settle(factor);
    float theirs[kSets];
    Keys::to_value_lanes(theirs, places);
    sums.lower(theirs);
#pragma unroll
    for (int i = 0; i < Keys::kScores; ++i) {
      s[i] += shift[i % Keys::kLaneColumns];
      // Not a number: a query or a gain was not. Fixed-point weights cannot say so, but their sum can.
      if (!(s[i] <= 16.0f)) weight[i % Keys::kLaneColumns] = float_of_bits(0x7fffffff), s[i] = 0;
    }
  }

  /// Puts what was seen, nothing included, into the warp's result. `scales` (shared memory): what one int8 step of each channel is worth.
  __device__ __forceinline__ void store(const Keys& keys, warp_result<K>& result, const float* scales) {
    float one[Keys::kLaneColumns];
#pragma unroll
    for (int c = 0; c < Keys::kLaneColumns; ++c) one[c] = 1;
    settle(one);
#pragma unroll
    for (int c = 0; c < Keys::kLaneColumns; ++c)
#pragma unroll
      for (int bit = 1; bit < 32; bit *= 2)
        if (Keys::kSharedBits & bit) weight[c] += shuffle_xor(weight[c], bit);
    warp_barrier();  // the places and codes lie where the result goes
#pragma unroll
    for (int c = 0; c < kSets; ++c) {
      float* const to = result.o + (kSets == 1 ? Keys::value_column() : lane_index() % 4 * 2 + c) * warp_result<K>::kStride;
#pragma unroll
      for (int i = 0; i < value_sums<K>::kSums; ++i) {
        const int channel = value_sums<K>::channel(Keys::value_element(), i);
        store_shared(to + channel, sums.sum(c, i) * load_shared(scales + channel));
      }
    }
    if (Keys::is_writer()) {
#pragma unroll
      for (int c = 0; c < Keys::kLaneColumns; ++c) {
        store_shared(result.weight + Keys::column(c), weight[c]);
        store_shared(result.maximum + Keys::column(c), started(c) ? keys.origin(c) - bias[c] : minus_infinity());
      }
    }
    warp_barrier();
  }
};
