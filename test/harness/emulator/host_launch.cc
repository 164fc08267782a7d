// `launch`: one case of a test kernel under several settings. `bench`: how fast the emulator is.
#include <time.h>

#include <algorithm>

#include "host.h"

/// KERNEL NAME WHICH GRID THREADS SHARED WORDS [key=value ...]: `order=` may be repeated, one launch each; `in=host|null|freed` spoils the input pointer.
int run_launches(Driver& d, const std::vector<std::string>& args) {
  if (args.size() < 7) return 2;
  d.start();
  const Handle f = d.kernel(args[0], args[1]);
  auto number = [&](size_t i) { return unsigned(atol(args[i].c_str())); };
  const unsigned grid = number(3), threads = number(4), shared = number(5), words = number(6);
  std::vector<long long> orders;
  std::string in_from;
  bool counters = false;
  for (size_t i = 7; i < args.size(); i++) {
    const size_t eq = args[i].find('=');
    const std::string key = args[i].substr(0, eq), value = args[i].substr(eq + 1);
    if (key == "order") orders.push_back(atoll(value.c_str()));
    else if (key == "in") in_from = value;
    else d.set(key.c_str(), atoll(value.c_str()));
    if (key == "counters") counters = true;
  }
  if (orders.empty()) orders.push_back(0);
  std::vector<uint32_t> in(words);
  for (uint32_t i = 0; i < words; i++) in[i] = i * 2654435761u % 1024;
  for (const long long order : orders) {
    if (d.set) d.set("order", order);
    Words from(d, in), out(d, size_t(1024));
    emu_test_params p{out.pointer(), from.pointer(), int32_t(number(2)), int32_t(words)};
    if (in_from == "host") p.in = in.data();
    if (in_from == "null") p.in = nullptr;
    if (in_from == "freed") {
      Words gone(d, in);
      p.in = gone.pointer();
    }
    if (in_from == "short") {  // the output is as long as the input
      Words small(d, in);
      p.out = small.pointer();
      const int code = d.launch(f, grid, threads, shared, p);
      printf("{\"order\":%lld,\"code\":%d,\"report\":%s}\n", order, code, quoted(d.report()).c_str());
      continue;
    }
    const int code = d.launch(f, grid, threads, shared, p);
    printf("{\"order\":%lld,\"code\":%d,\"report\":%s%s%s}\n", order, code, quoted(d.report ? d.report() : "").c_str(), counters ? ",\"counters\":" : "",
           counters ? d.counters() : "");
    emu_test_params good{out.pointer(), from.pointer(), 99, 0};  // the context must survive: a kernel that does nothing
    if (d.launch(f, 1, 32, 0, good)) printf("{\"order\":%lld,\"code\":-1,\"report\":\"the context did not survive\"}\n", order);
  }
  return 0;
}

namespace {
double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
}
}  // namespace

/// KERNEL (clean.cu): launches per second and nanoseconds per switch, with race 0 and 1, without counters.
int run_bench(Driver& d, const std::vector<std::string>& args) {
  d.start();
  const Handle f = d.kernel(args[0], "emu_clean");
  std::vector<uint32_t> in(4096, 1);
  Words from(d, in), out(d, size_t(8192));
  for (const int race : {0, 1, 2}) {
    d.set("race", race);
    auto time = [&](int which, unsigned shared, int launches) {
      emu_test_params p{out.pointer(), from.pointer(), which, 128};
      double best = 1e9;  // of ten, because others use the machine too
      for (int round = 0; round < 10; round++) {
        const double start = now();
        for (int i = 0; i < launches / 10; i++) d.need(d.launch(f, 1, 128, shared, p), "launch");
        best = std::min(best, (now() - start) / (launches / 10));
      }
      return best;
    };
    time(99, 0, 100);
    const double empty = time(99, 0, 20000);
    const double votes = time(3, 0, 5000);      // 21 warp collectives x 128 lanes
    const double pipeline = time(4, 4096, 5000);
    const double matrix = time(1, 0, 5000);     // 3 x 4
    const double lookups = time(10, 32 << 10, 500);   // 512 x 128 loads
    printf("{\"race\":%d,\"emptyLaunchUs\":%.2f,\"launchesPerSecond\":%.0f,\"switchNs\":%.1f,\"pipelineUs\":%.1f,\"matrixUs\":%.1f,\"lookupNs\":%.1f}\n", race, empty * 1e6, 1 / empty,
           (votes - empty) / (22.0 * 128) * 1e9, pipeline * 1e6, matrix * 1e6, lookups / (512 * 128) * 1e9);
  }
  return 0;
}
