"""What goes wrong, in words that say what to change."""

import operator
from typing import Any


class AntkvError(RuntimeError):
    """Anything that antkv refuses, or that the driver does; the text ends with the fix."""


class FolderError(AntkvError):
    """Not a generated folder, or one of another release."""


class DeviceError(AntkvError):
    """No driver, no device, or none that a kernel of the contract runs on."""


class ContractError(AntkvError):
    """No such contract in the folder."""


class ArgumentError(AntkvError, ValueError):
    """An argument is missing or has a wrong shape, dtype, layout or value; the text starts with the op and the argument."""


class DriverError(AntkvError):
    """A call of the CUDA driver failed."""

    def __init__(self, text: str, code: int):
        super().__init__(text)
        self.code = code  # CUresult


def whole(what: str, value: Any) -> int:
    """`value` as an int. Raises ArgumentError, that starts with `what`, for what is no whole number."""
    try:
        return operator.index(value)
    except TypeError:
        raise ArgumentError(f"{what} is {value!r}; give a whole number") from None
