// Emulated device memory: one reserved range of addresses, allocations far apart in it, and a map of which bytes are theirs.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string>

#include "cuda_types.h"

namespace antkv_emu {

/// Reserves the range (virtual addresses only). False: the machine has none left.
bool reserve_memory();

uintptr_t arena_base();
uint64_t arena_bytes();
/// One byte per 16 of the arena: how many of them, counted from the first, belong to a live allocation.
const uint8_t* validity();

uint64_t total_memory();  // ANTKV_EMU_MEMORY in bytes, else 16 GiB
uint64_t free_memory();

/// 256-byte aligned and no more (as cuMemAlloc promises), filled with 0xff: NaN in fp16 and fp32, -1 as an index.
CUresult allocate(size_t bytes, CUdeviceptr* out);
/// Addresses are not handed out again for as long as possible, so that a use after free is seen.
CUresult release(CUdeviceptr p);

/// Whether [p, p + bytes) lies within one live allocation.
bool owned(uint64_t p, size_t bytes);
bool in_arena(uint64_t p);

/// Kind and story of an access that is not owned (or misaligned): "global-out-of-bounds: 4 bytes past …".
std::string explain(uint64_t p, size_t bytes);

}  // namespace antkv_emu
