// What the launches of a step are told, whether they come one by one or as a graph.
#pragma once
#include "life.h"

namespace runner {

/// What one append is told of its batch, and who competes for anchors in it.
struct LifeCache::AppendInput {
  std::vector<int32_t> seq_len, accepted, coded_len, score_row, cu{0}, new_count;
  std::vector<float> new_score;
  std::vector<uint16_t> k, v;  // [new rows, kv_heads, d]
  std::vector<std::vector<reference::LifeContest>> contests;
};

/// What one decode is told of its batch.
struct LifeCache::DecodeInput {
  std::vector<int32_t> coded_len, kv_len, cu{0};
  std::vector<uint16_t> q, trees;  // [rows, q_heads, d], [rows]
};

/// Launches with their buffers.
struct LifeCache::Step {
  explicit Step(const Driver& driver) : memory(driver) {}
  Memory memory;
  Params<antkv_append_params> append{ANTKV_ABI_VERSION};
  Params<antkv_decode_params> decode{ANTKV_ABI_VERSION};
  Params<antkv_combine_params> combine{ANTKV_ABI_VERSION};
};

/// A captured step. Its buffers stay where they are; each replay gets new contents.
struct LifeCache::Graph {
  std::unique_ptr<Step> step;
  std::unique_ptr<Replay> launches;
};

/// Makes room for `count` elements; nobody reads those that are added.
template <class T>
void pad(std::vector<T>& list, size_t count, T with) {
  if (list.size() < count) list.resize(count, with);
}

}  // namespace runner
