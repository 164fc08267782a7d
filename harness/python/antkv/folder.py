"""A generated folder: manifest, parameter structs and tables of one release."""

import hashlib
import importlib.util
import json
import os
from types import ModuleType
from typing import Any, Mapping, Optional

from antkv_table import TABLES_VERSION

from .errors import ContractError, FolderError

# What this package is written for, as TABLES_VERSION; a test holds them against generator/versions.ts.
MANIFEST_SCHEMA = 1
ABI_VERSION = 3
LAYOUT_VERSION = 4

_MANIFEST = {"abi": int, "layout": int, "contracts": dict, "kernels": dict, "recipes": dict}  # what is read of it
_MODULES = {"antkv_params": ("ABI_VERSION", "LAYOUT_VERSION", "ARRAYS", "GRIDS", "PARAMS"), "antkv_tables": ("TABLES_VERSION", "KERNELS", "TABLES", "CONTRACTS", "ENTRIES", "CHOICES", "LINES", "CELLS")}
_FIX = "give the folder that `gen` wrote, or that of an unpacked release"


def default_folder() -> str:
    """$ANTKV_FOLDER, else the folder that ships inside the package, else the one of the repository that the package lies in. Raises FolderError, also where $ANTKV_FOLDER is none."""
    here = os.path.dirname(os.path.abspath(__file__))
    chosen, shipped = os.environ.get("ANTKV_FOLDER"), [os.path.join(here, "generated"), os.path.join(here, "..", "..", "..", "generated")]
    for path in [chosen] if chosen else shipped:
        if os.path.exists(os.path.join(path, "manifest.json")):
            return os.path.abspath(path)
    if chosen:
        raise FolderError(f"ANTKV_FOLDER is {chosen}, where no manifest.json lies; {_FIX}, or unset it")
    raise FolderError("no generated folder: give its path, or set ANTKV_FOLDER; `npx gen` writes one, releases contain it")


class Folder:
    """`path`: what `gen` wrote, or an unpacked release; None: that of default_folder(). Raises FolderError."""

    def __init__(self, path: Optional[str] = None):
        self.path = os.path.abspath(path) if path else default_folder()
        self.manifest: Mapping[str, Any] = self._manifest()
        self.params = self._module("antkv_params")
        self.tables = self._module("antkv_tables")
        of = (self.manifest["abi"], self.manifest["layout"])
        versions = (self.params.ABI_VERSION, self.params.LAYOUT_VERSION)
        if versions != of:
            raise FolderError(f"{self.path}: antkv_params.py is of ABI and layout versions {versions}, manifest.json of {of}: generate it again")
        if self.tables.TABLES_VERSION != TABLES_VERSION:
            raise FolderError(f"{self.path}: tables of version {self.tables.TABLES_VERSION}, this package reads {TABLES_VERSION}: take both from one release")

    def _manifest(self) -> Mapping[str, Any]:
        try:
            with open(os.path.join(self.path, "manifest.json"), encoding="utf-8") as file:
                manifest = json.load(file)
        except (OSError, ValueError) as error:
            raise FolderError(f"{self.path}: {error}; {_FIX}") from None
        if not isinstance(manifest, dict) or manifest.get("schema") != MANIFEST_SCHEMA:
            schema = manifest.get("schema") if isinstance(manifest, dict) else "none"
            raise FolderError(f"{self.path}: manifest of schema {schema}, this package reads {MANIFEST_SCHEMA}: take both from one release")
        for key, kind in _MANIFEST.items():
            if not isinstance(manifest.get(key), kind):
                raise FolderError(f"{self.path}: manifest.json has no {key}; {_FIX}")
        of = (manifest["abi"], manifest["layout"])
        if of != (ABI_VERSION, LAYOUT_VERSION):
            raise FolderError(f"{self.path} is of ABI and layout versions {of}, this package is for {(ABI_VERSION, LAYOUT_VERSION)}: take both from one release")
        return manifest

    def _module(self, name: str) -> ModuleType:
        """Its own copy of a module, so that folders of different releases can be open at once."""
        path = os.path.join(self.path, f"{name}.py")
        spec = importlib.util.spec_from_file_location(f"{name}_{hashlib.sha256(path.encode()).hexdigest()[:8]}", path)
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:  # whatever a broken file does
            raise FolderError(f"{path}: {error}; {_FIX}") from None
        missing = [word for word in _MODULES[name] if not hasattr(module, word)]
        if missing:
            raise FolderError(f"{path} has no {', '.join(missing)}; {_FIX}")
        return module

    def kernel(self, name: str) -> Mapping[str, Any]:
        """The manifest's entry of a kernel that tables name. Raises FolderError if they are not of one run of `gen`."""
        if name not in self.manifest["kernels"]:
            raise FolderError(f"{self.path}: antkv_tables.py names {name}, which manifest.json has not: generate it again")
        return self.manifest["kernels"][name]

    def contract(self, name: str) -> Mapping[str, Any]:
        """The manifest's entry. Raises ContractError with the names nearest to `name`."""
        contracts = self.manifest["contracts"]
        if name not in contracts:
            near = sorted(contracts, key=lambda other: -_likeness(name, other))[:3]
            raise ContractError(f'no contract "{name}" in {self.path}; near it: {" ".join(near)}; others are written by `gen` (gen list)')
        return contracts[name]

    def find(self, op: str, **axes: Any) -> str:
        """The contract of `op` with these axes (headDim, k, v, key, gain, columns, form ...; an axis that a contract lacks is no obstacle). Raises ContractError if the folder has none."""
        for name, row in self.manifest["contracts"].items():
            if row["op"] == op and all(row["axes"].get(axis, value) == value for axis, value in axes.items()):
                return name
        words = ", ".join(f"{axis} {value}" for axis, value in axes.items())
        raise ContractError(f"{self.path} has no contract of {op} with {words}; `npx gen --recipe FILE --out DIR` writes those of a recipe")

    def recipe(self, name: str) -> Mapping[str, Any]:
        """The members of a preset. Raises ContractError with the presets that are there."""
        if name not in self.manifest["recipes"]:
            raise ContractError(f'no preset "{name}" in {self.path}; it has {", ".join(self.manifest["recipes"])}')
        return self.manifest["recipes"][name]["recipe"]


def _likeness(a: str, b: str) -> int:
    """Equal characters at both ends: enough to name what a slip of the hand meant."""
    front = len(os.path.commonprefix([a, b]))
    return front + len(os.path.commonprefix([a[front:][::-1], b[front:][::-1]]))
