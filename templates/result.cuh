// From the results of a CTA's warps to output and log-sum-exp: warps in a fixed order, then the CTAs that share a sequence, also in a fixed order.

constexpr float kLog2e = 1.44269504f;
constexpr float kLn2 = 0.693147181f;

/// What a warp leaves for the merge: [columns, d] weighted sums (finite), maxima (log2 units, -inf: nothing seen) and weights.
template <class K>
struct alignas(16) warp_result {
  static constexpr int kStride = K::kHeadDim + 4;  // lanes of one store hit 32 banks: columns apart by 4, channels by 1
  float o[K::kColumns * kStride];
  float maximum[K::kColumns];
  float weight[K::kColumns];
};

/// Turns each result's maximum into its factor of the merged, normalised output, and the first result's weight into the log-sum-exp (natural).
template <class K>
__device__ __forceinline__ void weigh_results(warp_result<K>* results, int count) {
  const int lane = lane_index();  // of one result each: at most 32
  for (int c = warp_index(); c < K::kColumns; c += K::kWarps) {
    const float maximum = lane < count ? load_shared(results[lane].maximum + c) : minus_infinity();
    const float weight = lane < count ? load_shared(results[lane].weight + c) : 0.0f;
    float top = maximum;
#pragma unroll
    for (int mask = 1; mask < 32; mask *= 2) top = fmaxf(top, shuffle_xor(top, mask));
    const float shrink = maximum == minus_infinity() ? 0.0f : exp2_fast(maximum - top);
    float total = shrink * weight;
#pragma unroll
    for (int mask = 1; mask < 32; mask *= 2) total += shuffle_xor(total, mask);
    if (lane < count) store_shared(results[lane].maximum + c, total > 0 ? shrink / total : 0.0f);
    if (lane == 0) store_shared(results[0].weight + c, total > 0 ? (top + log2_fast(total)) * kLn2 : minus_infinity());
  }
}

/// Writes the merged results: output and log-sum-exp, or this CTA's part of them. A thread takes 4 channels of a column.
template <class K, class P, class Column>
__device__ __forceinline__ void write_results(const P& p, const Column& column_at, const warp_result<K>* results, int count, bool whole) {
  constexpr int kQuads = K::kHeadDim / 4;
  for (int i = thread_index(); i < K::kColumns * kQuads; i += K::kWarps * 32) {
    const int flat = i / kQuads, channel = i % kQuads * 4;
    const auto c = column_at(flat);
    if (!c.valid) continue;
    float sum[4] = {};
#pragma unroll 8
    for (int w = 0; w < count; ++w) {
      const float factor = load_shared(results[w].maximum + flat);
      const bytes16 o = load_shared(reinterpret_cast<const bytes16*>(results[w].o + flat * warp_result<K>::kStride + channel));
#pragma unroll
      for (int j = 0; j < 4; ++j) sum[j] += factor * float_of_bits(o.w[j]);
    }
    const float lse = load_shared(results[0].weight + flat);
    if (whole) {
      bytes8* out = reinterpret_cast<bytes8*>(byte_pointer(p.out) + c.row * p.out_row_stride + c.head * p.out_head_stride + channel * 2);
      store_global(out, bytes8{{pack(to_f16(sum[0]), to_f16(sum[1])), pack(to_f16(sum[2]), to_f16(sum[3]))}});
      if (p.lse && channel == 0) store_global(p.lse + int64_t(c.row) * p.q_heads + c.head, lse);
    } else {
      const int64_t at = (int64_t(block_index().x) * p.rows + c.row) * p.q_heads + c.head;
      store_global(reinterpret_cast<bytes16*>(p.partial_o + at * K::kHeadDim + channel), bytes16{{float_bits(sum[0]), float_bits(sum[1]), float_bits(sum[2]), float_bits(sum[3])}});
      if (channel == 0) store_global(p.partial_lse + at, lse);
    }
  }
}

/// Tells the CTAs of the piece's sequence that this one's part is written. True, in all threads, for the last one, which sees all parts.
template <class P>
__device__ __forceinline__ bool arrive_last(const P& p, const piece& w, uint32_t* flag) {
  grid_fence();
  block_barrier();
  if (thread_index() == 0) {
    uint32_t* counter = p.counters + int64_t(w.b) * grid_size().y + block_index().y;
    const bool last = atomic_add_global(counter, 1) == uint32_t(w.parts - 1);
    if (last) store_global(counter, 0u);  // for the next launch
    grid_fence();
    store_shared(flag, uint32_t(last));
  }
  block_barrier();
  return load_shared(flag) != 0;
}

/// Gathers the parts of a sequence into at most `capacity` results; returns how many. A result takes every so-many-th part, in order.
template <class K, class P, class Column>
__device__ __forceinline__ int gather_parts(const P& p, const piece& w, const Column& column_at, warp_result<K>* results, int capacity) {
  constexpr int kQuads = K::kHeadDim / 4, kTasks = K::kColumns * kQuads, kThreads = K::kWarps * 32;
  constexpr int kGroups = kThreads < kTasks ? 1 : kThreads / kTasks;
  const int groups = kGroups < capacity ? kGroups : capacity;
  for (int i = thread_index(); i < groups * kTasks; i += kThreads) {
    const int group = i / kTasks, flat = i % kTasks / kQuads, channel = i % kQuads * 4;
    const auto c = column_at(flat);
    float maximum = minus_infinity(), weight = 0, sum[4] = {};
    if (c.valid) {
      const int64_t stride = int64_t(p.rows) * p.q_heads;
      const int64_t first = (int64_t(w.first) * p.rows + c.row) * p.q_heads + c.head;
      for (int part = group; part < w.parts; part += 8 * groups) {
        float lse[8];
        bytes16 o[8];
#pragma unroll
        for (int j = 0; j < 8; ++j) {  // all of them under way together
          const bool exists = part + j * groups < w.parts;
          const int64_t at = first + (exists ? part + j * groups : part) * stride;
          lse[j] = load_global_coherent(p.partial_lse + at);
          o[j] = load_global_coherent(reinterpret_cast<const bytes16*>(p.partial_o + at * K::kHeadDim + channel));
          lse[j] = exists ? lse[j] * kLog2e : minus_infinity();
        }
        float top = maximum;
#pragma unroll
        for (int j = 0; j < 8; ++j) top = fmaxf(top, lse[j]);
        if (top == minus_infinity()) continue;
        const float shrink = exp2_fast(maximum - top);
        maximum = top;
        weight *= shrink;
#pragma unroll
        for (int k = 0; k < 4; ++k) sum[k] *= shrink;
#pragma unroll
        for (int j = 0; j < 8; ++j) {
          const float factor = exp2_fast(lse[j] - top);
          weight += factor;
#pragma unroll
          for (int k = 0; k < 4; ++k) sum[k] += factor * float_of_bits(o[j].w[k]);
        }
      }
    }
    warp_result<K>& r = results[group];
    store_shared(reinterpret_cast<bytes16*>(r.o + flat * warp_result<K>::kStride + channel), bytes16{{float_bits(sum[0]), float_bits(sum[1]), float_bits(sum[2]), float_bits(sum[3])}});
    if (channel == 0) {
      store_shared(r.maximum + flat, maximum);
      store_shared(r.weight + flat, weight);
    }
  }
  return groups;
}

/// Writes -inf where the ring holds no token of the sequence: what the buffer held before would come out of combine as attention mass.
template <class K, class P, class Column>
__device__ __forceinline__ void clear_ring_scores(const P& p, const decode_view& s, const Column& column_at) {
  const int held = p.segments & 4 ? s.kv_len - s.coded_len : 0;
  for (int i = thread_index(); i < K::kColumns * p.ring_rows; i += K::kWarps * 32) {
    const int row = i % p.ring_rows, after_coded = (row - s.coded_len % p.ring_rows + p.ring_rows) % p.ring_rows;
    const auto c = column_at(i / p.ring_rows);
    if (c.valid && after_coded >= held) store_global(p.ring_scores + (int64_t(c.row) * p.q_heads + c.head) * p.ring_rows + row, minus_infinity());
  }
}

/// Merges `count` results (1 to 32, in shared memory; they are used up), and with `counters` the parts of the other CTAs if this one is the last, and
/// writes what the piece owes. `flag`: a word of shared memory beside them. All threads, after a block barrier.
template <class K, class P, class Column>
__device__ __forceinline__ void finish_piece(const P& p, const piece& w, const decode_view& s, const Column& column_at, warp_result<K>* results, int count, uint32_t* flag) {
  if (p.ring_scores && w.from == 0) clear_ring_scores<K>(p, s, column_at);
  // Without counters combine follows, and reads the part even of a sequence that one CTA had to itself.
  bool whole = p.splits == 1 || (p.counters && w.parts == 1);
  for (int have = count;;) {
    weigh_results(results, have);
    block_barrier();
    write_results<K>(p, column_at, results, have, whole);
    if (whole || !p.counters || !arrive_last(p, w, flag)) break;
    have = gather_parts<K>(p, w, column_at, results, count);
    whole = true;
    block_barrier();
  }
}
