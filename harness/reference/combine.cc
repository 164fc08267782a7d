// Reference of combine: splits weighted by exp(lse of the split - lse of all), ring scores turned into attention mass.
#include <limits>

#include "numeric.h"
#include "reference.h"

namespace reference {

Attention reference_combine(const Contract& c, const antkv_combine_params& p) {
  const int d = c.format.head_dim;
  const int64_t columns = int64_t(p.rows) * p.q_heads;
  const double minus_infinity = -std::numeric_limits<double>::infinity();
  Attention result;
  result.out.assign(columns * d, 0);
  result.lse.assign(columns, minus_infinity);
  if (!p.partial_o) {  // one split: decode wrote output and LSE itself
    result.out.clear();
    result.lse.assign(p.lse, p.lse + columns);
  }
  for (int64_t at = 0; at < columns && p.partial_o; at++) {
    double largest = minus_infinity;
    for (int s = 0; s < p.splits; s++) largest = std::fmax(largest, p.partial_lse[s * columns + at]);
    if (largest == minus_infinity) continue;
    double sum = 0;
    for (int s = 0; s < p.splits; s++) sum += std::exp(p.partial_lse[s * columns + at] - largest);
    result.lse[at] = largest + std::log(sum);
    for (int s = 0; s < p.splits; s++) {
      const double weight = std::exp(p.partial_lse[s * columns + at] - result.lse[at]);
      for (int x = 0; x < d && weight > 0; x++) result.out[at * d + x] += weight * p.partial_o[(s * columns + at) * d + x];
    }
  }
  if (!p.ring_scores) return result;
  result.ring_scores.assign(columns * p.ring_rows, 0);
  for (int64_t at = 0; at < columns; at++) {
    for (int row = 0; row < p.ring_rows; row++) {
      const double score = p.ring_scores[at * p.ring_rows + row];
      if (score > minus_infinity) result.ring_scores[at * p.ring_rows + row] = std::exp(score - result.lse[at]);
    }
  }
  return result;
}

}  // namespace reference
