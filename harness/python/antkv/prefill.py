"""How a prompt enters a cache: its anchors are scored and chosen, the tokens that leave the window are encoded, the others go into the ring."""

from typing import Any, Dict, Mapping, Optional, Tuple

import torch
from torch import Tensor

from . import ops
from .errors import ArgumentError
from .rules import ANCHOR_ROWS

_FORMS = ("column", "mass", "massq", "exact", "saliency")  # policies that rank a prompt by the form of score of their name
_NORMS = {"key-magnitude": -1.0, "largest-key": 1.0}  # by form norm, with this factor on |k|
# How tokens that leave the window compete later (antkv_append_params.policy): by column sums, whatever form ranked the prompt, or by |k| again.
PROMPT_POLICIES: Mapping[str, int] = {**{form: 0 for form in _FORMS}, "key-magnitude": 1, "largest-key": 2, "first": 3, "none": 3}


def anchors_of(folder, policy: str, head_dim: int, dtype: str) -> Dict[str, str]:
    """The contracts that choose a prompt's anchors. Raises ArgumentError for a policy that has none."""
    if policy not in PROMPT_POLICIES:
        raise ArgumentError(f'Cache: policy "{policy}" is not built; it is one of {", ".join(PROMPT_POLICIES)}')
    forms = {"column", policy} if policy in _FORMS else {"norm"} if policy in _NORMS else set()
    return {"select": folder.find("select"), **{form: folder.find("score", headDim=head_dim, dtype=dtype, form=form) for form in forms}}


def rank_by_norm(contract: str, policy: str, scores: Tensor, k: Tensor, cu: Tensor, max_tokens: int) -> None:
    """Form norm of a policy that goes by |k|: scores [batch, kv_heads, stride] of k [tokens, kv_heads, d]; no query is asked."""
    ops.score(contract, scores, None, k, None, None, cu, max_tokens, _NORMS[policy])


def causal_attention(q: Tensor, k: Tensor, v: Optional[Tensor], scale: float, rows: int = 256) -> Tuple[Tensor, Optional[Tensor]]:
    """Log-sum-exp [tokens, q_heads] fp32 and, with v, output [tokens, q_heads, d] of q [tokens, q_heads, d] over k, v [tokens, kv_heads, d], in fp32, `rows` rows at a time."""
    tokens, ratio = q.shape[0], q.shape[1] // k.shape[1]
    whole = lambda x: x.float().repeat_interleave(ratio, 1).transpose(0, 1)  # [q_heads, tokens, d]
    keys, values = whole(k).transpose(1, 2), None if v is None else whole(v)
    lse, out = [], []
    for first in range(0, tokens, rows):
        end = min(first + rows, tokens)
        scores = scale * q[first:end].float().transpose(0, 1) @ keys[:, :, :end]
        unseen = torch.ones(end - first, end, dtype=torch.bool, device=q.device).triu(first + 1)
        scores.masked_fill_(unseen, -torch.inf)
        lse.append(scores.logsumexp(-1).t())
        if values is not None:
            out.append((scores.softmax(-1) @ values[:, :end]).transpose(0, 1))
    return torch.cat(lse).contiguous(), torch.cat(out).to(q.dtype).contiguous() if out else None


class Prompt:
    """A prompt of `tokens` tokens of which the first `coded` go to pages, for one layer of `cache`."""

    def __init__(self, cache: Any, layer: Any, slot: int, coded: int, anchor_pages: int, tokens: int):
        self.cache, self.layer, self.slot, self.coded, self.anchor_pages, self.tokens = cache, layer, slot, coded, anchor_pages, tokens

    def enter(self, q: Tensor, k: Tensor, v: Tensor, lse: Optional[Tensor]) -> None:
        cache, keep = self.cache, {"anchor_score": None}
        scores = self._scores(q, k, v, lse) if cache.keeps else {}
        if self.anchor_pages:
            keep = self._keep(scores)
        if self.coded:
            ops.encode(
                self.layer.contracts["encode"], k[: self.coded], v[: self.coded], self.layer.pages, self._ints(0, self.coded), cache.page_size, self.coded,
                block_table=self._table(), state_slot=self._ints(self.slot), **cache._shared(self.layer), **keep,
            )  # fmt: skip
        if self.coded < self.tokens:
            self._append_tail(k[self.coded :], v[self.coded :], scores.get("column"))

    def _ints(self, *values: int) -> Tensor:
        return torch.tensor(values, dtype=torch.int32, device=self.cache.device)

    def _table(self) -> Tensor:
        return self.cache._tables[self.slot : self.slot + 1]

    def _scores(self, q: Tensor, k: Tensor, v: Tensor, lse: Optional[Tensor]) -> Dict[str, Tensor]:
        """Scores [1, kv_heads, tokens] by form: that of the policy, and column sums, which anchors and the ring's tokens go on with where it goes by attention."""
        cache, scores = self.cache, {}
        new = lambda: torch.zeros([1, cache.kv_heads, self.tokens], dtype=torch.float32, device=cache.device)
        cu = self._ints(0, self.tokens)
        if "norm" in cache.contracts:
            rank_by_norm(cache.contracts["norm"], cache.recipe["policy"], scores.setdefault("norm", new()), k, cu, self.tokens)
        forms = [form for form in _FORMS if form in cache.contracts]
        o = None
        if forms and (lse is None or "exact" in forms):
            own_lse, o = causal_attention(q, k, v if "exact" in forms else None, cache.scale)
            lse = own_lse if lse is None else lse
        for form in forms:
            scores[form] = new()
            more = {"v": v, "o": o} if form == "exact" else {}
            ops.score(cache.contracts[form], scores[form], q, k, lse, cu, cu, self.tokens, cache.scale, **more)
        return scores

    def _keep(self, scores: Mapping[str, Tensor]) -> Dict[str, Tensor]:
        """The anchors of the coded tokens, as arguments of encode."""
        cache, heads, rows = self.cache, self.cache.kv_heads, self.anchor_pages * ANCHOR_ROWS
        ranked = scores.get(cache.recipe["policy"], scores.get("norm"))
        if ranked is None:  # "first": no token competes
            ranked = torch.full([1, heads, self.tokens], -torch.inf, dtype=torch.float32, device=cache.device)
        bitmap = torch.zeros([1, heads, -(-self.coded // 32)], dtype=torch.int32, device=cache.device)
        indices = torch.full([1, heads, rows], -1, dtype=torch.int32, device=cache.device)
        r = cache.recipe
        ops.select(cache.contracts["select"], ranked, self._ints(self.coded), bitmap, indices, None, budget_permille=r["budget_permille"], first_tokens=r["first_tokens"])
        sums = scores.get("column")  # of which encode makes means; norms stay what they are
        frozen = {"keep_scores": ranked} if sums is None else {"keep_scores": sums, "score_rows": self._ints(self.tokens)}
        return {"keep_bitmap": bitmap, "keep_indices": indices, "anchor_score": self.layer.anchor_score, **frozen}

    def _append_tail(self, k: Tensor, v: Tensor, sums: Optional[Tensor]) -> None:
        """The tokens of the window enter the ring with what the prompt's rows gave them."""
        cache, at, rows = self.cache, self.layer, self.tokens - self.coded
        rules = {name: cache.recipe[name] for name in ("window", "flush_block", "budget_permille", "first_tokens")}
        if sums is not None:
            rules["new_score"] = sums[0, :, self.coded :].t().contiguous()
            counts = torch.arange(rows, 0, -1, dtype=torch.int32, device=cache.device)
            rules["new_count"] = counts[:, None].expand(rows, cache.kv_heads).contiguous()
        ops.append(
            at.contracts["append"], k, v, at.pages, self._ints(self.coded), cache.page_size, cache.q_heads, block_table=self._table(), state_slot=self._ints(self.slot), **cache._shared(at),
            **rules, cu_q=self._ints(0, rows), ring_k=at.ring_k, ring_v=at.ring_v, ring_score=at.ring_score, ring_count=at.ring_count, anchor_score=at.anchor_score,
            accepted=self._ints(0), coded_len=self._ints(self.coded), policy=PROMPT_POLICIES[cache.recipe["policy"]],
        )  # fmt: skip
