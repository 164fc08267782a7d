// antkv_params.py: the parameter structs for ctypes, without dependencies.
import { PARAM_STRUCTS, structLayout, type FieldType, type ParamStruct } from '../abi.ts';
import { VERSIONS } from '../versions.ts';
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

/** The Python module. */
export const printPython = (): string => `"""Parameter structs of antkv kernels for ctypes. Each kernel takes one by value as its only argument; strides count bytes."""

import ctypes

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

PARAMS = {${PARAM_STRUCTS.map((s) => `${quote(s.op)}: ${className(s)}`).join(', ')}}
`;
