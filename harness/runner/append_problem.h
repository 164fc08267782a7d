// A random step of a cache for op append: what the step before left, and the rows that enter.
#pragma once
#include <memory>

#include "cache.h"

namespace runner {

/// Numbers of the step (README.md, "append").
struct AppendShape {
  CacheShape cache;  ///< `tokens`: committed before the step
  std::vector<int32_t> accepted, coded_len, q_len, unscored;  ///< [batch], or empty
  int window, flush_block, ring_rows, q_heads, policy, budget_permille, budget_tokens, extra_tokens, first_tokens, anchor_spare;
  bool score_row, lse, scores, new_score;
  std::string pattern;

  static AppendShape read(const Json& shape, const reference::Contract& contract);
  int accepted_of(int b) const { return accepted.empty() ? 1 : accepted[b]; }
  int rows_of(int b) const { return q_len.empty() ? 1 : q_len[b]; }
  int committed(int b) const { return cache.tokens[b] + accepted_of(b); }
  int coded_before(int b) const;
  int coded_after(int b) const;
};

/// The buffers of one step. Whatever append has no business to read is NaN.
struct AppendProblem {
  using P = antkv_append_params;
  AppendProblem(const Driver& driver, Random& random, const reference::Contract& contract, const AppendShape& shape);
  Memory memory;
  Params<P> p{ANTKV_ABI_VERSION};
  AppendShape shape;
  bool coded;
  std::unique_ptr<Cache> cache;
  Buffer *ring_k = nullptr, *ring_v = nullptr, *ring_score = nullptr, *ring_count = nullptr, *anchor_score = nullptr;

 private:
  void make_cache(Random& random, const reference::Contract& contract);
  void make_lengths();
  void make_ring(Random& random);
  void make_scores(Random& random);
  void make_rows(Random& random);
  float draw_sum(Random& random, int32_t& count) const;
};

}  // namespace runner
