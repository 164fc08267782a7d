"""The CUDA driver through ctypes: the calls that loading and launching need. No CUDA toolkit, no torch."""

import ctypes
import os
from typing import Optional

from .errors import DeviceError, DriverError

_BUSY = "the device is not ready, or another process has it for itself: nvidia-smi says; with NVSwitch nvidia-fabricmanager has to run"
_VERSIONS = "libcuda.so.1 and the kernel's driver are of different versions: restart after an update of the driver, or take a compat folder off LD_LIBRARY_PATH"
_BROKEN = "the file is no image of a kernel, or cut off: build it again (npx gen), or copy it anew"
_OLD = "the driver is older than the nvcc that wrote the PTX: update it, or build with an older toolkit (gen doctor)"
_LOST = "an earlier kernel of this context failed, and the context is lost: start a new process"
# By CUresult, as antkv_load.h has them.
_HINTS = {
    2: "the device's memory is full: free some, nvidia-smi says who holds it",
    34: "this is the stub library of a CUDA toolkit: take its stubs folder off LD_LIBRARY_PATH, the driver brings the real libcuda.so.1",
    **dict.fromkeys((46, 802), _BUSY),
    100: "no GPU is visible: nvidia-smi lists them; CUDA_VISIBLE_DEVICES may hide all, and a container needs --gpus",
    **dict.fromkeys((803, 804), _VERSIONS),
    999: "is the kernel's driver loaded, and are there /dev/nvidia* (nvidia-smi)?",
    **dict.fromkeys((200, 300), _BROKEN),
    301: "the driver cannot read the file: is it a file, and readable?",
    209: "the file has no code for this device: build it again with the PTX (gen does)",
    **dict.fromkeys((218, 222), _OLD),
    500: "the file is of another release than manifest.json: build it again (npx gen), or copy it anew",
    701: "a block of this device has not the registers or shared memory that the kernel takes: is its file of the build that manifest.json is of? Build it again (npx gen)",
    709: "the context was destroyed, by a reset of the device maybe, while the library used it: open the library again",
    **dict.fromkeys((700, 702, 710, 714, 715, 716, 717, 718, 719), _LOST),
}

# Attributes of cuDeviceGetAttribute, in the order of antkv_table.Device behind the architecture.
_MULTIPROCESSORS, _SHARED_PER_BLOCK, _L2_BYTES, _BUS_BITS, _MEMORY_KHZ = 16, 97, 38, 37, 36
_MAJOR, _MINOR = 75, 76


class Driver:
    """libcuda, initialised. `path`: another driver library, such as the emulated one; else $ANTKV_LIBCUDA, else libcuda.so.1. Raises DeviceError where there is none, or it has no device."""

    def __init__(self, path: Optional[str] = None):
        self.path = path or os.environ.get("ANTKV_LIBCUDA") or "libcuda.so.1"
        try:
            self.lib = ctypes.CDLL(self.path)
        except OSError as error:
            raise DeviceError(f"no CUDA driver: {error}; install one, or point ANTKV_LIBCUDA to a libcuda.so.1") from None
        try:  # the emulated driver's: it knows which thread did what
            self._report = self.lib.antkv_emu_last_report
            self._report.restype = ctypes.c_char_p
        except AttributeError:
            self._report = None
        try:
            self.call("cuInit", ctypes.c_uint(0))
        except DriverError as error:
            raise DeviceError(f"{self.path}: {error}") from None

    def call(self, name: str, *arguments, what: str = "") -> None:
        """Calls function `name`. Raises DriverError, with `what` it was about, unless it returns 0."""
        try:
            function = getattr(self.lib, name)
        except AttributeError:
            raise DeviceError(f"{self.path} has no {name}: not a CUDA driver of version 11 or newer; update it, or unset ANTKV_LIBCUDA") from None
        code = function(*arguments)
        if code:
            raise DriverError(self._words(code, name, what), code)

    def _words(self, code: int, name: str, what: str) -> str:
        texts = []
        for ask in ("cuGetErrorName", "cuGetErrorString"):
            text = ctypes.c_char_p()
            getattr(self.lib, ask)(code, ctypes.byref(text))
            texts.append((text.value or b"unknown error").decode())
        hint = (self._report().decode() if self._report else "") or _HINTS.get(code)
        return f"{name}({what}): {texts[0]} ({code}, {texts[1]})" + (f"; {hint}" if hint else "")

    def device(self, ordinal: int) -> int:
        """The handle of a device. Raises DeviceError if there is none."""
        handle = ctypes.c_int()
        if self.lib.cuDeviceGet(ctypes.byref(handle), ordinal):
            raise DeviceError(f"no CUDA device {ordinal}: nvidia-smi lists them; CUDA_VISIBLE_DEVICES may hide some")
        return handle.value

    def attribute(self, number: int, device: int) -> int:
        value = ctypes.c_int()
        self.call("cuDeviceGetAttribute", ctypes.byref(value), number, device, what=str(number))
        return value.value

    def identity(self, device: int) -> tuple:
        """The numbers of antkv_table.Device."""
        ask = lambda number: self.attribute(number, device)
        memory_mhz = max(1, ask(_MEMORY_KHZ) // 1000)  # cut off; 1 if the driver says none: as tables have it
        return (10 * ask(_MAJOR) + ask(_MINOR), ask(_MULTIPROCESSORS), ask(_SHARED_PER_BLOCK), ask(_L2_BYTES), ask(_BUS_BITS), memory_mhz)


class Context:
    """The calling thread's context if it is one of the device, else the device's primary one, which the CUDA runtime and torch use.
    `with context:` makes it current. It is never released: torch and other libraries of the process may hold it."""

    def __init__(self, driver: Driver, device: int):
        self.driver, self.device = driver, device
        current, owner = ctypes.c_void_p(), ctypes.c_int(-1)
        driver.call("cuCtxGetCurrent", ctypes.byref(current))
        if current.value and driver.lib.cuCtxGetDevice(ctypes.byref(owner)) == 0 and owner.value == device:
            self.handle = current
            return
        self.handle = ctypes.c_void_p()
        driver.call("cuDevicePrimaryCtxRetain", ctypes.byref(self.handle), device)
        if not current.value:
            driver.call("cuCtxSetCurrent", self.handle)

    def __enter__(self) -> "Context":
        self.driver.call("cuCtxPushCurrent_v2", self.handle)
        return self

    def __exit__(self, *_) -> None:
        self.driver.lib.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))
