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

/// A row of channels by the lanes of a warp: 4 of a lane at a time, 128 in all, so that a longer row takes several turns, and several of a shorter one fit side by side.
template <class K>
struct channel_lanes {
  static constexpr int kSpan = K::kHeadDim < 128 ? K::kHeadDim : 128, kUsed = kSpan / 4, kAbreast = 32 / kUsed;
  static_assert(K::kHeadDim % kSpan == 0, "whole turns");
};

/// Merges results and writes output and log-sum-exp, or this CTA's part of them. A warp takes a column. What a result without weight holds is not read.
/// `sinks`: learned sink logits of contracts that have them join here, as one more key whose value is 0.
template <class K, class P, class Column>
__device__ __forceinline__ void write_results(const P& p, const Column& column_at, const warp_results<K>& results, int count, bool whole, bool sinks) {
  constexpr int kUsed = channel_lanes<K>::kUsed, kAbreast = channel_lanes<K>::kAbreast;
  const int lane = lane_index(), first_channel = lane % kUsed * 4;
#pragma unroll 1
  for (int flat = warp_index(); flat < K::kColumns; flat += K::kWarps) {
    // Factors first, a lane's of one result: there are at most 32.
    float top = lane < count ? load_shared(results[lane].maximum + flat) : minus_infinity();
    float factor = top, total = lane < count ? load_shared(results[lane].weight + flat) : 0.0f;
#pragma unroll
    for (int mask = 1; mask < 32; mask *= 2) top = fmaxf(top, shuffle_xor(top, mask));
    float sink = minus_infinity();  // log2 units
    if constexpr (K::kSink) {
      const auto c = column_at(flat);
      if (sinks && c.valid) sink = load_global(p.sink_logits + c.head) * kLog2e;
      top = fmaxf(top, sink);
    }
    factor = factor == minus_infinity() ? 0.0f : exp2_fast(factor - top);
    total *= factor;
#pragma unroll
    for (int mask = 1; mask < 32; mask *= 2) total += shuffle_xor(total, mask);
    if constexpr (K::kSink) total += sink == minus_infinity() ? 0.0f : exp2_fast(sink - top);
    factor = total > 0 ? factor / total : 0.0f;

#pragma unroll
    for (int first = 0; first < K::kHeadDim; first += channel_lanes<K>::kSpan) {
      const int channel = first + first_channel;
      float sum[4] = {};
#pragma unroll 4
      for (int i = 0; i < count; i += kAbreast) {
        const int mine = kAbreast == 1 ? i : i + lane / kUsed;
        const float times = shuffle(factor, mine);
        if (times > 0) {
          const bytes16 o = load_shared(reinterpret_cast<const bytes16*>(results[mine].o + flat * warp_result<K>::kStride + channel));
#pragma unroll
          for (int j = 0; j < 4; ++j) sum[j] += times * float_of_bits(o.w[j]);
        }
      }
      if constexpr (kAbreast == 2) {
#pragma unroll
        for (int j = 0; j < 4; ++j) sum[j] += shuffle_xor(sum[j], 16);
      }

      const auto c = column_at(flat);
      if (!c.valid || lane >= kUsed) continue;
      const float lse = total > 0 ? (top + log2_fast(total)) * kLn2 : minus_infinity();
      if (whole) {
        bytes8* out = reinterpret_cast<bytes8*>(byte_pointer(p.out) + c.row * p.out_row_stride + c.head * p.out_head_stride + channel * 2);
        store_global(out, bytes8{{round_pair<typename K::Element>(sum[0], sum[1]), round_pair<typename K::Element>(sum[2], sum[3])}});
        if (p.lse && lane == 0 && first == 0) store_global(p.lse + int64_t(c.row) * p.q_heads + c.head, lse);
      } else {
        const int64_t at = (int64_t(block_index().x) * p.rows + c.row) * p.q_heads + c.head;
        store_global(reinterpret_cast<bytes16*>(p.partial_o + at * K::kHeadDim + channel), bytes16{{float_bits(sum[0]), float_bits(sum[1]), float_bits(sum[2]), float_bits(sum[3])}});
        if (lane == 0 && first == 0) store_global(p.partial_lse + at, lse);
      }
    }
  }
}

/// Tells the CTAs of the piece's sequence that this one's part is written. True, in all threads, for the last one, which sees all parts.
template <class P>
__device__ __forceinline__ bool arrive_last(const P& p, const piece& w, uint32_t* flag) {
  block_barrier();  // what this puts before the fence, the fence puts before the addition: one thread's is enough
  if (thread_index() == 0) {
    grid_fence();
    uint32_t* counter = p.counters + int64_t(w.b) * grid_size().y + block_index().y;
    const bool last = atomic_add_global(counter, 1) == uint32_t(w.parts - 1);
    if (last) store_global(counter, 0u);  // for the next launch
    grid_fence();
    store_shared(flag, uint32_t(last));
  }
  block_barrier();
  return load_shared(flag) != 0;
}

/// Gathers the parts of a sequence into at most `capacity` results, one per warp; returns how many. A result takes every so-many-th part, in order.
template <class K, class P, class Column>
__device__ __forceinline__ int gather_parts(const P& p, const piece& w, const Column& column_at, const warp_results<K>& results, int capacity) {
  constexpr int kUsed = channel_lanes<K>::kUsed;
  const int used = w.parts < capacity ? w.parts : capacity, lane = lane_index(), warp = warp_index(), first_channel = lane % kUsed * 4;
  if (warp >= used) return used;
  warp_result<K>& r = results[warp];
  const auto mine = column_at(lane % K::kColumns);
  const int place = mine.valid ? mine.row * p.q_heads + mine.head : -1;  // of the lane's column in a part
#pragma unroll
  for (int first = 0; first < K::kHeadDim; first += channel_lanes<K>::kSpan) {
    const int channel = first + first_channel;
#pragma unroll 1
    for (int base = 0; base < K::kColumns; base += 4) {
      int at[4];
      float maximum[4], weight[4] = {}, sum[4][4] = {};
#pragma unroll
      for (int c = 0; c < 4; ++c) maximum[c] = minus_infinity(), at[c] = shuffle(place, base + c);
#pragma unroll 1
      for (int part = warp; part < w.parts; part += used) {
        const int64_t from = int64_t(w.first + part) * p.rows * p.q_heads;
        float lse[4];
        bytes16 o[4];
#pragma unroll
        for (int c = 0; c < 4; ++c) {  // all of them under way together
          lse[c] = minus_infinity(), o[c] = {};
          if (at[c] >= 0) {
            lse[c] = load_global_coherent(p.partial_lse + from + at[c]);
            o[c] = load_global_coherent(reinterpret_cast<const bytes16*>(p.partial_o + (from + at[c]) * K::kHeadDim + channel));
          }
        }
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          const float top = fmaxf(maximum[c], lse[c] * kLog2e), zero = top == minus_infinity() ? 0.0f : top;  // not -inf - -inf
          const float shrink = exp2_fast(maximum[c] - zero), factor = exp2_fast(lse[c] * kLog2e - zero);
          maximum[c] = top;
          weight[c] = weight[c] * shrink + factor;
#pragma unroll
          for (int j = 0; j < 4; ++j) sum[c][j] = sum[c][j] * shrink + factor * float_of_bits(o[c].w[j]);
        }
      }
      if (lane >= kUsed) continue;
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        store_shared(reinterpret_cast<bytes16*>(r.o + (base + c) * warp_result<K>::kStride + channel),
                     bytes16{{float_bits(sum[c][0]), float_bits(sum[c][1]), float_bits(sum[c][2]), float_bits(sum[c][3])}});
        if (lane == 0) {
          store_shared(r.maximum + base + c, maximum[c]);
          store_shared(r.weight + base + c, weight[c]);
        }
      }
    }
  }
  return used;
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
__device__ __forceinline__ void finish_piece(const P& p, const piece& w, const decode_view& s, const Column& column_at, const warp_results<K>& results, int count, uint32_t* flag) {
  if (p.ring_scores && w.from == 0) clear_ring_scores<K>(p, s, column_at);
  // Without counters combine follows, and reads the part even of a sequence that one CTA had to itself.
  bool whole = p.splits == 1 || (p.counters && w.parts == 1);
  bool sinks = w.from == 0;
  for (int have = count;;) {
    write_results<K>(p, column_at, results, have, whole, sinks);
    if (whole || !p.counters || !arrive_last(p, w, flag)) break;
    have = gather_parts<K>(p, w, column_at, results, count);
    whole = true, sinks = false;  // a part has brought them
    block_barrier();
  }
}
