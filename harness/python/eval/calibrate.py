"""Codebooks of all layers from a recording of a model at work: weighted k-means in one batched call per side; codebook files as generator/format.ts specifies them."""

import json
from dataclasses import dataclass, field

import torch

from . import scores, tensors
from .codes import int8, joined, looked_up, nearest, split, stored
from .kmeans import kmeans
from .model import Exact
from .recipe import Codec, plan_hash


@dataclass(frozen=True)
class Method:
    """How centroids are found. power: exponent of the weights; keys are weighted by the exact form, values by the column form (`exact`), or both by `column`.
    windows: of `tokens` tokens each; keys after RoPE want windows as long as the texts that are read, as a rotation that no window held has no centroids."""

    weights: str = "exact"
    power: float = 1.0
    iterations: int = 25
    start: str = "plusplus"
    restarts: int = 1
    seed: int = 0
    gain_in_loop: bool = False
    windows: int = 16
    tokens: int = 2048


@dataclass
class Recording:
    """Rows of every layer, before RoPE: k and v [layers, kv_heads, tokens, d]; positions start anew every `window` tokens. weights: {form: [layers, kv_heads, tokens]}."""

    rope: object
    window: int
    k: torch.Tensor = None
    v: torch.Tensor = None
    weights: dict = field(default_factory=dict)
    q_square: torch.Tensor = None  # mean of q^2 over tokens and the query heads of a KV head, before RoPE: [layers, kv_heads, d]

    def rows(self, side, key):
        """Keys before or after RoPE, or values: [layers, kv_heads, tokens, d]."""
        if side == "v" or key == "pre":
            return self.v if side == "v" else self.k
        return self.rope.rotate(self.k.unflatten(2, (-1, self.window))).flatten(2, 3)


class Recorder:
    """An attention back end that computes the exact one and keeps what it saw."""

    def __init__(self, rope):
        self.exact, self.layers = Exact(rope), {}

    def __call__(self, layer, q, k, v):
        forms = scores.forms(self.exact.rope.rotate(q), self.exact.rope.rotate(k), v, ["column", "exact"])
        flat = lambda x: x.transpose(0, 1).flatten(1, 2)  # windows of a batch one after the other
        square = q.square().mean((0, 2)).view(k.shape[1], -1, k.shape[3]).mean(1, keepdim=True)
        self.layers.setdefault(layer, []).append((flat(k), flat(v), flat(forms["column"]), flat(forms["exact"]), square))
        return self.exact(layer, q, k, v)


@torch.no_grad()
def record(model, ids, batch=8):
    """The model reads ids [windows, tokens + 1], exactly."""
    recorder = Recorder(model.rope)
    for part in ids.split(batch):
        model.hidden(part[:, :-1].to(model.device), recorder)
    layers = [recorder.layers[layer] for layer in sorted(recorder.layers)]
    k, v, column, exact, square = (torch.stack([torch.cat(parts, 1) for parts in which]) for which in zip(*(zip(*calls) for calls in layers)))
    return Recording(model.rope, ids.shape[1] - 1, k, v, {"column": column, "exact": exact}, square.mean(2))


def weights_of(recording, side, method):
    """[layers, kv_heads, tokens], or None."""
    if method.weights == "none" or method.power == 0:
        return None
    form = "exact" if method.weights == "exact" and side == "k" else "column"
    return recording.weights[form] ** method.power


def gains_of(problems, shape):
    """Factors for kmeans: the norm of a token's head vector over that of what it decodes to; shape [1, layers * kv_heads, tokens, d] is that of the vectors."""
    norms = joined(problems, shape)[0].norm(dim=-1)

    def scale(codes, centroids):
        found = joined(looked_up(codes, centroids), shape)[0].norm(dim=-1)
        factor = torch.where(found > 0, norms / found.clamp_min(1e-30), torch.ones_like(found))
        return factor.repeat_interleave(len(codes) // len(factor), 0)

    return scale


def codebooks(recording, side, codec_name, key="pre", method=Method(), gain=False):
    """Centroids of one side as kernels will read them: [layers, kv_heads, chunks, entries, channels], or None for an exact codec. Of several starts the best of each chunk is kept.

    Raises ValueError for codecs of several stages."""
    codec = Codec.parse(codec_name)
    if not codec.channels:
        return None
    if codec.stages > 1:
        raise ValueError(f"codebooks of {codec_name} are fitted in stages, which `gen calibrate` does")
    rows = recording.rows(side, key)
    layers, heads, tokens, d = rows.shape
    shape = (1, layers * heads, tokens, d)
    problems = split(rows.reshape(shape), codec.channels)
    weights = weights_of(recording, side, method)
    weights = None if weights is None else weights.flatten(0, 1).repeat_interleave(d // codec.channels, 0)
    scale = gains_of(problems, shape) if gain and method.gain_in_loop else None
    best, least = None, None
    for restart in range(method.restarts):
        found = kmeans(problems, codec.entries, weights, method.iterations, method.seed + restart, method.start, scale)
        if method.restarts == 1:
            best = found
            break
        loss = (nearest(problems, found, want_loss=True)[1] * (1 if weights is None else weights)).sum(1)
        better = torch.ones_like(loss, dtype=torch.bool) if best is None else loss < least
        best = found if best is None else torch.where(better[:, None, None], found, best)
        least = loss if least is None else torch.where(better, loss, least)
    return stored(best.view(layers, heads, d // codec.channels, codec.entries, codec.channels), codec.q8)


def distortion(rows, codebook):
    """sum |x - c|^2 / sum |x|^2 of one layer: rows [kv_heads, tokens, d], codebook [kv_heads, chunks, entries, channels]."""
    problems = split(rows.unsqueeze(0), codebook.shape[3])
    return float(2 * nearest(problems, codebook.flatten(0, 1), want_loss=True)[1].double().sum() / rows.double().square().sum())


def write(path, plan, pairs, recording, method, model, bases=None):
    """Writes a codebook file. plan: one recipe per layer; the file has one recipe where they are all alike. pairs: per layer (k, v), each [kv_heads, chunks, entries, channels] as
    `codebooks` gives them; an exact side is None. bases: (T, T^-1) of recipes with transform `basis`, each [layers, kv_heads, d, d]; pairs and recording are then those of the model that
    has them in its weights. Raises ValueError where they do not belong."""
    for recipe in plan:
        if (bases is not None) != (recipe.transform == "basis"):
            raise ValueError(f"transform {recipe.transform}, and {'no ' if bases is None else ''}bases: give them with transform basis, and only then")
    out, records = {}, {}
    for side in "kv":
        rows_of = {key: recording.rows(side, key) for key in {recipe.key for recipe in plan}}
        for layer, (recipe, pair) in enumerate(zip(plan, pairs)):
            book, rows = pair["kv".index(side)], rows_of[recipe.key][layer]
            if book is None:
                continue
            codec, name = Codec.parse(getattr(recipe, side)), f"layers.{layer}.{side}"
            if codec.q8:
                steps, scale = int8(book)
                out[name], out[f"{name}.scale"] = steps.to(torch.int8), scale.reshape(len(book), -1).float()
            else:
                out[name] = book.half()
            per = rows.shape[1] / codec.entries
            records[name] = {"codec": codec.name, "position": recipe.key if side == "k" else None, "vectors": rows.shape[1], "vectors_per_entry": per, "undertrained": per < 16,
                             "iterations": method.iterations, "distortion": distortion(rows, book)}
    for layer, (_, book) in enumerate(pairs):
        if bases is not None and book is not None:
            out[f"layers.{layer}.v.basis"], out[f"layers.{layer}.v.basis_inverse"] = (matrices[layer].float() for matrices in bases)
    calibration = {"seed": method.seed, "iterations": method.iterations, "weights": method.weights, "power": method.power, "tensors": records}
    recipes = [recipe.json() for recipe in plan]
    what = {"version": "2", "recipe": json.dumps(recipes[0])} if len(set(plan)) == 1 else {"version": "3", "recipes": json.dumps(recipes)}
    tensors.write(path, out, {
        "format": "antkv-codebook", **what, "recipe_hash": plan_hash(plan), "layout": "3", "model": model.name, "head_dim": str(model.config.head_dim), "calibration": json.dumps(calibration),
        "rope_inv_freq": json.dumps(model.rope.inv_freq.double().tolist()), "rope_pairing": "half-split",
    })
