"""Room in the pages of a cache: what sequences need more of as they grow, whether it is there, and how they take it. What is asked before a change changes nothing."""

from collections import Counter
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

import torch

from . import fork
from .errors import ArgumentError, whole
from .rules import ANCHOR_ROWS
from .state import Held


def lacks(cache: Any, s: Held, coded: int) -> Tuple[int, int]:
    """Pages, and anchor pages for what the budget may keep, that `coded` tokens take beyond what `s` holds."""
    rows = cache.lengths.anchor_rows
    own = rows(coded) - (rows(s.frozen) if s.frozen else 0) if cache.keeps and coded else 0
    return max(0, -(-coded // cache.page_size) - len(s.pages)), max(0, s.frozen_pages - -own // ANCHOR_ROWS - len(s.anchor_pages))


def check(cache: Any, wanted: Sequence[Tuple[int, int]]) -> None:
    """Raises ArgumentError unless there are as many pages and anchor pages as all of `wanted` together."""
    for pool, counts in zip((cache._pool, cache._anchor_pool), zip(*wanted)):
        pool.check(sum(counts))


def grow(cache: Any, s: Held, coded: int) -> None:
    """Gives `s` what it lacks, anchor pages empty. For callers that have checked."""
    pages, anchor_pages = lacks(cache, s, coded)
    _take(cache, cache._pool, pages, cache._tables, s.slot, s.pages)
    given = _take(cache, cache._anchor_pool, anchor_pages, cache._anchor_table, s.slot, s.anchor_pages)
    if given:
        for layer in cache.layers:
            layer.anchors[given, :, -4 * ANCHOR_ROWS :] = 0xFF  # token indices, -1


def _take(cache: Any, pool: Any, count: int, table: Any, slot: int, held: List[int]) -> List[int]:
    fresh = pool.take_all(count)
    if fresh:
        table[slot, len(held) : len(held) + count] = torch.tensor(fresh, dtype=torch.int32, device=cache.device)
        held += fresh
    return fresh


class Move(NamedTuple):
    """What a step does with a sequence."""

    held: Held
    taken: int  # rows of the step before that it commits
    coded: int  # tokens in pages afterwards
    copied: List[int]  # places of pages that it copies, as others hold them too


def plan(cache: Any, sequences: Sequence[int], accepted: Optional[Sequence[int]]) -> List[Move]:
    """The moves of Cache.step. Raises ArgumentError unless all of them can be made."""
    rows, moves, released = cache.max_q_len, [], Counter()
    if len(set(sequences)) != len(sequences):
        raise ArgumentError(f"step: sequences is {list(sequences)}; each is in a step once")
    if accepted is not None and len(accepted) != len(sequences):
        raise ArgumentError(f"step: accepted has {len(accepted)} numbers for {len(sequences)} sequences; give one for each")
    for i, number in enumerate(sequences):
        s = cache._sequence("step", number)
        taken = s.pending if accepted is None else whole(f"step: accepted[{i}]", accepted[i])
        if not 0 <= taken <= s.pending:
            raise ArgumentError(f"step: accepted[{i}] is {taken}; sequence {number} has {s.pending} rows that are not committed")
        n = s.committed + taken
        if n + rows > cache.max_tokens:
            raise ArgumentError(f"step: sequence {number} would have {n + rows} tokens, max_tokens is {cache.max_tokens}; end it, or make the cache for more")
        coded = n + rows if cache.exact else max(s.coded, cache.lengths.coded(n))
        moves.append(Move(s, taken, coded, fork.shared(cache, s, n, n + rows, released) if cache.exact else []))
    check(cache, [(released.total(), 0), *(lacks(cache, move.held, move.coded) for move in moves)])
    return moves
