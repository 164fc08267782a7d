#include "basis.h"

#include <cstring>

namespace runner {

Basis Basis::read(const Json& codebook, int kv_heads, int head_dim) {
  Basis basis;
  if (!codebook.has("basis")) return basis;
  const std::string bytes = read_file(codebook.at("basis").string("basis"));
  basis.kv_heads_ = kv_heads, basis.d_ = head_dim;
  basis.matrices_.resize(size_t(2) * kv_heads * head_dim * head_dim);
  const size_t want = basis.matrices_.size() * sizeof(float);
  if (bytes.size() != want) throw RequestError("the basis has " + std::to_string(bytes.size()) + " B, " + std::to_string(want) + " are needed: fp32 [2, kv_heads, head_dim, head_dim]");
  std::memcpy(basis.matrices_.data(), bytes.data(), want);
  return basis;
}

void Basis::enter(Dump& dump) const {
  if (matrices_.empty()) return;
  std::vector<double> row(dump.head_dim);
  for (int64_t i = 0; i < int64_t(dump.kv_heads) * dump.tokens; i++) {
    uint16_t* halves = &dump.v[size_t(i) * dump.head_dim];
    reference::read_halves(halves, dump.head_dim, row.data());
    enter(int(i / dump.tokens), row.data());
    for (int x = 0; x < dump.head_dim; x++) halves[x] = reference::to_half(row[x]);
  }
}

void Basis::apply(size_t matrix, double* row) const {
  if (matrices_.empty()) return;
  const float* m = &matrices_[matrix * d_ * d_];
  std::vector<double> out(d_, 0.0);
  for (int i = 0; i < d_; i++) {
    for (int j = 0; j < d_; j++) out[i] += double(m[size_t(i) * d_ + j]) * row[j];
  }
  std::copy(out.begin(), out.end(), row);
}

}  // namespace runner
