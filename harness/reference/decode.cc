// Reference of decode: gather every key that has a weight, score, softmax, sum.
#include <limits>

#include "pages.h"
#include "reference.h"
#include "rope.h"

namespace reference {
namespace {

/// A key with its value, ready for the dot product.
struct Key {
  int token;
  int ring_row;  // -1: from a page
  std::vector<double> k, v;
};

/// All keys of sequence `b` and KV head `head`, masks by position left to the caller.
std::vector<Key> gather(const Contract& c, const antkv_decode_params& p, const Codebooks& kb, const Codebooks& vb, int b, int head) {
  const int d = c.format.head_dim, coded = p.coded_len[b], first_pos = value_or(p.first_pos, b, 0);
  const Pages pages = pages_of(p);
  const Rope rope = rope_of(p);
  std::vector<Key> keys;
  if (p.segments & 1) {
    for (int token = 0; token < coded; token++) {
      const uint8_t* block = pages.block(b, head, token);
      if (anchor_bit(c.format, block, token % p.page_size, p.page_size)) continue;
      Key key{token, -1, std::vector<double>(d), std::vector<double>(d)};
      coded_token(c.format, kb, vb, block, head, token % p.page_size, key.k.data(), key.v.data());
      if (c.pre) rope.rotate(key.k.data(), double(first_pos) + token);
      keys.push_back(std::move(key));
    }
  }
  if (p.segments & 2) {
    for (const Anchor& a : anchors_of(p, d, b, head, coded)) {
      Key key{a.token, -1, std::vector<double>(d), std::vector<double>(d)};
      read_halves(a.k, d, key.k.data());
      read_halves(a.v, d, key.v.data());
      keys.push_back(std::move(key));
    }
  }
  if (p.segments & 4 && p.ring_k) {
    const int64_t at = value_or(p.state_slot, b, b) * p.ring_slot_stride + head * p.ring_head_stride;
    for (int token = coded; token < p.kv_len[b]; token++) {
      Key key{token, token % p.ring_rows, std::vector<double>(d), std::vector<double>(d)};
      read_halves(static_cast<const uint8_t*>(p.ring_k) + at + key.ring_row * p.ring_row_stride, d, key.k.data());
      read_halves(static_cast<const uint8_t*>(p.ring_v) + at + key.ring_row * p.ring_row_stride, d, key.v.data());
      keys.push_back(std::move(key));
    }
  }
  return keys;
}

}  // namespace

Attention reference_decode(const Contract& c, const antkv_decode_params& p) {
  const int d = c.format.head_dim, ratio = p.q_heads / p.kv_heads;
  const double minus_infinity = -std::numeric_limits<double>::infinity();
  const Codebooks kb(c.format.k, d, p.kv_heads, p.k_codebook), vb(c.format.v, d, p.kv_heads, p.v_codebook);
  Attention result;
  result.out.assign(int64_t(p.rows) * p.q_heads * d, 0);
  result.lse.assign(int64_t(p.rows) * p.q_heads, minus_infinity);
  result.ring_scores.assign(int64_t(p.rows) * p.q_heads * p.ring_rows, std::nan(""));
  std::vector<double> q(d);
  for (int b = 0; b < p.batch; b++) {
    const int first_row = value_or(p.cu_q, b, b), q_len = value_or(p.cu_q, b + 1, b + 1) - first_row;
    const int first_pos = value_or(p.first_pos, b, 0), first_new = p.kv_len[b] - q_len;
    const int q_pos = value_or(p.q_pos, b, first_pos + first_new);
    for (int head = 0; head < p.kv_heads; head++) {
      const std::vector<Key> keys = gather(c, p, kb, vb, b, head);
      std::vector<double> scores(keys.size());
      for (int i = 0; i < q_len; i++) {
        for (int q_head = head * ratio; q_head < (head + 1) * ratio; q_head++) {
          const int64_t at = int64_t(first_row + i) * p.q_heads + q_head;
          read_halves(static_cast<const uint8_t*>(p.q) + (first_row + i) * p.q_row_stride + q_head * p.q_head_stride, d, q.data());
          double largest = minus_infinity;
          for (size_t j = 0; j < keys.size(); j++) {
            const Key& key = keys[j];
            const bool by_mask = p.tree_mask && key.token >= first_new;  // wherever they lie: exact recipes write new rows to pages
            const bool seen = by_mask ? p.tree_mask[first_row + i] >> (key.token - first_new) & 1 : int64_t(first_pos) + key.token <= int64_t(q_pos) + i;
            scores[j] = seen ? double(p.scale) * dot(q.data(), key.k.data(), d) : minus_infinity;
            if (scores[j] > largest) largest = scores[j];
            if (key.ring_row >= 0) result.ring_scores[at * p.ring_rows + key.ring_row] = scores[j];
          }
          if (largest == minus_infinity) continue;  // sees nothing: output 0, LSE -inf
          double sum = 0;
          for (double s : scores) sum += std::exp(s - largest);
          result.lse[at] = largest + std::log(sum);
          for (size_t j = 0; j < keys.size(); j++) {
            const double weight = std::exp(scores[j] - result.lse[at]);
            for (int x = 0; x < d && weight > 0; x++) result.out[at * d + x] += weight * keys[j].v[x];
          }
        }
      }
    }
  }
  return result;
}

}  // namespace reference
