"""Bases in which keys and values are easier to code, folded into a model's weights: the model computes what it did, no kernel changes, only what lies in the cache differs.

Keys, before RoPE: k' = D k, q' = q / D, with D alike on both channels of a rotated pair, so that it commutes with the rotation. D = rms(q)^power makes the plain distance
between keys weigh channels as scores do. Values: v' = T v, and W_o takes T^-1: principal directions, dealt to chunks so that each gets as much variance, in logarithms, as
the others (Ge et al. 2013, optimised product quantisation); `metric` measures errors behind W_o. Codebook files carry both matrices (generator/CACHE.md, "Basis of values").

    python3 -m eval.fold --model DIR --codebooks FILE --out DIR      a checkpoint whose values are what the file's codes are of
"""

import argparse
import copy
import re
import shutil
import sys
from pathlib import Path

import torch

from . import tensors

FLOOR = 1e-6  # of the largest variance: directions below it count alike
VALUES = re.compile(r"model\.layers\.(\d+)\.self_attn\.(v_proj\.weight|v_proj\.bias|o_proj\.weight)")


def key_scales(recording, power):
    """[layers, kv_heads, d], geometric mean 1 in each head."""
    a, b = recording.q_square.chunk(2, -1)
    log = (a + b).clamp_min(1e-12).log() * (power / 2)
    return (log - log.mean(-1, keepdim=True)).exp().repeat(1, 1, 2)


def dealt(variances, chunks):
    """Which direction stands in which place, variances [d] descending: each goes to the chunk with the smallest product that has room; measured from the smallest one, so that
    their scale does not matter. [d] indices. As `dealt` of tuner/calibrate/basis.ts."""
    room = len(variances) // chunks
    members, logs = [[] for _ in range(chunks)], [0.0] * chunks
    above = variances.clamp_min(max(float(variances[0]) * FLOOR, 5e-324)).log()
    for i, variance in enumerate((above - above[-1]).tolist()):
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


def with_basis(name, tensor, bases):
    """A tensor of a checkpoint with the basis of its layer in it: T W_v, T b_v, W_o T^-1; others as they are. bases: (T, T^-1), each [layers, kv_heads, d, d]."""
    match = VALUES.fullmatch(name)
    if not match:
        return tensor
    to, back = (matrices[int(match[1])].to(tensor.device, torch.float64) for matrices in bases)
    heads, d = to.shape[:2]
    if match[2] == "o_proj.weight":
        columns = tensor.double().unflatten(1, (heads, -1, d))
        return torch.einsum("ohri,hij->ohrj", columns, back).flatten(1).to(tensor.dtype)
    rows = tensor.double().unflatten(0, (heads, d, -1) if tensor.dim() == 1 else (heads, d))  # [heads, d, hidden]; of a bias [heads, d, 1]
    return (to @ rows).flatten(0, 1).view_as(tensor).to(tensor.dtype)


def folded(model, scales=None, bases=None):
    """A model with key scales [layers, kv_heads, d] or value bases (T, T^-1) in its weights. Raises ValueError where norms or biases stand between keys and scales."""
    c, weights = model.config, dict(model.weights)
    for layer in range(c.layers if scales is not None else 0):
        name = f"model.layers.{layer}.self_attn"
        if any(f"{name}.{part}" in weights for part in ("q_norm.weight", "k_norm.weight", "q_proj.bias", "k_proj.bias")):
            raise ValueError("scales can be folded into projections without biases and norms only")
        rows = lambda what, heads: weights[f"{name}.{what}_proj.weight"].unflatten(0, (heads, c.head_dim))
        ratio = c.q_heads // c.kv_heads
        weights[f"{name}.k_proj.weight"] = (rows("k", c.kv_heads) * scales[layer].unsqueeze(-1)).flatten(0, 1)
        weights[f"{name}.q_proj.weight"] = (rows("q", c.q_heads) / scales[layer].repeat_interleave(ratio, 0).unsqueeze(-1)).flatten(0, 1)
    other = copy.copy(model)
    other.weights = weights if bases is None else {name: with_basis(name, tensor, bases) for name, tensor in weights.items()}
    return other


def read(path):
    """(T, T^-1), each [layers, kv_heads, d, d], of a codebook file. Raises ValueError where it has none, or not for every layer."""
    found, _ = tensors.read(path)
    layers = sorted(int(name.split(".")[1]) for name in found if name.endswith(".v.basis"))
    if not layers or layers != list(range(len(layers))):
        raise ValueError(f"{path}: a basis of values is there for layers {layers}; calibrate all layers, with transform=basis")
    return tuple(torch.stack([found[f"layers.{layer}.v.{which}"] for layer in layers]) for which in ("basis", "basis_inverse"))


def fold_checkpoint(model, codebooks, out):
    """Writes the checkpoint of folder `model` to the folder `out` with the bases of a codebook file in it; weights keep their types. Raises ValueError, OSError."""
    bases, out = read(codebooks), Path(out)
    wanted = {f"model.layers.{layer}.self_attn.{part}.weight" for layer in range(len(bases[0])) for part in ("v_proj", "o_proj")}
    files = sorted(Path(model).glob("*.safetensors"))
    out.mkdir(parents=True)  # never over another checkpoint
    for file in files:
        given, metadata = tensors.read(file)
        wanted -= set(given)
        tensors.write(out / file.name, {name: with_basis(name, tensor, bases) for name, tensor in given.items()}, metadata)
    if wanted:
        raise ValueError(f"{model} lacks {sorted(wanted)[0]}, and {len(wanted) - 1} more of the projections that the basis goes into; {out} is not whole")
    for file in Path(model).glob("*.json"):
        shutil.copy(file, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="eval.fold", description="Folds the basis of values of a codebook file into a checkpoint.")
    for option in ("model", "codebooks", "out"):
        parser.add_argument(f"--{option}", required=True)
    try:
        fold_checkpoint(**vars(parser.parse_args()))
    except (ValueError, OSError) as error:
        sys.exit(f"eval.fold: {error}")
