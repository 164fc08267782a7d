"""Safetensors files, read and written without the package: a header of JSON, then raw little-endian bytes."""

import json
import math
import os
import struct
from pathlib import Path

import torch

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I8": torch.int8, "I32": torch.int32, "I64": torch.int64}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def read(path):
    """(tensors by name, metadata by key) of one file. Raises ValueError on a file that is cut short, or a type that is not known here."""
    data = Path(path).read_bytes()
    (size,) = struct.unpack("<Q", data[:8].ljust(8, b"\xff"))
    if len(data) < 8 + size:
        raise ValueError(f"{path}: the file has {len(data)} bytes, less than its header; copy or download it again")
    header = json.loads(data[8 : 8 + size])
    metadata = header.pop("__metadata__", {})
    body = bytearray(data[8 + size :])  # writable, as torch.frombuffer wants it
    wanted = max((info["data_offsets"][1] for info in header.values()), default=0)
    if len(body) < wanted:
        raise ValueError(f"{path}: the header asks for {wanted} bytes of tensors, the file has {len(body)}; copy or download it again")
    tensors = {}
    for name, info in header.items():
        if info["dtype"] not in DTYPES:
            raise ValueError(f'{path}: tensor "{name}" is {info["dtype"]}; known: {", ".join(DTYPES)}')
        begin, end = info["data_offsets"]
        flat = torch.frombuffer(body, dtype=DTYPES[info["dtype"]], count=math.prod(info["shape"]), offset=begin) if end > begin else torch.empty(0, dtype=DTYPES[info["dtype"]])
        tensors[name] = flat.reshape(info["shape"])
    return tensors, metadata


def write(path, tensors, metadata):
    """Writes CPU or GPU tensors in the order given; metadata are strings. The header is padded so that tensors lie on 8 bytes. The file appears when it is whole."""
    header, offset = {"__metadata__": dict(metadata)}, 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    part = f"{path}.{os.getpid()}.tmp"
    with open(part, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    os.replace(part, path)
