// Reading dumps, and exact attention over them.
#include "../reference/numeric.h"
#include "../reference/rope.h"
#include "attend.h"

namespace runner {

Dump read_dump(const Json& data, const reference::Rope& rope, int first_pos, int head_dim) {
  const Safetensors file(data.at("file").string("file"));
  const std::string prefix = data.string("prefix", "");
  const Tensor q = file.halves(prefix + "q", 3), v = file.halves(prefix + "v", 3);
  const bool rotated = file.has(prefix + "k");
  Tensor k = file.halves(prefix + (rotated ? "k" : "k_pre_rope"), 3);
  Dump dump{int(q.shape[0]), int(k.shape[0]), int(q.shape[1]), head_dim, q.halves, {}, v.halves};
  if (k.shape != v.shape) throw RequestError("k and v of the dump differ in shape");
  if (q.shape[1] != k.shape[1]) throw RequestError("q and k of the dump differ in tokens");
  if (q.shape[2] != head_dim || k.shape[2] != head_dim) throw RequestError("the dump's head dim is " + std::to_string(k.shape[2]) + ", the kernels' is " + std::to_string(head_dim));
  if (dump.q_heads % dump.kv_heads || dump.q_heads / dump.kv_heads > 16) throw RequestError("the dump's query heads are not 1 to 16 times its KV heads");
  if (!rotated) {
    std::vector<double> x(head_dim);
    for (int64_t row = 0; row < k.shape[0] * k.shape[1]; row++) {
      uint16_t* halves = &k.halves[row * head_dim];
      reference::read_halves(halves, head_dim, x.data());
      rope.rotate(x.data(), double(first_pos) + double(row % k.shape[1]));
      for (int i = 0; i < head_dim; i++) halves[i] = reference::to_half(x[i]);
    }
  }
  dump.k = std::move(k.halves);
  return dump;
}

Exact exact_attention(const Dump& dump) {
  const int n = dump.tokens, d = dump.head_dim, ratio = dump.q_heads / dump.kv_heads;
  const double scale = 1 / std::sqrt(double(d));
  Exact exact;
  exact.out.assign(size_t(dump.q_heads) * n * d, 0);
  exact.lse.resize(size_t(dump.q_heads) * n);
  std::vector<double> k(size_t(n) * d), v(size_t(n) * d), q(d), scores(n);
  for (int head = 0; head < dump.q_heads; head++) {
    reference::read_halves(dump.row(dump.k, head / ratio, 0), n * d, k.data());
    reference::read_halves(dump.row(dump.v, head / ratio, 0), n * d, v.data());
    for (int i = 0; i < n; i++) {
      reference::read_halves(dump.row(dump.q, head, i), d, q.data());
      for (int j = 0; j <= i; j++) scores[j] = scale * reference::dot(q.data(), &k[size_t(j) * d], d);
      const double largest = *std::max_element(scores.begin(), scores.begin() + i + 1);
      double sum = 0;
      double* out = &exact.out[(size_t(head) * n + i) * d];
      for (int j = 0; j <= i; j++) {
        const double weight = std::exp(scores[j] - largest);
        sum += weight;
        for (int x = 0; x < d; x++) out[x] += weight * v[size_t(j) * d + x];
      }
      for (int x = 0; x < d; x++) out[x] /= sum;
      exact.lse[size_t(head) * n + i] = largest + std::log(sum);
    }
  }
  return exact;
}

void Distance::row(const double* got, double got_lse, const double* want, double want_lse, int d) {
  for (int i = 0; i < d; i++) error += (got[i] - want[i]) * (got[i] - want[i]);
  size += reference::dot(want, want, d);
  cosine += reference::dot(got, want, d) / (reference::norm(got, d) * reference::norm(want, d));
  lse += std::fabs(got_lse - want_lse);
  rows++;
}

Json Distance::json() const {
  return Json::object().set("rel_l2", std::sqrt(error / size)).set("cosine", cosine / rows).set("lse_err", lse / rows);
}

}  // namespace runner
