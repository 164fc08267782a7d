// Dumps on disk, and safetensors files beside them, read tensor by tensor; and whether a result can be written, asked before the work.
import { accessSync, closeSync, constants, fstatSync, openSync, readSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { InputError } from '../../generator/errors.ts';
import { cannotWrite, placeOf } from '../../generator/write.ts';
import { parseDump, type Dump } from '../../generator/format.ts';
import { assertFinite, headerLength, LENGTH_BYTES, parseHeader, type Header, type TensorInfo } from '../../generator/safetensors.ts';
import type { Rows } from './task.ts';

/** An open dump; close it when done. */
export interface DumpFile {
  readonly path: string;
  readonly dump: Dump;
  /** The first `tokens` tokens of every head of a tensor, in memory that threads share. Throws InputError on NaN and infinity. */
  rows(info: TensorInfo, tokens: number): Rows;
  close(): void;
}

/** An open safetensors file; close it when done. */
export interface TensorFile {
  readonly header: Header;
  /** Fills `into` from byte `at` of the file on. */
  read(at: number, into: Uint8Array): Uint8Array;
  close(): void;
}

/** Opens a dump and reads its header. Throws InputError if it is not there or broken. */
export function openDump(path: string): DumpFile {
  const file = openTensors(path);
  try {
    return { path, dump: parseDump(file.header), rows: (info, tokens) => readRows(file, info, tokens), close: file.close };
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Opens a safetensors file and reads its header. Throws InputError if it is not there or broken. */
export function openTensors(path: string): TensorFile {
  const fd = openFile(path);
  try {
    return { header: readHeader(fd, path), read: (at, into) => readBytes(fd, at, into), close: () => closeSync(fd) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function openFile(path: string): number {
  try {
    if (statSync(path).isDirectory()) throw new InputError(`${path} is a folder`, 'give a .safetensors file');
    return openSync(path, 'r');
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(`cannot read ${path}: ${(error as NodeJS.ErrnoException).code}`, 'give the path of a readable .safetensors file');
  }
}

function readHeader(fd: number, path: string): Header {
  const size = fstatSync(fd).size;
  const first = readBytes(fd, 0, new Uint8Array(Math.min(size, LENGTH_BYTES)));
  const length = headerLength(first, path);
  return parseHeader(readBytes(fd, 0, new Uint8Array(Math.min(size, LENGTH_BYTES + length))), path, size);
}

function readBytes(fd: number, at: number, into: Uint8Array): Uint8Array {
  // One call reads at most 2 GB.
  for (let done = 0; done < into.length; ) {
    const read = readSync(fd, into, done, Math.min(into.length - done, 2 ** 30), at + done);
    if (read === 0) throw new InputError('the file became shorter while it was read', 'wait until it is written');
    done += read;
  }
  return into;
}

function readRows({ header, read }: TensorFile, info: TensorInfo, tokens: number): Rows {
  const [heads = 0, all = 0, headDim = 0] = info.shape;
  const perHead = tokens * headDim * 2;
  const bytes = new Uint8Array(new SharedArrayBuffer(heads * perHead));
  for (let head = 0; head < heads; head++) read(info.offset + head * all * headDim * 2, bytes.subarray(head * perHead, (head + 1) * perHead));
  assertFinite(header, { ...info, shape: [heads, tokens, headDim] }, bytes);
  return { data: new Uint16Array(bytes.buffer), stride: tokens, tokens, headDim };
}

/** Throws EnvironmentError if `path` cannot be written: asked before an hour of work, not after it. Leaves nothing behind. */
export function checkWritable(path: string): void {
  const place = placeOf(path);
  const probe = `${place}.${process.pid}.tmp`;
  try {
    if (statSync(place, { throwIfNoEntry: false })?.isDirectory()) throw Object.assign(new Error(), { code: 'EISDIR' });
    accessSync(dirname(place), constants.W_OK);
    closeSync(openSync(probe, 'w'));
    rmSync(probe);
  } catch (error) {
    throw cannotWrite(error, path, 'choose a file in a folder that exists and that you can write, with --out');
  }
}
