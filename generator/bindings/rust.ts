// antkv_params.rs: the parameter structs for Rust, repr(C), without dependencies.
import { PARAM_STRUCTS, structLayout, type Field, type ParamStruct } from '../abi.ts';
import { VERSIONS } from '../versions.ts';
import { className } from './words.ts';

// Device pointers are numbers to the host: u64 makes the structs Send and Default without unsafe code.
const RUST_TYPES = { u32: 'u32', i32: 'i32', i64: 'i64', f32: 'f32', ptr: 'u64' } as const;

const printField = ({ name, type, to, doc }: Field): string => {
  const words = [type === 'ptr' ? `\`${to}*\`` : '', doc].filter((word) => word !== '').join(': ').replace(/\[/g, '\\[').replace(/\]/g, '\\]');
  return `${words === '' ? '' : `    /// ${words}\n`}    pub ${name}: ${RUST_TYPES[type]},`;
};

function printStruct(s: ParamStruct): string {
  const { offsets, bytes } = structLayout(s);
  const last = s.fields.at(-1)!;
  return `/// ${s.doc}
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ${className(s)} {
${s.fields.map(printField).join('\n')}
}

impl ${className(s)} {
    /// All zero, all pointers null, with size and version filled in.
    pub fn new() -> Self {
        Self { struct_size: core::mem::size_of::<Self>() as u32, abi_version: ABI_VERSION, ..Default::default() }
    }
}

const _: () = assert!(core::mem::size_of::<${className(s)}>() == ${bytes});
const _: () = assert!(core::mem::offset_of!(${className(s)}, ${last.name}) == ${offsets.at(-1)});
`;
}

/** The Rust module. */
export const printRust = (): string => `//! Parameter structs of antkv kernels. Each kernel takes one by value as its only argument. Pointers are device pointers (CUdeviceptr),
//! 0 is null; strides count bytes. With cudarc, add \`unsafe impl cudarc::driver::DeviceRepr\` for the structs that you launch with.

pub const ABI_VERSION: u32 = ${VERSIONS.abi};
pub const LAYOUT_VERSION: u32 = ${VERSIONS.layout};

${PARAM_STRUCTS.map(printStruct).join('\n')}`;
