// Which part of which sequence a CTA of decode works on. grid (splits, kv_heads * groups of query columns, spread ? 1 : batch).
// Static: a sequence is cut by its own length alone, so that what else is in the batch never changes its bits. Spread: the sequences
// lie end to end on one line of work, cut into equal shares, so that ragged batches fill the device.

/// A CTA's share [from / of, to / of) of sequence `b`. The CTAs first ... first + parts - 1 (x of the block) hold its shares, in this order.
struct piece {
  int b, from, to, of, parts, first;
};

/// The share of `n` things that lie along the sequence: begin ... end - 1. All shares together are all things, each once: a boundary is the same
/// for the CTAs on its two sides, and boundaries ascend. Floats, because 64-bit divisions are slow; being off by a thing does no harm.
__device__ __forceinline__ void cut(const piece& w, int n, int& begin, int& end) {
  const float things = float(n) / float(w.of);
  const auto boundary = [&](int at) {
    const int near = int(things * float(at));
    return at == w.of || near > n ? n : near;
  };
  begin = boundary(w.from);
  end = boundary(w.to);
}

// What a sequence costs, in one unit per algorithm: it decides where a line of work is cut, never what is computed. kPiece is the price of a piece, its start and its
// merge. Of it kSide units without tokens lie on the line before the sequence's tokens, and as many behind them: a CTA whose share begins or ends among them leaves the
// sequence to its neighbour, which has a piece of it anyhow. So no sequence is begun for a few tokens; a CTA pays for all its pieces but one.
// Look-up: 32 coded tokens; 16 exact ones take the slow path, 370 clocks. Where keys are scored by a table of sums a piece makes its own: start and merge take about
// 15,500 clocks of an SM, 32 tokens of a head 70 and 2 per look-up (H200, harness/bench/NOTES.md). A line cut without that leaves the CTAs with many short sequences behind.
template <class K>
struct lookup_cost {
  static constexpr int kPiece = K::kKeySum ? 15500 / (70 + 2 * K::kHeadDim / K::Key::kChannels) : 32, kSide = (kPiece - 1) / 2, kCoded32 = 1, kExact16 = 4;
};
struct rows_cost {  // units of 16 tokens, all alike; the start and the merge
  static constexpr int kPiece = 8, kSide = 0, kCoded32 = 2, kExact16 = 1;
};

/// First query row of sequence `b`, and how many it has.
struct query_rows {
  int first, count;
};
template <class P>
__device__ __forceinline__ query_rows query_rows_of(const P& p, int b) {
  if (!p.cu_q) return {b, 1};
  const int first = load_global(p.cu_q + b);
  return {first, load_global(p.cu_q + b + 1) - first};
}

/// Whether this CTA's group of query columns holds one of sequence `b`: others may have more rows.
template <class K, class P>
__device__ __forceinline__ bool has_columns(const P& p, int b) {
  const int count = query_rows_of(p, b).count;
  if (block_index().y < p.kv_heads) return count > 0;  // the first group: no division
  return block_index().y / p.kv_heads * K::kColumns < count * (p.q_heads / p.kv_heads);
}

/// Cost of sequence `b` for this CTA's group of query columns.
template <class K, class Cost, class P>
__device__ __forceinline__ int cost_of(const P& p, int b) {
  if (!has_columns<K>(p, b)) return 0;
  const int coded = load_global(p.coded_len + b), exact = load_global(p.kv_len + b) - coded;
  return Cost::kPiece + (p.segments & 1 ? (coded + 31) / 32 * Cost::kCoded32 : 0) + (p.segments & 4 ? (exact + 15) / 16 * Cost::kExact16 : 0);
}

/// This CTA's share of the line, and where it begins. Of the CTAs, the first `longer` get `share` + 1 units of the line, the others `share`.
/// Costs add up below 2^31, so a batch's coded tokens below 2^36 / Cost::kCoded32.
struct line_share {
  int begin, end, share, longer;
  int b, at;  // the first sequence that has tokens behind `begin`, and where on the line it begins
};

/// What a CTA keeps of its work in shared memory: in registers it would take room from the loop over tokens.
struct work_memory {
  line_share line;
  piece now;
};

template <class T>
__device__ __forceinline__ T load_words(const T* from) {
  uint32_t words[sizeof(T) / 4];
#pragma unroll
  for (int i = 0; i < int(sizeof(T) / 4); ++i) words[i] = load_shared(reinterpret_cast<const uint32_t*>(from) + i);
  T value;
  memcpy(&value, words, sizeof(T));
  return value;
}
template <class T>
__device__ __forceinline__ void store_words(T* to, const T& value) {
  uint32_t words[sizeof(T) / 4];
  memcpy(words, &value, sizeof(T));
#pragma unroll
  for (int i = 0; i < int(sizeof(T) / 4); ++i) store_shared(reinterpret_cast<uint32_t*>(to) + i, words[i]);
}

/// One warp works it out.
template <class K, class Cost, class P>
__device__ __forceinline__ line_share share_of_line(const P& p) {
  const int x = block_index().x, lane = lane_index();
  line_share s = {};
  int total = 0;
#pragma unroll 1
  for (int b = lane; b < p.batch; b += 32) total += cost_of<K, Cost>(p, b);
#pragma unroll
  for (int mask = 1; mask < 32; mask *= 2) total += shuffle_xor(total, mask);
  // No more CTAs than there is work, so that every CTA from a sequence's first to its last holds a share of it.
  const int ctas = p.splits < total ? p.splits : total;
  if (x >= ctas) return s;
  s.share = int(uint32_t(total) / uint32_t(ctas));
  s.longer = total - s.share * ctas;
  s.begin = x * s.share + (x < s.longer ? x : s.longer);
  s.end = s.begin + s.share + (x < s.longer ? 1 : 0);
#pragma unroll 1
  for (int base = 0;; base += 32) {
    const int cost = base + lane < p.batch ? cost_of<K, Cost>(p, base + lane) : 0;
    int after = cost;  // costs of the 32 sequences up to this lane's, added up
#pragma unroll
    for (int delta = 1; delta < 32; delta *= 2) {
      const int before = shuffle_up(after, delta);
      if (lane >= delta) after += before;
    }
    const uint32_t beyond = vote_ballot(s.at + after - Cost::kSide > s.begin);
    if (beyond) {
      const int holder = count_bits((beyond & (0u - beyond)) - 1);
      s.b = base + holder;
      s.at += shuffle(after - cost, holder);
      return s;
    }
    s.at += shuffle(after, 31);
    if (Cost::kSide > 0 && base + 32 >= p.batch) return s;  // the share lies behind the last tokens
  }
}

/// What combine reads for the CTAs that hold no share of a sequence; the pieces overwrite it for those that do.
template <class K, class P>
__device__ __forceinline__ void clear_partials(const P& p) {
  const index3 block = block_index();
  const int ratio = p.q_heads / p.kv_heads, kv_head = block.y % p.kv_heads, group = block.y / p.kv_heads;
  for (int i = thread_index(); i < p.batch * K::kColumns; i += K::kWarps * 32) {
    const query_rows rows = query_rows_of(p, i / K::kColumns);
    const int column = group * K::kColumns + i % K::kColumns;
    if (column < rows.count * ratio)
      store_global(p.partial_lse + (int64_t(block.x) * p.rows + rows.first + column / ratio) * p.q_heads + kv_head * ratio + column % ratio, minus_infinity());
  }
  block_barrier();
}

/// The next piece of the share; parts is 0 after the last.
template <class K, class Cost, class P>
__device__ __forceinline__ piece next_piece(const P& p, line_share& s) {
  if (s.at + Cost::kSide >= s.end) return {};
  int cost = cost_of<K, Cost>(p, s.b);
  while (cost == 0) cost = cost_of<K, Cost>(p, ++s.b);
  const auto owner = [&](int i) {  // the CTA that unit i of the line belongs to
    const int beyond = i - s.longer * (s.share + 1);
    return beyond < 0 ? int(uint32_t(i) / uint32_t(s.share + 1)) : s.longer + int(uint32_t(beyond) / uint32_t(s.share));
  };
  piece w;
  w.b = s.b++;
  const int tokens = s.at + Cost::kSide;
  w.from = s.begin > tokens ? s.begin - tokens : 0;
  w.of = cost - 2 * Cost::kSide;
  w.to = s.end - tokens < w.of ? s.end - tokens : w.of;
  w.first = owner(tokens);
  w.parts = owner(tokens + w.of - 1) - w.first + 1;
  s.at += cost;
  return w;
}

/// The piece under way: in a static launch from the block's place alone, else what advance() left in shared memory.
template <class P>
__device__ __forceinline__ piece piece_now(const P& p, const work_memory* memory) {
  const index3 block = block_index();
  if (p.spread) {
    piece now = load_words(&memory->now);
    now.b = uniform(now.b), now.parts = uniform(now.parts);  // what ends the loop over pieces
    return now;
  }
  return {block.z, block.x, block.x + 1, p.splits, p.splits, 0};
}

/// Before the first piece, all threads: where this CTA's share of the line lies, in a spread launch. False in all threads if the CTA has nothing to do.
template <class K, class Cost, class P>
__device__ __forceinline__ bool begin_pieces(const P& p, work_memory* memory) {
  if (!p.spread) return uniform(int(has_columns<K>(p, block_index().z)));
  if (!p.counters && p.splits > 1) clear_partials<K>(p);
  if (warp_index() == 0) {
    const line_share s = share_of_line<K, Cost>(p);
    if (thread_index() == 0) store_words(&memory->line, s);
  }
  return true;
}

/// Works out the next piece of a spread launch, one thread; all others see it after a block barrier.
template <class K, class Cost, class P>
__device__ __forceinline__ void advance(const P& p, work_memory* memory) {
  line_share s = load_words(&memory->line);
  store_words(&memory->now, next_piece<K, Cost>(p, s));
  store_words(&memory->line, s);
}

/// Calls body(const piece&) for each piece of this CTA, in order, all threads together; `memory` is shared. All threads of the block must call it.
/// A block barrier stands between two bodies.
template <class K, class Cost, class P, class Body>
__device__ __forceinline__ void for_each_piece(const P& p, work_memory* memory, Body&& body) {
  if (!begin_pieces<K, Cost>(p, memory)) return;
  // One call of `body`: it is large, and the compiler would inline a second one.
#pragma unroll 1
  while (true) {
    if (p.spread) {
      if (thread_index() == 0) advance<K, Cost>(p, memory);
      block_barrier();
    }
    const piece w = piece_now(p, memory);
    if (w.parts == 0) return;
    body(w);
    if (!p.spread) return;
    block_barrier();  // shared memory is the next piece's
  }
}
