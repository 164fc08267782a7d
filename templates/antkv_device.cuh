// What the kernels use of the device, by name: the only file with CUDA includes and inline PTX.
// The emulator supplies a twin with the same names (harness/emulator/antkv_device.cuh), found first on the include path.
// Kernels touch global and shared memory only through these functions; sm_80 and newer.
#pragma once
#include <cuda_fp16.h>
#include <stdint.h>

namespace antkv {

/// A half-precision float as it lies in memory.
struct f16 {
  uint16_t bits;
};

__device__ __forceinline__ float to_float(f16 x) { return __half2float(__ushort_as_half(x.bits)); }
/// Rounds to nearest even; beyond 65504 becomes infinity.
__device__ __forceinline__ f16 to_f16(float x) { return {__half_as_ushort(__float2half_rn(x))}; }
/// The upper half of an fp32 number.
struct bf16 {
  uint16_t bits;
};

__device__ __forceinline__ float to_float(bf16 x) { return __uint_as_float(uint32_t(x.bits) << 16); }
/// Rounds to nearest even.
__device__ __forceinline__ bf16 to_bf16(float x) {
  uint16_t r;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r) : "f"(x));
  return {r};
}
__device__ __forceinline__ uint32_t pack(bf16 lo, bf16 hi) { return uint32_t(lo.bits) | uint32_t(hi.bits) << 16; }
/// Two halves in a register, `lo` in the low 16 bits.
__device__ __forceinline__ uint32_t pack(f16 lo, f16 hi) { return uint32_t(lo.bits) | uint32_t(hi.bits) << 16; }

/// 8 and 16 bytes that move in one instruction.
struct alignas(8) bytes8 {
  uint32_t w[2];
};
struct alignas(16) bytes16 {
  uint32_t w[4];
};

// --- identity -----------------------------------------------------------------------------------------------------
__device__ __forceinline__ int thread_index() { return int(threadIdx.x); }
/// The same, but what is computed from it is computed here, not kept in registers from where it was computed before.
__device__ __forceinline__ int thread_index_anew() {
  int x;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(x));
  return x;
}
__device__ __forceinline__ int lane_index() { return int(threadIdx.x) & 31; }
/// The same in all lanes: read from lane 0, so that the compiler keeps it in a uniform register.
__device__ __forceinline__ int warp_index() { return __shfl_sync(~0u, int(threadIdx.x) >> 5, 0); }
struct index3 {
  int x, y, z;
};
__device__ __forceinline__ index3 block_index() { return {int(blockIdx.x), int(blockIdx.y), int(blockIdx.z)}; }
__device__ __forceinline__ index3 grid_size() { return {int(gridDim.x), int(gridDim.y), int(gridDim.z)}; }

// --- memory: T has 1, 2, 4, 8 or 16 bytes and its natural alignment --------------------------------------------------
/// The block's dynamic shared memory, 128-byte aligned; its size is a launch parameter.
__device__ __forceinline__ unsigned char* shared_memory() {
  extern __shared__ __align__(128) unsigned char antkv_shared[];
  return antkv_shared;
}
template <class T>
__device__ __forceinline__ T load_global(const T* p) {
  return *p;
}
template <class T>
__device__ __forceinline__ void store_global(T* p, T value) {
  *p = value;
}
template <class T>
__device__ __forceinline__ T load_shared(const T* p) {
  return *p;
}
template <class T>
__device__ __forceinline__ void store_shared(T* p, T value) {
  *p = value;
}
/// Where `p` lies in the block's shared memory, for load_table_....
__device__ __forceinline__ uint32_t shared_address(const void* p) { return uint32_t(__cvta_generic_to_shared(p)); }
/// Reads 2, 4, 8 or 16 bytes of shared memory that no one writes any more: the compiler may move the load freely. What is added to
/// `address` last, if constant, becomes a part of the instruction.
__device__ __forceinline__ uint32_t load_table_u16(uint32_t address) {
  uint32_t x;
  asm("{.reg .b16 h; ld.shared.b16 h, [%1]; cvt.u32.u16 %0, h;}" : "=r"(x) : "r"(address));
  return x;
}
__device__ __forceinline__ uint32_t load_table_u32(uint32_t address) {
  uint32_t x;
  asm("ld.shared.b32 %0, [%1];" : "=r"(x) : "r"(address));
  return x;
}
__device__ __forceinline__ bytes8 load_table_8(uint32_t address) {
  bytes8 x;
  asm("ld.shared.v2.b32 {%0,%1}, [%2];" : "=r"(x.w[0]), "=r"(x.w[1]) : "r"(address));
  return x;
}
__device__ __forceinline__ bytes16 load_table_16(uint32_t address) {
  bytes16 x;
  asm("ld.shared.v4.b32 {%0,%1,%2,%3}, [%4];" : "=r"(x.w[0]), "=r"(x.w[1]), "=r"(x.w[2]), "=r"(x.w[3]) : "r"(address));
  return x;
}
/// Asks for the 128-byte line of `p` to come to L2; nothing waits for it.
__device__ __forceinline__ void prefetch_global(const void* p) { asm volatile("prefetch.global.L2 [%0];" ::"l"(p)); }
/// Adds to a 32-bit word of shared memory; returns the old value.
__device__ __forceinline__ uint32_t atomic_add_shared(uint32_t* p, uint32_t value) { return atomicAdd(p, value); }
/// Adds to a 32-bit word of global memory; returns the old value.
__device__ __forceinline__ uint32_t atomic_add_global(uint32_t* p, uint32_t value) { return atomicAdd(p, value); }
/// The same for 64 bits, whose old value no one wants.
__device__ __forceinline__ void atomic_add_global(uint64_t* p, uint64_t value) { atomicAdd(reinterpret_cast<unsigned long long*>(p), value); }
/// Clears the bits of a 32-bit word of global memory that `value` lacks; returns the old value.
__device__ __forceinline__ uint32_t atomic_and_global(uint32_t* p, uint32_t value) { return atomicAnd(p, value); }
/// Stores of this thread before it are seen by every thread of the grid that sees its stores after it.
__device__ __forceinline__ void grid_fence() { asm volatile("fence.acq_rel.gpu;" ::: "memory"); }
/// Adds to a 32-bit word of global memory, between two `grid_fence`s as it were; returns the old value. One wait for this thread's stores, where two fences wait twice.
__device__ __forceinline__ uint32_t atomic_add_acquire_release(uint32_t* p, uint32_t value) {
  uint32_t old;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;" : "=r"(old) : "l"(p), "r"(value) : "memory");
  return old;
}
/// Reads what another CTA wrote during this launch: from L2, never from L1.
template <class T>
__device__ __forceinline__ T load_global_coherent(const T* p) {
  if constexpr (sizeof(T) == 16) {
    const uint4 x = __ldcg(reinterpret_cast<const uint4*>(p));
    return {{x.x, x.y, x.z, x.w}};
  } else {
    return __ldcg(p);
  }
}
/// Reads what is read once: 2 (in the low half), 4, 8 or 16 bytes that leave no line in L1.
__device__ __forceinline__ uint32_t load_global_once(const uint16_t* p) {
  uint16_t x;
  asm volatile("ld.global.nc.L1::no_allocate.u16 %0, [%1];" : "=h"(x) : "l"(p));
  return x;
}
__device__ __forceinline__ uint32_t load_global_once(const uint32_t* p) {
  uint32_t x;
  asm volatile("ld.global.nc.L1::no_allocate.b32 %0, [%1];" : "=r"(x) : "l"(p));
  return x;
}
__device__ __forceinline__ bytes8 load_global_once(const bytes8* p) {
  bytes8 x;
  asm volatile("ld.global.nc.L1::no_allocate.v2.b32 {%0,%1}, [%2];" : "=r"(x.w[0]), "=r"(x.w[1]) : "l"(p));
  return x;
}
__device__ __forceinline__ bytes16 load_global_once(const bytes16* p) {
  bytes16 x;
  asm volatile("ld.global.nc.L1::no_allocate.v4.b32 {%0,%1,%2,%3}, [%4];" : "=r"(x.w[0]), "=r"(x.w[1]), "=r"(x.w[2]), "=r"(x.w[3]) : "l"(p));
  return x;
}

/// Starts a copy of 16 bytes, global to shared; zeros instead when `valid` is false (then `from` is not read, but must be a legal address).
__device__ __forceinline__ void copy_async(void* to_shared, const void* from_global, bool valid) {
  const uint32_t to = uint32_t(__cvta_generic_to_shared(to_shared));
  // The hint fetches the whole 128-byte line into L2: 2.5 % more bandwidth on an H200 (harness/bench/NOTES.md).
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from_global), "r"(valid ? 16 : 0) : "memory");
}
/// The same for one 4-byte word.
__device__ __forceinline__ void copy_async_word(float* to_shared, const float* from_global) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(shared_address(to_shared)), "l"(from_global) : "memory");
}
/// Closes this thread's group of copies.
__device__ __forceinline__ void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most `kPending` of this thread's newest groups are under way. Other threads' copies need a barrier as well.
template <int kPending>
__device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// --- barriers, shuffles, votes: all threads of the block, or of the warp, must arrive ---------------------------------
__device__ __forceinline__ void block_barrier() { __syncthreads(); }
__device__ __forceinline__ void warp_barrier() { __syncwarp(); }
/// T has 4 bytes.
template <class T>
__device__ __forceinline__ T shuffle(T value, int lane) {
  return __shfl_sync(~0u, value, lane);
}
/// `value`, in which all lanes agree, said so that the compiler knows: branches on it are the warp's, so that no lane is waited for behind them.
template <class T>
__device__ __forceinline__ T uniform(T value) {
  return shuffle(value, 0);
}
template <class T>
__device__ __forceinline__ T shuffle_xor(T value, int mask) {
  return __shfl_xor_sync(~0u, value, mask);
}
template <class T>
__device__ __forceinline__ T shuffle_up(T value, int delta) {
  return __shfl_up_sync(~0u, value, delta);
}
template <class T>
__device__ __forceinline__ T shuffle_down(T value, int delta) {
  return __shfl_down_sync(~0u, value, delta);
}
/// Whether any lane's predicate holds.
__device__ __forceinline__ bool vote_any(bool predicate) { return __any_sync(~0u, predicate); }
/// Bit i: lane i's predicate.
__device__ __forceinline__ uint32_t vote_ballot(bool predicate) { return __ballot_sync(~0u, predicate); }
/// The sum of all lanes' values, and the largest: one instruction, where a butterfly takes five shuffles, one behind the other.
__device__ __forceinline__ uint32_t reduce_add(uint32_t value) { return __reduce_add_sync(~0u, value); }
__device__ __forceinline__ int reduce_max(int value) { return __reduce_max_sync(~0u, value); }

// --- matrix unit --------------------------------------------------------------------------------------------------
// Lane = 4 * g + t. m16n8k16: A holds rows g, g + 8 and columns 2t, 2t + 1 (+ 8); B rows 2t, 2t + 1 (+ 8) of column g;
// C and D rows g, g + 8 and columns 2t, 2t + 1 (PTX ISA, "Matrix fragments for mma.m16n8k16").
/// d += A * B, 16 x 16 times 16 x 8, f16 in, fp32 sums.
__device__ __forceinline__ void mma_16x8x16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/// d = A * B + c
__device__ __forceinline__ void mma_16x8x16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
               : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
}
/// d += A * B, bf16 in.
__device__ __forceinline__ void mma_16x8x16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/// The same with half of k, f16: 16 x 8 times 8 x 8. A has rows g, g + 8 of columns 2t, 2t + 1, B rows 2t, 2t + 1 of column g.
__device__ __forceinline__ void mma_16x8x8(float (&d)[4], const uint32_t (&a)[2], const uint32_t (&b)[1], const float (&c)[4]) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%7,%8,%9,%10};"
               : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(b[0]), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
}
// m16n8k32 of bytes: A holds rows g, g + 8 and columns 4t ... 4t + 3 (+ 16); B rows 4t ... 4t + 3 (+ 16) of column g; C and D as above.
/// d += A * B, 16 x 32 times 32 x 8, A int8, B uint8, int32 sums.
__device__ __forceinline__ void mma_16x8x32_s8u8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/// d += A * B, both int8.
__device__ __forceinline__ void mma_16x8x32_s8s8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
// m16n8k64 of bytes, A sparse: of each four consecutive k it holds two elements, so that its fragment is that of 16 x 32. `places` says which two, 4 bits
// for each four: the first one's place, then the second's, ascending. Even lanes give it for row g, odd ones for row g + 8; here a row has one pair of places
// throughout. B rows 16i + 4t ... 16i + 4t + 3 of column g in b[i] (PTX ISA, "Matrix fragments for sparse mma.m16n8k64 with .u8/.s8"; where the places lie was tried).
#if __CUDACC_VER_MAJOR__ * 100 + __CUDACC_VER_MINOR__ >= 1205
#define ANTKV_SPARSE "mma.sp::ordered_metadata.sync.aligned.m16n8k64.row.col.s32."
#else  // the same instruction's older name
#define ANTKV_SPARSE "mma.sp.sync.aligned.m16n8k64.row.col.s32."
#endif
/// d += A * B, 16 x 64 times 64 x 8, A uint8, B int8, int32 sums.
__device__ __forceinline__ void mma_sparse_16x8x64_u8s8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[4], uint32_t places) {
  asm volatile(ANTKV_SPARSE "u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9,%10,%11}, {%0,%1,%2,%3}, %12, 0x0;"
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(b[2]), "r"(b[3]), "r"(places));
}
/// d += A * B, both uint8.
__device__ __forceinline__ void mma_sparse_16x8x64_u8u8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[4], uint32_t places) {
  asm volatile(ANTKV_SPARSE "u8.u8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9,%10,%11}, {%0,%1,%2,%3}, %12, 0x0;"
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(b[2]), "r"(b[3]), "r"(places));
}
#undef ANTKV_SPARSE
/// Four 8 x 8 matrices of 16-bit elements; lanes 8i ... 8i + 7 give the 16-byte rows of matrix i. Lane gets row g, columns 2t, 2t + 1 of each.
__device__ __forceinline__ void load_matrix_x4(uint32_t (&r)[4], const void* row) {
  const uint32_t from = uint32_t(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(from) : "memory");
}
/// The same, each matrix transposed: lane gets rows 2t, 2t + 1 of column g.
__device__ __forceinline__ void load_matrix_x4_transposed(uint32_t (&r)[4], const void* row) {
  const uint32_t from = uint32_t(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(from) : "memory");
}
/// Transposes an 8 x 8 matrix of 16-bit elements held as row g, columns 2t, 2t + 1 per lane.
__device__ __forceinline__ uint32_t transpose_matrix(uint32_t row_fragment) {
  uint32_t r;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(r) : "r"(row_fragment));
  return r;
}

// --- matrix unit of sm_90a: a group is four warps, from a multiple of four on, that multiply together -------------------
// What is started runs beside the warps: until its wait d, a and the shared memory of b must be left alone.
#define ANTKV_SUMS(d) \
  "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), \
  "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), \
  "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23])
/// The block's dynamic shared memory, 1024-byte aligned; a kernel uses this or shared_memory().
__device__ __forceinline__ unsigned char* shared_memory_1024() {
  extern __shared__ __align__(1024) unsigned char antkv_shared_1024[];
  return antkv_shared_1024;
}
/// What this thread wrote to shared memory, copies that have arrived too, is seen by products that start after the next barrier.
__device__ __forceinline__ void group_mma_publish() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
/// Operand B of 16 rows of k: columns of 64 halves, 128 bytes each, their 16-byte piece i in place i ^ column % 8; `first` is the first column's first half, or 16, 32 or
/// 48 halves on, and every eighth column lies on a multiple of 1024 bytes. This is the low word of its descriptor (PTX ISA, "Matrix descriptor format"); n more is 16n bytes on.
__device__ __forceinline__ uint32_t group_operand(const void* first) { return (shared_address(first) >> 4) | 1u << 16; }
/// Comes before products whose d or a were written since the last wait; `d` is one of them.
__device__ __forceinline__ void group_mma_fence(float (&d)[24]) { asm volatile("wgmma.fence.sync.aligned;" : ANTKV_SUMS(d)::"memory"); }
/// Starts d = A * B, or d += A * B with `add`: 64 x 16 times 16 x 48, f16 in, fp32 sums. A: warp w has rows 16w ... 16w + 15 as for mma_16x8x16; d: its rows too, fragments of
/// eight columns one after another.
__device__ __forceinline__ void group_mma_64x48x16(float (&d)[24], const uint32_t (&a)[4], uint32_t b, bool add) {
  constexpr uint32_t kSwizzle128 = 1u << 30, kStride = 1024 >> 4;
  asm volatile("{.reg .pred add; setp.ne.b32 add, %29, 0; wgmma.mma_async.sync.aligned.m64n48k16.f32.f16.f16 {%0,%1,%2,%3,%4,%5,%6,%7,"
               "%8,%9,%10,%11,%12,%13,%14,%15,"
               "%16,%17,%18,%19,%20,%21,%22,%23}, "
               "{%24,%25,%26,%27}, %28, add, 1, 1, 0;}"
               : ANTKV_SUMS(d) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(uint64_t(kSwizzle128 | kStride) << 32 | b), "r"(int(add)));
}
/// Closes a set of products.
__device__ __forceinline__ void group_mma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/// Waits until at most `kPending` of the newest sets are under way; `d` is one of those that are done then.
template <int kPending>
__device__ __forceinline__ void group_mma_wait(float (&d)[24]) {
  asm volatile("wgmma.wait_group.sync.aligned %24;" : ANTKV_SUMS(d) : "n"(kPending) : "memory");
}
#undef ANTKV_SUMS

// --- arithmetic ---------------------------------------------------------------------------------------------------
/// 2^x with a relative error of 2^-22 (CUDA C++ Programming Guide, intrinsic functions); 2^-inf = 0.
__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ float log2_fast(float x) { return __log2f(x); }
/// a * b + c, rounded once.
__device__ __forceinline__ float fused_multiply_add(float a, float b, float c) { return __fmaf_rn(a, b, c); }
/// Nearest integer, ties to even.
__device__ __forceinline__ float round_even(float x) { return rintf(x); }
__device__ __forceinline__ float square_root(float x) { return __fsqrt_rn(x); }
/// One instruction, with a relative error of 2^-22 or so (PTX ISA, sqrt.approx); subnormal x counts as 0.
__device__ __forceinline__ float square_root_fast(float x) {
  float y;
  asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
/// 1 / x with a relative error of 2^-23 (PTX ISA, rcp.approx); 1 / inf = 0, and subnormal x counts as 0.
__device__ __forceinline__ float reciprocal_fast(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
/// x, but at least 0 and at most 1; 0 for NaN.
__device__ __forceinline__ float saturate(float x) { return __saturatef(x); }
/// Sine and cosine of |x| <= pi, absolute error 2^-21 (CUDA C++ Programming Guide, intrinsic functions).
__device__ __forceinline__ void sine_cosine_fast(float x, float& sine, float& cosine) { __sincosf(x, &sine, &cosine); }
/// Sums of the products of four unsigned bytes, plus c.
__device__ __forceinline__ uint32_t dot_bytes(uint32_t a, uint32_t b, uint32_t c) { return __dp4a(a, b, c); }
/// Four of the eight bytes of (low, high): nibble i of `selector` names the byte that becomes byte i.
__device__ __forceinline__ uint32_t permute_bytes(uint32_t low, uint32_t high, uint32_t selector) {
  uint32_t r;  // __byte_perm would first clear bit 3 of each nibble, which copies the byte's sign
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(r) : "r"(low), "r"(high), "r"(selector));
  return r;
}
// Two halves in a register, each rounded once to nearest even.
__device__ __forceinline__ uint32_t pack_halves(float lo, float hi) {
  uint32_t r;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
  return r;
}
/// The same of bf16.
__device__ __forceinline__ uint32_t pack_bf16(float lo, float hi) {
  uint32_t r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
  return r;
}
__device__ __forceinline__ uint32_t multiply_halves(uint32_t a, uint32_t b) {
  uint32_t r;
  asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));
  return r;
}
/// a * b + c
__device__ __forceinline__ uint32_t fused_multiply_add_halves(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t r;
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(c));
  return r;
}
__device__ __forceinline__ uint32_t negate_halves(uint32_t a) {
  uint32_t r;
  asm("neg.f16x2 %0, %1;" : "=r"(r) : "r"(a));
  return r;
}
/// The same value, but the compiler cannot know: it stays in its register instead of being folded into, or made again before, each use.
/// `zero` is 0, of which the compiler must know nothing (out of a kernel parameter) unless it knows nothing of `x`.
__device__ __forceinline__ uint32_t opaque(uint32_t x, uint32_t zero) {
  x ^= zero;
  // ptxas sees through moves; a volatile shuffle of a register that is no constant it leaves alone.
  asm volatile("shfl.sync.idx.b32 %0, %0, %1, 31, -1;" : "+r"(x) : "r"(lane_index()));
  return x;
}
/// Where `value`, finite or NaN, exceeds `best`, it takes its place, and `number` (0 to 2^23) that of `best_number`. `zero` is 0, as for opaque.
/// Arithmetic under a predicate, for moves would become selects, which share the half-rate pipe of maxima and comparisons. A number is a subnormal
/// float here; it is added to value * 0, so that no two calls for one number have a sum in common, of which a select would be made too.
__device__ __forceinline__ void keep_larger(float& best, int& best_number, float value, int number, uint32_t zero) {
  float best_float = __int_as_float(best_number);
  asm("{.reg .pred larger; setp.gt.f32 larger, %2, %0; @larger add.f32 %0, %2, %4; @larger fma.rn.f32 %1, %2, %4, %3;}"
      : "+f"(best), "+f"(best_float) : "f"(value), "f"(__int_as_float(number)), "f"(__uint_as_float(zero)));
  best_number = __float_as_int(best_float);
}
__device__ __forceinline__ float float_of_bits(uint32_t x) { return __uint_as_float(x); }
__device__ __forceinline__ float minus_infinity() { return __int_as_float(0xff800000); }
__device__ __forceinline__ uint32_t float_bits(float x) { return __float_as_uint(x); }
__device__ __forceinline__ int count_bits(uint32_t x) { return __popc(x); }

}  // namespace antkv
