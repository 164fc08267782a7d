"""One decode step from Python, without torch: loads a kernel by its contract, runs it on the packed cache in a file, and compares with the fp64 answer there.

    PYTHONPATH=harness/python python3 harness/examples/python/decode.py generated test/fixtures/decode-antkv-1.bin

A third argument fixes the number of splits. Exit code 0: right; 1: more than 4e-3 off."""

import math
import struct
import sys

from antkv import DeviceArray, Library, Shape, bind

HEAD = "d q_heads kv_heads page_size max_pages pages max_anchor_pages anchor_pages ring_rows coded_len kv_len rotary_dim k_bytes v_bytes page anchor".split()


def main(folder: str, fixture: str, splits: int = 0) -> int:
    data = open(fixture, "rb").read()
    f = dict(zip(HEAD, struct.unpack_from("<16i", data)))
    heads, d, rows = f["q_heads"], f["d"], f["ring_rows"]
    library = Library(folder)
    decode = library.get("antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain", Shape(1, heads, f["kv_heads"], f["kv_len"], splits=splits))  # preset antkv-1

    at = 64  # test/fixtures/make-decode.ts wrote the arrays, each padded to 16 bytes
    def take(shape, element, size):
        nonlocal at
        start, count = at, math.prod(shape) * size
        at += -(-count // 16) * 16
        return DeviceArray(library, shape, element, data[start : start + count])

    arrays = {"q": take([1, heads, d], "half", 2)}
    arrays["k_codebook"], arrays["v_codebook"] = take([1, f["k_bytes"]], "uint8_t", 1), take([1, f["v_bytes"]], "uint8_t", 1)
    arrays["inv_freq"], arrays["block_table"] = take([f["rotary_dim"] // 2], "float", 4), take([1, f["max_pages"]], "int32_t", 4)
    arrays["pages"], arrays["anchor_table"] = take([f["pages"], 1, f["page"]], "uint8_t", 1), take([1, f["max_anchor_pages"]], "int32_t", 4)
    arrays["anchors"] = take([f["anchor_pages"], 1, f["anchor"]], "uint8_t", 1)
    arrays["ring_k"], arrays["ring_v"] = take([1, 1, rows, d], "half", 2), take([1, 1, rows, d], "half", 2)
    arrays["coded_len"], arrays["kv_len"] = take([1], "int32_t", 4), take([1], "int32_t", 4)
    want = struct.unpack_from(f"<{heads * d}d", data, at)

    arrays["out"] = DeviceArray(library, [1, heads, d], "half")
    if decode.splits > 1:
        o, lse, counters = ([decode.splits, 1, heads, d], [decode.splits, 1, heads], [decode.workspace().counters // 4])
        arrays["partial_o"], arrays["partial_lse"] = DeviceArray(library, o, "float"), DeviceArray(library, lse, "float")
        arrays["counters"] = DeviceArray(library, [1, *counters], "uint32_t")  # zeros, once: every launch leaves them so
    numbers = {"page_size": f["page_size"], "segments": 7, "splits": decode.splits, "spread": int(decode.spread), "max_q_len": 1, "scale": d**-0.5, "attention_factor": 1.0}
    views = {name: array.view for name, array in arrays.items()}
    decode.launch(bind(library.folder.params, "decode", library.folder.contract(decode.contract), views, numbers))

    got = struct.unpack(f"<{heads * d}e", arrays["out"].read())
    error = math.dist(got, want) / math.hypot(*want)
    print(f"{decode.symbol}, {decode.splits} splits: relative error {error:.2e}")
    return not error <= 4e-3


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3], *map(int, sys.argv[3:4])))
