"""A paged cache of all layers for torch: what a runtime keeps between launches (generator/CACHE.md), in its simplest form.

    cache = Cache("antkv-1", read_codebooks("codebooks.safetensors"), layers=32, q_heads=32, kv_heads=8, head_dim=128, max_sequences=16, max_tokens=32768, inv_freq=inv_freq)
    s = cache.start(len(prompt))
    for layer in range(32):                        # q, k, v [tokens, heads, d] after RoPE; the prompt's own attention is yours
        cache.prefill(layer, s, q, k, v)
    while generating:
        cache.step([s])                            # lengths and pages: host work and one small copy
        for layer in range(32):                    # of the new token; only launches, so that it can be captured and replayed
            o = cache.attend(layer, q, k, v)
    cache.end(s)

Forks are whole (Cache.fork); prefixes that are found again are in the ops (frozen_len, frozen_anchor_pages), not in this class."""

from typing import Any, Mapping, Optional, Sequence, Union

import torch
from torch import Tensor

from . import eager, fork, ops, room
from .basis import basis_of
from .errors import ArgumentError, whole
from .layer import Layer
from .pack import PackedCodebook
from .plan import Plan, Recipe, contracts_of, exact_dtype, plan_of
from .prefill import PROMPT_POLICIES, Prompt, anchors_of
from .rules import ANCHOR_ROWS, DRAFT_ROWS
from .state import Held, Lengths, Pool

_STEP = ("slot", "seq_len", "accepted", "coded_before", "coded_len", "kv_len", "score_row", "frozen_len", "frozen_pages")  # rows of Cache._lengths


class Cache:
    """recipe: name of a preset, or its members as manifest.json has them; or a list of one per layer, alike in all but codecs, gain, key position and basis (read_recipe gives what a
    codebook file is for). codebooks: layer -> "k", "v" (read_codebooks); None for exact recipes.
    max_tokens bounds a sequence, the rows of its open step included; pages: coded pages in all (default: enough for max_sequences of max_tokens). page_size in tokens. scale: default 1 / sqrt(head_dim).
    max_q_len: new rows of a sequence and step, drafts included. max_forks: how often a sequence and those it comes from may be forked, where anchors are kept.
    dtype of q, k, v, outputs and exact rows: torch.float16 or torch.bfloat16; default bfloat16 where the recipe has exact rows of it, else float16. Codes are the same for both.
    inv_freq [rotary_dim / 2], for keys coded before RoPE. folded: the model's weights have the recipe's basis of values in them (eval.fold); else it is applied here."""

    def __init__(self, recipe: Plan, codebooks: Optional[Mapping[int, Mapping[str, PackedCodebook]]], *, layers: int, q_heads: int, kv_heads: int, head_dim: int,
                 max_sequences: int, max_tokens: int, inv_freq: Optional[Tensor] = None, scale: Optional[float] = None, page_size: int = 64, pages: Optional[int] = None, max_q_len: int = 1,
                 max_forks: int = 0, rope_interleaved: bool = False, attention_factor: float = 1.0, folded: bool = False, device: Union[str, torch.device] = "cuda",
                 dtype: Optional[torch.dtype] = None):  # fmt: skip
        self.device = torch.empty(0, device=device).device
        folder = ops.library(self.device).folder
        plan = plan_of(folder, recipe, layers)
        self.recipe = r = plan[0]  # read for what all layers have alike
        self.q_heads, self.kv_heads, self.head_dim, self.max_tokens, self.max_q_len, self.max_forks, self.page_size = q_heads, kv_heads, head_dim, max_tokens, max_q_len, max_forks, page_size
        self.scale, self.folded = scale or head_dim**-0.5, folded
        self.dtype = eager.DTYPES[exact_dtype(plan)] if dtype is None else dtype
        word = next((word for word, of in eager.DTYPES.items() if of == self.dtype), None)
        if word is None:
            raise ArgumentError(f"Cache: dtype is {dtype}; it is torch.float16 or torch.bfloat16")
        contracts = [contracts_of(folder, one, head_dim, word, max_q_len * (q_heads // kv_heads)) for one in plan]
        layouts = [folder.contract(of["decode"])["layout"] for of in contracts]
        self.exact = layouts[0]["ringRowBytes"] == 0
        for number, layout in enumerate(layouts):
            if (layout["ringRowBytes"] == 0) != self.exact:
                raise ArgumentError(f"Cache: layer {number} is {'coded' if self.exact else 'exact'} and layer 0 is not: they are of two caches, as exact rows have no window")
        self.lengths = Lengths(r["window"], r["flush_block"], r["budget_permille"], r["first_tokens"], self.exact)
        if not self.exact and r["flush_block"] % page_size:
            raise ArgumentError(f"Cache: page_size {page_size} does not divide the recipe's flush_block {r['flush_block']}")
        self.keeps = not self.exact and r["policy"] != "none"
        self.contracts = anchors_of(folder, r["policy"], head_dim, word) if self.keeps else {}
        self.max_pages = -(-max_tokens // page_size) + 3 & ~3  # rows of tables start at multiples of 16 bytes
        self.max_anchor_pages = -(-self.lengths.anchor_rows(max_tokens) // ANCHOR_ROWS) + max_forks + 3 & ~3 if self.keeps else 0
        self.rope = {"inv_freq": None if inv_freq is None else inv_freq.to(self.device, torch.float32), "rope_interleaved": rope_interleaved, "attention_factor": attention_factor}
        self._pool = Pool(pages if pages is not None else max_sequences * self.max_pages, "coded pages")
        self._anchor_pool = Pool(max_sequences * self.max_anchor_pages, "anchor pages")
        self._slots = Pool(max_sequences, "sequences")
        self._sequences: dict = {}
        self._tables = self._zeros([max_sequences, self.max_pages], torch.int32)  # by slot
        self._anchor_table = torch.full([max_sequences, self.max_anchor_pages], -1, dtype=torch.int32, device=self.device) if self.keeps else None
        self._block_table = self._zeros([max_sequences, self.max_pages], torch.int32)  # by batch row of the step
        self._lengths = self._zeros([len(_STEP), max_sequences + 3 & ~3], torch.int32)
        self._cu_q = torch.arange(max_sequences + 1, dtype=torch.int32, device=self.device) * max_q_len
        self._rows = 0
        self._now: dict = {}  # arrays of the step
        self.layers = [self._layer(number, *of, (codebooks or {}).get(number, {}), max_sequences) for number, of in enumerate(zip(plan, contracts, layouts))]

    def _zeros(self, shape, dtype) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device=self.device)

    def _layer(self, number: int, recipe: Recipe, contracts: Mapping[str, str], layout: Mapping[str, Any], codebooks: Mapping[str, PackedCodebook], slots: int) -> Layer:
        books = {}
        for side in ("k", "v"):
            size = layout["codebookBytes"][side]
            if size and (side not in codebooks or codebooks[side].codec != recipe[side] or codebooks[side].kv_heads != self.kv_heads):
                has = f"{codebooks[side].codec} for {codebooks[side].kv_heads} heads" if side in codebooks else "none"
                raise ArgumentError(f"Cache: layer {number} needs a codebook of {recipe[side]} for {self.kv_heads} heads on its {side}, codebooks has {has}; gen calibrate makes them")
            books[f"{side}_codebook"] = _on_device(codebooks[side].data, self.kv_heads, self.device) if size else None
        heads, rows = self.kv_heads, self.lengths.window + self.lengths.flush_block + DRAFT_ROWS
        basis = basis_of(recipe, codebooks.get("v"), number, self.folded, self.device)
        layer = Layer(contracts, self._zeros([self._pool.size, heads, layout["pageBytes"][str(self.page_size)]], torch.uint8), **books, basis=basis)
        if self.exact:
            return layer
        layer.ring_k, layer.ring_v = (self._zeros([slots, heads, rows, self.head_dim], self.dtype) for _ in range(2))
        if self.keeps:
            layer.anchors = self._zeros([self._anchor_pool.size, heads, layout["anchorPageBytes"]], torch.uint8)
            layer.anchor_score = self._zeros([slots, heads, self.max_anchor_pages * ANCHOR_ROWS], torch.float32)
            layer.ring_score, layer.ring_count = self._zeros([slots, heads, rows], torch.float32), self._zeros([slots, heads, rows], torch.int32)
            layer.lse = self._zeros([slots * self.max_q_len, self.q_heads], torch.float32)
            layer.ring_scores = self._zeros([slots * self.max_q_len, self.q_heads, rows], torch.float32)
        return layer

    def start(self, tokens: int) -> int:
        """Room for a new sequence whose prompt has `tokens` tokens; returns its number. prefill is due for every layer. Raises ArgumentError, and has taken nothing, where no room is left."""
        tokens = whole("Cache: tokens of a prompt", tokens)
        if not 0 <= tokens <= self.max_tokens:
            raise ArgumentError(f"Cache: a prompt of {tokens} tokens, max_tokens is {self.max_tokens}")
        coded = self.lengths.coded(tokens)
        sequence = Held(-1, committed=coded, pending=tokens - coded, coded=coded)
        self._slots.check(1)
        room.check(self, [room.lacks(self, sequence, coded)])
        sequence.slot = self._slots.take()
        self._sequences[sequence.slot] = sequence
        if self.keeps:
            self._anchor_table[sequence.slot].fill_(-1)
        room.grow(self, sequence, coded)
        return sequence.slot

    def fork(self, sequence: int) -> int:
        """A sequence that goes on from where `sequence` stands, uncommitted rows included; returns its number. They share what is coded so far, anchors too, which neither hands back
        any more. After prefill, between two steps. Raises ArgumentError where no room is left, or max_forks are used up."""
        return fork.fork(self, sequence)

    def end(self, sequence: int) -> None:
        """Gives back all that a sequence holds. Raises ArgumentError if there is none of that number."""
        gone = self._sequence("end", sequence)
        del self._sequences[sequence]
        self._pool.give(gone.pages)
        self._anchor_pool.give(gone.anchor_pages)
        self._slots.give([gone.slot])

    def truncate(self, sequence: int, tokens: int) -> None:
        """Forgets all but the first `tokens` tokens; those in pages stay. Raises ArgumentError if that is more than there are, or fewer than are coded. Between two steps."""
        s = self._sequence("truncate", sequence)
        least = 0 if self.exact else s.coded
        if not least <= tokens <= s.committed + s.pending:
            raise ArgumentError(f"truncate: {tokens} tokens; sequence {sequence} has {s.committed + s.pending}, of which {least} are coded: what is coded cannot be taken back")
        s.committed, s.pending = min(s.committed, tokens), max(0, tokens - s.committed)

    def _sequence(self, op: str, number: int) -> Held:
        if number not in self._sequences:
            raise ArgumentError(f"{op}: there is no sequence {number}; start and fork return their numbers, end takes them back")
        return self._sequences[number]

    def step(self, sequences: Sequence[int], accepted: Optional[Sequence[int]] = None) -> None:
        """Opens a step of these sequences, in this order, with max_q_len new rows each. accepted: how many rows of the step before count (default: all).
        Raises ArgumentError, and has changed nothing, where a number is unknown or given twice, `accepted` does not fit, or a sequence finds no room or would have more than max_tokens."""
        rows, table = self.max_q_len, []
        for i, (s, taken, coded, copied) in enumerate(room.plan(self, sequences, accepted)):
            n = s.committed + taken
            fork.own(self, s, copied)
            room.grow(self, s, coded)
            table.append((s.slot, s.committed, taken, s.committed if self.exact else s.coded, coded, n + rows, s.score_row, s.frozen, s.frozen_pages))
            s.committed, s.pending, s.coded, s.score_row = n, rows, coded, i * rows
        for number in self._sequences.keys() - set(sequences):
            self._sequences[number].score_row = -1  # this step's scores take the place of theirs
        batch = len(table)
        self._rows = batch * rows
        self._lengths[:, :batch] = torch.tensor(table, dtype=torch.int32).t().to(self.device)
        self._block_table[:batch] = self._tables[list(row[0] for row in table)]
        self._now = {name: self._lengths[i, :batch] for i, name in enumerate(_STEP)}
        self._now["block_table"], self._now["cu_q"] = self._block_table[:batch], self._cu_q[: batch + 1] if rows > 1 else None

    def _shared(self, layer: Layer) -> dict:
        """Arguments that all ops on the cache have in common."""
        books = {"k_codebook": layer.k_codebook, "v_codebook": layer.v_codebook}
        return {**self.rope, **books, "anchors": layer.anchors, "anchor_table": self._anchor_table}

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The step's new rows enter, and attend to all that their sequence holds: q [rows, q_heads, d], k, v [rows, kv_heads, d] after RoPE, the rows of a sequence
        one after the other. Returns [rows, q_heads, d]. Launches only."""
        at, rows, now = self.layers[layer], self._rows, self._now
        if not now:
            raise ArgumentError("attend: no step is open; call step first")
        if q.shape[0] != rows:
            raise ArgumentError(f"attend: q has {q.shape[0]} rows, the step has {rows}")
        run, shared, r = launcher(), {"block_table": now["block_table"], "state_slot": now["slot"], "cu_q": now["cu_q"], **self._shared(at)}, self.recipe
        rules = {} if self.exact else {"window": r["window"], "flush_block": r["flush_block"], "budget_permille": r["budget_permille"], "first_tokens": r["first_tokens"]}
        frozen = {"frozen_len": now["frozen_len"], "frozen_anchor_pages": now["frozen_pages"]} if self.keeps else {}
        run.append(
            at.contracts["append"], k, at.basis.enter(v), at.pages, now["seq_len"], self.page_size, self.q_heads, **shared, **rules,
            ring_k=at.ring_k, ring_v=at.ring_v, ring_scores=at.ring_scores, lse=at.lse, ring_score=at.ring_score, ring_count=at.ring_count, anchor_score=at.anchor_score,
            **frozen, score_row=now["score_row"], accepted=now["accepted"], coded_len=now["coded_before"], policy=PROMPT_POLICIES[r["policy"]],
        )  # fmt: skip
        return at.basis.leave(run.decode(
            at.contracts["decode"], q, at.pages, now["coded_len"], now["kv_len"], self.page_size, self.max_tokens, self.scale, **shared,
            ring_k=at.ring_k, ring_v=at.ring_v, max_q_len=self.max_q_len, lse=None if at.lse is None else at.lse[:rows], ring_scores=None if at.lse is None else at.ring_scores[:rows],
        ))  # fmt: skip

    def prefill(self, layer: int, sequence: int, q: Tensor, k: Tensor, v: Tensor, lse: Optional[Tensor] = None) -> None:
        """A prompt's rows of one layer enter: q [tokens, q_heads, d], k, v [tokens, kv_heads, d] after RoPE. lse [tokens, q_heads], natural, of the prompt's own attention
        ranks its anchors; without it it is computed here, slowly."""
        s = self._sequence("prefill", sequence)
        if s.forks:
            raise ArgumentError(f"prefill: sequence {sequence} was forked: others hold its pages")
        if k.shape[0] != s.committed + s.pending:
            raise ArgumentError(f"prefill: k has {k.shape[0]} rows, sequence {sequence} was started with {s.committed + s.pending} tokens")
        at = self.layers[layer]
        if k.shape[0]:
            Prompt(self, at, s.slot, s.coded, len(s.anchor_pages), k.shape[0]).enter(q, k, at.basis.enter(v), lse)

    def bytes(self, sequence: int) -> int:
        """Device bytes that a sequence holds in all layers: pages, anchor pages, ring. Codebooks are shared; pages of forks count for each that holds them."""
        s = self._sequence("bytes", sequence)
        one = lambda array, count: 0 if array is None else array[0].numel() * array.element_size() * count
        return sum(one(at.pages, len(s.pages)) + one(at.anchors, len(s.anchor_pages)) + one(at.ring_k, 1) + one(at.ring_v, 1) for at in self.layers)


def launcher():
    """The ops that torch.compile understands while it compiles; else the same without the dispatcher."""
    return ops if torch.compiler.is_compiling() else eager


def _on_device(data: Any, heads: int, device: torch.device) -> Tensor:
    packed = data if isinstance(data, Tensor) else torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return packed.reshape(heads, -1).to(device)
