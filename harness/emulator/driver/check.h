// Checks of every access, and the hooks by which the launch tells them what orders what.
#pragma once
#include "launch.h"

namespace antkv_emu {

void start_checks();
void start_block_checks(long long block);
void end_block_checks();
void end_checks();

/// All lanes of `warp` came to `kind`; all threads came to the block barrier.
void after_collective(int warp, Collective kind);
void after_block_barrier();
/// All threads are done; called from the last one.
void before_block_end();
/// An uninitialised read that waits to be reported. It is the cause of whatever else was found since (except a race, which explains it).
bool pending_finding(std::string& what, int& thread, const char*& file, int& line);

// Machine's calls. Offsets count from the base of shared memory.
void on_shared(uint64_t offset, uint32_t bytes, Access, const char* file, int line);
using SharedWatcher = decltype(Machine::on_shared);
/// on_shared(), or what does for the settings of this launch.
SharedWatcher shared_watcher();
void on_global(const void*, uint32_t bytes, Access, const char* file, int line);
[[noreturn]] void bad_shared(const void*, uint32_t bytes, Access, const char* file, int line);
[[noreturn]] void bad_global(const void*, uint32_t bytes, Access, const char* file, int line);
void grid_fence();

/// A 16-byte row that `thread` gave to load_matrix_x4.
void check_matrix_row(int thread, const void* row, const char* file, int line);
/// The running thread waited for its copy to the 16 bytes at `offset`.
void copy_arrived(uint32_t offset, uint32_t bytes, int line);

}  // namespace antkv_emu
