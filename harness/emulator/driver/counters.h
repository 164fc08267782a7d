// Counts what the memory pipes of a GPU would do: shared-memory wavefronts, global sectors, instructions. For the `counters` setting.
#pragma once
#include <string>

#include "launch.h"

namespace antkv_emu {

void start_counters(const std::string& kernel, long long blocks, int threads);
/// One lane's part of a memory instruction. `at`: offset in shared memory, or address.
void count_access(int thread, bool shared, uint64_t at, uint32_t bytes, Access, const char* file, int line);
/// A phase of the running warp has ended in `kind`, done by `warps` warps.
void count_collective(Collective kind, int warps);
/// Puts the lanes' parts together: the n-th access of each lane at one source line since the last flush is one instruction.
void flush_accesses();
void end_counters();

/// JSON of the last launch that was counted; "{}" before.
const std::string& counters_json();

}  // namespace antkv_emu
