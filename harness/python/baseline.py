"""Times PyTorch's fused attention (SDPA) in FP16, on decode shapes and on whole prompts: the baseline of `gen bench`.

    python3 baseline.py [--shapes '[{"batch": 16, "tokens": 131072}, ...]'] [--samples 30] [--limit SECONDS]

--shapes takes JSON, or @FILE: objects of batch, tokens and, if not the defaults, head_dim 128, q_heads 32, kv_heads 8, q_len 1; in this order, what matters first.
"causal": true with q_len = tokens is the forward pass of a prompt (op "prefill" in the records): what the score of its keys is held against.
Contenders: cuDNN and flash with enable_gqa, each with K and V as [batch, heads, tokens, d] and as [batch, tokens, heads, d] in memory. Several query rows are not
masked: that costs FP16 nothing.

The same way as the runner's (harness/runner/README.md, "bench"): data in as many copies as exceed 3 times the L2, one CUDA graph for each, in turn, so that nothing is
in L2 when a step begins; all samples enqueued behind copies that keep the GPU busy; events around each graph, median. Graphs are launched through the driver, because
PyTorch's replay may launch kernels of its own before the graph; b2b_us is the time per step of whole rounds over the copies in one graph.
Writes one JSON record per contender and shape to stdout (tuner/bench-row.ts); talks on stderr. Without torch or a GPU: one line on stderr, exit code 3.
"""

import argparse
import ctypes
import json
import subprocess
import sys
import time

try:
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.functional import scaled_dot_product_attention
except ImportError as error:
    sys.exit(print(f"baseline: no FP16 baseline: {error}", file=sys.stderr) or 3)

BACKENDS = {"cudnn": SDPBackend.CUDNN_ATTENTION, "flash": SDPBackend.FLASH_ATTENTION}
TABLE = [{"batch": b, "tokens": t} for b, t in [(16, 131072), (16, 32768), (1, 131072), (16, 4096), (1, 4096)]]
DEFAULTS = {"head_dim": 128, "q_heads": 32, "kv_heads": 8, "q_len": 1, "causal": False}
WARM_S = 0.05
UNTIMED = 2  # replays between the filler and the first sample: they meet what the copies left dirty in L2
FILLER_BYTES = 64 << 20
BACK_TO_BACK_US = 2e5  # that one graph of back-to-back steps may take


def percentile(sorted_values, p):
    """Linear interpolation between the closest ranks."""
    at = p * (len(sorted_values) - 1)
    low = int(at)
    high = min(low + 1, len(sorted_values) - 1)
    return sorted_values[low] + (at - low) * (sorted_values[high] - sorted_values[low])


def driver_of():
    """The version of the driver package, or None."""
    try:
        said = subprocess.run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], capture_output=True, text=True, timeout=20, check=True)
        return said.stdout.split("\n")[0].strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def sm_clock():
    """SM clock in MHz, or None."""
    try:
        return float(torch.cuda.clock_rate())
    except Exception:  # needs pynvml; every kind of failure means the same: unknown
        return None


class Graph:
    """`steps`, captured one behind the other."""

    def __init__(self, steps):
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.out = [step() for step in steps]
        try:
            self.exec = ctypes.c_void_p(self.graph.raw_cuda_graph_exec())
        except (AttributeError, RuntimeError):  # an older PyTorch
            self.exec = None

    def launch(self):
        if self.exec is None:
            return self.graph.replay()
        status = LIBCUDA.cuGraphLaunch(self.exec, ctypes.c_void_p(torch.cuda.current_stream().cuda_stream))
        if status != 0:
            raise RuntimeError(f"cuGraphLaunch: error {status}")


def time_graphs(graphs, samples):
    """Microseconds of `samples` launches, graphs in turn."""
    started = time.monotonic()
    while time.monotonic() - started < WARM_S:  # clocks rise before anything counts
        for graph in graphs:
            graph.launch()
        torch.cuda.synchronize()
    event = lambda: torch.cuda.Event(enable_timing=True)
    marks = [(event(), event()) for _ in range(samples)]
    filler = torch.empty(2, FILLER_BYTES, dtype=torch.uint8, device="cuda")
    for _ in range(samples):
        filler[0].copy_(filler[1])
    for i in range(UNTIMED):
        graphs[i % len(graphs)].launch()
    for i, (a, b) in enumerate(marks):
        a.record()
        graphs[(UNTIMED + i) % len(graphs)].launch()
        b.record()
    torch.cuda.synchronize()
    return sorted(1000 * a.elapsed_time(b) for a, b in marks)


def time_back_to_back(steps, one_us):
    """Microseconds per step of whole rounds over the copies in one graph, median of 5 launches; and the number of steps."""
    fit = max(1, min(16, int(BACK_TO_BACK_US / max(0.1, one_us))))
    rounds = -(-fit // len(steps))
    together = Graph(steps * rounds)
    values = []
    for i in range(6):
        a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        a.record()
        together.launch()
        b.record()
        torch.cuda.synchronize()
        if i > 0:  # the first warms up
            values.append(1000 * a.elapsed_time(b) / (len(steps) * rounds))
    return sorted(values)[2], len(steps) * rounds


def relative_error(out, q, k, v, causal):
    """Of the query heads of the first KV head of the first sequence, 64 rows at most, against fp64."""
    ratio = q.shape[1] // k.shape[1]
    rows = torch.linspace(0, q.shape[2] - 1, min(64, q.shape[2]), device=q.device).long()
    q, k, v, out = q[0][:ratio, rows].double(), k[0, 0].double(), v[0, 0].double(), out[0][:ratio, rows].double()
    scores = q @ k.T / q.shape[-1] ** 0.5
    if causal:
        scores.masked_fill_(torch.arange(k.shape[0], device=k.device) > rows[:, None], float("-inf"))
    want = torch.softmax(scores, -1) @ v
    return float((out - want).norm() / want.norm())


def measure(backend, tokens_first, shape, samples):
    """One record's times, or raises RuntimeError if the backend does not take the shape."""
    batch, tokens, d, q_heads, kv_heads, q_len, causal = (shape[name] for name in ["batch", "tokens", "head_dim", "q_heads", "kv_heads", "q_len", "causal"])
    l2 = torch.cuda.get_device_properties(0).L2_cache_size
    useful = 2 * d * batch * (2 * kv_heads * tokens + 2 * q_heads * q_len)
    copies = 3 * l2 // useful + 1
    half = dict(device="cuda", dtype=torch.float16)
    rows = lambda: torch.randn(batch, tokens, kv_heads, d, **half).transpose(1, 2) if tokens_first else torch.randn(batch, kv_heads, tokens, d, **half)
    queries = lambda: torch.randn(batch, q_len, q_heads, d, **half).transpose(1, 2) if tokens_first and causal else torch.randn(batch, q_heads, q_len, d, **half)
    data = [(queries(), rows(), rows()) for _ in range(copies)]
    attend = lambda q, k, v: scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=q_heads != kv_heads)
    with sdpa_kernel([BACKENDS[backend]]), torch.no_grad():
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):  # plans and workspaces are made outside the capture
            for one in data[:2]:
                attend(*one)
        torch.cuda.synchronize()
        steps = [lambda one=one: attend(*one) for one in data]
        graphs = [Graph([step]) for step in steps]
        clock = sm_clock()
        us = time_graphs(graphs, samples)
        clock_end = sm_clock()
        b2b, b2b_steps = time_back_to_back(steps, percentile(us, 0.5))
    error = relative_error(graphs[0].out[0], *data[0], causal)
    faults = [] if error < 1e-2 else [f"relative L2 error {error} against fp64"]
    return {
        "ok": not faults,
        "faults": faults,
        "us": {"median": percentile(us, 0.5), "p10": percentile(us, 0.1), "p90": percentile(us, 0.9), "min": us[0]},
        "b2b_us": b2b,
        "b2b_steps": b2b_steps,
        "samples": len(us),
        "bytes": useful,
        "gbps": 1e-3 * useful / percentile(us, 0.5),
        "copies": copies,
        "l2_bytes": l2,
        "launch": "graph.replay" if graphs[0].exec is None else "cuGraphLaunch",
        "clock_mhz": {"begin": clock, "end": clock_end},
        "check": {"kind": "one head", "rel_l2": error},
        **({"tflops": 1e-6 * 2 * d * q_heads * batch * tokens * (tokens + 1) / percentile(us, 0.5)} if causal else {}),
    }


def shapes_of(text):
    if text.startswith("@"):
        with open(text[1:], encoding="utf-8") as file:
            text = file.read()
    shapes = [{**DEFAULTS, **shape} for shape in json.loads(text)]
    if any(shape["causal"] and shape["q_len"] != shape["tokens"] for shape in shapes):
        raise argparse.ArgumentTypeError("a causal shape is a whole prompt: q_len equals tokens")
    return shapes


def main():
    global LIBCUDA
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shapes", type=shapes_of, default=[{**DEFAULTS, **shape} for shape in TABLE])
    parser.add_argument("--samples", type=int, default=30)
    parser.add_argument("--limit", type=float, default=float("inf"))
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit(print("baseline: no FP16 baseline: this PyTorch sees no GPU", file=sys.stderr) or 3)
    LIBCUDA = ctypes.CDLL("libcuda.so.1")
    started = time.monotonic()
    torch.manual_seed(1)
    properties = torch.cuda.get_device_properties(0)
    environment = {
        "device": properties.name,
        "cc": 10 * properties.major + properties.minor,
        "multiprocessors": properties.multi_processor_count,
        "l2_bytes": properties.L2_cache_size,
        "memory_bytes": properties.total_memory,
        "driver": driver_of(),
        "emulated": False,
        "software": f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}",
    }
    for shape in args.shapes:
        if time.monotonic() - started > args.limit:
            print(f"baseline: --limit reached before B{shape['batch']} {shape['tokens']}", file=sys.stderr)
            break
        for tokens_first in [False, True]:
            for backend in BACKENDS:
                name = f"torch_sdpa_{backend}{'_bshd' if tokens_first else ''}"
                fields = {key: value for key, value in shape.items() if key not in ("head_dim", "causal")}
                try:
                    result = measure(backend, tokens_first, shape, args.samples)
                except Exception as error:  # a backend that does not take the shape, or too little memory: the others go on
                    first = str(error).strip().split("\n")[0]
                    print(f"baseline: {name} {json.dumps(fields)}: {first[:200]}", file=sys.stderr)
                    continue
                finally:
                    torch.cuda.empty_cache()
                row = {"record": "bench", "source": "peer", "op": "prefill" if shape["causal"] else "decode", "kernel": name, "code": "PyTorch", "head_dim": shape["head_dim"], "shape": fields}
                print(json.dumps({**row, **result, "environment": environment}), flush=True)


if __name__ == "__main__":
    main()
