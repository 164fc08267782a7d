"""Random caches, and plain torch mathematics in fp32 over what they hold: what check.py compares the ops with; and how it times them."""

import math
import time
from dataclasses import replace

import torch

from antkv import ops
from antkv.cache import Cache
from antkv.codebooks import pack_tensor

D, HEADS, RATIO, THETA = 128, 2, 4, 10000.0
DEVICE = "cuda"
PRESETS = ("antkv-1", "antkv-1-fast", "antkv-4", "f16")
LIMIT = 4e-3  # relative L2 error of outputs, as gen verify has it


def relative(got, want) -> float:
    got, want = got.double(), want.double()
    return float((got - want).norm() / want.norm())


def need(value: float, limit: float, what: str) -> str:
    if not value <= limit:
        raise AssertionError(f"{what}: {value:.3g}, at most {limit:.3g} is right")
    return f"{what} {value:.1e}"


def inv_freq():
    return (THETA ** (-torch.arange(0, D, 2, dtype=torch.float64) / D)).float().to(DEVICE)


def rotate(x, first=0):
    """x [tokens, heads, d], half-split pairs, token i at position first + i; in fp32."""
    phase = torch.arange(first, first + len(x), dtype=torch.float64)[:, None] * inv_freq().double().cpu()
    cos, sin = phase.cos().float().to(DEVICE)[:, None], phase.sin().float().to(DEVICE)[:, None]
    a, b = x.float().chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def halves(*shape):
    return torch.randn(*shape, device=DEVICE).half()


def codebook(codec: str):
    """A random codebook of `codec`, such as 8c8bq8, whose entries are what normal rows look like."""
    channels, bits = codec.replace("q8", "").rstrip("b").split("c")
    stages = [int(part) for part in bits.split("b")]
    shape = (HEADS, D // int(channels), *([len(stages)] if len(stages) > 1 else []), 1 << stages[0], int(channels))
    rows = torch.randn(shape, device=DEVICE)
    if not codec.endswith("q8"):
        return pack_tensor(((rows * 256).round().clamp(-1023, 1023) / 256 if len(stages) > 1 else rows).half())  # sums of stages are halves
    return pack_tensor((rows * 40).round().clamp(-127, 127).to(torch.int8), torch.full((HEADS, D), 1 / 40, device=DEVICE))


def basis():
    """A random (T, T^-1), each [HEADS, D, D]: a turn behind scales about 1, so that neither inverse nor transpose passes for T, and normal rows stay about normal."""
    turns = torch.linalg.qr(torch.randn(HEADS, D, D, dtype=torch.float64, device=DEVICE)).Q
    scales = (0.1 * torch.randn(HEADS, 1, D, dtype=torch.float64, device=DEVICE)).exp()
    return (turns * scales).float().contiguous(), (turns / scales).transpose(1, 2).float().contiguous()


def folder():
    """The generated folder in use."""
    return ops.library(torch.empty(0, device=DEVICE).device).folder


def books_of(recipe, folded) -> dict:
    """Random codebooks of a layer, the same ones whenever they are asked for."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        books = {side: codebook(recipe[side]) for side in ("k", "v") if recipe[side] != "f16"}
        if recipe.get("transform") == "basis" and not folded:
            books["v"] = replace(books["v"], basis=basis())
    return books


def make_cache(recipe, layers=1, **more) -> Cache:
    """Of one recipe, or of a list of one per layer."""
    plan = recipe if isinstance(recipe, list) else [recipe] * layers
    plan = [folder().recipe(one) if isinstance(one, str) else one for one in plan]
    books = {layer: books_of(one, more.get("folded")) for layer, one in enumerate(plan)}
    shape = {"q_heads": HEADS * RATIO, "kv_heads": HEADS, "head_dim": D, "max_sequences": 4, "max_tokens": 2048, "inv_freq": inv_freq(), "page_size": 32, **more}
    return Cache(plan, books, layers=len(plan), device=DEVICE, **shape)


def stored_rows(cache: Cache, number: int):
    """K and V [tokens, heads, d] fp32 of all that sequence `number` holds after an attend, V brought back from its basis: coded tokens by unpack, the others out of the ring."""
    s, at = cache._sequences[number], cache.layers[0]
    ints = lambda *values: torch.tensor(values, dtype=torch.int32, device=DEVICE)
    k, v = (torch.zeros(max(1, s.coded), HEADS, D, dtype=torch.float16, device=DEVICE) for _ in range(2))
    if s.coded:
        ops.unpack(at.contracts["unpack"], k, v, at.pages, ints(0, s.coded), cache.page_size, s.coded, block_table=cache._tables[s.slot : s.slot + 1], state_slot=ints(s.slot), **cache._shared(at))
    if cache.exact:
        return k.float(), v.float()
    tokens = torch.arange(s.coded, s.committed + s.pending, device=DEVICE) % at.ring_k.shape[2]
    k, v = (torch.cat([rows[: s.coded], ring[s.slot].transpose(0, 1)[tokens]]).float() for rows, ring in ((k, at.ring_k), (v, at.ring_v)))
    return k, at.basis.leave(v)


def attention(q, k, v):
    """fp32: the rows of q [rows, q_heads, d] are the newest of k, v [tokens, heads, d]."""
    k, v = (x.repeat_interleave(RATIO, 1).transpose(0, 1) for x in (k, v))
    scores = q.float().transpose(0, 1) @ k.transpose(1, 2) * D**-0.5
    unseen = torch.ones(scores.shape[1:], dtype=torch.bool, device=DEVICE).triu(1 + k.shape[1] - len(q))
    scores = scores.masked_fill(unseen, -math.inf)
    return (scores.softmax(-1) @ v).transpose(0, 1), scores.logsumexp(-1).t()


def live(cache: Cache, prompts, steps: int):
    """Prompts enter, then `steps` steps; yields after each the sequences, q and what attend returned. Rows of keys are rotated at their position."""
    tokens = {}
    for n in prompts:
        number = cache.start(n)
        tokens[number] = n
        if n:
            q, k = rotate(halves(n, HEADS * RATIO, D)).half(), rotate(halves(n, HEADS, D)).half()
            cache.prefill(0, number, q, k, halves(n, HEADS, D))
    rows = cache.max_q_len
    for _ in range(steps):
        cache.step(list(tokens))
        q, k, v = (halves(len(tokens) * rows, heads, D) for heads in (HEADS * RATIO, HEADS, HEADS))
        for i, number in enumerate(tokens):
            span = slice(i * rows, (i + 1) * rows)
            q[span], k[span] = rotate(q[span], tokens[number]).half(), rotate(k[span], tokens[number]).half()
            tokens[number] += rows
        yield list(tokens), q, cache.attend(0, q, k, v)


def replayed(cache: Cache, prompts, inputs, captured=True):
    """Prompts (q, k, v) enter all layers, then a step for each of `inputs`, from the fourth on out of a graph if `captured`. Returns what the layers attend to
    [steps, layers, rows, q_heads, d], the graph, and the rows that it reads."""
    numbers, layers = [cache.start(len(q)) for q, _, _ in prompts], range(len(cache.layers))
    for layer in layers:
        for number, rows in zip(numbers, prompts):
            cache.prefill(layer, number, *rows)
    rows = [torch.empty_like(x) for x in inputs[0]]
    graph, outs = None, []
    for step, given in enumerate(inputs):
        for to, x in zip(rows, given):
            to.copy_(x)
        cache.step(numbers)
        if captured and step == 3:  # the steps before loaded the kernels
            graph = torch.cuda.CUDAGraph()
            torch.cuda.synchronize()
            with torch.cuda.graph(graph):
                out = [cache.attend(layer, *rows) for layer in layers]
        if graph is None:
            out = [cache.attend(layer, *rows) for layer in layers]
        else:
            graph.replay()
        outs.append(torch.stack(out).clone())
    return torch.stack(outs), graph, rows


def rows_of(count):
    """Random q, k, v of `count` tokens."""
    return [halves(count, heads, D) for heads in (HEADS * RATIO, HEADS, HEADS)]


def host_time(call) -> float:
    """Microseconds that a call takes on the host: of five means over 20 calls the least."""
    means = []
    for _ in range(5):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(20):
            call()
        means.append(1e6 * (time.perf_counter() - begin) / 20)
    torch.cuda.synchronize()
    return min(means)
