"""A codebook file for one model and recipe, the best that is known here: k-means of a recording, in a basis of values where the recipe has one, then centroids moved by gradient.

    python3 -m eval.codebooks --model DIR --calibration ids.npy --preset antkv-1 --out codebooks.safetensors
    python3 -m eval.codebooks --model DIR --calibration ids.npy --budget 1.13 --out codebooks.safetensors       codecs by layer

With --budget what each side of each layer loses under each codec is measured on text that is kept back, and the best plan below that many bits per element is taken (allocate.py);
the window is not counted. Unless --keys and --values say otherwise it is of codecs with fast kernels. --plan takes recipes by layer as
they are. Such files say which recipe each layer has (antkv.read_recipe), and `npx gen --recipe FILE --out DIR` writes their kernels.

`gen calibrate` makes such files of a dump alone. This needs the model itself, a GPU for a minute or two, and 110,000 token ids, of which the last 40,000 are kept back (lab.py).
Readers of the file are the same: antkv.Cache, the loaders, `gen`, and eval.fold, which takes the basis into the model's weights.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

from . import allocate, calibrate
from .lab import Lab, Run
from .methods import RING, START, TUNING
from .model import Model
from .protocol import read_ids


KEPT = {"gain": "k", "transform": "basis", "window": 128, "selection": "online"}  # of plans below a budget: the gain that kernels have, and a cache's window


def made(lab, run, path):
    """Writes the codebooks of a run; run.tuning None: those of k-means. Raises ValueError where recipes or text do not allow it."""
    layers = lab.model.config.layers
    if run.key_scale or run.gain_bits != 16 or {run.basis} != {"metric" if recipe.transform == "basis" else "none" for recipe in run.plan}:
        raise ValueError("a codebook file has no place for scales of keys, narrow gains, or a basis that its recipe lacks")
    if len(run.plan) not in (1, layers):
        raise ValueError(f"recipes for {len(run.plan)} layers, the model has {layers}")
    run = replace(run, plan=run.plan if len(run.plan) == layers else run.plan * layers, rule="flush")  # the one rule that every recipe has
    attention, model = lab.attention(run)
    calibrate.write(path, run.plan, attention.books, lab.recorded(run, model), run.method, lab.model, lab.bases(run))


def planned(lab, bits, axes, menu=None, method=START):
    """Recipes by layer, as JSON, of at most `bits` per element without the window, of codecs that `menu` has by side, else of fast ones. Raises ValueError where no plan is that small."""
    c, axes, records = lab.model.config, {**KEPT, **axes}, []
    menu = {**allocate.fast(c.head_dim), **(menu or {})}
    for side in "kv":
        for codec in menu[side]:
            for layer in range(c.layers):
                run = {"name": allocate.single_name(layer, side, codec), "plan": allocate.single(c.layers, layer, side, codec, axes["gain"]), "method": method, "on": "search"}
                records.append(lab.measure(Run.parse(run)))
    plan = allocate.plan(records, bits, c.layers, axes.pop("gain"), menu, c.head_dim, axes)
    if plan is None:
        words = " and ".join(f"{', '.join(menu[side])} for {side}" for side in "kv")
        raise ValueError(f"no plan has {bits} bits per element or less with {words}; gains, bitmaps and anchors count; --keys and --values name other codecs")
    for layer, recipe in enumerate(plan):
        lab.log(f"layer {layer}: k {recipe['k']}, v {recipe['v']}")
    return plan


def options(argv):
    p = argparse.ArgumentParser(prog="eval.codebooks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True, help="folder of safetensors files with the names of LLaMA checkpoints")
    p.add_argument("--config", help="the model's shape as JSON (default: config.json there, or the files' metadata)")
    p.add_argument("--calibration", required=True, help=".npy of token ids")
    what = p.add_mutually_exclusive_group(required=True)
    what.add_argument("--preset", help="one recipe for all layers")
    what.add_argument("--budget", type=float, metavar="BITS", help="codecs by layer: codes, gains, bitmaps and anchors of at most so many bits per element")
    what.add_argument("--plan", metavar="FILE", help="JSON list of recipes, one per layer")
    for option, side in (("keys", "k"), ("values", "v")):
        p.add_argument(f"--{option}", metavar="CODECS", type=lambda words: tuple(words.split(",")), help=f"what --budget chooses from (default: {', '.join(allocate.LOOKED_UP[side])}, if they leave eight codes a token)")
    p.add_argument("--set", action="append", default=[], metavar="AXIS=VALUE", help="changes the preset, or all recipes of a plan")
    p.add_argument("--steps", type=int, default=TUNING["steps"], help="of gradient; 0: k-means alone")
    p.add_argument("--every-token", action="store_true", help="tune for caches without a window; else the recipe's window is exact while tuning")
    p.add_argument("--out", required=True)
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return p.parse_args(argv)


def axis(word):
    """`window=64` as a name and a value. Raises ValueError."""
    name, equals, value = word.partition("=")
    if not equals:
        raise ValueError(f"--set takes AXIS=VALUE, not {word}, for example --set window=64")
    return name, int(value) if value.isdigit() else value


def main(argv=None):
    args = options(argv)
    tuning = {**(TUNING if args.every_token else RING), "steps": args.steps} if args.steps else None
    try:
        axes = dict(axis(word) for word in args.set)
        recipe = {"preset": args.preset} if args.preset else {"plan": json.loads(Path(args.plan).read_text())} if args.plan else None
        run = lambda which: Run.parse({"name": args.out, **which, "set": axes, "method": START, "tuning": tuning})
        if recipe:
            run(recipe)  # refused before the model is read
        ids = read_ids(args.calibration)
        lab = Lab(Model.load(args.model, args.config, args.device), ids, ids, lambda text: print(text, file=sys.stderr, flush=True))  # no text is kept for validation
        made(lab, run(recipe or {"plan": planned(lab, args.budget, axes, {side: menu for side, menu in (("k", args.keys), ("v", args.values)) if menu})}), args.out)
    except (OSError, ValueError, TypeError) as error:
        print(f"eval.codebooks: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
