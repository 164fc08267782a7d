// What the lanes of a warp do together: votes, the matrix unit, matrix loads. Fragment maps: PTX ISA, "Matrix fragments for mma.m16n8k16",
// "ldmatrix", "movmatrix". Lane = 4 * g + t throughout.
#pragma GCC optimize("O3")  // vectorise the matrix product, whatever the driver is built with
#include <string.h>

#include "antkv_emu_half.h"
#include "check.h"
#include "group.h"
#include "launch.h"

namespace antkv_emu {
namespace {

void ballot() {
  uint32_t votes = 0;
  for (int i = 0; i < kWarp; i++) votes |= uint32_t(machine.exchange[machine.parity][i] != 0) << i;
  machine.votes[machine.parity] = votes;
}

/// Without branches, for the vectoriser; NaN payloads survive, which no sum cares about.
inline float widen(uint16_t h) {
  const uint32_t magnitude = h & 0x7fffu;
  const uint32_t size = bits_of(float_of(magnitude << 13) * 0x1p112f) | (magnitude >= 0x7c00u ? 0x7f800000u : 0u);
  return float_of(size | uint32_t(h & 0x8000u) << 16);
}
inline float widen_bf16(uint16_t x) { return float_of(uint32_t(x) << 16); }

// Products are exact in fp32; sums are rounded at every step. The unit itself keeps a few more bits, then truncates: compare with a tolerance.
/// `Widen`: an element of A or B as a float.
template <float (*Widen)(uint16_t)>
void mma(int first) {
  alignas(16) uint16_t halves[16 * 16 + 16 * 8];  // A [row][k], then B [k][column]
  alignas(16) float wide[16 * 16 + 16 * 8];
  alignas(16) float d[16][8];
  const MmaArgs* args[kWarp];
  for (int lane = 0; lane < kWarp; lane++) {
    const MmaArgs& l = *(args[lane] = static_cast<const MmaArgs*>(thread_at(first + lane).args));
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; i++) memcpy(&halves[(g + (i & 1) * 8) * 16 + 2 * t + (i >> 1) * 8], &l.a[i], 4);
    for (int i = 0; i < 2; i++) {
      halves[256 + (2 * t + i * 8) * 8 + g] = uint16_t(l.b[i]);
      halves[256 + (2 * t + i * 8 + 1) * 8 + g] = uint16_t(l.b[i] >> 16);
    }
    memcpy(&d[g][2 * t], l.d, 8);
    memcpy(&d[g + 8][2 * t], l.d + 2, 8);
  }
  for (int i = 0; i < 16 * 16 + 16 * 8; i++) wide[i] = Widen(halves[i]);
  for (int row = 0; row < 16; row++) {
    float sum[8];
    memcpy(sum, d[row], sizeof sum);
    for (int k = 0; k < 16; k++) {
      const float a = wide[row * 16 + k];
      const float* b = wide + 256 + k * 8;
      for (int n = 0; n < 8; n++) sum[n] += a * b[n];
    }
    memcpy(d[row], sum, sizeof sum);
  }
  for (int lane = 0; lane < kWarp; lane++) {
    const int g = lane / 4, t = lane % 4;
    memcpy(args[lane]->d, &d[g][2 * t], 8);
    memcpy(args[lane]->d + 2, &d[g + 8][2 * t], 8);
  }
}

/// m16n8k32 of bytes, A signed, B as T says; sums wrap around. Fragments: PTX ISA, "Matrix fragments for mma.m16n8k32".
template <class T>
void mma_bytes(int first) {
  int8_t a[16][32];
  T b[8][32];  // [column][k]
  for (int lane = 0; lane < kWarp; lane++) {
    const ByteMmaArgs& l = *static_cast<const ByteMmaArgs*>(thread_at(first + lane).args);
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; i++) memcpy(&a[g + (i & 1) * 8][4 * t + (i >> 1) * 16], &l.a[i], 4);
    for (int i = 0; i < 2; i++) memcpy(&b[g][4 * t + i * 16], &l.b[i], 4);
  }
  for (int lane = 0; lane < kWarp; lane++) {
    int* d = static_cast<const ByteMmaArgs*>(thread_at(first + lane).args)->d;
    for (int i = 0; i < 4; i++) {
      const int row = lane / 4 + (i >> 1) * 8, n = 2 * (lane % 4) + (i & 1);
      int sum = 0;  // below 32 * 2^15
      for (int k = 0; k < 32; k++) sum += int(a[row][k]) * int(b[n][k]);
      d[i] = int(uint32_t(d[i]) + uint32_t(sum));
    }
  }
}

/// m16n8k64 of bytes, A unsigned and sparse, B as T says. The order in which odd lanes' places belong to rows g + 8 was tried on a GPU with
/// one pair of places per row; a kernel that gives others is stopped, for this twin would have to guess.
template <class T>
void mma_sparse_bytes(int first) {
  uint8_t a[16][64] = {};
  T b[8][64];  // [column][k]
  for (int lane = 0; lane < kWarp; lane++) {
    const Thread& thread = thread_at(first + lane);
    const SparseMmaArgs& l = *static_cast<const SparseMmaArgs*>(thread.args);
    const int g = lane / 4, t = lane % 4;
    const uint32_t pair = l.places & 0xf, low = pair & 3, high = pair >> 2;
    if (l.places != pair * 0x11111111u || low >= high || l.places != static_cast<const SparseMmaArgs*>(thread_at(first + (lane & ~2)).args)->places)
      stop_at(first + lane, CUDA_ERROR_LAUNCH_FAILED, "mma_sparse: places must be one ascending pair, the same for the whole row", thread.file, thread.line);
    for (int i = 0; i < 4; i++) {
      const int row = g + (i & 1) * 8;
      const uint32_t of_row = static_cast<const SparseMmaArgs*>(thread_at(first + g * 4 + (i & 1)).args)->places & 0xf;
      for (int j = 0; j < 4; j++) {  // element 4t + j (+ 16) of the two kept of each four
        const int kept = 4 * t + j + (i >> 1) * 16;
        a[row][kept / 2 * 4 + (j % 2 ? of_row >> 2 : of_row & 3)] = uint8_t(l.a[i] >> (8 * j));
      }
      memcpy(&b[g][4 * t + i * 16], &l.b[i], 4);
    }
  }
  for (int lane = 0; lane < kWarp; lane++) {
    int* d = static_cast<const SparseMmaArgs*>(thread_at(first + lane).args)->d;
    for (int i = 0; i < 4; i++) {
      const int row = lane / 4 + (i >> 1) * 8, n = 2 * (lane % 4) + (i & 1);
      int sum = 0;  // below 32 * 2^16
      for (int k = 0; k < 64; k++) sum += int(a[row][k]) * int(b[n][k]);
      d[i] = int(uint32_t(d[i]) + uint32_t(sum));
    }
  }
}

/// Lane's fragment of an 8 x 8 matrix of 16-bit elements.
uint32_t fragment(const uint16_t (&m)[8][8], int lane, bool transposed) {
  const int g = lane / 4, t = lane % 4;
  const uint16_t lo = transposed ? m[2 * t][g] : m[g][2 * t];
  const uint16_t hi = transposed ? m[2 * t + 1][g] : m[g][2 * t + 1];
  return uint32_t(lo) | uint32_t(hi) << 16;
}

void load_matrix(int first, bool transposed) {
  for (int i = 0; i < 4; i++) {
    uint16_t m[8][8];
    for (int row = 0; row < 8; row++) {
      const Thread& t = thread_at(first + 8 * i + row);
      const void* from = static_cast<const LoadMatrixArgs*>(t.args)->row;
      check_matrix_row(first + 8 * i + row, from, t.file, t.line);
      memcpy(m[row], from, 16);
    }
    for (int lane = 0; lane < kWarp; lane++) static_cast<LoadMatrixArgs*>(thread_at(first + lane).args)->r[i] = fragment(m, lane, transposed);
  }
}

void transpose(int first) {
  uint16_t m[8][8];
  for (int lane = 0; lane < kWarp; lane++) {
    const uint32_t in = static_cast<const TransposeArgs*>(thread_at(first + lane).args)->in;
    m[lane / 4][2 * (lane % 4)] = uint16_t(in);
    m[lane / 4][2 * (lane % 4) + 1] = uint16_t(in >> 16);
  }
  for (int lane = 0; lane < kWarp; lane++) static_cast<TransposeArgs*>(thread_at(first + lane).args)->out = fragment(m, lane, true);
}

/// On a GPU all have the first lane's value; one that had another was told so wrongly.
void agree(int first) {
  for (int lane = 1; lane < kWarp; lane++) {
    const Thread& thread = thread_at(first + lane);
    if (memcmp(thread.args, thread_at(first).args, 4)) stop_at(first + lane, CUDA_ERROR_LAUNCH_FAILED, "not-uniform: lanes differ in a value that is said to be all lanes'", thread.file, thread.line);
  }
}

}  // namespace

void perform(Collective kind, int first) {
  switch (kind) {
    case Collective::ballot: return ballot();
    case Collective::mma: return mma<widen>(first);
    case Collective::mma_bf16: return mma<widen_bf16>(first);
    case Collective::mma_s8u8: return mma_bytes<uint8_t>(first);
    case Collective::mma_s8s8: return mma_bytes<int8_t>(first);
    case Collective::mma_sparse_u8s8: return mma_sparse_bytes<int8_t>(first);
    case Collective::mma_sparse_u8u8: return mma_sparse_bytes<uint8_t>(first);
    case Collective::load_matrix: return load_matrix(first, false);
    case Collective::load_matrix_transposed: return load_matrix(first, true);
    case Collective::transpose_matrix: return transpose(first);
    case Collective::uniform: return agree(first);
    case Collective::group_mma:
    case Collective::group_fence:
    case Collective::group_commit:
    case Collective::group_wait: return group_perform(kind, first);
    default: return;  // barriers; shuffles and reductions read each other's slots when they continue
  }
}

}  // namespace antkv_emu
