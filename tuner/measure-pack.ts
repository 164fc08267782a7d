// gen pack --measure: a folder with which a machine without Node, network or nvcc measures the kernels; harness/bench/measure.sh runs it there.
import { chmod, cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { EnvironmentError, InputError } from '../generator/errors.ts';
import { kernelName, type Kernel } from '../generator/name.ts';
import { renderKernel } from '../generator/source.ts';
import packageJson from '../package.json' with { type: 'json' };
import { casesOf, kernelsOfCases, requestsOf, USUAL_SMS, type Grid } from './bench-plan.ts';
import { compileCeilings } from './ceilings.ts';
import { checksOf } from './check-plan.ts';
import { buildEmulatedKernel, runnerSources } from './host.ts';
import { compileFatbins } from './images.ts';
import { findNvcc, NVCC_FIX } from './nvcc.ts';
import { kernelRef } from './problem.ts';
import { removeTemporary, temporaryFolder } from './temporary.ts';

const ROOT = fileURLToPath(new URL('../', import.meta.url));

export interface MeasurePackOptions {
  readonly kernels: readonly Kernel[];
  readonly grid: Grid;
  /** Multiprocessors that splits are planned for; {@link USUAL_SMS} unless given. */
  readonly sms?: number;
  readonly samples?: number;
  /** Kernels compiled for the emulated driver instead of fatbins, and no ceilings: for tests of the pack itself. */
  readonly emulated?: boolean;
  readonly onStep?: (what: string) => void;
}

/** What was packed; the first line of the records. */
export interface PackLine {
  readonly record: 'pack';
  readonly antkv: string;
  /** Of the fatbins; null if emulated. */
  readonly nvcc: string | null;
  readonly requests: number;
}

/** Compiles `kernels` into `dir`/images; the name of each with its path below `dir`. */
async function writeImages(kernels: readonly Kernel[], dir: string, emulated: boolean, onStep: (what: string) => void): Promise<Map<string, string>> {
  const paths = new Map(kernels.map((kernel) => [kernelName(kernel), `images/${kernelName(kernel)}.${emulated ? 'so' : 'fatbin'}`]));
  const scratch = temporaryFolder('antkv-pack-');
  try {
    const built = emulated ? undefined : await compileFatbins(kernels, scratch, onStep);
    for (const kernel of kernels) {
      const name = kernelName(kernel);
      const from = built ? built.get(name)!.image : await buildEmulatedKernel(name, renderKernel(kernel));
      await writeFile(join(dir, paths.get(name)!), await readFile(from));
      if (emulated) onStep(name);
    }
  } finally {
    removeTemporary(scratch);
  }
  return paths;
}

/** Fills the new or empty folder `dir`. Throws EnvironmentError without nvcc (unless emulated), CompileError, InputError if the folder has files. */
export async function writeMeasurePack(dir: string, options: MeasurePackOptions): Promise<PackLine> {
  const { emulated = false, onStep = () => {}, samples } = options;
  const nvcc = emulated ? undefined : await findNvcc();
  if (!emulated && !nvcc) throw new EnvironmentError('nvcc was not found: a pack holds compiled kernels', NVCC_FIX);
  const put = async (path: string, text: string): Promise<void> => {
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await writeFile(join(dir, path), text);
  };
  await mkdir(join(dir, 'images'), { recursive: true });
  for (const [path, text] of await runnerSources()) await put(path, text);
  for (const path of ['harness/bench/measure.sh', 'harness/python/baseline.py']) await put(basename(path), await readFile(join(ROOT, path), 'utf8'));
  await chmod(join(dir, 'measure.sh'), 0o755);

  const ops = [...new Set(options.kernels.map(({ contract }) => contract.op))];
  const cases = ops.flatMap((op) => casesOf(options.kernels.filter(({ contract }) => contract.op === op), options.grid, options.sms ?? USUAL_SMS));
  const paths = await writeImages(kernelsOfCases(cases), dir, emulated, onStep);
  if (nvcc) await compileCeilings(nvcc, join(dir, 'images/ceilings.fatbin'));
  const ref = (name: string) => kernelRef(name, paths.get(name)!);

  // The likeliest split of every case first, so that a run that is cut off has one time of each.
  const raced = cases.map((one) => requestsOf(one, ref, samples));
  const rounds = Array.from({ length: Math.max(...raced.map((requests) => requests.length)) }, (_, i) => raced.flatMap((requests) => requests[i] ?? []));
  const requests = [{ cmd: 'info' }, { cmd: 'ceilings', ...(emulated ? { samples: 3 } : { image: 'images/ceilings.fatbin' }) }, ...checksOf(options.kernels, ref), ...rounds.flat()];
  await put('requests.jsonl', requests.map((request, i) => `${JSON.stringify({ id: i + 1, ...request })}\n`).join(''));
  const line: PackLine = { record: 'pack', antkv: packageJson.version, nvcc: nvcc?.version ?? null, requests: requests.length };
  await put('pack.json', `${JSON.stringify(line)}\n`);
  return line;
}

/** Writes a pack to `out`: a folder, or an archive if it ends in .tar.gz. Replaces a pack that is there; refuses a folder of anything else. */
export async function packMeasure(out: string, options: MeasurePackOptions): Promise<PackLine> {
  const target = resolve(out);
  const archive = /\.t(ar\.)?gz$/.test(target);
  const scratch = temporaryFolder('antkv-pack-');
  try {
    const folder = join(scratch, archive ? basename(target).replace(/\.t(ar\.)?gz$/, '') : 'measure');
    await mkdir(folder);
    const line = await writeMeasurePack(folder, options);
    await mkdir(dirname(target), { recursive: true });
    if (archive) await execa('tar', ['-czf', target, '-C', scratch, basename(folder)]);
    else await replaceFolder(folder, target);
    return line;
  } finally {
    removeTemporary(scratch);
  }
}

async function replaceFolder(folder: string, target: string): Promise<void> {
  const there = await readdir(target).catch((): string[] => []);
  if (there.length > 0 && !there.includes('pack.json')) throw new InputError(`${target} is a folder with other files`, 'name a new folder with --out');
  await rm(target, { recursive: true, force: true });
  await cp(folder, target, { recursive: true });
}
