// Step 0: clears what is summed up, and starts the centroids, by k-means++ (Arthur and Vassilvitskii 2007) or as they are given. One CTA per (head, chunk).
//
// k-means++ draws each start with probability w |x - nearest start|^2. A pass over the rows lowers what the newest start lowers, and leaves the sums of up to
// kParts parts of the rows; one warp then finds the part, and in it the row, where the running sum passes draw * total.

/// Shared memory of a start.
struct start_memory {
  static constexpr int kParts = 512;
  alignas(16) uint64_t part[kParts];
  int pick;
};

/// Rows of a part, a multiple of 32.
__device__ __forceinline__ int part_rows(int tokens) { return (tokens + 32 * start_memory::kParts - 1) / (32 * start_memory::kParts) * 32; }

/// One pass over the rows: their mass by mass_of(row), in row_loss and summed by parts; all threads.
template <class K, class F>
__device__ __forceinline__ void weigh_rows(start_memory& mem, const kmeans_problem<K>& problem, int tokens, const F& mass_of) {
  const int rows = part_rows(tokens);
  for (int part = warp_index(); part * rows < tokens; part += K::kWarps) {
    uint64_t sum = 0;
#pragma unroll 4  // loads under way together
    for (int row = part * rows + lane_index(); row < (part + 1) * rows; row += 32) {
      if (row >= tokens) break;
      const uint64_t mass = mass_of(row);
      store_global(problem.row_loss + row, mass);
      sum += mass;
    }
    sum = sum_of_warp(sum);
    if (lane_index() == 0) store_shared(mem.part + part, sum);
  }
}

/// The first row whose running sum of masses exceeds `draw` times the total; by one warp. Rows are equally likely if none has mass.
template <class K>
__device__ __forceinline__ int draw_row(const start_memory& mem, const kmeans_problem<K>& problem, int tokens, double draw) {
  constexpr int kMine = start_memory::kParts / 32;  // parts of a lane
  uint64_t mine = 0;
#pragma unroll
  for (int i = 0; i < kMine; ++i) mine += load_shared(mem.part + lane_index() * kMine + i);
  const uint64_t so_far = sum_so_far(mine);
  const uint64_t total = shuffle_wide(so_far, 31);
  if (total == 0) return int(draw * tokens);
  uint64_t target = uint64_t(draw * double(total));
  if (target >= total) target = total - 1;  // the product may have been rounded up
  const int lane = count_bits(~vote_ballot(so_far > target));  // sums ascend: so many lanes are behind
  uint64_t before = shuffle_wide(so_far - mine, lane);
  int part = lane * kMine;
  for (;; ++part) {
    const uint64_t here = load_shared(mem.part + part);
    if (before + here > target) break;
    before += here;
  }
  const int rows = part_rows(tokens);
  for (int first = part * rows;; first += 32) {
    const int row = first + lane_index();
    const uint64_t sum = before + sum_so_far(row < tokens ? load_global(problem.row_loss + row) : 0);
    const uint32_t passed = vote_ballot(sum > target);
    if (passed) return first + count_bits(~passed);
    before = shuffle_wide(sum, 31);
  }
}

/// w |x - c|^2 of a row, c in registers.
template <class K, class P>
__device__ __forceinline__ uint64_t mass_of_row(const P& p, const kmeans_problem<K>& problem, int row, const double (&c)[K::Key::kChannels]) {
  uint32_t words[K::Key::kChannels / 2];
  problem.load_row(p, row, words);
  double sum = 0;
#pragma unroll
  for (int i = 0; i < K::Key::kChannels; ++i) {
    const double distance = double(entry_channel<typename K::Key>(words, i)) - c[i];
    sum += distance * distance;
  }
  return uint64_t(fixed_point(double(problem.weight(row)) * sum, p.loss_scale));
}

/// All starts, one after the other; all threads.
template <class K, class P>
__device__ __forceinline__ void seed_centroids(const P& p, start_memory& mem, const kmeans_problem<K>& problem) {
  using C = typename K::Key;
  weigh_rows<K>(mem, problem, p.tokens, [&](int row) { return uint64_t(fixed_point(problem.weight(row), p.weight_scale)); });  // the first is drawn by weight alone
  for (int entry = 0; entry < C::kEntries; ++entry) {
    block_barrier();
    if (warp_index() == 0) {
      const int row = draw_row<K>(mem, problem, p.tokens, load_global(problem.draws + entry));
      if (lane_index() == 0) store_shared(&mem.pick, row), problem.store_centroid_at(p, entry, row);
    }
    block_barrier();
    uint32_t words[C::kChannels / 2];
    problem.load_row(p, load_shared(&mem.pick), words);
    double c[C::kChannels];
#pragma unroll
    for (int i = 0; i < C::kChannels; ++i) c[i] = entry_channel<C>(words, i);
    weigh_rows<K>(mem, problem, p.tokens, [&](int row) {
      const uint64_t mass = mass_of_row<K>(p, problem, row, c), before = load_global(problem.row_loss + row);
      return entry == 0 || mass < before ? mass : before;
    });
  }
}

template <class K, class P>
__device__ __forceinline__ void start_clusters(const P& p, start_memory& mem, const kmeans_problem<K>& problem) {
  using C = typename K::Key;
  for (int i = thread_index(); i < kmeans_sums<K>::kCount; i += K::kWarps * 32) store_global(problem.sums + i, uint64_t(0));
  for (int i = thread_index(); i <= p.max_steps; i += K::kWarps * 32) store_global(problem.loss + i, uint64_t(0));
  if (thread_index() < 4) store_global(problem.status + thread_index(), 0);
  for (int i = thread_index(); i < start_memory::kParts; i += K::kWarps * 32) store_shared(mem.part + i, uint64_t(0));  // few rows have few parts
  block_barrier();
  const double origin[C::kChannels] = {};
  weigh_rows<K>(mem, problem, p.tokens, [&](int row) { return mass_of_row<K>(p, problem, row, origin); });
  block_barrier();
  if (warp_index() == 0) {
    uint64_t sum = 0;
    for (int i = lane_index(); i < start_memory::kParts; i += 32) sum += load_shared(mem.part + i);
    sum = sum_of_warp(sum);
    if (lane_index() == 0) store_global(problem.energy, sum);
  }
  block_barrier();
  if (problem.draws) return seed_centroids<K>(p, mem, problem);
  for (int entry = thread_index(); entry < C::kEntries; entry += K::kWarps * 32) {
    float c[C::kChannels];
#pragma unroll
    for (int i = 0; i < C::kChannels; ++i) c[i] = load_global(problem.centroids + entry * C::kChannels + i);
    problem.store_searched(entry, c);
  }
}
