"""Sequences that go on from where another one stands (generator/CACHE.md, "Sharing").

Both hold the coded pages and the anchor pages that are there, and neither writes what both hold: the fork freezes them at the coded length, so that no anchor of theirs is handed
back, and new anchors go to new pages. As every fork is at the coded length, shared anchor pages hold no row beyond it, and no kernel but append has to be told. Exact recipes
write into the last page, which is copied when one of its holders first does."""

from collections import Counter
from dataclasses import replace
from typing import Any, List, Sequence

from .errors import ArgumentError
from .state import Held

_BY_SLOT = ("ring_k", "ring_v", "ring_score", "ring_count", "anchor_score")  # of a Layer


def fork(cache: Any, number: int) -> int:
    """Cache.fork."""
    donor: Held = cache._sequence("fork", number)
    if cache.keeps and donor.forks >= cache.max_forks:
        raise ArgumentError(f"fork: sequence {number} or what it comes from was forked {donor.forks} times, max_forks is {cache.max_forks}: each fork may take a part of an anchor page more")
    slot = cache._slots.take()
    if not cache.exact:
        donor.frozen, donor.frozen_pages = donor.coded, len(donor.anchor_pages)
    donor.forks += 1
    cache._sequences[slot] = replace(donor, slot=slot, pages=list(donor.pages), anchor_pages=list(donor.anchor_pages))
    cache._pool.share(donor.pages)
    cache._anchor_pool.share(donor.anchor_pages)
    arrays = [cache._tables, cache._anchor_table] + [getattr(layer, name) for layer in cache.layers for name in _BY_SLOT]
    for array in arrays:
        if array is not None:
            array[slot] = array[donor.slot]
    return slot


def shared(cache: Any, held: Held, first: int, end: int, released: Counter) -> List[int]:
    """Which of the pages of tokens first ... end - 1 others hold too, by their place in held.pages: they are about to be written. Coded pages never need it.
    released: pages that sequences before this one are about to copy, and how many of them; counts on. The last holder of a page keeps it."""
    found = []
    for i in range(first // cache.page_size, min(len(held.pages), -(-end // cache.page_size))):
        if cache._pool.others(held.pages[i]) > released[held.pages[i]]:
            released[held.pages[i]] += 1
            found.append(i)
    return found


def own(cache: Any, held: Held, places: Sequence[int]) -> None:
    """Copies the pages that `shared` named."""
    for i in places:
        page, fresh = held.pages[i], cache._pool.take()
        for layer in cache.layers:
            layer.pages[fresh] = layer.pages[page]
        cache._pool.give([page])
        held.pages[i] = fresh
        cache._tables[held.slot, i] = fresh
