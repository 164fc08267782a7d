// State of the emulated driver between calls: initialisation, contexts, streams and what is being captured on them.
#pragma once
#include <functional>
#include <mutex>
#include <vector>

#include "arch.h"
#include "cuda_types.h"

namespace antkv_emu {

/// Held during every call: the emulator runs one thing at a time, whichever thread asks.
std::recursive_mutex& driver_lock();

const Arch& arch();
bool initialised();
CUresult initialise();  // cuInit
/// NOT_INITIALIZED before cuInit, INVALID_CONTEXT if this thread has no context; otherwise success.
CUresult need_context();

using Step = std::function<CUresult()>;
/// Does `step` now, or records it if `stream` is being captured. INVALID_HANDLE for an unknown stream.
CUresult enqueue(CUstream stream, Step step);
/// STREAM_CAPTURE_UNSUPPORTED while anything is being captured: for calls that a CUDA graph cannot hold (`what` names them).
CUresult not_while_capturing(const char* what);
bool known_stream(CUstream);

}  // namespace antkv_emu

/// First line of every call that needs a context.
#define ANTKV_ENTER                                                        \
  std::lock_guard<std::recursive_mutex> hold(antkv_emu::driver_lock());    \
  if (const CUresult bad_context = antkv_emu::need_context()) return bad_context
