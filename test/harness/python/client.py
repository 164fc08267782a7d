"""Answers requests on stdin through harness/python/antkv, one JSON object per line in and out; the environment names driver and folder.

    {"open": folder, "device": 0}                          -> {}
    {"get": contract, "shape": {...}}                      -> kernel, splits, workspace, quality, regret, spread, merge
    {"grid": contract, "params": {...}}                    -> grid
    {"shape": contract, "params": {...}}                   -> what the tables are asked for such a launch
    {"bind": contract, "arrays": {name: [element, shape, strides]}, "numbers": {...}} -> fields that are not 0
    {"bound": contract, "arrays", "numbers": as for bind, "at": [pointer per array]} -> the same fields of a launch that was bound before
    {"pack": codec shape, "entries": hex, "scale": hex}    -> hex

A refusal is {"error": class, "text": ...}."""

import json
import sys

from antkv import AntkvError, Library, Shape, View, bind, pack_codebook
from antkv.library import Bound
from antkv.shape import shape_of

SIZES = {"double": 8, "uint64_t": 8, "f16": 2, "float": 4, "int32_t": 4, "uint32_t": 4, "uint8_t": 1, "int64_t": 8}
state = {}


def open_(folder, device=0):
    state["library"] = Library(folder, device)
    return {}


def get(contract, shape=None):
    kernel = state["library"].get(contract, Shape(**shape) if shape else None)
    return {
        "kernel": kernel.symbol, "splits": kernel.splits, "workspace": list(kernel.workspace()) if kernel.op == "decode" else [], "quality": kernel.quality,
        "regret": -1 if kernel.regret is None else kernel.regret, "spread": int(kernel.spread), "merge": kernel.merge,
    }  # fmt: skip


def grid(contract, params):
    kernel = state["library"].get(contract, Shape(1, 32, 8, 4096))
    return {"grid": kernel.grid(kernel.params(**params))}


def shape(contract, params):
    folder = state["library"].folder
    op = folder.contract(contract)["op"]
    found = shape_of(op, folder.params.PARAMS[op](**params))
    return {"shape": found and {name: getattr(found, name) for name in ("batch", "q_heads", "kv_heads", "max_tokens")}}


def bind_(contract, arrays, numbers):
    return shown(bound_struct(contract, arrays, numbers))


def shown(struct):
    return {name: getattr(struct, name) for name, _ in struct._fields_ if getattr(struct, name)}


def bound(contract, arrays, numbers, at):
    """Launched, then bound to the pointers `at`."""
    launch = Bound(state["library"].get(contract, Shape(3, 32, 8, 4096, splits=1)), bound_struct(contract, arrays, numbers), arrays)
    launch.launch(at)
    return shown(launch.params(at))


def bound_struct(contract, arrays, numbers):
    library = state["library"]
    row = library.folder.contract(contract)
    views = {}
    for i, (name, array) in enumerate(arrays.items()):
        element, shape, *strides = array
        size = SIZES[element]
        tight = [size]
        for length in reversed(shape[1:]):
            tight.insert(0, tight[0] * length)
        views[name] = View(4096 * (i + 1), tuple(shape), tuple(strides[0] if strides else tight), element, size)
    return bind(library.folder.params, row["op"], row, views, numbers)


def pack(shape, entries, scale=None):
    return {"hex": pack_codebook(bytes.fromhex(entries), tuple(shape), None if scale is None else bytes.fromhex(scale)).hex()}


VERBS = {"open": open_, "get": get, "grid": grid, "shape": shape, "bind": bind_, "bound": bound, "pack": pack}

for line in sys.stdin:
    request = json.loads(line)
    verb = next(iter(request))
    try:
        answer = VERBS[verb](request.pop(verb), **request)
    except (AntkvError, TypeError) as error:
        answer = {"error": type(error).__name__, "text": str(error)}
    print(json.dumps(answer), flush=True)
