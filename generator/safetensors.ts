// The safetensors container: 8 bytes of header length, a JSON header, then the tensors back to back. Pure over bytes; tuner/calibrate/file.ts reads and writes files.
// Format: https://github.com/huggingface/safetensors#format
import { isSpecialF16 } from './f16.ts';
import { InputError } from './errors.ts';

/** Bytes per element of the types that the format knows. */
export const DTYPE_BYTES = { BOOL: 1, U8: 1, I8: 1, F8_E4M3: 1, F8_E5M2: 1, I16: 2, U16: 2, F16: 2, BF16: 2, I32: 4, U32: 4, F32: 4, I64: 8, U64: 8, F64: 8 } as const;
export type Dtype = keyof typeof DTYPE_BYTES;

export interface TensorInfo {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Offset in bytes from the start of the file, and size. */
  readonly offset: number;
  readonly bytes: number;
}

/** A tensor with its bytes, little endian, row-major. */
export interface Tensor {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

export interface Header {
  /** Where the bytes came from, for messages. */
  readonly source: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
}

/** Bytes of the length field in front of the header. */
export const LENGTH_BYTES = 8;
/** Longest header that is read, as in the reference implementation: a length beyond it is a broken or foreign file. */
export const MAX_HEADER_BYTES = 100_000_000;

const COPY_AGAIN = 'copy or download the file again, or write it anew';
const REWRITE = 'write the file with a safetensors library';

/** Length of the JSON header from the first bytes of a file. Throws InputError if there are fewer than 8 bytes or the length cannot be. */
export function headerLength(first: Uint8Array, source: string): number {
  if (first.length < LENGTH_BYTES) throw new InputError(`${source}: truncated header: ${first.length} bytes, a safetensors file has at least ${LENGTH_BYTES}`, COPY_AGAIN);
  const view = new DataView(first.buffer, first.byteOffset, LENGTH_BYTES);
  const length = Number(view.getBigUint64(0, true));
  if (length > MAX_HEADER_BYTES) throw new InputError(`${source}: not a safetensors file: it would have a header of ${length} bytes`, `give a .safetensors file; ${REWRITE}`);
  return length;
}

/**
 * Reads the header. `bytes` holds at least length field and header; `fileBytes` is the size of the whole file.
 * Throws InputError on a truncated or malformed header, unknown types, sizes that do not fit, and offsets that overlap, leave holes or pass the end.
 */
export function parseHeader(bytes: Uint8Array, source: string, fileBytes = bytes.length): Header {
  const length = headerLength(bytes, source);
  const start = LENGTH_BYTES + length;
  if (fileBytes < start) throw new InputError(`${source}: truncated header: ${length} bytes announced, ${fileBytes - LENGTH_BYTES} there`, COPY_AGAIN);
  const { __metadata__: metadata = {}, ...entries } = parseJson(bytes.subarray(LENGTH_BYTES, start), source);
  const tensors = Object.entries(entries).map(([name, entry]) => parseEntry(name, entry, start, source));
  checkOffsets(tensors, start, fileBytes, source);
  if (!isRecord(metadata) || Object.values(metadata).some((value) => typeof value !== 'string')) {
    throw new InputError(`${source}: __metadata__ must map strings to strings`, REWRITE);
  }
  return { source, metadata: metadata as Record<string, string>, tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])) };
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

function parseJson(bytes: Uint8Array, source: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new InputError(`${source}: the header is not JSON`, `give a .safetensors file; ${REWRITE}`);
  }
  if (!isRecord(value)) throw new InputError(`${source}: the header is not a JSON object`, REWRITE);
  return value;
}

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function parseEntry(name: string, entry: unknown, start: number, source: string): TensorInfo {
  const { dtype, shape, data_offsets: offsets } = isRecord(entry) ? entry : ({} as Record<string, unknown>);
  if (typeof dtype !== 'string' || !Array.isArray(shape) || !shape.every(isSize) || !Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) {
    throw new InputError(`${source}: tensor "${name}" needs dtype, shape and data_offsets`, REWRITE);
  }
  if (!(dtype in DTYPE_BYTES)) throw new InputError(`${source}: tensor "${name}" has the unknown dtype ${dtype}`, `known: ${Object.keys(DTYPE_BYTES).join(', ')}`);
  const [begin, end] = offsets as [number, number];
  const bytes = (shape as number[]).reduce((product, size) => product * size, DTYPE_BYTES[dtype as Dtype]);
  if (end - begin !== bytes) throw new InputError(`${source}: tensor "${name}" of ${dtype} [${shape.join(', ')}] takes ${bytes} bytes, its offsets span ${end - begin}`, REWRITE);
  return { name, dtype: dtype as Dtype, shape: shape as number[], offset: start + begin, bytes };
}

function checkOffsets(tensors: readonly TensorInfo[], start: number, fileBytes: number, source: string): void {
  let at = start;
  for (const tensor of [...tensors].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes)) {
    if (tensor.offset < at) throw new InputError(`${source}: tensor "${tensor.name}" overlaps the one before it`, REWRITE);
    if (tensor.offset > at) throw new InputError(`${source}: ${tensor.offset - at} bytes before tensor "${tensor.name}" belong to no tensor`, REWRITE);
    at += tensor.bytes;
  }
  if (at > fileBytes) throw new InputError(`${source}: truncated data: the header asks for ${at} bytes, the file has ${fileBytes}`, COPY_AGAIN);
  if (at < fileBytes) throw new InputError(`${source}: ${fileBytes - at} bytes behind the last tensor`, COPY_AGAIN);
}

/** What a caller expects of a tensor; a null in the shape fits any size. */
export interface Expected {
  readonly dtype: Dtype;
  readonly shape: readonly (number | null)[];
  /** Names of the axes, for messages: `[kv_heads, tokens, head_dim]`. */
  readonly axes: string;
}

/** The entry called `name`. Throws InputError if it is missing or has another dtype or shape than expected. */
export function expectTensor(header: Header, name: string, want: Expected): TensorInfo {
  const { source, tensors } = header;
  const info = tensors.get(name);
  if (!info) throw new InputError(`${source}: no tensor "${name}"`, `it has ${[...tensors.keys()].join(', ') || 'none'}; names are specified in generator/format.ts`);
  if (info.dtype !== want.dtype) throw new InputError(`${source}: wrong dtype: tensor "${name}" is ${info.dtype}, not ${want.dtype}`, `convert it to ${want.dtype}`);
  if (info.shape.length !== want.shape.length || want.shape.some((size, axis) => size !== null && size !== info.shape[axis])) {
    const wanted = want.shape.map((size) => size ?? '*').join(', ');
    throw new InputError(`${source}: wrong shape: tensor "${name}" is [${info.shape.join(', ')}], not [${wanted}]`, `its axes are ${want.axes}`);
  }
  return info;
}

/** Throws InputError with the index of the first NaN or infinity. Integers pass. `data` holds the tensor `info` and is aligned to its elements. */
export function assertFinite(header: Header, info: TensorInfo, data: Uint8Array): void {
  let bad = -1;
  if (info.dtype === 'F16') bad = new Uint16Array(data.buffer, data.byteOffset, data.byteLength / 2).findIndex(isSpecialF16);
  if (info.dtype === 'F32') bad = new Float32Array(data.buffer, data.byteOffset, data.byteLength / 4).findIndex((value) => !Number.isFinite(value));
  if (bad < 0) return;
  const index = info.shape.map((_, axis) => Math.floor(bad / info.shape.slice(axis + 1).reduce((a, b) => a * b, 1)) % info.shape[axis]!);
  throw new InputError(
    `${header.source}: tensor "${info.name}" holds NaN or infinity, first at [${index.join(', ')}]`,
    'look for an overflow where the file was written (keys beyond 65504 do not fit into F16)',
  );
}

/** A copy of the tensor called `name` out of the bytes of a whole file, aligned and checked against `want` and for NaN. */
export function readTensor(bytes: Uint8Array, header: Header, name: string, want: Expected): Tensor {
  const info = expectTensor(header, name, want);
  const data = new Uint8Array(info.bytes); // a copy, so that typed arrays over it are aligned
  data.set(bytes.subarray(info.offset, info.offset + info.bytes));
  assertFinite(header, info, data);
  return { name, dtype: info.dtype, shape: info.shape, data };
}

/** The bytes of a file. Tensors are laid out by falling element size, then name, so that each is aligned; equal input gives equal bytes. */
export function writeSafetensors(tensors: readonly Tensor[], metadata: Readonly<Record<string, string>> = {}): Uint8Array {
  const order = [...tensors].sort((a, b) => DTYPE_BYTES[b.dtype] - DTYPE_BYTES[a.dtype] || (a.name < b.name ? -1 : 1));
  const header: Record<string, unknown> = Object.keys(metadata).length > 0 ? { __metadata__: metadata } : {};
  let at = 0;
  for (const { name, dtype, shape, data } of order) {
    const bytes = shape.reduce((product, size) => product * size, DTYPE_BYTES[dtype]);
    if (bytes !== data.byteLength) throw new Error(`tensor ${name}: ${data.byteLength} bytes for ${dtype} [${shape.join(', ')}]`);
    if (name in header) throw new Error(`two tensors are called ${name}`);
    header[name] = { dtype, shape, data_offsets: [at, at + bytes] };
    at += bytes;
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const length = Math.ceil(text.length / 8) * 8; // data starts 8-aligned
  const out = new Uint8Array(LENGTH_BYTES + length + at).fill(0x20, LENGTH_BYTES, LENGTH_BYTES + length);
  new DataView(out.buffer).setBigUint64(0, BigInt(length), true);
  out.set(text, LENGTH_BYTES);
  let to = LENGTH_BYTES + length;
  for (const { data } of order) {
    out.set(data, to);
    to += data.byteLength;
  }
  return out;
}
