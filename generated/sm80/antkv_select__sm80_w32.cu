// Generated file. Do not edit.
//   template  templates/select.cu.hbs
//   kernel    antkv_select__sm80_w32
//   inputs    0535fe834d75610b
//   remake    npx gen --only antkv_select__sm80_w32
#include "antkv.h"
#include "antkv_device.cuh"

namespace antkv_select__sm80_w32_ {  // its own: device linking would merge equal names
using namespace antkv;

struct K {
  static constexpr int kWarps = 32, kSharedBytes = 66960;
};

// What choosing by rank counts with: select and append.

template <class T>
__device__ __forceinline__ T smaller(T a, T b) {
  return a < b ? a : b;
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

// Scores of a list: their order as unsigned numbers, and loads of many at a time.

/// A score as it is counted: -inf for what never wins, NaN too, and +0 for both zeros.
__device__ __forceinline__ float competing(float score) { return fmaxf(score + 0.0f, minus_infinity()); }

/// An unsigned number in the order of the scores, kNever for what never wins.
__device__ __forceinline__ uint32_t key_of(float score) {
  const uint32_t bits = float_bits(competing(score));
  return bits ^ (uint32_t(int(bits) >> 31) | 0x80000000u);
}
constexpr uint32_t kNever = 0x007fffffu;
/// The score of a key beyond kNever.
__device__ __forceinline__ float score_of(uint32_t key) { return float_of_bits(key & 0x80000000u ? key ^ 0x80000000u : ~key); }

/// The scores of one list; those of tokens first ... tokens - 1 compete.
struct score_list {
  const float* scores;
  int first, tokens;

  /// Loads the scores of tokens `from` + i * kApart, NaN beyond the list. All are under way together, and none costs an address or, within the list, a comparison.
  template <int kApart, int kScores>
  __device__ __forceinline__ void load(float (&score)[kScores], int from, bool within) const {
    const float* at = scores + from;
    if (within) {
#pragma unroll
      for (int i = 0; i < kScores; ++i) score[i] = load_global(at + i * kApart);
    } else {
#pragma unroll
      for (int i = 0; i < kScores; ++i) score[i] = i * kApart < tokens - from ? load_global(at + i * kApart) : float_of_bits(0xffffffffu);
    }
  }

  /// Calls use(score[32], token) with the scores of all tokens that compete, and with NaN, all threads; score[i] is that of `token` + i * the block's threads.
  template <class K, class F>
  __device__ __forceinline__ void visit(const F& use) const {
    constexpr int kThreads = K::kWarps * 32;
    for (int base = first; base < tokens; base += 32 * kThreads) {
      float score[32];
      load<kThreads>(score, base + thread_index(), tokens - base >= 32 * kThreads);
      use(score, base + thread_index());
    }
  }
};

// The top budget of the scores: one CTA per (KV head, sequence). Radix selection by 8 bits at a time finds the smallest score
// that is kept; one ordered pass then writes bitmap and ascending indices. Ties go to the lower index.
// Lanes count digits in columns of their own, so that scores never collide, however alike they are. As soon as those that may still be the
// smallest fit into shared memory they are gathered there, and the scores are not read again until the last pass.

template <class K>
struct select_memory {
  static constexpr int kCandidates = 8192;
  uint32_t histogram[257 * 32];  // [digit][lane], zero between passes; of 256, anything
  uint32_t counts[256];          // of a digit, all lanes
  float candidates[kCandidates];
  uint32_t digit, remaining, count, gathered;
  uint32_t warps[2][32];  // scores of each warp above the threshold, and equal to it << 16; in turn, so that one barrier a step is enough
};

/// Counts the first digits. A row of the histogram is a score's highest byte as it lies in memory: half the instructions of a key.
template <class K>
__device__ __forceinline__ void count_first(select_memory<K>& mem, const score_list& list) {
  uint32_t* column = mem.histogram + lane_index();
  list.visit<K>([&](const float (&score)[32], int) {
#pragma unroll
    for (int i = 0; i < 32; ++i) atomic_add_shared(column + permute_bytes(float_bits(competing(score[i])), 0, 0x4443) * 32, 1u);
  });
}

/// The digit of `key` at `shift` if its digits above that are those of `threshold`, whose others are still 0; else more than 255.
/// What never wins is counted too, as its key: if it is reached, fewer scores than wanted can win.
__device__ __forceinline__ uint32_t digit_of(uint32_t key, uint32_t threshold, int shift) { return (key ^ threshold) >> shift; }

template <class K>
__device__ __forceinline__ void count_digit(select_memory<K>& mem, uint32_t key, uint32_t threshold, int shift) {
  // Other keys are counted in a row that no one reads: cheaper than a branch.
  atomic_add_shared(mem.histogram + smaller(digit_of(key, threshold, shift), 256u) * 32 + lane_index(), 1u);
}

/// Gathers the scores of the list that may be the threshold in shared memory, in any order, all threads.
template <class K>
__device__ __forceinline__ void gather(select_memory<K>& mem, const score_list& list, uint32_t threshold, int shift) {
  // They lie between two numbers: two comparisons tell, without a key. The lowest and highest keys are those of numbers; +0 has the key behind 0x7fffffff.
  const uint32_t last = threshold | ((256u << shift) - 1);
  const float low = score_of(threshold <= kNever ? kNever + 1 : threshold), high = score_of(last == 0x7fffffffu ? last - 1 : smaller(last, 0xff800000u));
  list.visit<K>([&](const float (&score)[32], int token) {
    uint32_t found = 0;
#pragma unroll
    for (int i = 0; i < 32; ++i)
      if (score[i] >= low && score[i] <= high) found |= 1u << i;
    const uint32_t mine = uint32_t(count_bits(found)), to_here = sum_to_lane(mine);
    uint32_t before = 0;
    if (lane_index() == 31) before = atomic_add_shared(&mem.gathered, to_here);
    float* at = mem.candidates + shuffle(before, 31) + to_here - mine;
    // Few of 32 are found: read once more, from L1, they cost less than 32 predicated stores.
    for (; found != 0; found &= found - 1) store_shared(at++, load_global(list.scores + token + count_bits((found & (0u - found)) - 1) * (K::kWarps * 32)));
  });
  block_barrier();
}

/// Sums the columns of the histogram, and sets it back to 0. `as_stored`: rows are highest bytes as count_first has them.
template <class K>
__device__ __forceinline__ void sum_columns(select_memory<K>& mem, bool as_stored) {
  for (int digit = thread_index(); digit < 256; digit += K::kWarps * 32) {
    uint32_t sum = 0;
#pragma unroll 8
    for (int i = 0; i < 32; ++i) {
      uint32_t* at = mem.histogram + digit * 32 + (i + digit) % 32;  // lanes in different banks
      sum += load_shared(at);
      store_shared(at, 0u);
    }
    store_shared(mem.counts + (!as_stored ? digit : digit < 128 ? digit + 128 : 255 - digit), sum);
  }
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

/// Which scores are kept: all above `last`, and the first `equals` that equal it, which may be `all` of them.
struct kept_scores {
  float last;
  uint32_t equals;
  bool all;
};

/// Finds the `remaining` largest scores, all threads.
template <class K>
__device__ __forceinline__ kept_scores find_threshold(select_memory<K>& mem, const score_list& list, uint32_t remaining) {
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
    const bool as_stored = !gathered && shift == 24;
    if (gathered) {
      const int candidates = int(load_shared(&mem.gathered));
      for (int i = thread; i < candidates; i += kThreads) count_digit(mem, key_of(load_shared(mem.candidates + i)), threshold, shift);
    } else if (as_stored) {
      count_first(mem, list);
    } else {
      list.visit<K>([&](const float (&score)[32], int) {
#pragma unroll
        for (int i = 0; i < 32; ++i) count_digit(mem, key_of(score[i]), threshold, shift);
      });
    }
    block_barrier();
    sum_columns(mem, as_stored);
    block_barrier();
    if (warp == 0) choose_digit(mem, remaining);
    block_barrier();
    threshold |= load_shared(&mem.digit) << shift;
    remaining = load_shared(&mem.remaining);
    count = int(load_shared(&mem.count));
  }
  if (threshold <= kNever) return {score_of(kNever + 1), ~0u, true};  // fewer scores than wanted: all win but those that never do
  return {score_of(threshold), remaining, remaining == uint32_t(count)};  // nothing wanted: a NaN, of which there is none
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

/// The word of this lane's number; all lanes have all words, which are lost.
__device__ __forceinline__ uint32_t of_lane(uint32_t (&words)[32]) {
#pragma unroll
  for (int bit = 1; bit < 32; bit *= 2)
#pragma unroll
    for (int i = 0; i < 32; i += 2 * bit) words[i] = lane_index() & bit ? words[i + bit] : words[i];
  return words[0];
}

/// Writes bitmap and indices of all tokens in order, all threads; returns how many are kept.
/// A warp takes 32 words of the bitmap at a time: it loads a word's scores together, and each lane ends up with the word of its number.
template <class K>
__device__ __forceinline__ uint32_t store_kept(select_memory<K>& mem, const score_list& list, const kept_list& to, const kept_scores& kept) {
  constexpr int kStep = K::kWarps * 1024;  // tokens
  const int lane = lane_index(), warp = warp_index();
  uint32_t greater = 0, equals = 0;  // before this step
  for (int base = 0, turn = 0; base < list.tokens; base += kStep, turn ^= 1) {
    const int token = base + warp * 1024 + lane * 32;  // of this lane's word
    const int mine_first = base + warp * 1024 + lane;  // of each word, this lane's score
    float score[32];
    list.load<32>(score, mine_first, list.tokens - base - warp * 1024 >= 1024);
    uint32_t votes[32], equal = 0;
#pragma unroll
    for (int word = 0; word < 32; ++word) votes[word] = vote_ballot(score[word] >= kept.last);
    uint32_t above = of_lane(votes);
    if (!kept.all) {
#pragma unroll 1  // seldom
      for (int word = 0; word < 32; ++word) {
        float one[1];
        list.load<32>(one, mine_first + word * 32, false);
        const uint32_t equals_of_word = vote_ballot(one[0] == kept.last);
        if (lane == word) equal = equals_of_word;
      }
      above &= ~equal;
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
    if (equals_before < kept.equals) above |= first_bits(equal, kept.equals - equals_before);
    store_indices(to.indices + greater + (before & 0xffff) + smaller(equals_before, kept.equals), token, above);
    if (token / 32 < to.words) store_global(to.bitmap + token / 32, above);
    const uint32_t all = shuffle(warps, 31);
    greater += all & 0xffff, equals += all >> 16;
  }
  return greater + smaller(equals, kept.equals);
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
  const uint32_t wanted = uint32_t(smaller(budget, int64_t(p.max_anchors - always)));

  const score_list list{p.scores + number * p.score_stride, always, tokens};
  const kept_list to{p.keep_bitmap + number * p.keep_words, p.keep_indices + number * p.max_anchors, p.keep_words};
  const uint32_t kept = store_kept(mem, list, to, find_threshold(mem, list, wanted));

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
