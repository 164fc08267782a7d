"""What numbers of a launch may be: the checks of antkv_launch.h, for arguments that no shape implies. A test holds both against the same cases."""

from typing import Any, Callable, List, Mapping, Tuple

from .errors import ArgumentError

PAGE_SIZES = (16, 32, 64, 128, 256)
DRAFT_ROWS = 16  # uncommitted rows that a ring holds beyond window + flush block
ANCHOR_ROWS = 16  # rows of an anchor page

# A rule: it holds for these params; else the field that is wrong, and what it should be.
Rule = Tuple[Callable[[Any], bool], str, str]


def _cache_rules(p, contract: Mapping[str, Any]) -> List[Rule]:
    rules: List[Rule] = [
        (lambda p: 1 <= p.batch <= 65535, "batch", "1 to 65535"),
        (lambda p: 1 <= p.kv_heads <= 65535, "kv_heads", "1 to 65535"),
        (lambda p: p.page_size in PAGE_SIZES, "page_size", f"one of {', '.join(map(str, PAGE_SIZES))}"),
        (lambda p: not (p.block_table and (p.page_indptr or p.page_indices)), "block_table", "not given together with page_indptr: choose one form of page index"),
        (lambda p: p.block_table or (p.page_indptr and p.page_indices), "block_table", "given, or page_indptr with page_indices"),
        (lambda p: not p.block_table or p.max_pages >= 1, "max_pages", "at least 1: the second axis of block_table"),
        (lambda p: not p.anchor_table or p.anchors, "anchors", "given together with anchor_table"),
        (lambda p: not p.anchor_table or p.max_anchor_pages >= 1, "max_anchor_pages", "at least 1: the second axis of anchor_table"),
    ]
    if "rope" in contract["needs"] or getattr(p, "keys_unrotated", 0):
        d = contract["axes"]["headDim"]
        rules += [
            (lambda p: 2 <= p.rotary_dim <= d and p.rotary_dim % 2 == 0, "rotary_dim", f"even, 2 to the head dim, {d}: inv_freq has half as many numbers"),
            (lambda p: p.rope_interleaved in (0, 1), "rope_interleaved", "0 or 1"),
            (lambda p: p.attention_factor > 0, "attention_factor", "1 for RoPE without YaRN"),
        ]
    return rules


_HEADS: Rule = (lambda p: p.kv_heads > 0 and p.q_heads >= p.kv_heads and p.q_heads % p.kv_heads == 0 and p.q_heads // p.kv_heads <= 16, "q_heads", "1 to 16 times kv_heads")
_SCALE: Rule = (lambda p: p.scale > 0, "scale", "above 0, usually 1 / sqrt(head dim)")

_UNCAPPED: Rule = (lambda p: p.softcap == 0, "softcap", "0: the contract has none")

_DECODE: List[Rule] = [
    _HEADS,
    (lambda p: 1 <= p.max_q_len <= 16, "max_q_len", "1 to 16; longer queries go through unpack"),
    (lambda p: 1 <= p.rows <= p.batch * p.max_q_len, "rows", "1 to batch * max_q_len"),
    (lambda p: p.cu_q or p.rows == p.batch, "cu_q", "given, unless each sequence has one row"),
    (lambda p: 0 <= p.segments <= 7, "segments", "0 to 7: coded pages 1 + anchors 2 + ring 4"),
    (lambda p: p.splits >= 1, "splits", "at least 1; Kernel.splits has them"),
    (lambda p: p.spread in (0, 1), "spread", "0 or 1"),
    (lambda p: p.out or (p.splits > 1 and not p.counters), "out", "given: with one split, or with counters, decode writes it"),
    (lambda p: p.splits == 1 or (p.partial_o and p.partial_lse), "partial_o", "given with partial_lse where there are several splits; Kernel.workspace has their bytes"),
    (lambda p: not p.segments & 4 or (p.ring_k and p.ring_v), "ring_k", "given with ring_v; without a ring clear bit 2 of segments"),
    (lambda p: p.ring_rows > 0 or not (p.segments & 4 or p.ring_scores), "ring_rows", "window + flush block + 16"),
    _SCALE,
    _UNCAPPED,
    (lambda p: not p.sink_logits, "sink_logits", "null: the contract has none"),
]

_ENCODE: List[Rule] = [
    (lambda p: p.max_tokens >= 1, "max_tokens", "the host bound on input rows per sequence"),
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
    (lambda p: p.splits >= 1, "splits", "the same as decode's"),
    (lambda p: not p.partial_o or (p.partial_lse and p.out), "partial_o", "given with partial_lse and out"),
    (lambda p: p.partial_o or (p.lse and p.ring_scores), "partial_o", "given: there is nothing to merge; only ring_scores with lse would do without"),
    (lambda p: p.ring_rows >= (1 if p.ring_scores else 0), "ring_rows", "the row stride of ring_scores"),
]

_SCORE: List[Rule] = [
    (lambda p: not p.q or _HEADS[0](p), *_HEADS[1:]),  # form norm has no queries
    (lambda p: p.max_tokens >= 1, "max_tokens", "the host bound on keys per sequence"),
    (lambda p: p.score_stride >= p.max_tokens, "scores", "at least max_tokens wide"),
    (lambda p: p.accumulate in (0, 1), "accumulate", "0 or 1"),
    (lambda p: not p.cu_sampled or p.sampled_rows, "sampled_rows", "given with cu_sampled"),
    (lambda p: p.newest_rows >= 0 and (p.cu_sampled or p.newest_rows == 0), "newest_rows", "0 or more, and 0 without cu_sampled: then all rows count"),
    (lambda p: p.scale > 0 or not p.q and p.scale < 0, "scale", "above 0, usually 1 / sqrt(head dim); without q (form norm) not 0"),
    _UNCAPPED,
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
    (lambda p: p.max_tokens >= 1, "max_tokens", "the host bound on tokens per sequence"),
    (lambda p: p.max_anchor_pages >= 0, "max_anchor_pages", "0 without anchors"),
]

_KMEANS: List[Rule] = [
    (lambda p: 1 <= p.tokens <= 1 << 30, "tokens", "1 to 2^30 rows of a head"),
    (lambda p: 0 <= p.step <= 2, "step", "0 starts, 1 iterates, 2 measures"),
    (lambda p: 1 <= p.max_steps <= 1 << 20, "max_steps", "1 to 2^20: it bounds the steps 1, and is one less than the last axis of loss"),
    (lambda p: p.tolerance >= 0, "tolerance", "0 or more, a part of the loss"),
    (lambda p: p.value_scale > 0 and p.weight_scale > 0 and p.loss_scale > 0, "value_scale", "a power of two (antkv.h), as weight_scale and loss_scale are"),
]

_OWN = {"decode": _DECODE, "encode": _ENCODE, "combine": _COMBINE, "score": _SCORE, "select": _SELECT, "unpack": _UNPACK, "kmeans": _KMEANS}


def check_rules(op: str, params, contract: Mapping[str, Any]) -> None:
    """Raises ArgumentError for the first rule that does not hold."""
    rules = _cache_rules(params, contract) if "layout" in contract else []
    if op == "append":
        rules = [*rules, _HEADS, *(_APPEND_CODED if contract["layout"]["ringRowBytes"] else _APPEND_EXACT)]
    for holds, field, want in [*rules, *_OWN.get(op, [])]:
        if not holds(params):
            value = getattr(params, field, None)
            said = f" is {value:g}" if isinstance(value, float) else f" is {value}" if isinstance(value, int) and not field.startswith(("keep", "ring_k")) else ""
            raise ArgumentError(f"{op}: {field}{said}; it is {want}")
