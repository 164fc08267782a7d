// What orders blocks of one launch: a fence, an atomic on a word of global memory, and a fence, as release and acquire. For races in global memory.
//
// A write of block A comes before an access of block B if A's writer, or a thread that a barrier orders after it, called grid_fence; then that thread, or
// one ordered after it, added to a word; later B added to the same word; then B called grid_fence; and the access comes after that fence. "After" within
// a block means the same thread, or a barrier between. atomic_add_acquire_release is a fence, an addition and a fence. (PTX ISA, "Memory Consistency
// Model": release and acquire patterns, made of fences and read-modify-writes, which carry a release on to whoever adds next.) A plain store to the word ends the chain.
#pragma once
#include "shadow.h"

namespace antkv_emu {

void start_order();
void start_block_order(int threads);
/// Whatever a thread found out is now known to the whole block.
void after_barrier_order();

/// The running thread called grid_fence, or is about to add to the word at `at`. `c.now` is later than everything before.
void fence_orders(const Clock& c);
void atomic_orders(const Clock& c, uint64_t at);
/// A plain store to [at, at + bytes).
void store_orders(uint64_t at, uint32_t bytes);

/// Whether the access `r` of another block of this launch comes before what the thread of `c` does now.
bool acquired(const Clock& c, Record r);

}  // namespace antkv_emu
