// Steps as CUDA graphs: append, decode and combine are captured once, and replayed by every later step whose launches differ in nothing but what their buffers hold.
#include "life_step.h"

namespace runner {

namespace {

bool same_sizes(const std::deque<Buffer>& a, const std::deque<Buffer>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Buffer& x, const Buffer& y) { return x.name == y.name && x.host.size() == y.host.size(); });
}

}  // namespace

/// The graph of a step like this one, with this one's contents.
LifeCache::Graph& LifeCache::graph_of(std::unique_ptr<Step> step) {
  for (const auto& graph : graphs_) {
    Step& known = *graph->step;
    if (!same_sizes(known.memory.buffers(), step->memory.buffers())) continue;
    if (!known.append.same_fields(step->append) || !known.decode.same_fields(step->decode) || !known.combine.same_fields(step->combine)) continue;
    auto from = step->memory.buffers().begin();
    for (Buffer& b : known.memory.buffers()) b.host = (from++)->host;
    return *graph;
  }
  graphs_.push_back(std::make_unique<Graph>());
  Graph& graph = *graphs_.back();
  graph.step = std::move(step);
  counts.graphs++;
  // Device addresses are known from the first upload on.
  state_.upload(), graph.step->memory.upload();
  std::vector<Launch> launches;
  const auto add = [&](const Kernel& kernel, const auto& params) { launches.push_back(launch_of(kernel, launcher_.load(kernel), params.device())); };
  add(kernels_.append, graph.step->append), add(kernels_.decode, graph.step->decode);
  if (combines()) add(kernels_.combine, graph.step->combine);
  graph.launches = std::make_unique<Replay>(gpu_, std::move(launches));
  return graph;
}

void LifeCache::replay(const std::vector<LiveSequence*>& batch, const Stage& stage) {
  AppendInput in = begin_append(batch, stage);
  DecodeInput asked = begin_decode(batch);
  auto step = std::make_unique<Step>(launcher_.driver);
  bind_append(*step, batch, in);
  bind_decode(*step, batch, asked);
  Graph& graph = graph_of(std::move(step));
  state_.upload(), graph.step->memory.upload();
  graph.launches->run();
  gpu_.synchronize();
  counts.replays++;
  settle(graph.step->memory, "graph");
  end_append(batch, in);
  end_decode(batch, asked, graph.step->memory);
}

}  // namespace runner
