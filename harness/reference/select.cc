// Reference of select: first tokens, then the best of the rest by score, ties by lower index.
#include <algorithm>
#include <cmath>

#include "reference.h"

namespace reference {

Selection reference_select(const antkv_select_params& p) {
  const int64_t rows = int64_t(p.batch) * p.kv_heads;
  Selection result;
  result.bitmap.assign(rows * p.keep_words, 0);
  result.indices.assign(rows * p.max_anchors, -1);
  result.count.assign(rows, 0);
  for (int64_t row = 0; row < rows; row++) {
    const int count = p.token_count[row / p.kv_heads];
    const float* scores = p.scores + row * p.score_stride;
    const int first = std::min({p.first_tokens, count, p.max_anchors});
    const int64_t budget = p.budget_tokens >= 0 ? p.budget_tokens : int64_t(count) * p.budget_permille / 1000;

    std::vector<int32_t> candidates;
    for (int t = first; t < count; t++) {
      if (!std::isnan(scores[t]) && scores[t] != -INFINITY) candidates.push_back(t);
    }
    std::stable_sort(candidates.begin(), candidates.end(), [scores](int a, int b) { return scores[a] > scores[b]; });
    candidates.resize(std::min<int64_t>({int64_t(candidates.size()), budget, p.max_anchors - first}));

    for (int t = 0; t < first; t++) candidates.push_back(t);
    std::sort(candidates.begin(), candidates.end());
    for (int32_t t : candidates) result.bitmap[row * p.keep_words + t / 32] |= 1u << t % 32;
    std::copy(candidates.begin(), candidates.end(), result.indices.begin() + row * p.max_anchors);
    result.count[row] = int32_t(candidates.size());
  }
  return result;
}

}  // namespace reference
