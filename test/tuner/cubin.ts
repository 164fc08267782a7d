// Reads the parameter bytes of kernels out of a cubin: ELF64, section .nv.info.<kernel>, attribute 0x19.

const EIATTR_CBANK_PARAM_SIZE = 0x19;
/** Formats of an attribute: no value, 8 bits, 16 bits, or a size and that many bytes. */
const EIFMT_SVAL = 4;

/** Bytes of parameters of each kernel in `cubin`. Throws if it is not a little-endian ELF64 file. */
export function parameterBytes(cubin: Buffer): Map<string, number> {
  if (cubin.readUInt32BE(0) !== 0x7f454c46 || cubin[4] !== 2 || cubin[5] !== 1) throw new Error('not a little-endian ELF64 file');
  const table = Number(cubin.readBigUInt64LE(0x28));
  const [entry, count, namesIndex] = [cubin.readUInt16LE(0x3a), cubin.readUInt16LE(0x3c), cubin.readUInt16LE(0x3e)];
  const section = (i: number) => {
    const at = table + i * entry;
    return { name: cubin.readUInt32LE(at), offset: Number(cubin.readBigUInt64LE(at + 0x18)), size: Number(cubin.readBigUInt64LE(at + 0x20)) };
  };
  const names = section(namesIndex);
  const found = new Map<string, number>();
  for (let i = 0; i < count; i++) {
    const { name: nameAt, offset, size } = section(i);
    const from = names.offset + nameAt;
    const name = cubin.toString('latin1', from, cubin.indexOf(0, from));
    if (!name.startsWith('.nv.info.')) continue;
    for (let at = offset; at < offset + size; ) {
      const [format, attribute, value] = [cubin[at], cubin[at + 1], cubin.readUInt16LE(at + 2)];
      if (attribute === EIATTR_CBANK_PARAM_SIZE) found.set(name.slice('.nv.info.'.length), value);
      at += 4 + (format === EIFMT_SVAL ? value : 0);
    }
  }
  return found;
}
