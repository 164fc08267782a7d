"""Reads the codebook files in argv as antkv.read_codebooks does; prints one JSON object for each: what layer 7 holds, or the refusal. See ops.test.ts."""

import json
import sys

from antkv import AntkvError, read_codebooks

for path in sys.argv[1:]:
    try:
        book = read_codebooks(path)[7]["v"]
        print(json.dumps({"codec": book.codec, "basis": None if book.basis is None else [matrix.hex() for matrix in book.basis]}))
    except AntkvError as error:
        print(json.dumps({"refused": str(error)}))
