// Kernels that find a device's ceilings: bytes read per second, m16n8k16 matrix instructions per second, and what a launch costs that does nothing. Driven by harness/runner/bench_ceilings.cc.
// Plain CUDA for sm_80 and newer. No kernel of antkv is compiled from this file, and it has no twin in the emulator.
#include <stdint.h>

// Both structs are written down again in bench_ceilings.cc.
struct read_params {
  const uint4* from;
  uint64_t tiles;  // of blockDim.x * kLoads 16-byte words
  uint32_t* sums;  // [kSums], zero before the launch
};
struct mma_params {
  float* out;  // one per thread
  int32_t iterations;
};

constexpr int kLoads = 8;    // loads of one thread that are under way together
constexpr int kSums = 1024;  // so that the atomics of many warps do not queue up at one address
constexpr int kTiles = 8;    // independent accumulators of a warp: covers the latency of one matrix instruction

/// Reads every word once and adds all of them up (mod 2^32): the sum proves that nothing was skipped.
extern "C" __global__ void __launch_bounds__(1024) antkv_ceiling_read(const __grid_constant__ read_params p) {
  uint32_t sum = 0;
  for (uint64_t tile = blockIdx.x; tile < p.tiles; tile += gridDim.x) {
    const uint4* from = p.from + tile * (uint64_t(blockDim.x) * kLoads) + threadIdx.x;
    uint4 word[kLoads];
#pragma unroll
    for (int i = 0; i < kLoads; ++i) word[i] = __ldcs(from + i * blockDim.x);  // streamed: nothing is read twice
#pragma unroll
    for (int i = 0; i < kLoads; ++i) sum += word[i].x + word[i].y + word[i].z + word[i].w;
  }
  sum = __reduce_add_sync(~0u, sum);
  if (threadIdx.x % 32 == 0) atomicAdd(p.sums + (blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32) % kSums, sum);
}

/// 1 * 1 summed over k: every accumulator ends at 16 * iterations, so the answer is known. Constant operands draw little power, so that clocks stay high.
extern "C" __global__ void __launch_bounds__(256) antkv_ceiling_mma(const __grid_constant__ mma_params p) {
  float c[kTiles][4] = {};
  const uint32_t ones = 0x3c003c00;  // two halves of 1
  const uint32_t a[4] = {ones, ones, ones, ones}, b[2] = {ones, ones};
  for (int i = 0; i < p.iterations; ++i) {
#pragma unroll
    for (int t = 0; t < kTiles; ++t)
      asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                   : "+f"(c[t][0]), "+f"(c[t][1]), "+f"(c[t][2]), "+f"(c[t][3])
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
  float sum = 0;
#pragma unroll
  for (int t = 0; t < kTiles; ++t) sum += c[t][0] + c[t][1] + c[t][2] + c[t][3];
  p.out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

/// What every launch takes: this one does nothing.
extern "C" __global__ void __launch_bounds__(512) antkv_ceiling_launch(int) {}
