// Bank conflicts and sectors. Shared memory: 32 banks of 4 bytes; a wavefront serves any number of lanes that want the same word of a bank;
// 8-byte accesses go by half warp, 16-byte ones (and the rows of a matrix load) by quarter warp. Global memory: sectors of 32 bytes.
#include "counters.h"

#include <string.h>

#include <algorithm>
#include <map>
#include <unordered_map>
#include <vector>

#include "report.h"

namespace antkv_emu {
namespace {

struct Instruction {
  uint32_t lanes;
  uint64_t at[kWarp];
};
struct Tally {
  long long instructions = 0, actual = 0, ideal = 0;
  void operator+=(const Tally& t) {
    instructions += t.instructions;
    actual += t.actual;
    ideal += t.ideal;
  }
};
struct Site {
  const char* file;
  int line;
  Access how;
  bool shared;
  uint32_t bytes;
  Tally total;
  bool active;
  uint32_t seen[kWarp];  // accesses per lane since the flush
  std::vector<Instruction> open;
  size_t used;
};

std::unordered_map<uint64_t, size_t> by_place;
std::vector<Site> sites;
std::vector<size_t> active;
long long collectives[kCollectives];
std::string kernel;
long long blocks_run;
int threads_run;
std::string json = "{}";

size_t distinct(uint64_t* values, size_t n) {
  std::sort(values, values + n);
  return size_t(std::unique(values, values + n) - values);
}

void tally_shared(Site& s, const Instruction& in) {
  const int group = s.bytes <= 4 ? 32 : s.bytes == 8 ? 16 : 8;
  for (int from = 0; from < kWarp; from += group) {
    uint64_t words[kWarp * 4];
    size_t n = 0;
    for (int lane = from; lane < from + group; lane++) {
      if (!(in.lanes >> lane & 1)) continue;
      for (uint64_t w = in.at[lane] / 4; w <= (in.at[lane] + s.bytes - 1) / 4; w++) words[n++] = w;
    }
    if (!n) continue;
    if (s.how != Access::atomic) n = distinct(words, n);  // adders to one word queue up
    int depth[32] = {}, deepest = 0;
    for (size_t i = 0; i < n; i++) deepest = std::max(deepest, ++depth[words[i] % 32]);
    s.total.actual += deepest;
    s.total.ideal++;
  }
}

void tally_global(Site& s, const Instruction& in) {
  uint64_t sectors[kWarp], starts[kWarp];
  size_t n = 0;
  for (int lane = 0; lane < kWarp; lane++) {
    if (!(in.lanes >> lane & 1)) continue;
    starts[n] = in.at[lane];
    sectors[n++] = in.at[lane] / 32;  // aligned accesses of up to 16 bytes lie in one sector
  }
  s.total.actual += static_cast<long long>(distinct(sectors, n));
  s.total.ideal += static_cast<long long>((distinct(starts, n) * s.bytes + 31) / 32);
}

std::string print(const Tally& t, bool shared) {
  return text("{\"instructions\":%lld,\"%s\":%lld,\"ideal\":%lld}", t.instructions, shared ? "wavefronts" : "sectors", t.actual, t.ideal);
}

std::string quoted(const std::string& s) {
  std::string out = "\"";
  for (const char c : s) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

}  // namespace

void start_counters(const std::string& name, long long blocks, int threads) {
  by_place.clear();
  sites.clear();
  active.clear();
  memset(collectives, 0, sizeof collectives);
  kernel = name;
  blocks_run = blocks;
  threads_run = threads;
}

void count_access(int thread, bool shared, uint64_t at, uint32_t bytes, Access how, const char* file, int line) {
  const uint64_t place = uint64_t(line) << 12 | uint64_t(how) << 8 | uint64_t(shared) << 7 | bytes;
  const auto [found, fresh] = by_place.try_emplace(place ^ uint64_t(uintptr_t(file)) << 36, sites.size());
  if (fresh) sites.push_back({file, line, how, shared, bytes, {}, false, {}, {}, 0});
  Site& s = sites[found->second];
  if (!s.active) {
    s.active = true;
    active.push_back(found->second);
  }
  const int lane = thread % kWarp;
  const uint32_t turn = s.seen[lane]++;
  if (turn >= s.open.size()) s.open.resize(turn + 1);
  while (s.used <= turn) s.open[s.used++].lanes = 0;
  s.open[turn].lanes |= 1u << lane;
  s.open[turn].at[lane] = at;
}

void flush_accesses() {
  for (const size_t i : active) {
    Site& s = sites[i];
    for (size_t k = 0; k < s.used; k++) {
      s.total.instructions++;
      s.shared ? tally_shared(s, s.open[k]) : tally_global(s, s.open[k]);
    }
    s.active = false;
    s.used = 0;
    memset(s.seen, 0, sizeof s.seen);
  }
  active.clear();
}

void count_collective(Collective kind, int warps) {
  collectives[int(kind)] += warps;
  flush_accesses();
}

void end_counters() {
  flush_accesses();
  constexpr const char* kHow[] = {"load", "store", "atomic", "copy", "matrix", "load"};  // load_global_once is a load
  std::map<std::string, Tally> shared, global;
  std::string list;
  for (const Site& s : sites) {
    (s.shared ? shared : global)[kHow[int(s.how)]] += s.total;
    list += text("%s{\"file\":%s,\"line\":%d,\"space\":\"%s\",\"access\":\"%s\",\"bytes\":%u,\"count\":%s}", list.empty() ? "" : ",", quoted(s.file).c_str(), s.line,
                 s.shared ? "shared" : "global", kHow[int(s.how)], s.bytes, print(s.total, s.shared).c_str());
  }
  auto section = [](const std::map<std::string, Tally>& by, bool is_shared) {
    std::string out;
    Tally all;
    for (const auto& [name, t] : by) {
      out += text("\"%s\":%s,", name.c_str(), print(t, is_shared).c_str());
      all += t;
    }
    return "{" + out + "\"all\":" + print(all, is_shared) + "}";
  };
  std::string together;
  for (int i = 0; i < kCollectives; i++) together += text("%s\"%s\":%lld", i ? "," : "", collective_name(Collective(i)), collectives[i]);
  json = text("{\"kernel\":%s,\"blocks\":%lld,\"threads\":%d,\"shared\":%s,\"global\":%s,\"collectives\":{%s},\"sites\":[%s]}", quoted(kernel).c_str(), blocks_run,
              threads_run, section(shared, true).c_str(), section(global, false).c_str(), together.c_str(), list.c_str());
}

const std::string& counters_json() { return json; }

}  // namespace antkv_emu
