// Compiles kernels in parallel, each to one fatbin, through the build cache. A kernel that fails does not stop the others.
import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import PQueue from 'p-queue';
import { compareVersions } from '../generator/arch.ts';
import type { Files } from '../generator/emit.ts';
import { fatbinPath, kernelName, sourcePath, type Kernel } from '../generator/name.ts';
import { usesOwnInstructions } from '../generator/tile.ts';
import { digest } from '../generator/stamp.ts';
import { writeWhole } from '../generator/write.ts';
import { readBuild, type Compiled } from './build.ts';
import { cached } from './cache.ts';
import { firstErrorLine, nvccArgs, parsePtxas, runNvcc, type Nvcc } from './nvcc.ts';

export interface CompileOptions {
  readonly nvcc: Nvcc;
  /** Folder that holds `files`; fatbins go beside the sources. */
  readonly out: string;
  readonly jobs?: number;
  readonly timeoutMs?: number;
  readonly onDone?: (done: number, total: number, name: string) => void;
}

/** The files that `text` includes, directly or not, among `files`. */
function closure(text: string, files: Files, found = new Set<string>()): Set<string> {
  for (const [, name] of text.matchAll(/^\s*#include "([^"]+)"/gm)) {
    const included = files.get(name!);
    if (included === undefined || found.has(name!)) continue;
    found.add(name!);
    closure(included, files, found);
  }
  return found;
}

/** The source of a kernel and what it includes, as path and text. */
const inputsOf = (kernel: Kernel, files: Files): [path: string, text: string][] => {
  const source = sourcePath(kernel);
  return [source, ...closure(files.get(source)!, files)].map((path) => [path, files.get(path)!]);
};

const digestInputs = (inputs: readonly [string, string][]): string => digest(inputs.flat());

class Failure extends Error {}

/** A word as a shell wants it. */
export const quote = (word: string): string => (/^[\w./=,:+-]+$/.test(word) ? word : `'${word.replace(/'/g, `'\\''`)}'`);

/** Compiles one kernel. The same relative paths every time, whatever the folder: what nvcc writes can depend on them. */
async function compileOne(kernel: Kernel, files: Files, { nvcc, out, timeoutMs = 300_000 }: CompileOptions): Promise<Compiled> {
  const name = kernelName(kernel);
  const source = sourcePath(kernel);
  const args = nvccArgs(kernel.arch, source, fatbinPath(kernel), usesOwnInstructions(kernel.tile));
  const inputs = inputsOf(kernel, files);
  const fail = (why: string): Compiled => ({ name, failure: { why, source: join(out, source), command: ['cd', quote(out), '&&', quote(nvcc.path), ...args.map(quote)].join(' ') } });
  if (compareVersions(nvcc.version, kernel.arch.minNvcc) < 0) return fail(`nvcc ${nvcc.version} is too old for ${kernel.arch.name}, which needs ${kernel.arch.minNvcc}`);
  try {
    const dir = await cached(['fatbin 1', nvcc.version, ...args, ...inputs.flat()], async (dir) => {
      for (const [path, text] of inputs) {
        await mkdir(dirname(join(dir, path)), { recursive: true });
        await writeFile(join(dir, path), text);
      }
      const { code, timedOut, log } = await runNvcc(nvcc.path, args, dir, timeoutMs);
      if (timedOut) throw new Failure(`nvcc took longer than ${timeoutMs / 1000} s`);
      if (code !== 0) throw new Failure(firstErrorLine(log));
      if (parsePtxas(log) === undefined) throw new Failure('nvcc gave no report of ptxas');
      await writeFile(join(dir, 'ptxas.txt'), log);
      await Promise.all(inputs.map(([path]) => rm(join(dir, path))));
    });
    const fatbin = await readFile(join(dir, fatbinPath(kernel)));
    const sha256 = createHash('sha256').update(fatbin).digest('hex');
    const there = await readFile(join(out, fatbinPath(kernel))).catch(() => undefined);
    if (!there?.equals(fatbin)) writeWhole(join(out, fatbinPath(kernel)), fatbin);
    const resources = parsePtxas(await readFile(join(dir, 'ptxas.txt'), 'utf8'))!;
    return { name, built: { ...resources, nvcc: nvcc.version, inputs: digestInputs(inputs), bytes: fatbin.length, sha256 } };
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    await rm(join(out, fatbinPath(kernel)), { force: true });
    return fail(error.message);
  }
}

/** Compiles `kernels`, whose sources and headers are in `files` and in the folder `out`. Rejects only for faults of the machine: a full disk, an unwritable cache. */
export async function compileAll(kernels: readonly Kernel[], files: Files, options: CompileOptions): Promise<Compiled[]> {
  const queue = new PQueue({ concurrency: options.jobs ?? availableParallelism() });
  let done = 0;
  const all = Promise.all(
    kernels.map((kernel) =>
      queue.add(async () => {
        const compiled = await compileOne(kernel, files, options);
        options.onDone?.(++done, kernels.length, compiled.name);
        return compiled;
      }),
    ),
  );
  // On a full disk the rest need not be tried.
  return all.catch((error: unknown) => {
    queue.clear();
    throw error;
  });
}

/** Removes the fatbins of `kernels` that were made from other sources than `files`: none is better than a wrong one. */
export async function dropStale(kernels: readonly Kernel[], files: Files, out: string): Promise<void> {
  const { kernels: rows } = await readBuild(out);
  for (const kernel of kernels) {
    if (rows[kernelName(kernel)]?.inputs !== digestInputs(inputsOf(kernel, files))) await rm(join(out, fatbinPath(kernel)), { force: true });
  }
}
