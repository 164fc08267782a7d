// What an emulated kernel (.so) and the emulated driver share: the running thread's state and the calls into the driver.
// The driver owns the one Machine; every kernel .so holds a pointer to it, set when the image is loaded (entry.cc).
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace antkv_emu {

/// Raised whenever Machine, Image or the meaning of a field changes: a kernel built for another number is refused.
constexpr uint32_t kMachineVersion = 6;
constexpr int kWarp = 32;

/// Everything that all lanes of a warp do together. Names for reports: collective_name().
enum class Collective : uint32_t { shuffle, ballot, warp_barrier, block_barrier, mma, load_matrix, load_matrix_transposed, transpose_matrix, warp_index, mma_s8u8, mma_s8s8, mma_sparse_u8s8, mma_sparse_u8u8,
  mma_bf16, group_mma, group_fence, group_commit, group_wait, reduce, uniform };
constexpr int kCollectives = 20;

/// How memory is touched. `copy` is the shared or the global side of copy_async; `once` a load that never sees what this launch writes.
enum class Access : uint32_t { load, store, atomic, copy, matrix, once };

struct MmaArgs {
  float* d;
  const uint32_t* a;
  const uint32_t* b;
};
struct ByteMmaArgs {
  int* d;
  const uint32_t* a;
  const uint32_t* b;
};
struct SparseMmaArgs {
  int* d;
  const uint32_t* a;
  const uint32_t* b;
  uint32_t places;
};
struct GroupMmaArgs {
  float* d;
  const uint32_t* a;
  uint32_t b;
  bool add;
};
/// Of group_fence too, without `pending`.
struct GroupWaitArgs {
  float* d;
  int pending;
};
struct LoadMatrixArgs {
  uint32_t* r;
  const void* row;
};
struct TransposeArgs {
  uint32_t in;
  uint32_t out;
};

/// The running launch, seen from the running thread. Hot fields are read inline by the accessors; nothing else is.
struct Machine {
  int thread;                   // of the running fibre, in its block
  int block[3], grid[3];
  unsigned char* shared;        // base of the block's dynamic shared memory
  uint64_t shared_bytes;        // as launched
  bool watch_shared;            // race checks or counters want every shared access
  bool watch_global;
  uintptr_t arena;              // device memory is one range of addresses,
  uint64_t arena_bytes;
  const uint8_t* valid;         // with one byte per 16: how many of them, from the first, belong to a live allocation
  uint32_t parity;              // flips at every warp collective: a lane that runs ahead must not overwrite what others still read
  uint32_t exchange[2][kWarp];  // shuffled values
  uint32_t votes[2];            // result of ballot

  /// Blocks until all lanes of the warp (block) are here. `args` is one of the structs above, or null.
  void (*arrive)(Collective, void* args, const char* file, int line);
  void (*on_shared)(uint64_t offset, uint32_t bytes, Access, const char* file, int line);
  void (*on_global)(const void*, uint32_t bytes, Access, const char* file, int line);
  /// Report an access that failed the inline test; these end the launch and do not return.
  [[noreturn]] void (*bad_shared)(const void*, uint32_t bytes, Access, const char* file, int line);
  [[noreturn]] void (*bad_global)(const void*, uint32_t bytes, Access, const char* file, int line);
  void (*grid_fence)();
  void (*copy_async)(void* to, const void* from, uint32_t bytes, bool valid, const char* file, int line);
  void (*copy_async_commit)();
  void (*copy_async_wait)(int pending);
  void (*group_publish)();
};

/// What a kernel .so exports under the name `antkv_emu_image`.
struct Image {
  uint32_t machine_version;
  uint32_t params_bytes;
  const char* name;
  void (*bind)(Machine*);
  void (*call)(const void* params);  // runs one CUDA thread
};

}  // namespace antkv_emu
