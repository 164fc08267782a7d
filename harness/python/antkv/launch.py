"""Launches of kernels on torch tensors: from tensors to structs, on the current stream. ops.py says what the ops are."""

import functools
import threading
from typing import Any, Dict, Mapping, Optional

import torch

from .bind import View, bind
from .errors import ArgumentError
from .library import Bound, Kernel, Library
from .shape import shape_of

_ELEMENTS = {
    torch.float16: "f16", torch.bfloat16: "bf16", torch.float32: "float", torch.float64: "double",
    torch.uint8: "uint8_t", torch.int8: "int8_t", torch.int16: "int16_t", torch.int32: "int32_t", torch.int64: "int64_t",
    **{getattr(torch, name): f"{name}_t" for name in ("uint16", "uint32") if hasattr(torch, name)},
}  # fmt: skip

_folder: Optional[str] = None
_MOST_BOUND = 4096  # launches that are remembered; prompts of many lengths would make them grow
_bound: Dict[tuple, Bound] = {}


def use(folder: str) -> None:
    """Takes kernels from `folder` from here on; without it, from antkv.folder.default_folder(). Kernels that are loaded stay loaded: graphs may hold them."""
    global _folder
    _folder = folder
    _library.cache_clear()
    _bound.clear()


@functools.lru_cache(maxsize=None)
def _library(device: int) -> Library:
    torch.cuda.init()  # so that the context is there that the library takes: torch's, the primary one
    torch.zeros(1, device=f"cuda:{device}")
    return Library(_folder, device)


def library(device: torch.device) -> Library:
    """The library of a CUDA device, opened once. Raises ArgumentError for other devices."""
    if device.type != "cuda":
        raise ArgumentError(f"tensors are on {device}, not on a CUDA device; move them with to()")
    return _library(torch.cuda.current_device() if device.index is None else device.index)


class _Counters:
    """Words that are zero before a launch and after it. A launch that is captured has words of its own, so that graphs may run side by side; others share those of their stream."""

    ARENA = 1 << 20  # words; a launch takes some hundred

    def __init__(self):
        self._of: Dict[Any, torch.Tensor] = {}
        self._arena: Dict[torch.device, tuple] = {}
        self._lock = threading.Lock()

    def get(self, device: torch.device, stream: int, words: int) -> torch.Tensor:
        with self._lock:
            if torch.cuda.is_current_stream_capturing():
                return self._own(device, words)
            if device not in self._arena:  # for captures to come: zeros that a capture makes itself cost a memset at every replay
                self._arena[device] = (torch.zeros(self.ARENA, dtype=torch.int32, device=device), 0)
                torch.cuda.current_stream(device).synchronize()
            kept = self._of.get((device, stream))
            if kept is None or kept.numel() < words:
                kept = self._of[device, stream] = torch.zeros(words, dtype=torch.int32, device=device)
            return kept[:words]

    def _own(self, device: torch.device, words: int) -> torch.Tensor:
        arena, used = self._arena.get(device, (None, 0))
        if arena is None or used + words > arena.numel():
            return torch.zeros(words, dtype=torch.int32, device=device)
        self._arena[device] = (arena, used + -(-words // 64) * 64)  # 256 bytes: pointers stay aligned
        return arena[used : used + words]


counters = _Counters()


def view(op: str, name: str, tensor: torch.Tensor, device: torch.device) -> View:
    """A tensor as bind wants it. Raises ArgumentError if it lies elsewhere than `device`."""
    if tensor.device != device or device.type != "cuda":
        raise ArgumentError(f"{op}: {name} is on {tensor.device}, not on {device if device.type == 'cuda' else 'a CUDA device'}; move it with to()")
    if tensor.dtype not in _ELEMENTS:
        raise ArgumentError(f"{op}: {name} is {tensor.dtype}; convert it")
    size = tensor.element_size()
    return View(tensor.data_ptr(), tuple(tensor.shape), tuple(size * stride for stride in tensor.stride()), _ELEMENTS[tensor.dtype], size)


def run(op: str, contract: str, arguments: Mapping[str, Any], kernel: Optional[Kernel] = None) -> None:
    """Launches `contract` on the current stream. arguments: fields of the op's struct, tensors and numbers, the same for every call of an op and kernel; None is null.
    Everything but pointers is checked once for equal shapes, strides, dtypes, devices and numbers: a step of every layer asks the same again."""
    tensors, key = [], [contract, kernel]
    for value in arguments.values():
        if isinstance(value, torch.Tensor):
            tensors.append(value)
            key += (value.shape, value.stride(), value.dtype, value.device)
        else:
            key.append(value)
    pointers = [tensor.data_ptr() for tensor in tensors]
    key = tuple(key)
    bound = _bound.get(key)
    if bound is None or 0 in pointers:  # of an empty tensor
        bound = _bind(op, contract, arguments, kernel)
        if len(_bound) >= _MOST_BOUND:
            _bound.clear()
        _bound[key] = bound
    bound.launch(pointers, torch.cuda.current_stream(tensors[0].device).cuda_stream)


def _bind(op: str, contract: str, arguments: Mapping[str, Any], kernel: Optional[Kernel]) -> Bound:
    arrays = {name: value for name, value in arguments.items() if isinstance(value, torch.Tensor)}
    numbers = {name: int(value) if isinstance(value, bool) else value for name, value in arguments.items() if name not in arrays and value is not None}
    device = next(iter(arrays.values())).device
    views = {name: view(op, name, tensor, device) for name, tensor in arrays.items()}
    opened = library(device)
    row = opened.folder.contract(contract)
    if row["op"] != op:
        raise ArgumentError(f"{op}: contract {contract} is one of {row['op']}")
    params = bind(opened.folder.params, op, row, views, numbers)
    return Bound(kernel or opened.get(contract, shape_of(op, params)), params, arrays)
