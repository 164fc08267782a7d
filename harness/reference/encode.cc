// Reference of encode: nearest centroid by distance in double, and the kept rows as they are.
#include "pages.h"
#include "reference.h"
#include "rope.h"

namespace reference {
double reference_gain(const std::vector<double>& x, const std::vector<double>& x_hat) {
  const double size = norm(x_hat.data(), int(x_hat.size()));
  return size > 0 ? norm(x.data(), int(x.size())) / size : 1;
}

Encoding reference_encode(const Contract& c, const antkv_encode_params& p) {
  const int d = c.format.head_dim;
  const Codebooks kb(c.format.k, d, p.kv_heads, p.k_codebook), vb(c.format.v, d, p.kv_heads, p.v_codebook);
  const Rope rope = rope_of(p);
  Encoding result;
  for (int b = 0; b < p.batch; b++) {
    const int first = value_or(p.first_token, b, 0), count = p.cu_tokens[b + 1] - p.cu_tokens[b];
    const int first_pos = value_or(p.first_pos, b, 0);
    for (int head = 0; head < p.kv_heads; head++) {
      const auto input = [&](int token, std::vector<double>& k, std::vector<double>& v) {
        const int64_t row = p.cu_tokens[b] + token - first;
        k.resize(d), v.resize(d);
        read_elements(c.element, static_cast<const uint8_t*>(p.k) + row * p.k_row_stride + head * p.k_head_stride, d, k.data());
        read_elements(c.element, static_cast<const uint8_t*>(p.v) + row * p.v_row_stride + head * p.v_head_stride, d, v.data());
      };
      for (int token = first; token < first + count; token++) {
        EncodedToken t{b, head, token, false, {}, {}, {}, {}};
        input(token, t.k, t.v);
        if (c.format.pre && !p.keys_unrotated) rope.unrotate(t.k.data(), double(first_pos) + token);
        if (!c.format.pre && p.keys_unrotated) rope.rotate(t.k.data(), double(first_pos) + token);
        t.k_code = nearest(kb, head, t.k);
        t.v_code = nearest(vb, head, t.v);
        if (p.keep_bitmap) t.kept = p.keep_bitmap[(int64_t(b) * p.kv_heads + head) * p.keep_words + token / 32] >> token % 32 & 1;
        result.tokens.push_back(std::move(t));
      }
      // Every row of every page in the sequence's list is settled: a page that was another's must not keep its rows.
      int anchor_rows = 0;
      const int32_t* list = p.anchor_table ? p.anchor_table + int64_t(value_or(p.state_slot, b, b)) * p.max_anchor_pages : nullptr;
      while (list && anchor_rows < p.max_anchor_pages * ANTKV_ANCHOR_ROWS && list[anchor_rows / ANTKV_ANCHOR_ROWS] >= 0) anchor_rows += ANTKV_ANCHOR_ROWS;
      for (int row = 0; p.keep_indices && row < anchor_rows; row++) {
        AnchorRow a{b, head, row, -1, {}, {}, NAN};
        if (row < p.max_anchors) a.token = p.keep_indices[(int64_t(b) * p.kv_heads + head) * p.max_anchors + row];
        if (a.token >= 0) {
          if (a.token < first || a.token >= first + count) continue;  // stored by an earlier call
          input(a.token, a.k, a.v);
          if (p.keys_unrotated) rope.rotate(a.k.data(), double(first_pos) + a.token);
          if (p.anchor_score) a.score = p.keep_scores[(int64_t(b) * p.kv_heads + head) * p.score_stride + a.token];
          if (p.anchor_score && p.score_rows) a.score /= p.score_rows[b] - a.token;
        }
        result.anchors.push_back(std::move(a));
      }
    }
  }
  return result;
}

}  // namespace reference
