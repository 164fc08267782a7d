// A runner with the kernels that it can load: on a GPU with fatbins, or emulated with g++ builds of the same sources.
import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import PQueue from 'p-queue';
import { ARCHS } from '../generator/arch.ts';
import { emitAll } from '../generator/emit.ts';
import { CompileError, EnvironmentError } from '../generator/errors.ts';
import { fatbinPath, kernelName, sourcePath, type Kernel } from '../generator/name.ts';
import { renderKernel } from '../generator/source.ts';
import { readBuild } from './build.ts';
import { compileAll } from './compile.ts';
import { buildEmulatedKernel, buildEmulator, buildRunner } from './host.ts';
import { findNvcc, NVCC_FIX } from './nvcc.ts';
import { kernelRef, type InfoRecord, type KernelRef } from './problem.ts';
import { Runner } from './runner.ts';
import { removeTemporary, temporaryFolder } from './temporary.ts';

/** `auto`: the first GPU if there is one and fatbins can be had, else emulated; a number: that GPU or an error. */
export type Device = 'auto' | 'emulated' | number;

export interface Loaded {
  readonly runner: Runner;
  /** Path of the runner, and the environment that it runs in. */
  readonly binary: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly info: InfoRecord;
  /** By kernel name. */
  readonly kernels: ReadonlyMap<string, KernelRef>;
  /** Why `auto` did not take a GPU. */
  readonly why?: string;
  close(): Promise<void>;
}

/** For one request: emulated, some thousand tokens take minutes on a busy machine. */
const TIMEOUT_MS = 900_000;
const GENERATED = fileURLToPath(new URL('../generated', import.meta.url));

/**
 * Starts a runner and makes `kernels` loadable for it; `onStep` hears of each that is ready. Without `mayEmulate`, `auto` is a GPU or an error. Throws EnvironmentError if there is no g++, or if the GPU that was asked for
 * cannot be used, and CompileError.
 */
export async function loadKernels(kernels: readonly Kernel[], device: Device, onStep: (what: string) => void, mayEmulate = true): Promise<Loaded> {
  const binary = await buildRunner();
  onStep('runner');
  if (device === 'emulated') return loadEmulated(binary, kernels, onStep);
  try {
    return await loadOnGpu(binary, kernels, device, onStep);
  } catch (error) {
    if (device !== 'auto' || !mayEmulate || !(error instanceof EnvironmentError)) throw error;
    return { ...(await loadEmulated(binary, kernels, onStep)), why: error.message };
  }
}

async function loadEmulated(binary: string, kernels: readonly Kernel[], onStep: (what: string) => void): Promise<Loaded> {
  // An H100 where a kernel was made for one or a later one: blocks of an A100, which the emulator is else, have less shared memory.
  const hopper = kernels.some(({ arch }) => ARCHS.indexOf(arch) >= ARCHS.findIndex(({ name }) => name === 'sm90'));
  const runner = new Runner({ binary, driver: await buildEmulator(), timeoutMs: TIMEOUT_MS, ...(hopper ? { env: { ANTKV_EMU_ARCH: '90' } } : {}) });
  onStep('emulated driver');
  const queue = new PQueue({ concurrency: 2 }); // one g++ takes up to 300 MB
  const refs = await Promise.all(
    kernels.map((kernel) =>
      queue.add(async () => {
        const name = kernelName(kernel);
        const ref = kernelRef(name, await buildEmulatedKernel(name, renderKernel(kernel)));
        onStep(name);
        return ref;
      }),
    ),
  );
  return { runner, binary, info: await runner.info(), kernels: new Map(refs.map((ref) => [ref.name, ref])), close: () => runner.close() };
}

async function loadOnGpu(binary: string, kernels: readonly Kernel[], device: 'auto' | number, onStep: (what: string) => void): Promise<Loaded> {
  const started = { binary, ...(device === 'auto' ? {} : { env: { CUDA_VISIBLE_DEVICES: String(device) } }) };
  const runner = new Runner({ ...started, timeoutMs: TIMEOUT_MS });
  let folder: string | undefined;
  const close = async (): Promise<void> => {
    await runner.close();
    if (folder) removeTemporary(folder);
  };
  try {
    const info = await runner.info();
    const capability = kernels.reduce((most, { arch }) => Math.max(most, Number(arch.name.slice(2))), 0); // thousands, perhaps: no spread
    if (info.cc < capability) throw new EnvironmentError(`${info.device} has compute capability ${info.cc / 10}, the kernels need ${capability / 10}`, 'use --device emulated');
    onStep(info.device);
    if (!(await findNvcc())) return { runner, ...started, info, kernels: await builtFatbins(kernels, onStep), close };
    folder = temporaryFolder('antkv-images-');
    return { runner, ...started, info, kernels: await compileFatbins(kernels, folder, onStep), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Compiles `kernels` into `folder`; references by kernel name. Throws EnvironmentError without nvcc, CompileError. */
export async function compileFatbins(kernels: readonly Kernel[], folder: string, onStep: (what: string) => void): Promise<Map<string, KernelRef>> {
  const nvcc = await findNvcc();
  if (!nvcc) throw new EnvironmentError('nvcc was not found', NVCC_FIX);
  const files = emitAll(kernels);
  for (const [path, text] of files) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  }
  const failed = (await compileAll(kernels, files, { nvcc, out: folder, onDone: (_done, _total, name) => onStep(name) })).find(({ failure }) => failure);
  if (failed?.failure) throw new CompileError(`${failed.name}: ${failed.failure.why}`, 'gen --arch sm80 shows the command');
  return new Map(kernels.map((kernel) => [kernelName(kernel), kernelRef(kernelName(kernel), join(folder, fatbinPath(kernel)))]));
}

/** The fatbins under generated/, where they were made from the sources that the templates give now. */
async function builtFatbins(kernels: readonly Kernel[], onStep: (what: string) => void): Promise<Map<string, KernelRef>> {
  const { kernels: rows } = await readBuild(GENERATED);
  const refs = new Map<string, KernelRef>();
  for (const kernel of kernels) {
    const name = kernelName(kernel);
    const [source, fatbin] = await Promise.all([sourcePath(kernel), fatbinPath(kernel)].map((path) => readFile(join(GENERATED, path)).catch(() => undefined)));
    const sound = source?.toString() === renderKernel(kernel) && fatbin !== undefined && rows[name]?.sha256 === createHash('sha256').update(fatbin).digest('hex');
    if (!sound) throw new EnvironmentError(`nvcc was not found and generated/ has no up-to-date fatbin of ${name}`, NVCC_FIX);
    refs.set(name, kernelRef(name, join(GENERATED, fatbinPath(kernel))));
    onStep(name);
  }
  return refs;
}
