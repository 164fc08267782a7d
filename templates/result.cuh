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

/// The results of a CTA's warps, `stride` bytes apart in shared memory.
template <class K>
struct warp_results {
  unsigned char* first;
  int stride;
  __device__ __forceinline__ warp_result<K>& operator[](int i) const { return *reinterpret_cast<warp_result<K>*>(first + i * stride); }
};

/// What `merge_results` merges: the results of a CTA's warps. of(): four channels of a column, at(i) being those of result i.
template <class K>
struct results_of_warps {
  static constexpr float kToLog2 = 1;  // what a maximum is multiplied by
  warp_results<K> results;
  int count;
  struct fours {
    const unsigned char *o, *maximum, *weight;
    int stride;
    __device__ __forceinline__ float maximum_of(int i) const { return load_shared(reinterpret_cast<const float*>(maximum + i * stride)); }
    __device__ __forceinline__ float weight_of(int i) const { return load_shared(reinterpret_cast<const float*>(weight + i * stride)); }
    /// Of a result that saw nothing they may never have been written.
    __device__ __forceinline__ bytes16 sums_of(int i, float maximum) const {
      return maximum == minus_infinity() ? bytes16{} : load_shared(reinterpret_cast<const bytes16*>(o + i * stride));
    }
  };
  __device__ __forceinline__ fours of(const column&, int at, int channel) const {
    const warp_result<K>& r = results[0];
    return {byte_pointer(r.o + at * warp_result<K>::kStride + channel), byte_pointer(r.maximum + at), byte_pointer(r.weight + at), results.stride};
  }
};

/// The same of the parts of a sequence that CTAs have left in global memory, whose weights are 1.
template <class K, class P>
struct parts_of_ctas {
  static constexpr float kToLog2 = kLog2e;
  const P& p;
  int first, count;
  struct fours {
    const float *o, *lse;
    int64_t stride;  // in columns
    __device__ __forceinline__ float maximum_of(int i) const { return load_global_coherent(lse + i * stride); }
    __device__ __forceinline__ float weight_of(int) const { return 1; }
    __device__ __forceinline__ bytes16 sums_of(int i, float) const { return load_global_coherent(reinterpret_cast<const bytes16*>(o + i * stride * K::kHeadDim)); }
  };
  __device__ __forceinline__ fours of(const column& c, int, int channel) const {
    const int64_t stride = int64_t(p.rows) * p.q_heads, place = first * stride + c.row * p.q_heads + c.head;
    return {p.partial_o + place * K::kHeadDim + channel, p.partial_lse + place, stride};
  }
};

/// How merge_results shares its work: a thread has four channels of a column, of every kGroups-th part.
template <class K>
struct merge_groups {
  static constexpr int kFours = K::kHeadDim / 4, kMost = K::kWarps * 32 / (K::kColumns * kFours);
  static constexpr int kGroups = kMost >= 8 ? 8 : kMost >= 4 ? 4 : kMost >= 2 ? 2 : 1, kLanes = 32 / kGroups;  // the groups of a warp have the same kLanes fours
};

/// Merges `parts`, in a fixed order, and writes output and log-sum-exp, or this CTA's part of them. kAtOnce parts are under way together in each thread.
/// `sinks`: learned sink logits of contracts that have them join here, as one more key whose value is 0. All threads.
template <int kAtOnce, class K, class P, class Column, class Parts>
__device__ __forceinline__ void merge_results(const P& p, const Column& column_at, const Parts& parts, bool whole, bool sinks) {
  constexpr int kFours = merge_groups<K>::kFours, kGroups = merge_groups<K>::kGroups, kLanes = merge_groups<K>::kLanes;
  const int group = lane_index() / kLanes;
#pragma unroll 1
  for (int first = warp_index() * kLanes; first < K::kColumns * kFours; first += K::kWarps * kLanes) {
    const int flat = first + lane_index() % kLanes, at = flat / kFours, channel = flat % kFours * 4;
    const column c = column_at(at);
    float top = minus_infinity(), total = 0, sum[4] = {};  // log2 units
    if constexpr (K::kSink)
      if (sinks && c.valid && group == 0) top = load_global(p.sink_logits + c.head) * kLog2e, total = top == minus_infinity() ? 0.0f : 1.0f;
    // To what a maximum of `with` leads.
    const auto lower = [&](float with) {
      const float before = top;
      top = fmaxf(top, with);
      const float zero = top == minus_infinity() ? 0.0f : top;  // not -inf - -inf
      const float shrink = exp2_fast(before - zero);
      total *= shrink;
#pragma unroll
      for (int j = 0; j < 4; ++j) sum[j] *= shrink;
      return zero;
    };
    const auto fours = parts.of(c, at, channel);
#pragma unroll 1
    for (int base = group; base < (c.valid ? parts.count : 0); base += kAtOnce * kGroups) {
      // Instead of those behind the last part it is loaded again: a branch would wait for what is loaded in it.
      float maximum[kAtOnce], weight[kAtOnce];
      bytes16 o[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const int part = min_int(base + i * kGroups, parts.count - 1);
        maximum[i] = fours.maximum_of(part), weight[i] = fours.weight_of(part);
        o[i] = fours.sums_of(part, maximum[i]);
      }
      float most = minus_infinity();
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        maximum[i] = base + i * kGroups < parts.count ? maximum[i] * Parts::kToLog2 : minus_infinity();
        most = fmaxf(most, maximum[i]);
      }
      const float zero = lower(most);
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const float factor = exp2_fast(maximum[i] - zero);
        total += weight[i] * factor;
#pragma unroll
        for (int j = 0; j < 4; ++j) sum[j] += factor * float_of_bits(o[i].w[j]);
      }
    }
#pragma unroll
    for (int mask = kLanes; mask < 32; mask *= 2) {
      lower(shuffle_xor(top, mask));
      total += shuffle_xor(total, mask);
#pragma unroll
      for (int j = 0; j < 4; ++j) sum[j] += shuffle_xor(sum[j], mask);
    }

    if (!c.valid || group > 0) continue;
    const float scale = total > 0 ? 1 / total : 0.0f, lse = total > 0 ? (top + log2_fast(total)) * kLn2 : minus_infinity();
#pragma unroll
    for (int j = 0; j < 4; ++j) sum[j] = total > 0 ? sum[j] * scale : 0.0f;
    if (whole) {
      bytes8* out = reinterpret_cast<bytes8*>(byte_pointer(p.out) + c.row * p.out_row_stride + c.head * p.out_head_stride + channel * 2);
      store_global(out, bytes8{{round_pair<typename K::Element>(sum[0], sum[1]), round_pair<typename K::Element>(sum[2], sum[3])}});
      if (p.lse && channel == 0) store_global(p.lse + int64_t(c.row) * p.q_heads + c.head, lse);
    } else {
      const int64_t place = (int64_t(block_index().x) * p.rows + c.row) * p.q_heads + c.head;
      store_global(reinterpret_cast<bytes16*>(p.partial_o + place * K::kHeadDim + channel), bytes16{{float_bits(sum[0]), float_bits(sum[1]), float_bits(sum[2]), float_bits(sum[3])}});
      if (channel == 0) store_global(p.partial_lse + place, lse);
    }
  }
}

/// Tells the CTAs of the piece's sequence that this one's part is written. True, in all threads, for the last one, which sees all parts.
template <class P>
__device__ __forceinline__ bool arrive_last(const P& p, const piece& w, uint32_t* flag) {
  block_barrier();  // what this puts before the addition, its release covers: one thread's is enough
  if (thread_index() == 0) {
    uint32_t* counter = p.counters + int64_t(w.b) * grid_size().y + block_index().y;
    const bool last = atomic_add_acquire_release(counter, 1) == uint32_t(w.parts - 1);
    store_shared(flag, uint32_t(last));
    if (last) store_global(counter, 0u);  // for the next launch
  }
  block_barrier();
  return uniform(load_shared(flag)) != 0;
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

/// Merges `count` results in shared memory, and with `counters` the parts of all CTAs if this one is the last, and writes what the piece owes. `flag`: a word of
/// shared memory beside them. All threads, after a block barrier.
template <class K, class P, class Column>
__device__ __forceinline__ void finish_piece(const P& p, const piece& w, const decode_view& s, const Column& column_at, const warp_results<K>& results, int count, uint32_t* flag) {
  if (p.ring_scores && w.from == 0) clear_ring_scores<K>(p, s, column_at);
  // Without counters combine follows, and reads the part even of a sequence that one CTA had to itself.
  const bool whole = p.splits == 1 || (p.counters && w.parts == 1);
  merge_results<4, K>(p, column_at, results_of_warps<K>{results, count}, whole, w.from == 0);
  if (whole || !p.counters || !arrive_last(p, w, flag)) return;
  merge_results<16 / merge_groups<K>::kGroups, K>(p, column_at, parts_of_ctas<K, P>{p, w.first, w.parts}, true, false);  // a part has brought the sinks
}
