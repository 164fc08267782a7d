"""Codebook files, and the layout in which kernels read a codebook. The Python twin of generator/pack.ts and antkv_pack_codebook; standard library only."""

import json
import math
import mmap
import struct
from array import array
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Tuple

from .errors import AntkvError

CODEBOOK_VERSION = 3  # of files, as generator/versions.ts has it; those before it are read too
_BYTES = {"F16": 2, "BF16": 2, "F32": 4, "I8": 1, "U8": 1, "I16": 2, "I32": 4, "I64": 8, "F64": 8, "U16": 2}


class Safetensors:
    """A file of tensors, mapped. Raises AntkvError if it is none, or says of its tensors what cannot be."""

    def __init__(self, path: str):
        self.path = path
        try:
            with open(path, "rb") as file:
                self.bytes = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            size = struct.unpack_from("<Q", self.bytes)[0]
            header = json.loads(bytes(self.bytes[8 : 8 + size]))
            if not isinstance(header, dict):
                raise ValueError("its header is no object")
        except (OSError, ValueError, struct.error) as error:
            raise AntkvError(f"{path}: {error}; give a safetensors file") from None
        metadata = header.pop("__metadata__", {})
        self.metadata: Mapping[str, str] = metadata if isinstance(metadata, dict) else {}
        self.tensors: Mapping[str, dict] = header
        self._data = self.bytes[8 + size :]
        for name, row in header.items():
            if not _is_tensor(row, len(self._data)):
                raise AntkvError(f'{path}: of tensor "{name}" the header says {json.dumps(row)[:200]}, the file has {len(self._data)} bytes of data; copy the file again')

    def read(self, name: str) -> Tuple[str, Tuple[int, ...], memoryview]:
        """dtype, shape and bytes of a tensor. Raises AntkvError if the file has none of that name, or one that is not read here."""
        if name not in self.tensors:
            raise AntkvError(f'{self.path}: no tensor "{name}"; it has {", ".join(sorted(self.tensors)[:12])} ...')
        row = self.tensors[name]
        dtype, shape, (begin, end) = row["dtype"], tuple(row["shape"]), row["data_offsets"]
        if dtype not in _BYTES:
            raise AntkvError(f'{self.path}: tensor "{name}" is {dtype}, which is not read here; it is one of {", ".join(_BYTES)}')
        if end - begin != math.prod(shape) * _BYTES[dtype]:
            raise AntkvError(f'{self.path}: tensor "{name}" has {end - begin} bytes for {dtype} {list(shape)}; copy the file again')
        return dtype, shape, self._data[begin:end]


def _is_tensor(row: Any, size: int) -> bool:
    """An entry of a header, of a file with `size` bytes of data."""
    counts = lambda value: isinstance(value, list) and all(type(one) is int and one >= 0 for one in value)
    if not (isinstance(row, dict) and isinstance(row.get("dtype"), str) and counts(row.get("shape")) and counts(row.get("data_offsets"))):
        return False
    return len(row["data_offsets"]) == 2 and row["data_offsets"][0] <= row["data_offsets"][1] <= size


@dataclass(frozen=True)
class PackedCodebook:
    """One side of a layer, ready for the device."""

    codec: str
    kv_heads: int
    head_dim: int
    data: Any  # [kv_heads] blobs of equal size: bytes, or a torch tensor [kv_heads, bytes] uint8 (codebooks.pack_tensor)
    basis: Optional[Tuple[Any, Any]] = None  # of values: (T, T^-1), each [kv_heads, d, d] fp32, bytes or tensors; the codes are of T v (CACHE.md, "Basis of values")


def _check_shape(shape: Tuple[int, ...]) -> None:
    if len(shape) not in (4, 5) or min(shape) < 1 or shape[-2] < 2 or shape[-2] & (shape[-2] - 1):
        raise AntkvError(f"a codebook of shape {list(shape)}; it is [kv_heads, chunks, entries, channels], or [kv_heads, chunks, stages, entries, channels], with a power of two of entries; calibrate it again")


def codec_of(shape: Tuple[int, ...], q8: bool) -> str:
    """The name of the codec whose codebooks have these axes: [kv_heads, chunks, entries, channels], with the stages behind the chunks where there are several. Raises AntkvError for a shape that no codec has."""
    _check_shape(shape)
    bits = f"{shape[-2].bit_length() - 1}b"
    return f"{shape[-1]}c{bits * (shape[2] if len(shape) > 4 else 1)}{'q8' if q8 else ''}"


def pack_codebook(entries: bytes, shape: Tuple[int, ...], scale: Optional[bytes] = None) -> bytes:
    """The packed codebook: per head its entries, the scales (q8), and half the squared norm of the centroid that each code means.

    entries: [kv_heads, chunks, entries, channels], or [kv_heads, chunks, stages, entries, channels], f16, or int8 with `scale` [kv_heads, head_dim] f32; little endian. Norms are summed in double in channel order and
    rounded once, so that every language gets equal bits. Raises AntkvError where shape and bytes do not fit each other."""
    _check_shape(shape)
    heads, chunks, (count, channels), stages = shape[0], shape[1], shape[-2:], shape[2] if len(shape) > 4 else 1
    elements, q8 = chunks * stages * count * channels, scale is not None
    size = elements * (1 if q8 else 2)
    parts = [("entries", entries, heads * size), *([("scales", scale, heads * chunks * channels * 4)] if q8 else [])]
    for what, data, want in parts:
        if len(data) != want:
            raise AntkvError(f"a codebook of shape {list(shape)} has {want} bytes of {what}, not {len(data)}; calibrate it again")
    out = bytearray()
    for head in range(heads):
        mine = bytes(entries[head * size : (head + 1) * size])
        values = struct.unpack(f"<{elements}{'b' if q8 else 'e'}", mine)
        steps = b"" if not q8 else bytes(scale[head * chunks * channels * 4 : (head + 1) * chunks * channels * 4])
        out += mine + steps + _half_norms(values, struct.unpack(f"<{len(steps) // 4}f", steps), chunks, stages, count, channels)
    return bytes(out)


def _half(x: float) -> float:
    """x, which must be a half: a sum of stages."""
    try:
        if struct.unpack("<e", struct.pack("<e", x))[0] == x:
            return x
    except OverflowError:
        pass
    raise AntkvError(f"a codebook has stages that add up to {x}, which is no half; calibrate it again")


def _half_norms(values, scales, chunks: int, stages: int, count: int, channels: int) -> bytes:
    norms = array("f")
    for row in range(chunks * count**stages):
        chunk, code = divmod(row, count**stages)
        centroid = None
        for stage in range(stages):  # the first has the lowest part of a code; sums are exact
            at = ((chunk * stages + stage) * count + code // count**stage % count) * channels
            more = values[at : at + channels]
            centroid = more if centroid is None else [a + b if scales else _half(a + b) for a, b in zip(centroid, more)]
        if scales:
            centroid = array("f", (value * step for value, step in zip(centroid, scales[chunk * channels : (chunk + 1) * channels])))  # stored as fp32: rounded once
        total = 0.0
        for value in centroid:
            total += value * value
        norms.append(0.5 * total)
    return struct.pack(f"<{len(norms)}f", *norms)


def _scale(file: Safetensors, name: str, heads: int, dim: int) -> bytes:
    """Steps of a codebook of whole numbers. Raises AntkvError where they are none."""
    dtype, shape, data = file.read(name)
    if dtype != "F32" or shape != (heads, dim):
        raise AntkvError(f'{file.path}: tensor "{name}" is {dtype} {list(shape)}; a scale is F32 [kv_heads, head_dim], {[heads, dim]} here')
    return bytes(data)


def _basis(file: Safetensors, name: str, heads: int, dim: int) -> Tuple[bytes, bytes]:
    """T and T^-1 of one layer's values. Raises AntkvError where shapes do not fit, or one does not undo the other: a vector is sent there and back."""
    read = []
    for which in (f"{name}.basis", f"{name}.basis_inverse"):
        dtype, shape, data = file.read(which)
        if dtype != "F32" or shape != (heads, dim, dim):
            raise AntkvError(f'{file.path}: tensor "{which}" is {dtype} {shape}; a basis is F32 [kv_heads, head_dim, head_dim], {heads, dim, dim} here')
        read.append(bytes(data))
    probe = [math.cos(i * i + 1) for i in range(dim)]
    for head in range(heads):
        x = probe
        for data in read:
            rows = struct.unpack_from(f"<{dim * dim}f", data, head * dim * dim * 4)
            x = [sum(a * b for a, b in zip(rows[i * dim : (i + 1) * dim], x)) for i in range(dim)]
        if not math.dist(x, probe) < 1e-2 * math.hypot(*probe):
            raise AntkvError(f'{file.path}: tensor "{name}.basis_inverse", KV head {head}, does not undo the basis; write both from one calibration, rows first')
    return read[0], read[1]


def _recipe(file: Safetensors) -> Any:
    """The recipe that a codebook file is for, or the list of those of its layers. Raises AntkvError on a file of a later version, which may hold what would have to be undone."""
    version = file.metadata.get("version", "1")
    if version not in map(str, range(1, CODEBOOK_VERSION + 1)):
        raise AntkvError(f"{file.path}: a codebook file of version {version}, this package reads 1 to {CODEBOOK_VERSION}; take the package that belongs to the program that wrote it")
    try:
        recipe = json.loads(file.metadata.get("recipes") or file.metadata.get("recipe", "{}"))
    except (TypeError, ValueError) as error:
        raise AntkvError(f"{file.path}: its recipe is no JSON ({error}); calibrate again") from None
    for one in recipe if isinstance(recipe, list) else [recipe]:
        if not isinstance(one, dict):
            raise AntkvError(f"{file.path}: its recipe is {json.dumps(one)}, not the members of one; calibrate again")
        if one.get("transform", "none") not in ("none", "basis"):
            raise AntkvError(f'{file.path}: transform "{one["transform"]}" is not known here; it is none or basis')
    return recipe


def read_recipe(path: str) -> Any:
    """What the codebooks of a file are for, as Cache takes it: the members of a recipe, or a list of those of each layer. Raises AntkvError."""
    recipe = _recipe(Safetensors(path))
    if not recipe:
        raise AntkvError(f"{path}: no recipe is in its metadata; give a file of `gen calibrate`")
    return recipe


def _of_layer(recipe: Any, layer: int, path: str) -> Mapping[str, Any]:
    if not isinstance(recipe, list):
        return recipe
    if layer >= len(recipe):
        raise AntkvError(f"{path}: a codebook of layer {layer}, and recipes for {len(recipe)} layers; calibrate again")
    return recipe[layer]


def read_codebooks(path: str) -> Dict[int, Dict[str, PackedCodebook]]:
    """The codebooks of a file of `gen calibrate`, packed: layer -> "k" and "v" (an exact side is missing), values with their basis. Raises AntkvError."""
    file = Safetensors(path)
    recipe = _recipe(file)
    layers: Dict[int, Dict[str, PackedCodebook]] = {}
    for name in file.tensors:
        parts = name.split(".")
        if len(parts) != 3 or parts[0] != "layers" or parts[2] not in ("k", "v"):
            continue
        if not parts[1].isdecimal():
            raise AntkvError(f'{path}: tensor "{name}" names no layer; it is layers.N.{parts[2]}, N from 0')
        dtype, shape, data = file.read(name)
        if len(shape) not in (4, 5) or dtype not in ("F16", "I8"):
            raise AntkvError(f'{path}: tensor "{name}" is {dtype} {list(shape)}; a codebook is [kv_heads, chunks, entries, channels], or [kv_heads, chunks, stages, entries, channels], F16 or I8')
        heads, dim, layer = shape[0], shape[1] * shape[-1], int(parts[1])
        scale = _scale(file, f"{name}.scale", heads, dim) if dtype == "I8" else None
        try:
            codec, packed = codec_of(shape, scale is not None), pack_codebook(bytes(data), shape, scale)
        except AntkvError as error:
            raise AntkvError(f'{path}: tensor "{name}": {error}') from None
        basis = _basis(file, name, heads, dim) if parts[2] == "v" and _of_layer(recipe, layer, path).get("transform") == "basis" else None
        layers.setdefault(layer, {})[parts[2]] = PackedCodebook(codec, heads, dim, packed, basis)
    if not layers:
        raise AntkvError(f"{path}: no tensor is called layers.N.k or layers.N.v; calibrate again: gen calibrate DUMP --out FILE")
    return layers
