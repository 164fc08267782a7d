"""Calibrates a tiny model and writes its codebook file to argv[1]; prints recipe hash and the centroids of layer 1 as the simulation reads them. See eval.test.ts."""

import json
import sys

import tiny
from eval import calibrate
from eval.recipe import Recipe

model = tiny.tiny(tiny.Config(**{**tiny.CONFIG.__dict__, "head_dim": 64, "theta": 500000.0}))
recording = calibrate.record(model, tiny.ids(4, 128))
recipe = Recipe("8c8b", "8c8bq8", key="pre", gain="k")
method = calibrate.Method(iterations=2)
sides = {side: calibrate.codebooks(recording, side, getattr(recipe, side), recipe.key, method) for side in "kv"}
calibrate.write(sys.argv[1], (recipe, recipe), list(zip(*sides.values())), recording, method, model)
print(json.dumps({"hash": recipe.hash(), "inv_freq": model.rope.inv_freq.tolist(), **{side: book[1].flatten(0, 1).flatten().tolist() for side, book in sides.items()}}))
