// Kernels in two steps, to PTX and from it to machine code, so that a space can be pruned between them. Both steps go through the build cache.
import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { compareVersions, targetOf, type Arch } from '../../generator/arch.ts';
import { printHeader } from '../../generator/bindings/c.ts';
import { isCacheContract } from '../../generator/contract.ts';
import { kernelName, sourcePath, type Kernel } from '../../generator/name.ts';
import { usesOwnInstructions } from '../../generator/tile.ts';
import { readTemplate } from '../../generator/render.ts';
import { renderKernel } from '../../generator/source.ts';
import { inputsOfSource } from '../../generator/table/inputs.ts';
import { cached } from '../cache.ts';
import { quote } from '../compile.ts';
import { firstErrorLine, parsePtxas, runNvcc, type Nvcc, type NvccRun, type Resources } from '../nvcc.ts';

export interface StepOptions {
  readonly nvcc: Nvcc;
  /** Milliseconds for one step; 120 s unless given. */
  readonly timeoutMs?: number;
}

/** A step that ended without its output: one candidate is lost. */
export interface Lost {
  readonly kernel: string;
  readonly kind: 'ice' | 'error' | 'timeout';
  readonly why: string;
  /** A command that shows it again. */
  readonly repro: string;
}

export interface Ptx {
  readonly kernel: string;
  readonly path: string;
  /** SHA-256 of the {@link normalPtx}. */
  readonly ptx: string;
  /** Digest of the code that it was made from. */
  readonly inputs: string;
  /** Of nvcc; null: it was in the cache. */
  readonly seconds: number | null;
}

export interface Machined {
  readonly kernel: string;
  /** Of the cubin. */
  readonly path: string;
  readonly resources: Resources;
  readonly seconds: number | null;
}

export const isLost = (result: object): result is Lost => 'kind' in result;

/** PTX as it is compared: without comments, line marks and blank lines, and with one name for every kernel and its namespace. */
export function normalPtx(text: string, name: string): string {
  const kept = text.replace(/\/\*[\s\S]*?\*\//g, '').split('\n').map((line) => line.replace(/\/\/.*$/, '').trimEnd());
  // A mangled name tells the length of each part of it.
  const mangled = new RegExp(`(_ZN[KVr]*)\\d+${name}`, 'g');
  return kept.filter((line) => line.trim() !== '' && !/^\s*\.(loc|file)\b/.test(line)).map((line) => line.replace(mangled, '$1kernel').replaceAll(name, 'kernel')).join('\n');
}

export const ptxHash = (text: string, name: string): string => createHash('sha256').update(normalPtx(text, name)).digest('hex');

/** Fields of a parameter struct are only ever appended (generator/abi.ts). */
const MOST_APPENDED_BYTES = 64;

/**
 * Hashes that the same PTX had while its parameter struct was up to {@link MOST_APPENDED_BYTES} shorter: a kernel that reads no appended field is the machine code that it
 * was before, and its PTX says nothing else of them than the struct's length.
 */
export function shorterHashes(text: string, name: string): string[] {
  const declared = /(\.param \.align \d+ \.b8 \w+_param_0\[)(\d+)\]/;
  const bytes = Number(declared.exec(text)?.[2] ?? 0);
  const fewer = Array.from({ length: MOST_APPENDED_BYTES / 8 }, (_, i) => bytes - 8 * (i + 1)).filter((n) => n > 0);
  return fewer.map((n) => ptxHash(text.replace(declared, `$1${n}]`), name));
}

class Failure extends Error {
  readonly kind: Lost['kind'];
  constructor(kind: Lost['kind'], message: string) {
    super(message);
    this.kind = kind;
  }
}

/** nvcc's own faults, as it reports them: an assertion, or a part of it that a signal ended. */
const isInternal = ({ code, log }: NvccRun): boolean => /internal (compiler )?error|assertion .*failed|died due to signal|segmentation fault/i.test(log) || (code ?? -1) > 128 || code === null;

async function guarded(nvcc: Nvcc, args: readonly string[], dir: string, timeoutMs: number): Promise<string> {
  const run = await runNvcc(nvcc.path, args, dir, timeoutMs, true);
  if (run.timedOut) throw new Failure('timeout', `nvcc took longer than ${timeoutMs / 1000} s`);
  if (run.code !== 0) throw new Failure(isInternal(run) ? 'ice' : 'error', firstErrorLine(run.log));
  return run.log;
}

const command = (nvcc: Nvcc, args: readonly string[]): string => [nvcc.path, ...args].map(quote).join(' ');

/** Gives up one candidate for what a compiler said of it; faults of the machine (a full disk, an unwritable cache) go on up. */
function lost(error: unknown, kernel: string, repro: string): Lost {
  if (!(error instanceof Failure)) throw error;
  return { kernel, kind: error.kind, why: error.message, repro };
}

const SECONDS = 'seconds.txt';
const since = (start: number): number => Math.round(performance.now() - start) / 1000;

/**
 * A kernel's source and headers as path and text, with nothing of any other kernel in them: antkv.h speaks of its contract alone, so that the cache has one entry of a
 * kernel whatever it is tuned or shipped with.
 */
const sourcesOf = (kernel: Kernel): [path: string, text: string][] => [
  [sourcePath(kernel), renderKernel(kernel)],
  ['antkv.h', printHeader([kernel.contract].filter(isCacheContract))],
  ['antkv_device.cuh', readTemplate('antkv_device.cuh')],
];

/** A kernel to PTX. Rejects only for faults of the machine. */
export async function toPtx(kernel: Kernel, { nvcc, timeoutMs = 120_000 }: StepOptions): Promise<Ptx | Lost> {
  const name = kernelName(kernel);
  const inputs = sourcesOf(kernel);
  const output = `${name}.ptx`;
  const args = ['-ptx', '-std=c++17', '-O3', `-arch=compute_${targetOf(kernel.arch, usesOwnInstructions(kernel.tile))}`, '-I', '.', '-o', output, sourcePath(kernel)];
  const repro = `gen --only ${name} --out DIR --no-compile && cd DIR && ${command(nvcc, args)}`;
  if (compareVersions(nvcc.version, kernel.arch.minNvcc) < 0) {
    return { kernel: name, kind: 'error', why: `nvcc ${nvcc.version} is too old for ${kernel.arch.name}, which needs ${kernel.arch.minNvcc}`, repro };
  }
  let seconds: number | null = null;
  try {
    const dir = await cached(['ptx 1', nvcc.version, ...args, ...inputs.flat()], async (made) => {
      for (const [path, text] of inputs) {
        await mkdir(dirname(join(made, path)), { recursive: true });
        await writeFile(join(made, path), text);
      }
      const start = performance.now();
      await guarded(nvcc, args, made, timeoutMs);
      seconds = since(start);
      await writeFile(join(made, SECONDS), String(seconds));
      await Promise.all(inputs.map(([path]) => rm(join(made, path))));
    });
    const path = join(dir, output);
    return { kernel: name, path, ptx: ptxHash(await readFile(path, 'utf8'), name), inputs: inputsOfSource(inputs[0]![1]), seconds };
  } catch (error) {
    return lost(error, name, repro);
  }
}

/** PTX to machine code of `target`, the kernel's own architecture unless given; ptxas says what it takes. Rejects only for faults of the machine. */
export async function toCubin(ptx: Ptx, target: Arch, { nvcc, timeoutMs = 120_000 }: StepOptions): Promise<Machined | Lost> {
  const text = await readFile(ptx.path, 'utf8');
  const input = `${ptx.kernel}.ptx`;
  const output = `${ptx.kernel}.cubin`;
  const args = ['-cubin', `-arch=sm_${targetOf(target, /^\.target sm_\d+a/m.test(text))}`, '-Xptxas', '-v', '-o', output, input];
  const repro = `cd ${quote(dirname(ptx.path))} && ${command(nvcc, args)}`;
  let seconds: number | null = null;
  try {
    const dir = await cached(['cubin 1', nvcc.version, ...args, text], async (made) => {
      await writeFile(join(made, input), text);
      const start = performance.now();
      const log = await guarded(nvcc, args, made, timeoutMs);
      seconds = since(start);
      if (parsePtxas(log) === undefined) throw new Failure('error', 'nvcc gave no report of ptxas');
      await writeFile(join(made, SECONDS), String(seconds));
      await writeFile(join(made, 'ptxas.txt'), log);
      await rm(join(made, input));
    });
    return { kernel: ptx.kernel, path: join(dir, output), resources: parsePtxas(await readFile(join(dir, 'ptxas.txt'), 'utf8'))!, seconds };
  } catch (error) {
    return lost(error, ptx.kernel, repro);
  }
}

/** The seconds that a step of the cache took when it was made; null if nobody wrote them down. */
export async function recordedSeconds({ path }: { readonly path: string }): Promise<number | null> {
  const text = await readFile(join(dirname(path), SECONDS), 'utf8').catch(() => '');
  return text === '' ? null : Number(text);
}
