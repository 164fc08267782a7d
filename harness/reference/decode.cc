// Reference of decode: find every key that has a weight, score, softmax, sum.
#include <algorithm>
#include <limits>

#include "pages.h"
#include "parallel.h"
#include "reference.h"
#include "rope.h"

namespace reference {
namespace {

/// Keys that one core reads after the other. Longer sequences are shared by all cores; sums are made range by range, so that they do not depend on how many there are.
constexpr size_t kRange = 8192;

/// Where a key and its value lie.
struct Key {
  int token;
  int ring_row;             // -1: from a page
  const uint8_t* block;     // of a coded page, or null
  const uint8_t *k, *v;     // exact rows otherwise
};

/// One decode problem: what every sequence and KV head needs.
struct Decode {
  const Contract& c;
  const antkv_decode_params& p;
  const int d = c.format.head_dim;
  const Codebooks kb{c.format.k, d, p.kv_heads, p.k_codebook}, vb{c.format.v, d, p.kv_heads, p.v_codebook};
  const Pages pages = pages_of(p);
  const Rope rope = rope_of(p);

  /// All keys of sequence `b` and KV head `head`, masks by position left to the caller.
  std::vector<Key> gather(int b, int head) const {
    std::vector<Key> keys;
    const int coded = p.coded_len[b];
    for (int token = 0; token < coded && p.segments & 1; token++) {
      const uint8_t* block = pages.block(b, head, token);
      if (!anchor_bit(c.format, block, token % p.page_size, p.page_size)) keys.push_back({token, -1, block, nullptr, nullptr});
    }
    if (p.segments & 2) {
      for (const Anchor& a : anchors_of(p, d, b, head, coded)) keys.push_back({a.token, -1, nullptr, a.k, a.v});
    }
    if (p.segments & 4 && p.ring_k) {
      const int64_t at = value_or(p.state_slot, b, b) * p.ring_slot_stride + head * p.ring_head_stride;
      for (int token = coded; token < p.kv_len[b]; token++) {
        const int64_t row = at + token % p.ring_rows * p.ring_row_stride;
        keys.push_back({token, token % p.ring_rows, nullptr, static_cast<const uint8_t*>(p.ring_k) + row, static_cast<const uint8_t*>(p.ring_v) + row});
      }
    }
    return keys;
  }

  /// The key after RoPE, and the value. Not kept: at 131,072 tokens they would take 270 MB.
  void read(const Key& key, int b, int head, bool rotated, double* k, double* v) const {
    if (!key.block) {
      read_elements(c.element, key.k, d, k);
      read_elements(c.element, key.v, d, v);
      return;
    }
    coded_token(c.format, c.element, kb, vb, key.block, head, key.token % p.page_size, k, v);
    if (c.format.pre && rotated) rope.rotate(k, double(value_or(p.first_pos, b, 0)) + key.token);
  }

  /// Calls work(first, end, range) for the keys first ... end - 1 of every range, in any order.
  template <class F>
  void for_each_range(size_t keys, const F& work) const {
    for_each_part(int((keys + kRange - 1) / kRange), double(keys) * d * 4, [&](int range) { work(range * kRange, std::min(keys, (range + 1) * kRange), size_t(range)); });
  }

  void attend(int b, int head, Attention& result) const;
};

/// Every row of one sequence and KV head.
void Decode::attend(int b, int head, Attention& result) const {
  const int ratio = p.q_heads / p.kv_heads;
  const double minus_infinity = -std::numeric_limits<double>::infinity();
  const int first_row = value_or(p.cu_q, b, b), q_len = value_or(p.cu_q, b + 1, b + 1) - first_row;
  const int first_pos = value_or(p.first_pos, b, 0), first_new = p.kv_len[b] - q_len;
  const int q_pos = value_or(p.q_pos, b, first_pos + first_new), columns = q_len * ratio;
  const auto at = [&](int column) { return int64_t(first_row + column / ratio) * p.q_heads + head * ratio + column % ratio; };
  const std::vector<Key> keys = gather(b, head);
  std::vector<double> q(size_t(columns) * d), scores(size_t(columns) * keys.size()), largest(columns, minus_infinity), sum(columns, 0);
  for (int column = 0; column < columns; column++)
    read_elements(c.element, static_cast<const uint8_t*>(p.q) + (first_row + column / ratio) * p.q_row_stride + (head * ratio + column % ratio) * p.q_head_stride, d, &q[size_t(column) * d]);

  for_each_range(keys.size(), [&](size_t first, size_t end, size_t) {
    std::vector<double> k(d), v(d);
    for (size_t j = first; j < end; j++) {
      const Key& key = keys[j];
      read(key, b, head, true, k.data(), v.data());
      for (int column = 0; column < columns; column++) {
        const int i = column / ratio;
        const bool by_mask = p.tree_mask && key.token >= first_new;  // wherever they lie: exact recipes write new rows to pages
        const bool seen = by_mask ? p.tree_mask[first_row + i] >> (key.token - first_new) & 1 : int64_t(first_pos) + key.token <= int64_t(q_pos) + i;
        const double raw = double(p.scale) * dot(&q[size_t(column) * d], k.data(), d);
        const double score = !seen ? minus_infinity : c.softcap ? p.softcap * std::tanh(raw / p.softcap) : raw;
        scores[size_t(column) * keys.size() + j] = score;
        if (key.ring_row >= 0) result.ring_scores[at(column) * p.ring_rows + key.ring_row] = score;
      }
    }
  });
  for (int column = 0; column < columns; column++) {
    for (size_t j = 0; j < keys.size(); j++) largest[column] = std::max(largest[column], scores[size_t(column) * keys.size() + j]);
    // A learned sink is one more key, whose value is 0.
    const double sink = c.sink ? double(p.sink_logits[head * ratio + column % ratio]) : minus_infinity;
    largest[column] = std::max(largest[column], sink);
    if (sink > minus_infinity) sum[column] = std::exp(sink - largest[column]);
    if (largest[column] == minus_infinity) continue;  // sees nothing: output 0, LSE -inf
    for (size_t j = 0; j < keys.size(); j++) sum[column] += std::exp(scores[size_t(column) * keys.size() + j] - largest[column]);
    result.lse[at(column)] = largest[column] + std::log(sum[column]);
  }
  std::vector<std::vector<double>> sums((keys.size() + kRange - 1) / kRange, std::vector<double>(size_t(columns) * d, 0));
  for_each_range(keys.size(), [&](size_t first, size_t end, size_t range) {
    std::vector<double> k(d), v(d);
    for (size_t j = first; j < end; j++) {
      read(keys[j], b, head, false, k.data(), v.data());
      for (int column = 0; column < columns; column++) {
        const double weight = std::exp(scores[size_t(column) * keys.size() + j] - result.lse[at(column)]);
        if (!(weight > 0)) continue;  // NaN too: a row that sees nothing
        double* out = &sums[range][size_t(column) * d];
        for (int x = 0; x < d; x++) out[x] += weight * v[x];
      }
    }
  });
  for (const auto& part : sums) {
    for (int column = 0; column < columns; column++) {
      for (int x = 0; x < d; x++) result.out[at(column) * d + x] += part[size_t(column) * d + x];
    }
  }
}

}  // namespace

Attention reference_decode(const Contract& c, const antkv_decode_params& p) {
  const Decode problem{c, p};
  Attention result;
  result.out.assign(int64_t(p.rows) * p.q_heads * problem.d, 0);
  result.lse.assign(int64_t(p.rows) * p.q_heads, -std::numeric_limits<double>::infinity());
  result.ring_scores.assign(int64_t(p.rows) * p.q_heads * p.ring_rows, -std::numeric_limits<double>::infinity());
  double tokens = 0;
  for (int b = 0; b < p.batch; b++) tokens += p.kv_len[b];
  // Sequences and KV heads write to different rows or columns.
  for_each_part(p.batch * p.kv_heads, tokens * p.kv_heads * problem.d * 4, [&](int at) { problem.attend(at / p.kv_heads, at % p.kv_heads, result); });
  return result;
}

}  // namespace reference
