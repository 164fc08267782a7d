// What happens in a life, step by step.
#include "life_script.h"

namespace runner {
namespace {

const Json kNone = Json::object();

}  // namespace

LifeScript::LifeScript(const Gpu& gpu, const Json& request, const LifeShape& shape, Dump dump)
    : seed_(uint64_t(request.integer("seed", 1))), random_(seed_), events_(request.has("events") ? request.at("events") : kNone), dump_(std::move(dump)),
      cache_(gpu, request, shape, random_), prompt_(bounded(request, "prompt", 0, 0, 1 << 20)), advance_(bounded(request, "tokens_per_step", 1, 1, shape.rows)), only_(request.integers("only")),
      still_(request.integers("still")), drawn_(request.boolean("drawn_masses", false)) {
  cache_.trees = events_.tree > 0 && events_.draft > 0;
}

/// One token of a sequence: k, v [kv_heads, d], q [q_heads, d] are appended. Drawn for the heads of all ranks; a rank takes its own.
void LifeScript::row(const LiveSequence& s, int token, uint64_t salt, std::vector<uint16_t>& k, std::vector<uint16_t>& v, std::vector<uint16_t>& q) {
  const LifeShape& shape = cache_.shape();
  const int d = cache_.format().head_dim;
  if (dump_.tokens > 0) {
    for (int head = 0; head < shape.kv_heads; head++) {
      const int at = s.sim.first_pos + token;
      k.insert(k.end(), dump_.row(dump_.k, head, at), dump_.row(dump_.k, head, at) + d);
      v.insert(v.end(), dump_.row(dump_.v, head, at), dump_.row(dump_.v, head, at) + d);
    }
    for (int head = 0; head < shape.q_heads; head++) q.insert(q.end(), dump_.row(dump_.q, head, s.sim.first_pos + token), dump_.row(dump_.q, head, s.sim.first_pos + token) + d);
    return;
  }
  Random random = stream(s.id, token, salt);
  const auto draw = [&](int heads, std::vector<uint16_t>& to, double size, double spread) {
    for (int head = 0; head < heads * shape.ranks; head++) {
      const double length = size * std::exp(spread * random.gauss());  // keys of unequal length, so that some tokens draw the attention
      for (int x = 0; x < d; x++) {
        const uint16_t value = reference::to_half(length * random.gauss());
        if (head / heads == shape.rank) to.push_back(value);
      }
    }
  };
  draw(shape.kv_heads, k, 1, 0.3), draw(shape.kv_heads, v, 1, 0), draw(shape.q_heads, q, 1.5, 0);
}

/// A new sequence with a prompt.
void LifeScript::begin() {
  const LifeShape& shape = cache_.shape();
  const int id = next_id_++;
  epoch_.resize(size_t(next_id_), 0);
  Random random = stream(id, -1, 0);
  const int most = shape.max_tokens / 2, length = prompt_ ? prompt_ : 1 + random.below(most);
  int first_pos = (const int[]){0, 7, 100000}[random.below(3)];
  if (dump_.tokens > 0) first_pos = int(int64_t(id % shape.sequences) * (dump_.tokens - prompt_) / (shape.sequences * 2));
  if (!only_.empty() && std::find(only_.begin(), only_.end(), id) == only_.end()) return;
  LiveSequence s = cache_.start(id, first_pos);
  std::vector<uint16_t> all_q;
  for (int token = 0; token < length; token++) {
    std::vector<uint16_t> k, v;
    row(s, token, 0, k, v, all_q);
    cache_.life().stage(s.sim, k.data(), v.data());
  }
  cache_.prefill(s, all_q, random);
  live_.push_back(std::move(s));
}

/// What may happen between two steps.
void LifeScript::happen() {
  const LifeShape& shape = cache_.shape();
  const bool exact = cache_.life().rules().exact();
  const int most = dump_.tokens > 0 ? dump_.tokens : shape.max_tokens;
  for (size_t i = 0; i < live_.size();) {
    const LiveSequence& s = live_[i];
    const int n = s.sim.committed + s.pending;
    const int next = dump_.tokens > 0 ? s.sim.first_pos + n + advance_ : n + std::max(shape.rows, cache_.room(s));
    if (next <= most && !(live_.size() > 1 && chance(random_, events_.end))) {
      i++;
      continue;
    }
    cache_.finish(live_[i]);
    cache_.end(live_[i]);
    ended_.push_back({s.id, s.digest, s.outputs});
    live_.erase(live_.begin() + std::ptrdiff_t(i));
  }
  while (int(live_.size()) < shape.sequences && (live_.empty() || dump_.tokens > 0 || (step_ == 0 && prompt_) || chance(random_, events_.start))) {
    begin();
    if (!only_.empty() && next_id_ >= shape.sequences) break;
  }
  if (live_.empty()) return;
  for (const bool whole : {true, false}) {
    LiveSequence& donor = any();
    if (!chance(random_, whole ? events_.fork : events_.prefix) || int(live_.size()) == shape.sequences || donor.entering) continue;
    const int blocks = donor.sim.coded / shape.flush_block;
    const int frozen = exact ? donor.sim.committed : whole ? donor.sim.coded : random_.below(blocks + 1) * shape.flush_block;
    if (!cache_.may_fork(donor) || (!whole && (frozen == 0 || exact))) continue;
    epoch_.resize(size_t(next_id_ + 1), 0);
    live_.push_back(cache_.fork(donor, next_id_++, frozen, whole));
    if (!whole) cache_.counts.prefixes++;
  }
  LiveSequence& s = any();
  if (chance(random_, events_.truncate) && !s.entering) {
    const int least = std::max({exact ? 1 : s.sim.coded, s.sim.frozen, 1}), n = least + random_.below(s.sim.tokens() - least + 1);
    if (n <= s.sim.committed) s.pending = 0, s.score_row = -1;
    else s.pending = std::min(s.pending, n - s.sim.committed);
    if (n < s.sim.committed) cache_.life().truncate(s.sim, n);
    epoch_[size_t(s.id)]++;
    cache_.counts.truncations++;
  }
}

/// Adds `count` rows, of which the next step will accept the first ones.
void LifeScript::stage(LiveSequence& s, int count, int accepted) {
  std::vector<uint16_t> queries;
  for (int i = 0; i < count; i++) {
    std::vector<uint16_t> k, v;
    row(s, s.sim.tokens(), i < accepted ? uint64_t(epoch_[size_t(s.id)]) << 32 : uint64_t(step_) + 1, k, v, queries);
    cache_.life().stage(s.sim, k.data(), v.data());
  }
  s.queries.resize(queries.size());
  reference::read_halves(queries.data(), int(queries.size()), s.queries.data());
}

/// Makes a tree of the drafted rows: what will be accepted is one line of descent from the first row on, every other row hangs on a random earlier one, or on none.
void LifeScript::grow_tree(LiveSequence& s, int rows, int accepted) {
  Random random = stream(s.id, step_, 8);
  if (!chance(random, events_.tree)) return;
  for (int i = 0; i < rows; i++) {
    const int parent = i < accepted ? i - 1 : random.below(i + 1) - 1;
    s.trees.push_back(uint16_t(1u << i | (parent < 0 ? 0 : s.trees[size_t(parent)])));
  }
  cache_.counts.trees++;
}

/// What a sequence does in this step: nothing, a few rows of which some will be accepted, or a long run of them.
void LifeScript::plan(LiveSequence& s) {
  const LifeShape& shape = cache_.shape();
  Random random = stream(s.id, step_, 7);
  const bool pauses = chance(random, events_.pause), drafts = chance(random, events_.draft), turns = chance(random, events_.turn);
  const int drafted = random.below(shape.rows) + 1, accepted = drafts ? random.below(drafted + 1) : advance_;
  s.asked = 0;
  s.trees.clear();
  if (pauses || (cache_.counts.forks > 0 && std::find(still_.begin(), still_.end(), s.id) != still_.end())) return stage(s, 0, 0);
  if (turns && s.sim.coded > 0) {
    s.pending = 1 + random.below(cache_.room(s));
    cache_.counts.turns++;
    return stage(s, s.pending, s.pending);
  }
  const int rows = drafts ? (events_.rejects ? drafted : accepted) : accepted;
  stage(s, rows, accepted);
  if (drafts) grow_tree(s, rows, accepted);
  s.asked = rows;
  s.pending = accepted;
}

/// Masses that depend on nothing but who asks and who is asked: equal ones whatever else was drafted.
void LifeScript::draw_masses(const std::vector<LiveSequence*>& batch) {
  cache_.replace_masses(batch, [&](const LiveSequence& s, int i, int q_head, int token) {
    const int asker = s.sim.tokens() - s.asked + i;
    return token > asker ? 0.0f : float(stream(s.id, token, uint64_t(asker) << 32 | uint64_t(q_head)).uniform());
  });
}

void LifeScript::step(int number) {
  step_ = number;
  happen();
  std::vector<LiveSequence*> batch;
  for (int at : random_.permutation(int(live_.size()))) batch.push_back(&live_[size_t(at)]);
  if (batch.empty()) return;
  cache_.step(batch, [&](LiveSequence& s) { plan(s); });
  for (LiveSequence* s : batch) {
    if (s->asked == 0 && !s->queries.empty() && cache_.unpacks()) cache_.long_query(*s);
  }
  if (drawn_) draw_masses(batch);
  for (const std::string& fault : cache_.faults) faults.push_back("step " + std::to_string(number) + ", " + fault);
}

/// The live sequences now, and what happened until now.
Json LifeScript::sample(int step) {
  int64_t tokens = 0, coded = 0, anchors = 0;
  for (const LiveSequence& s : live_) {
    tokens += s.sim.committed, coded += s.sim.coded;
    for (const auto& head : s.sim.heads) anchors += std::count_if(head.begin(), head.end(), [](const reference::LifeToken& t) { return t.anchor; });
  }
  Json json = Json::object().set("step", step).set("sequences", int64_t(live_.size())).set("tokens", tokens).set("coded", coded).set("anchors", anchors);
  json.set("found", cache_.counts.found).set("handed_back", cache_.counts.handed_back);
  if (cache_.compare_exact) json.set("exact", cache_.distance.rows ? cache_.distance.json() : Json());
  cache_.distance = {};
  return json;
}

Json LifeScript::digests() {
  for (LiveSequence& s : live_) {
    cache_.finish(s);
    ended_.push_back({s.id, s.digest, s.outputs});
  }
  Json list = Json::array();
  const auto hex = [](const std::vector<uint64_t>& numbers) {
    Json words = Json::array();
    for (uint64_t number : numbers) {
      char text[17];
      std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(number));
      words.push(text);
    }
    return words;
  };
  for (const auto& [id, state, outputs] : ended_) list.push(Json::object().set("sequence", id).set("state", hex(state)).set("outputs", hex(outputs)));
  return list;
}

}  // namespace runner
