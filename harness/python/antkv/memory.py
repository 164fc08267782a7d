"""Arrays on the device without torch: for programs that have none, and for tests."""

import contextlib
import ctypes
import math
from array import array
from typing import Any, Optional, Sequence

from .bind import View
from .errors import ArgumentError, whole
from .library import Library

# C's name -> array's type code, bytes
_ELEMENTS = {
    "int8_t": ("b", 1), "uint8_t": ("B", 1), "int16_t": ("h", 2), "uint16_t": ("H", 2), "int32_t": ("i", 4), "uint32_t": ("I", 4), "int64_t": ("q", 8), "uint64_t": ("Q", 8),
    "half": ("H", 2), "bf16": ("H", 2), "float": ("f", 4), "double": ("d", 8),
}  # fmt: skip


class DeviceArray:
    """`shape` elements of a C type, in C order. data: what it starts with, as many bytes in any buffer; None: zeros. Freed with the object, by whatever thread.
    Raises ArgumentError, DriverError where the device has no room."""

    pointer = 0

    def __init__(self, library: Library, shape: Sequence[int], element: str, data: Optional[Any] = None):
        if element not in _ELEMENTS:
            raise ArgumentError(f'DeviceArray: element is "{element}"; it is one of {", ".join(_ELEMENTS)}')
        self.library, self.shape, self.element = library, tuple(whole(f"DeviceArray: shape[{axis}]", length) for axis, length in enumerate(shape)), element
        if min(self.shape, default=0) < 0:
            raise ArgumentError(f"DeviceArray: shape is {list(self.shape)}; lengths are 0 or more")
        size = _ELEMENTS[element][1]
        self.strides = tuple(size * math.prod(self.shape[axis + 1 :]) for axis in range(len(self.shape)))
        self.bytes = size * math.prod(self.shape)
        given = None if data is None else self._whole(data)
        pointer = ctypes.c_uint64()
        with library.context:
            library.driver.call("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(max(16, self.bytes)), what=f"{self.bytes} bytes")
        self.pointer = pointer.value
        self._copy(bytes(self.bytes) if given is None else given)

    def _whole(self, data: Any) -> bytes:
        try:
            found = memoryview(data).tobytes()
        except TypeError:
            raise ArgumentError(f"DeviceArray: data is of {type(data).__name__}; give a buffer, such as bytes or an array") from None
        if len(found) != self.bytes:
            raise ArgumentError(f"DeviceArray: data has {len(found)} bytes; {list(self.shape)} of {self.element} has {self.bytes}")
        return found

    def write(self, data: Any) -> None:
        """All of its bytes anew, from any buffer. Raises ArgumentError if `data` has fewer or more."""
        self._copy(self._whole(data))

    def _copy(self, data: bytes) -> None:
        with self.library.context:
            self.library.driver.call("cuMemcpyHtoD_v2", ctypes.c_uint64(self.pointer), data, ctypes.c_size_t(self.bytes))

    def read(self) -> bytes:
        """The bytes, once all work of the default stream is done."""
        out = ctypes.create_string_buffer(max(1, self.bytes))
        with self.library.context:
            self.library.driver.call("cuMemcpyDtoH_v2", out, ctypes.c_uint64(self.pointer), ctypes.c_size_t(self.bytes))
        return out.raw[: self.bytes]

    def numbers(self) -> array:
        """The elements; halves and bf16 as their bits."""
        return array(_ELEMENTS[self.element][0], self.read())

    @property
    def view(self) -> View:
        return View(self.pointer, self.shape, self.strides, "f16" if self.element == "half" else self.element, _ELEMENTS[self.element][1])

    def __del__(self):
        if self.pointer:
            with contextlib.suppress(Exception):  # of a context that is lost, or a process that ends
                with self.library.context:  # the thread that lets go of it may have none
                    self.library.driver.lib.cuMemFree_v2(ctypes.c_uint64(self.pointer))
