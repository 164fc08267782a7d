// A cache as a runtime keeps it over its whole life: page pools, page tables, anchor pages, state slots. Kernels do the work; the simulation (reference/life.h) says what
// they must leave. life.cc has the script of events.
#pragma once
#include <set>

#include "../reference/life.h"
#include "attend.h"
#include "basis.h"
#include "bench_gpu.h"
#include "cache.h"
#include "check.h"

namespace runner {

/// Pages of one kind: how many hold each, and which are free. A page that is given back is the next to be given out, and no one clears it.
class PagePool {
 public:
  PagePool(int pages, Random& random) : holders_(pages, 0), free_(random.permutation(pages)) {}
  int take() {
    if (free_.empty()) throw RequestError("the pool has no free page: raise max_tokens or anchor_pages");
    const int page = free_.back();
    free_.pop_back();
    holders_[page] = 1;
    return page;
  }
  int share(int page) { return holders_[page]++, page; }
  void drop(int page) {
    if (--holders_[page] == 0) free_.push_back(page);
  }
  bool shared(int page) const { return holders_[page] > 1; }
  int used() const { return int(holders_.size() - free_.size()); }

 private:
  std::vector<int> holders_, free_;
};

/// The kernels of one recipe; what a request lacks has no name.
struct LifeKernels {
  Kernel score;  ///< column sums, from which the ring goes on
  Kernel rank;   ///< op score too: what ranks a prompt, where those do not
  Kernel select, encode, append, decode, combine, unpack;
  explicit LifeKernels(const Json& kernels);
};

/// What is asked of a life (README.md, "life").
struct LifeShape {
  int q_heads, kv_heads, rank, ranks;  ///< heads of this rank; `ranks` of them share the model
  int page_size, pad, window, flush_block, budget_permille, budget_tokens, extra_tokens, first_tokens, policy, sequences, max_tokens, anchor_pages, splits, rows;
  bool csr, spread, last, seal, graph;
  int rotary_dim;
  bool interleaved;
  double theta, factor;
  static LifeShape read(const Json& shape, const antkv_format& format, int kv_heads, int q_heads);
  /// The most anchors of one KV head of a sequence with `coded` coded tokens.
  int64_t most_anchors(int64_t coded) const { return (budget_tokens > 0 ? budget_tokens : coded * budget_permille / 1000) + extra_tokens + first_tokens; }
};

/// A sequence as the runtime sees it, and as the simulation does.
struct LiveSequence {
  int id, slot;
  reference::LifeSequence sim;
  std::vector<int> pages, anchor_pages;  ///< in the order of their tables
  int frozen_pages = 0;                  ///< leading anchor pages that are inherited
  int sealed_pages = 0;                  ///< leading ones of those that have no row at or beyond frozen_len, and never will; the others' owner may write such
  int pending = 0;                       ///< rows of the step before that the next append commits
  int score_row = -1;                    ///< where the step before left their scores; -1: nowhere
  int fresh = 0, asked = 0;              ///< rows that this step's append writes, and rows that its decode asks for
  bool entering = false;                 ///< its staged tokens are a prompt's tail that no append has written yet
  std::vector<double> queries;           ///< [asked, q_heads, d]
  std::vector<uint16_t> trees;           ///< [asked] tree masks, or none: each row sees all before it
  std::vector<uint64_t> digest, outputs; ///< [kv_heads] of the codes, anchors and scores so far; of decode's outputs
};

/// What happened so far.
struct LifeCounts {
  int64_t starts = 0, ends = 0, forks = 0, prefixes = 0, truncations = 0, turns = 0, appended = 0, accepted = 0, rejected = 0, flushes = 0, copied_pages = 0, copied_anchor_pages = 0;
  int64_t trees = 0, graphs = 0, replays = 0, found = 0, handed_back = 0, handed_back_shared = 0, codes = 0, code_ties = 0, anchor_ties = 0;
};

/// Tables of one launch, in the order of its batch.
struct LifeTables {
  int most = 1;  ///< pages of the longest sequence
  std::vector<int32_t> slots, first_pos, frozen, frozen_pages, block_table, indptr{0}, indices, anchor_table;
};

class LifeCache {
 public:
  LifeCache(const Gpu& gpu, const Json& request, const LifeShape& shape, Random& random);
  ~LifeCache();

  /// Scores, selects and encodes the staged tokens of a new sequence, in chunks; its tail waits for the next append. `q` [tokens, q_heads, d] halves.
  void prefill(LiveSequence& s, const std::vector<uint16_t>& q, Random& random);
  using Stage = std::function<void(LiveSequence&)>;
  /// One append of all sequences of the batch: commits `pending` rows, flushes, writes the `fresh` newest staged ones; `stage` adds a sequence's new rows to its simulation.
  /// Then one decode of the `asked` newest rows of each. All held against the simulation. With shape.graph both are one CUDA graph, which steps of like size replay.
  void step(const std::vector<LiveSequence*>& batch, const Stage& stage);
  /// Attention of the staged rows of one sequence over unpacked codes and over the exact rows, merged by combine.
  void long_query(LiveSequence& s);

  // What a runtime does without a kernel (life_pages.cc).
  LiveSequence start(int id, int first_pos);
  /// Whether a fork's list of anchor pages would have room for its own beside those that it inherits.
  bool may_fork(const LiveSequence& donor) const;
  LiveSequence fork(LiveSequence& donor, int id, int frozen, bool whole);
  void end(LiveSequence& s);
  int room(const LiveSequence& s) const { return p_.ring_rows - (s.sim.committed + s.pending - s.sim.coded); }

  /// Adds the anchors and sums that a sequence has in the end to its digest.
  void finish(LiveSequence& s);
  /// What decode left is replaced by masses; mass(sequence, row, q_head, token).
  void replace_masses(const std::vector<LiveSequence*>& batch, const std::function<float(const LiveSequence&, int, int, int)>& mass);

  const reference::Life& life() const { return *life_; }
  /// Whether rows of a long query can be answered: the request names unpack and combine.
  bool unpacks() const { return !kernels_.unpack.name.empty() && !kernels_.combine.name.empty(); }
  const LifeShape& shape() const { return shape_; }
  const antkv_format& format() const { return life_->rules().contract.format; }
  LifeCounts counts;
  std::vector<std::string> faults;
  double worst_out = 0, worst_lse = 0;
  Distance distance;  ///< decode's outputs from exact attention, where that is asked for
  bool compare_exact = false;
  Basis basis;  ///< of the staged values: distances are those of outputs brought back from it
  bool trees = false;  ///< steps may have tree masks
  double out_tolerance = 4e-3, lse_tolerance = 2e-3;

 private:
  void make_state(Random& random, const Json& request);
  Buffer* codebook(Random& random, const Json& request, const char* side, antkv_codec codec);
  LifeTables tables(const std::vector<LiveSequence*>& batch) const;
  /// Points the fields that all ops of a cache share to it, with the tables of this batch.
  template <class P>
  void bind(Params<P>& p, Memory& inputs, const std::vector<LiveSequence*>& batch);
  template <class P>
  void bind_ring(Params<P>& p);
  /// Launches, and takes what the device then holds for the state that goes on.
  template <class P>
  void run(const Kernel& kernel, Params<P>& p, Memory& inputs, const char* what) {
    state_.upload();
    inputs.upload();
    launcher_.launch(kernel, p);
    settle(inputs, what);
  }
  void settle(Memory& inputs, const char* what);

  // life_step.cc; structs in life_step.h
  struct AppendInput;
  struct DecodeInput;
  struct Step;
  std::vector<reference::LifeContest> advance(LiveSequence& s);
  void enter(LiveSequence& s, AppendInput& in);
  AppendInput begin_append(const std::vector<LiveSequence*>& batch, const Stage& stage);
  void bind_append(Step& to, const std::vector<LiveSequence*>& batch, AppendInput& in);
  void end_append(const std::vector<LiveSequence*>& batch, const AppendInput& in);
  DecodeInput begin_decode(const std::vector<LiveSequence*>& batch);
  void bind_decode(Step& to, const std::vector<LiveSequence*>& batch, DecodeInput& in);
  void bind_outputs(Step& to, int rows);
  void end_decode(const std::vector<LiveSequence*>& batch, const DecodeInput& in, Memory& memory);
  bool combines() const { return shape_.splits > 1 && !shape_.last; }

  // life_graph.cc
  struct Graph;
  Graph& graph_of(std::unique_ptr<Step> step);
  void replay(const std::vector<LiveSequence*>& batch, const Stage& stage);

  // life_pages.cc
  void grow(LiveSequence& s, int coded, int tokens);
  void grow_anchors(LiveSequence& s, int coded);
  void own(LiveSequence& s, int page_index);
  void seal(LiveSequence& s);
  int own_rows(const LiveSequence& s) const { return int(s.anchor_pages.size() - s.frozen_pages) * ANTKV_ANCHOR_ROWS; }
  void copy_slot(int from, int to);
  void allow_append(const LiveSequence& s, int coded_before);
  void allow_anchor_rows(const uint8_t* block, int frozen);

  // life_prefill.cc
  std::vector<float> score(LiveSequence& s, const Kernel& kernel, const std::vector<uint16_t>& q);
  void select(LiveSequence& s, const std::vector<float>& scores, std::vector<uint32_t>& bitmap, std::vector<int32_t>& indices);
  void encode(LiveSequence& s, int first, int count, const std::vector<uint32_t>& bitmap, const std::vector<int32_t>& indices, const std::vector<float>& scores);

  // life_compare.cc
  void compare_state(LiveSequence& s, const std::vector<reference::LifeContest>& contests, int coded_before);
  void compare_codes(LiveSequence& s, int head, int token);
  void adopt_anchors(LiveSequence& s, int head, const std::vector<reference::LifeContest>& contests);
  void compare_anchor_rows(LiveSequence& s, int head);
  void compare_ring(LiveSequence& s, int head);
  void compare_exact_pages(LiveSequence& s, int head);
  void compare_rows(LiveSequence& s, int first_row, const uint8_t* out, const float* lse, const float* ring_scores, bool masses);
  void fault(const LiveSequence& s, int head, const std::string& what);
  /// The block of KV head `head` in the page of `token`, and the unit of that token.
  uint8_t* block(const LiveSequence& s, int head, int token) { return pages_->host.data() + s.pages[token / shape_.page_size] * page_stride_ + head * page_head_stride_; }
  uint8_t* anchor_block(const LiveSequence& s, int head, int entry) { return anchors_->host.data() + s.anchor_pages[entry] * anchor_page_stride_ + head * anchor_head_stride_; }
  int64_t ring_at(int slot, int head, int token) const { return slot * p_.ring_slot_stride + head * p_.ring_head_stride + token % p_.ring_rows * p_.ring_row_stride; }
  size_t score_at(int slot, int head, int token) const { return (size_t(slot) * shape_.kv_heads + head) * p_.ring_rows + token % p_.ring_rows; }

  const Gpu& gpu_;
  Launcher& launcher_;
  LifeKernels kernels_;
  LifeShape shape_;
  std::unique_ptr<reference::Life> life_;
  Memory state_;  // what lives from launch to launch; `host` is what the device holds
  Buffer *pages_, *anchors_ = nullptr, *anchor_score_ = nullptr, *ring_k_ = nullptr, *ring_v_ = nullptr, *ring_score_ = nullptr, *ring_count_ = nullptr;
  Buffer *k_codebook_ = nullptr, *v_codebook_ = nullptr, *inv_freq_ = nullptr, *counters_ = nullptr;
  int64_t page_stride_, page_head_stride_, anchor_page_stride_, anchor_head_stride_;
  antkv_append_params p_{};  // its ring fields: shapes of the ring
  std::unique_ptr<PagePool> pool_, anchor_pool_;
  std::vector<int> free_slots_;
  std::vector<float> ring_scores_, lse_;  // what the last decode left; lse_ empty: ring_scores_ are masses
  std::vector<std::unique_ptr<Graph>> graphs_;
};

template <class P>
void LifeCache::bind(Params<P>& p, Memory& inputs, const std::vector<LiveSequence*>& batch) {
  const LifeTables t = tables(batch);
  p.bind(&P::pages, *pages_);
  if (shape_.csr) p.bind(&P::page_indptr, inputs.add("page_indptr", t.indptr)), p.bind(&P::page_indices, inputs.add("page_indices", t.indices));
  else p.bind(&P::block_table, inputs.add("block_table", t.block_table));
  if (k_codebook_) p.bind(&P::k_codebook, *k_codebook_);
  if (v_codebook_) p.bind(&P::v_codebook, *v_codebook_);
  if (anchors_) p.bind(&P::anchors, *anchors_), p.bind(&P::anchor_table, inputs.add("anchor_table", t.anchor_table));
  p.bind(&P::inv_freq, *inv_freq_);
  p.bind(&P::state_slot, inputs.add("state_slot", t.slots));
  p.bind(&P::first_pos, inputs.add("first_pos", t.first_pos));
  if constexpr (!std::is_same_v<P, antkv_encode_params>) {  // encode is for sequences of their own
    p.bind(&P::frozen_len, inputs.add("frozen_len", t.frozen)), p.bind(&P::frozen_anchor_pages, inputs.add("frozen_anchor_pages", t.frozen_pages));
  }
  p->page_stride = page_stride_, p->page_head_stride = page_head_stride_;
  p->anchor_page_stride = anchor_page_stride_, p->anchor_head_stride = anchor_head_stride_;
  p->batch = int32_t(batch.size()), p->kv_heads = shape_.kv_heads, p->page_size = shape_.page_size;
  p->max_pages = t.most, p->max_anchor_pages = shape_.anchor_pages;
  p->rotary_dim = shape_.rotary_dim, p->rope_interleaved = shape_.interleaved, p->attention_factor = float(shape_.factor);
}

template <class P>
void LifeCache::bind_ring(Params<P>& p) {
  if (!ring_k_) return;
  p.bind(&P::ring_k, *ring_k_), p.bind(&P::ring_v, *ring_v_);
  p->ring_rows = p_.ring_rows, p->ring_slot_stride = p_.ring_slot_stride, p->ring_head_stride = p_.ring_head_stride, p->ring_row_stride = p_.ring_row_stride;
}

}  // namespace runner
