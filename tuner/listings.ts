// gen bench --keep and --profile: what the compiler made of a kernel, and how a profiler sees it.
import { writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { execa } from 'execa';
import { emitAll } from '../generator/emit.ts';
import { CompileError, EnvironmentError } from '../generator/errors.ts';
import { targetOf } from '../generator/arch.ts';
import { kernelName, sourcePath, type Kernel } from '../generator/name.ts';
import { usesOwnInstructions } from '../generator/tile.ts';
import { makeFolder, writingTo } from '../generator/write.ts';
import { combineOf, HEADS } from './bench-plan.ts';
import { cacheDir } from './cache.ts';
import { buildRunner } from './host.ts';
import { findNvcc, firstErrorLine, nvccArgs, NVCC_FIX, runNvcc, type Nvcc } from './nvcc.ts';
import { kernelRef } from './problem.ts';

async function nvccOrThrow(): Promise<Nvcc> {
  const nvcc = await findNvcc();
  if (!nvcc) throw new EnvironmentError('nvcc was not found', NVCC_FIX);
  return nvcc;
}

async function writeSources(kernels: readonly Kernel[], dir: string): Promise<void> {
  for (const [path, text] of emitAll(kernels)) {
    if (!/\.(cu|cuh|h)$/.test(path)) continue;
    makeFolder(dirname(join(dir, path)));
    await writeFile(join(dir, path), text);
  }
}

/** Runs nvcc in `dir` on a kernel's source; the output's path there. Throws CompileError. */
async function compileTo(nvcc: Nvcc, { arch, ...kernel }: Kernel, dir: string, extension: string, flags: (args: string[]) => string[]): Promise<string> {
  const source = sourcePath({ arch, ...kernel });
  const output = source.replace(/\.cu$/, extension);
  const args = flags(nvccArgs(arch, source, output));
  const { code, log } = await runNvcc(nvcc.path, args, dir, 300_000);
  if (code !== 0) throw new CompileError(`${source}: ${firstErrorLine(log)}`, `cd ${dir} && ${nvcc.path} ${args.join(' ')}`);
  return join(dir, output);
}

/** The arguments of {@link nvccArgs} for one product, `-ptx` or `-cubin`, which holds the code of one target. */
const only = (product: string, target: string) => (args: string[]): string[] =>
  [product, ...args.filter((word) => word !== '-fatbin' && word !== '-gencode' && !word.startsWith('arch=')), `-arch=${target}`];

/** Leaves source and headers, PTX, cubin and, where cuobjdump is there, SASS of each kernel in `folder`; their paths. Throws EnvironmentError without nvcc or where it cannot write, CompileError. */
export async function keepListings(kernels: readonly Kernel[], folder: string): Promise<string[]> {
  const nvcc = await nvccOrThrow();
  return writingTo(folder, () => listings(nvcc, kernels, resolve(folder)), KEEP_FIX);
}

const KEEP_FIX = 'make it writable, or choose another folder with --keep';

async function listings(nvcc: Nvcc, kernels: readonly Kernel[], dir: string): Promise<string[]> {
  await writeSources(kernels, dir);
  const paths: string[] = [];
  for (const kernel of kernels) {
    const n = targetOf(kernel.arch, usesOwnInstructions(kernel.tile));
    paths.push(join(dir, sourcePath(kernel)), await compileTo(nvcc, kernel, dir, '.ptx', only('-ptx', `compute_${n}`)));
    const cubin = await compileTo(nvcc, kernel, dir, '.cubin', only('-cubin', `sm_${n}`));
    paths.push(cubin, ...(await disassemble(nvcc, cubin)));
  }
  return paths;
}

/** SASS beside the cubin, by the cuobjdump of the toolkit or of PATH; nothing if there is none. */
async function disassemble({ path }: Nvcc, cubin: string): Promise<string[]> {
  for (const tool of [join(dirname(path), 'cuobjdump'), 'cuobjdump']) {
    const { stdout, exitCode } = await execa(tool, ['-sass', cubin], { reject: false, timeout: 60_000 });
    if (exitCode !== 0) continue;
    const sass = cubin.replace(/\.cubin$/, '.sass');
    await writeFile(sass, `${stdout}\n`);
    return [sass];
  }
  return [];
}

const quote = (word: string): string => (/^[\w./=,:+-]+$/.test(word) ? word : `'${word.replace(/'/g, `'\\''`)}'`);

/** The command line that profiles the first launch of a kernel: ncu, the runner, and one request in a file. */
export const ncuCommand = (kernel: string, runner: string, request: string, sources: string): string =>
  ['ncu', '--set', 'full', '--import-source', 'yes', '--source-folders', sources, '--kernel-name', kernel, '--launch-count', '1', '--export', kernel, '--force-overwrite', runner]
    .map(quote)
    .concat('<', quote(request))
    .join(' ');

/** Builds a kernel with line numbers in `folder` (else in the build cache) and writes one request; the command that profiles it. Throws EnvironmentError without nvcc or where it cannot write, CompileError. */
export async function profileCommand(kernel: Kernel, launch: ProfiledLaunch, folder?: string): Promise<string> {
  const nvcc = await nvccOrThrow();
  const dir = folder === undefined ? join(cacheDir(), 'profile') : resolve(folder);
  return writingTo(dir, () => profiled(nvcc, kernel, launch, dir), folder === undefined ? 'set ANTKV_CACHE to a folder that you can write, or name one with --keep' : KEEP_FIX);
}

interface ProfiledLaunch {
  readonly batch: number;
  readonly tokens: number;
  readonly splits?: number | undefined;
}

async function profiled(nvcc: Nvcc, kernel: Kernel, { batch, tokens, splits = 1 }: ProfiledLaunch, dir: string): Promise<string> {
  const decode = kernel.contract.op === 'decode';
  const built = decode ? [kernel, combineOf(kernel)] : [kernel];
  await writeSources(built, dir);
  const [ref, combine] = await Promise.all(built.map(async (one) => kernelRef(kernelName(one), await compileTo(nvcc, one, dir, '.fatbin', (args) => [...args, '-lineinfo']))));
  const merge = decode && splits > 1 ? { combine } : {};
  const request = { id: 1, cmd: 'bench', op: kernel.contract.op, kernel: ref, ...merge, shape: { batch, tokens, ...HEADS, ...(decode ? { splits } : {}) }, samples: 1 };
  const file = join(dir, `${kernelName(kernel)}.jsonl`);
  await writeFile(file, `${JSON.stringify(request)}\n`);
  return ncuCommand(kernelName(kernel), await buildRunner(), file, dir);
}
