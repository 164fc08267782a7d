// Runs a launch: blocks one after another, each block's threads as fibres that meet at collectives.
//
// A warp advances in phases: every lane runs, in the chosen order, to its next collective; then the collective is performed and the next phase
// starts. When a warp has reached a block barrier (or its end) the next warp runs. So nothing spins, and a warp whose lanes
// disagree is seen at the end of the phase in which they part.
#include "launch.h"

#include <string.h>

#include <algorithm>
#include <random>

#include "check.h"
#include "counters.h"
#include "group.h"
#include "memory.h"
#include "report.h"

namespace antkv_emu {

Settings settings;
Machine machine;

namespace {

inline void next_fibre(Thread& from);

constexpr int kOrders = 16;  // shuffled lane orders, taken in turn by phase

struct Run {
  const LaunchRequest* request;
  std::vector<Thread> threads;
  std::vector<int> warps;          // order in which warps run
  uint8_t lanes[kOrders][kWarp];   // orders in which lanes run
  int threads_live;                // threads of the launch's blocks
  size_t warp_at;                  // index into warps
  int first, lanes_here;           // of the running warp
  const uint8_t* order;            // of its lanes in the running phase,
  uint8_t short_order[kWarp];      // which lie here if the warp is not whole
  int lane_at;                     // position in it
  int at_warp;                     // lanes that came to a warp's collective in it,
  bool same;                       // the same one:
  Collective kind;
  int line;
  unsigned phase;
  Fibre main;
  CUresult result;
};
Run run;

/// Thrown by stop_at: unwinds the fibre that found the problem. The others are left where they are; kernels own nothing.
struct Stopped {};

void fibre_main() {
  fibre_started();
  try {
    run.request->image->call(run.request->params.data());
    Thread& t = run.threads[size_t(machine.thread)];
    t.state = State::done;
    next_fibre(t);
  } catch (const Stopped&) {
  }
  switch_fibre(run.threads[size_t(machine.thread)].fibre, run.main, true);
  __builtin_unreachable();
}

inline void enter(Thread& from, int thread) {
  if (machine.thread == thread && from.state != State::done) return;
  machine.thread = thread;
  switch_fibre(from.fibre, run.threads[size_t(thread)].fibre, from.state == State::done);
}

/// One line per place: "lanes 0-15, 17 at shuffle (file:31)".
std::string where_threads_are(int first, int count, const char* unit) {
  auto place = [](const Thread& t) { return t.state == State::done ? std::string("returned") : text("at %s (%s:%d)", collective_name(t.kind), t.file, t.line); };
  std::vector<std::pair<std::string, std::string>> places;  // place, numbers
  for (int i = 0, end; i < count; i = end) {
    const std::string here = place(run.threads[size_t(first + i)]);
    for (end = i + 1; end < count && place(run.threads[size_t(first + end)]) == here;) end++;
    auto p = std::find_if(places.begin(), places.end(), [&](const auto& x) { return x.first == here; });
    if (p == places.end()) p = places.insert(p, {here, ""});
    p->second += (p->second.empty() ? "" : ", ") + (end - i == 1 ? text("%d", i) : text("%d-%d", i, end - 1));
  }
  std::string all;
  for (const auto& [here, numbers] : places) all += text("\n    %s %.120s%s %s", unit, numbers.c_str(), numbers.size() > 120 ? " ..." : "", here.c_str());
  return all;
}

/// The warp's lanes run to their next collectives.
void start_phase() {
  run.order = run.lanes[++run.phase % kOrders];
  run.lane_at = 0;
  run.at_warp = 0;
  run.same = true;
  if (run.lanes_here == kWarp) return;
  std::copy_if(run.order, run.order + kWarp, run.short_order, [](uint8_t lane) { return lane < run.lanes_here; });
  run.order = run.short_order;
}

void start_warp() {
  run.first = run.warps[run.warp_at] * kWarp;
  run.lanes_here = std::min(kWarp, run.threads_live - run.first);
  start_phase();
}

/// Every lane of the phase is at a collective or done: does what they came for and starts the next phase. False: the block has ended.
bool end_phase() {
  const Thread* t = &run.threads[size_t(run.first)];
  if (run.at_warp == kWarp && run.same) {
    perform(run.kind, run.first);
    if (settings.counters) count_collective(run.kind, 1);
    machine.parity ^= 1;
    after_collective(run.first / kWarp, run.kind);
    start_phase();
    return true;
  }
  if (run.at_warp) {
    int worst = 0;
    while (t[worst].state != State::at_warp) worst++;
    stop_at(run.first + worst, CUDA_ERROR_LAUNCH_FAILED,
            "divergent-collective: the lanes of a warp must all come to the same one; look for a branch or an early return that depends on the lane:" +
                where_threads_are(run.first, run.lanes_here, "lanes"),
            t[worst].file, t[worst].line);
  }
  if (settings.counters) flush_accesses();
  if (++run.warp_at < run.warps.size()) {
    start_warp();
    return true;
  }

  // All warps are at a block barrier or done.
  int at_block = 0;
  bool together = true;
  const Thread* first_waiting = nullptr;
  for (int i = 0; i < run.threads_live; i++) {
    const Thread& u = run.threads[size_t(i)];
    if (u.state != State::at_block) continue;
    at_block++;
    if (!first_waiting) first_waiting = &u;
    together &= u.line == first_waiting->line;
  }
  if (!at_block) {
    before_block_end();
    group_end_block();
    return false;
  }
  if (at_block != run.threads_live || !together) {
    stop_at(int(first_waiting - run.threads.data()), CUDA_ERROR_LAUNCH_FAILED,
            "divergent-barrier: all threads of the block must come to the same block_barrier; look for a barrier inside a branch, or an early return:" +
                where_threads_are(0, run.threads_live, "threads"),
            first_waiting->file, first_waiting->line);
  }
  if (settings.counters) count_collective(Collective::block_barrier, int(run.warps.size()));
  after_block_barrier();
  group_barrier();
  run.warp_at = 0;
  start_warp();
  return true;
}

/// Leaves `from`, which is at a collective or done; returns when its collective was performed and its turn has come, or the block has ended.
inline void next_fibre(Thread& from) {
  if (++run.lane_at == run.lanes_here && !end_phase()) return;
  enter(from, run.first + run.order[run.lane_at]);
}

void arrive(Collective kind, void* args, const char* file, int line) {
  Thread& t = run.threads[size_t(machine.thread)];
  t.state = kind == Collective::block_barrier ? State::at_block : State::at_warp;
  t.kind = kind;
  t.args = args;
  t.file = file;
  t.line = line;
  if (kind != Collective::block_barrier) {
    // Barriers may be reached from several places; whatever moves data must be one instruction for all.
    if (!run.at_warp++) {
      run.kind = kind;
      run.line = line;
    } else {
      run.same &= kind == run.kind && (line == run.line || kind == Collective::warp_barrier);
    }
  }
  next_fibre(t);
}

std::string place(int thread, const char* file, int line) {
  return text("\n  kernel %s, block (%d, %d, %d) of (%d, %d, %d), thread %d (warp %d, lane %d)\n  at %s:%d", run.request->name.c_str(), machine.block[0],
              machine.block[1], machine.block[2], machine.grid[0], machine.grid[1], machine.grid[2], thread, thread / kWarp, thread % kWarp, file, line);
}

/// Orders of lanes, warps and blocks for the `order` setting.
void choose_orders(std::vector<long long>& blocks, int warps) {
  run.warps.resize(size_t(warps));
  for (int i = 0; i < warps; i++) run.warps[size_t(i)] = i;
  for (auto& order : run.lanes) {
    for (int i = 0; i < kWarp; i++) order[i] = uint8_t(i);
  }
  if (settings.order == 1) {
    std::reverse(blocks.begin(), blocks.end());
    std::reverse(run.warps.begin(), run.warps.end());
    for (auto& order : run.lanes) std::reverse(order, order + kWarp);
  } else if (settings.order) {
    std::mt19937_64 random(static_cast<uint64_t>(settings.order));
    auto shuffle = [&](auto begin, size_t n) {  // std::shuffle differs between libraries
      for (size_t i = n; i > 1; i--) std::swap(begin[i - 1], begin[random() % i]);
    };
    shuffle(blocks.begin(), blocks.size());
    shuffle(run.warps.begin(), run.warps.size());
    for (auto& order : run.lanes) shuffle(order, kWarp);
  }
}

void bind_machine(const LaunchRequest& r) {
  static unsigned char* shared = nullptr;
  constexpr size_t kMost = 256 << 10;
  if (!shared) shared = static_cast<unsigned char*>(aligned_alloc(4096, kMost + 4096)) + 128;  // aligned to 128 as promised, not better
  machine.shared = shared;
  machine.shared_bytes = r.shared_bytes;
  machine.watch_shared = settings.race > 0 || settings.counters;
  machine.watch_global = settings.race > 1 || settings.counters;
  machine.arena = arena_base();
  machine.arena_bytes = arena_bytes();
  machine.valid = validity();
  machine.arrive = arrive;
  machine.on_shared = shared_watcher();
  machine.on_global = on_global;
  machine.bad_shared = bad_shared;
  machine.bad_global = bad_global;
  machine.grid_fence = grid_fence;
  machine.copy_async = copy_issue;
  machine.copy_async_commit = copy_commit;
  machine.copy_async_wait = copy_wait;
  machine.group_publish = group_publish;
  for (int i = 0; i < 3; i++) machine.grid[i] = int(r.grid[i]);
  r.image->bind(&machine);
}

void run_block(long long block) {
  for (int i = 0; i < 3; i++) {
    machine.block[i] = int(block % machine.grid[i]);
    block /= machine.grid[i];
  }
  memset(machine.shared, 0xff, machine.shared_bytes);  // NaN
  for (int i = 0; i < run.threads_live; i++) {
    Thread& t = run.threads[size_t(i)];
    t.state = State::running;
    t.group = 0;
    prepare_fibre(t.fibre, i, fibre_main);
  }
  group_start_block();
  run.warp_at = 0;
  start_warp();
  machine.thread = run.first + run.order[0];
  switch_fibre(run.main, run.threads[size_t(machine.thread)].fibre);
  end_block_checks();
  for (int i = 0; i < run.threads_live; i++) run.threads[size_t(i)].copies.clear();  // what nobody waited for has drained
}

}  // namespace

CUresult run_launch(const LaunchRequest& r) {
  run.request = &r;
  run.result = CUDA_SUCCESS;
  run.phase = 0;
  run.threads_live = int(r.block[0] * r.block[1] * r.block[2]);
  if (!reserve_stacks(run.threads_live)) return fail(CUDA_ERROR_OUT_OF_MEMORY, "no memory for the stacks of the emulated threads");
  if (run.threads.size() < size_t(run.threads_live)) run.threads.resize(size_t(run.threads_live));
  std::vector<long long> blocks(size_t(r.grid[0]) * r.grid[1] * r.grid[2]);
  for (size_t i = 0; i < blocks.size(); i++) blocks[i] = static_cast<long long>(i);
  choose_orders(blocks, (run.threads_live + kWarp - 1) / kWarp);
  bind_machine(r);
  start_checks();
  if (settings.counters) start_counters(r.name, static_cast<long long>(blocks.size()), run.threads_live);
  for (const long long block : blocks) {
    start_block_checks(block);
    run_block(block);
    if (run.result) break;
  }
  end_checks();
  if (settings.counters) end_counters();
  return run.result;
}

Thread& thread_at(int index) { return run.threads[size_t(index)]; }
int thread_count() { return run.threads_live; }
const std::string& kernel_name() { return run.request->name; }

void stop_at(int thread, CUresult code, const std::string& what, const char* file, int line) {
  std::string cause = what;
  if (pending_finding(cause, thread, file, line)) code = CUDA_ERROR_LAUNCH_FAILED;
  run.result = fail(code, cause + place(thread, file, line));
  throw Stopped{};
}
void stop(CUresult code, const std::string& what, const char* file, int line) { stop_at(machine.thread, code, what, file, line); }

const char* collective_name(Collective c) {
  constexpr const char* kNames[kCollectives] = {"shuffle", "vote_ballot", "warp_barrier", "block_barrier", "mma_16x8x16",
                                                "load_matrix_x4", "load_matrix_x4_transposed", "transpose_matrix", "warp_index", "mma_16x8x32_s8u8", "mma_16x8x32_s8s8",
                                                "mma_sparse_16x8x64_u8s8", "mma_sparse_16x8x64_u8u8", "mma_16x8x16_bf16",
                                                "group_mma_64x48x16", "group_mma_fence", "group_mma_commit", "group_mma_wait", "reduce", "uniform"};
  return kNames[int(c)];
}

const char* access_name(Access how, bool shared) {
  constexpr const char* kShared[] = {"load_shared", "store_shared", "atomic_add_shared", "copy_async (destination)", "load_matrix_x4", "load"};
  constexpr const char* kGlobal[] = {"load_global", "store_global", "atomic_add_global", "copy_async (source)", "matrix load", "load_global_once"};
  return (shared ? kShared : kGlobal)[int(how)];
}

}  // namespace antkv_emu
