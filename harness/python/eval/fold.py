"""Bases in which keys and values are easier to code, folded into a model's weights: the model computes what it did, no kernel changes, only what lies in the cache differs.

Keys, before RoPE: k' = D k, q' = q / D, with D alike on both channels of a rotated pair, so that it commutes with the rotation. D = rms(q)^power makes the plain distance
between keys weigh channels as scores do. Values: v' = T v, and W_o takes T^-1: principal directions, dealt to chunks so that each gets as much variance, in logarithms, as
the others (Ge et al. 2013, optimised product quantisation); `metric` measures errors behind W_o.
"""

import copy

import torch


def key_scales(recording, power):
    """[layers, kv_heads, d], geometric mean 1 in each head."""
    a, b = recording.q_square.chunk(2, -1)
    log = (a + b).clamp_min(1e-12).log() * (power / 2)
    return (log - log.mean(-1, keepdim=True)).exp().repeat(1, 1, 2)


def dealt(variances, chunks):
    """Which direction stands in which place, variances [d] descending: each goes to the chunk with the smallest product that has room. [d] indices."""
    room = len(variances) // chunks
    members, logs = [[] for _ in range(chunks)], [0.0] * chunks
    for i, variance in enumerate(variances.clamp_min(1e-30).log().tolist()):
        chunk = min((c for c in range(chunks) if len(members[c]) < room), key=lambda c: logs[c])
        members[chunk].append(i)
        logs[chunk] += variance
    return [i for chunk in members for i in chunk]


def value_bases(recording, model, chunks, metric=True):
    """(T, T^-1), both [layers, kv_heads, d, d], for `chunks[layer]` codes per value."""
    c, out, back = model.config, [], []
    for layer, rows in enumerate(recording.v.double()):
        w = model.weights[f"model.layers.{layer}.self_attn.o_proj.weight"].double().unflatten(1, (c.kv_heads, -1, c.head_dim))
        for head, v in enumerate(rows):
            root = torch.eye(c.head_dim, dtype=torch.float64, device=v.device)
            if metric:
                values, vectors = torch.linalg.eigh(torch.einsum("ohi,ohj->ij", w[:, head], w[:, head]))
                root = vectors * values.clamp_min(values.max() * 1e-6).sqrt() @ vectors.T
            values, vectors = torch.linalg.eigh(torch.cov((v @ root).T))
            values, vectors = values.flip(0), vectors.flip(1)
            turn = vectors[:, dealt(values, chunks[layer])].T
            out.append(turn @ root)
            back.append(torch.linalg.solve(root, turn.T))
    shape = (c.layers, c.kv_heads, c.head_dim, c.head_dim)
    return torch.stack(out).view(shape).float(), torch.stack(back).view(shape).float()


def folded(model, scales=None, bases=None):
    """A model with key scales [layers, kv_heads, d] or value bases (T, T^-1) in its weights. Raises ValueError where norms or biases stand between."""
    c, weights = model.config, dict(model.weights)
    for layer in range(c.layers):
        name = f"model.layers.{layer}.self_attn"
        if any(f"{name}.{part}" in weights for part in ("q_norm.weight", "k_norm.weight", "q_proj.bias", "k_proj.bias", "v_proj.bias")):
            raise ValueError("only projections without biases and norms can be folded into")
        rows = lambda what, heads: weights[f"{name}.{what}_proj.weight"].unflatten(0, (heads, c.head_dim))
        if scales is not None:
            ratio = c.q_heads // c.kv_heads
            weights[f"{name}.k_proj.weight"] = (rows("k", c.kv_heads) * scales[layer].unsqueeze(-1)).flatten(0, 1)
            weights[f"{name}.q_proj.weight"] = (rows("q", c.q_heads) / scales[layer].repeat_interleave(ratio, 0).unsqueeze(-1)).flatten(0, 1)
        if bases is not None:
            to, back = bases[0][layer], bases[1][layer]
            weights[f"{name}.v_proj.weight"] = (to @ rows("v", c.kv_heads)).flatten(0, 1)
            columns = weights[f"{name}.o_proj.weight"].unflatten(1, (c.kv_heads, -1, c.head_dim))
            weights[f"{name}.o_proj.weight"] = torch.einsum("ohri,hij->ohrj", columns, back).flatten(1)
    other = copy.copy(model)
    other.weights = weights
    return other
