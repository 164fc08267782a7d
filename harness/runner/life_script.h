// The script of a life: random events, or recorded rows decoded one by one.
#pragma once
#include "life.h"

namespace runner {

/// Chances of events, per 1000 and step (`draft`, `pause`, `turn`: and sequence; `tree`: of a draft).
struct LifeEvents {
  int start, end, fork, prefix, truncate, draft, tree, pause, turn;
  bool rejects;
  explicit LifeEvents(const Json& e)
      : start(bounded(e, "start", 150, 0, 1000)), end(bounded(e, "end", 40, 0, 1000)), fork(bounded(e, "fork", 60, 0, 1000)), prefix(bounded(e, "prefix", 60, 0, 1000)),
        truncate(bounded(e, "truncate", 40, 0, 1000)), draft(bounded(e, "draft", 300, 0, 1000)), tree(bounded(e, "tree", 500, 0, 1000)), pause(bounded(e, "pause", 100, 0, 1000)), turn(bounded(e, "turn", 50, 0, 1000)),
        rejects(e.boolean("rejects", true)) {}
};

class LifeScript {
 public:
  /// Without tokens in `dump` rows are drawn. Reads the request's seed, events, prompt, tokens_per_step, only, still, drawn_masses, kernels and codebook.
  LifeScript(const Gpu& gpu, const Json& request, const LifeShape& shape, Dump dump);
  void step(int number);
  LifeCache& cache() { return cache_; }
  Json sample(int step);
  Json digests();
  std::vector<std::string> faults;

 private:
  void row(const LiveSequence& s, int token, uint64_t salt, std::vector<uint16_t>& k, std::vector<uint16_t>& v, std::vector<uint16_t>& q);
  void begin();
  void happen();
  void plan(LiveSequence& s);
  void stage(LiveSequence& s, int count, int accepted);
  void grow_tree(LiveSequence& s, int rows, int accepted);
  void draw_masses(const std::vector<LiveSequence*>& batch);
  Random stream(int id, int token, uint64_t salt) const { return Random(Random(Random(seed_ * 0x9e3779b97f4a7c15 + uint64_t(id)).bits() + uint64_t(token)).bits() + salt); }
  bool chance(Random& random, int permille) const { return random.below(1000) < permille; }
  LiveSequence& any() { return live_[size_t(random_.below(int64_t(live_.size())))]; }

  uint64_t seed_;
  Random random_;
  LifeEvents events_;
  Dump dump_;  // without tokens: rows are drawn
  LifeCache cache_;
  int prompt_, advance_, next_id_ = 0, step_ = 0;  // advance_: rows of a sequence and step that drafts nothing
  std::vector<int32_t> only_, still_;
  bool drawn_;
  std::deque<LiveSequence> live_;
  struct Ended {
    int id;
    std::vector<uint64_t> state, outputs;
  };
  std::vector<Ended> ended_;
  std::vector<int> epoch_;  // by id: rises where tokens are forgotten, so that others take their places
};

}  // namespace runner
