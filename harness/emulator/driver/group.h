// Products of groups of warps (group.cc), and what launch and checks tell them.
#pragma once
#include "launch.h"

namespace antkv_emu {

/// Does what the lanes of the warp came for; all are at the same collective, one of group_....
void group_perform(Collective, int first_thread);
/// Machine's call.
void group_publish();
/// `thread` wrote to shared memory, or a copy of its arrived.
void group_written(int thread, uint64_t offset, uint32_t bytes);
/// All threads came to a block barrier.
void group_barrier();
void group_start_block();
/// All threads are done; called from the last one.
void group_end_block();

}  // namespace antkv_emu
