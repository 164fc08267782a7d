"""Attention over vector-quantised KV caches, from Python: kernels by contract, through the CUDA driver.

    from antkv import Library, Shape                  # needs no torch
    from antkv import ops                             # torch.ops.antkv.*: encode, append, decode, combine, score, select, unpack, kmeans
    from antkv.cache import Cache                     # a paged cache of all layers: prefill, step, attend

`Library` opens a generated folder (gen wrote it, or a release) and loads, checks and launches its kernels; `ops` does so for torch tensors, on the current
stream, safe to capture and to compile; `Cache` keeps pages, anchors, windows and tables as generator/CACHE.md has them."""

from .bind import View, bind
from .errors import AntkvError, ArgumentError, ContractError, DeviceError, DriverError, FolderError
from .library import Kernel, Library, Workspace
from .memory import DeviceArray
from .pack import pack_codebook, read_codebooks, read_recipe
from .shape import Shape

__all__ = [
    "AntkvError", "ArgumentError", "ContractError", "DeviceArray", "DeviceError", "DriverError", "FolderError", "Kernel", "Library", "Shape", "View", "Workspace",
    "bind", "pack_codebook", "read_codebooks", "read_recipe",
]  # fmt: skip
