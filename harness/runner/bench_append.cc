// bench append: one step of every sequence of a batch, of which the first `flush` encode a block.
//
// Steps are repeated on the same lengths. Each encodes the same block again and adds the same masses again; who is an anchor is settled after the first one. So the
// check asks for what repeated steps leave alike: the codes of one flushed block, the new rows, and sums that grew with their counts.
#include "bench.h"
#include "bench_cache.h"
#include "../reference/pages.h"
#include "cache.h"

namespace runner {
namespace {

using P = antkv_append_params;

class AppendTrial final : public Trial {
 public:
  AppendTrial(const Gpu& gpu, uint64_t seed, const Kernel& kernel) : Trial(gpu, seed, kernel), content_(random, contract.element), coded_(!contract.format.k.exact || !contract.format.v.exact) {}

  void read(const Json& json) override {
    s_ = BenchShape::read(json, contract, false);
    window_ = bounded(json, "window", coded_ ? 128 : 0, 0, 1 << 16);
    block_ = bounded(json, "flush_block", coded_ ? 128 : 1, 1, 1 << 16);
    flush_ = bounded(json, "flush", 0, 0, s_.batch);
    if (coded_ ? block_ % s_.page_size != 0 : flush_ > 0 || window_ > 0 || block_ > 1) throw RequestError("flush_block must be whole pages; exact recipes have no window and flush nothing");
    for (int b = 0; b < s_.batch; b++) {
      const int kept = coded_ ? std::max(0, s_.kv_len[b] - window_) / block_ * block_ : s_.kv_len[b];  // in pages before the step
      before_.push_back(kept);
      // The ring is full where a block leaves it, else half a block beyond the window.
      committed_.push_back(coded_ ? kept + window_ + (flushes(b) ? block_ : block_ / 2) : kept);
      seq_len_.push_back(committed_[b] - 1);
      after_.push_back(coded_ ? kept + flushes(b) * block_ : kept + 1);
    }
  }

  void fill() override {
    cache_ = std::make_unique<BenchCache>(arena, content_, contract, s_, after_);
    cache_->bind(p_);
    place();
    bytes = useful_bytes();
    // A step touches little of a cache: where its cold copies do not fit, fewer of them must do.
    const auto fit = int64_t(0.4 * double(gpu.free_memory())) / std::max<int64_t>(1, int64_t(arena.bytes()));
    arena.allocate(int(std::clamp<int64_t>(copies_for(gpu, total(bytes)), 1, std::max<int64_t>(1, fit))), "append to " + std::to_string(s_.batch) + " x " + std::to_string(s_.most_tokens()) + " tokens");
    cache_->fill(true);
    for (size_t at : {k_, v_}) arena.repeat(at, content_.gaussian_block(row_bytes_), row_bytes_);
    arena.write(seq_len_at_, seq_len_);
    if (coded_) fill_ring();
    arena.replicate();
  }

  std::function<std::vector<Launch>(int)> step(const Arm& arm) override {
    const CUfunction function = gpu.launcher.load(arm.kernel);
    return [this, arm, function](int copy) { return std::vector<Launch>{launch_of(arm.kernel, function, p_.of(copy))}; };
  }

  /// The pages of flushed blocks; new rows begin as other rows than the ones they take.
  void poison() override {
    for (int b = 0; b < flush_; b++)
      for (int token = before_[b]; token < after_[b]; token += s_.page_size) arena.fill_all(cache_->page_at(b, token), kPoison, size_t(p_->page_stride));
  }

  void check(const Arm&, BenchCheck& found) override {
    found.kind = "one run";
    const int b = random.below(s_.batch), head = random.below(s_.kv_heads);
    check_row(found, b, head);
    if (coded_) check_sums(found, b, head);
    if (flush_ > 0) check_codes(found, random.below(flush_), head);
  }

  Json shape(const Arm&) const override { return s_.json().set("window", window_).set("flush_block", block_).set("flush", flush_); }
  void extend(Json& record, const Arm&) const override { record.set("anchors", cache_->anchors()); }

 private:
  int d() const { return contract.format.head_dim; }
  bool flushes(int b) const { return b < flush_; }
  size_t ring_row(int b, int head, int token) const {
    return size_t(cache_->slots()[b] * p_->ring_slot_stride + head * p_->ring_head_stride + token % p_->ring_rows * p_->ring_row_stride);
  }
  size_t entry(int b, int head, int token) const { return (size_t(cache_->slots()[b]) * s_.kv_heads + head) * p_->ring_rows + token % p_->ring_rows; }

  void place() {
    P& p = p_.fields;
    p.q_heads = s_.q_heads, p.window = window_, p.flush_block = block_, p.budget_permille = s_.anchor_permille;
    p.k_head_stride = p.v_head_stride = 2 * d();
    p.k_row_stride = p.v_row_stride = s_.kv_heads * p.k_head_stride;
    row_bytes_ = size_t(s_.batch * p.k_row_stride);
    p_.bind(&P::k, arena, k_ = arena.place(row_bytes_)), p_.bind(&P::v, arena, v_ = arena.place(row_bytes_));
    p_.bind(&P::seq_len, arena, seq_len_at_ = arena.place(size_t(s_.batch) * 4));
    if (!coded_) return;
    p.ring_rows = window_ + block_ + ANTKV_DRAFT_ROWS;
    p.ring_row_stride = 2 * d(), p.ring_head_stride = p.ring_rows * p.ring_row_stride, p.ring_slot_stride = s_.kv_heads * p.ring_head_stride;
    const size_t entries = size_t(s_.batch) * s_.kv_heads * p.ring_rows, ring = entries * 2 * d();
    p_.bind(&P::ring_k, arena, ring_k_ = arena.place(ring)), p_.bind(&P::ring_v, arena, ring_v_ = arena.place(ring));
    p_.bind(&P::ring_score, arena, sums_ = arena.place(entries * 4)), p_.bind(&P::ring_count, arena, counts_ = arena.place(entries * 4));
    p_.bind(&P::ring_scores, arena, scores_ = arena.place(size_t(s_.batch) * s_.q_heads * p.ring_rows * 4));
    p_.bind(&P::lse, arena, lse_ = arena.place(size_t(s_.batch) * s_.q_heads * 4));
    anchor_entries_ = size_t(s_.batch) * s_.kv_heads * std::max(1, cache_->max_anchor_pages()) * ANTKV_ANCHOR_ROWS;
    anchor_score_ = arena.place(anchor_entries_ * 4);
    if (cache_->max_anchor_pages() > 0) p_.bind(&P::anchor_score, arena, anchor_score_);
  }

  void fill_ring() {
    const size_t ring = size_t(s_.batch) * p_->ring_slot_stride, entries = size_t(s_.batch) * s_.kv_heads * p_->ring_rows;
    for (size_t at : {ring_k_, ring_v_}) arena.repeat(at, content_.gaussian_block(ring), ring);
    arena.write(sums_, std::vector<float>(entries, 0.0f));
    arena.write(counts_, std::vector<int32_t>(entries, 0));
    std::vector<float> raw(size_t(s_.batch) * s_.q_heads * p_->ring_rows), anchors(anchor_entries_);
    for (float& x : raw) x = float(random.gauss());
    for (float& x : anchors) x = float(random.uniform());
    arena.write(scores_, raw);
    arena.write(lse_, std::vector<float>(size_t(s_.batch) * s_.q_heads, 8.0f));
    arena.write(anchor_score_, anchors);
  }

  ByteParts useful_bytes() const {
    ByteParts parts{{"rows", int64_t(4 * row_bytes_)}};
    if (!coded_) return parts;
    const antkv_unit u = antkv_unit_layout(contract.format);
    int64_t live = 0, flushed = 0;
    for (int b = 0; b < s_.batch; b++) live += committed_[b] - before_[b], flushed += flushes(b) * block_;
    parts.push_back({"scores", live * s_.q_heads * 4});
    parts.push_back({"sums", live * s_.kv_heads * 16});
    parts.push_back({"flushed rows", flushed * s_.kv_heads * 4 * d()});
    parts.push_back({"codes", flushed * s_.kv_heads * (u.k_row + u.v_row + 2 * (contract.format.k_gain + contract.format.v_gain)) + flushed * s_.kv_heads / 8});
    if (flushed > 0) parts.push_back({"codebooks", cache_->codebook_bytes(true)});
    if (flushed > 0) parts.push_back({"anchors", cache_->anchors() * flush_ / s_.batch * 8});
    return parts;
  }

  /// The new row of one sequence and KV head, where it belongs.
  void check_row(BenchCheck& found, int b, int head) const {
    const antkv_unit u = antkv_unit_layout(contract.format);
    const int token = committed_[b];
    std::vector<uint8_t> want(2 * d()), got(2 * d());
    for (const bool value : {false, true}) {
      arena.read(0, (value ? v_ : k_) + size_t(b * p_->k_row_stride + head * p_->k_head_stride), want.data(), want.size());
      size_t at = value ? ring_v_ : ring_k_;
      if (coded_) at += ring_row(b, head, token);
      else at = cache_->page_at(b, token) + size_t(head * p_->page_head_stride + token % s_.page_size / ANTKV_UNIT_TOKENS * u.bytes + value * u.v + token % ANTKV_UNIT_TOKENS * 2 * d());
      arena.read(0, at, got.data(), got.size());
      found.fault_unless(got == want, value ? "the new value is not where it belongs" : "the new key is not where it belongs");
    }
  }

  /// Each step added the same masses to tokens that stay in the ring, and 1 to their counts.
  void check_sums(BenchCheck& found, int b, int head) const {
    const int ratio = s_.q_heads / s_.kv_heads, first = flushes(b) ? after_[b] : before_[b];
    std::vector<float> sums(p_->ring_rows), raw(size_t(s_.q_heads) * p_->ring_rows);
    std::vector<int32_t> counts(p_->ring_rows);
    const size_t list = entry(b, head, 0) * 4;
    arena.read(0, sums_ + list, sums.data(), sums.size() * 4);
    arena.read(0, counts_ + list, counts.data(), counts.size() * 4);
    arena.read(0, scores_ + size_t(b) * raw.size() * 4, raw.data(), raw.size() * 4);
    int wrong = 0;
    for (int token = first; token < committed_[b]; token++) {
      const int row = token % p_->ring_rows;
      double mass = 0;
      for (int h = 0; h < ratio; h++) mass += std::exp(double(raw[size_t(head * ratio + h) * p_->ring_rows + row]) - 8);
      wrong += counts[row] < 1 || !(std::fabs(sums[row] / counts[row] - mass) <= 1e-2 * mass);
    }
    found.fault_unless(wrong == 0, std::to_string(wrong) + " column sums did not grow as their counts");
  }

  /// Codes may differ from the reference's where two centroids tie within rounding, which is rare; check_append.cc looks at each.
  void check_codes(BenchCheck& found, int b, int head) const {
    const antkv_format& f = contract.format;
    CacheSlice slice = cache_->slice(b, head);
    const int32_t cu[] = {0, block_}, first = before_[b];
    // The block as rows: ring row by ring row, since it may wrap.
    std::vector<uint8_t> k(size_t(block_) * 2 * d()), v(k.size());
    for (int i = 0; i < block_; i++) {
      arena.read(0, ring_k_ + ring_row(b, head, first + i), k.data() + size_t(i) * 2 * d(), size_t(2 * d()));
      arena.read(0, ring_v_ + ring_row(b, head, first + i), v.data() + size_t(i) * 2 * d(), size_t(2 * d()));
    }
    antkv_encode_params host{};
    slice.bind(host);
    host.anchor_table = nullptr;
    host.k = k.data(), host.v = v.data(), host.k_row_stride = host.v_row_stride = 2 * d();
    host.cu_tokens = cu, host.first_token = &first;
    const antkv_unit u = antkv_unit_layout(f);
    int64_t codes = 0, equal = 0;
    const reference::Encoding want = reference::reference_encode(contract, host);
    for (const auto& t : want.tokens) {
      const uint8_t* unit = slice.pages.data() + t.token / s_.page_size * slice.page_stride + t.token % s_.page_size / ANTKV_UNIT_TOKENS * u.bytes;
      for (const int side : {ANTKV_KEYS, ANTKV_VALUES}) {
        const auto& nearest = side == ANTKV_KEYS ? t.k_code : t.v_code;
        for (size_t i = 0; i < nearest.size(); i++, codes++) equal += antkv_read_code(f, side, unit, t.token % ANTKV_UNIT_TOKENS, int(i)) == nearest[i];
      }
    }
    found.detail.set("codes", codes).set("equal", equal);
    found.fault_unless(double(equal) >= 0.99 * double(codes), std::to_string(codes - equal) + " of " + std::to_string(codes) + " codes are not the nearest centroid's");
  }

  Content content_;
  const bool coded_;
  BenchShape s_{};
  int window_ = 0, block_ = 0, flush_ = 0;
  std::vector<int32_t> before_, after_, committed_, seq_len_;
  std::unique_ptr<BenchCache> cache_;
  ArenaParams<P> p_;
  size_t row_bytes_ = 0, k_ = 0, v_ = 0, seq_len_at_ = 0, ring_k_ = 0, ring_v_ = 0, sums_ = 0, counts_ = 0, scores_ = 0, lse_ = 0, anchor_score_ = 0, anchor_entries_ = 0;
};

}  // namespace

std::unique_ptr<Trial> append_trial(const Gpu& gpu, uint64_t seed, const Kernel& kernel) { return std::make_unique<AppendTrial>(gpu, seed, kernel); }

}  // namespace runner
