"""Codes and the codebooks that they point into, on a GPU: checks of check.py."""

import torch

import plain
from antkv import ops
from plain import D, HEADS, RATIO, folder, halves, make_cache, need, relative, stored_rows


def check_codes() -> str:
    """unpack(encode(x)) is the nearest centroid of each chunk, anchors are exact."""
    cache = make_cache("antkv-1-fast", folded=True)  # values are coded as they come
    k, v, q = halves(512, HEADS, D), halves(512, HEADS, D), halves(512, HEADS * RATIO, D)
    number = cache.start(512)
    cache.prefill(0, number, q, k, v)
    coded = cache._sequences[number].coded
    got_k, got_v = (x[:coded] for x in stored_rows(cache, number))
    exact = (got_k == k[:coded].float()).all(-1) & (got_v == v[:coded].float()).all(-1)
    kept = cache.lengths.anchor_rows(coded)
    if exact.sum(0).tolist() != [kept] * HEADS:
        raise AssertionError(f"{exact.sum(0).tolist()} exact rows per head, not {kept}")
    book = torch.frombuffer(bytearray(cache.layers[0].v_codebook.cpu().numpy().tobytes()), dtype=torch.int8)
    entries = book.view(HEADS, -1)[:, : 16 * 256 * 8].view(HEADS, 16, 256, 8).to(plain.DEVICE).float() / 40
    chunks = v[:coded].float().view(coded, HEADS, 16, 8).permute(1, 2, 0, 3)
    want = entries.gather(2, torch.cdist(chunks, entries).argmin(-1)[..., None].expand(-1, -1, -1, 8)).permute(2, 0, 1, 3).reshape(coded, HEADS, D)
    off = ((got_v - want).abs().amax(-1) > 1e-3) & ~exact
    return f"{kept} anchors exact, {need(float(off.float().mean()), 5e-3, 'rows with another centroid (ties)')}"


def check_kmeans() -> str:
    """Two steps from given centroids against plain torch; k-means++ twice gives equal bits; opcheck."""
    contract, entries = folder().find("kmeans", k="8c8b", dtype="f16"), 256
    x, weights = halves(HEADS, 5000, D), torch.rand(HEADS, 5000, device=plain.DEVICE)
    start = halves(HEADS, D // 8, entries, 8).float()
    centroids, at = start.clone(), start.clone()
    loss, energy, status = ops.kmeans(contract, x, centroids, 8.0, weights=weights, max_steps=2, tolerance=0.0)
    chunks, want = x.float().view(HEADS, 5000, D // 8, 8).transpose(1, 2), []
    for _ in range(3):
        near = torch.cdist(chunks, at).square().min(-1)
        want.append((near.values * weights[:, None]).sum(-1))
        code = near.indices[..., None]
        mass = torch.zeros_like(at[..., :1]).scatter_add_(2, code, weights[:, None, :, None].expand(-1, D // 8, -1, 1).contiguous())
        sums = torch.zeros_like(at).scatter_add_(2, code.expand(-1, -1, -1, 8), chunks * weights[:, None, :, None])
        at = torch.where(mass > 0, sums / mass.clamp_min(1e-30), at).half().float()
    said = [need(relative(loss[..., 0], want[0]), 1e-3, "loss"), need(relative(energy, (chunks.square().sum(-1) * weights[:, None]).sum(-1)), 1e-3, "energy")]
    if not status[..., 1].any():  # an entry that was empty lies where plain torch has none
        said.append(need(relative(loss[..., 2], want[2]), 1e-3, "after two steps"))
    draws = torch.rand(HEADS, D // 8, entries, dtype=torch.float64, device=plain.DEVICE)
    first, second = (torch.empty_like(start) for _ in range(2))
    losses = ops.kmeans(contract, x, first, 8.0, draws=draws)[0]
    ops.kmeans(contract, x, second, 8.0, draws=draws, splits=3)
    if not torch.equal(first, second) or not (losses[..., -1] <= losses[..., 0]).all():
        raise AssertionError("k-means++ twice differs, or its loss rose")
    torch.library.opcheck(ops.kmeans, (contract, x, start, 8.0), {"max_steps": 1}, test_utils=("test_schema", "test_faketensor", "test_aot_dispatch_static"))
    return ", ".join(said)
