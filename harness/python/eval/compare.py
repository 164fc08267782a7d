"""Perplexity by the real kernels beside that of their simulation: one JSON record per run, with the options of `python3 -m eval`.

    python3 -m eval.compare --model DIR --calibration calib.npy --validation val.npy --runs FILE --out ppl-kernels.jsonl [--folder generated]

Exit code 5 if a run of kernels is off its simulation by more than 0.3 %, or failed.
"""

import json
import sys
import time

from antkv import ops

from . import protocol
from .__main__ import options, recorded, specs
from .kernels import Kernels
from .lab import Lab, Run
from .model import Model
from .protocol import read_ids

LIMIT = 3e-3  # relative, of the perplexity


def compared(lab, run):
    """The record of one run: what lab.measure says of the simulation, and the kernels' perplexity in its place."""
    record = lab.measure(run)
    simulated, model = lab.attention(run)  # its codebooks are kept from the line above
    begin = time.time()
    found = protocol.perplexity(model, Kernels(model.rope, simulated.plan, simulated.books, simulated.rule), lab.texts[run.on])
    off = found / record["perplexity"] - 1
    exact = record["exact"]
    return {**record, "perplexity": found, "increase": found - exact, "simulation": record["perplexity"], "off": off, "kernel_seconds": round(time.time() - begin, 2), "source": "kernels"}


def main():
    folder = None
    if "--folder" in sys.argv:
        at = sys.argv.index("--folder")
        folder = sys.argv[at + 1]
        del sys.argv[at : at + 2]
    args, begin = options(), time.time()
    if folder:
        ops.use(folder)
    talk = lambda text: print(text, file=sys.stderr, flush=True)
    lab = Lab(Model.load(args.model, args.config, args.device), read_ids(args.calibration), read_ids(args.validation), talk)
    done, wrong = recorded(args.out), 0
    for spec in specs(args):
        if spec["name"] in done or (args.only and args.only not in spec["name"]):
            continue
        if time.time() - begin > args.limit:
            talk(f"out of time before: {spec['name']}")
            break
        try:
            record = compared(lab, Run.parse(spec))
        except Exception as error:  # the other runs go on
            wrong += 1
            talk(f"{spec['name']:44} FAILED {type(error).__name__}: {str(error)[:600]}")
            continue
        wrong += not abs(record["off"]) <= LIMIT
        seconds = f"{record['codebook_seconds']:.1f} + {record['seconds']:.1f} + {record['kernel_seconds']:.1f} s"
        talk(f"{spec['name']:44} {record['perplexity']:8.4f} simulated {record['simulation']:8.4f} ({100 * record['off']:+.2f} %)  {record['bits']:.4f} bits, {record['held_bits']:.4f} held  {seconds}")
        if args.out:
            with open(args.out, "a") as file:
                file.write(json.dumps(record) + "\n")
        else:
            print(json.dumps(record), flush=True)
    return 5 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
