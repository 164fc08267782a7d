"""Times PyTorch's fused attention (SDPA) in FP16 on decode shapes: the baseline of `gen bench`.

    python3 baseline.py [--batch 1,16] [--tokens 4096,32768,131072] [--head-dim 128] [--q-heads 32] [--kv-heads 8] [--samples 30]

One query token per sequence, enable_gqa, every fused backend that takes the shape (cuDNN, flash, memory-efficient; not math). Data in as many copies as exceed 3 times
the L2, one CUDA graph for each, in turn, so that nothing is in L2 when a step begins; events around each graph, median. The same way as the runner's (harness/runner/README.md).
Writes one JSON record per backend and shape to stdout (tuner/bench-row.ts); talks on stderr. Without torch or a GPU: one line on stderr, exit code 3.
"""

import argparse
import json
import subprocess
import sys

try:
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.functional import scaled_dot_product_attention
except ImportError as error:
    sys.exit(print(f"baseline: no FP16 baseline: {error}", file=sys.stderr) or 3)

BACKENDS = {"cudnn": SDPBackend.CUDNN_ATTENTION, "flash": SDPBackend.FLASH_ATTENTION, "efficient": SDPBackend.EFFICIENT_ATTENTION}
WARM_MS = 50


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


def graph_of(step):
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = step()
    return graph, out


def time_graphs(graphs, samples):
    """Microseconds of `samples` replays, graphs in turn. A long sleep on the GPU lets the CPU run ahead, so that events see no time of the CPU."""
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    warm = 0
    while True:  # clocks rise before anything counts
        for graph, _ in graphs:
            graph.replay()
        warm += len(graphs)
        end.record()
        end.synchronize()
        if begin.elapsed_time(end) > WARM_MS:
            break
    marks = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(samples)]
    torch.cuda._sleep(20_000_000)  # about 10 ms
    for i, (a, b) in enumerate(marks):
        a.record()
        graphs[i % len(graphs)][0].replay()
        b.record()
    torch.cuda.synchronize()
    return sorted(1000 * a.elapsed_time(b) for a, b in marks)


def time_back_to_back(graphs, steps):
    """Microseconds per step of `steps` replays in a row, median of 5."""
    values = []
    for _ in range(5):
        a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda._sleep(20_000_000)
        a.record()
        for i in range(steps):
            graphs[i % len(graphs)][0].replay()
        b.record()
        torch.cuda.synchronize()
        values.append(1000 * a.elapsed_time(b) / steps)
    return sorted(values)[2]


def measure(backend, batch, tokens, args):
    """One record's times, or raises RuntimeError if the backend does not take the shape."""
    d, l2 = args.head_dim, torch.cuda.get_device_properties(0).L2_cache_size
    useful = 2 * d * batch * (2 * args.kv_heads * tokens + 2 * args.q_heads)
    copies = min(64, 3 * l2 // useful + 1)
    make = lambda heads, n: torch.randn(batch, heads, n, d, device="cuda", dtype=torch.float16)
    data = [(make(args.q_heads, 1), make(args.kv_heads, tokens), make(args.kv_heads, tokens)) for _ in range(copies)]
    with sdpa_kernel([BACKENDS[backend]]), torch.no_grad():
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):  # plans and workspaces are made outside the capture
            for q, k, v in data[:2]:
                scaled_dot_product_attention(q, k, v, enable_gqa=True)
        torch.cuda.synchronize()
        graphs = [graph_of(lambda q=q, k=k, v=v: scaled_dot_product_attention(q, k, v, enable_gqa=True)) for q, k, v in data]
    clock = sm_clock()
    us = time_graphs(graphs, args.samples)
    steps = max(len(graphs), 16) if percentile(us, 0.5) < 12_000 else len(graphs)
    b2b = time_back_to_back(graphs, steps)
    out = graphs[0][1].float()
    ratio = args.q_heads // args.kv_heads
    q, k, v = data[0]  # the query heads of the first KV head, in fp64
    q, k, v = q[0, :ratio, 0].double(), k[0, 0].double(), v[0, 0].double()
    want = torch.softmax(q @ k.T / d**0.5, -1) @ v
    error = float((out[0, :ratio, 0].double() - want).norm() / want.norm())
    faults = [] if error < 1e-2 else [f"relative L2 error {error} against fp64"]
    return {
        "ok": not faults,
        "faults": faults,
        "us": {"median": percentile(us, 0.5), "p10": percentile(us, 0.1), "p90": percentile(us, 0.9), "min": us[0]},
        "b2b_us": b2b,
        "b2b_steps": steps,
        "samples": len(us),
        "bytes": useful,
        "gbps": 1e-3 * useful / percentile(us, 0.5),
        "copies": copies,
        "l2_bytes": l2,
        "clock_mhz": {"begin": clock, "end": sm_clock()},
        "check": {"kind": "one head", "rel_l2": error},
    }


def main():
    numbers = lambda text: [int(word) for word in text.split(",")]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=numbers, default=[1, 16])
    parser.add_argument("--tokens", type=numbers, default=[4096, 32768, 131072])
    for name, value in [("head-dim", 128), ("q-heads", 32), ("kv-heads", 8), ("samples", 30)]:
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit(print("baseline: no FP16 baseline: this PyTorch sees no GPU", file=sys.stderr) or 3)
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
    for batch in args.batch:
        for tokens in args.tokens:
            for backend in BACKENDS:
                shape = {"batch": batch, "tokens": tokens, "q_heads": args.q_heads, "kv_heads": args.kv_heads, "q_len": 1}
                try:
                    result = measure(backend, batch, tokens, args)
                except Exception as error:  # a backend that does not take the shape, or too little memory: the others go on
                    first = str(error).strip().split("\n")[0]
                    print(f"baseline: {backend} B{batch} {tokens}: {first[:200]}", file=sys.stderr)
                    continue
                finally:
                    torch.cuda.empty_cache()
                row = {"record": "bench", "source": "peer", "op": "decode", "kernel": f"torch_sdpa_{backend}", "code": "PyTorch", "head_dim": args.head_dim, "shape": shape}
                print(json.dumps({**row, **result, "environment": environment}), flush=True)


if __name__ == "__main__":
    main()
