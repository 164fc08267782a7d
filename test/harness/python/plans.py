"""Tests eval/allocate.py against every plan; needs no torch. See eval.test.ts."""

import itertools
import math
import random

from eval import allocate
from eval.recipe import Codec, Recipe

random.seed(1)
LAYERS = 2
records = []
for side, menu in allocate.MENU.items():
    for codec in menu:
        for layer in range(LAYERS):
            loss = random.random() * (layer + 1) / Codec.parse(codec).bits * Codec.parse(codec).channels
            records.append({"run": {"name": allocate.single_name(layer, side, codec)}, "perplexity": 3.0 * math.exp(loss), "exact": 3.0})
losses = allocate.losses(records)
assert set(losses) == {(layer, side) for layer in range(LAYERS) for side in "kv"}
checked = 0
for bits, gain in itertools.product((0.55, 0.6, 0.8, 0.95, 1.1, 1.23, 1.3), ("k", "kv")):
    fitting = []
    for picks in itertools.product(allocate.MENU["k"], allocate.MENU["v"], repeat=LAYERS):
        plan = [Recipe(k, v, "pre", gain, policy="none", budget_permille=0, window=0) for k, v in zip(picks[::2], picks[1::2])]
        if sum(recipe.held_bits(128, 4096, 4096, 0) for recipe in plan) / LAYERS <= bits:
            fitting.append(sum(losses[i // 2, "kv"[i % 2]][codec] for i, codec in enumerate(picks)))
    plan = allocate.plan(records, bits, LAYERS, gain)
    assert (plan is None) == (not fitting), (bits, gain)
    if plan:
        recipes = [Recipe.parse(one) for one in plan]
        assert all(recipe.gain == gain for recipe in recipes)
        assert sum(recipe.held_bits(128, 4096, 4096, 0) for recipe in recipes) / LAYERS <= bits
        found = sum(losses[layer, side][getattr(recipe, side)] for layer, recipe in enumerate(recipes) for side in "kv")
        assert abs(found - min(fitting)) < 1e-9, (bits, gain, found, min(fitting))
        checked += 1
assert checked >= 10
assert allocate.plan(records[1:], 1.23, LAYERS) is None  # a record is missing
with_gain = lambda gain, **more: [Recipe.parse(one).held_bits(64, 4096, 4096, 40) for one in allocate.plan(records, 1.0, LAYERS, gain, head_dim=64, **more)]
assert sum(with_gain("k", axes={"policy": "column", "budget_permille": 10})) / LAYERS <= 1.0, "anchors count"
assert allocate.single(LAYERS, 1, "v", "8c8b", "k")[1]["gain"] == "none" and allocate.single(LAYERS, 1, "k", "8c8b", "k")[1]["gain"] == "k"
assert allocate.fast(128) == allocate.LOOKED_UP and allocate.fast(64) == {"k": ("4c8b", "8c8b"), "v": ("4c8bq8", "8c8bq8")}
print("plans are the best there are")
