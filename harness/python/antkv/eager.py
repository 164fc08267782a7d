"""The ops as plain functions: what ops.py registers with torch. They skip torch's dispatcher and the host time that it takes (check.py prints it), and know
neither compilation nor autograd; else they are the same: on CUDA tensors, on the current stream, without synchronisation, safe to capture in a graph.

`contract` names what a kernel computes (`npx gen list`; manifest.json); kernels and launches come from its tuning tables. Other arguments have the names, shapes and
meaning of the op's struct in antkv.h (kmeans does all of its steps): batch, kv_heads, strides and the like are read off the tensors. A wrong one is named by an ArgumentError that says what it should be.

Call an op once before a capture: the first call of a contract and shape loads its kernel. Tensors of rows (q, k, v, out, ring) need a contiguous last axis only.
In shapes below, d is the head dim, H are KV heads, Q query heads; lengths, tables and positions are int32; "state" arrays [slots, ...] are addressed by state_slot.

Cache arguments that ops share:
  pages [pages, H, page bytes] uint8, block_table [batch, max_pages], or page_indptr [batch + 1] with page_indices; page_size in tokens
  k_codebook, v_codebook [H, packed bytes] uint8 (antkv.pack_codebook), None for exact sides; inv_freq [rotary_dim / 2] fp32, for contracts with `pre`
  anchors [anchor pages, H, anchor page bytes] uint8, anchor_table [slots, max_anchor_pages]; state_slot [batch], None: the batch row; first_pos [batch], None: 0"""

import math
from typing import Optional, Tuple

import torch
from torch import Tensor

from .errors import ArgumentError
from .launch import counters, library, run
from .shape import Shape

__all__ = ["append", "combine", "decode", "dtype_of", "encode", "kmeans", "score", "select", "unpack"]


def _arguments(scope: dict, *without: str) -> dict:
    return {name: value for name, value in scope.items() if name not in ("contract", *without)}


def encode(
    contract: str, k: Tensor, v: Tensor, pages: Tensor, cu_tokens: Tensor, page_size: int, max_tokens: int, anchors: Optional[Tensor], anchor_score: Optional[Tensor],
    block_table: Optional[Tensor] = None, page_indptr: Optional[Tensor] = None, page_indices: Optional[Tensor] = None, k_codebook: Optional[Tensor] = None,
    v_codebook: Optional[Tensor] = None, inv_freq: Optional[Tensor] = None, anchor_table: Optional[Tensor] = None, state_slot: Optional[Tensor] = None,
    first_token: Optional[Tensor] = None, first_pos: Optional[Tensor] = None, keep_bitmap: Optional[Tensor] = None, keep_indices: Optional[Tensor] = None,
    keep_scores: Optional[Tensor] = None, score_rows: Optional[Tensor] = None, keys_unrotated: bool = False, rope_interleaved: bool = False, attention_factor: float = 1.0,
) -> None:  # fmt: skip
    """Writes rows k, v [rows, H, d] (keys after RoPE unless keys_unrotated) of the sequences that cu_tokens [batch + 1] cuts to coded pages; the tokens that
    keep_bitmap [batch, H, words] and keep_indices [batch, H, max_anchors] name also to anchor pages. max_tokens: host bound on the rows of a sequence."""
    run("encode", contract, _arguments(locals()))


def append(
    contract: str, k: Tensor, v: Tensor, pages: Tensor, seq_len: Tensor, page_size: int, q_heads: int, anchors: Optional[Tensor], ring_k: Optional[Tensor], ring_v: Optional[Tensor],
    ring_score: Optional[Tensor], ring_count: Optional[Tensor], anchor_score: Optional[Tensor],
    block_table: Optional[Tensor] = None, page_indptr: Optional[Tensor] = None, page_indices: Optional[Tensor] = None, k_codebook: Optional[Tensor] = None,
    v_codebook: Optional[Tensor] = None, inv_freq: Optional[Tensor] = None, anchor_table: Optional[Tensor] = None, state_slot: Optional[Tensor] = None,
    ring_scores: Optional[Tensor] = None, lse: Optional[Tensor] = None, score_row: Optional[Tensor] = None, accepted: Optional[Tensor] = None, coded_len: Optional[Tensor] = None,
    frozen_len: Optional[Tensor] = None, frozen_anchor_pages: Optional[Tensor] = None, first_pos: Optional[Tensor] = None, cu_q: Optional[Tensor] = None,
    new_score: Optional[Tensor] = None, new_count: Optional[Tensor] = None, window: int = 0, flush_block: int = 1, budget_permille: int = 0, first_tokens: int = 0, policy: int = 0,
    budget_tokens: int = 0, extra_tokens: int = 0, rope_interleaved: bool = False, attention_factor: float = 1.0,
) -> None:  # fmt: skip
    """One step of a cache: commits accepted [batch] rows of the step before (seq_len [batch] tokens were committed before), folds their scores, encodes what leaves
    the window and chooses its anchors, writes new rows k, v [new rows, H, d] into the ring [slots, H, ring_rows, d]. policy: 0 column, 1 smallest key, 2 largest key, 3 none.
    budget_tokens: anchors however many tokens are coded, 0: budget_permille; extra_tokens: OTT's second pool, 0: losers are handed back (CACHE.md, "Extra tokens")."""
    run("append", contract, _arguments(locals()))


def decode(
    contract: str, q: Tensor, pages: Tensor, coded_len: Tensor, kv_len: Tensor, page_size: int, max_tokens: int, scale: float, lse: Optional[Tensor], ring_scores: Optional[Tensor],
    block_table: Optional[Tensor] = None, page_indptr: Optional[Tensor] = None, page_indices: Optional[Tensor] = None, k_codebook: Optional[Tensor] = None,
    v_codebook: Optional[Tensor] = None, inv_freq: Optional[Tensor] = None, anchors: Optional[Tensor] = None, anchor_table: Optional[Tensor] = None, state_slot: Optional[Tensor] = None,
    ring_k: Optional[Tensor] = None, ring_v: Optional[Tensor] = None, frozen_len: Optional[Tensor] = None, frozen_anchor_pages: Optional[Tensor] = None,
    first_pos: Optional[Tensor] = None, q_pos: Optional[Tensor] = None, cu_q: Optional[Tensor] = None, tree_mask: Optional[Tensor] = None, max_q_len: int = 1,
    rope_interleaved: bool = False, attention_factor: float = 1.0, splits: int = 0, spread: str = "sequence", sink_logits: Optional[Tensor] = None, softcap: float = 0.0,
) -> Tensor:  # fmt: skip
    """Attention of q [rows, Q, d] (after RoPE) over coded pages, anchors and ring; returns [rows, Q, d]. coded_len, kv_len [batch]: tokens in pages, and stored at all,
    new rows included. max_tokens bounds kv_len and chooses kernel and splits. lse [rows, Q] and ring_scores [rows, Q, ring_rows], fp32, are written where they are given.
    spread: "sequence" (a row's bits never depend on its batch mates), "spread" (unequal lengths in equal shares), "fastest". splits 0: from the tables.
    Contracts with `softcap` need softcap, above 0: scores become softcap * tanh(score / softcap). Those with `sink` need sink_logits [Q] fp32, natural: one more key of each head, whose value is 0."""
    given = _arguments(locals(), "max_tokens", "splits", "spread")
    if q.dim() != 3 or pages.dim() != 3:
        raise ArgumentError(f"decode: q is {list(q.shape)} and pages {list(pages.shape)}; their axes are [rows, q_heads, d] and [pages, kv_heads, bytes]")
    batch = coded_len.shape[0]
    kernel = library(q.device).get(contract, Shape(batch, q.shape[1], pages.shape[1], max_tokens, max_q_len, q.shape[0], splits, spread))
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    if kernel.splits > 1:
        parts = dict(dtype=torch.float32, device=q.device)
        given["partial_o"], given["partial_lse"] = torch.empty(kernel.splits, *q.shape, **parts), torch.empty(kernel.splits, *q.shape[:2], **parts)
        words = kernel.shape.lines(kernel.columns)
        given["counters"] = counters.get(q.device, torch.cuda.current_stream(q.device).cuda_stream, batch * words).view(batch, words)
    segments = 1 | (2 if anchor_table is not None else 0) | (4 if ring_k is not None else 0)
    run("decode", contract, {**given, "out": out, "splits": kernel.splits, "spread": int(kernel.spread), "segments": segments}, kernel)
    return out


def combine(contract: str, partial_o: Tensor, partial_lse: Tensor, lse: Optional[Tensor], ring_scores: Optional[Tensor]) -> Tensor:
    """Merges partial outputs [splits, rows, Q, d] fp32 by their log-sum-exps [splits, rows, Q], in order; returns [rows, Q, d] of the contract's dtype, and writes the
    merged lse [rows, Q] where it is given. ring_scores [rows, Q, ring_rows]: raw scores become masses. Merges attention over parts of a cache too (CACHE.md, "Long queries")."""
    out = torch.empty(partial_o.shape[1:], dtype=dtype_of(contract), device=partial_o.device)
    run("combine", contract, _arguments(locals()))
    return out


def score(
    contract: str, scores: Tensor, q: Optional[Tensor], k: Tensor, lse: Optional[Tensor], cu_q: Optional[Tensor], cu_k: Tensor, max_tokens: int, scale: float,
    v: Optional[Tensor] = None, o: Optional[Tensor] = None, first_pos: Optional[Tensor] = None, q_pos: Optional[Tensor] = None, first_key: Optional[Tensor] = None,
    cu_sampled: Optional[Tensor] = None, sampled_rows: Optional[Tensor] = None, newest_rows: int = 0, accumulate: bool = False, softcap: float = 0.0,
) -> None:  # fmt: skip
    """Anchor scores [batch, H, stride] fp32 of keys k [key rows, H, d] after the attention of q [query rows, Q, d] that returned lse [query rows, Q] (natural).
    The form is the contract's; `exact` needs v and o, `norm` no q, lse, cu_q, and its scale is a factor on |k|: -1 ranks the smallest first. max_tokens: host bound on the keys of a sequence. accumulate: adds to scores.
    softcap, for contracts with it: that of the attention that lse came from. Sinks need nothing: lse has them."""
    run("score", contract, _arguments(locals()))


def select(
    contract: str, scores: Tensor, token_count: Tensor, keep_bitmap: Tensor, keep_indices: Tensor, keep_count: Optional[Tensor],
    budget_permille: int = 0, budget_tokens: int = -1, first_tokens: int = 0,
) -> None:  # fmt: skip
    """The top budget of scores [batch, H, stride] among tokens 0 ... token_count - 1: keep_bitmap [batch, H, words] int32 and keep_indices [batch, H, max_anchors],
    ascending, then -1; keep_count [batch, H]. budget_tokens -1: budget_permille of token_count; first_tokens are kept beside it."""
    run("select", contract, _arguments(locals()))


def unpack(
    contract: str, k: Tensor, v: Tensor, pages: Tensor, cu_tokens: Tensor, page_size: int, max_tokens: int,
    block_table: Optional[Tensor] = None, page_indptr: Optional[Tensor] = None, page_indices: Optional[Tensor] = None, k_codebook: Optional[Tensor] = None, v_codebook: Optional[Tensor] = None,
    inv_freq: Optional[Tensor] = None, anchors: Optional[Tensor] = None, anchor_table: Optional[Tensor] = None, state_slot: Optional[Tensor] = None, frozen_len: Optional[Tensor] = None,
    frozen_anchor_pages: Optional[Tensor] = None, first_token: Optional[Tensor] = None, first_pos: Optional[Tensor] = None, rope_interleaved: bool = False, attention_factor: float = 1.0,
) -> None:  # fmt: skip
    """Coded tokens as exact rows k, v [rows, H, d], keys rotated and anchors exact: of each sequence those from first_token [batch] on, as many as cu_tokens [batch + 1] leaves room for."""
    run("unpack", contract, _arguments(locals()))


def kmeans(
    contract: str, x: Tensor, centroids: Tensor, largest: float, weights: Optional[Tensor] = None, draws: Optional[Tensor] = None, heaviest: float = 1.0, max_steps: int = 25,
    tolerance: float = 5e-4, splits: int = 0,
) -> Tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Weighted k-means of every (head, chunk) of rows x [H, tokens, d] around centroids [H, chunks, entries, channels] fp32, which are started by k-means++ where draws [H, chunks,
    entries] fp64, from 0 to below 1, are given, and moved at most max_steps times; they end as halves. weights [H, tokens] fp32, at least 0. largest bounds |x| and given |c|,
    heaviest the weights: sums are whole numbers in units that these set, and equal inputs give equal bits. Returns, of each (head, chunk), sums of w |x - c|^2 before each step and, last,
    with the final centroids [H, chunks, max_steps + 1] fp64, of w |x|^2 [H, chunks] fp64, and status [H, chunks, 4] int32: steps done, entries started anew, settled, 0."""
    given, (heads, chunks, entries, channels) = _arguments(locals(), "largest", "heaviest", "splits"), centroids.shape
    opened, tokens = library(x.device), x.shape[1]
    kernel = opened.get(contract)
    given["splits"] = splits or max(1, min(8 * opened.device.multiprocessors // (heads * chunks), -(-tokens // (2 * kernel.threads))))
    new = lambda dtype, *shape: torch.empty(heads, chunks, *shape, dtype=dtype, device=x.device)
    given["codebook"], given["row_loss"] = new(torch.uint8, entries * (2 * channels + 4)), new(torch.int64, tokens)
    given["sums"], given["loss"] = new(torch.int64, entries, channels + 1), new(torch.int64, max_steps + 1)
    given["energy"], given["status"] = new(torch.int64), new(torch.int32, 4)
    power = lambda bound, bits: 2.0 ** min(120, bits - math.frexp(bound)[1]) if bound > 0 else 1.0
    given["value_scale"], given["weight_scale"] = power(tokens * heaviest * largest, 62), power(tokens * heaviest, 62)
    given["loss_scale"] = power(tokens * channels * heaviest * largest * largest, 60)
    for step in (0, *[1] * max_steps, 2):  # a (head, chunk) that has settled takes no part in later ones
        run("kmeans", contract, {**given, "step": step}, kernel)
    return given["loss"].double() / given["loss_scale"], given["energy"].double() / given["loss_scale"], given["status"]


DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16}


def dtype_of(contract: str) -> torch.dtype:
    """Of a contract of combine, by the grammar of names: antkv_combine_d<head dim>_<dtype>."""
    return DTYPES[contract.split("_")[3]]
