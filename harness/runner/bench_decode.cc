// bench decode: a whole decode step, decode and (with splits) combine, on a cache of any size.
//
// The check after the timing. All copies hold the same data, so all outputs must be the same bits; every output must be finite (it starts as NaN). And the fp64
// reference of harness/reference is asked: for all sequences and KV heads if there are few tokens ("full"), else for one of each, drawn at random ("one head").
#include "bench.h"
#include "bench_cache.h"
#include "../reference/numeric.h"
#include "../reference/parallel.h"

namespace runner {
namespace {

using P = antkv_decode_params;

constexpr int kFlushBlock = 128;                  // CACHE.md
constexpr int64_t kFullCheckTokens = 16384;       // of all sequences
constexpr int kMostCheckTokens = 1 << 18;         // above it one head of the reference takes seconds
constexpr double kRelL2 = 4e-3, kLse = 2e-3;      // check_decode.cc says why

/// Tokens in coded pages: all, or what the flush rule c(n) of CACHE.md has taken out of the window.
std::vector<int32_t> coded_lengths(const BenchShape& s) {
  std::vector<int32_t> coded;
  for (int n : s.kv_len) coded.push_back(s.window ? std::max(0, n - s.window) / kFlushBlock * kFlushBlock : n);
  return coded;
}

class DecodeTrial final : public Trial {
 public:
  DecodeTrial(const Gpu& gpu, uint64_t seed, const Kernel& kernel) : Trial(gpu, seed, kernel), content_(random, contract.element), columns_(kernel.columns) {}

  void read(const Json& json) override { s_ = BenchShape::read(json, contract, true); }

  void fill() override {
    cache_ = std::make_unique<BenchCache>(arena, content_, contract, s_, coded_lengths(s_));
    place();
    bytes = useful_bytes();
    arena.allocate(copies_for(gpu, total(bytes)), title());
    cache_->fill(true);
    arena.repeat(q_, content_.gaussian_block(size_t(p_->rows * row_bytes_)), size_t(p_->rows * row_bytes_));
    if (s_.window) {
      for (size_t at : {ring_k_, ring_v_}) arena.repeat(at, content_.gaussian_block(size_t(ring_bytes_)), size_t(ring_bytes_));
    }
    arena.write(coded_len_, cache_->coded_len());
    arena.write(kv_len_, s_.kv_len);
    std::vector<int32_t> cu_q;
    for (int b = 0; b <= s_.batch; b++) cu_q.push_back(b * s_.q_len);
    arena.write(cu_q_, cu_q);
    arena.replicate();
  }

  /// One workspace per stream, as in a runtime: the copies share it, and so do the arms, which run one after the other.
  void provide(const std::vector<Arm>& arms) override {
    int64_t splits = 1;
    for (const Arm& arm : arms) splits = std::max<int64_t>(splits, arm.splits);
    if (splits <= splits_) return;
    splits_ = splits;
    workspace_.reset();
    if (splits == 1) return;
    workspace_ = std::make_unique<Arena>(gpu);
    const size_t columns = size_t(splits) * s_.batch * s_.q_len * s_.q_heads;
    partial_o_ = workspace_->place(columns * d() * 4);
    partial_lse_ = workspace_->place(columns * 4);
    counters_ = workspace_->place(counter_bytes());
    workspace_->allocate(1, "the workspace of " + title());
  }

  std::function<std::vector<Launch>(int)> step(const Arm& arm) override {
    const CUfunction decode = gpu.launcher.load(arm.kernel), merge = arm.combines() ? gpu.launcher.load(arm.combine) : nullptr;
    return [this, arm, decode, merge](int copy) {
      ArenaParams<P> p = p_;
      p->splits = arm.splits;
      p->spread = arm.spread;
      ArenaParams<antkv_combine_params> c = c_;
      c->splits = arm.splits;
      if (arm.splits > 1) {
        p.bind(&P::partial_o, *workspace_, partial_o_, true);
        p.bind(&P::partial_lse, *workspace_, partial_lse_, true);
        if (arm.merges) p.bind(&P::counters, *workspace_, counters_, true);
        c.bind(&antkv_combine_params::partial_o, *workspace_, partial_o_, true);
        c.bind(&antkv_combine_params::partial_lse, *workspace_, partial_lse_, true);
      }
      std::vector<Launch> launches{launch_of(arm.kernel, decode, p.of(copy))};
      if (merge) launches.push_back(launch_of(arm.combine, merge, c.of(copy)));
      return launches;
    };
  }

  void poison() override {
    arena.fill_all(out_, kPoison, size_t(p_->rows * row_bytes_));
    arena.fill_all(lse_, kPoison, size_t(p_->rows) * s_.q_heads * 4);
    if (!workspace_) return;
    workspace_->fill(0, kPoison, counters_);
    workspace_->fill(counters_, 0, counter_bytes());  // once, as in a runtime
  }

  void check(const Arm& arm, BenchCheck& found) override;
  Json shape(const Arm& arm) const override {
    BenchShape s = s_;
    s.splits = arm.splits, s.spread = arm.spread, s.merges = arm.merges;
    return s.json();
  }
  void extend(Json& record, const Arm& arm) const override {
    record.set("combine", arm.combines() ? Json(arm.combine.name) : Json()).set("splits", arm.splits).set("anchors", cache_->anchors());
  }

 private:
  /// One sequence and KV head, read back from copy 0, and what the reference says of it.
  struct Wanted {
    int b, head;
    CacheSlice slice;
    std::vector<uint8_t> q, ring_k, ring_v;
    reference::Attention attention;
  };

  int d() const { return contract.format.head_dim; }
  std::string title() const { return "decode of " + std::to_string(s_.batch) + " x " + std::to_string(s_.most_tokens()) + " tokens"; }
  size_t counter_bytes() const { return size_t(s_.batch) * s_.kv_heads * size_t(ceil_div(int64_t(s_.q_len) * s_.ratio(), columns_)) * 4; }
  void place();
  ByteParts useful_bytes() const;
  Wanted want(int b, int head) const;
  void ask(Wanted& wanted) const;
  void choose();

  Content content_;
  const int columns_;
  BenchShape s_{};
  std::unique_ptr<BenchCache> cache_;
  std::unique_ptr<Arena> workspace_;
  int64_t splits_ = 0;
  ArenaParams<P> p_;
  ArenaParams<antkv_combine_params> c_;
  size_t q_ = 0, out_ = 0, lse_ = 0, ring_k_ = 0, ring_v_ = 0, coded_len_ = 0, kv_len_ = 0, cu_q_ = 0, partial_o_ = 0, partial_lse_ = 0, counters_ = 0;
  int64_t head_bytes_ = 0, row_bytes_ = 0, ring_bytes_ = 0;
  std::string kind_;  // of the check; empty: not chosen yet
  std::vector<Wanted> wanted_;
};

void DecodeTrial::place() {
  P& p = p_.fields;
  cache_->bind(p_);
  p.segments = s_.window ? 7 : 3;
  p.q_heads = s_.q_heads;
  p.rows = s_.batch * s_.q_len;
  p.max_q_len = s_.q_len;
  p.scale = float(1 / std::sqrt(double(d())));
  head_bytes_ = 2 * d();
  row_bytes_ = s_.q_heads * head_bytes_;
  p.q_head_stride = p.out_head_stride = head_bytes_;
  p.q_row_stride = p.out_row_stride = row_bytes_;
  p_.bind(&P::q, arena, q_ = arena.place(size_t(p.rows * row_bytes_)));
  p_.bind(&P::out, arena, out_ = arena.place(size_t(p.rows * row_bytes_)));
  p_.bind(&P::lse, arena, lse_ = arena.place(size_t(p.rows) * s_.q_heads * 4));
  p_.bind(&P::coded_len, arena, coded_len_ = arena.place(size_t(s_.batch) * 4));
  p_.bind(&P::kv_len, arena, kv_len_ = arena.place(size_t(s_.batch) * 4));
  cu_q_ = arena.place(size_t(s_.batch + 1) * 4);
  if (s_.q_len > 1) p_.bind(&P::cu_q, arena, cu_q_);
  if (s_.window) {
    p.ring_rows = antkv_ring_rows(s_.window, kFlushBlock);
    p.ring_row_stride = head_bytes_;
    p.ring_head_stride = p.ring_rows * p.ring_row_stride;
    p.ring_slot_stride = s_.kv_heads * p.ring_head_stride;
    ring_bytes_ = s_.batch * p.ring_slot_stride;
    p_.bind(&P::ring_k, arena, ring_k_ = arena.place(size_t(ring_bytes_)));
    p_.bind(&P::ring_v, arena, ring_v_ = arena.place(size_t(ring_bytes_)));
  }
  auto& c = c_.fields;
  c.rows = p.rows;
  c.q_heads = p.q_heads;
  c.out_head_stride = p.out_head_stride;
  c.out_row_stride = p.out_row_stride;
  c_.bind(&antkv_combine_params::out, arena, out_);
  c_.bind(&antkv_combine_params::lse, arena, lse_);
}

ByteParts DecodeTrial::useful_bytes() const {
  int64_t ring_tokens = 0;
  for (int b = 0; b < s_.batch; b++) ring_tokens += s_.kv_len[b] - cache_->coded_len()[b];
  return {{"codes", cache_->code_bytes()}, {"anchors", cache_->anchor_bytes()}, {"ring", ring_tokens * s_.kv_heads * 2 * head_bytes_},
          {"codebooks", cache_->codebook_bytes(false)}, {"queries", p_->rows * row_bytes_}, {"outputs", p_->rows * row_bytes_}};
}

/// Reads what the reference is asked about.
DecodeTrial::Wanted DecodeTrial::want(int b, int head) const {
  Wanted wanted{b, head, cache_->slice(b, head), std::vector<uint8_t>(size_t(s_.q_len * row_bytes_)), {}, {}, {}};
  arena.read(0, q_ + wanted.q.size() * size_t(b), wanted.q.data(), wanted.q.size());
  if (s_.window) {
    wanted.ring_k.resize(size_t(p_->ring_head_stride)), wanted.ring_v.resize(wanted.ring_k.size());
    const size_t at = size_t(cache_->slots()[b] * p_->ring_slot_stride + head * p_->ring_head_stride);
    arena.read(0, ring_k_ + at, wanted.ring_k.data(), wanted.ring_k.size());
    arena.read(0, ring_v_ + at, wanted.ring_v.data(), wanted.ring_v.size());
  }
  return wanted;
}

/// Asks the reference, without a word to the device: from any thread.
void DecodeTrial::ask(Wanted& wanted) const {
  const int32_t coded_len = cache_->coded_len()[wanted.b], kv_len = s_.kv_len[wanted.b], cu_q[] = {0, s_.q_len};
  P p{};
  wanted.slice.bind(p);
  p.q = wanted.q.data() + wanted.head * s_.ratio() * head_bytes_;
  p.q_row_stride = row_bytes_;
  p.q_head_stride = head_bytes_;
  p.coded_len = &coded_len;
  p.kv_len = &kv_len;
  p.cu_q = cu_q;
  p.q_heads = s_.ratio();
  p.rows = p.max_q_len = s_.q_len;
  p.segments = s_.window ? 7 : 3;
  p.splits = 1;
  p.scale = p_->scale;
  if (s_.window) {
    p.ring_rows = p_->ring_rows;
    p.ring_row_stride = p_->ring_row_stride;
    p.ring_k = wanted.ring_k.data(), p.ring_v = wanted.ring_v.data();
  }
  wanted.attention = reference::reference_decode(contract, p);
  wanted.slice = {}, wanted.q.clear(), wanted.ring_k.clear(), wanted.ring_v.clear();
}

/// Decides what the reference is asked, and asks it.
void DecodeTrial::choose() {
  const auto draw = [&] {  // a sequence with tokens: the shape has at least one
    int b = random.below(s_.batch);
    while (s_.kv_len[b] == 0) b = random.below(s_.batch);
    return b;
  };
  if (s_.tokens() <= kFullCheckTokens) {
    kind_ = "full";
    for (int b = 0; b < s_.batch; b++) {
      for (int head = 0; head < s_.kv_heads; head++) wanted_.push_back(want(b, head));
    }
  } else if (const int b = draw(); s_.kv_len[b] <= kMostCheckTokens) {
    kind_ = "one head";
    wanted_.push_back(want(b, random.below(s_.kv_heads)));
  } else {
    kind_ = "finite";
  }
  reference::for_each_part(int(wanted_.size()), double(s_.tokens()) * s_.kv_heads * d() * 4, [&](int at) { ask(wanted_[size_t(at)]); });
}

void DecodeTrial::check(const Arm& arm, BenchCheck& found) {
  if (kind_.empty()) choose();
  found.kind = kind_;
  std::vector<uint8_t> out(size_t(p_->rows * row_bytes_));
  std::vector<float> lse(size_t(p_->rows) * s_.q_heads);
  arena.read(0, out_, out.data(), out.size());
  arena.read(0, lse_, lse.data(), lse.size() * 4);
  int64_t unsound = 0;
  for (size_t i = 0; i < out.size(); i += 2) unsound += (out[i + 1] & 0x7c) == 0x7c;  // exponent of infinities and NaN
  // A sequence of no tokens has LSE -inf.
  for (size_t i = 0; i < lse.size(); i++) unsound += s_.kv_len[i / (size_t(s_.q_len) * s_.q_heads)] ? !std::isfinite(lse[i]) : lse[i] != -INFINITY;
  found.fault_unless(unsound == 0, std::to_string(unsound) + " outputs are not finite, or were never written");
  found.fault_unless(arena.copies_agree(out_, out.size()) && arena.copies_agree(lse_, lse.size() * 4), "copies with equal data gave different outputs");

  if (arm.splits > 1 && arm.merges) {
    std::vector<uint32_t> counters(counter_bytes() / 4);
    workspace_->read(0, counters_, counters.data(), counter_bytes());
    found.fault_unless(std::all_of(counters.begin(), counters.end(), [](uint32_t n) { return n == 0; }), "decode left counters that are not 0");
  }
  if (wanted_.empty()) return;

  Agreement agreement;
  std::vector<double> got(d());
  for (const Wanted& wanted : wanted_) {
    const reference::Attention& attention = wanted.attention;
    for (int i = 0; i < s_.q_len * s_.ratio(); i++) {
      const int64_t column = int64_t(wanted.b * s_.q_len + i / s_.ratio()) * s_.q_heads + wanted.head * s_.ratio() + i % s_.ratio();
      reference::read_elements(contract.element, out.data() + column * head_bytes_, d(), got.data());
      agreement.row(got.data(), &attention.out[size_t(i) * d()], d());
      agreement.logarithm(lse[column], attention.lse[i]);
    }
  }
  found.detail.set("heads", int(wanted_.size())).set("rel_l2", agreement.rel_l2).set("lse_err", agreement.lse_err);
  found.detail.set("tolerance", Json::object().set("rel_l2", kRelL2).set("lse", kLse));
  found.fault_unless(agreement.bad_values == 0, std::to_string(agreement.bad_values) + " values are NaN, or not 0 or -inf where nothing is seen");
  found.fault_unless(agreement.rel_l2 <= kRelL2, "relative L2 error " + std::to_string(agreement.rel_l2) + " is above its tolerance");
  found.fault_unless(agreement.lse_err <= kLse, "LSE error " + std::to_string(agreement.lse_err) + " is above its tolerance");
}

}  // namespace

std::unique_ptr<Trial> decode_trial(const Gpu& gpu, uint64_t seed, const Kernel& kernel) { return std::make_unique<DecodeTrial>(gpu, seed, kernel); }

}  // namespace runner
