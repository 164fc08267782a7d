// State on the device, and the launches of every step.
#include "life_step.h"

namespace runner {

// An index that no one may follow.
constexpr int32_t kWild = 0x40000000;

LifeKernels::LifeKernels(const Json& kernels) {
  const auto read = [&](const char* op, Kernel& to, bool needed) {
    if (needed || kernels.has(op)) to = Kernel::read(kernels.at(op), op);
  };
  read("append", append, true), read("decode", decode, true);
  decode.only_halves();
  if (kernels.has("rank")) rank = Kernel::read(kernels.at("rank"), "score");
  for (const auto& [op, kernel] : {std::pair{"score", &score}, {"select", &select}, {"encode", &encode}, {"combine", &combine}, {"unpack", &unpack}}) read(op, *kernel, false);
}

LifeCache::~LifeCache() = default;

LifeCache::LifeCache(const Gpu& gpu, const Json& request, const LifeShape& shape, Random& random)
    : gpu_(gpu), launcher_(gpu.launcher), kernels_(request.at("kernels")), shape_(shape), state_(gpu.driver) {
  using reference::Form;
  if (shape.policy == 0 && kernels_.score.contract.form != Form::column) throw RequestError("\"score\" must be of form column: the ring goes on from its sums; \"rank\" may be of another");
  const bool norms = !kernels_.rank.name.empty() && kernels_.rank.contract.form == Form::norm, coded = !kernels_.decode.contract.format.k.exact || !kernels_.decode.contract.format.v.exact;
  if (coded && (shape.policy == 1 || shape.policy == 2) != norms) throw RequestError("policies 1 and 2, and no others, take a \"rank\" of form norm");
  make_state(random, request);
}

/// This rank's part of one side's codebooks, from the file that the request names or drawn; null for an exact side.
Buffer* LifeCache::codebook(Random& random, const Json& request, const char* side, antkv_codec codec) {
  if (codec.exact) return nullptr;
  const int d = kernels_.decode.contract.format.head_dim;
  const size_t bytes = size_t(shape_.kv_heads * antkv_codebook_layout(codec, d).bytes);
  std::vector<uint8_t> whole;
  if (request.has("codebook")) {
    const std::string file = read_file(request.at("codebook").at(side).string(side));
    whole.assign(file.begin(), file.end());
  } else {
    Memory drawn(launcher_.driver);
    whole = make_codebook(drawn, random, side, codec, d, shape_.kv_heads * shape_.ranks)->host;
  }
  if (whole.size() != bytes * shape_.ranks) throw RequestError("the packed codebook " + std::string(side) + " has " + std::to_string(whole.size()) + " B, " + std::to_string(bytes * shape_.ranks) + " are needed");
  const auto first = whole.begin() + std::ptrdiff_t(bytes * shape_.rank);
  return &state_.add(std::string(side) + "_codebook", std::vector<uint8_t>(first, first + std::ptrdiff_t(bytes)));
}

void LifeCache::make_state(Random& random, const Json& request) {
  const antkv_format& f = kernels_.decode.contract.format;
  const bool exact = f.k.exact && f.v.exact;
  const int d = f.head_dim, pool = shape_.sequences * int(ceil_div(shape_.max_tokens, shape_.page_size)) + 8;
  if (request.has("codebook")) request.at("codebook");  // read, also where both sides are exact
  k_codebook_ = codebook(random, request, "k", f.k), v_codebook_ = codebook(random, request, "v", f.v);
  std::vector<float> frequencies(shape_.rotary_dim / 2);
  for (size_t i = 0; i < frequencies.size(); i++) frequencies[i] = float(std::pow(shape_.theta, -2.0 * double(i) / shape_.rotary_dim));
  inv_freq_ = &state_.add("inv_freq", frequencies);

  page_head_stride_ = antkv_page_bytes(f, shape_.page_size) + shape_.pad;
  page_stride_ = shape_.kv_heads * page_head_stride_ + shape_.pad;
  pages_ = &state_.add("pages", size_t(pool * page_stride_));
  pool_ = std::make_unique<PagePool>(pool, random);
  anchor_head_stride_ = antkv_anchor_page_bytes(d) + shape_.pad;
  anchor_page_stride_ = shape_.kv_heads * anchor_head_stride_ + shape_.pad;
  if (shape_.anchor_pages > 0) {
    const int pages = 2 * shape_.sequences * shape_.anchor_pages;
    anchors_ = &state_.add("anchors", size_t(pages * anchor_page_stride_));
    anchor_pool_ = std::make_unique<PagePool>(pages, random);
    anchor_score_ = &state_.add("anchor_score", size_t(shape_.sequences) * shape_.kv_heads * shape_.anchor_pages * ANTKV_ANCHOR_ROWS * 4);
  }
  free_slots_ = random.permutation(shape_.sequences);
  if (!exact) {
    p_.ring_rows = antkv_ring_rows(shape_.window, shape_.flush_block);
    p_.ring_row_stride = 2 * d + shape_.pad;
    p_.ring_head_stride = p_.ring_rows * p_.ring_row_stride + shape_.pad;
    p_.ring_slot_stride = shape_.kv_heads * p_.ring_head_stride + shape_.pad;
    ring_k_ = &state_.add("ring_k", size_t(shape_.sequences * p_.ring_slot_stride));
    ring_v_ = &state_.add("ring_v", size_t(shape_.sequences * p_.ring_slot_stride));
    ring_score_ = &state_.add("ring_score", size_t(shape_.sequences) * shape_.kv_heads * p_.ring_rows * 4);
    ring_count_ = &state_.add("ring_count", size_t(shape_.sequences) * shape_.kv_heads * p_.ring_rows * 4);
  }
  if (shape_.last) {
    const int64_t lines = shape_.kv_heads * ceil_div(ANTKV_DRAFT_ROWS * (shape_.q_heads / shape_.kv_heads), kernels_.decode.columns);
    counters_ = &state_.add("counters", std::vector<uint32_t>(size_t(shape_.sequences * lines), 0));
  }
  reference::LifeRules rules{kernels_.decode.contract, shape_.q_heads, shape_.kv_heads, shape_.window, shape_.flush_block, shape_.budget_permille, shape_.budget_tokens,
                             shape_.extra_tokens, shape_.first_tokens, shape_.policy,
                             double(float(1 / std::sqrt(double(d)))), {}, nullptr, nullptr};
  rules.rope = {reinterpret_cast<const float*>(inv_freq_->host.data()), shape_.rotary_dim, shape_.interleaved, double(float(shape_.factor))};
  if (k_codebook_) rules.k_codebook = k_codebook_->host.data();
  if (v_codebook_) rules.v_codebook = v_codebook_->host.data();
  life_ = std::make_unique<reference::Life>(rules);
}

LifeTables LifeCache::tables(const std::vector<LiveSequence*>& batch) const {
  LifeTables t;
  t.anchor_table.assign(size_t(shape_.sequences) * shape_.anchor_pages, -1);
  if (shape_.graph) t.most = int(ceil_div(shape_.max_tokens + ANTKV_DRAFT_ROWS, shape_.page_size));
  for (const LiveSequence* s : batch) t.most = std::max(t.most, int(s->pages.size()));
  t.block_table.assign(batch.size() * t.most, kWild);
  for (size_t b = 0; b < batch.size(); b++) {
    const LiveSequence& s = *batch[b];
    t.slots.push_back(s.slot), t.first_pos.push_back(s.sim.first_pos), t.frozen.push_back(s.sim.frozen), t.frozen_pages.push_back(s.frozen_pages);
    std::copy(s.pages.begin(), s.pages.end(), t.block_table.begin() + std::ptrdiff_t(b * t.most));
    t.indices.insert(t.indices.end(), s.pages.begin(), s.pages.end());
    t.indptr.push_back(int32_t(t.indices.size()));
    std::copy(s.anchor_pages.begin(), s.anchor_pages.end(), t.anchor_table.begin() + s.slot * shape_.anchor_pages);
  }
  if (shape_.graph) t.indices.resize(batch.size() * t.most, kWild);
  return t;
}

/// Reads what a launch left; the state goes on from what the device holds.
void LifeCache::settle(Memory& inputs, const char* what) {
  std::vector<std::string> found;
  state_.download(found);
  inputs.download(found);
  for (const std::string& fault : found) faults.push_back(std::string(what) + ": " + fault);
  for (Buffer& b : state_.buffers()) {
    if (!b.writable.empty()) b.host = b.result;
    b.writable.clear();
  }
}

}  // namespace runner
