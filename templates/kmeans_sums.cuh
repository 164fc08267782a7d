// Exact sums of k-means. Whatever is added up is a whole number of 64 bits, so that the order of additions does not matter: a run has the same bits as
// any other, however its rows are cut, and adding needs no order. The caller's scales, powers of two, put 2^62 above any sum that can come.

/// value * scale as a whole number; `value` is exact or nearly so, and the scale leaves some 2^-46 of the largest one below the point.
__device__ __forceinline__ int64_t fixed_point(double value, float scale) { return int64_t(value * double(scale)); }

/// 64-bit values between the lanes of a warp; all lanes.
__device__ __forceinline__ uint64_t shuffle_wide(uint64_t value, int lane) {
  return uint64_t(shuffle(uint32_t(value >> 32), lane)) << 32 | shuffle(uint32_t(value), lane);
}
__device__ __forceinline__ uint64_t sum_of_warp(uint64_t value) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) {
    const uint32_t high = shuffle_xor(uint32_t(value >> 32), mask), low = shuffle_xor(uint32_t(value), mask);
    value += uint64_t(high) << 32 | low;
  }
  return value;
}
/// The sum of the values of this lane and those before it.
__device__ __forceinline__ uint64_t sum_so_far(uint64_t value) {
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const uint32_t high = shuffle_up(uint32_t(value >> 32), step), low = shuffle_up(uint32_t(value), step);
    if (lane_index() >= step) value += uint64_t(high) << 32 | low;
  }
  return value;
}

/// Sums in shared memory, in two words each: 64-bit additions there would be loops. A carry is counted by the one addition that made it.
template <class K>
struct kmeans_sums {
  static constexpr int kStride = K::Key::kChannels + 1;  // channels of an entry, then its weight
  static constexpr int kCount = K::Key::kEntries * kStride;
  alignas(16) uint32_t low[kCount];
  uint32_t high[kCount];

  __device__ __forceinline__ void add(int at, int64_t value) {
    const uint32_t before = atomic_add_shared(low + at, uint32_t(value));
    const uint32_t carry = before + uint32_t(value) < before;
    atomic_add_shared(high + at, uint32_t(uint64_t(value) >> 32) + carry);
  }
  __device__ __forceinline__ uint64_t at(int i) const { return uint64_t(load_shared(high + i)) << 32 | load_shared(low + i); }
};

/// Where the (head, chunk) of a CTA has what it works on.
template <class K>
struct kmeans_problem {
  using C = typename K::Key;
  const unsigned char* x;  // the chunk of the head's first row
  const float* weights;    // null: 1
  float* centroids;
  unsigned char* codebook;
  uint64_t *row_loss, *sums, *loss, *energy;
  int32_t* status;
  const double* draws;

  template <class P>
  __device__ __forceinline__ explicit kmeans_problem(const P& p) {
    const index3 block = block_index();
    const int64_t number = int64_t(block.z) * p.chunks + block.y;
    x = static_cast<const unsigned char*>(p.x) + block.z * p.x_head_stride + block.y * C::kChannels * 2;
    weights = p.weights ? p.weights + int64_t(block.z) * p.tokens : nullptr;
    centroids = p.centroids + number * C::kEntries * C::kChannels;
    codebook = static_cast<unsigned char*>(p.codebook) + number * C::kCodebookBytes;
    row_loss = p.row_loss + number * p.tokens;
    sums = reinterpret_cast<uint64_t*>(p.sums) + number * kmeans_sums<K>::kCount;
    loss = p.loss + number * (p.max_steps + 1);
    energy = p.energy + number;
    status = p.status + number * 4;
    draws = p.draws ? p.draws + number * C::kEntries : nullptr;
  }
  __device__ __forceinline__ float weight(int row) const { return weights ? load_global(weights + row) : 1.0f; }
  /// Row `row` as loaded: pairs of channels.
  template <class P>
  __device__ __forceinline__ void load_row(const P& p, int row, uint32_t (&words)[C::kChannels / 2]) const {
    load_entry<C>(words, x + row * p.x_row_stride);
  }
  /// Centroid `entry` for those who search.
  __device__ __forceinline__ void store_searched(int entry, const float (&c)[C::kChannels]) const {
    float norm = 0;
#pragma unroll
    for (int i = 0; i < C::kChannels; i += 2) {
      const f16 a = to_f16(c[i]), b = to_f16(c[i + 1]);
      norm = fused_multiply_add(to_float(a), to_float(a), norm), norm = fused_multiply_add(to_float(b), to_float(b), norm);
      store_global(reinterpret_cast<uint32_t*>(codebook) + (entry * C::kChannels + i) / 2, pack(a, b));
    }
    store_global(reinterpret_cast<float*>(codebook + C::kHalfNormOffset) + entry, norm / 2);
  }
  /// Puts centroid `entry` where `c`, rounded to halves, is.
  __device__ __forceinline__ void store_centroid(int entry, const float (&c)[C::kChannels]) const {
#pragma unroll
    for (int i = 0; i < C::kChannels; ++i) store_global(centroids + entry * C::kChannels + i, to_float(to_f16(c[i])));
    store_searched(entry, c);
  }
  /// Puts it on row `row`.
  template <class P>
  __device__ __forceinline__ void store_centroid_at(const P& p, int entry, int row) const {
    uint32_t words[C::kChannels / 2];
    float c[C::kChannels];
    load_row(p, row, words);
#pragma unroll
    for (int i = 0; i < C::kChannels; ++i) c[i] = entry_channel<C>(words, i);
    store_centroid(entry, c);
  }
};
