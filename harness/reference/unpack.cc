// Reference of unpack: a range of coded tokens as exact rows, K after RoPE; anchors come from their anchor rows.
#include "pages.h"
#include "reference.h"
#include "rope.h"

namespace reference {

Unpacked reference_unpack(const Contract& c, const antkv_unpack_params& p) {
  const int d = c.format.head_dim;
  const Codebooks kb(c.format.k, d, p.kv_heads, p.k_codebook), vb(c.format.v, d, p.kv_heads, p.v_codebook);
  const Pages pages = pages_of(p);
  const Rope rope = rope_of(p);
  Unpacked result;
  result.k.assign(int64_t(p.cu_tokens[p.batch]) * p.kv_heads * d, std::nan(""));
  result.v = result.k;
  for (int b = 0; b < p.batch; b++) {
    const int first = value_or(p.first_token, b, 0), end = first + p.cu_tokens[b + 1] - p.cu_tokens[b];
    for (int head = 0; head < p.kv_heads; head++) {
      const auto at = [&](int token) { return ((int64_t(p.cu_tokens[b]) + token - first) * p.kv_heads + head) * d; };
      for (int token = first; token < end; token++) {
        const uint8_t* block = pages.block(b, head, token);
        if (anchor_bit(c.format, block, token % p.page_size, p.page_size)) continue;
        coded_token(c.format, c.element, kb, vb, block, head, token % p.page_size, &result.k[at(token)], &result.v[at(token)]);
        if (c.format.pre) rope.rotate(&result.k[at(token)], double(value_or(p.first_pos, b, 0)) + token);
      }
      for (const Anchor& a : anchors_of(p, d, b, head, end)) {
        if (a.token < first) continue;
        read_elements(c.element, a.k, d, &result.k[at(a.token)]);
        read_elements(c.element, a.v, d, &result.v[at(a.token)]);
      }
    }
  }
  return result;
}

}  // namespace reference
