"""What a sequence may do besides growing, on a GPU: checks of check.py."""

import torch

from plain import D, HEADS, LIMIT, RATIO, attention, halves, live, make_cache, need, relative, replayed, rows_of, stored_rows


def check_truncation() -> str:
    """A sequence that forgets its newest tokens goes on as if they had not been."""
    cache, said = make_cache("antkv-1-fast"), []
    list(live(cache, [300], 20))
    s = cache._sequences[0]
    for tokens in (319, 305, s.coded):  # of 320: a row that is not committed, rows that are, all in the ring
        cache.truncate(0, tokens)
        cache.step([0])
        q, k, v = (halves(1, heads, D) for heads in (HEADS * RATIO, HEADS, HEADS))
        out = cache.attend(0, q, k, v)
        rows = stored_rows(cache, 0)
        if len(rows[0]) != tokens + 1 or not torch.equal(rows[0][-1], k[0].float()):
            raise AssertionError(f"{len(rows[0])} rows after {tokens} and a new one, or another last one")
        said.append(need(relative(out, attention(q, *rows)[0]), LIMIT, f"{tokens}"))
    return ", ".join(said)


def check_forks() -> str:
    """A fork and its donor go their own ways through flushes, each as attention in fp32 over what it holds; neither writes what both hold."""
    said = []
    for preset in ("antkv-1", "f16"):
        cache, worst = make_cache(preset, max_forks=1), 0.0
        list(live(cache, [500], 150))
        numbers = [0, cache.fork(0)]
        donor = cache._sequences[0]
        whole = donor.committed // cache.page_size if cache.exact else len(donor.pages)
        shared, at = donor.pages[:whole], cache.layers[0]
        pages, anchors = at.pages[shared].clone(), None if cache.exact else at.anchors[donor.anchor_pages[: donor.frozen_pages]].clone()
        for step in range(300):
            cache.step(numbers)
            q, k, v = (halves(2, heads, D) for heads in (HEADS * RATIO, HEADS, HEADS))
            out = cache.attend(0, q, k, v)
            for i, number in enumerate(numbers if step % 37 == 0 or step == 299 else ()):
                worst = max(worst, relative(out[i : i + 1], attention(q[i : i + 1], *stored_rows(cache, number))[0]))
        if not torch.equal(at.pages[shared], pages) or (anchors is not None and not torch.equal(at.anchors[donor.anchor_pages[: donor.frozen_pages]], anchors)):
            raise AssertionError(f"{preset}: what both hold was written")
        if cache._sequences[numbers[1]].pages[:whole] != shared or cache._sequences[numbers[1]].pages[whole:] == donor.pages[whole:]:
            raise AssertionError(f"{preset}: pages of a fork are not the donor's, then its own")
        said.append(need(worst, LIMIT, preset))
    return ", ".join(said)


def check_plans() -> str:
    """Layers of two recipes in one cache, replayed from a graph, give the bits that they give in caches of their own, and hold the bytes."""
    plan, prompts, inputs = ["antkv-2", "antkv-1"], [rows_of(n) for n in (600, 129)], [rows_of(2) for _ in range(150)]
    mixed = make_cache(plan)
    found, _, _ = replayed(mixed, prompts, inputs)
    held = 0
    for layer, recipe in enumerate(plan):
        own = make_cache(recipe)
        want, _, _ = replayed(own, prompts, inputs, captured=False)
        if not torch.equal(found[:, layer], want[:, 0]):
            raise AssertionError(f"layer {layer} ({recipe}): {int((found[:, layer] != want[:, 0]).sum())} of {want.numel()} numbers differ")
        held += own.bytes(0)
    if mixed.bytes(0) != held:
        raise AssertionError(f"{mixed.bytes(0)} bytes held, {held} in caches of their own")
    return f"{len(inputs)} steps of {' and '.join(plan)} bit-equal, {held} bytes"
