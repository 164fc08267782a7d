// Weighted k-means of many (head, chunk) at once: step 0 starts the centroids, each step 1 is a Lloyd iteration, step 2 measures.
// grid (splits, chunks, heads). A CTA takes a share of the rows of its (head, chunk), 64 per warp at a time: the nearest centroid by the matrix unit (nearest.cuh),
// then what the row adds to that centroid's sums, in shared memory. Shares meet in global memory; the CTA that arrives last moves the centroids.

/// Shared memory of a step.
template <class K>
struct kmeans_memory {
  using C = typename K::Key;
  // Rows of a chunk in fp32. Neighbours are an odd number of 16-byte pieces apart, so that nearest.cuh reads them without bank conflicts.
  static constexpr int kPieces = (C::kChannels + 3) / 4, kStride = (kPieces | 1) * 4;
  alignas(16) float rows[K::kTokens * kStride];
  kmeans_sums<K> sums;
  uint32_t last;
};

/// Loads this warp's 64 rows of a step, zeros behind `count`.
template <class K, class P>
__device__ __forceinline__ void load_rows(const P& p, kmeans_memory<K>& mem, const kmeans_problem<K>& problem, int first, int count) {
  using C = typename K::Key;
  constexpr int kStride = kmeans_memory<K>::kStride;
  const int warp = warp_index();
#pragma unroll
  for (int i = 0; i < 64; i += 32) {
    const int row = warp * 64 + i + lane_index();
    uint32_t words[C::kChannels / 2] = {};
    if (row < count) problem.load_row(p, first + row, words);
#pragma unroll
    for (int c = 0; c < C::kChannels; c += 2)
      store_shared(reinterpret_cast<bytes8*>(mem.rows + row * kStride + c), bytes8{float_bits(entry_channel<C>(words, c)), float_bits(entry_channel<C>(words, c + 1))});
  }
}

/// Adds a row to the sums of the centroid nearest to it; returns its loss.
template <class K, class P>
__device__ __forceinline__ uint64_t take_row(const P& p, kmeans_memory<K>& mem, const kmeans_problem<K>& problem, const float* row, float weight, int code, bool sums) {
  using C = typename K::Key;
  const int at = code * kmeans_sums<K>::kStride;
  double square = 0;
#pragma unroll
  for (int i = 0; i < C::kChannels; ++i) {
    const double x = load_shared(row + i);
    const double distance = x - double(load_global(problem.centroids + code * C::kChannels + i));
    square += distance * distance;
    if (sums) mem.sums.add(at + i, fixed_point(double(weight) * x, p.value_scale));
  }
  if (sums) mem.sums.add(at + C::kChannels, fixed_point(weight, p.weight_scale));
  return uint64_t(fixed_point(double(weight) * square, p.loss_scale));
}

/// Whether this CTA is the last of its (head, chunk) to come here; all threads. What the others wrote is then seen.
__device__ __forceinline__ bool arrive_last(int32_t* arrivals, int count, uint32_t* flag) {
  block_barrier();
  if (thread_index() == 0) {
    grid_fence();
    const bool last = atomic_add_global(reinterpret_cast<uint32_t*>(arrivals), 1) == uint32_t(count - 1);
    if (last) store_global(arrivals, 0);  // for the next launch
    grid_fence();
    store_shared(flag, uint32_t(last));
  }
  block_barrier();
  return load_shared(flag) != 0;
}

/// Assigns this CTA's share of the rows and adds up what `sums` wants; all threads.
template <class K, class P>
__device__ __forceinline__ uint64_t assign_rows(const P& p, kmeans_memory<K>& mem, const kmeans_problem<K>& problem, bool sums) {
  using C = typename K::Key;
  const int steps = (p.tokens + K::kTokens - 1) / K::kTokens;
  uint64_t loss = 0;  // of the rows that this lane was told of
  for (int step = block_index().x; step < steps; step += p.splits) {
    const int first = step * K::kTokens, count = p.tokens - first < K::kTokens ? p.tokens - first : K::kTokens;
    load_rows<K>(p, mem, problem, first, count);
    warp_barrier();
    find_nearest<K, C, kmeans_memory<K>::kStride>(mem.rows, problem.codebook, count, [&](int token, int, const nearest_entry& found) {
      if (token >= count) return;
      const uint64_t mine = take_row<K>(p, mem, problem, mem.rows + token * kmeans_memory<K>::kStride, problem.weight(first + token), found.code, sums);
      if (sums) store_global(problem.row_loss + first + token, mine);
      loss += mine;
    });
    warp_barrier();
  }
  return loss;
}

template <class K, class P>
__device__ __forceinline__ void kmeans(const P& p) {
  // One after the other; a move must leave `last` alone, which some threads may still read.
  static_assert(sizeof(kmeans_memory<K>) <= K::kSharedBytes && sizeof(start_memory) <= K::kSharedBytes && K::kTokens == 64 * K::kWarps, "generator/shared.ts is wrong");
  static_assert(sizeof(move_memory<K>) <= sizeof(kmeans_memory<K>) - 16, "no flag in a move's way");
  const kmeans_problem<K> problem(p);
  if (p.step == 0) {
    if (block_index().x == 0) start_clusters<K>(p, *reinterpret_cast<start_memory*>(shared_memory()), problem);
    return;
  }
  const bool moves = p.step == 1;
  const int step = moves ? load_global(problem.status) : p.max_steps;
  if (moves && (step >= p.max_steps || load_global(problem.status + 2))) return;

  kmeans_memory<K>& mem = *reinterpret_cast<kmeans_memory<K>*>(shared_memory());
  using S = kmeans_sums<K>;
  for (int i = thread_index(); i < S::kCount; i += K::kWarps * 32) store_shared(mem.sums.low + i, 0u), store_shared(mem.sums.high + i, 0u);
  block_barrier();
  const uint64_t loss = sum_of_warp(assign_rows<K>(p, mem, problem, moves));
  if (lane_index() == 0) atomic_add_global(problem.loss + step, loss);
  if (!moves) return;

  block_barrier();
  for (int i = thread_index(); i < S::kCount; i += K::kWarps * 32) {
    const uint64_t sum = mem.sums.at(i);
    if (sum) atomic_add_global(problem.sums + i, sum);
  }
  if (arrive_last(problem.status + 3, p.splits, &mem.last)) move_centroids<K>(p, *reinterpret_cast<move_memory<K>*>(shared_memory()), problem, step);
}
