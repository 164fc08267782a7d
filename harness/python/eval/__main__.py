"""Measures perplexity under recipes; one JSON record per run on stdout or in --out, where runs that stand there already are skipped.

    python3 -m eval --model DIR --calibration calib.npy --validation val.npy --suite measured --out ppl.jsonl
    python3 -m eval ... --preset antkv-1 --set window=32 --rule flush          one recipe
    python3 -m eval ... --runs FILE                                             JSON lines as lab.py's Run.parse takes them
"""

import argparse
import json
import sys
import time
from pathlib import Path

import torch

from .lab import Lab, Run
from .model import Model
from .protocol import read_ids
from .suites import SUITES


def options():
    p = argparse.ArgumentParser(prog="eval", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True, help="folder of safetensors files with the names of LLaMA checkpoints")
    p.add_argument("--config", help="the model's shape as JSON (default: config.json there, or the files' metadata)")
    p.add_argument("--calibration", required=True, help=".npy of token ids that codebooks are made from; the last 40,000 are the search set")
    p.add_argument("--validation", required=True, help=".npy of token ids that perplexity is measured on")
    p.add_argument("--suite", action="append", choices=sorted(SUITES), default=[], help="a list of runs (suites.py)")
    p.add_argument("--runs", help="file of runs, JSON lines")
    p.add_argument("--preset", help="one preset")
    p.add_argument("--set", action="append", default=[], metavar="AXIS=VALUE", help="changes the preset")
    p.add_argument("--rule", default="flush", choices=("flush", "newest"), help="with --preset: which tokens are exact (simulate.py)")
    p.add_argument("--only", help="runs whose name holds this")
    p.add_argument("--out", help="file that records are appended to")
    p.add_argument("--limit", type=float, default=float("inf"), metavar="SECONDS", help="begin no run later than this, but those of suite confirm")
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return p.parse_args()


def lists(args, records):
    """(name of the list, runs as JSON) of what was asked for; `records` grows while they are measured, and lists may look at it."""
    yield from ((suite, SUITES[suite](records)) for suite in args.suite)
    if args.runs:
        yield args.runs, (json.loads(line) for line in Path(args.runs).read_text().splitlines() if line.strip())
    if args.preset:
        axes = {name: int(value) if value.isdigit() else value for name, value in (word.split("=", 1) for word in args.set)}
        yield args.preset, [{"name": " ".join([args.preset, *args.set]), "preset": args.preset, "set": axes, "rule": args.rule}]


def recorded(path):
    """The records of a file; none if there is no file. A last line that a killed run left torn is taken out of the file, so that the next record stands on its own."""
    text = Path(path).read_text() if path and Path(path).exists() else ""
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        Path(path).write_text(whole)
    return [json.loads(line) for line in whole.splitlines() if line.strip()]


def talk(text):
    print(text, file=sys.stderr, flush=True)


def measure(lab, spec, out):
    """The record of one run, written; None if it failed, with the reason on stderr."""
    try:
        record = lab.measure(Run.parse(spec))
    except (ValueError, TypeError, RuntimeError) as error:  # RuntimeError: out of memory, too
        return talk(f"failed: {spec['name']}: {error}")
    talk(f"{record['run']['name']:44} {record['perplexity']:8.4f}  {record['held_bits']:.4f} bits held  {record['codebook_seconds']:.1f} + {record['seconds']:.1f} s")
    if out:
        with open(out, "a") as file:
            file.write(json.dumps(record) + "\n")
    else:
        print(json.dumps(record), flush=True)
    return record


def main():
    args, begin = options(), time.time()
    try:
        lab = Lab(Model.load(args.model, args.config, args.device), read_ids(args.calibration), read_ids(args.validation), talk)
        records, failed = recorded(args.out), 0
    except (OSError, ValueError) as error:  # a path, a file cut short, a config without what is needed
        talk(f"eval: {error}")
        return 2
    for name, runs in lists(args, records):
        for spec in runs:
            if any(record["run"]["name"] == spec["name"] for record in records) or (args.only and args.only not in spec["name"]):
                continue
            if time.time() - begin > args.limit and name != "confirm":  # what that confirms has its codebooks by now
                talk(f"out of time before: {spec['name']}")
                break
            record = measure(lab, spec, args.out)
            if record is None:
                failed += 1
            else:
                records.append(record)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
