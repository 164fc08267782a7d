// check append: a random step, and the whole state that it leaves: ring, sums, counts, pages, bitmaps, anchor rows and their scores; everything else must stay.
//
// Sums are fp32 of up to some hundred masses, each good to 2^-20: 3e-5 is allowed, and nothing where nothing was added. Where that could decide between two
// candidates, another problem is drawn (reference::Appended::margin).
#include <limits>

#include "append_problem.h"
#include "check.h"
#include "encoded.h"

namespace runner {
namespace {

using P = antkv_append_params;

/// What the device holds of a buffer: only what may be written was read back.
const uint8_t* after(const Buffer& b) { return b.writable.empty() ? b.host.data() : b.result.data(); }
template <class T>
const T* after_as(const Buffer& b) { return reinterpret_cast<const T*>(after(b)); }

bool near(double got, double want, double tolerance) {
  if (std::isnan(want) || std::isinf(want)) return std::isnan(want) ? std::isnan(got) : got == want;
  const double step = tolerance > 0 ? std::numeric_limits<float>::denorm_min() : 0;  // of numbers so small that nothing relative holds
  return std::fabs(got - want) <= tolerance * std::fabs(want) + step;
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", value);
  return text;
}

class Comparison {
 public:
  Comparison(AppendProblem& x, const reference::Appended& want) : x_(x), p_(x.p.host), cache_(*x.cache), f_(cache_.contract.format), d_(f_.head_dim), want_(want) {}

  /// Tells the buffers which bytes may be written.
  void allow() {
    for (const reference::AppendedHead& h : want_.heads) {
      for (int token = x_.shape.committed(h.batch); x_.coded && token < h.end; token++) {
        x_.ring_k->allow(ring_offset(h, token), 2 * size_t(d_)), x_.ring_v->allow(ring_offset(h, token), 2 * size_t(d_));
        if (x_.ring_score) x_.ring_score->allow(4 * entry(h, token), 4), x_.ring_count->allow(4 * entry(h, token), 4);
      }
      for (int token = h.coded_before; h.folded && token < h.committed; token++) x_.ring_score->allow(4 * entry(h, token), 4), x_.ring_count->allow(4 * entry(h, token), 4);
      for (int token = h.coded_before; x_.anchor_score && token < h.coded_after; token++) x_.ring_score->allow(4 * entry(h, token), 4);
      for (const auto& t : h.encoded) allow_token(h, t.token);
      for (int token : h.handed_back) cache_.pages->allow(bitmap_offset(h, token) + token % p_.page_size / 32 * 4, 4);
      for (size_t i = 0; i < h.rows.size(); i++) {
        if (!h.rows[i].touched) continue;
        const size_t page = anchor_offset(h, int(i)), row = i % ANTKV_ANCHOR_ROWS;
        cache_.anchors->allow(page + row * 2 * d_, 2 * size_t(d_));
        cache_.anchors->allow(page + antkv_anchor_v_offset(d_) + row * 2 * d_, 2 * size_t(d_));
        cache_.anchors->allow(page + antkv_anchor_index_offset(d_) + 4 * row, 4);
        x_.anchor_score->allow(4 * score_entry(h, int(i)), 4);
      }
    }
  }

  void run(Report& report) {
    EncodedCheck encoded(cache_, p_.k_codebook, p_.v_codebook);
    for (const reference::AppendedHead& h : want_.heads) {
      compare_ring(h);
      for (const auto& t : h.encoded) encoded.compare(t);
      std::vector<int> lost = h.handed_back;
      std::sort(lost.begin(), lost.end());
      for (int token = 0; x_.coded && token < h.coded_before; token++) {
        const auto bit = [&](const uint8_t* pages) { return reference::anchor_bit(f_, pages + block_offset(h, token), token % p_.page_size, p_.page_size); };
        const bool handed_back = std::binary_search(lost.begin(), lost.end(), token);
        encoded.bits += bit(after(*cache_.pages)) != (bit(cache_.pages->host.data()) && !handed_back);
      }
      for (size_t i = 0; i < h.rows.size(); i++) compare_row(h, int(i));
      flushed_ += (h.coded_after - h.coded_before) / (x_.coded ? p_.flush_block : 1);
      handed_back_ += int(h.handed_back.size());
      folded_ += h.folded;
    }
    encoded.report(report);
    const std::pair<int, const char*> counts[] = {{rows_, "ring rows"}, {sums_, "column sums"}, {counts_, "row counts"}, {anchors_, "anchor rows"}};
    for (const auto& [count, what] : counts) report.fault_unless(count == 0, std::to_string(count) + " wrong " + what);
    report.fault_unless(scores_ == 0, std::to_string(scores_) + " wrong anchor scores" + first_score_);
    report.extra.set("flushed", flushed_).set("kept", kept_).set("handed_back", handed_back_).set("folded", folded_);
  }

 private:
  AppendProblem& x_;
  const P& p_;
  Cache& cache_;
  const antkv_format& f_;
  const int d_;
  const reference::Appended& want_;
  int rows_ = 0, sums_ = 0, counts_ = 0, anchors_ = 0, scores_ = 0;
  int flushed_ = 0, kept_ = 0, handed_back_ = 0, folded_ = 0;
  std::string first_score_;

  using Head = reference::AppendedHead;
  size_t ring_offset(const Head& h, int token) const { return size_t(h.slot * p_.ring_slot_stride + h.head * p_.ring_head_stride + token % p_.ring_rows * p_.ring_row_stride); }
  size_t entry(const Head& h, int token) const { return (size_t(h.slot) * p_.kv_heads + h.head) * p_.ring_rows + token % p_.ring_rows; }
  size_t block_offset(const Head& h, int token) const { return size_t(cache_.block(h.batch, h.head, token) - cache_.pages->host.data()); }
  size_t bitmap_offset(const Head& h, int token) const { return block_offset(h, token) + size_t(antkv_bitmap_offset(f_, p_.page_size)); }
  int frozen_pages(const Head& h) const { return reference::value_or(p_.frozen_anchor_pages, h.batch, 0); }
  size_t anchor_offset(const Head& h, int row) const { return size_t(cache_.anchor_block(h.batch, h.head, frozen_pages(h) + row / ANTKV_ANCHOR_ROWS) - cache_.anchors->host.data()); }
  size_t score_entry(const Head& h, int row) const { return ((size_t(h.slot) * p_.kv_heads + h.head) * p_.max_anchor_pages + frozen_pages(h)) * ANTKV_ANCHOR_ROWS + row; }

  void allow_token(const Head& h, int token) {
    const antkv_unit u = antkv_unit_layout(f_);
    const size_t unit = block_offset(h, token) + size_t(token % p_.page_size / ANTKV_UNIT_TOKENS * u.bytes);
    if (x_.coded) {
      cache_.pages->allow(unit, size_t(u.k_gain + 2 * ANTKV_UNIT_TOKENS * (f_.k_gain + f_.v_gain)));
      cache_.pages->allow(bitmap_offset(h, token), size_t((p_.page_size + 31) / 32 * 4));
    } else {
      for (const int side : {ANTKV_KEYS, ANTKV_VALUES}) cache_.pages->allow(unit + size_t(antkv_side_offset(f_, side) + token % ANTKV_UNIT_TOKENS * 2 * d_), 2 * size_t(d_));
    }
  }

  void compare_ring(const Head& h) {
    for (int token = h.coded_after; x_.coded && token < h.end; token++) {
      const int i = token - h.coded_after;
      rows_ += std::memcmp(after(*x_.ring_k) + ring_offset(h, token), h.k[i], 2 * size_t(d_)) != 0 || std::memcmp(after(*x_.ring_v) + ring_offset(h, token), h.v[i], 2 * size_t(d_)) != 0;
      if (!x_.ring_score) continue;
      const size_t at = entry(h, token);
      sums_ += !near(after_as<float>(*x_.ring_score)[at], h.score[i], h.folded ? 3e-5 : 0);
      counts_ += after_as<int32_t>(*x_.ring_count)[at] != h.count[i];
    }
  }

  void compare_row(const Head& h, int i) {
    const reference::OwnRow& row = h.rows[i];
    const uint8_t* page = after(*cache_.anchors) + anchor_offset(h, i);
    const int at = i % ANTKV_ANCHOR_ROWS;
    int32_t token;
    std::memcpy(&token, page + antkv_anchor_index_offset(d_) + 4 * at, 4);
    anchors_ += token != row.token;
    if (row.token < 0 || token != row.token) return;
    kept_++;
    anchors_ += std::memcmp(page + at * 2 * d_, row.k, 2 * size_t(d_)) != 0 || std::memcmp(page + antkv_anchor_v_offset(d_) + at * 2 * d_, row.v, 2 * size_t(d_)) != 0;
    const bool exact = !row.touched || (p_.policy == 0 && !h.folded) || p_.policy == 3;
    const float got = after_as<float>(*x_.anchor_score)[score_entry(h, i)];
    if (near(got, row.score, exact ? 0 : 3e-5)) return;
    if (scores_++ == 0) first_score_ = ": token " + std::to_string(row.token) + " of sequence " + std::to_string(h.batch) + ", head " + std::to_string(h.head) + " has " + number(got) + ", not " + number(row.score);
  }
};

}  // namespace

Json check_append(Launcher& launcher, const Json& request) {
  const Kernel kernel = Kernel::read(request.at("kernel"), "append");
  const AppendShape shape = AppendShape::read(request.at("shape"), kernel.contract);
  Random random(uint64_t(request.integer("seed", 1)));
  Report report("append", request);
  request.refuse_unread();
  std::unique_ptr<AppendProblem> x;
  reference::Appended want;
  for (int draws = 0;; draws++) {
    x = std::make_unique<AppendProblem>(launcher.driver, random, kernel.contract, shape);
    want = reference::reference_append(kernel.contract, x->p.host);
    if (want.margin > 4e-6) break;
    if (draws == 20) throw RequestError("every draw has two scores that rounding cannot tell apart");
  }
  Comparison comparison(*x, want);
  comparison.allow();
  report.run_twice(x->memory, [&] { return launcher.launch(kernel, x->p); });
  comparison.run(report);
  return report.record(launcher.driver);
}

}  // namespace runner
