// The end of a Lloyd step, by the CTA of a (head, chunk) that arrives last: centroids move to the means of their rows, empty ones to the worst rows.

/// Shared memory of a move.
template <class K>
struct move_memory {
  alignas(16) uint64_t loss[K::kWarps];  // the worst row of each warp
  int row[K::kWarps];
  uint32_t empty[K::Key::kEntries];
};

/// A row and its loss. Worse: a larger loss; of equals, the lower row.
struct bad_row {
  uint64_t loss;
  int row;
  __device__ __forceinline__ bool worse_than(const bad_row& other) const { return loss > other.loss || (loss == other.loss && row < other.row); }
};

/// The worst row that is less bad than `last`; its loss is 0 if there is none. All threads.
template <class K>
__device__ __forceinline__ bad_row worst_row_after(move_memory<K>& mem, const kmeans_problem<K>& problem, int tokens, const bad_row& last) {
  bad_row worst{0, tokens};
  for (int row = thread_index(); row < tokens; row += K::kWarps * 32) {
    const bad_row here{load_global_coherent(problem.row_loss + row), row};
    if (last.worse_than(here) && here.worse_than(worst)) worst = here;
  }
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) {
    const uint32_t high = shuffle_xor(uint32_t(worst.loss >> 32), mask), low = shuffle_xor(uint32_t(worst.loss), mask);
    const bad_row other{uint64_t(high) << 32 | low, shuffle_xor(worst.row, mask)};
    if (other.worse_than(worst)) worst = other;
  }
  block_barrier();  // the list of the search before has been read
  const int warp = warp_index();
  if (lane_index() == 0) store_shared(mem.loss + warp, worst.loss), store_shared(mem.row + warp, worst.row);
  block_barrier();
  for (int i = 0; i < K::kWarps; ++i) {
    const bad_row other{load_shared(mem.loss + i), load_shared(mem.row + i)};
    if (other.worse_than(worst)) worst = other;
  }
  return worst;
}

/// Moves each centroid to the mean of its rows, takes its sums back to 0, and marks those without rows.
template <class K, class P>
__device__ __forceinline__ void move_to_means(const P& p, move_memory<K>& mem, const kmeans_problem<K>& problem) {
  using C = typename K::Key;
  const double unit = double(p.weight_scale) / double(p.value_scale);
  for (int entry = thread_index(); entry < C::kEntries; entry += K::kWarps * 32) {
    uint64_t* sums = problem.sums + entry * kmeans_sums<K>::kStride;
    const int64_t weight = int64_t(load_global_coherent(sums + C::kChannels));
    float mean[C::kChannels];
#pragma unroll
    for (int i = 0; i < C::kChannels; ++i) {
      mean[i] = float(double(int64_t(load_global_coherent(sums + i))) / double(weight) * unit);
      store_global(sums + i, uint64_t(0));
    }
    store_global(sums + C::kChannels, uint64_t(0));
    store_shared(mem.empty + entry, uint32_t(weight == 0));
    if (weight != 0) problem.store_centroid(entry, mean);
  }
}

/// All threads of the last CTA. Rows' losses and sums of the whole problem are in global memory.
template <class K, class P>
__device__ __forceinline__ void move_centroids(const P& p, move_memory<K>& mem, const kmeans_problem<K>& problem, int step) {
  move_to_means<K>(p, mem, problem);
  block_barrier();
  bad_row last{~uint64_t(0), -1};
  int filled = 0;
  for (int entry = 0; entry < K::Key::kEntries; ++entry) {
    if (!load_shared(mem.empty + entry)) continue;
    last = worst_row_after<K>(mem, problem, p.tokens, last);
    if (last.loss == 0) break;  // every row lies on its centroid
    if (thread_index() == 0) problem.store_centroid_at(p, entry, last.row);
    ++filled;
  }
  if (thread_index() != 0) return;
  const double now = double(load_global_coherent(problem.loss + step));
  // A cluster that was re-seeded needs a step before its gain shows.
  const bool settled = filled == 0 && step > 0 && double(load_global(problem.loss + step - 1)) - now <= double(p.tolerance) * now;
  store_global(problem.status, step + 1);
  store_global(problem.status + 1, load_global(problem.status + 1) + filled);
  store_global(problem.status + 2, int(settled));
}
