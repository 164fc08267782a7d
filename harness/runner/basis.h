// The basis that values are coded in (CACHE.md, "Basis of values"): applied where a dump enters a cache, undone where an output is held against exact attention.
#pragma once
#include "attend.h"

namespace runner {

/// A cache holds T v; T⁻¹ brings back what attention gives. Without matrices (the default) both change nothing.
class Basis {
 public:
  Basis() = default;
  /// The file that a request's codebook names as "basis", if it does: T of all heads, then T⁻¹, fp32 [2, kv_heads, d, d]. Throws RequestError.
  static Basis read(const Json& codebook, int kv_heads, int head_dim);
  /// A row of values, or of outputs, of one KV head, in place.
  void enter(int kv_head, double* row) const { apply(size_t(kv_head), row); }
  void leave(int kv_head, double* row) const { apply(size_t(kv_heads_ + kv_head), row); }
  /// The values of a dump, rounded to halves.
  void enter(Dump& dump) const;

 private:
  void apply(size_t matrix, double* row) const;
  int kv_heads_ = 0, d_ = 0;
  std::vector<float> matrices_;
};

}  // namespace runner
