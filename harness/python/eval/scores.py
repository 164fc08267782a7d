"""Which tokens stay exact: the anchor scores of CACHE.md ("Prefill scores") and the other policies, on rows after RoPE."""

import torch

from .model import grouped, scores_of

FORMS = ("column", "mass", "massq", "exact")


def saw(tokens, device):
    """How many rows see each token of a whole sequence: [tokens]."""
    return torch.arange(tokens, 0, -1, device=device, dtype=torch.float32)


@torch.no_grad()
def forms(q, k, v, wanted, rows=512):
    """Sums over rows and the query heads of each KV head: {form: [batch, kv_heads, tokens]}; q [batch, q_heads, tokens, d], k and v [batch, kv_heads, tokens, d]."""
    batch, heads, tokens, d = k.shape
    sums = {form: torch.zeros(batch, heads, tokens, device=k.device) for form in wanted}
    for first in range(0, tokens, rows):
        end = min(first + rows, tokens)
        part = q[:, :, first:end]
        p = scores_of(part, k[:, :, :end], first).softmax(-1)
        size = part.norm(dim=-1, keepdim=True)
        weights = {"column": lambda: p, "mass": lambda: p * (1 - p), "massq": lambda: p * (1 - p) * size, "exact": lambda: p * size * d**-0.5 * gap(grouped(p, v[:, :, :end]), v[:, :, :end])}
        for form in wanted:
            sums[form][:, :, :end] += weights[form]().reshape(batch, heads, -1, end).sum(2)
    return sums


def gap(o, v):
    """|v_j - o_i|: o [batch, q_heads, rows, d], v [batch, kv_heads, keys, d] -> [batch, q_heads, rows, keys]."""
    batch, heads, rows, d = o.shape
    grouped_o = o.reshape(batch, v.shape[1], -1, d)
    squares = grouped_o.square().sum(-1, keepdim=True) + v.square().sum(-1).unsqueeze(2) - 2 * grouped_o @ v.transpose(-1, -2)
    return squares.clamp_min(0).sqrt().view(batch, heads, rows, -1)


def policy_scores(policy, q, k, v):
    """Scores by which a policy keeps tokens of whole sequences, highest first: [batch, kv_heads, tokens]. Raises ValueError on a policy without scores."""
    if policy in FORMS:
        return forms(q, k, v, [policy])[policy]
    if policy == "saliency":  # ZipCache: the mean over the rows that see the token
        return forms(q, k, v, ["column"])["column"] / saw(k.shape[2], k.device)
    if policy in ("key-magnitude", "largest-key"):  # OTT: tokens with the smallest keys
        return k.norm(dim=-1) * (-1 if policy == "key-magnitude" else 1)
    raise ValueError(f'policy "{policy}" has no scores; those with: {", ".join(FORMS)}, saliency, key-magnitude, largest-key')


def top(scores, count):
    """Mask of the `count` highest scores of each head, ties by the lower token; NaN and -inf never win: [..., tokens] bool."""
    scores = torch.where(scores.isnan(), -torch.inf, scores)
    order = scores.sort(dim=-1, descending=True, stable=True).indices[..., :count]
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(-1, order, True) & (scores > -torch.inf)
