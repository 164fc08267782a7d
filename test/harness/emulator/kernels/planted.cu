// One bug per case, each of a kind that kernels really have; planted.test.ts lists what the emulator must call it.
// 64 threads unless the test says otherwise. Those named good_ are correct and must pass: they guard against false alarms.
#include "antkv_device.cuh"
#include "emu_test.h"
#include "planted_blocks.h"
#include "planted_group.h"
#include "planted_matrix.h"

namespace emu_planted_ {
using namespace antkv;

__device__ void missing_barrier(const emu_test_params& p) {
  const int thread = thread_index();
  store_shared(words() + thread, uint32_t(thread));
  finish(p, load_shared(words() + (thread + 32) % 64));
}

__device__ void missing_warp_barrier(const emu_test_params& p) {
  const int thread = thread_index();
  store_shared(words() + thread, uint32_t(thread));
  const uint32_t sum = shuffle_xor(uint32_t(thread), 1);  // orders no memory
  finish(p, sum + load_shared(words() + (thread ^ 1)));
}

__device__ void missing_second_barrier(const emu_test_params& p) {  // one buffer, two rounds
  const int thread = thread_index();
  uint32_t sum = 0;
  for (int round = 0; round < 2; round++) {
    store_shared(words() + thread, uint32_t(thread + round));
    block_barrier();
    sum += load_shared(words() + (thread + 32) % 64);
  }
  finish(p, sum);
}

__device__ void two_warps_write(const emu_test_params& p) {
  store_shared(words() + lane_index(), uint32_t(warp_index()));
  block_barrier();
  finish(p, load_shared(words() + lane_index()));
}

__device__ void atomic_and_plain(const emu_test_params& p) {
  if (thread_index() == 0) store_shared(words(), 0u);
  block_barrier();
  atomic_add_shared(words(), 1u);
  finish(p, load_shared(words()));
}

__device__ void half_of_a_word(const emu_test_params& p) {  // one thread writes a word, another a byte of it
  const int thread = thread_index();
  if (thread == 0) store_shared(words(), 0u);
  if (thread == 40) store_shared(shared_memory() + 2, static_cast<unsigned char>(1));
  block_barrier();
  finish(p, load_shared(words()));
}

__device__ void matrix_without_barrier(const emu_test_params& p) {
  const int lane = lane_index();
  unsigned char* row = shared_memory() + warp_index() * 512 + lane * 16;
  store_shared(reinterpret_cast<bytes16*>(row), bytes16{{1, 2, 3, 4}});
  uint32_t r[4];
  load_matrix_x4(r, shared_memory() + warp_index() * 512 + (lane ^ 8) * 16);
  finish(p, r[0]);
}

__device__ void tail_too_far(const emu_test_params& p) {
  const int i = thread_index();
  if (i <= p.n) store_global(p.out + i, uint32_t(i));
}

__device__ void before_the_start(const emu_test_params& p) {
  const int slot = int(load_global(p.in + thread_index() % p.n)) - 1;  // 0 means "none"
  finish(p, load_global(p.in + slot));
}

__device__ void code_past_codebook(const emu_test_params& p) {
  const uint32_t code = load_global(p.in + thread_index() % p.n) & 1023;  // the codebook has n entries
  finish(p, load_global(p.in + code));
}

__device__ void code_past_shared_codebook(const emu_test_params& p) {
  const int thread = thread_index();
  for (int i = thread; i < 256; i += 64) store_shared(words() + i, uint32_t(i));
  block_barrier();
  finish(p, load_shared(words() + (thread * 5)));
}

__device__ void uninitialised(const emu_test_params& p) {
  const int thread = thread_index();
  if (thread < 60) store_shared(words() + thread, uint32_t(thread));  // the tail is forgotten
  block_barrier();
  finish(p, load_shared(words() + thread));
}

__device__ void misaligned_shared(const emu_test_params& p) {
  const int thread = thread_index();
  store_shared(words() + thread, 0u);
  block_barrier();
  finish(p, load_shared(reinterpret_cast<const bytes8*>(words() + 1)).w[0]);
}

__device__ void misaligned_global(const emu_test_params& p) { finish(p, load_global(reinterpret_cast<const bytes16*>(p.in + 2)).w[0]); }

__device__ void read_before_wait(const emu_test_params& p) {
  unsigned char* mine = shared_memory() + thread_index() * 16;
  copy_async(mine, p.in, true);
  copy_async_commit();
  finish(p, load_shared(reinterpret_cast<const uint32_t*>(mine)));
  copy_async_wait<0>();
}

__device__ void word_read_before_wait(const emu_test_params& p) {
  auto* mine = reinterpret_cast<float*>(shared_memory()) + thread_index();
  copy_async_word(mine, reinterpret_cast<const float*>(p.in) + thread_index());
  copy_async_commit();
  finish(p, float_bits(load_shared(mine)));
  copy_async_wait<0>();
}

__device__ void word_copied_past_the_end(const emu_test_params& p) {  // a copy of 4 bytes may start where one of 16 would not fit
  copy_async_word(reinterpret_cast<float*>(shared_memory()) + thread_index(), reinterpret_cast<const float*>(p.in) + thread_index());
  copy_async_commit();
  copy_async_wait<0>();
  finish(p, 0);
}

__device__ void good_words(const emu_test_params& p) {  // words that lie side by side arrive one by one
  auto* mine = reinterpret_cast<float*>(shared_memory()) + thread_index();
  if (thread_index() % 2) copy_async_word(mine, reinterpret_cast<const float*>(p.in) + thread_index());
  else store_shared(mine, 0.0f);
  copy_async_commit();
  copy_async_wait<0>();
  finish(p, float_bits(load_shared(mine)));
}

__device__ void wait_too_lax(const emu_test_params& p) {
  unsigned char* mine = shared_memory() + thread_index() * 16;
  copy_async(mine, p.in, true);
  copy_async_commit();
  copy_async_wait<1>();  // allows the only group to be under way
  finish(p, load_shared(reinterpret_cast<const uint32_t*>(mine)));
}

__device__ void wait_without_barrier(const emu_test_params& p) {
  const int thread = thread_index();
  copy_async(shared_memory() + thread * 16, p.in, true);
  copy_async_commit();
  copy_async_wait<0>();
  finish(p, load_shared(words() + (thread + 33) % 64 * 4));
}

__device__ void uncommitted(const emu_test_params& p) {
  unsigned char* mine = shared_memory() + thread_index() * 16;
  copy_async(mine, p.in, true);
  copy_async_wait<0>();  // waits for committed groups only
  finish(p, load_shared(reinterpret_cast<const uint32_t*>(mine)));
}

__device__ void stage_reused(const emu_test_params& p) {
  unsigned char* mine = shared_memory() + thread_index() * 16;
  copy_async(mine, p.in, true);
  copy_async_commit();
  store_shared(reinterpret_cast<uint32_t*>(mine), 1u);
  copy_async_wait<0>();
  finish(p, 0);
}

__device__ void stage_refilled_too_early(const emu_test_params& p) {  // the next copy starts while other warps still read
  const int thread = thread_index();
  uint32_t sum = 0;
  for (int round = 0; round < 2; round++) {
    copy_async(shared_memory() + thread * 16, p.in, true);
    copy_async_commit();
    copy_async_wait<0>();
    block_barrier();
    sum += load_shared(words() + (thread + 33) % 64 * 4);
  }
  finish(p, sum);
}

__device__ void source_overwritten(const emu_test_params& p) {
  uint32_t* mine = p.out + 64 + thread_index() * 4;
  store_global(mine, 1u);
  copy_async(shared_memory() + thread_index() * 16, mine, true);
  copy_async_commit();
  store_global(mine, 2u);
  copy_async_wait<0>();
  finish(p, 0);
}

__device__ void shuffle_in_a_branch(const emu_test_params& p) {
  uint32_t x = uint32_t(thread_index());
  if (lane_index() < 20) x = shuffle_xor(x, 1);
  finish(p, x);
}

__device__ void two_shuffles(const emu_test_params& p) {
  uint32_t x = uint32_t(thread_index());
  if (lane_index() % 2) {
    x = shuffle_xor(x, 1);
  } else {
    x = shuffle_xor(x, 2);
  }
  finish(p, x);
}

__device__ void barrier_after_return(const emu_test_params& p) {
  if (thread_index() >= 61) return;
  block_barrier();
  finish(p, 0);
}

__device__ void two_barriers(const emu_test_params& p) {
  if (thread_index() < 32) {
    block_barrier();
  } else {
    block_barrier();
  }
  finish(p, 0);
}

__device__ void mixed_collectives(const emu_test_params& p) {
  if (lane_index() == 7) {
    block_barrier();
  } else {
    warp_barrier();
  }
  finish(p, 0);
}

__device__ void bank_conflict(const emu_test_params& p) {  // a column of a [32][32] tile without padding
  const int lane = lane_index();
  for (int i = 0; i < 32; i++) store_shared(words() + i * 32 + lane, uint32_t(i));
  warp_barrier();
  store_global(p.out + lane, load_shared(words() + lane * 32));
}

__device__ void blocks_overlap(const emu_test_params& p) { store_global(p.out + thread_index() + int(block_index().x) * 63, 1u); }

__device__ void global_without_barrier(const emu_test_params& p) {
  const int thread = thread_index();
  store_global(p.out + thread, 1u);
  store_global(p.out + 64 + thread, load_global(p.out + (thread + 32) % 64));
}

__device__ void last_row_read_by_next_block(const emu_test_params& p) {
  const int block = block_index().x;
  store_global(p.out + block * 64 + thread_index(), 1u);
  block_barrier();
  if (block) load_global(p.out + block * 64 - 1);
}

__device__ void opaque_in_a_branch(const emu_test_params& p) {
  uint32_t x = uint32_t(thread_index());
  if (lane_index() < 20) x = opaque(x, uint32_t(p.n) >> 31);
  finish(p, x);
}

__device__ void table_read_past_its_end(const emu_test_params& p) {
  const int thread = thread_index();
  store_shared(reinterpret_cast<uint32_t*>(shared_memory()) + thread, 1u);
  block_barrier();
  finish(p, load_table_16(shared_address(shared_memory()) + uint32_t(thread == 3 ? 256 : 0)).w[0]);
}

__device__ void table_read_misaligned(const emu_test_params& p) {
  const int thread = thread_index();
  store_shared(reinterpret_cast<uint32_t*>(shared_memory()) + thread, 1u);
  block_barrier();
  finish(p, load_table_u16(shared_address(shared_memory()) + uint32_t(thread == 3)));
}

__device__ void bytes_in_a_branch(const emu_test_params& p) {
  int d[4] = {};
  const uint32_t a[4] = {}, b[2] = {};
  if (lane_index() < 16) {
    mma_16x8x32_s8u8(d, a, b);
  } else {
    mma_16x8x32_s8s8(d, a, b);
  }
  finish(p, uint32_t(d[0]));
}

// --- correct -------------------------------------------------------------------------------------------------------
__device__ void good_bytes(const emu_test_params& p) {  // neighbours write and read single bytes of one word
  const int thread = thread_index();
  unsigned char* mine = shared_memory() + thread;
  for (int round = 0; round < 3; round++) {
    store_shared(mine, static_cast<unsigned char>(thread + round));
    store_shared(mine, static_cast<unsigned char>(load_shared(mine) + 1));
  }
  block_barrier();
  const uint32_t all = load_shared(words() + thread / 4);
  block_barrier();
  store_shared(words() + thread, all);
  warp_barrier();
  store_shared(shared_memory() + 4 * (thread ^ 1), static_cast<unsigned char>(1));
  block_barrier();
  store_global(reinterpret_cast<unsigned char*>(p.out) + block_index().x * 64 + thread, static_cast<unsigned char>(load_shared(words() + thread)));
}

__device__ void good_exchange(const emu_test_params& p) {  // warps and blocks exchange with the barriers they need
  const int thread = thread_index();
  uint32_t sum = 0;
  for (int round = 0; round < 3; round++) {
    store_shared(words() + thread, uint32_t(thread));
    warp_barrier();
    sum += load_shared(words() + (thread ^ 1));
    block_barrier();
    sum += load_shared(words() + (thread ^ 32));
    if (round == 2) break;
    block_barrier();
  }
  if (thread == 0) store_shared(words() + 64, 0u);
  block_barrier();
  atomic_add_shared(words() + 64, sum);
  atomic_add_shared(words() + 64, 1u);
  block_barrier();
  sum += load_shared(words() + 64);
  block_barrier();
  if (thread == 63) store_shared(words() + 64, 0u);
  store_global(p.out + block_index().x * 64 + thread, sum);
  block_barrier();
  store_global(p.out + block_index().x * 64 + (thread ^ 63), sum);
}

__device__ void good_drain(const emu_test_params& p) {  // copies that nobody waits for nor reads
  copy_async(shared_memory() + thread_index() * 16, p.in, true);
  finish(p, 0);
}

__device__ void good_uneven(const emu_test_params& p) {  // lanes and warps take different times between collectives
  uint32_t x = uint32_t(thread_index());
  for (int i = 0; i < thread_index(); i++) x = x * 3 + load_global(p.in + i % p.n);
  if (warp_index() == 1) x += shuffle_xor(x, 1);
  block_barrier();
  finish(p, x);
}

extern "C" __global__ void __launch_bounds__(128) emu_planted(const __grid_constant__ emu_test_params p) {
  switch (p.which) {
    case 0: return missing_barrier(p);
    case 1: return missing_warp_barrier(p);
    case 2: return missing_second_barrier(p);
    case 3: return two_warps_write(p);
    case 4: return atomic_and_plain(p);
    case 5: return half_of_a_word(p);
    case 6: return matrix_without_barrier(p);
    case 7: return tail_too_far(p);
    case 8: return before_the_start(p);
    case 9: return code_past_codebook(p);
    case 10: return code_past_shared_codebook(p);
    case 11: return uninitialised(p);
    case 12: return misaligned_shared(p);
    case 13: return misaligned_global(p);
    case 14: return read_before_wait(p);
    case 15: return wait_too_lax(p);
    case 16: return wait_without_barrier(p);
    case 17: return uncommitted(p);
    case 18: return stage_reused(p);
    case 19: return stage_refilled_too_early(p);
    case 20: return source_overwritten(p);
    case 21: return shuffle_in_a_branch(p);
    case 22: return two_shuffles(p);
    case 23: return barrier_after_return(p);
    case 24: return two_barriers(p);
    case 25: return mixed_collectives(p);
    case 26: return bank_conflict(p);
    case 27: return blocks_overlap(p);
    case 28: return global_without_barrier(p);
    case 29: return last_row_read_by_next_block(p);
    case 30: return merge_without_release(p);
    case 31: return merge_without_barrier(p);
    case 32: return merge_without_acquire(p);
    case 33: return merge_by_two_counters(p);
    case 34: return merge_by_a_flag(p);
    case 35: return fence_before_the_store(p);
    case 36: return counter_read_plainly(p);
    case 37: return once_after_a_store(p);
    case 38: return opaque_in_a_branch(p);
    case 39: return bytes_in_a_branch(p);
    case 40: return good_bytes(p);
    case 41: return good_exchange(p);
    case 42: return good_drain(p);
    case 43: return good_uneven(p);
    case 44: return good_merge(p);
    case 45: return good_merge_by_one_thread(p);
    case 46: return table_read_past_its_end(p);
    case 47: return table_read_misaligned(p);
    case 48: return sparse_places_descend(p);
    case 49: return sparse_places_repeat(p);
    case 50: return sparse_places_vary(p);
    case 51: return sparse_places_of_half_a_row(p);
    case 52: return sparse_in_a_branch(p);
    case 53: return vote_any_in_a_branch(p);
    case 54: return shuffle_down_in_a_branch(p);
    case 55: return good_sparse(p);
    case 56: return word_read_before_wait(p);
    case 57: return word_copied_past_the_end(p);
    case 58: return good_words(p);
    case 59: return group_unpublished(p);
    case 60: return group_unfenced(p);
    case 61: return group_uncommitted(p);
    case 62: return group_unfinished(p);
    case 63: return group_operand_aside(p);
    case 64: return group_operand_overwritten(p);
    case 65: return group_without_a_warp(p);
    case 66: return group_add_differs(p);
    case 67: return group_wait_too_lax(p);
    case 68: return group_columns_replaced(p);
    case 69: return good_group(p);
    case 70: return group_of_two_warps(p);
    case 71: return merge_at_once_without_barrier(p);
    case 72: return good_merge_at_once(p);
    case 73: return uniform_of_lanes(p);
  }
}
}  // namespace emu_planted_
