// Generated file. Do not edit.
//   template  templates/select.cu.hbs
//   kernel    antkv_select__sm80_w32
//   inputs    c2a22af53b0b0f46
//   remake    npx gen --only antkv_select__sm80_w32
#include "antkv.h"
#include "antkv_device.cuh"

namespace antkv_select__sm80_w32_ {  // its own: device linking would merge equal names
using namespace antkv;

struct K {
  static constexpr int kWarps = 32, kSharedBytes = 66960;
};

// Scores as numbers, and small sums.

/// An unsigned number in the order of the scores; 0 for what never wins. -0 and +0 are equal.
__device__ __forceinline__ uint32_t score_key(float score) {
  const uint32_t bits = float_bits(score + 0.0f);
  return score > minus_infinity() ? bits ^ (uint32_t(int(bits) >> 31) | 0x80000000u) : 0;  // NaN too
}

template <class T>
__device__ __forceinline__ T smaller(T a, T b) {
  return a < b ? a : b;
}

/// Sums the first `index` entries of `counts`.
__device__ __forceinline__ uint32_t sum_before(const uint32_t* counts, int index) {
  uint32_t sum = 0;
  for (int i = 0; i < index; ++i) sum += load_shared(counts + i);
  return sum;
}

// The top budget of the scores: one CTA per (KV head, sequence). Radix selection by 8 bits at a time finds the smallest score
// that is kept; one ordered pass then writes bitmap and ascending indices. Ties go to the lower index.
// Lanes count digits in columns of their own, so that scores never collide, however alike they are. As soon as those that may still be the
// smallest fit into shared memory they are gathered there, and the scores are not read again until the last pass.

template <class K>
struct select_memory {
  static constexpr int kCandidates = 8192;
  uint32_t histogram[257 * 32];  // [digit][lane], zero between passes; of 256, anything
  uint32_t counts[256];          // of a digit, all lanes
  uint32_t candidates[kCandidates];
  uint32_t digit, remaining, count, gathered;
  uint32_t warps[2][32];  // scores of each warp above the threshold, and equal to it << 16; in turn, so that one barrier a step is enough
};

/// The score of a key other than 0.
__device__ __forceinline__ float score_of(uint32_t key) { return float_of_bits(key & 0x80000000u ? key ^ 0x80000000u : ~key); }

/// The scores of one list; those of tokens first ... tokens - 1 compete.
struct score_list {
  const float* scores;
  int first, tokens;

  /// The score of token `from` + `behind`, NaN beyond the list; `behind` is a constant, so that it costs no address.
  __device__ __forceinline__ float load(int from, int behind) const {
    return behind < tokens - from ? load_global(scores + from + behind) : float_of_bits(0xffffffffu);
  }

  /// Calls use(score) with the scores of all tokens that compete, and with NaN, all threads; several loads are under way at a time.
  template <class K, class F>
  __device__ __forceinline__ void visit(const F& use) const {
    constexpr int kThreads = K::kWarps * 32, kTogether = 16;
    for (int from = first + thread_index(); from - thread_index() < tokens; from += kTogether * kThreads) {
      float score[kTogether];
#pragma unroll
      for (int i = 0; i < kTogether; ++i) score[i] = load(from, i * kThreads);
#pragma unroll
      for (int i = 0; i < kTogether; ++i) use(score[i]);
    }
  }
};

/// The digit of `key` at `shift` if its digits above that are those of `threshold`, whose others are still 0; else more than 255.
/// What never wins is counted too, as the lowest key: if it is reached, fewer scores than wanted can win.
__device__ __forceinline__ uint32_t digit_of(uint32_t key, uint32_t threshold, int shift) { return (key ^ threshold) >> shift; }

template <class K>
__device__ __forceinline__ void count_digit(select_memory<K>& mem, uint32_t key, uint32_t threshold, int shift) {
  // Other keys are counted in a row that no one reads: cheaper than a branch.
  atomic_add_shared(mem.histogram + smaller(digit_of(key, threshold, shift), 256u) * 32 + lane_index(), 1u);
}

/// Gathers the keys of the list that may be the threshold in shared memory, in any order, all threads.
template <class K>
__device__ __forceinline__ void gather(select_memory<K>& mem, const score_list& list, uint32_t threshold, int shift) {
  // Their scores lie between two numbers: two comparisons tell, without a key. The lowest and highest keys are those of numbers; +0 has the key behind 0x7fffffff.
  const uint32_t last = threshold | ((256u << shift) - 1);
  const float low = score_of(threshold < 0x00800000u ? 0x00800000u : threshold), high = score_of(last == 0x7fffffffu ? last - 1 : smaller(last, 0xff800000u));
  list.visit<K>([&](float score) {
    if (score >= low && score <= high) store_shared(mem.candidates + atomic_add_shared(&mem.gathered, 1u), score_key(score));
  });
  block_barrier();
}

/// Sums the columns of the histogram, and sets it back to 0.
template <class K>
__device__ __forceinline__ void sum_columns(select_memory<K>& mem) {
  for (int digit = thread_index(); digit < 256; digit += K::kWarps * 32) {
    uint32_t sum = 0;
#pragma unroll 8
    for (int i = 0; i < 32; ++i) {
      uint32_t* at = mem.histogram + digit * 32 + (i + digit) % 32;  // lanes in different banks
      sum += load_shared(at);
      store_shared(at, 0u);
    }
    store_shared(mem.counts + digit, sum);
  }
}

/// The sum of the values of this lane and the lanes before it.
__device__ __forceinline__ uint32_t sum_to_lane(uint32_t value) {
#pragma unroll
  for (int by = 1; by < 32; by *= 2) {
    const uint32_t before = shuffle_up(value, by);
    if (lane_index() >= by) value += before;
  }
  return value;
}

/// Finds the highest digit at which, counted from above, `remaining` scores are reached (0 if never), what remains to be found in it, and its count; one warp.
template <class K>
__device__ __forceinline__ void choose_digit(select_memory<K>& mem, uint32_t remaining) {
  const int lane = lane_index(), top = 255 - 8 * lane;  // eight digits to a lane, from above
  uint32_t counts[8], sum = 0;
#pragma unroll
  for (int i = 0; i < 8; ++i) sum += counts[i] = load_shared(mem.counts + top - i);
  const uint32_t to_here = sum_to_lane(sum);
  const uint32_t reached = vote_ballot(to_here >= remaining || lane == 31);
  if (lane != count_bits((reached & (0u - reached)) - 1)) return;  // the first that reached it
  uint32_t found = to_here - sum;
  int i = 0;
#pragma unroll
  for (int j = 0; j < 7; ++j)
    if (i == j && found + counts[j] < remaining) found += counts[j], i = j + 1;
  store_shared(&mem.digit, uint32_t(top - i));
  store_shared(&mem.remaining, remaining - found);
  store_shared(&mem.count, load_shared(mem.counts + top - i));
}

/// The last score that is kept, all threads; `remaining` scores are wanted, and on return that many of those that equal it.
template <class K>
__device__ __forceinline__ float find_threshold(select_memory<K>& mem, const score_list& list, uint32_t& remaining) {
  constexpr int kThreads = K::kWarps * 32;
  const int thread = thread_index(), warp = warp_index();
  for (int i = thread; i < 257 * 32; i += kThreads) store_shared(mem.histogram + i, 0u);
  if (thread == 0) store_shared(&mem.gathered, 0u);
  block_barrier();
  uint32_t threshold = 0;
  int count = list.tokens - list.first;
  bool gathered = false;
  for (int shift = 24; shift >= 0; shift -= 8) {
    if (!gathered && count <= select_memory<K>::kCandidates) gather(mem, list, threshold, shift), gathered = true;
    if (gathered) {
      const int candidates = int(load_shared(&mem.gathered));
      for (int i = thread; i < candidates; i += kThreads) count_digit(mem, load_shared(mem.candidates + i), threshold, shift);
    } else {
      list.visit<K>([&](float score) { count_digit(mem, score_key(score), threshold, shift); });
    }
    block_barrier();
    sum_columns(mem);
    block_barrier();
    if (warp == 0) choose_digit(mem, remaining);
    block_barrier();
    threshold |= load_shared(&mem.digit) << shift;
    remaining = load_shared(&mem.remaining);
    count = int(load_shared(&mem.count));
  }
  if (threshold == 0) remaining = 0;  // fewer scores than wanted: all win but those that never do
  return threshold == 0 ? minus_infinity() : score_of(threshold);  // nothing wanted: a NaN, which nothing exceeds
}

/// Where the kept tokens of a list go.
struct kept_list {
  uint32_t* bitmap;
  int32_t* indices;
  int words;
};

/// The first `count` set bits of `bits`.
__device__ __forceinline__ uint32_t first_bits(uint32_t bits, uint32_t count) {
  uint32_t first = 0;
  for (; count > 0 && bits != 0; --count) first |= bits & (0u - bits), bits &= bits - 1;
  return first;
}

/// Writes the indices of 32 tokens from `token` on whose bits in `kept` are set.
__device__ __forceinline__ void store_indices(int32_t* to, int token, uint32_t kept) {
  for (; kept != 0; kept &= kept - 1) store_global(to++, token + count_bits((kept & (0u - kept)) - 1));
}

/// Writes bitmap and indices of all tokens in order, all threads; returns how many are kept: all above the threshold, and the first `remaining` that equal it.
/// A warp takes 32 words of the bitmap at a time: it loads a word's scores together, and each lane ends up with the word of its number.
template <class K>
__device__ __forceinline__ uint32_t store_kept(select_memory<K>& mem, const score_list& list, const kept_list& to, float threshold, uint32_t remaining) {
  constexpr int kStep = K::kWarps * 1024;  // tokens
  const int lane = lane_index(), warp = warp_index();
  uint32_t greater = 0, equals = 0;  // before this step
  for (int base = 0, turn = 0; base < list.tokens; base += kStep, turn ^= 1) {
    const int token = base + warp * 1024 + lane * 32;  // of this lane's word
    uint32_t above = 0, equal = 0;
#pragma unroll 16
    for (int word = 0; word < 32; ++word) {
      const float score = list.load(base + warp * 1024 + lane, word * 32);
      const uint32_t votes_above = vote_ballot(score > threshold), votes_equal = vote_ballot(score == threshold);
      if (lane == word) above = votes_above, equal = votes_equal;
    }
    if (token < list.first) {  // kept whatever their scores
      const uint32_t firsts = list.first - token < 32 ? (1u << (list.first - token)) - 1 : ~0u;
      above |= firsts, equal &= ~firsts;
    }
    const uint32_t mine = uint32_t(count_bits(above)) | uint32_t(count_bits(equal)) << 16, to_here = sum_to_lane(mine);
    if (lane == 31) store_shared(&mem.warps[turn][warp], to_here);
    block_barrier();
    const uint32_t warps = sum_to_lane(lane < K::kWarps ? load_shared(&mem.warps[turn][lane]) : 0u);
    const uint32_t earlier = shuffle(warps, warp ? warp - 1 : 0);
    const uint32_t before = to_here - mine + (warp ? earlier : 0u);  // at most 32 x 1024 of each: no carry
    const uint32_t equals_before = equals + (before >> 16);
    if (equals_before < remaining) above |= first_bits(equal, remaining - equals_before);
    store_indices(to.indices + greater + (before & 0xffff) + smaller(equals_before, remaining), token, above);
    if (token / 32 < to.words) store_global(to.bitmap + token / 32, above);
    const uint32_t all = shuffle(warps, 31);
    greater += all & 0xffff, equals += all >> 16;
  }
  return greater + smaller(equals, remaining);
}

template <class K, class P>
__device__ __forceinline__ void select(const P& p) {
  static_assert(sizeof(select_memory<K>) <= K::kSharedBytes, "generator/shared.ts is wrong");
  constexpr int kThreads = K::kWarps * 32;
  auto& mem = *reinterpret_cast<select_memory<K>*>(shared_memory());
  const int64_t number = int64_t(block_index().y) * p.kv_heads + block_index().x;
  const int tokens = load_global(p.token_count + block_index().y);
  const int always = smaller(smaller(p.first_tokens, tokens), p.max_anchors);
  const int64_t budget = p.budget_tokens >= 0 ? p.budget_tokens : int64_t(tokens) * p.budget_permille / 1000;
  uint32_t remaining = uint32_t(smaller(budget, int64_t(p.max_anchors - always)));

  const score_list list{p.scores + number * p.score_stride, always, tokens};
  const kept_list to{p.keep_bitmap + number * p.keep_words, p.keep_indices + number * p.max_anchors, p.keep_words};
  const float threshold = find_threshold(mem, list, remaining);
  const uint32_t kept = store_kept(mem, list, to, threshold, remaining);

  for (int i = int(kept) + thread_index(); i < p.max_anchors; i += kThreads) store_global(to.indices + i, -1);
  // store_kept wrote whole steps of a word for each thread.
  for (int word = (tokens + kThreads * 32 - 1) / (kThreads * 32) * kThreads + thread_index(); word < p.keep_words; word += kThreads) store_global(to.bitmap + word, 0u);
  if (p.keep_count && thread_index() == 0) store_global(p.keep_count + number, int32_t(kept));
}

// At least one CTA per SM is all that is asked for: without the 1, ptxas may spill to fit more.
extern "C" __global__ void __launch_bounds__(1024, 1)
antkv_select__sm80_w32(const __grid_constant__ antkv_select_params p) {
  select<K>(p);
}

}  // namespace antkv_select__sm80_w32_
