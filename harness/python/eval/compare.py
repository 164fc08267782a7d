"""Perplexity by the real kernels beside that of their simulation: one JSON record per run, with the options of `python3 -m eval`; kernels come from $ANTKV_FOLDER or the repository.

    python3 -m eval.compare --model DIR --calibration calib.npy --validation val.npy --runs eval/kernels.jsonl --out ppl-kernels.jsonl

Kernels are right where both of these hold. Else, or where a run fails, the exit code is 5.
- Each layer's output is within 0.4 % (L2) of the simulation's on the same fp16 rows: the bound of `gen verify`. Nothing adds up here, so this holds for every recipe.
- The perplexity is within 0.3 % of the simulation's. Where rounding rows to fp16 moves the simulation itself by more than a third of that (rounding.py says why it does for
  recipes that leave little of the model), within three times as much as it does; such records say so by a `limit` above 0.003.
"""

import json
import sys
import time

from . import protocol
from .__main__ import lists, options, recorded, talk
from .kernels import Kernels
from .lab import Lab, Run
from .model import Model
from .protocol import read_ids
from .rounding import Beside, spread

LIMIT = 3e-3  # of the perplexity, relative
LAYER_LIMIT = 4e-3  # of a layer's output, relative L2


def compared(lab, run):
    """The record of one run: what lab.measure says of the simulation, and the kernels' perplexity in its place."""
    record = lab.measure(run)
    simulated, model = lab.attention(run)  # its codebooks are kept from the line above
    perplexity_of = lambda attention: protocol.perplexity(model, attention, lab.texts[run.on])
    begin = time.time()
    kernels = Beside(Kernels(model.rope, simulated.plan, simulated.books, simulated.rule), simulated, model.rope)
    found, seconds = perplexity_of(kernels), round(time.time() - begin, 2)
    moved = spread(perplexity_of, simulated, model.rope, model.device)
    off, layers = found / record["perplexity"] - 1, [kernels.errors[layer] for layer in sorted(kernels.errors)]
    return {**record, "perplexity": found, "increase": found - record["exact"], "simulation": record["perplexity"], "off": off, "rounding_spread": moved, "limit": max(LIMIT, 3 * moved),
            "layer_errors": layers, "kernel_seconds": seconds, "source": "kernels"}  # fmt: skip


def right(record):
    return abs(record["off"]) <= record["limit"] and max(record["layer_errors"]) <= LAYER_LIMIT


def told(record):
    wrong = "" if right(record) else "WRONG "
    return (f"{wrong}{record['run']['name']:44} {record['perplexity']:8.4f} simulated {record['simulation']:8.4f} ({100 * record['off']:+.2f} %, at most {100 * record['limit']:.2f} %; "
            f"layers {max(record['layer_errors']):.1e})  {record['held_bits']:.4f} bits held  {record['kernel_seconds']:.1f} s")  # fmt: skip


def main():
    args, begin = options(), time.time()
    lab = Lab(Model.load(args.model, args.config, args.device), read_ids(args.calibration), read_ids(args.validation), talk)
    records, wrong = recorded(args.out), 0
    for spec in [spec for _, runs in lists(args, records) for spec in runs]:
        if any(record["run"]["name"] == spec["name"] for record in records) or (args.only and args.only not in spec["name"]):
            continue
        if time.time() - begin > args.limit:
            talk(f"out of time before: {spec['name']}")
            break
        try:
            record = compared(lab, Run.parse(spec))
        except Exception as error:  # the other runs go on
            wrong += 1
            talk(f"FAILED {spec['name']}: {type(error).__name__}: {str(error)[:600]}")
            continue
        wrong += not right(record)
        talk(told(record))
        if args.out:
            with open(args.out, "a") as file:
                file.write(json.dumps(record) + "\n")
        else:
            print(json.dumps(record), flush=True)
    return 5 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
