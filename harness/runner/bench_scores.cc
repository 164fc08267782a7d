// bench score and select: the anchor score of every key, and the top budget of the scores. Their checks ask the fp64 reference about a few keys, or one list.
#include "bench.h"
#include "bench_cache.h"
#include "cache.h"

namespace runner {
namespace {

class ScoreTrial final : public Trial {
  using P = antkv_score_params;

 public:
  ScoreTrial(const Gpu& gpu, uint64_t seed, const Kernel& kernel) : Trial(gpu, seed, kernel), content_(random, contract.element) {}

  void read(const Json& json) override {
    s_ = BenchShape::read_plain(json);
    const int shortest = *std::min_element(s_.kv_len.begin(), s_.kv_len.end());
    rows_ = bounded(json, "rows", std::min(shortest, 128), 1, shortest);
    sampled_ = bounded(json, "sampled_rows", 0, 0, rows_);
    newest_ = bounded(json, "newest_rows", samples() ? std::min(rows_ - sampled_, 128) : 0, 0, rows_ - sampled_);
    if (newest_ && !samples()) throw RequestError("newest_rows goes with sampled_rows; without them all rows count");
    if (d() <= 0) throw RequestError("the kernel reference lacks head_dim");
  }

  void fill() override {
    const int64_t head_bytes = 2 * d(), keys = s_.tokens(), queries = int64_t(s_.batch) * rows_;
    q_row_ = s_.q_heads * head_bytes, k_row_ = s_.kv_heads * head_bytes;
    const int64_t q_bytes = queries * q_row_, k_bytes = keys * k_row_;
    p_->batch = s_.batch;
    p_->q_heads = s_.q_heads;
    p_->kv_heads = s_.kv_heads;
    p_->max_tokens = p_->score_stride = s_.most_tokens();
    p_->scale = float(1 / std::sqrt(double(d())));
    p_->softcap = contract.softcap ? 30 : 0;
    p_->q_row_stride = p_->o_row_stride = q_row_;
    p_->k_row_stride = p_->v_row_stride = k_row_;
    p_->q_head_stride = p_->o_head_stride = p_->k_head_stride = p_->v_head_stride = head_bytes;
    q_ = arena.place(size_t(q_bytes)), k_ = arena.place(size_t(k_bytes));
    const size_t lse = arena.place(size_t(queries) * s_.q_heads * 4);
    o_ = exact() ? arena.place(size_t(q_bytes)) : 0, v_ = exact() ? arena.place(size_t(k_bytes)) : 0;
    const size_t cu_q = arena.place(size_t(s_.batch + 1) * 4), cu_k = arena.place(size_t(s_.batch + 1) * 4);
    const size_t cu_sampled = samples() ? arena.place(size_t(s_.batch + 1) * 4) : 0, list = samples() ? arena.place(size_t(s_.batch) * sampled_ * 4) : 0;
    scores_ = arena.place(score_bytes());
    p_.bind(&P::q, arena, q_), p_.bind(&P::k, arena, k_), p_.bind(&P::lse, arena, lse), p_.bind(&P::cu_q, arena, cu_q), p_.bind(&P::cu_k, arena, cu_k);
    p_.bind(&P::scores, arena, scores_);
    if (exact()) p_.bind(&P::o, arena, o_), p_.bind(&P::v, arena, v_);
    if (samples()) p_.bind(&P::cu_sampled, arena, cu_sampled), p_.bind(&P::sampled_rows, arena, list), p_->newest_rows = newest_;
    const int64_t counted = samples() ? int64_t(s_.batch) * (sampled_ + newest_) : queries;
    bytes = {{"keys", k_bytes * (exact() ? 2 : 1)}, {"queries", counted * q_row_ * (exact() ? 2 : 1)}, {"lse", counted * s_.q_heads * 4}, {"scores", keys * s_.kv_heads * 4}};
    arena.allocate(copies_for(gpu, total(bytes)), "score of " + std::to_string(s_.batch) + " x " + std::to_string(s_.most_tokens()) + " keys");
    arena.repeat(q_, content_.gaussian_block(size_t(q_bytes)), size_t(q_bytes));
    arena.repeat(k_, content_.gaussian_block(size_t(k_bytes)), size_t(k_bytes));
    if (exact()) {
      arena.repeat(o_, content_.gaussian_block(size_t(q_bytes)), size_t(q_bytes));
      arena.repeat(v_, content_.gaussian_block(size_t(k_bytes)), size_t(k_bytes));
    }
    q_starts_.assign(1, 0), k_starts_.assign(1, 0);
    for (int n : s_.kv_len) {
      q_starts_.push_back(q_starts_.back() + rows_);
      k_starts_.push_back(k_starts_.back() + n);
      // Scores have about variance 1, so this is near what attention would have returned.
      sums_.insert(sums_.end(), size_t(rows_) * s_.q_heads, float(std::log(double(n)) + 0.5));
      if (samples()) draw(n);
      const int whole = samples() ? newest_ : rows_;
      pairs_ += double(whole) * (n - whole) + 0.5 * whole * (whole + 1.0);
    }
    if (samples()) {
      arena.write(cu_sampled, cu_sampled_);
      arena.write(list, sample_);
    }
    arena.write(cu_q, q_starts_);
    arena.write(cu_k, k_starts_);
    arena.write(lse, sums_);
    arena.replicate();
  }

  std::function<std::vector<Launch>(int)> step(const Arm& arm) override {
    const CUfunction function = gpu.launcher.load(arm.kernel);
    return [this, arm, function](int copy) { return std::vector<Launch>{launch_of(arm.kernel, function, p_.of(copy))}; };
  }

  void poison() override { arena.fill_all(scores_, kPoison, score_bytes()); }

  void check(const Arm&, BenchCheck& found) override {
    if (wanted_.empty()) choose();
    found.kind = "some keys";
    found.fault_unless(arena.copies_agree(scores_, score_bytes()), "copies with equal data gave different scores");
    double worst = 0;
    for (const auto& [token, want] : wanted_) {
      for (int head = 0; head < s_.kv_heads; head++) {
        float got = 0;
        arena.read(0, scores_ + ((size_t(sequence_) * s_.kv_heads + head) * p_->score_stride + token) * 4, &got, 4);
        const double error = std::fabs(got - want[head]) / std::max(want[head], 1e-30);
        worst = std::isfinite(got) ? std::max(worst, want[head] == got ? 0 : error) : INFINITY;
        if (!std::isfinite(got)) break;
      }
    }
    found.detail.set("keys", int(wanted_.size())).set("relative", worst);
    // check_score.cc allows 1e-3, and more for form "exact"; a wrong kernel is off by far more than this.
    found.fault_unless(worst <= 1e-2, "a score is off by " + std::to_string(worst) + " of itself");
  }

  Json shape(const Arm&) const override {
    Json json = s_.json().set("rows", rows_);
    return samples() ? json.set("sampled_rows", sampled_).set("newest_rows", newest_) : json;
  }
  void extend(Json& record, const Arm&) const override {
    const double flop = 2.0 * double(d()) * pairs_ * s_.q_heads * (exact() ? 2 : 1);
    record.set("flop", flop).set("tflops", record.has("us") ? Json(1e-6 * flop / record.at("us").number("median", 0)) : Json());
  }

 private:
  int64_t d() const { return contract.format.head_dim; }
  bool exact() const { return contract.form == reference::Form::exact; }
  size_t score_bytes() const { return size_t(s_.batch) * s_.kv_heads * s_.most_tokens() * 4; }
  bool samples() const { return sampled_ > 0; }

  /// Draws the sample of one more sequence, of n keys.
  void draw(int n) {
    const size_t first = sample_.size();
    sample_.resize(first + size_t(sampled_));
    sample_.resize(first + size_t(antkv_sample_rows(uint32_t(first), rows_ - newest_, sampled_, sample_.data() + first)));
    cu_sampled_.push_back(int32_t(sample_.size()));
    for (size_t i = first; i < sample_.size(); i++) pairs_ += n - rows_ + sample_[i] + 1;
  }

  /// Draws a sequence and some of its keys, and asks the reference about them.
  void choose() {
    sequence_ = random.below(s_.batch);
    const int count = double(rows_) * double(q_row_) > 1e7 ? 1 : 8;
    const int32_t one_key[] = {0, 1}, all_rows[] = {0, rows_}, q_pos = s_.kv_len[sequence_] - rows_;
    std::vector<uint8_t> q(size_t(rows_ * q_row_)), o(exact() ? q.size() : 0), k(static_cast<size_t>(k_row_)), v(k.size());
    arena.read(0, q_ + q.size() * size_t(sequence_), q.data(), q.size());
    arena.read(0, o_ + q.size() * size_t(sequence_), o.data(), o.size());
    for (int i = 0; i < count; i++) {
      // A single key is a sequence of one key whose position is the key's.
      const int32_t token = random.below(s_.kv_len[sequence_]);
      const size_t at = size_t(k_starts_[sequence_] + token) * size_t(k_row_);
      arena.read(0, k_ + at, k.data(), k.size());
      if (exact()) arena.read(0, v_ + at, v.data(), v.size());
      P host = p_.fields;
      host.batch = 1;
      host.score_stride = 1;
      host.q = q.data(), host.o = o.data(), host.k = k.data(), host.v = v.data();
      host.lse = sums_.data() + size_t(q_starts_[sequence_]) * s_.q_heads;
      host.cu_q = all_rows, host.cu_k = one_key, host.first_pos = &token, host.q_pos = &q_pos;
      const int32_t listed[] = {0, sampled_};
      if (samples()) host.cu_sampled = listed, host.sampled_rows = sample_.data() + cu_sampled_[sequence_];
      wanted_.emplace_back(token, reference::reference_score(contract, host));
    }
  }

  Content content_;
  BenchShape s_{};
  int rows_ = 0, sampled_ = 0, newest_ = 0, sequence_ = 0;
  int64_t q_row_ = 0, k_row_ = 0;
  ArenaParams<P> p_;
  size_t q_ = 0, k_ = 0, o_ = 0, v_ = 0, scores_ = 0;
  std::vector<int32_t> q_starts_, k_starts_, sample_, cu_sampled_{0};
  std::vector<float> sums_;
  double pairs_ = 0;  // of a query row and a key that it sees
  std::vector<std::pair<int32_t, std::vector<double>>> wanted_;
};

class SelectTrial final : public Trial {
  using P = antkv_select_params;

 public:
  using Trial::Trial;

  void read(const Json& json) override {
    s_ = BenchShape::read_plain(json);
    permille_ = bounded(json, "anchor_permille", 10, 0, 1000);
  }

  void fill() override {
    const int64_t lists = int64_t(s_.batch) * s_.kv_heads;
    p_->batch = s_.batch;
    p_->kv_heads = s_.kv_heads;
    p_->score_stride = s_.most_tokens();
    p_->keep_words = int32_t(ceil_div(s_.most_tokens(), 32));
    p_->max_anchors = std::max(1, int32_t(int64_t(s_.most_tokens()) * permille_ / 1000));
    p_->budget_permille = permille_;
    p_->budget_tokens = -1;
    const size_t score_bytes = size_t(lists * p_->score_stride * 4), bitmap_bytes = size_t(lists * p_->keep_words * 4), index_bytes = size_t(lists * p_->max_anchors * 4);
    scores_ = arena.place(score_bytes), bitmap_ = arena.place(bitmap_bytes), indices_ = arena.place(index_bytes);
    const size_t counts = arena.place(size_t(lists) * 4);
    outputs_end_ = arena.place(size_t(s_.batch) * 4);
    p_.bind(&P::scores, arena, scores_), p_.bind(&P::keep_bitmap, arena, bitmap_), p_.bind(&P::keep_indices, arena, indices_);
    p_.bind(&P::keep_count, arena, counts), p_.bind(&P::token_count, arena, outputs_end_);
    bytes = {{"scores", s_.tokens() * s_.kv_heads * 4}, {"bitmap", int64_t(bitmap_bytes)}, {"indices", int64_t(index_bytes)}};
    arena.allocate(copies_for(gpu, total(bytes)), "select of " + std::to_string(s_.batch) + " x " + std::to_string(s_.most_tokens()) + " scores");
    // Log-normal, as sums of attention weights about are. An odd length, so that no two lists of a power-of-two length are the same.
    std::vector<uint8_t> block(std::min(score_bytes / 4, 2 * kMiB - 1) * 4);
    for (size_t i = 0; i < block.size(); i += 4) {
      const float score = float(std::exp(2 * random.gauss()));
      std::memcpy(block.data() + i, &score, 4);
    }
    arena.repeat(scores_, block, score_bytes);
    arena.write(outputs_end_, s_.kv_len);
    arena.replicate();
  }

  std::function<std::vector<Launch>(int)> step(const Arm& arm) override {
    const CUfunction function = gpu.launcher.load(arm.kernel);
    return [this, arm, function](int copy) { return std::vector<Launch>{launch_of(arm.kernel, function, p_.of(copy))}; };
  }

  void poison() override { arena.fill_all(bitmap_, kPoison, outputs_end_ - bitmap_); }

  void check(const Arm&, BenchCheck& found) override {
    if (!want_) choose();
    found.kind = "one list";
    found.fault_unless(arena.copies_agree(bitmap_, outputs_end_ - bitmap_), "copies with equal data gave different selections");
    std::vector<uint32_t> words(p_->keep_words);
    std::vector<int32_t> kept(p_->max_anchors);
    arena.read(0, bitmap_ + list_ * words.size() * 4, words.data(), words.size() * 4);
    arena.read(0, indices_ + list_ * kept.size() * 4, kept.data(), kept.size() * 4);
    found.detail.set("kept", want_->count[0]);
    found.fault_unless(want_->bitmap == words, "keep_bitmap differs from the reference's");
    found.fault_unless(want_->indices == kept, "keep_indices differ from the reference's");
  }

  Json shape(const Arm&) const override { return s_.json().set("anchor_permille", permille_); }
  void extend(Json&, const Arm&) const override {}

 private:
  void choose() {
    const int b = random.below(s_.batch);
    list_ = size_t(b) * s_.kv_heads + random.below(s_.kv_heads);
    std::vector<float> values(p_->score_stride);
    arena.read(0, scores_ + list_ * values.size() * 4, values.data(), values.size() * 4);
    P host = p_.fields;
    host.batch = host.kv_heads = 1;
    host.scores = values.data();
    host.token_count = &s_.kv_len[b];
    want_ = std::make_unique<reference::Selection>(reference::reference_select(host));
  }

  BenchShape s_{};
  int permille_ = 0;
  ArenaParams<P> p_;
  size_t scores_ = 0, bitmap_ = 0, indices_ = 0, outputs_end_ = 0, list_ = 0;
  std::unique_ptr<reference::Selection> want_;
};

}  // namespace

std::unique_ptr<Trial> score_trial(const Gpu& gpu, uint64_t seed, const Kernel& kernel) { return std::make_unique<ScoreTrial>(gpu, seed, kernel); }
std::unique_ptr<Trial> select_trial(const Gpu& gpu, uint64_t seed, const Kernel& kernel) { return std::make_unique<SelectTrial>(gpu, seed, kernel); }

}  // namespace runner
