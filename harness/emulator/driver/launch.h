// One running launch: its threads, warps and blocks, and how the checks look at them.
#pragma once
#include <string>
#include <vector>

#include "antkv_emu_machine.h"
#include "cuda_types.h"
#include "fibre.h"

namespace antkv_emu {

/// A copy_async between its issue and the wait that completes it.
struct Copy {
  uint32_t to;        // offset in shared memory
  uint32_t bytes;     // 4 or 16
  uint32_t group;
  const void* from;   // null: zeros
  int line;
  const char* file;
  unsigned char content[16];  // of the source, at the issue
};

enum class State : uint8_t { running, at_warp, at_block, done };

struct alignas(64) Thread {  // what every switch touches lies in one cache line
  Fibre fibre;
  State state;
  Collective kind;
  void* args;
  const char* file;
  int line;
  uint32_t group;  // copy groups closed so far
  std::vector<Copy> copies;
};

/// Set by antkv_emu_set and the environment; see README.md.
struct Settings {
  long long order = 0;       // 0 forward, 1 reverse, other: seed of a shuffle
  long long race = 1;        // 0 off, 1 shared, 2 shared and global
  long long counters = 0;
  long long shared_limit = 0;  // bytes per block; 0: the arch's
  long long warp_order = 0;  // 1: every warp collective orders memory; 0: warp_barrier alone, as CUDA promises
};
extern Settings settings;
extern Machine machine;

struct LaunchRequest {
  const Image* image;
  std::string name;
  unsigned grid[3], block[3];
  unsigned shared_bytes;
  std::vector<unsigned char> params;
};

/// Runs all blocks. CUDA_SUCCESS, or the code of the first problem found (report set).
CUresult run_launch(const LaunchRequest&);

// --- for the checks ---
Thread& thread_at(int index);
int thread_count();
const std::string& kernel_name();

/// Ends the launch from inside a fibre: report = "kind: what", plus kernel, block, thread and place.
[[noreturn]] void stop(CUresult code, const std::string& what, const char* file, int line);
/// The same on behalf of another thread of the block.
[[noreturn]] void stop_at(int thread, CUresult code, const std::string& what, const char* file, int line);

const char* collective_name(Collective);
const char* access_name(Access, bool shared);

// collectives.cc: does what the lanes of the warp came for; all are at the same collective.
void perform(Collective, int first_thread);
// async.cc
void copy_issue(void* to, const void* from, uint32_t bytes, bool valid, const char* file, int line);
void copy_commit();
void copy_wait(int pending);

}  // namespace antkv_emu
