// Comparing encoded tokens.
#include "encoded.h"

namespace runner {
namespace {

/// How far x.c - |c|^2/2 of two centroids may be misjudged against each other.
double doubt(const double* v, const double* a, const double* b, int channels, double blur) {
  double sum = 0;
  for (int i = 0; i < channels; i++) {
    sum += blur * std::fabs(a[i] - b[i]);
    sum += std::ldexp(std::fabs(v[i]) * (std::fabs(a[i]) + std::fabs(b[i])) + a[i] * a[i] + b[i] * b[i], -20);
  }
  return sum;
}

/// One fp16 step at most.
bool near_half(uint16_t got, double want) { return std::abs(int(got) - int(reference::to_half(want))) <= 1; }

}  // namespace

EncodedCheck::EncodedCheck(Cache& cache, const void* k_codebook, const void* v_codebook)
    : cache_(cache),
      k_(cache.contract.format.k, cache.contract.format.head_dim, cache.shape.kv_heads, k_codebook),
      v_(cache.contract.format.v, cache.contract.format.head_dim, cache.shape.kv_heads, v_codebook) {}

void EncodedCheck::compare_codes(int side, const reference::EncodedToken& t, const uint8_t* unit) {
  const antkv_format& f = cache_.contract.format;
  const bool key = side == ANTKV_KEYS;
  const reference::Codebooks& book = key ? k_ : v_;
  const std::vector<double>& x = key ? t.k : t.v;
  const std::vector<uint32_t>& want = key ? t.k_code : t.v_code;
  const int channels = book.codec.channels;
  double largest = 0;
  for (double value : x) largest = std::max(largest, std::fabs(value));
  const double blur = key && f.pre ? std::ldexp(largest, -10) : 0;
  for (int chunk = 0; chunk < book.chunks(); chunk++, codes_++) {
    const uint32_t got = antkv_read_code(f, side, unit, t.token % ANTKV_UNIT_TOKENS, chunk);
    if (got == want[chunk]) continue;
    const double *a = book.centroid(t.head, chunk, got), *b = book.centroid(t.head, chunk, want[chunk]), *at = &x[chunk * channels];
    double difference = 0;  // of x.c - |c|^2/2
    for (int c = 0; c < channels; c++) difference += at[c] * (b[c] - a[c]) - (b[c] * b[c] - a[c] * a[c]) / 2;
    if (difference <= doubt(at, a, b, channels, blur)) ties_++;
    else wrong_codes_++;
  }
}

void EncodedCheck::compare(const reference::EncodedToken& t) {
  const antkv_format& f = cache_.contract.format;
  const int slot = t.token % cache_.shape.page_size, i = slot % ANTKV_UNIT_TOKENS;
  const uint8_t* block = cache_.pages->result.data() + (cache_.block(t.batch, t.head, t.token) - cache_.pages->host.data());
  const uint8_t* unit = block + slot / ANTKV_UNIT_TOKENS * antkv_unit_layout(f).bytes;
  for (const int side : {ANTKV_KEYS, ANTKV_VALUES}) {
    const bool key = side == ANTKV_KEYS;
    const reference::Codebooks& book = key ? k_ : v_;
    const std::vector<double>& x = key ? t.k : t.v;
    std::vector<double> decoded(f.head_dim);
    reference::stored_row(f, cache_.contract.element, side, book, unit, i, t.head, decoded.data());
    if (book.codec.exact) wrong_rows_ += decoded != x;
    else compare_codes(side, t, unit);
    if (!(key ? f.k_gain : f.v_gain)) continue;
    uint16_t gain;
    std::memcpy(&gain, unit + antkv_gain_offset(f, side, i), 2);
    wrong_gains_ += !near_half(gain, reference::reference_gain(x, decoded));
  }
  if (!f.k.exact || !f.v.exact) bits += reference::anchor_bit(f, block, slot, cache_.shape.page_size) != t.kept;
}

void EncodedCheck::report(Report& report) const {
  const std::pair<int, const char*> counts[] = {{wrong_codes_, "codes"}, {wrong_gains_, "gains"}, {wrong_rows_, "exact rows"}, {bits, "bitmap bits"}};
  for (const auto& [count, what] : counts) report.fault_unless(count == 0, std::to_string(count) + " wrong " + what);
  report.extra.set("codes", codes_).set("ties", ties_);
}

}  // namespace runner
