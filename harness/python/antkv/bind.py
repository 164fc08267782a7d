"""From arrays to parameter structs: shapes are checked against the axes that antkv.h states, numbers and strides that they imply are filled in.

Nothing here lists fields: names, elements and axes are those of the generated antkv_params.ARRAYS."""

import ctypes
import re
from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple

from .errors import ArgumentError, whole
from .rules import check_rules

# Fields that take the strides of the first axes of an array, where they are not called NAME_row_stride and NAME_head_stride.
_STRIDED = {"pages": ("page_stride", "page_head_stride"), "anchors": ("anchor_page_stride", "anchor_head_stride"), "ring_k": ("ring_slot_stride", "ring_head_stride", "ring_row_stride"),
            "x": ("x_head_stride", "x_row_stride")}  # fmt: skip
_ELEMENTWISE = ("d", "chunks * channels")  # last axes of what the contract's dtype is of; other "void" is bytes
_SAME_STRIDES = {"ring_v": "ring_k"}
_TERM = re.compile(r"^(\w[\w ]*?)(?: ([*+/]) (\d+))?$")
_PRODUCT = re.compile(r"(?<=[*+/] )[a-z]\w*")
_CODEC = re.compile(r"(\d+)c(\d+)b")
_SAME_BITS = {"uint64_t": ("uint64_t", "int64_t"), "uint32_t": ("uint32_t", "int32_t"), "uint16_t": ("uint16_t", "int16_t")}  # torch has few ops on unsigned types


class View(NamedTuple):
    """An array on the device. shape in elements, strides in bytes; element: f16, bf16, or C's name (float, int32_t, uint8_t)."""

    pointer: int
    shape: Tuple[int, ...]
    strides: Tuple[int, ...]
    element: str
    bytes: int  # of an element


def _text(shape) -> str:
    return f"[{', '.join(map(str, shape))}]"


class _Axes:
    """What each name of an axis turned out to be, and which argument said so."""

    def __init__(self, op: str, known: Mapping[str, int]):
        self.op, self.sizes, self.by = op, dict(known), {name: "the contract" if name in ("d", "channels", "entries") else "given" for name in known}

    def meet(self, argument: str, axis: str, view: View, size: int, axes) -> None:
        match = _TERM.match(_PRODUCT.sub(lambda name: str(self.sizes.get(name[0], name[0])), axis))
        if not match:  # a length that only device memory knows
            return
        name, sign, number = match[1], match[2], int(match[3] or 1)
        value, rest = {None: (size, 0), "+": (size - number, 0), "*": divmod(size, number), "/": (size * number, 0)}[sign]
        known = self.sizes.setdefault(name, int(name) if name.isdigit() else value)
        if known == value and not rest:
            self.by.setdefault(name, argument)
            return
        because = f"{name} is {known} ({self.by[name]})" if name in self.by else f"{size} is not {axis}"
        raise ArgumentError(f"{self.op}: {argument} is {_text(view.shape)}; its axes are {_text(axes)}, and {because}")


def _check_element(op: str, name: str, view: View, element: str, dtype: str) -> None:
    want = dtype if element == "half row" else element
    if view.element not in _SAME_BITS.get(want, (want,)):
        raise ArgumentError(f"{op}: {name} has elements of {view.element}, not {want}; convert it")


def _check_order(op: str, name: str, view: View, strided: int) -> None:
    """The last axes are contiguous; the first `strided` ones may have any stride."""
    expected = view.bytes
    for axis in range(len(view.shape) - 1, strided - 1, -1):
        if view.shape[axis] != 1 and view.strides[axis] != expected:
            what = "its last axis is" if strided else "it is"
            raise ArgumentError(f"{op}: {name} {_text(view.shape)} has strides of {_text(view.strides)} bytes; {what} contiguous in memory: call contiguous()")
        expected *= view.shape[axis]


def _spec(array) -> Tuple[str, ...]:
    """Axes of an argument: those that antkv.h states, and the bytes of blocks."""
    if array.element != "void" or (array.axes and array.axes[-1] in _ELEMENTWISE):
        return array.axes
    return (*(array.axes or ("pages", "kv_heads")), "bytes")


def _meet_array(axes: _Axes, name: str, array, view: View, contract: Mapping[str, Any], numbers: Mapping[str, Any]) -> None:
    op, layout, spec, void = axes.op, contract.get("layout"), _spec(array), array.element == "void"
    if spec[-1] != "bytes":
        size, element, strided = None, "half row" if void else array.element, len(spec) - 1 if void else 0
    elif not array.axes:
        size, element, strided = layout["pageBytes"].get(str(numbers.get("page_size"))) if name == "pages" else layout["anchorPageBytes"], "uint8_t", 2
    else:
        size, element, strided = layout["codebookBytes"][name[0]] if layout else axes.sizes["entries"] * (2 * axes.sizes["channels"] + 4), "uint8_t", 0
    _check_element(op, name, view, element, contract["axes"].get("dtype", ""))
    if len(view.shape) != len(spec):
        raise ArgumentError(f"{op}: {name} is {_text(view.shape)}; its axes are {_text(spec)}")
    if size is not None and not (view.shape[-1] >= size if strided else view.shape[-1] == size):
        raise ArgumentError(f"{op}: {name} is {_text(view.shape)}; its last axis has {size} bytes (manifest.json, layout)")
    _check_order(op, name, view, strided)
    for axis, length in zip(spec, view.shape):
        if axis not in ("pages", "bytes"):
            axes.meet(name, axis, view, length, spec)


def _known(contract: Mapping[str, Any]) -> Dict[str, int]:
    """Axes that the contract fixes."""
    known, codec = contract["axes"], _CODEC.match(contract["axes"].get("k", "") if contract["op"] == "kmeans" else "")
    return {**({"d": known["headDim"]} if "headDim" in known else {}), **({"channels": int(codec[1]), "entries": 1 << int(codec[2])} if codec else {})}


def _stride_fields(name: str, view: View) -> Dict[str, int]:
    fields = _STRIDED.get(name, (f"{name}_row_stride", f"{name}_head_stride"))
    return dict(zip(fields, view.strides))


def _number(op: str, name: str, kind: Any, value: Any) -> Any:
    """`value` as a field of ctypes' `kind` holds it, which would cut it off without a word."""
    if kind is ctypes.c_float:
        try:
            return kind(value).value
        except (TypeError, OverflowError):
            raise ArgumentError(f"{op}: {name} is {value!r}; give a number") from None
    value = whole(f"{op}: {name}", value)
    if (kind(value).value or 0) != value:
        raise ArgumentError(f"{op}: {name} is {value}, more than its {8 * ctypes.sizeof(kind)} bits hold")
    return value


def fill(struct: Any, op: str, values: Mapping[str, Any]):
    """The struct with these fields, and 0 or null in all others. Raises ArgumentError for a field that it has not, and for what does not fit one."""
    kinds = dict(struct._fields_)
    for name in values:
        if name not in kinds:
            raise ArgumentError(f"{op}: there is no argument {name}; antkv.h lists them")
    return struct(**{name: _number(op, name, kinds[name], value) for name, value in values.items()})


def bind(params_module, op: str, contract: Mapping[str, Any], arrays: Mapping[str, Optional[View]], numbers: Mapping[str, Any]):
    """The struct of `op`, filled: pointers of `arrays`, what their shapes say (batch, kv_heads, max_pages, strides ...), and `numbers`.

    contract: entry of the manifest. arrays: field -> View; None is null. numbers: other fields.
    Raises ArgumentError that names the argument that does not fit, and what it should be."""
    struct, table = params_module.PARAMS[op], params_module.ARRAYS[op]
    fields = dict(struct._fields_)
    for name in [*arrays, *numbers]:
        if name not in (table if name in arrays else fields):
            raise ArgumentError(f"{op}: there is no argument {name}; antkv.h lists them")
    numbers = {name: _number(op, name, fields[name], value) for name, value in numbers.items()}
    given = {name: view for name, view in arrays.items() if view is not None}
    axes = _Axes(op, {**_known(contract), **{name: value for name, value in numbers.items() if isinstance(value, int)}})
    values: Dict[str, Any] = {}
    for name in given:  # in the order of the caller, whose arguments are blamed before what was made of them
        view = given[name]
        _meet_array(axes, name, table[name], view, contract, numbers)
        values[name] = view.pointer
        for field, stride in _stride_fields(name, view).items():
            if field in fields:
                values[field] = stride
        other = _SAME_STRIDES.get(name)
        if other in given and given[other].strides != view.strides:
            raise ArgumentError(f"{op}: {name} has strides of {_text(view.strides)} bytes, {other} of {_text(given[other].strides)}; give both the same layout")
    for name, size in axes.sizes.items():
        if name in fields and name not in numbers:
            values[name] = size
    values.update(numbers)
    for name, array in table.items():
        if array.need in contract["needs"] and not values.get(name):
            raise ArgumentError(f"{op}: {name} is missing; {contract_words(array)}")
    params = fill(struct, op, values)
    check_rules(op, params, contract)
    return params


def contract_words(array) -> str:
    """What an argument is, for messages."""
    return f"give an array {_text(_spec(array))}"
