"""A codebook file for one model and recipe, the best that is known here: k-means of a recording, in a basis of values where the recipe has one, then centroids moved by gradient.

    python3 -m eval.codebooks --model DIR --calibration ids.npy --preset antkv-1 --out codebooks.safetensors

`gen calibrate` makes such files of a dump alone. This needs the model itself, a GPU for a minute or two, and 110,000 token ids, of which the last 40,000 are kept back (lab.py).
Readers of the file are the same: antkv.Cache, the loaders, `gen`, and eval.fold, which takes the basis into the model's weights.
"""

import argparse
import sys
from dataclasses import replace

import torch

from . import calibrate
from .lab import Lab, Run
from .methods import RING, START, TUNING
from .model import Model
from .protocol import read_ids


def made(lab, run, path):
    """Writes the codebooks of a run whose plan is one recipe for all layers; run.tuning None: those of k-means. Raises ValueError where recipe or text do not allow it."""
    recipe = run.plan[0]
    if run.key_scale or run.gain_bits != 16 or run.basis != ("metric" if recipe.transform == "basis" else "none"):
        raise ValueError("a codebook file has no place for scales of keys, narrow gains, or a basis that its recipe lacks")
    run = replace(run, plan=(recipe,) * lab.model.config.layers, rule="flush")  # the one rule that every recipe has
    attention, model = lab.attention(run)
    sides = {side: None if attention.books[0][i] is None else torch.stack([pair[i] for pair in attention.books]) for i, side in enumerate("kv")}
    calibrate.write(path, recipe, sides, lab.recorded(run, model), run.method, lab.model, lab.bases(run))


def options(argv):
    p = argparse.ArgumentParser(prog="eval.codebooks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True, help="folder of safetensors files with the names of LLaMA checkpoints")
    p.add_argument("--config", help="the model's shape as JSON (default: config.json there, or the files' metadata)")
    p.add_argument("--calibration", required=True, help=".npy of token ids")
    p.add_argument("--preset", required=True)
    p.add_argument("--set", action="append", default=[], metavar="AXIS=VALUE", help="changes the preset")
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
        run = Run.parse({"name": args.preset, "preset": args.preset, "set": axes, "method": START, "tuning": tuning})
        ids = read_ids(args.calibration)
        lab = Lab(Model.load(args.model, args.config, args.device), ids, ids, lambda text: print(text, file=sys.stderr, flush=True))  # perplexity is not measured here
        made(lab, run, args.out)
    except (OSError, ValueError, TypeError) as error:
        print(f"eval.codebooks: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
