// Real data through the whole pipeline: what the steps of `attend` share.
#pragma once
#include "../reference/rope.h"
#include "cache.h"
#include "check.h"
#include "safetensors.h"

namespace runner {

/// The tensors of a dump, [heads, tokens, d] as in the file.
struct Dump {
  int q_heads, kv_heads, tokens, head_dim;
  std::vector<uint16_t> q, k, v;  ///< q and k after RoPE
  /// Element `i` of row (head, token).
  const uint16_t* row(const std::vector<uint16_t>& tensor, int head, int token) const { return &tensor[(size_t(head) * tokens + token) * head_dim]; }
};
/// Reads the dump; without a tensor "k" it rotates "k_pre_rope". Throws RequestError.
Dump read_dump(const Json& data, const reference::Rope& rope, int first_pos, int head_dim);

/// Exact attention in fp64, causal.
struct Exact {
  std::vector<double> out;  ///< [q_heads, tokens, d]
  std::vector<double> lse;  ///< [q_heads, tokens]
};
Exact exact_attention(const Dump& dump);

/// How far an attention output is from the exact one, over all query rows and heads.
struct Distance {
  double error = 0, size = 0, cosine = 0, lse = 0;
  int rows = 0;
  void row(const double* got, double got_lse, const double* want, double want_lse, int d);
  Json json() const;
};

}  // namespace runner
