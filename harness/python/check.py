"""Holds the Python ops against plain torch mathematics, on a GPU: every op, the cache, graph capture, fakes.

    python3 harness/python/check.py [--folder generated] [--only NAME] [--seed 1]

Prints one line per check; exit code 0: all right, 5: something is wrong, 3: no GPU or no torch."""

import argparse
import math
import sys
import time
import traceback

try:
    import torch
except ImportError as error:
    sys.exit(print(f"check: {error}", file=sys.stderr) or 3)

import antkv.cache
import plain
from antkv import eager, ops
from antkv.prefill import causal_attention
from check_codes import check_codes, check_kmeans
from check_lives import check_forks, check_plans, check_truncation
from plain import D, HEADS, LIMIT, PRESETS, RATIO, attention, folder, halves, host_time, live, make_cache, need, relative, replayed, rotate, rows_of, stored_rows


def check_cache() -> str:
    """Prompts of several lengths, then steps through flushes, against attention in fp32 over what unpack and ring say is stored."""
    said = []
    for preset in PRESETS:
        for rows in (1, 3):
            cache, worst = make_cache(preset, max_q_len=rows), 0.0
            for step, (numbers, q, out) in enumerate(live(cache, [700, 129, 0, 383], 140 // rows)):
                if step % (16 // rows) and step < 138 // rows:
                    continue
                for i, number in enumerate(numbers):
                    span = slice(i * rows, (i + 1) * rows)
                    worst = max(worst, relative(out[span], attention(q[span], *stored_rows(cache, number))[0]))
            said.append(need(worst, LIMIT, f"{preset} x{rows}"))
    return ", ".join(said)


def check_scores() -> str:
    """score by its forms and select against plain torch."""
    at = folder()
    n, said = 600, []
    q, k, v = rotate(halves(n, HEADS * RATIO, D)).half(), rotate(halves(n, HEADS, D)).half(), halves(n, HEADS, D)
    o, lse = attention(q, k.float(), v.float())
    said.append(need(float((causal_attention(q, k, None, D**-0.5)[0] - lse).abs().max()), 1e-3, "lse"))
    p = q.float().transpose(0, 1) @ k.float().repeat_interleave(RATIO, 1).permute(1, 2, 0) * D**-0.5 - lse.t()[..., None]
    p = p.masked_fill(torch.ones(n, n, dtype=torch.bool, device=plain.DEVICE).triu(1), -math.inf).exp()
    norms = q.float().norm(dim=-1).t()[..., None]
    far = (v.float().repeat_interleave(RATIO, 1).transpose(0, 1)[:, None] - o.half().float().transpose(0, 1)[:, :, None]).norm(dim=-1)
    forms = {"column": p, "mass": p * (1 - p), "massq": p * (1 - p) * norms, "exact": p * far * norms * D**-0.5, "saliency": p / torch.arange(n, 0, -1, device=plain.DEVICE), "norm": -k.float().norm(dim=-1).t().repeat_interleave(RATIO, 0)[:, None] / RATIO}
    cu = torch.tensor([0, n], dtype=torch.int32, device=plain.DEVICE)
    for form, terms in forms.items():
        try:
            contract = at.find("score", headDim=D, dtype="f16", form=form)
        except Exception:  # a small folder may lack forms; column is needed
            if form == "column":
                raise
            continue
        scores = torch.zeros(1, HEADS, n, device=plain.DEVICE)
        asks = (None, k, None, None) if form == "norm" else (q, k, lse.contiguous(), cu)
        ops.score(contract, scores, *asks, cu, n, -1.0 if form == "norm" else D**-0.5, **({"v": v, "o": o.half().contiguous()} if form == "exact" else {}))
        said.append(need(relative(scores[0], terms.sum(1).view(HEADS, RATIO, n).sum(1)), 2e-3, form))
    bitmap, indices = torch.zeros(1, HEADS, 19, dtype=torch.int32, device=plain.DEVICE), torch.zeros(1, HEADS, 16, dtype=torch.int32, device=plain.DEVICE)
    ops.select(at.find("select"), scores, cu[1:].clone(), bitmap, indices, None, budget_permille=10)
    want = scores[0].topk(6).indices.sort().values.int()
    if not torch.equal(indices[0, :, :6], want) or not (indices[0, :, 6:] == -1).all():
        raise AssertionError(f"select kept {indices[0].tolist()}, not {want.tolist()}")
    return ", ".join(said)


def check_combine() -> str:
    contract = folder().find("combine", headDim=D, dtype="f16")
    o, lse = torch.randn(5, 7, HEADS * RATIO, D, device=plain.DEVICE), torch.randn(5, 7, HEADS * RATIO, device=plain.DEVICE)
    merged = torch.empty(7, HEADS * RATIO, device=plain.DEVICE)
    out = ops.combine(contract, o, lse, merged, None)
    return need(relative(out, (lse.softmax(0)[..., None] * o).sum(0)), 1e-3, "out") + ", " + need(float((merged - lse.logsumexp(0)).abs().max()), 1e-5, "lse")


def check_errors() -> str:
    """A wrong argument is named, with what it should be."""
    cache = make_cache("antkv-1-fast")
    list(live(cache, [256], 1))
    at, q = cache.layers[0], halves(1, HEADS * RATIO, D)
    good = dict(contract=at.contracts["decode"], q=q, pages=at.pages, coded_len=cache._lengths[4, :1], kv_len=cache._lengths[5, :1], page_size=32, max_tokens=2048, scale=0.1, lse=None, ring_scores=None,
                block_table=cache._block_table[:1], k_codebook=at.k_codebook, v_codebook=at.v_codebook)  # fmt: skip
    ops.decode(**good)
    bad = {
        "q has elements of float": {"q": q.float()}, "q is on cpu": {"q": q.cpu()}, "page_size is 31": {"page_size": 31}, "k_codebook is missing": {"k_codebook": None},
        "kv_len is [2]": {"kv_len": torch.zeros(2, dtype=torch.int32, device=plain.DEVICE)}, "block_table": {"block_table": None}, "scale is 0": {"scale": 0.0},
        "contiguous": {"q": halves(1, D, HEADS * RATIO).transpose(1, 2)}, "no contract": {"contract": "antkv_decode_d182"},
        "q is at 0x": {"q": halves(1 + q.numel())[1:].view(q.shape)},  # shapes that were met before: only its pointer is wrong
    }  # fmt: skip
    for words, change in bad.items():
        try:
            ops.decode(**{**good, **change})
        except Exception as error:
            if words not in str(error) and not (words == "q is on cpu" and "cpu" in str(error)):
                raise AssertionError(f"{words!r} is not in {error}") from error
        else:
            raise AssertionError(f"{change} was taken")
    return f"{len(bad)} refused in words"


def check_graph() -> str:
    """Steps of two layers replayed from one graph give the bits that launches one by one give."""
    prompts, inputs, results = [rows_of(n) for n in (600, 129)], [rows_of(2) for _ in range(150)], []
    for captured in (False, True):
        cache = make_cache("antkv-1", layers=2)
        found, graph, rows = replayed(cache, prompts, inputs, captured)
        results.append(found)
    if not torch.equal(*results):
        raise AssertionError(f"{int((results[0] != results[1]).sum())} of {results[0].numel()} numbers differ")
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(100):
        graph.replay()
    torch.cuda.synchronize()
    replay = 1e4 * (time.perf_counter() - begin)
    alone = host_time(lambda: cache.attend(0, *rows))
    antkv.cache.launcher, kept = lambda: ops, antkv.cache.launcher
    try:
        dispatched = host_time(lambda: cache.attend(0, *rows))
    finally:
        antkv.cache.launcher = kept
    return f"{len(inputs)} steps bit-equal; two layers replay in {replay:.0f} us; host time of a layer's two launches: {alone:.0f} us, through torch's dispatcher {dispatched:.0f} us"


def check_fakes() -> str:
    """opcheck of every op on arguments of a living cache; decode inside torch.compile, without a graph break."""
    calls, names = {}, ("encode", "append", "decode", "score", "select", "unpack")
    kept = {name: getattr(ops, name) for name in names}
    plainly = {name: getattr(eager, name) for name in names}
    for name in names:
        recorded = lambda *a, _name=name, **k: (calls.__setitem__(_name, (a, k)), kept[_name](*a, **k))[1]
        setattr(ops, name, recorded), setattr(eager, name, recorded)
    try:
        cache = make_cache("antkv-1")
        list(live(cache, [300], 2))
        stored_rows(cache, 0)
    finally:
        for name in names:
            setattr(ops, name, kept[name]), setattr(eager, name, plainly[name])
    for name, (a, k) in calls.items():
        torch.library.opcheck(kept[name], a, k, test_utils=("test_schema", "test_faketensor", "test_aot_dispatch_static"))
    a, k = calls["decode"]
    step = lambda x: ops.decode(a[0], x * 2, *a[2:], **k) + 1
    q = a[1]
    if relative(torch.compile(step, fullgraph=True, backend="aot_eager")(q), step(q)) > 0:
        raise AssertionError("compiled and eager differ")
    return f"opcheck of {', '.join(calls)}; decode compiles whole"


CHECKS = [check_errors, check_codes, check_scores, check_combine, check_kmeans, check_cache, check_truncation, check_forks, check_plans, check_graph, check_fakes]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder")
    parser.add_argument("--only", default="")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("check: this torch sees no GPU", file=sys.stderr)
        return 3
    if args.folder:
        ops.use(args.folder)
    wrong = 0
    for check in CHECKS:
        name = check.__name__.removeprefix("check_")
        if args.only not in name:
            continue
        torch.manual_seed(args.seed)
        begin = time.perf_counter()
        try:
            said = f"ok   {name}: {check()}"
        except Exception as error:  # every check runs, whatever became of those before
            wrong += 1
            where = traceback.extract_tb(error.__traceback__)
            said = f"FAIL {name}: {type(error).__name__}: {str(error)[:1500]}\n     at " + " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(where[-4:]))
        print(f"{said} ({time.perf_counter() - begin:.1f} s)", flush=True)
    return 5 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
