"""What numbers of a launch may be: the checks of antkv_launch.h. A test holds both against the same cases."""

import math
from typing import Any, Callable, Iterator, List, Mapping, Sequence, Tuple

from .errors import ArgumentError

PAGE_SIZES = (16, 32, 64, 128, 256)
DRAFT_ROWS = 16  # uncommitted rows that a ring holds beyond window + flush block
ANCHOR_ROWS = 16  # rows of an anchor page
MAX_GRID = 65535  # sequences, KV heads, splits
MAX_RATIO = 16  # query heads per KV head
MAX_Q_LEN = 16  # query rows of a sequence in decode
MAX_TOKENS = 1 << 30  # of a sequence

# A rule: it holds for these params; else the field that is wrong, and what it should be.
Rule = Tuple[Callable[[Any], bool], str, str]

# An array whose place in memory strides say: bytes of an element, and (stride's field, length) of each axis before it.
# A length of 2 stands for any above 1, 0 for one that only device memory knows.
Strided = Tuple[int, Sequence[Tuple[str, int]]]


def _positive(x: float) -> bool:
    return 0 < x < math.inf


_CACHE: List[Rule] = [
    (lambda p: 1 <= p.batch <= MAX_GRID, "batch", f"1 to {MAX_GRID}"),
    (lambda p: 1 <= p.kv_heads <= MAX_GRID, "kv_heads", f"1 to {MAX_GRID}"),
    (lambda p: p.page_size in PAGE_SIZES, "page_size", f"one of {', '.join(map(str, PAGE_SIZES))}"),
    (lambda p: not (p.block_table and (p.page_indptr or p.page_indices)), "block_table", "not given together with page_indptr: choose one form of page index"),
    (lambda p: p.block_table or (p.page_indptr and p.page_indices), "block_table", "given, or page_indptr with page_indices"),
    (lambda p: not p.block_table or p.max_pages >= 1, "max_pages", "at least 1: the second axis of block_table"),
    (lambda p: p.max_anchor_pages >= (1 if p.anchor_table else 0), "max_anchor_pages", "the second axis of anchor_table, at least 1, or 0 without"),
    (lambda p: not p.anchor_table or p.anchors, "anchors", "given together with anchor_table"),
]


def _rope_rules(d: int) -> List[Rule]:
    return [
        (lambda p: 2 <= p.rotary_dim <= d and p.rotary_dim % 2 == 0, "rotary_dim", f"even, 2 to the head dim, {d}: inv_freq has half as many numbers"),
        (lambda p: p.rope_interleaved in (0, 1), "rope_interleaved", "0 or 1"),
        (lambda p: _positive(p.attention_factor), "attention_factor", "finite and above 0, 1 for RoPE without YaRN"),
    ]


_HEADS: Rule = (lambda p: p.kv_heads > 0 and p.q_heads >= p.kv_heads and p.q_heads % p.kv_heads == 0 and p.q_heads // p.kv_heads <= MAX_RATIO, "q_heads", "1 to 16 times kv_heads")
_SCALE: Rule = (lambda p: _positive(p.scale), "scale", "finite and above 0, usually 1 / sqrt(head dim)")


def _capped_rules(needs: Sequence[str]) -> List[Rule]:
    """Of decode and score, by what the contract needs."""
    if "softcap" in needs:
        return [(lambda p: _positive(p.softcap), "softcap", "finite and above 0: scores become softcap * tanh(score / softcap)")]
    return [(lambda p: p.softcap == 0, "softcap", "0: the contract has none")]


_DECODE: List[Rule] = [
    _HEADS,
    (lambda p: 1 <= p.max_q_len <= MAX_Q_LEN, "max_q_len", "1 to 16; longer queries go through unpack"),
    (lambda p: 1 <= p.rows <= p.batch * p.max_q_len, "rows", "1 to batch * max_q_len"),
    (lambda p: p.cu_q or p.rows == p.batch, "cu_q", "given, unless each sequence has one row"),
    (lambda p: 0 <= p.segments <= 7, "segments", "0 to 7: coded pages 1 + anchors 2 + ring 4"),
    (lambda p: 1 <= p.splits <= MAX_GRID, "splits", f"1 to {MAX_GRID}; Kernel.splits has them"),
    (lambda p: p.spread in (0, 1), "spread", "0 or 1"),
    (lambda p: p.out or (p.splits > 1 and not p.counters), "out", "given: with one split, or with counters, decode writes it"),
    (lambda p: p.splits == 1 or (p.partial_o and p.partial_lse), "partial_o", "given with partial_lse where there are several splits; Kernel.workspace has their bytes"),
    (lambda p: not p.segments & 4 or (p.ring_k and p.ring_v), "ring_k", "given with ring_v; without a ring clear bit 2 of segments"),
    (lambda p: p.ring_rows > 0 or not (p.segments & 4 or p.ring_scores), "ring_rows", "window + flush block + 16"),
    _SCALE,
]
_SINKLESS: Rule = (lambda p: not p.sink_logits, "sink_logits", "null: the contract has none")

_ENCODE: List[Rule] = [
    (lambda p: 1 <= p.max_tokens <= MAX_TOKENS, "max_tokens", "the host bound on input rows per sequence, 1 to 2^30"),
    (lambda p: p.keys_unrotated in (0, 1), "keys_unrotated", "0 or 1"),
    (lambda p: p.inv_freq or not p.keys_unrotated, "inv_freq", "given with keys_unrotated"),
    (lambda p: not p.keep_indices or p.max_anchors >= 1, "keep_indices", "at least one anchor wide"),
    (lambda p: not p.keep_indices or p.anchor_table, "anchor_table", "given with keep_indices: the kept rows need anchor pages"),
    (lambda p: not p.keep_indices or p.max_anchors <= ANCHOR_ROWS * p.max_anchor_pages, "max_anchors", "no more than the anchor pages hold, 16 each"),
    (lambda p: bool(p.anchor_score) == bool(p.keep_scores), "anchor_score", "given together with keep_scores, or both not"),
    (lambda p: not p.anchor_score or p.keep_indices, "keep_indices", "given with anchor_score: it names the rows that have scores"),
    (lambda p: not p.score_rows or p.keep_scores, "keep_scores", "given with score_rows"),
    (lambda p: not p.keep_bitmap or 32 * p.keep_words >= p.max_tokens, "keep_bitmap", "wide enough: a word for 32 tokens, up to max_tokens"),
]

_APPEND_CODED: List[Rule] = [
    (lambda p: p.ring_k and p.ring_v, "ring_k", "given with ring_v: coded recipes keep their newest tokens there"),
    (lambda p: 0 <= p.window <= 1 << 24, "window", "the newest tokens that stay exact"),
    (lambda p: 1 <= p.flush_block <= 1 << 24 and p.flush_block % p.page_size == 0, "flush_block", "a multiple of page_size"),
    (lambda p: p.ring_rows >= p.window + p.flush_block + DRAFT_ROWS, "ring_rows", "at least window + flush_block + 16: the third axis of ring_k"),
    (lambda p: 0 <= p.budget_permille <= 1000, "budget_permille", "0 to 1000"),
    (lambda p: p.first_tokens >= 0, "first_tokens", "0 or more"),
    (lambda p: p.budget_tokens >= 0, "budget_tokens", "tokens, or 0 for budget_permille"),
    (lambda p: p.extra_tokens >= 0, "extra_tokens", "0 or more"),
    (lambda p: 0 <= p.policy <= 3, "policy", "0 column, 1 smallest key, 2 largest key, 3 none"),
    (lambda p: bool(p.ring_score) == bool(p.ring_count), "ring_score", "given together with ring_count, or both not"),
    (lambda p: not p.anchor_table or (p.ring_score and p.anchor_score), "anchor_score", "given with ring_score where there is an anchor_table: candidates are ranked by them"),
    (lambda p: not p.ring_scores or p.ring_score, "ring_score", "given with ring_scores: that is where they are added"),
]
_APPEND_EXACT: List[Rule] = [
    (lambda p: not (p.ring_k or p.ring_v or p.ring_score or p.ring_count or p.anchor_table), "ring_k", "null, as all of ring and anchors: exact recipes have none"),
]

_COMBINE: List[Rule] = [
    (lambda p: p.rows >= 1, "rows", "at least 1"),
    (lambda p: p.q_heads >= 1, "q_heads", "at least 1"),
    (lambda p: 1 <= p.splits <= MAX_GRID, "splits", f"the same as decode's, 1 to {MAX_GRID}"),
    (lambda p: not p.partial_o or (p.partial_lse and p.out), "partial_o", "given with partial_lse and out"),
    (lambda p: p.partial_o or (p.lse and p.ring_scores), "partial_o", "given: there is nothing to merge; only ring_scores with lse would do without"),
    (lambda p: p.ring_rows >= (1 if p.ring_scores else 0), "ring_rows", "the row stride of ring_scores"),
]

_SCORE: List[Rule] = [
    (lambda p: not p.q or _HEADS[0](p), *_HEADS[1:]),  # form norm has no queries
    (lambda p: 1 <= p.max_tokens <= MAX_TOKENS, "max_tokens", "the host bound on keys per sequence, 1 to 2^30"),
    (lambda p: p.score_stride >= p.max_tokens, "scores", "at least max_tokens wide"),
    (lambda p: p.accumulate in (0, 1), "accumulate", "0 or 1"),
    (lambda p: not p.cu_sampled or p.sampled_rows, "sampled_rows", "given with cu_sampled"),
    (lambda p: p.newest_rows >= 0 and (p.cu_sampled or p.newest_rows == 0), "newest_rows", "0 or more, and 0 without cu_sampled: then all rows count"),
    (lambda p: _positive(p.scale) or not p.q and _positive(-p.scale), "scale", "finite and above 0, usually 1 / sqrt(head dim); without q (form norm) not 0"),
]

_SELECT: List[Rule] = [
    (lambda p: p.keep_words >= 1, "keep_bitmap", "at least one word wide, a word for 32 tokens"),
    (lambda p: p.max_anchors >= 0, "max_anchors", "the last axis of keep_indices"),
    (lambda p: p.score_stride >= 1, "scores", "at least one token wide"),
    (lambda p: p.budget_tokens >= -1, "budget_tokens", "tokens, or -1 for budget_permille"),
    (lambda p: 0 <= p.budget_permille <= 1000, "budget_permille", "0 to 1000"),
    (lambda p: p.first_tokens >= 0, "first_tokens", "0 or more"),
]

_UNPACK: List[Rule] = [
    (lambda p: 1 <= p.max_tokens <= MAX_TOKENS, "max_tokens", "the host bound on tokens per sequence, 1 to 2^30"),
]

_KMEANS: List[Rule] = [
    (lambda p: 1 <= p.tokens <= MAX_TOKENS, "tokens", "1 to 2^30 rows of a head"),
    (lambda p: 0 <= p.step <= 2, "step", "0 starts, 1 iterates, 2 measures"),
    (lambda p: 1 <= p.max_steps <= 1 << 20, "max_steps", "1 to 2^20: it bounds the steps 1, and is one less than the last axis of loss"),
    (lambda p: p.tolerance >= 0, "tolerance", "0 or more, a part of the loss"),
    (lambda p: p.value_scale > 0 and p.weight_scale > 0 and p.loss_scale > 0, "value_scale", "a power of two (antkv.h), as weight_scale and loss_scale are"),
]

_OWN = {"decode": _DECODE, "encode": _ENCODE, "combine": _COMBINE, "score": _SCORE, "select": _SELECT, "unpack": _UNPACK, "kmeans": _KMEANS}


def _rules(op: str, p, contract: Mapping[str, Any]) -> Iterator[Rule]:
    if "layout" in contract:
        yield from _CACHE
    if "rope" in contract["needs"] or getattr(p, "keys_unrotated", 0):
        yield from _rope_rules(contract["axes"]["headDim"])
    if op == "append":
        yield from [_HEADS, *(_APPEND_CODED if contract["layout"]["ringRowBytes"] else _APPEND_EXACT)]
    yield from _OWN.get(op, [])
    if op in ("decode", "score"):
        yield from _capped_rules(contract["needs"])
    if op == "decode" and "sinks" not in contract["needs"]:
        yield _SINKLESS


def _strided(op: str, p, contract: Mapping[str, Any]) -> Iterator[Strided]:
    """Arrays of a launch whose strides are its own, for params that keep to all rules."""
    layout, needs, row = contract.get("layout"), contract["needs"], 2 * contract["axes"].get("headDim", 0)
    rows = lambda name, count, heads: (row, ((f"{name}_row_stride", count), (f"{name}_head_stride", heads)))
    if layout:
        yield layout["pageBytes"][str(p.page_size)], (("page_stride", 2), ("page_head_stride", p.kv_heads))
        if p.anchor_table:
            yield layout["anchorPageBytes"], (("anchor_page_stride", 2), ("anchor_head_stride", p.kv_heads))
    if op in ("encode", "unpack", "score"):
        several = 2 if p.batch * p.max_tokens > 1 else 1
        yield rows("k", several, p.kv_heads)
        if op != "score" or "exact" in needs:
            yield rows("v", several, p.kv_heads)
    if op == "score":
        yield from (rows(name, 0, p.q_heads) for name, need in (("q", "rows"), ("o", "exact")) if need in needs)
    if op == "append":
        yield from (rows(name, 0 if p.cu_q else p.batch, p.kv_heads) for name in "kv")
    if op == "decode":
        yield rows("q", p.rows, p.q_heads)
    if op in ("decode", "combine") and p.out:
        yield rows("out", p.rows, p.q_heads)
    if (op == "decode" and p.segments & 4) or (op == "append" and layout["ringRowBytes"]):
        yield row, (("ring_slot_stride", 2 if p.state_slot else p.batch), ("ring_head_stride", p.kv_heads), ("ring_row_stride", p.ring_rows))
    if op == "kmeans":
        channels = int(contract["axes"]["k"].split("c")[0])
        yield 2 * channels * p.chunks, (("x_head_stride", p.heads), ("x_row_stride", p.tokens))


def _check_strides(op: str, p, size: int, axes: Sequence[Tuple[str, int]]) -> None:
    """No two elements may overlap, whatever the order of the axes: a stride steps over all axes with smaller strides; of an axis of length 1 it may be anything.
    An axis of unknown length counts as one where others step over it, and where its stride equals another's: a tensor with one row may have such strides."""
    strides = [(field, count, getattr(p, field)) for field, count in axes]
    for i, (field, count, stride) in enumerate(strides):
        below = [(more, other) for j, (_, more, other) in enumerate(strides) if other < stride or (other == stride and j > i and count)]
        least = size + sum((more - 1) * other for more, other in below if more > 1)
        if count != 1 and stride < least:
            raise ArgumentError(f"{op}: {field} is {stride} bytes, but what it steps over has {least}; elements of an array do not overlap")


def check_rules(op: str, params, contract: Mapping[str, Any]) -> None:
    """Raises ArgumentError for the first rule that does not hold, or a stride that is too small."""
    for holds, field, want in _rules(op, params, contract):
        if not holds(params):
            value = getattr(params, field, None)
            said = f" is {value:g}" if isinstance(value, float) else f" is {value}" if isinstance(value, int) and not field.startswith(("keep", "ring_k")) else ""
            raise ArgumentError(f"{op}: {field}{said}; it is {want}")
    for size, axes in _strided(op, params, contract):
        _check_strides(op, params, size, axes)
