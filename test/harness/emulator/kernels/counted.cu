// Memory instructions whose wavefronts and sectors are known by hand; counters.test.ts has the numbers. One warp, 32 KB of shared memory.
// Statements stay on lines of their own: the counters tell them apart by line.
#include "antkv_device.cuh"
#include "emu_test.h"

namespace emu_counted_ {
using namespace antkv;

extern "C" __global__ void __launch_bounds__(32) emu_counted(const __grid_constant__ emu_test_params p) {
  const int lane = lane_index();
  unsigned char* s = shared_memory();
  uint32_t* words = reinterpret_cast<uint32_t*>(s);
  uint32_t sum = 0;
  for (int i = 0; i < 64; i++) store_shared(reinterpret_cast<bytes16*>(s) + i * 32 + lane, bytes16{});
  warp_barrier();
  sum += load_shared(words + 5);
  sum += load_shared(words + lane * 2);
  sum += load_shared(words + lane * 33);
  sum += load_shared(s + lane * 4);
  sum += load_shared(reinterpret_cast<const bytes8*>(s) + lane * 2).w[0];
  sum += load_shared(reinterpret_cast<const bytes16*>(s) + lane).w[0];
  sum += load_shared(reinterpret_cast<const bytes16*>(s) + lane * 8).w[0];
  sum += load_shared(reinterpret_cast<const bytes8*>(s) + lane % 16).w[0];
  sum += load_shared(reinterpret_cast<const bytes8*>(s) + lane % 4 * 16).w[0];
  sum += load_shared(reinterpret_cast<const bytes8*>(s) + lane / 16 * 17 + lane % 16 / 2).w[0];
  sum += load_shared(reinterpret_cast<const bytes16*>(s) + 3).w[0];
  sum += load_shared(reinterpret_cast<const bytes16*>(s) + lane / 8 * 8 + lane % 8 / 4 * 8).w[0];
  sum += load_shared(words + lane * 7 % 5 * 32 + lane);
  if (lane % 2) sum += load_shared(reinterpret_cast<const bytes8*>(s) + lane * 8).w[0];
  if (lane < 8) sum += load_shared(words + lane * 32);
  const uint32_t table = shared_address(s);
  sum += load_table_u16(table + lane * 2);
  sum += load_table_u32(table + lane * 256);
  sum += load_table_8(table + lane * 64).w[0];
  sum += load_table_16(table + lane * 16).w[0];
  prefetch_global(p.in + lane * 8);
  uint32_t r[4];
  load_matrix_x4(r, s + lane * 16);
  load_matrix_x4(r, s + lane * 128);
  load_matrix_x4_transposed(r, s + lane * 144);
  warp_barrier();
  store_shared(reinterpret_cast<bytes8*>(s) + 64 + lane * 4, bytes8{});
  store_shared(words + 1024 + lane, load_shared(words + 2048 + lane * 2));
  atomic_add_shared(words + lane % 2, 1u);
  atomic_add_shared(words + 64 + lane, 1u);
  sum += load_global(p.in + lane);
  sum += load_global(p.in + lane * 2);
  sum += load_global(p.in + lane * 8);
  sum += load_global(p.in);
  sum += load_global(reinterpret_cast<const bytes16*>(p.in) + lane).w[0];
  sum += load_global_once(reinterpret_cast<const bytes16*>(p.in) + lane * 2).w[0];
  sum += load_global_once(p.in + 1 + lane);
  sum += load_global_coherent(reinterpret_cast<const bytes8*>(p.in) + lane % 2 * 8).w[0];
  sum += atomic_add_global(p.out + 512 + lane % 4 * 8, 1u);
  store_global(reinterpret_cast<unsigned char*>(p.out) + 1024 + lane, static_cast<unsigned char>(sum));
  warp_barrier();
  copy_async(s + lane * 32, p.in + lane * 4, true);
  copy_async_commit();
  copy_async_wait<0>();
  for (int i = 0; i <= lane % 3; i++) sum += load_global(p.in + i * 32 + lane);
  store_global(p.out + lane, sum + r[0]);
}
}  // namespace emu_counted_
