// The fixed-point scales of antkv_kmeans_params, from what bounds the sums.
#pragma once
#include <cmath>

#include "antkv.h"

namespace runner {

/// `largest`: of all |x| and |c|; `heaviest`: of all weights. Both are finite.
inline void set_scales(antkv_kmeans_params& p, int channels, double largest, double heaviest) {
  const auto scale = [](double bound, int bits) { return bound > 0 ? std::ldexp(1.0f, std::min(120, bits - std::ilogb(bound) - 1)) : 1.0f; };
  p.value_scale = scale(p.tokens * heaviest * largest, 62);
  p.weight_scale = scale(p.tokens * heaviest, 62);
  p.loss_scale = scale(double(p.tokens) * channels * heaviest * largest * largest, 60);
}

}  // namespace runner
