"""Tests what harness/python/antkv says of broken files: generated folders, codebooks. Needs no driver. Run by core.test.ts, which names a folder that is whole."""

import json
import os
import shutil
import struct
import sys
import tempfile
import unittest

from antkv import AntkvError, FolderError, pack_codebook, read_codebooks, read_recipe
from antkv.folder import Folder

FIX = "give the folder that `gen` wrote, or that of an unpacked release"


def text_of(name):
    with open(os.path.join(WHOLE, name)) as file:
        return file.read()


class Temporary(unittest.TestCase):
    def setUp(self):
        self.at = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.at)


class Folders(Temporary):
    def test_a_broken_folder_is_refused(self):
        manifest = json.loads(text_of("manifest.json"))
        without = lambda key: json.dumps({name: value for name, value in manifest.items() if name != key})
        cut = lambda name, share: text_of(name)[: int(share * len(text_of(name)))]
        cases = [("manifest.json", "[]", "manifest of schema none, this package reads 1"), ("manifest.json", "{", FIX)]
        cases += [("manifest.json", without(key), f"manifest.json has no {key}; {FIX}") for key in ("abi", "layout", "contracts", "kernels", "recipes")]
        cases += [(name, cut(name, share), f"{name}.*; {FIX}") for name in ("antkv_params.py", "antkv_tables.py") for share in (0, 0.2, 0.5, 0.9)]
        cases += [("antkv_tables.py", text_of("antkv_tables.py").replace("TABLES_VERSION = 2", "TABLES_VERSION = 9"), "tables of version 9, this package reads 2")]
        for i, (name, text, why) in enumerate(cases):
            folder = shutil.copytree(WHOLE, os.path.join(self.at, str(i)), ignore=shutil.ignore_patterns("sm*"))
            Folder(folder)
            with open(os.path.join(folder, name), "w") as file:
                file.write(text)
            with self.assertRaisesRegex(FolderError, why, msg=f"{name}, {len(text)} characters"):
                Folder(folder)

    def test_tables_and_manifest_of_different_runs(self):
        folder = Folder(WHOLE)
        with self.assertRaisesRegex(FolderError, "antkv_tables.py names antkv_other, which manifest.json has not: generate it again"):
            folder.kernel("antkv_other")


def codebook(shape=(1, 8, 256, 8), dtype="F16", size=2):
    count = size
    for length in shape:
        count *= length
    return dtype, list(shape), bytes(count)


class Codebooks(Temporary):
    def write(self, tensors, metadata=None, header=None, end=None):
        rows, data = {"__metadata__": metadata or {}}, b""
        for name, (dtype, shape, part) in tensors.items():
            rows[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(part)]}
            data += part
        text = json.dumps(rows if header is None else header).encode()
        path = os.path.join(self.at, "file")
        with open(path, "wb") as file:
            file.write((struct.pack("<Q", len(text)) + text + data)[:end])
        return path

    def test_a_broken_file_is_refused(self):
        good = {"layers.0.k": codebook(), "layers.0.v": codebook()}
        self.assertEqual({side: book.codec for side, book in read_codebooks(self.write(good))[0].items()}, {"k": "8c8b", "v": "8c8b"})
        whole = lambda scale: {"layers.0.k": codebook(dtype="I8", size=1), "layers.0.k.scale": scale}
        read_codebooks(self.write(whole(("F32", [1, 64], bytes(256)))))
        row = {"dtype": "F16", "shape": [1, 8, 256, 8], "data_offsets": [0, 32768]}
        for why, path in (
            ("give a safetensors file", lambda: self.write(good, end=5)), ("give a safetensors file", lambda: self.write(good, end=100)), ("its header is no object", lambda: self.write(good, header=[])),
            ("layers.0.v.*the file has .* bytes of data; copy the file again", lambda: self.write(good, end=60000)),
            *((r"layers.0.k.*copy the file again", lambda wrong=wrong: self.write(good, header={"layers.0.k": wrong})) for wrong in (
                7, {}, {**row, "dtype": 1}, {**row, "shape": "x"}, {**row, "shape": [1, -8, 256, 8]}, {**row, "shape": [1.5]}, {**row, "data_offsets": [0]}, {**row, "data_offsets": [9, 3]}, {**row, "data_offsets": [0, 99999999]})),
            ("is F8_E4M3, which is not read here; it is one of F16", lambda: self.write({"layers.0.k": codebook(dtype="F8_E4M3", size=1)})),
            (r"is F32 \[1, 8, 256, 8\]; a codebook is .*F16 or I8", lambda: self.write({"layers.0.k": codebook(dtype="F32", size=4)})),
            ("names no layer; it is layers.N.k", lambda: self.write({"layers.x.k": codebook()})), ("no tensor is called", lambda: self.write({"other": codebook()})),
            *((r'"layers.0.k": a codebook of shape .*power of two of entries', lambda shape=shape: self.write({"layers.0.k": codebook(shape)})) for shape in ((1, 8, 255, 8), (1, 8, 1, 8), (1, 8, 0, 8), (0, 8, 256, 8))),
            *((r'"layers.0.k.scale" is .*; a scale is F32 \[kv_heads, head_dim\], \[1, 64\] here', lambda scale=scale: self.write(whole(scale))) for scale in (
                ("F16", [1, 128], bytes(256)), ("F64", [1, 32], bytes(256)), ("F32", [64], bytes(256)), ("F32", [2, 32], bytes(256)))),
            ("its recipe is no JSON", lambda: self.write(good, {"recipe": "{"})), ("its recipe is no JSON", lambda: self.write(good, {"recipe": 7})), ('its recipe is "antkv-1", not the members', lambda: self.write(good, {"recipe": '"antkv-1"'})),
        ):  # fmt: skip
            with self.assertRaisesRegex(AntkvError, why):
                read_codebooks(path())
        with self.assertRaisesRegex(AntkvError, "no recipe is in its metadata"):
            read_recipe(self.write(good))

    def test_entries_and_scales_that_do_not_fit_their_shape(self):
        shape = (2, 2, 4, 4)
        pack_codebook(bytes(128), shape), pack_codebook(bytes(64), shape, bytes(64))
        for why, arguments in (
            ("has 128 bytes of entries, not 64", (bytes(64), shape)), ("has 64 bytes of entries, not 128", (bytes(128), shape, bytes(64))), ("has 64 bytes of scales, not 32", (bytes(64), shape, bytes(32))),
            ("with a power of two of entries", (bytes(96), (2, 2, 3, 4))), (r"a codebook of shape \[2, 4, 4\]", (bytes(64), (2, 4, 4))),
        ):  # fmt: skip
            with self.assertRaisesRegex(AntkvError, why):
                pack_codebook(*arguments)


if __name__ == "__main__":
    WHOLE = sys.argv.pop(1)
    unittest.main()
