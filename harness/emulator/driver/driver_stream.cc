// Streams, events and graphs. Everything runs at once when it is enqueued; a captured stream records instead.
#include <time.h>

#include <set>

#include "context.h"
#include "report.h"

using namespace antkv_emu;

struct CUstream_st {
  bool capturing = false;
  std::vector<Step> steps;
};
struct CUevent_st {
  bool recorded = false;
  timespec at{};
};
struct CUgraph_st {
  std::vector<Step> steps;
};
struct CUgraphExec_st {
  std::vector<Step> steps;
};

namespace {

// Never destroyed: consumers may still call from their own exit handlers.
std::set<CUstream>& streams = *new std::set<CUstream>;
std::set<CUevent>& events = *new std::set<CUevent>;
std::set<CUgraph>& graphs = *new std::set<CUgraph>;
std::set<CUgraphExec>& executables = *new std::set<CUgraphExec>;
int capturing = 0;

bool default_stream(CUstream s) { return uintptr_t(s) <= 2; }  // null, legacy, per thread

template <class T>
CUresult need(const std::set<T>& known, T handle, const char* what) {
  return known.count(handle) ? CUDA_SUCCESS : fail(CUDA_ERROR_INVALID_HANDLE, text("bad-handle: no such %s (destroyed before?)", what));
}
template <class T>
CUresult destroy(std::set<T>& known, T handle, const char* what) {
  if (const CUresult bad = need(known, handle, what)) return bad;
  known.erase(handle);
  delete handle;
  return CUDA_SUCCESS;
}

}  // namespace

namespace antkv_emu {

bool known_stream(CUstream s) { return default_stream(s) || streams.count(s); }

CUresult not_while_capturing(const char* what) {
  return capturing ? fail(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, text("capture: %s while a stream is being captured; a CUDA graph cannot hold it", what)) : CUDA_SUCCESS;
}

CUresult enqueue(CUstream s, Step step) {
  if (!known_stream(s)) return fail(CUDA_ERROR_INVALID_HANDLE, "bad-handle: no such stream (destroyed before?)");
  if (default_stream(s)) {
    if (const CUresult bad = not_while_capturing("work on the default stream")) return bad;
  } else if (s->capturing) {
    s->steps.push_back(std::move(step));
    return CUDA_SUCCESS;
  }
  return step();
}

}  // namespace antkv_emu

ANTKV_EMU_API CUresult cuStreamCreate(CUstream* out, unsigned) {
  ANTKV_ENTER;
  if (!out) return CUDA_ERROR_INVALID_VALUE;
  *out = *streams.insert(new CUstream_st).first;
  return CUDA_SUCCESS;
}
ANTKV_EMU_API CUresult cuStreamCreateWithPriority(CUstream* out, unsigned flags, int) { return cuStreamCreate(out, flags); }
ANTKV_EMU_API CUresult cuStreamSynchronize(CUstream s) {
  ANTKV_ENTER;
  if (!known_stream(s)) return fail(CUDA_ERROR_INVALID_HANDLE, "bad-handle: no such stream");
  if (!default_stream(s) && !s->capturing) return CUDA_SUCCESS;
  return not_while_capturing("cuStreamSynchronize");
}
ANTKV_EMU_API CUresult cuStreamQuery(CUstream s) { return cuStreamSynchronize(s); }
ANTKV_EMU_API CUresult cuStreamWaitEvent(CUstream s, CUevent e, unsigned) {
  ANTKV_ENTER;
  if (!known_stream(s)) return fail(CUDA_ERROR_INVALID_HANDLE, "bad-handle: no such stream");
  return need(events, e, "event");
}
ANTKV_EMU_API CUresult cuStreamDestroy_v2(CUstream s) {
  ANTKV_ENTER;
  if (streams.count(s) && s->capturing) capturing--;
  return destroy(streams, s, "stream");
}

ANTKV_EMU_API CUresult cuStreamBeginCapture_v2(CUstream s, int) {
  ANTKV_ENTER;
  if (default_stream(s)) return fail(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "capture: the default stream cannot be captured");
  if (const CUresult bad = need(streams, s, "stream")) return bad;
  if (s->capturing) return fail(CUDA_ERROR_ILLEGAL_STATE, "capture: the stream is being captured already");
  s->capturing = true;
  capturing++;
  return CUDA_SUCCESS;
}
ANTKV_EMU_API CUresult cuStreamIsCapturing(CUstream s, int* status) {
  ANTKV_ENTER;
  if (!status) return CUDA_ERROR_INVALID_VALUE;
  if (!known_stream(s)) return fail(CUDA_ERROR_INVALID_HANDLE, "bad-handle: no such stream");
  *status = !default_stream(s) && s->capturing;
  return CUDA_SUCCESS;
}
ANTKV_EMU_API CUresult cuStreamEndCapture(CUstream s, CUgraph* out) {
  ANTKV_ENTER;
  if (!out) return CUDA_ERROR_INVALID_VALUE;
  if (const CUresult bad = need(streams, s, "stream")) return bad;
  if (!s->capturing) return fail(CUDA_ERROR_ILLEGAL_STATE, "capture: the stream is not being captured");
  s->capturing = false;
  capturing--;
  auto* g = new CUgraph_st;
  g->steps.swap(s->steps);
  graphs.insert(g);
  *out = g;
  return CUDA_SUCCESS;
}
ANTKV_EMU_API CUresult cuGraphInstantiateWithFlags(CUgraphExec* out, CUgraph g, unsigned long long) {
  ANTKV_ENTER;
  if (!out) return CUDA_ERROR_INVALID_VALUE;
  if (const CUresult bad = need(graphs, g, "graph")) return bad;
  *out = *executables.insert(new CUgraphExec_st{g->steps}).first;
  return CUDA_SUCCESS;
}
ANTKV_EMU_API CUresult cuGraphLaunch(CUgraphExec g, CUstream s) {
  ANTKV_ENTER;
  if (const CUresult bad = need(executables, g, "executable graph")) return bad;
  const std::vector<Step> steps = g->steps;
  return enqueue(s, [steps] {
    for (const Step& step : steps) {
      if (const CUresult bad = step()) return bad;
    }
    return CUDA_SUCCESS;
  });
}
ANTKV_EMU_API CUresult cuGraphExecDestroy(CUgraphExec g) {
  ANTKV_ENTER;
  return destroy(executables, g, "executable graph");
}
ANTKV_EMU_API CUresult cuGraphDestroy(CUgraph g) {
  ANTKV_ENTER;
  return destroy(graphs, g, "graph");
}

ANTKV_EMU_API CUresult cuEventCreate(CUevent* out, unsigned) {
  ANTKV_ENTER;
  if (!out) return CUDA_ERROR_INVALID_VALUE;
  *out = *events.insert(new CUevent_st).first;
  return CUDA_SUCCESS;
}
ANTKV_EMU_API CUresult cuEventRecord(CUevent e, CUstream s) {
  ANTKV_ENTER;
  if (const CUresult bad = need(events, e, "event")) return bad;
  return enqueue(s, [e] {
    if (const CUresult bad = need(events, e, "event")) return bad;
    e->recorded = true;
    clock_gettime(CLOCK_MONOTONIC, &e->at);
    return CUDA_SUCCESS;
  });
}
ANTKV_EMU_API CUresult cuEventSynchronize(CUevent e) {
  ANTKV_ENTER;
  if (const CUresult bad = need(events, e, "event")) return bad;
  return not_while_capturing("cuEventSynchronize");
}
ANTKV_EMU_API CUresult cuEventQuery(CUevent e) { return cuEventSynchronize(e); }
/// Wall time on this machine: says nothing about a GPU.
ANTKV_EMU_API CUresult cuEventElapsedTime(float* milliseconds, CUevent from, CUevent to) {
  ANTKV_ENTER;
  if (!milliseconds) return CUDA_ERROR_INVALID_VALUE;
  if (const CUresult bad = need(events, from, "event")) return bad;
  if (const CUresult bad = need(events, to, "event")) return bad;
  if (!from->recorded || !to->recorded) return fail(CUDA_ERROR_INVALID_HANDLE, "bad-event: never recorded");
  *milliseconds = float(double(to->at.tv_sec - from->at.tv_sec) * 1e3 + double(to->at.tv_nsec - from->at.tv_nsec) * 1e-6);
  return CUDA_SUCCESS;
}
ANTKV_EMU_API CUresult cuEventDestroy_v2(CUevent e) {
  ANTKV_ENTER;
  return destroy(events, e, "event");
}
