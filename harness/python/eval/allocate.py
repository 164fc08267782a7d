"""Codecs by layer: what each layer and side loses under each codec alone, and the plan with the least sum of losses under one budget. Needs no torch.

The sum is a model: log-perplexities of single layers are taken to add up. Plans are measured as wholes afterwards.
"""

import math

from .recipe import USUAL_TOKENS, Codec, Recipe

MENU = {side: ("4c8b", "8c8b", "16c8b") for side in "kv"}
LOOKED_UP = {"k": ("4c8b", "8c8b", "16c8b"), "v": ("4c8bq8", "8c8bq8", "16c8bq8")}  # by decode in shared memory, keys before RoPE (generator/lookup.ts)
EXACT = {"k": "f16", "v": "f16", "key": "post", "gain": "none", "policy": "none", "budget_permille": 0, "selection": "global", "window": 0, "flush_block": 1}
CODED = {"key": "pre", "policy": "none", "budget_permille": 0, "selection": "global", "window": 0}
PER_BIT = 1000  # steps of a bit in which budgets are counted; rates are rounded up to them


def fast(head_dim):
    """Of each side the codecs that have fast kernels: eight codes a token or more, one for each row of lanes (generator/layout.ts)."""
    return {side: tuple(codec for codec in codecs if head_dim // Codec.parse(codec).channels >= 8) for side, codecs in LOOKED_UP.items()}


def single(layers, layer, side, codec, gain="kv"):
    """The plan that codes one side of one layer, as JSON; with a gain if it is one of those of `gain`."""
    one = {**CODED, "k": "f16", "v": "f16", side: codec, "gain": side if side in gain else "none", "key": "pre" if side == "k" else "post"}
    return [one if at == layer else EXACT for at in range(layers)]


def single_name(layer, side, codec):
    return f"search: layer {layer}, {side} {codec} alone"


def losses(records):
    """{(layer, side): {codec: log of perplexity over exact}} of the records that `single` was measured for."""
    found = {}
    for record in records:
        words = record["run"]["name"].replace(",", "").split()
        if words[:2] == ["search:", "layer"] and words[-1] == "alone":
            found.setdefault((int(words[2]), words[3]), {})[words[4]] = math.log(record["perplexity"] / record["exact"])
    return found


def least(options, budget):
    """Of options [{choice: (cost, loss)}], costs whole, one choice each with the least sum of losses at a sum of costs of at most `budget`; None if nothing is that cheap."""
    best = {0: (0.0, ())}  # by cost so far
    for choices in options:
        following = {}
        for spent, (loss, picks) in best.items():
            for choice, (cost, more) in choices.items():
                total = (loss + more, picks + (choice,))
                if spent + cost <= budget and (spent + cost not in following or total < following[spent + cost]):
                    following[spent + cost] = total
        best = following
    return min(best.values())[1] if best else None


def plan(records, bits, layers, gain="kv", menu=MENU, head_dim=128, axes=None):
    """Recipes by layer, as JSON, of at most `bits` per element, gains on `gain`, bitmaps and anchors counted, and no window; None if records are missing or nothing fits. Losses are
    those with a gain on the side that was coded, or as the records have it. axes: what differs from CODED in all layers."""
    found = losses(records)
    slots = [(layer, side) for layer in range(layers) for side in "kv"]
    if any(set(found.get(slot, ())) != set(menu[slot[1]]) for slot in slots):
        return None
    cost = lambda codec: math.ceil(PER_BIT * Codec.parse(codec).bits / Codec.parse(codec).channels)
    base = {**CODED, "gain": gain, **(axes or {})}
    empty = Recipe.parse({**base, "k": "8c8b", "v": "8c8b"})
    overhead = empty.held_bits(head_dim, USUAL_TOKENS, USUAL_TOKENS, empty.budget(USUAL_TOKENS)) - 1
    picks = least([{codec: (cost(codec), loss) for codec, loss in found[slot].items()} for slot in slots], math.floor((bits - overhead) * PER_BIT * len(slots)))
    return picks and [{**base, "k": picks[2 * layer], "v": picks[2 * layer + 1]} for layer in range(layers)]
