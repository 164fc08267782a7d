"""Attention over a quantised cache by the real kernels: the back end that Simulated (simulate.py) is the plain twin of.

What a model computes for whole windows at once is what a runtime would get token by token: `newest` fills one coded cache per window and decodes every position as a sequence of
its own, which shares the window's pages and has its own lengths; a ring that holds the whole window gives each the tokens that are exact for it. `flush` does the same with the
lengths of a living cache, or, where anchors are chosen online, lives it: append and decode, step by step.
"""

import torch

from antkv import ops
from antkv.cache import Cache
from antkv.codebooks import pack_tensor
from antkv.plan import decode_contract
from antkv.prefill import anchors_of, causal_attention, rank_by_norm

from .codes import int8
from .recipe import Codec

PAGE = 64
ROWS = 16  # of a step of a living cache; it divides windows and flush blocks, so that every row meets the lengths that a step of its own would have
SEQUENCES = 32768  # decoded in one launch: tables of as many rows are built for it


def packed(book, codec_name):
    """The packed codebook of one side of a layer: centroids [kv_heads, chunks, entries, channels] as `codes.stored` rounds them; None for exact sides."""
    if book is None:
        return None
    if not Codec.parse(codec_name).q8:
        return pack_tensor(book.half())
    steps, scale = int8(book)
    return pack_tensor(steps.to(torch.int8), scale.reshape(len(book), -1).float().contiguous())


class Kernels:
    """An attention back end, with the arguments of Simulated. plan: one recipe per layer; books: per layer (k, v) centroids. The cache holds fp16 rows, as runtimes have them.

    Raises ContractError where the generated folder lacks a recipe's kernels (`gen --recipe FILE --out DIR`, antkv.ops.use), ValueError on rules that no kernel has.
    """

    def __init__(self, rope, plan, books, rule="newest"):
        self.rope, self.plan, self.rule = rope, plan, rule
        self.books = [(packed(k, recipe.k), packed(v, recipe.v)) for recipe, (k, v) in zip(plan, books)]

    def __call__(self, layer, q, k, v):
        recipe = self.plan[layer]
        q, k, v = (x.half() for x in (self.rope.rotate(q), self.rope.rotate(k), v))
        online = recipe.selection == "online" and recipe.policy not in ("none", "first") and recipe.coded
        if online and self.rule != "flush":
            raise ValueError("online selection happens at each flush: it needs rule flush")
        return (self._live(layer, recipe, q, k, v) if online else _Window(self, layer, recipe, q, k, v).attend()).float()

    def _live(self, layer, recipe, q, k, v):
        """Every token enters by append, in steps of ROWS rows; anchors are chosen at each flush."""
        batch, q_heads, tokens, d = q.shape
        if tokens % ROWS or recipe.window % ROWS or recipe.flush_block % ROWS:
            raise ValueError(f"{tokens} tokens, window {recipe.window}, flush block {recipe.flush_block}: each is a multiple of {ROWS} here")
        books = {side: book for side, book in zip("kv", self.books[layer]) if book is not None}
        cache = Cache(recipe.json(), {0: books}, layers=1, q_heads=q_heads, kv_heads=k.shape[1], head_dim=d, max_sequences=batch, max_tokens=tokens, page_size=PAGE, max_q_len=ROWS,
                      inv_freq=self.rope.inv_freq, folded=True, device=q.device)  # fmt: skip
        sequences, out = [cache.start(0) for _ in range(batch)], torch.empty_like(q)
        rows = lambda x, first: x[:, :, first : first + ROWS].transpose(1, 2).reshape(batch * ROWS, x.shape[1], d)
        for first in range(0, tokens, ROWS):
            cache.step(sequences)
            o = cache.attend(0, rows(q, first), rows(k, first), rows(v, first))
            out[:, :, first : first + ROWS] = o.view(batch, ROWS, q_heads, d).transpose(1, 2)
        return out


class _Window:
    """Windows whose anchors, if any, are known from the start: q [batch, q_heads, tokens, d], k and v [batch, kv_heads, tokens, d], halves after RoPE."""

    def __init__(self, kernels, layer, recipe, q, k, v):
        self.recipe, self.rule, self.q, self.k, self.v = recipe, kernels.rule, q, k, v
        self.batch, self.q_heads, self.tokens, self.d = q.shape
        self.heads, self.scale = k.shape[1], self.d**-0.5
        self.folder = ops.library(q.device).folder
        self.axes = {"headDim": self.d, "dtype": "f16", "k": recipe.k, "v": recipe.v, "key": recipe.key, "gain": recipe.gain}
        books = {f"{side}_codebook": None if book is None else book.data for side, book in zip("kv", kernels.books[layer])}
        self.shared = {**books, "inv_freq": kernels.rope.inv_freq.float().contiguous()}

    def ints(self, *values):
        return torch.tensor(values, dtype=torch.int32, device=self.q.device)

    def rows(self, x):
        """[batch, heads, tokens, d] -> [batch * tokens, heads, d]"""
        return x.transpose(1, 2).reshape(self.batch * self.tokens, x.shape[1], self.d)

    def attend(self):
        self.encode()
        out = torch.empty(self.batch * self.tokens, self.q_heads, self.d, dtype=torch.float16, device=self.q.device)
        for first in range(0, len(out), SEQUENCES):
            self.decode(first, out[first : first + SEQUENCES])
        return out.view(self.batch, self.tokens, self.q_heads, self.d).transpose(1, 2)

    def encode(self):
        """One coded cache per window."""
        contract = self.folder.find("encode", **self.axes)
        layout, pages = self.folder.contract(contract)["layout"], -(-self.tokens // PAGE)
        width = pages + 3 & ~3  # rows of the table start at multiples of 16 bytes
        zeros = lambda *shape: torch.zeros(shape, dtype=torch.uint8, device=self.q.device)
        self.pages = zeros(self.batch * pages, self.heads, layout["pageBytes"][str(PAGE)])
        numbers = torch.arange(self.batch * pages, dtype=torch.int32, device=self.q.device).view(self.batch, pages)
        self.table = torch.nn.functional.pad(numbers, (0, width - pages))
        cu = torch.arange(self.batch + 1, dtype=torch.int32, device=self.q.device) * self.tokens
        keep, count = {"anchor_score": None}, self.recipe.budget(self.tokens) if self.recipe.coded else 0
        self.anchors = {"anchors": None, "anchor_table": None}
        if count:
            own = -(-count // 16)
            self.anchors = {"anchors": zeros(self.batch * own, self.heads, layout["anchorPageBytes"]), "anchor_table": torch.full((self.batch, own + 3 & ~3), -1, dtype=torch.int32, device=self.q.device)}
            self.anchors["anchor_table"][:, :own] = torch.arange(self.batch * own, dtype=torch.int32, device=self.q.device).view(self.batch, own)
            keep |= self.keep(own * 16, cu)
        ops.encode(contract, self.rows(self.k), self.rows(self.v), self.pages, cu, PAGE, self.tokens, block_table=self.table, **self.shared, **self.anchors, **keep)

    def keep(self, rows, cu):
        """The anchors of all tokens of each window, by scores that later rows had a say in; as arguments of encode."""
        recipe, device = self.recipe, self.q.device
        scores = torch.full((self.batch, self.heads, self.tokens), -torch.inf, device=device)
        contracts = anchors_of(self.folder, recipe.policy, self.d, "f16")
        if recipe.policy in contracts:
            parts = [causal_attention(q, k, v if recipe.policy == "exact" else None, self.scale) for q, k, v in zip(*(x.transpose(1, 2) for x in (self.q, self.k, self.v)))]
            more = {"v": self.rows(self.v), "o": torch.cat([o for _, o in parts])} if recipe.policy == "exact" else {}
            lse = torch.cat([lse for lse, _ in parts])
            ops.score(contracts[recipe.policy], scores, self.rows(self.q), self.rows(self.k), lse, cu, cu, self.tokens, self.scale, **more)
        elif "norm" in contracts:
            rank_by_norm(contracts["norm"], recipe.policy, scores, self.rows(self.k), cu, self.tokens)
        bitmap = torch.zeros(self.batch, self.heads, -(-self.tokens // 32), dtype=torch.int32, device=device)
        indices = torch.full((self.batch, self.heads, rows), -1, dtype=torch.int32, device=device)
        tokens = self.ints(*[self.tokens] * self.batch)
        ops.select(contracts["select"], scores, tokens, bitmap, indices, None, budget_permille=recipe.budget_permille, first_tokens=recipe.first_tokens)
        return {"keep_bitmap": bitmap, "keep_indices": indices}

    def decode(self, first, out):
        """Rows first, first + 1 ... of all windows, each a sequence of its own."""
        rows = torch.arange(first, first + len(out), device=self.q.device)
        window, position = rows // self.tokens, rows % self.tokens
        coded, ring = position + 1, {}
        if self.recipe.coded and (self.rule == "flush" or self.recipe.window):
            coded = self.coded_before(position)
            ring = {"ring_k": self.k.contiguous(), "ring_v": self.v.contiguous()}  # [window, kv_heads, tokens, d]: token j lies in row j
        contract = decode_contract(self.folder, self.axes, self.q_heads // self.heads)
        whole = lambda x: x.to(torch.int32).contiguous()
        q = self.rows(self.q)[first : first + len(out)]
        out.copy_(ops.decode(contract, q, self.pages, whole(coded), whole(position + 1), PAGE, self.tokens, self.scale, None, None, block_table=self.table[window].contiguous(), state_slot=whole(window),
                             splits=1, **self.shared, **self.anchors, **ring))  # fmt: skip

    def coded_before(self, position):
        """Tokens that are codes for the row at each position."""
        r = self.recipe
        if self.rule == "flush":
            return r.flush_block * ((position - r.window).clamp_min(0) // r.flush_block)
        return (position + 1 - r.window).clamp_min(0)
