// antkv_params.py: the parameter structs for ctypes, what their pointers point to, and the grids of launches; without dependencies.
import { PARAM_STRUCTS, structLayout, type Field, type FieldType, type ParamStruct } from '../abi.ts';
import type { Op } from '../contract.ts';
import { gridOf } from '../launch.ts';
import { VERSIONS } from '../versions.ts';
import { needOf } from './kernels.ts';
import { className } from './words.ts';

const CTYPES: Readonly<Record<FieldType, string>> = { u32: 'c_uint32', i32: 'c_int32', i64: 'c_int64', f32: 'c_float', ptr: 'c_void_p' };

const quote = (text: string): string => JSON.stringify(text);

function printClass(s: ParamStruct): string {
  const { offsets, bytes } = structLayout(s);
  const last = s.fields.at(-1)!;
  return `class ${className(s)}(_Params):
    ${quote(s.doc).replace(/^"|"$/g, '"""')}

    _fields_ = [
${s.fields.map(({ name, type, doc }) => `        (${quote(name)}, ctypes.${CTYPES[type]}),${doc === '' ? '' : `  # ${doc}`}`).join('\n')}
    ]


assert ctypes.sizeof(${className(s)}) == ${bytes} and ${className(s)}.${last.name}.offset == ${offsets.at(-1)}
`;
}

/** The axes at the start of a field's comment: `[batch, max_pages] page of ...`; none where it has none. */
export const axesOf = ({ doc }: Pick<Field, 'doc'>): string[] => /^\[((?:[^[\]]|\[[^\]]*\])+)\]/.exec(doc)?.[1]!.split(', ') ?? [];

function printArray(op: Op, field: Field): string {
  const axes = axesOf(field);
  const shape = axes.length === 1 ? `(${quote(axes[0]!)},)` : `(${axes.map(quote).join(', ')})`;
  const to = field.to!;
  return `        ${quote(field.name)}: Array(${quote(to.replace('const ', ''))}, ${to.startsWith('const ') ? 'False' : 'True'}, ${quote(needOf(op, field.name) ?? '')}, ${shape}),`;
}

const printArrays = ({ op, fields }: ParamStruct): string => `    ${quote(op)}: {
${fields.filter(({ type }) => type === 'ptr').map((field) => printArray(op as Op, field)).join('\n')}
    },`;

/** A part of {@link gridOf} in Python: `p` has the fields of the struct, `k` what is the kernel's own. */
const inPython = (part: string): string =>
  part
    .replace(/ceil\((.*) \/ (\w+)\)/, (_, over: string, by: string) => `-(-(${over.replaceAll('/', '//')}) // ${by})`)
    .replace(/^(\w+) \? (\w+) : (\w+)$/, '$2 if $1 else $3')
    .replace(/\b(?!if\b|else\b)[a-z]\w*/g, (name) => `${/^(columns|tokens|warps)$/.test(name) ? 'k' : 'p'}.${name}`);

/** The Python module. */
export const printPython = (): string => `"""Parameter structs of antkv kernels for ctypes. Each kernel takes one by value as its only argument; strides count bytes."""

import ctypes
from typing import NamedTuple

ABI_VERSION = ${VERSIONS.abi}
LAYOUT_VERSION = ${VERSIONS.layout}


class _Params(ctypes.Structure):
    """Fills struct_size and abi_version; all other fields start at 0, and pointers at null."""

    def __init__(self, **fields):
        unknown = set(fields) - {name for name, _ in self._fields_}
        if unknown:
            raise TypeError(f"{type(self).__name__} has no field {', '.join(sorted(unknown))}")
        super().__init__(**{"struct_size": ctypes.sizeof(self), "abi_version": ABI_VERSION, **fields})


${PARAM_STRUCTS.map(printClass).join('\n\n')}

class Array(NamedTuple):
    """What a pointer of a struct points to."""

    element: str  # C's name; "void": the dtype of the contract where the last axis is d, else bytes
    written: bool  # by the kernel
    need: str  # must not be null for contracts that have this need (manifest.json); "": null is allowed, or it depends on other fields
    axes: tuple  # in names of fields and of CACHE.md; () for blocks of bytes, whose place strides say


ARRAYS = {
${PARAM_STRUCTS.map(printArrays).join('\n')}
}

# x, y, z of a launch. p: the op's struct; k: columns of the contract, tokens and warps of the tile
GRIDS = {
${PARAM_STRUCTS.map(({ op }) => `    ${quote(op)}: lambda p, k: (${gridOf(op as Op).map(inPython).join(', ')}),`).join('\n')}
}

PARAMS = {${PARAM_STRUCTS.map((s) => `${quote(s.op)}: ${className(s)}`).join(', ')}}
`;
