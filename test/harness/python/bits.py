"""Prints what recipe.py says of every preset, one JSON object a line; needs no torch. See eval.test.ts."""

import json

from eval.recipe import Recipe, preset_names


def refused(call):
    try:
        call()
    except ValueError as error:
        return str(error)


for name in preset_names():
    recipe = Recipe.named(name)
    for head_dim in (64, 128):
        for tokens in (100, 4096, 32768, 131072):
            held = recipe.held_bits(head_dim, tokens, tokens // 2 if recipe.coded else 0, 7 if recipe.coded else 0)
            print(json.dumps({"name": name, "head_dim": head_dim, "tokens": tokens, "bits": recipe.bits(head_dim, tokens), "held": held}))
    print(json.dumps({"name": name, "hash": recipe.hash(), "codebook_bytes": recipe.codebook_bytes(128)}))
print(json.dumps({"refused": [refused(lambda: Recipe.parse({"k": "8c8b", "v": "8c8b", "windwo": 1})), refused(lambda: Recipe.named("antkv-9")), refused(lambda: Recipe("8x8", "8c8b").bits(128))]}))
