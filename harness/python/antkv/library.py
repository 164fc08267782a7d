"""Finds, loads and launches kernels by contract."""

import ctypes
import os
import threading
from dataclasses import dataclass
from typing import Any, Mapping, NamedTuple, Optional, Sequence

from antkv_table import Answer, Device, default, find

from .bind import fill
from .driver import Context, Driver
from .errors import ArgumentError, DeviceError, DriverError, FolderError
from .folder import Folder
from .rules import MAX_GRID, check_rules
from .shape import Shape, choose_splits

_THREADS_ATTRIBUTE, _DYNAMIC_SHARED_ATTRIBUTE = 0, 8  # of cuFuncGetAttribute, cuFuncSetAttribute
_MOST_CHOSEN = 4096  # answers that are remembered; prompts of many lengths would make them grow
_SHARED_WITHOUT_ASKING = 48 * 1024  # CUDA C++ Programming Guide, "Shared Memory"


class Workspace(NamedTuple):
    """Bytes that decode's splits need, all multiples of 256; 0 where nothing is split. The counters are zero before the first launch, every launch leaves them so."""

    partial_o: int
    partial_lse: int
    counters: int


@dataclass(frozen=True, eq=False)  # one object is one choice: equality by identity
class Kernel:
    """A loaded kernel; valid as long as its library."""

    library: "Library"
    contract: str
    op: str
    symbol: str
    function: ctypes.c_void_p
    threads: int
    shared_bytes: int
    needs: frozenset  # words of antkv_params.Array.need
    columns: int  # query rows x query heads per KV head of a block; decode only
    tokens: int  # of a step of a block, 0 for ops without
    warps: int
    head_dim: int
    shape: Optional[Shape]
    splits: int  # 1: nothing to merge
    spread: bool
    merge: str  # none, last or combine: who merges fastest; with counters the last CTA does in any case
    quality: str  # of antkv_table.QUALITIES: how far choice and splits can be trusted
    regret: Optional[int]  # expected loss against the best that is known, in thousandths

    def params(self, **fields):
        """The parameter struct of the op, with the fields given, and 0 or null in all others. Raises ArgumentError for what is no field, or does not fit one."""
        return fill(self.library.folder.params.PARAMS[self.op], self.op, fields)

    def workspace(self) -> Workspace:
        """What decode with these splits needs. Raises ArgumentError for other ops."""
        if self.op != "decode" or self.shape is None:
            raise ArgumentError(f"{self.op}: only decode has a workspace")
        if self.splits == 1:
            return Workspace(0, 0, 0)
        columns = self.splits * self.shape.all_rows * self.shape.q_heads
        whole = lambda count: -(-count // 256) * 256
        return Workspace(whole(4 * columns * self.head_dim), whole(4 * columns), whole(4 * self.shape.batch * self.shape.lines(self.columns)))

    def grid(self, params) -> tuple:
        """x, y, z of a launch with `params`. Raises ArgumentError where check does, or there is no such grid."""
        self.check(params)
        grid = self.library.folder.params.GRIDS[self.op](params, self)
        if not all(1 <= side <= most for side, most in zip(grid, (2**31 - 1, MAX_GRID, MAX_GRID))):
            raise ArgumentError(f"{self.op}: the grid would be {grid}; antkv.h says which fields it comes from")
        return grid

    def check(self, params) -> None:
        """Raises ArgumentError for a null pointer that is needed, for pointers and byte strides that are no multiples of 16, and for numbers that are out of range or contradict each other."""
        module = self.library.folder.params
        if not isinstance(params, module.PARAMS[self.op]) or (params.struct_size, params.abi_version) != (ctypes.sizeof(params), module.ABI_VERSION):
            raise ArgumentError(f"{self.op}: params is a {type(params).__name__}, or of another ABI version; make it with Kernel.params")
        for name, array in module.ARRAYS[self.op].items():
            value = getattr(params, name) or 0
            if not value and array.need in self.needs:
                raise ArgumentError(f"{self.op}: {name} is missing; antkv.h says what it points to")
            if value % 16:
                raise ArgumentError(misaligned(self.op, name, value))
        for name, kind in params._fields_:
            if kind is ctypes.c_int64 and getattr(params, name) % 16:
                raise ArgumentError(f"{self.op}: {name} is {getattr(params, name)} bytes; pad to a multiple of 16")
        check_rules(self.op, params, self.library.folder.contract(self.contract))

    def launch(self, params, stream: int = 0) -> None:
        """Checks `params` and launches on `stream` (a CUstream or cudaStream_t as a number; 0: the default stream). No allocation, no synchronisation: safe to capture.
        What device memory holds (lengths, page numbers, anchor lists) is the caller's. Raises ArgumentError where check does, DriverError."""
        self.enqueue(params, self.grid(params), stream)

    def enqueue(self, params, grid: tuple, stream: int) -> None:
        """launch, of what was checked."""
        x, y, z = grid
        arguments = (ctypes.c_void_p * 1)(ctypes.addressof(params))
        driver = self.library.driver
        with self.library.context:
            driver.call("cuLaunchKernel", self.function, x, y, z, self.threads, 1, 1, self.shared_bytes, ctypes.c_void_p(stream), arguments, None, what=self.symbol)


class Bound:
    """A launch that was checked, and may be repeated with arrays of equal shapes, strides and elements elsewhere: only their pointers are new. fields: of the struct, one per array."""

    __slots__ = ("kernel", "fields", "_params", "_grid")

    def __init__(self, kernel: Kernel, params, fields: Sequence[str]):
        self.kernel, self.fields, self._params, self._grid = kernel, tuple(fields), params, kernel.grid(params)

    def params(self, pointers: Sequence[int]):
        """The struct with other pointers, in the order of fields; none is 0. Raises ArgumentError for one that is no multiple of 16."""
        params = type(self._params).from_buffer_copy(self._params)
        for field, pointer in zip(self.fields, pointers):
            if pointer % 16:
                raise ArgumentError(misaligned(self.kernel.op, field, pointer))
            setattr(params, field, pointer)
        return params

    def launch(self, pointers: Sequence[int], stream: int = 0) -> None:
        """params, launched."""
        self.kernel.enqueue(self.params(pointers), self._grid, stream)


def misaligned(op: str, name: str, pointer: int) -> str:
    return f"{op}: {name} is at 0x{pointer:x}; start the array at a multiple of 16 bytes; of a slice take a clone"


class Library:
    """Kernels of a generated folder on one CUDA device. Kernels are loaded when they are first asked for; that reads files and may compile PTX, so ask before a capture.

    folder: path; None: antkv.folder.default_folder(). device: CUDA ordinal. driver: a driver that is open already. Raises FolderError, DeviceError, and DriverError where the device gives no context."""

    def __init__(self, folder: Optional[str] = None, device: int = 0, driver: Optional[Driver] = None):
        self.folder = Folder(folder)
        self.driver = driver or Driver()
        self.ordinal = device
        handle = self.driver.device(device)
        self.context = Context(self.driver, handle)
        self.device = Device(*self.driver.identity(handle))
        self._loaded: dict = {}
        self._chosen: dict = {}
        self._lock = threading.Lock()

    def choose(self, contract: str, shape: Optional[Shape] = None) -> Answer:
        """What the tables of the folder say of a shape; the default kernel where they say nothing, or without one. Raises ContractError, and DeviceError if nothing of the contract runs here."""
        self.folder.contract(contract)
        tables, s = self.folder.tables, shape
        if s is None:
            answer = default(contract, self.device, data=tables)
        else:
            answer = find(contract, self.device, batch=s.batch, q_heads=s.q_heads, kv_heads=s.kv_heads, q_len=s.max_q_len, tokens=s.max_tokens, mode=s.spread, data=tables)
        if answer.kernel is None:
            needs = [row[3] for row in tables.KERNELS if row[0] == contract and row[2] <= self.device.arch]
            why = f"needs {needs[-1]} bytes of shared memory, blocks of this device have {self.device.shared_per_block}" if needs else f"has no kernel for sm_{self.device.arch}"
            raise DeviceError(f"{contract} {why}; `npx gen --arch sm{self.device.arch} --out DIR` writes one that fits; antkv needs sm_80 (Ampere) or newer")
        return answer

    def get(self, contract: str, shape: Optional[Shape] = None) -> Kernel:
        """The best kernel of `contract` for device and shape, loaded; without a shape, which only decode needs, the default one. Equal requests are answered from what is loaded. Safe from several threads."""
        with self._lock:
            found = self._chosen.get((contract, shape))
            if found is None:
                if len(self._chosen) >= _MOST_CHOSEN:
                    self._chosen.clear()
                found = self._chosen[contract, shape] = self._get(contract, shape)
            return found

    def _get(self, contract: str, shape: Optional[Shape]) -> Kernel:
        row = self.folder.contract(contract)
        if row["op"] == "decode" and shape is None:
            raise ArgumentError(f"{contract}: decode needs a Shape")
        answer = self.choose(contract, shape)
        made = self.folder.kernel(answer.kernel)
        with self.context:
            if answer.kernel not in self._loaded:
                self._loaded[answer.kernel] = self._load(answer.kernel, made)
            function = self._loaded[answer.kernel]
            splits, merge = answer.splits, answer.merge
            columns, tokens = row["axes"].get("columns", 0), made["tile"].get("tokens", 0)
            if row["op"] == "decode":
                splits = shape.splits or splits or self._splits(function, made, shape, answer.spread, columns)
                merge = "none" if splits == 1 else "last" if merge == "none" else merge
        return Kernel(
            library=self, contract=contract, op=row["op"], symbol=answer.kernel, function=function, threads=made["threads"], shared_bytes=made["dynamicShared"], needs=frozenset(row["needs"]),
            columns=columns, tokens=tokens, warps=made["threads"] // 32, head_dim=row["axes"].get("headDim", 0), shape=shape, splits=max(1, splits), spread=answer.spread, merge=merge,
            quality=answer.quality, regret=answer.regret,
        )  # fmt: skip

    def _splits(self, function, made: Mapping[str, Any], shape: Shape, spread: bool, columns: int) -> int:
        resident = ctypes.c_int(1)
        self.driver.call("cuOccupancyMaxActiveBlocksPerMultiprocessor", ctypes.byref(resident), function, made["threads"], ctypes.c_size_t(made["dynamicShared"]), what=made["symbol"])
        tokens = made["tile"].get("tokens", 0) or made["threads"]  # "lookup": each warp takes 32 tokens
        return choose_splits(shape, spread=spread, columns=columns, tokens=tokens, multiprocessors=self.device.multiprocessors, resident=resident.value)

    def _load(self, name: str, made: Mapping[str, Any]) -> ctypes.c_void_p:
        """Loads the fatbin, or the PTX that lies beside where it would be. Raises FolderError if neither is there, DriverError if the driver refuses it."""
        fatbin = os.path.join(self.folder.path, made["fatbin"])
        path = next((path for path in (fatbin, os.path.splitext(fatbin)[0] + ".ptx") if os.path.exists(path)), None)
        if path is None:
            raise FolderError(f"{fatbin} is missing; `npx gen --arch {made['arch']}` builds it where nvcc is, releases contain it")
        module, function = ctypes.c_void_p(), ctypes.c_void_p()
        self.driver.call("cuModuleLoad", ctypes.byref(module), path.encode(), what=path)
        try:
            self.driver.call("cuModuleGetFunction", ctypes.byref(function), module, made["symbol"].encode(), what=made["symbol"])
            self._prepare(function, made, path)
        except Exception:
            self.driver.lib.cuModuleUnload(module)
            raise
        return function

    def _prepare(self, function: ctypes.c_void_p, made: Mapping[str, Any], path: str) -> None:
        driver = self.driver
        op = self.folder.manifest["contracts"][made["contract"]]["op"]
        want = ctypes.sizeof(self.folder.params.PARAMS[op])
        offset, size = ctypes.c_size_t(), ctypes.c_size_t()
        ask = getattr(driver.lib, "cuFuncGetParamInfo", None)  # of CUDA 12.4
        if ask and ask(function, ctypes.c_size_t(0), ctypes.byref(offset), ctypes.byref(size)) == 0 and size.value != want:
            raise FolderError(f"{path} takes {size.value} bytes of parameters, antkv_params.py says {want}: the file is of another release; build it again")
        if made["dynamicShared"] > _SHARED_WITHOUT_ASKING:
            driver.call("cuFuncSetAttribute", function, _DYNAMIC_SHARED_ATTRIBUTE, made["dynamicShared"], what=f"dynamic shared memory of {made['symbol']}")
        most = ctypes.c_int()
        driver.call("cuFuncGetAttribute", ctypes.byref(most), _THREADS_ATTRIBUTE, function, what=made["symbol"])
        if most.value < made["threads"]:
            raise DriverError(f"{made['symbol']} runs at most {most.value} threads per block here, not {made['threads']}", 0)
