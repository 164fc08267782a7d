// Reference of score: for each key, its sensitivity summed over the rows that see it and the query heads of its KV head.
#include "numeric.h"
#include "reference.h"

namespace reference {
namespace {

/// How often each query row of sequence b counts: once, or by the sample of the rows older than the newest.
std::vector<double> row_counts(const antkv_score_params& p, int b) {
  const int rows = p.cu_q[b + 1] - p.cu_q[b];
  if (!p.cu_sampled) return std::vector<double>(rows, 1);
  const int older = rows < p.newest_rows ? 0 : rows - p.newest_rows;
  std::vector<double> counts(rows, 0);
  for (int i = older; i < rows; i++) counts[i] = 1;
  for (int i = p.cu_sampled[b]; i < p.cu_sampled[b + 1]; i++) counts[p.sampled_rows[i]] = double(older) / (p.cu_sampled[b + 1] - p.cu_sampled[b]);
  return counts;
}

/// Form norm: no row is asked.
std::vector<double> key_norms(const Contract& c, const antkv_score_params& p) {
  const int d = c.format.head_dim;
  std::vector<double> scores(int64_t(p.batch) * p.kv_heads * p.score_stride, std::nan("")), k(d);
  for (int b = 0; b < p.batch; b++) {
    for (int head = 0; head < p.kv_heads; head++) {
      for (int j = p.cu_k[b]; j < p.cu_k[b + 1]; j++) {
        read_elements(c.element, static_cast<const uint8_t*>(p.k) + j * p.k_row_stride + head * p.k_head_stride, d, k.data());
        scores[(int64_t(b) * p.kv_heads + head) * p.score_stride + value_or(p.first_key, b, 0) + j - p.cu_k[b]] = double(p.scale) * norm(k.data(), d);
      }
    }
  }
  return scores;
}

}  // namespace

std::vector<double> reference_score(const Contract& c, const antkv_score_params& p) {
  if (c.form == Form::norm) return key_norms(c, p);
  const int d = c.format.head_dim, ratio = p.q_heads / p.kv_heads;
  std::vector<double> scores(int64_t(p.batch) * p.kv_heads * p.score_stride, std::nan(""));
  std::vector<double> q(d), k(d), v(d), o(d);
  const auto read_row = [&c, d](const void* base, int64_t row, int64_t row_stride, int head, int64_t head_stride, std::vector<double>& to) {
    read_elements(c.element, static_cast<const uint8_t*>(base) + row * row_stride + head * head_stride, d, to.data());
  };
  for (int b = 0; b < p.batch; b++) {
    const int keys = p.cu_k[b + 1] - p.cu_k[b], rows = p.cu_q[b + 1] - p.cu_q[b];
    const int first_pos = value_or(p.first_pos, b, 0), q_pos = value_or(p.q_pos, b, first_pos + keys - rows);
    const std::vector<double> counts = row_counts(p, b);
    for (int head = 0; head < p.kv_heads; head++) {
      for (int j = 0; j < keys; j++) {
        read_row(p.k, p.cu_k[b] + j, p.k_row_stride, head, p.k_head_stride, k);
        if (c.form == Form::exact) read_row(p.v, p.cu_k[b] + j, p.v_row_stride, head, p.v_head_stride, v);
        const int64_t at = (int64_t(b) * p.kv_heads + head) * p.score_stride + value_or(p.first_key, b, 0) + j;
        // Rows of earlier calls that see the key, if all from its own on were scored, and those of this one.
        const int earlier = p.accumulate ? std::max(0, q_pos - first_pos - j) : 0, now = std::max(0, std::min(rows, q_pos + rows - first_pos - j));
        double sum = !p.accumulate ? 0 : c.form != Form::saliency ? double(p.scores[at]) : earlier > 0 ? double(p.scores[at]) * earlier : 0;
        for (int i = 0; i < rows; i++) {
          if (first_pos + j > q_pos + i || counts[i] == 0) continue;
          for (int q_head = head * ratio; q_head < (head + 1) * ratio; q_head++) {
            const int64_t row = p.cu_q[b] + i;
            const double lse = p.lse[row * p.q_heads + q_head];
            if (lse == -INFINITY) continue;  // a row that saw nothing
            read_row(p.q, row, p.q_row_stride, q_head, p.q_head_stride, q);
            const double raw = double(p.scale) * dot(q.data(), k.data(), d), part = c.softcap ? std::tanh(raw / p.softcap) : 0;
            const double weight = std::exp((c.softcap ? p.softcap * part : raw) - lse);
            double term = weight;
            if (c.form == Form::mass || c.form == Form::massq) term *= 1 - weight;
            if (c.form == Form::massq) term *= norm(q.data(), d);
            if (c.form == Form::exact) {  // a change of the score moves the output by P (v - o), a change of the key moves the score by scale |q|
              read_row(p.o, row, p.o_row_stride, q_head, p.o_head_stride, o);
              for (int x = 0; x < d; x++) o[x] -= v[x];
              term *= norm(o.data(), d) * norm(q.data(), d) * double(p.scale);
            }
            // Of a change of the score the cap leaves 1 - tanh^2.
            if (c.form == Form::massq || c.form == Form::exact) term *= 1 - part * part;
            sum += counts[i] * term;
          }
        }
        scores[at] = c.form != Form::saliency ? sum : earlier + now > 0 ? sum / (earlier + now) : -INFINITY;
      }
    }
  }
  return scores;
}

}  // namespace reference
