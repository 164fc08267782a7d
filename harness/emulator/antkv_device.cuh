// The emulator's twin of templates/antkv_device.cuh: the same names and meanings for g++, every access checked.
// Found first on the include path, so that generated kernels compile unchanged (test/harness/emulator/twin.test.ts compares the two).
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "antkv_emu_half.h"
#include "antkv_emu_machine.h"

// CUDA's words, made harmless.
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) alignas(n)
#define __constant__
#pragma GCC diagnostic ignored "-Wunknown-pragmas"  // #pragma unroll

/// The caller's place in the source, for reports. Last parameter of everything that can go wrong; callers never pass it.
#define ANTKV_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

namespace antkv_emu {

extern __attribute__((visibility("hidden"))) Machine* machine;  // defined in entry.cc

inline __attribute__((always_inline)) void check_global(const void* p, uint32_t bytes, Access how, const char* file, int line) {
  Machine& m = *machine;
  const uint64_t at = uintptr_t(p) - m.arena;
  if (__builtin_expect(at >= m.arena_bytes || (at & (bytes - 1)) || (at & 15) + bytes > m.valid[at >> 4], 0)) m.bad_global(p, bytes, how, file, line);
  if (__builtin_expect(m.watch_global, 0)) m.on_global(p, bytes, how, file, line);
}
inline __attribute__((always_inline)) void check_shared(const void* p, uint32_t bytes, Access how, const char* file, int line) {
  Machine& m = *machine;
  const uint64_t at = uintptr_t(p) - uintptr_t(m.shared);
  if (__builtin_expect(at > m.shared_bytes || at + bytes > m.shared_bytes || (at & (bytes - 1)), 0)) m.bad_shared(p, bytes, how, file, line);
  if (__builtin_expect(m.watch_shared, 0)) m.on_shared(at, bytes, how, file, line);
}
template <class T>
constexpr bool movable() {
  return sizeof(T) <= 16 && (sizeof(T) & (sizeof(T) - 1)) == 0 && __is_trivially_copyable(T);
}
/// A load through the read-only path: its bytes must not be written by this launch.
template <class T>
inline __attribute__((always_inline)) T load_once(const T* p, const char* file, int line) {
  check_global(p, sizeof(T), Access::once, file, line);
  T value;
  memcpy(&value, static_cast<const void*>(p), sizeof(T));
  return value;
}
/// Gives `value` to the other lanes and returns what lane `from` gave.
template <class T>
inline T exchange(T value, int from, const char* file, int line) {
  static_assert(sizeof(T) == 4, "shuffles move 4 bytes");
  Machine& m = *machine;
  uint32_t(&slots)[kWarp] = m.exchange[m.parity];
  memcpy(&slots[m.thread % kWarp], &value, 4);
  m.arrive(Collective::shuffle, nullptr, file, line);
  memcpy(&value, &slots[from % kWarp], 4);
  return value;
}
/// Gives `value` to the other lanes and returns what all gave; read it before the next collective.
inline const uint32_t (&give_all(uint32_t value, const char* file, int line))[kWarp] {
  Machine& m = *machine;
  uint32_t(&slots)[kWarp] = m.exchange[m.parity];
  slots[m.thread % kWarp] = value;
  m.arrive(Collective::reduce, nullptr, file, line);
  return slots;
}

}  // namespace antkv_emu

namespace antkv {

/// A half-precision float as it lies in memory.
struct f16 {
  uint16_t bits;
};

__device__ __forceinline__ float to_float(f16 x) { return antkv_emu::half_to_float(x.bits); }
__device__ __forceinline__ f16 to_f16(float x) { return {antkv_emu::float_to_half(x)}; }
/// The upper half of an fp32 number.
struct bf16 {
  uint16_t bits;
};

__device__ __forceinline__ float to_float(bf16 x) { return antkv_emu::float_of(uint32_t(x.bits) << 16); }
__device__ __forceinline__ bf16 to_bf16(float x) { return {antkv_emu::float_to_bf16(x)}; }
__device__ __forceinline__ uint32_t pack(bf16 lo, bf16 hi) { return uint32_t(lo.bits) | uint32_t(hi.bits) << 16; }
__device__ __forceinline__ uint32_t pack(f16 lo, f16 hi) { return uint32_t(lo.bits) | uint32_t(hi.bits) << 16; }

struct alignas(8) bytes8 {
  uint32_t w[2];
};
struct alignas(16) bytes16 {
  uint32_t w[4];
};

// --- identity -----------------------------------------------------------------------------------------------------
__device__ __forceinline__ int thread_index() { return antkv_emu::machine->thread; }
__device__ __forceinline__ int thread_index_anew() { return thread_index(); }
__device__ __forceinline__ int lane_index() { return antkv_emu::machine->thread & 31; }
/// A shuffle on the device, so all lanes of the warp must come here too.
__device__ __forceinline__ int warp_index(ANTKV_HERE) {
  antkv_emu::machine->arrive(antkv_emu::Collective::warp_index, nullptr, file, line);
  return antkv_emu::machine->thread >> 5;
}
struct index3 {
  int x, y, z;
};
__device__ __forceinline__ index3 block_index() {
  const int* b = antkv_emu::machine->block;
  return {b[0], b[1], b[2]};
}
__device__ __forceinline__ index3 grid_size() {
  const int* g = antkv_emu::machine->grid;
  return {g[0], g[1], g[2]};
}

// --- memory: memcpy, because kernels view one buffer as several types -----------------------------------------------
__device__ __forceinline__ unsigned char* shared_memory() { return antkv_emu::machine->shared; }
template <class T>
__device__ __forceinline__ T load_global(const T* p, ANTKV_HERE) {
  static_assert(antkv_emu::movable<T>(), "1, 2, 4, 8 or 16 bytes");
  antkv_emu::check_global(p, sizeof(T), antkv_emu::Access::load, file, line);
  T value;
  memcpy(&value, static_cast<const void*>(p), sizeof(T));
  return value;
}
template <class T>
__device__ __forceinline__ void store_global(T* p, T value, ANTKV_HERE) {
  static_assert(antkv_emu::movable<T>(), "1, 2, 4, 8 or 16 bytes");
  antkv_emu::check_global(p, sizeof(T), antkv_emu::Access::store, file, line);
  memcpy(static_cast<void*>(p), &value, sizeof(T));
}
template <class T>
__device__ __forceinline__ T load_shared(const T* p, ANTKV_HERE) {
  static_assert(antkv_emu::movable<T>(), "1, 2, 4, 8 or 16 bytes");
  antkv_emu::check_shared(p, sizeof(T), antkv_emu::Access::load, file, line);
  T value;
  memcpy(&value, static_cast<const void*>(p), sizeof(T));
  return value;
}
template <class T>
__device__ __forceinline__ void store_shared(T* p, T value, ANTKV_HERE) {
  static_assert(antkv_emu::movable<T>(), "1, 2, 4, 8 or 16 bytes");
  antkv_emu::check_shared(p, sizeof(T), antkv_emu::Access::store, file, line);
  memcpy(static_cast<void*>(p), &value, sizeof(T));
}
/// Device addresses of shared memory begin at 0.
__device__ __forceinline__ uint32_t shared_address(const void* p) {
  return uint32_t(static_cast<const unsigned char*>(p) - antkv_emu::machine->shared);
}
__device__ __forceinline__ uint32_t load_table_u16(uint32_t address, ANTKV_HERE) {
  return load_shared(reinterpret_cast<const uint16_t*>(shared_memory() + address), file, line);
}
__device__ __forceinline__ uint32_t load_table_u32(uint32_t address, ANTKV_HERE) {
  return load_shared(reinterpret_cast<const uint32_t*>(shared_memory() + address), file, line);
}
__device__ __forceinline__ bytes8 load_table_8(uint32_t address, ANTKV_HERE) {
  return load_shared(reinterpret_cast<const bytes8*>(shared_memory() + address), file, line);
}
__device__ __forceinline__ bytes16 load_table_16(uint32_t address, ANTKV_HERE) {
  return load_shared(reinterpret_cast<const bytes16*>(shared_memory() + address), file, line);
}
/// Nothing is read; where nothing lies, the device ignores it.
__device__ __forceinline__ void prefetch_global(const void* p) { (void)p; }
/// Fibres switch only at collectives, so this is atomic as it stands.
__device__ __forceinline__ uint32_t atomic_add_shared(uint32_t* p, uint32_t value, ANTKV_HERE) {
  antkv_emu::check_shared(p, 4, antkv_emu::Access::atomic, file, line);
  uint32_t old;
  memcpy(&old, p, 4);
  value += old;
  memcpy(p, &value, 4);
  return old;
}
__device__ __forceinline__ uint32_t atomic_add_global(uint32_t* p, uint32_t value, ANTKV_HERE) {
  antkv_emu::check_global(p, 4, antkv_emu::Access::atomic, file, line);
  uint32_t old;
  memcpy(&old, p, 4);
  value += old;
  memcpy(p, &value, 4);
  return old;
}
__device__ __forceinline__ void atomic_add_global(uint64_t* p, uint64_t value, ANTKV_HERE) {
  antkv_emu::check_global(p, 8, antkv_emu::Access::atomic, file, line);
  uint64_t old;
  memcpy(&old, p, 8);
  value += old;
  memcpy(p, &value, 8);
}
__device__ __forceinline__ uint32_t atomic_and_global(uint32_t* p, uint32_t value, ANTKV_HERE) {
  antkv_emu::check_global(p, 4, antkv_emu::Access::atomic, file, line);
  uint32_t old;
  memcpy(&old, p, 4);
  value &= old;
  memcpy(p, &value, 4);
  return old;
}
/// Fibres see each other's stores at once; the race checks want to know (driver/order.h).
__device__ __forceinline__ void grid_fence() { antkv_emu::machine->grid_fence(); }
__device__ __forceinline__ uint32_t atomic_add_acquire_release(uint32_t* p, uint32_t value, ANTKV_HERE) {
  grid_fence();
  const uint32_t old = atomic_add_global(p, value, file, line);
  grid_fence();
  return old;
}
template <class T>
__device__ __forceinline__ T load_global_coherent(const T* p, ANTKV_HERE) {
  return load_global(p, file, line);
}
__device__ __forceinline__ uint32_t load_global_once(const uint16_t* p, ANTKV_HERE) { return antkv_emu::load_once(p, file, line); }
__device__ __forceinline__ uint32_t load_global_once(const uint32_t* p, ANTKV_HERE) { return antkv_emu::load_once(p, file, line); }
__device__ __forceinline__ bytes8 load_global_once(const bytes8* p, ANTKV_HERE) { return antkv_emu::load_once(p, file, line); }
__device__ __forceinline__ bytes16 load_global_once(const bytes16* p, ANTKV_HERE) { return antkv_emu::load_once(p, file, line); }

/// The bytes arrive in copy_async_wait and not before; until then the destination is poison.
__device__ __forceinline__ void copy_async(void* to_shared, const void* from_global, bool valid, ANTKV_HERE) {
  antkv_emu::machine->copy_async(to_shared, from_global, 16, valid, file, line);
}
__device__ __forceinline__ void copy_async_word(float* to_shared, const float* from_global, ANTKV_HERE) {
  antkv_emu::machine->copy_async(to_shared, from_global, 4, true, file, line);
}
__device__ __forceinline__ void copy_async_commit() { antkv_emu::machine->copy_async_commit(); }
template <int kPending>
__device__ __forceinline__ void copy_async_wait() {
  antkv_emu::machine->copy_async_wait(kPending);
}

// --- barriers, shuffles, votes -----------------------------------------------------------------------------------
__device__ __forceinline__ void block_barrier(ANTKV_HERE) { antkv_emu::machine->arrive(antkv_emu::Collective::block_barrier, nullptr, file, line); }
__device__ __forceinline__ void warp_barrier(ANTKV_HERE) { antkv_emu::machine->arrive(antkv_emu::Collective::warp_barrier, nullptr, file, line); }
template <class T>
__device__ __forceinline__ T shuffle(T value, int lane, ANTKV_HERE) {
  return antkv_emu::exchange(value, lane & 31, file, line);
}
template <class T>
__device__ __forceinline__ T uniform(T value, ANTKV_HERE) {
  static_assert(sizeof(T) == 4, "shuffles move 4 bytes");
  antkv_emu::machine->arrive(antkv_emu::Collective::uniform, &value, file, line);
  return value;
}
template <class T>
__device__ __forceinline__ T shuffle_xor(T value, int mask, ANTKV_HERE) {
  return antkv_emu::exchange(value, (antkv_emu::machine->thread ^ mask) & 31, file, line);
}
template <class T>
__device__ __forceinline__ T shuffle_up(T value, int delta, ANTKV_HERE) {
  const int lane = antkv_emu::machine->thread & 31;
  return antkv_emu::exchange(value, lane >= delta ? lane - delta : lane, file, line);
}
template <class T>
__device__ __forceinline__ T shuffle_down(T value, int delta, ANTKV_HERE) {
  const int lane = antkv_emu::machine->thread & 31;
  return antkv_emu::exchange(value, lane + delta < antkv_emu::kWarp ? lane + delta : lane, file, line);
}
__device__ __forceinline__ uint32_t vote_ballot(bool predicate, ANTKV_HERE) {
  antkv_emu::Machine& m = *antkv_emu::machine;
  const uint32_t parity = m.parity;
  m.exchange[parity][m.thread & 31] = predicate;
  m.arrive(antkv_emu::Collective::ballot, nullptr, file, line);
  return m.votes[parity];
}

__device__ __forceinline__ bool vote_any(bool predicate, ANTKV_HERE) { return vote_ballot(predicate, file, line) != 0; }
__device__ __forceinline__ uint32_t reduce_add(uint32_t value, ANTKV_HERE) {
  uint32_t sum = 0;
  for (const uint32_t one : antkv_emu::give_all(value, file, line)) sum += one;
  return sum;
}
__device__ __forceinline__ int reduce_max(int value, ANTKV_HERE) {
  int most = value;
  for (const uint32_t one : antkv_emu::give_all(uint32_t(value), file, line)) most = int(one) > most ? int(one) : most;
  return most;
}

// --- matrix unit --------------------------------------------------------------------------------------------------
__device__ __forceinline__ void mma_16x8x16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], ANTKV_HERE) {
  antkv_emu::MmaArgs args{d, a, b};
  antkv_emu::machine->arrive(antkv_emu::Collective::mma, &args, file, line);
}
__device__ __forceinline__ void mma_16x8x16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4], ANTKV_HERE) {
  for (int i = 0; i < 4; i++) d[i] = c[i];
  mma_16x8x16(d, a, b, file, line);
}
__device__ __forceinline__ void mma_16x8x16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], ANTKV_HERE) {
  antkv_emu::MmaArgs args{d, a, b};
  antkv_emu::machine->arrive(antkv_emu::Collective::mma_bf16, &args, file, line);
}
/// The other half of k is zeros.
__device__ __forceinline__ void mma_16x8x8(float (&d)[4], const uint32_t (&a)[2], const uint32_t (&b)[1], const float (&c)[4], ANTKV_HERE) {
  const uint32_t wide_a[4] = {a[0], a[1], 0, 0}, wide_b[2] = {b[0], 0};
  mma_16x8x16(d, wide_a, wide_b, c, file, line);
}
__device__ __forceinline__ void mma_16x8x32_s8u8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], ANTKV_HERE) {
  antkv_emu::ByteMmaArgs args{d, a, b};
  antkv_emu::machine->arrive(antkv_emu::Collective::mma_s8u8, &args, file, line);
}
__device__ __forceinline__ void mma_16x8x32_s8s8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], ANTKV_HERE) {
  antkv_emu::ByteMmaArgs args{d, a, b};
  antkv_emu::machine->arrive(antkv_emu::Collective::mma_s8s8, &args, file, line);
}
__device__ __forceinline__ void mma_sparse_16x8x64_u8s8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[4], uint32_t places, ANTKV_HERE) {
  antkv_emu::SparseMmaArgs args{d, a, b, places};
  antkv_emu::machine->arrive(antkv_emu::Collective::mma_sparse_u8s8, &args, file, line);
}
__device__ __forceinline__ void mma_sparse_16x8x64_u8u8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[4], uint32_t places, ANTKV_HERE) {
  antkv_emu::SparseMmaArgs args{d, a, b, places};
  antkv_emu::machine->arrive(antkv_emu::Collective::mma_sparse_u8u8, &args, file, line);
}
__device__ __forceinline__ void load_matrix_x4(uint32_t (&r)[4], const void* row, ANTKV_HERE) {
  antkv_emu::LoadMatrixArgs args{r, row};
  antkv_emu::machine->arrive(antkv_emu::Collective::load_matrix, &args, file, line);
}
__device__ __forceinline__ void load_matrix_x4_transposed(uint32_t (&r)[4], const void* row, ANTKV_HERE) {
  antkv_emu::LoadMatrixArgs args{r, row};
  antkv_emu::machine->arrive(antkv_emu::Collective::load_matrix_transposed, &args, file, line);
}
__device__ __forceinline__ uint32_t transpose_matrix(uint32_t row_fragment, ANTKV_HERE) {
  antkv_emu::TransposeArgs args{row_fragment, 0};
  antkv_emu::machine->arrive(antkv_emu::Collective::transpose_matrix, &args, file, line);
  return args.out;
}

// --- matrix unit of sm_90a (driver/group.cc) ---------------------------------------------------------------------
/// Device addresses of shared memory begin at 0 here too.
__device__ __forceinline__ unsigned char* shared_memory_1024() { return shared_memory(); }
__device__ __forceinline__ void group_mma_publish() { antkv_emu::machine->group_publish(); }
__device__ __forceinline__ uint32_t group_operand(const void* first) { return (shared_address(first) >> 4) | 1u << 16; }
__device__ __forceinline__ void group_mma_fence(float (&d)[24], ANTKV_HERE) {
  antkv_emu::GroupWaitArgs args{d, 0};
  antkv_emu::machine->arrive(antkv_emu::Collective::group_fence, &args, file, line);
}
__device__ __forceinline__ void group_mma_64x48x16(float (&d)[24], const uint32_t (&a)[4], uint32_t b, bool add, ANTKV_HERE) {
  antkv_emu::GroupMmaArgs args{d, a, b, add};
  antkv_emu::machine->arrive(antkv_emu::Collective::group_mma, &args, file, line);
}
__device__ __forceinline__ void group_mma_commit(ANTKV_HERE) { antkv_emu::machine->arrive(antkv_emu::Collective::group_commit, nullptr, file, line); }
template <int kPending>
__device__ __forceinline__ void group_mma_wait(float (&d)[24], ANTKV_HERE) {
  antkv_emu::GroupWaitArgs args{d, kPending};
  antkv_emu::machine->arrive(antkv_emu::Collective::group_wait, &args, file, line);
}

// --- arithmetic ---------------------------------------------------------------------------------------------------
/// Subnormal arguments and results are flushed, as ex2.approx.ftz does.
__device__ __forceinline__ float exp2_fast(float x) {
  const float y = exp2f(x);
  return y < 0x1p-126f ? 0.0f : y;
}
__device__ __forceinline__ float log2_fast(float x) { return log2f(x); }
__device__ __forceinline__ float fused_multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
__device__ __forceinline__ float round_even(float x) { return rintf(x); }
__device__ __forceinline__ float square_root(float x) { return sqrtf(x); }
/// Subnormal arguments count as 0, as with sqrt.approx.ftz.
__device__ __forceinline__ float square_root_fast(float x) { return x < 0x1p-126f && x > -0x1p-126f ? 0.0f : sqrtf(x); }
/// Subnormal arguments and results count as 0, as with rcp.approx.ftz.
__device__ __forceinline__ float reciprocal_fast(float x) {
  const float y = 1 / (fabsf(x) < 0x1p-126f ? copysignf(0.0f, x) : x);
  return fabsf(y) < 0x1p-126f ? copysignf(0.0f, y) : y;
}
__device__ __forceinline__ float saturate(float x) { return x > 0 ? x < 1 ? x : 1.0f : 0.0f; }
__device__ __forceinline__ void sine_cosine_fast(float x, float& sine, float& cosine) {
  sine = sinf(x);
  cosine = cosf(x);
}
__device__ __forceinline__ uint32_t dot_bytes(uint32_t a, uint32_t b, uint32_t c) {
  for (int i = 0; i < 32; i += 8) c += (a >> i & 255) * (b >> i & 255);
  return c;
}
/// prmt's default mode: bit 3 of a nibble replicates the sign of the byte that it names.
__device__ __forceinline__ uint32_t permute_bytes(uint32_t low, uint32_t high, uint32_t selector) {
  const uint64_t from = uint64_t(high) << 32 | low;
  uint32_t to = 0;
  for (int i = 0; i < 4; i++) {
    const uint32_t nibble = selector >> 4 * i & 15;
    const uint32_t byte = uint32_t(from >> 8 * (nibble & 7)) & 255;
    to |= (nibble & 8 ? (byte >> 7) * 255 : byte) << 8 * i;
  }
  return to;
}
__device__ __forceinline__ uint32_t pack_halves(float lo, float hi) { return uint32_t(antkv_emu::float_to_half(lo)) | uint32_t(antkv_emu::float_to_half(hi)) << 16; }
__device__ __forceinline__ uint32_t pack_bf16(float lo, float hi) { return uint32_t(antkv_emu::float_to_bf16(lo)) | uint32_t(antkv_emu::float_to_bf16(hi)) << 16; }
__device__ __forceinline__ uint32_t multiply_halves(uint32_t a, uint32_t b) {
  return uint32_t(antkv_emu::multiply_half(uint16_t(a), uint16_t(b))) | uint32_t(antkv_emu::multiply_half(uint16_t(a >> 16), uint16_t(b >> 16))) << 16;
}
__device__ __forceinline__ uint32_t fused_multiply_add_halves(uint32_t a, uint32_t b, uint32_t c) {
  return uint32_t(antkv_emu::fused_multiply_add_half(uint16_t(a), uint16_t(b), uint16_t(c))) |
         uint32_t(antkv_emu::fused_multiply_add_half(uint16_t(a >> 16), uint16_t(b >> 16), uint16_t(c >> 16))) << 16;
}
__device__ __forceinline__ uint32_t negate_halves(uint32_t a) { return a ^ 0x80008000u; }
/// A shuffle on the device, so all lanes of the warp must come here too.
__device__ __forceinline__ uint32_t opaque(uint32_t x, uint32_t zero, ANTKV_HERE) {
  antkv_emu::machine->arrive(antkv_emu::Collective::shuffle, nullptr, file, line);
  return x ^ zero;
}
__device__ __forceinline__ void keep_larger(float& best, int& best_number, float value, int number, uint32_t zero) {
  (void)zero;  // what the device adds
  if (value > best) best = value, best_number = number;
}
__device__ __forceinline__ float float_of_bits(uint32_t x) { return antkv_emu::float_of(x); }
__device__ __forceinline__ float minus_infinity() { return antkv_emu::float_of(0xff800000u); }
__device__ __forceinline__ uint32_t float_bits(float x) { return antkv_emu::bits_of(x); }
__device__ __forceinline__ int count_bits(uint32_t x) { return __builtin_popcount(x); }

}  // namespace antkv
