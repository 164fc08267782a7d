"""Arrays on the device without torch: for programs that have none, and for tests."""

import ctypes
from array import array
from typing import Sequence, Union

from .bind import View
from .library import Library

_ELEMENTS = {"uint8_t": ("B", 1), "int32_t": ("i", 4), "uint32_t": ("I", 4), "float": ("f", 4), "half": ("H", 2), "uint16_t": ("H", 2), "double": ("d", 8)}


class DeviceArray:
    """`shape` elements of a C type, in C order. data: bytes that it starts with; None: it starts as zeros. Freed with the object."""

    def __init__(self, library: Library, shape: Sequence[int], element: str, data: Union[bytes, bytearray, memoryview, None] = None):
        self.library, self.shape, self.element = library, tuple(shape), element
        self.pointer = 0
        size = _ELEMENTS[element][1]
        self.strides = tuple(size * _product(self.shape[axis + 1 :]) for axis in range(len(self.shape)))
        self.bytes = size * _product(self.shape)
        if data is not None and len(data) != self.bytes:
            raise ValueError(f"{len(data)} bytes for {self.bytes} of {element} {list(shape)}")
        pointer = ctypes.c_uint64()
        with library.context:
            library.driver.call("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(max(16, self.bytes)), what=f"{self.bytes} bytes")
        self.pointer = pointer.value
        self.write(bytes(self.bytes) if data is None else data)

    def write(self, data) -> None:
        with self.library.context:
            self.library.driver.call("cuMemcpyHtoD_v2", ctypes.c_uint64(self.pointer), bytes(data), ctypes.c_size_t(self.bytes))

    def read(self) -> bytes:
        """The bytes, once all work of the default stream is done."""
        out = ctypes.create_string_buffer(max(1, self.bytes))
        with self.library.context:
            self.library.driver.call("cuMemcpyDtoH_v2", out, ctypes.c_uint64(self.pointer), ctypes.c_size_t(self.bytes))
        return out.raw[: self.bytes]

    def numbers(self) -> array:
        """The elements; halves as their bits."""
        return array(_ELEMENTS[self.element][0], self.read())

    @property
    def view(self) -> View:
        return View(self.pointer, self.shape, self.strides, "f16" if self.element == "half" else self.element, _ELEMENTS[self.element][1])

    def __del__(self):
        if self.pointer:
            self.library.driver.lib.cuMemFree_v2(ctypes.c_uint64(self.pointer))


def _product(sizes) -> int:
    result = 1
    for size in sizes:
        result *= size
    return result
