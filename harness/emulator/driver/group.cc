// The matrix unit of sm_90a (wgmma): products that run beside the warps. Sums are poison from the start of a product to the wait that ends it; operands must stay as they
// were; shared memory must have been published (fence.proxy.async) by whoever wrote it, before a barrier. Each warp of a group makes its own 16 rows, since they need nothing
// of the other three; that the four agree is checked at block barriers.
#pragma GCC optimize("O3")  // vectorise the products
#include "group.h"

#include <string.h>

#include "antkv_emu_half.h"
#include "check.h"
#include "report.h"

namespace antkv_emu {
namespace {

constexpr int kColumns = 48, kSums = kColumns / 2, kMostThreads = 1024, kPieces = (256 << 10) / 16;

/// Sums of one `d` of a warp.
struct Product {
  float* d[kWarp];
  float sums[16][kColumns];
  uint32_t set;  // its newest products' one
  int line;
  const char* file;
};
/// What products read, as it was.
struct Operand {
  const void* from;
  uint32_t bytes, set;
  unsigned char content[16];
  int line;
  const char* file;
};
struct Warp {
  bool fenced = false;
  uint32_t set = 0;    // sets closed so far
  uint32_t calls = 0;  // since the block began, for comparison with the other warps of the group
  std::vector<Product> products;
  std::vector<Operand> operands;
};
Warp warps[kMostThreads / kWarp];

/// Of each 16 bytes of shared memory who wrote them last, and after how many of its calls to publish.
struct Written {
  uint32_t thread, published;
} written[kPieces];
uint32_t published[kMostThreads];  // calls of each thread, and
uint32_t settled[kMostThreads];    // those before the last block barrier

[[noreturn]] void wrong(int thread, const std::string& what) {
  const Thread& t = thread_at(thread);
  stop_at(thread, CUDA_ERROR_LAUNCH_FAILED, what, t.file, t.line);
}

template <class T>
const T& args_of(int thread) {
  return *static_cast<const T*>(thread_at(thread).args);
}

void keep(Warp& w, const void* from, uint32_t bytes, int thread) {
  const Thread& t = thread_at(thread);
  w.operands.push_back({from, bytes, w.set, {}, t.line, t.file});
  memcpy(w.operands.back().content, from, bytes);
}

/// Operand B, [k][column]: pieces of 16 bytes lie swizzled in rows of 128.
void read_columns(Warp& w, int first, float (&b)[16][kColumns]) {
  const uint32_t operand = args_of<GroupMmaArgs>(first).b;
  const uint64_t start = uint64_t(operand & 0x3fff) << 4;
  if (operand >> 16 != 1 || start % 32 || start % 1024 >= 128)
    wrong(first, "group-operand: b is not group_operand() of halves 0, 16, 32 or 48 of a column on a multiple of 1024 bytes");
  for (int i = 0; i < 2; i++) {
    for (int column = 0; column < kColumns; column++) {
      const uint64_t at = start + uint64_t(column / 8 * 1024 + column % 8 * 128 + i * 16);
      const unsigned char* from = machine.shared + (at ^ (at >> 7 & 7) << 4);
      const int thread = first + column % kWarp;
      check_matrix_row(thread, from, thread_at(thread).file, thread_at(thread).line);
      const Written& by = written[(from - machine.shared) / 16];
      if (settings.race && settled[by.thread] <= by.published)
        wrong(thread, text("group-unpublished: the bytes at shared + %#llx were written by thread %u without a group_mma_publish by it between that and a block_barrier",
                           static_cast<unsigned long long>(from - machine.shared), by.thread));
      uint16_t halves[8];
      memcpy(halves, from, 16);
      for (int k = 0; k < 8; k++) b[i * 8 + k][column] = half_to_float(halves[k]);
      keep(w, from, 16, thread);
    }
  }
}

void multiply(int first) {
  Warp& w = warps[first / kWarp];
  w.calls++;
  if (first / (4 * kWarp) * (4 * kWarp) + 4 * kWarp > thread_count())
    wrong(first, text("divergent-group: a group is four warps from a multiple of four on; the block has %d threads", thread_count()));
  if (!w.fenced) wrong(first, "group-unfenced: products start without a group_mma_fence since the last wait");
  const GroupMmaArgs& one = args_of<GroupMmaArgs>(first);
  float a[16][16], b[16][kColumns];
  for (int lane = 0; lane < kWarp; lane++) {
    const GroupMmaArgs& l = args_of<GroupMmaArgs>(first + lane);
    if (l.b != one.b || l.add != one.add) wrong(first + lane, "divergent-group: b and add must be the same in all lanes");
    for (int i = 0; i < 4; i++) {
      float* to = &a[lane / 4 + (i & 1) * 8][2 * (lane % 4) + (i >> 1) * 8];
      to[0] = half_to_float(uint16_t(l.a[i]));
      to[1] = half_to_float(uint16_t(l.a[i] >> 16));
    }
    keep(w, l.a, 16, first + lane);
  }
  read_columns(w, first, b);
  Product* p = nullptr;
  for (Product& other : w.products) p = other.d[0] == one.d ? &other : p;
  if (!p) {
    p = &w.products.emplace_back();
    for (int lane = 0; lane < kWarp; lane++) {
      p->d[lane] = args_of<GroupMmaArgs>(first + lane).d;
      for (int i = 0; i < kSums; i++) p->sums[lane / 4 + i / 2 % 2 * 8][i / 4 * 8 + lane % 4 * 2 + i % 2] = p->d[lane][i];
      memset(p->d[lane], 0xff, kSums * sizeof(float));  // NaN
    }
  }
  p->set = w.set;
  p->file = thread_at(first).file;
  p->line = thread_at(first).line;
  for (int row = 0; row < 16; row++) {
    float* sum = p->sums[row];
    if (!one.add) memset(sum, 0, sizeof p->sums[row]);
    for (int k = 0; k < 16; k++) {
      for (int n = 0; n < kColumns; n++) sum[n] += a[row][k] * b[k][n];
    }
  }
}

bool under_way(const Warp& w, const float* d) {
  for (const Product& p : w.products) {
    if (p.d[0] == d) return true;
  }
  return false;
}

void fence(int first) {
  Warp& w = warps[first / kWarp];
  if (under_way(w, args_of<GroupWaitArgs>(first).d)) wrong(first, "group-early-read: d of group_mma_fence has products under way");
  w.fenced = true;
  w.calls++;
}

void wait(int first) {
  Warp& w = warps[first / kWarp];
  w.calls++;
  const GroupWaitArgs& args = args_of<GroupWaitArgs>(first);
  const auto done = [&](uint32_t set) { return int64_t(set) < int64_t(w.set) - args.pending; };
  size_t kept = 0;
  for (const Operand& o : w.operands) {
    if (!done(o.set)) w.operands[kept++] = o;
    else if (settings.race && memcmp(o.content, o.from, o.bytes))
      stop_at(first, CUDA_ERROR_LAUNCH_FAILED, "async-source-changed: an operand of group_mma was overwritten before its wait", o.file, o.line);
  }
  w.operands.resize(kept);
  kept = 0;
  for (const Product& p : w.products) {
    if (!done(p.set)) {
      w.products[kept++] = p;
      continue;
    }
    for (int lane = 0; lane < kWarp; lane++) {
      for (int i = 0; i < kSums; i++) p.d[lane][i] = p.sums[lane / 4 + i / 2 % 2 * 8][i / 4 * 8 + lane % 4 * 2 + i % 2];
    }
  }
  w.products.resize(kept);
  if (under_way(w, args.d)) wrong(first, "group-early-read: d of group_mma_wait is still under way; look for a missing group_mma_commit, or a wait that leaves too many");
  w.fenced = false;
}

}  // namespace

void group_perform(Collective kind, int first) {
  Warp& w = warps[first / kWarp];
  switch (kind) {
    case Collective::group_mma: return multiply(first);
    case Collective::group_fence: return fence(first);
    case Collective::group_wait: return wait(first);
    default: w.set++, w.calls++;  // group_commit
  }
}

void group_publish() { published[machine.thread]++; }

void group_written(int thread, uint64_t offset, uint32_t bytes) {
  for (uint64_t piece = offset / 16; piece * 16 < offset + bytes; piece++) written[piece] = {uint32_t(thread), published[thread]};
}

void group_barrier() {
  memcpy(settled, published, sizeof settled);
  for (int first = 0; first + 4 * kWarp <= thread_count(); first += 4 * kWarp) {
    const Warp* w = &warps[first / kWarp];
    for (int i = 1; i < 4; i++) {
      if (w[i].calls != w->calls) wrong(first + i * kWarp, "divergent-group: the four warps of a group must make the same group_mma calls between barriers");
    }
  }
}

void group_start_block() {
  for (Warp& w : warps) w = Warp{};
}

void group_end_block() {
  for (const Warp& w : warps) {
    if (!w.products.empty()) stop(CUDA_ERROR_LAUNCH_FAILED, "group-unfinished: the block ends while products are under way", w.products[0].file, w.products[0].line);
  }
  group_barrier();
}

}  // namespace antkv_emu
