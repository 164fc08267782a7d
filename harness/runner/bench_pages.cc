// bench encode and unpack: rows to pages, and pages to rows. Their checks ask the fp64 reference about one run of tokens of one sequence and KV head.
#include "bench.h"
#include "bench_cache.h"
#include "../reference/pages.h"

namespace runner {
namespace {

/// [rows, kv_heads, d] halves of K and V, and where each sequence begins.
struct Rows {
  size_t k, v, cu;
  int64_t head_bytes, row_bytes, bytes;  // bytes: of one side
  std::vector<int32_t> starts;
};

template <class P>
Rows place_rows(Arena& arena, const BenchShape& s, int d, ArenaParams<P>& p) {
  Rows r;
  r.head_bytes = 2 * d;
  r.row_bytes = s.kv_heads * r.head_bytes;
  r.bytes = s.tokens() * r.row_bytes;
  r.starts.assign(1, 0);
  for (int n : s.kv_len) r.starts.push_back(r.starts.back() + n);
  p.bind(&P::k, arena, r.k = arena.place(size_t(r.bytes)));
  p.bind(&P::v, arena, r.v = arena.place(size_t(r.bytes)));
  p.bind(&P::cu_tokens, arena, r.cu = arena.place(r.starts.size() * 4));
  p->k_head_stride = p->v_head_stride = r.head_bytes;
  p->k_row_stride = p->v_row_stride = r.row_bytes;
  p->max_tokens = s.most_tokens();
  return r;
}

/// A run of tokens to look at: at most `most`, from a multiple of `step` on.
struct Run {
  int b, head, first, count;
};
Run choose_run(Random& random, const BenchShape& s, int step, int most) {
  Run run{random.below(s.batch), random.below(s.kv_heads), 0, 0};
  run.first = random.below(ceil_div(s.kv_len[run.b], step)) * step;
  run.count = std::min(most, s.kv_len[run.b] - run.first);
  return run;
}

/// The rows of a run on the host; column 0 is its KV head.
std::vector<uint8_t> read_run(const Arena& arena, const Rows& r, size_t side, const Run& run) {
  std::vector<uint8_t> rows(size_t(run.count * r.row_bytes));
  arena.read(0, side + size_t((r.starts[run.b] + run.first) * r.row_bytes), rows.data(), rows.size());
  return rows;
}

std::string title(const char* op, const BenchShape& s) { return std::string(op) + " of " + std::to_string(s.batch) + " x " + std::to_string(s.most_tokens()) + " tokens"; }

/// What both ops have: a cache, rows, and a run to look at.
template <class P>
class PagesTrial : public Trial {
 public:
  PagesTrial(const Gpu& gpu, uint64_t seed, const Kernel& kernel) : Trial(gpu, seed, kernel), content_(random, contract.element) {}
  void read(const Json& json) override { s_ = BenchShape::read(json, contract, false); }
  std::function<std::vector<Launch>(int)> step(const Arm& arm) override {
    const CUfunction function = gpu.launcher.load(arm.kernel);
    return [this, arm, function](int copy) { return std::vector<Launch>{launch_of(arm.kernel, function, p_.of(copy))}; };
  }
  Json shape(const Arm&) const override { return s_.json(); }
  void extend(Json& record, const Arm&) const override { record.set("anchors", cache_->anchors()); }

 protected:
  /// Places cache and rows.
  void begin() {
    cache_ = std::make_unique<BenchCache>(arena, content_, contract, s_, s_.kv_len);
    cache_->bind(p_);
    rows_ = place_rows(arena, s_, contract.format.head_dim, p_);
  }
  Content content_;
  BenchShape s_{};
  std::unique_ptr<BenchCache> cache_;
  ArenaParams<P> p_;
  Rows rows_{};
  Run run_{};
};

class EncodeTrial final : public PagesTrial<antkv_encode_params> {
  using P = antkv_encode_params;

 public:
  using PagesTrial::PagesTrial;

  void fill() override {
    begin();
    const int64_t lists = int64_t(s_.batch) * s_.kv_heads;
    const bool anchored = cache_->max_anchor_pages() > 0;
    size_t bitmap_at = 0, indices_at = 0;
    if (anchored) {
      p_->max_anchors = cache_->max_anchor_pages() * ANTKV_ANCHOR_ROWS;
      p_->keep_words = int32_t(ceil_div(s_.most_tokens(), 32));
      p_.bind(&P::keep_bitmap, arena, bitmap_at = arena.place(size_t(lists * p_->keep_words * 4)));
      p_.bind(&P::keep_indices, arena, indices_at = arena.place(size_t(lists * p_->max_anchors * 4)));
    }
    bytes = {{"rows", 2 * rows_.bytes}, {"codes", cache_->code_bytes()}, {"anchors", cache_->anchor_bytes()},
             {"kept", lists * 4 * (p_->keep_words + p_->max_anchors)}, {"codebooks", cache_->codebook_bytes(true)}};
    arena.allocate(copies_for(gpu, total(bytes)), title("encode", s_));
    cache_->fill(false);
    for (size_t at : {rows_.k, rows_.v}) arena.repeat(at, content_.gaussian_block(size_t(rows_.bytes)), size_t(rows_.bytes));
    arena.write(rows_.cu, rows_.starts);
    if (anchored) {
      std::vector<uint32_t> bitmap(size_t(lists * p_->keep_words));
      std::vector<int32_t> indices(size_t(lists * p_->max_anchors), -1);
      for (int64_t list = 0; list < lists; list++) {
        const auto& kept = cache_->kept(int(list / s_.kv_heads), int(list % s_.kv_heads));
        for (int32_t token : kept) bitmap[size_t(list * p_->keep_words + token / 32)] |= 1u << token % 32;
        std::copy(kept.begin(), kept.end(), indices.begin() + list * p_->max_anchors);
      }
      arena.write(bitmap_at, bitmap);
      arena.write(indices_at, indices);
    }
    arena.replicate();
  }

  void poison() override { cache_->poison(); }

  // Codes may differ from the reference's where two centroids tie within rounding, which is rare; check_encode.cc looks at each. Garbage agrees in 1 code of 256.
  void check(const Arm&, BenchCheck& found) override {
    if (!want_) choose();
    found.kind = "one run";
    const antkv_format& f = contract.format;
    const CacheSlice slice = cache_->slice(run_.b, run_.head);
    const std::vector<int32_t>& kept = cache_->kept(run_.b, run_.head);
    const antkv_unit u = antkv_unit_layout(f);
    int64_t codes = 0, equal = 0, wrong_bits = 0, wrong_rows = 0;
    for (const auto& t : want_->tokens) {
      const int slot = t.token % s_.page_size;
      const uint8_t* block = slice.pages.data() + t.token / s_.page_size * slice.page_stride;
      const uint8_t* unit = block + slot / ANTKV_UNIT_TOKENS * u.bytes;
      const int n = slot % ANTKV_UNIT_TOKENS;
      for (int i = 0; i < antkv_chunks(f.k, f.head_dim); i++, codes++) equal += antkv_read_code(f, ANTKV_KEYS, unit, n, i) == t.k_code[i];
      for (int i = 0; i < antkv_chunks(f.v, f.head_dim); i++, codes++) equal += antkv_read_code(f, ANTKV_VALUES, unit, n, i) == t.v_code[i];
      const size_t at = size_t(t.token - run_.first) * size_t(rows_.row_bytes) + size_t(run_.head * rows_.head_bytes);
      if (f.k.exact) wrong_rows += std::memcmp(unit + n * u.k_row, k_.data() + at, size_t(u.k_row)) != 0;
      if (f.v.exact) wrong_rows += std::memcmp(unit + u.v + n * u.v_row, v_.data() + at, size_t(u.v_row)) != 0;
      if (!f.k.exact || !f.v.exact) wrong_bits += reference::anchor_bit(f, block, slot, s_.page_size) != std::binary_search(kept.begin(), kept.end(), t.token);
    }
    found.detail.set("codes", codes).set("equal", equal);
    found.fault_unless(double(equal) >= 0.99 * double(codes), std::to_string(codes - equal) + " of " + std::to_string(codes) + " codes are not the nearest centroid's");
    found.fault_unless(wrong_rows == 0, std::to_string(wrong_rows) + " exact rows differ from the input");
    found.fault_unless(wrong_bits == 0, std::to_string(wrong_bits) + " bitmap bits are wrong");
  }

 private:
  void choose() {
    run_ = choose_run(random, s_, s_.page_size, 128);
    CacheSlice slice = cache_->slice(run_.b, run_.head);
    k_ = read_run(arena, rows_, rows_.k, run_), v_ = read_run(arena, rows_, rows_.v, run_);
    const int32_t cu[] = {0, run_.count};
    P host{};
    slice.bind(host);
    host.anchor_table = nullptr;
    host.k = k_.data() + run_.head * rows_.head_bytes, host.v = v_.data() + run_.head * rows_.head_bytes;
    host.k_row_stride = host.v_row_stride = rows_.row_bytes;
    host.cu_tokens = cu;
    host.first_token = &run_.first;
    want_ = std::make_unique<reference::Encoding>(reference::reference_encode(contract, host));
  }
  std::vector<uint8_t> k_, v_;  // the rows of the run
  std::unique_ptr<reference::Encoding> want_;
};

class UnpackTrial final : public PagesTrial<antkv_unpack_params> {
  using P = antkv_unpack_params;

 public:
  using PagesTrial::PagesTrial;

  void fill() override {
    begin();
    bytes = {{"codes", cache_->code_bytes()}, {"anchors", cache_->anchor_bytes()}, {"codebooks", cache_->codebook_bytes(false)}, {"rows", 2 * rows_.bytes}};
    arena.allocate(copies_for(gpu, total(bytes)), title("unpack", s_));
    cache_->fill(true);
    arena.write(rows_.cu, rows_.starts);
    arena.replicate();
  }

  void poison() override {
    for (size_t at : {rows_.k, rows_.v}) arena.fill_all(at, kPoison, size_t(rows_.bytes));
  }

  void check(const Arm&, BenchCheck& found) override {
    if (!want_) choose();
    found.kind = "one run";
    const int d = contract.format.head_dim;
    Agreement agreement;
    std::vector<double> got(d);
    for (const auto& [side, values] : {std::pair{rows_.k, &want_->k}, std::pair{rows_.v, &want_->v}}) {
      const std::vector<uint8_t> result = read_run(arena, rows_, side, run_);
      for (int i = 0; i < run_.count; i++) {
        reference::read_elements(contract.element, result.data() + i * rows_.row_bytes + run_.head * rows_.head_bytes, d, got.data());
        agreement.row(got.data(), &(*values)[size_t(i) * d], d);
      }
    }
    found.detail.set("rel_l2", agreement.rel_l2).set("tokens", run_.count);
    // Each value is rounded at most twice (check_unpack.cc).
    found.fault_unless(agreement.rel_l2 <= 1e-3 && agreement.bad_values == 0,
                       "relative L2 error " + std::to_string(agreement.rel_l2) + ", " + std::to_string(agreement.bad_values) + " rows not finite");
  }

 private:
  void choose() {
    run_ = choose_run(random, s_, ANTKV_UNIT_TOKENS, 1024);
    CacheSlice slice = cache_->slice(run_.b, run_.head);
    const int32_t cu[] = {0, run_.count};
    P host{};
    slice.bind(host);
    host.cu_tokens = cu;
    host.first_token = &run_.first;
    want_ = std::make_unique<reference::Unpacked>(reference::reference_unpack(contract, host));
  }
  std::unique_ptr<reference::Unpacked> want_;
};

}  // namespace

std::unique_ptr<Trial> encode_trial(const Gpu& gpu, uint64_t seed, const Kernel& kernel) { return std::make_unique<EncodeTrial>(gpu, seed, kernel); }
std::unique_ptr<Trial> unpack_trial(const Gpu& gpu, uint64_t seed, const Kernel& kernel) { return std::make_unique<UnpackTrial>(gpu, seed, kernel); }

}  // namespace runner
