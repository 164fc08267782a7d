// Attention over exact rows, anchors and ring, without shared memory: rows go from global memory straight to the matrix unit's registers.
// Channels are permuted so that a lane's 16 bytes are its fragments: q . k does not care, and the output's place says which channel it is.
// Most warps come here for one unit or none: what runs once costs its instructions' way from memory, so there are few.

/// Unit number `unit` of a sequence's exact rows, anchors first, then the ring. Row n lies in row (start + n) mod `wrap` of k and v; of a ring that
/// holds fewer tokens the first stands for those it lacks, whose memory was perhaps never written.
struct exact_unit {
  const unsigned char *k, *v;
  int64_t stride;
  int start, wrap, rows;

  __device__ __forceinline__ int row(int n) const {
    const int row = start + (n < rows ? n : 0);
    return row < wrap ? row : row - wrap;
  }
  __device__ __forceinline__ int64_t offset(int n) const { return row(n) * stride; }
};
/// `page`: the entry of the sequence's list of anchor pages, where the unit is one of anchors.
template <class K, class P>
__device__ __forceinline__ exact_unit exact_unit_of(const P& p, const decode_view& s, int kv_head, int unit, int page) {
  if (unit < s.anchor_units) {
    const unsigned char* rows = anchor_block(p, page, kv_head);
    return {rows, rows + 32 * K::kHeadDim, 2 * K::kHeadDim, 0, 16, 16};
  }
  const int token = s.coded_len + (unit - s.anchor_units) * 16;
  const int64_t at = s.slot * p.ring_slot_stride + kv_head * p.ring_head_stride;
  return {byte_pointer(p.ring_k) + at, byte_pointer(p.ring_v) + at, p.ring_row_stride, int(uint32_t(token) % uint32_t(p.ring_rows)), p.ring_rows, s.kv_len - token};
}

/// The first unit of this warp and the end of the piece's; the warps take turns, the last first: coded tiles begin with the first.
template <class K>
__device__ __forceinline__ int first_exact(const piece& w, const decode_view& s, int& end) {
  int begin;
  cut(w, s.units - s.coded_units, begin, end);
  return begin + K::kWarps - 1 - warp_index();
}

/// This warp's units of a piece: number n is unit first + n * warps.
struct exact_units {
  int first, count;
  int page;  // lane n: the anchor page of unit base + n
};
/// Loads the pages of up to 32 units from number `base` on.
template <class K>
__device__ __forceinline__ void load_pages(exact_units& units, const decode_view& s, int base) {
  const int unit = units.first + (base + lane_index()) * K::kWarps;
  units.page = base + lane_index() < units.count && unit < s.anchor_units ? load_global(s.anchors + unit) : 0;
}
template <class K, class Context>
__device__ __forceinline__ exact_units exact_units_of(const Context* context) {
  const decode_view s = load_words(&context->s);
  exact_units units;
  int end;
  units.first = first_exact<K>(load_words(&context->w), s, end);
  units.first = uniform(units.first);
  units.count = uniform(end > units.first ? (end - units.first + K::kWarps - 1) / K::kWarps : 0);
  load_pages<K>(units, s, 0);
  return units;
}

/// Asks for the lines of unit number `n`, if there is one.
template <class K, class P>
__device__ __forceinline__ void prefetch_exact(const P& p, const decode_view& s, int kv_head, const exact_units& units, int n) {
  const int page = shuffle(units.page, n % 32);
  if (n >= units.count) return;
  // A lane asks for half a row of K or of V; the anchors' tokens lie behind their rows.
  const exact_unit u = exact_unit_of<K>(p, s, kv_head, units.first + n * K::kWarps, page);
  const int64_t at = u.offset(lane_index() / 2) + lane_index() % 2 * K::kHeadDim;
#pragma unroll
  for (int line = 0; line < K::kHeadDim; line += 128) {
    prefetch_global(u.k + at + line);
    prefetch_global(u.v + at + line);
  }
  if (lane_index() == 0 && units.first + n * K::kWarps < s.anchor_units) prefetch_global(u.k + 64 * K::kHeadDim);
}

/// What a lane reads at once of a value's row: 8 channels, or 4 of head dims that are not made of spans of 64.
template <int kWords>
struct value_piece {
  using type = bytes16;
};
template <>
struct value_piece<2> {
  using type = bytes8;
};

/// Attends to this warp's share of the piece's exact rows and adds them to `result`, which holds what its coded tokens came to.
template <class K, class P, class Context>
__device__ __forceinline__ void attend_exact(const P& p, const Context* context, exact_units& units, warp_result<K>& result) {
  constexpr int kPieces = K::kHeadDim / 32;   // 16-byte pieces of a row that a lane reads of K
  constexpr int kSpan = K::kHeadDim % 64 ? 32 : 64, kSpans = K::kHeadDim / kSpan, kWords = kSpan / 16;  // ... and of V, in words
  using value_words = typename value_piece<kWords>::type;
  constexpr int kStride = warp_result<K>::kStride;
  using T = typename K::Element;
  const int g = lane_index() / 4, t = lane_index() % 4;
  if (units.count == 0) return;
  decode_view s = load_words(&context->s);
  s.anchor_units = uniform(s.anchor_units);
  const int kv_head = load_shared(&context->kv_head);
  prefetch_exact<K>(p, s, kv_head, units, 1);

  // Tokens before `open` a column sees. This lane's column g gives the query, and columns 2t and 2t + 1 are those of its scores.
  column own = load_words(context->columns + g % K::kColumns);
  own.valid = own.valid && g < K::kColumns;
  const unsigned char* query = byte_pointer(p.q) + own.row * p.q_row_stride + own.head * p.q_head_stride + t * 16;
  const int own_open = own.valid && own.position >= s.first_pos ? own.position - s.first_pos + 1 : 0;
  const int open[2] = {shuffle(own_open, 8 * t), shuffle(own_open, 8 * t + 4)};

  // The sums stay in the result between units: registers are for rows on their way, K's and V's together.
  float* const sums = result.o + 2 * t * kStride + g * 2 * kWords;
  float maximum[2], weight[2];
#pragma unroll
  for (int c = 0; c < 2; ++c) {
    const bool mine = 2 * t < K::kColumns;
    maximum[c] = mine ? load_shared(result.maximum + 2 * t + c) : minus_infinity();
    weight[c] = mine && g == 0 ? load_shared(result.weight + 2 * t + c) : 0.0f;
  }
#pragma unroll 1
  for (int n = 0; n < units.count; ++n) {
    if (n > 0 && n % 32 == 0) load_pages<K>(units, s, n);
    const int unit = units.first + n * K::kWarps;
    const exact_unit rows = exact_unit_of<K>(p, s, kv_head, unit, shuffle(units.page, n % 32));
    bytes16 k[2][kPieces];
    value_words v[4][kSpans];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const bytes16* row = reinterpret_cast<const bytes16*>(rows.k + rows.offset(g + 8 * half)) + t;
#pragma unroll
      for (int i = 0; i < kPieces; ++i) k[half][i] = load_global_once(row + i * 4);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const value_words* row = reinterpret_cast<const value_words*>(rows.v + rows.offset(2 * t + i % 2 + i / 2 * 8)) + g;
#pragma unroll
      for (int span = 0; span < kSpans; ++span) v[i][span] = load_global_once(row + span * 8);
    }
    if (n % 32 < 30) prefetch_exact<K>(p, s, kv_head, units, n + 2);
    int token[2];                   // of rows g and g + 8; -1: none
    uint32_t used[2] = {~0u, ~0u};  // bit 4 n: there is row n, or n + 8
    if (unit < s.anchor_units) {
      const int32_t* tokens = reinterpret_cast<const int32_t*>(rows.k + 64 * K::kHeadDim) + g;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        token[half] = load_global(tokens + 8 * half);
        if (!is_anchor(token[half], unit, s.coded_len, s.frozen_pages, s.frozen_len)) token[half] = -1;
      }
      used[0] = vote_ballot(token[0] >= 0), used[1] = vote_ballot(token[1] >= 0);
    } else {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int n = g + 8 * half;
        token[half] = n < rows.rows ? s.coded_len + (unit - s.anchor_units) * 16 + n : -1;
      }
    }

    float score[4] = {};
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      const bytes16 q = load_global(reinterpret_cast<const bytes16*>(query) + i * 4);  // of an idle column another's, which no one looks at
#pragma unroll
      for (int h = 0; h < 4; h += 2) multiply_add<T>(score, {k[0][i].w[h], k[1][i].w[h], k[0][i].w[h + 1], k[1][i].w[h + 1]}, {q.w[h], q.w[h + 1]});
    }

    bool seen[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) seen[i] = uint32_t(token[i / 2]) < uint32_t(open[i % 2]);
    if (p.tree_mask) {  // new rows obey it instead of their position
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const uint32_t tree = shuffle(own.valid ? own.new_rows : 0, 8 * t + 4 * c);
#pragma unroll
        for (int i = c; i < 4; i += 2)
          if (token[i / 2] >= 0 && token[i / 2] >= s.first_new) seen[i] = tree >> (token[i / 2] - s.first_new) & 1;
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) score[i] = seen[i] ? score[i] * p.scale : minus_infinity();
    if (p.ring_scores && unit >= s.anchor_units) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const int place = shuffle(own.valid ? own.row * p.q_heads + own.head : -1, 8 * t + 4 * c);
#pragma unroll
        for (int i = c; i < 4; i += 2)
          if (place >= 0 && token[i / 2] >= 0) store_global(p.ring_scores + int64_t(place) * p.ring_rows + rows.row(g + i / 2 * 8), score[i]);
      }
    }

    float shrink[2];
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      float top = fmaxf(maximum[c], fmaxf(score[c], score[c + 2]) * kLog2e);
#pragma unroll
      for (int mask = 4; mask < 32; mask *= 2) top = fmaxf(top, shuffle_xor(top, mask));
      const float zero = top == minus_infinity() ? 0.0f : top;  // not -inf - -inf
      shrink[c] = exp2_fast(maximum[c] - zero);
      maximum[c] = top;
#pragma unroll
      for (int i = c; i < 4; i += 2) score[i] = exp2_fast(score[i] * kLog2e - zero);
      weight[c] = weight[c] * shrink[c] + (score[c] + score[c + 2]);
    }
    if ((used[0] & used[1]) != ~0u) {  // never written perhaps: 0 * NaN is NaN
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (!(used[i / 2] >> (8 * t + i % 2 * 4) & 1)) {
#pragma unroll
          for (int span = 0; span < kSpans; ++span) v[i][span] = {};
        }
    }
    const uint32_t b[2] = {transpose_matrix(round_pair<T>(score[0], score[1])), transpose_matrix(round_pair<T>(score[2], score[3]))};
#pragma unroll
    for (int span = 0; span < kSpans; ++span) {
      float o[kWords][4] = {};  // tile h: rows g and g + 8 are channels kSpan * span + 2 (kWords g + h) and the next; columns 2t, 2t + 1
#pragma unroll
      for (int h = 0; h < kWords; ++h)
        multiply_add<T>(o[h], {permute_bytes(v[0][span].w[h], v[1][span].w[h], 0x5410), permute_bytes(v[0][span].w[h], v[1][span].w[h], 0x7632),
                           permute_bytes(v[2][span].w[h], v[3][span].w[h], 0x5410), permute_bytes(v[2][span].w[h], v[3][span].w[h], 0x7632)}, b);
      if (2 * t >= K::kColumns) continue;
#pragma unroll
      for (int c = 0; c < 2; ++c)
#pragma unroll
        for (int h = 0; h < kWords; h += 2) {
          bytes16* at = reinterpret_cast<bytes16*>(sums + c * kStride + span * kSpan + h * 2);
          float sum[4] = {o[h][c], o[h][c + 2], o[h + 1][c], o[h + 1][c + 2]};
          const bytes16 before = load_shared(at);
#pragma unroll
          for (int i = 0; i < 4; ++i) sum[i] += float_of_bits(before.w[i]) * shrink[c];
          store_shared(at, bytes16{{float_bits(sum[0]), float_bits(sum[1]), float_bits(sum[2]), float_bits(sum[3])}});
        }
    }
  }

  warp_barrier();  // every lane has read what the first ones write now
#pragma unroll
  for (int c = 0; c < 2; ++c) {
#pragma unroll
    for (int mask = 4; mask < 32; mask *= 2) weight[c] += shuffle_xor(weight[c], mask);
    if (g == 0 && 2 * t < K::kColumns) {
      store_shared(result.maximum + 2 * t + c, maximum[c]);
      store_shared(result.weight + 2 * t + c, weight[c]);
    }
  }
  warp_barrier();
}
