"""What harness/python/antkv takes of torch, by numpy, on memory of the emulated driver: so that the cache and its ops run, unchanged, where torch is not. No GPU, no graphs, no
autograd. "cuda" is the emulated device, which the host reads and writes like its own memory; a launch is done when its call returns."""

import ctypes
import os
import types

import numpy

from . import library

float16, float32, float64 = (numpy.dtype(name) for name in ("float16", "float32", "float64"))
uint8, int8, int16, int32, int64 = (numpy.dtype(name) for name in ("uint8", "int8", "int16", "int32", "int64"))
uint16, uint32 = numpy.dtype("uint16"), numpy.dtype("uint32")
bool = numpy.dtype("bool")
dtype = numpy.dtype
bfloat16 = numpy.dtype("V2")  # numpy has none: two bytes, which are moved and not counted with
contiguous_format, inf, __version__ = None, numpy.inf, "stand-in"

_driver = ctypes.CDLL(os.environ["ANTKV_LIBCUDA"])
_context = ctypes.c_void_p()
_driver.cuInit(0), _driver.cuDevicePrimaryCtxRetain(ctypes.byref(_context), 0), _driver.cuCtxSetCurrent(_context)


class device:  # noqa: N801
    def __init__(self, name="cuda", index=0):
        self.type, self.index = "cuda", 0

    def __eq__(self, other):
        return isinstance(other, device)

    def __hash__(self):
        return 0


class Tensor(numpy.ndarray):
    device = device()

    def data_ptr(self):
        return self.ctypes.data if self.size else 0

    def stride(self):
        return tuple(step // self.itemsize for step in self.strides)

    def element_size(self):
        return self.itemsize

    def numel(self):
        return self.size

    def dim(self):
        return self.ndim

    def contiguous(self):
        return _on_device(self)

    def clone(self):
        return _on_device(self)

    def t(self):
        return self.T

    def double(self):
        return self.astype(float64)

    def expand(self, *shape):
        return numpy.broadcast_to(self, shape, subok=True)

    def view(self, *shape):
        return numpy.ndarray.view(self, *shape) if shape and not isinstance(shape[0], int) else self.reshape(shape)

    def fill_(self, value):
        self[...] = value

    def to(self, *_):
        return self

    def __mul__(self, other):
        return _on_device(numpy.multiply(self, other))


def _on_device(values):
    made = empty(values.shape, dtype=values.dtype)
    made[...] = values
    return made


def empty(*shape, dtype=float32, device=None):
    shape = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    count = int(numpy.prod(shape)) * dtype.itemsize
    pointer = ctypes.c_uint64()
    if count and _driver.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(count)):
        raise MemoryError(f"{count} bytes")
    memory = (ctypes.c_uint8 * count).from_address(pointer.value) if count else bytearray()
    return numpy.frombuffer(memory, dtype=dtype).reshape(shape).view(Tensor)


def full(shape, value, dtype=float32, device=None):
    made = empty(shape, dtype=dtype)
    made[...] = value
    return made


def zeros(shape, dtype=float32, device=None):
    made = empty(shape, dtype=dtype)
    numpy.ndarray.view(made, numpy.uint8)[...] = 0
    return made


def tensor(values, dtype=None, device=None):
    return _on_device(numpy.asarray(values, dtype=dtype))


def arange(*limits, dtype=int64, device=None):
    return _on_device(numpy.arange(*limits, dtype=dtype))


def frombuffer(data, dtype):
    return tensor(numpy.frombuffer(data, dtype=dtype))


cuda = types.SimpleNamespace(
    init=lambda: None, current_device=lambda: 0, is_current_stream_capturing=lambda: False,
    current_stream=lambda device=None: types.SimpleNamespace(cuda_stream=0, synchronize=lambda: None),
)  # fmt: skip
compiler = types.SimpleNamespace(is_compiling=lambda: False)
