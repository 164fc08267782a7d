"""What fp16 rows alone do to a model over codes, and how far a layer of kernels is off its simulation on the same rows.

A code is a step function of its row: where two centroids are about as near, a change in the last bit of a row picks the other one, and the decoded chunk jumps by as much as the codec is
coarse. Later layers see that, and pick other codes in turn. So two correct implementations that round differently are a few codes apart in the first layer and many in the last; their
perplexities differ by chance, the more the less of the model is left. `spread` says by how much; `Beside` compares without that chain: each layer alone, on equal rows.
"""

import torch


def half(x, chance=None):
    """x rounded to fp16, as fp32. chance: a torch.Generator: up or down at random, the nearer the likelier; each seed is another draw of errors of the size of fp16's."""
    if chance is not None:
        step = torch.frexp(x.half().float()).exponent.clamp_min(-13) - 11  # of fp16 near x, as a power of 2
        x = x + torch.ldexp(torch.rand(x.shape, generator=chance, device=x.device) - 0.5, step)
    return x.half().float()


class Rounded:
    """An attention back end that meets rows as a cache of fp16 holds them: q, k (after RoPE) and v are rounded on the way in, its output on the way out."""

    def __init__(self, attention, rope, chance=None):
        self.attention, self.rope, self.chance = attention, rope, chance

    def __call__(self, layer, q, k, v):
        return half(self.attention(layer, *self.rows(q, k, v)), self.chance)

    def rows(self, q, k, v):
        """The rows before RoPE that give halves after it."""
        return tuple(self.rotated_back(half(self.rope.rotate(x), self.chance)) for x in (q, k)) + (half(v, self.chance),)

    def rotated_back(self, x):
        cos, sin = self.rope.table(x.shape[-2])
        a, b = x.chunk(2, -1)
        return torch.cat((a * cos + b * sin, b * cos - a * sin), -1)


def spread(perplexity_of, attention, rope, device, seeds=8):
    """Root mean square of what roundings of fp16, drawn at random, change about a perplexity, relative to it. perplexity_of: back end -> perplexity."""
    base = perplexity_of(attention)
    draws = [perplexity_of(Rounded(attention, rope, torch.Generator(device).manual_seed(seed))) / base - 1 for seed in range(seeds)]
    return (sum(x * x for x in draws) / seeds) ** 0.5


class Beside:
    """Runs `kernels`, and on the same rows their simulation; `errors` holds the largest relative L2 error of each layer's output."""

    def __init__(self, kernels, simulated, rope):
        self.kernels, self.simulated, self.errors = kernels, Rounded(simulated, rope), {}

    def __call__(self, layer, q, k, v):
        q, k, v = self.simulated.rows(q, k, v)
        o, want = self.kernels(layer, q, k, v), self.simulated.attention(layer, q, k, v)
        self.errors[layer] = max(self.errors.get(layer, 0.0), float((o - want).norm() / want.norm()))
        return o
