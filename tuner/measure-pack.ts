// gen pack --measure: a folder with which a machine without Node, network or nvcc measures the kernels; harness/bench/measure.sh runs it there.
import { createHash } from 'node:crypto';
import { readdirSync, renameSync, rmSync } from 'node:fs';
import { chmod, cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { EnvironmentError } from '../generator/errors.ts';
import { kernelName } from '../generator/name.ts';
import { makeFolder, writeWhole, writingTo } from '../generator/write.ts';
import packageJson from '../package.json' with { type: 'json' };
import { baselineShapes, kernelsOfCases, roundsOf, type Case } from './bench-plan.ts';
import { compileCeilings } from './ceilings.ts';
import { checkRequest, checksOf } from './check-plan.ts';
import { runnerSources } from './host.ts';
import { findNvcc, NVCC_FIX } from './nvcc.ts';
import { writePackImages, type ImageForm } from './pack-images.ts';
import { judgeArchive, judgeFolder } from './pack-target.ts';
import { kernelRef } from './problem.ts';
import { removeTemporary, temporaryFolder } from './temporary.ts';

const ROOT = fileURLToPath(new URL('../', import.meta.url));

export interface MeasurePackOptions {
  /** What to measure, in groups, most important first. */
  readonly groups: readonly (readonly Case[])[];
  readonly samples?: number;
  /** `emulated`: for the emulated driver, and no ceilings, for tests of the pack itself; `sources`: compiled by measure.sh. Default: fatbins. */
  readonly form?: ImageForm;
  readonly onStep?: (what: string) => void;
}

/** What was packed; the first line of the records. */
export interface PackLine {
  readonly record: 'pack';
  readonly antkv: string;
  /** Of the fatbins, of sources the one here; null if emulated. */
  readonly nvcc: string | null;
  readonly requests: number;
  /** Of kernels and requests: records of another pack are not gone on with. */
  readonly digest: string;
}

async function digestOf(dir: string, paths: readonly string[]): Promise<string> {
  const hash = createHash('sha256');
  for (const path of paths) hash.update(await readFile(join(dir, path)));
  return hash.digest('hex').slice(0, 16);
}

/** Fills the new or empty folder `dir`. Throws EnvironmentError without nvcc (unless emulated), CompileError, InputError if the folder has files. */
export async function writeMeasurePack(dir: string, options: MeasurePackOptions): Promise<PackLine> {
  const { form = 'fatbins', onStep = () => {}, samples } = options;
  const emulated = form === 'emulated';
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

  const cases = options.groups.flat();
  const checked = checksOf(kernelsOfCases(cases));
  const kernels = [...new Map([...kernelsOfCases(cases), ...checked.flatMap(({ combine }) => combine ?? [])].map((kernel) => [kernelName(kernel), kernel])).values()];
  const { paths, files } = await writePackImages(kernels, dir, form, onStep);
  if (nvcc) await compileCeilings(nvcc, join(dir, 'images/ceilings.fatbin'));
  const ref = (name: string) => kernelRef(name, paths.get(name)!);
  const head = [{ cmd: 'info' }, { cmd: 'ceilings', ...(emulated ? { samples: 3 } : { image: 'images/ceilings.fatbin' }) }];
  const requests = [...head, ...checked.map((check) => checkRequest(check, ref)), ...roundsOf(options.groups, ref, samples)];
  await put('requests.jsonl', requests.map((request, i) => `${JSON.stringify({ id: i + 1, ...request })}\n`).join(''));
  await put('baseline.json', `${JSON.stringify(baselineShapes(cases))}\n`);
  const line: PackLine = { record: 'pack', antkv: packageJson.version, nvcc: nvcc?.version ?? null, requests: requests.length, digest: await digestOf(dir, ['requests.jsonl', ...files]) };
  await put('pack.json', `${JSON.stringify(line)}\n`);
  return line;
}

/** Writes a pack to `out`: a folder, or an archive if it ends in .tar.gz. Replaces a pack that is there; throws InputError, before anything is compiled, where something else would be lost. */
export async function packMeasure(out: string, options: MeasurePackOptions): Promise<PackLine> {
  const target = resolve(out);
  const ending = /\.t(ar\.)?gz$/.exec(target)?.[0];
  if (ending) judgeArchive(target);
  else judgeFolder(target, PARTS, 'name a new folder, or FILE.tar.gz, with --out', 'pack.json');
  const scratch = temporaryFolder('antkv-pack-');
  try {
    const folder = join(scratch, ending ? basename(target, ending) || 'measure' : 'measure');
    return await writingTo(ending ? dirname(target) : target, async () => {
      await mkdir(folder);
      const line = await writeMeasurePack(folder, options);
      if (ending) await writeArchive(folder, target);
      else await replacePack(folder, target);
      return line;
    });
  } finally {
    removeTemporary(scratch);
  }
}

/** What a pack consists of, and the runner that measure.sh builds in it. Anything else beside it is the user's: records above all. */
const PARTS = ['pack.json', 'measure.sh', 'compile.sh', 'baseline.py', 'baseline.json', 'requests.jsonl', 'images', 'sources', 'harness', 'generated', 'antkv-runner'];

/** Packs `folder` beside its new place first: an archive that is there stays until the new one is whole. */
async function writeArchive(folder: string, target: string): Promise<void> {
  const packed = `${folder}.tar.gz`;
  const { failed, shortMessage } = await execa('tar', ['-czf', packed, '-C', dirname(folder), basename(folder)], { reject: false });
  if (failed) throw new EnvironmentError(`tar does not pack the archive: ${shortMessage ?? ''}`, 'install tar, or write a folder: --out DIR');
  writeWhole(target, await readFile(packed));
}

/** Moves a pack to where another one may be. It is copied into that folder first, so that nothing but renaming is left to do; no signal comes between. */
async function replacePack(folder: string, target: string): Promise<void> {
  makeFolder(target);
  const beside = temporaryFolder('.antkv-pack-', target);
  await cp(folder, beside, { recursive: true });
  for (const name of PARTS) rmSync(join(target, name), { recursive: true, force: true });
  for (const name of readdirSync(beside)) renameSync(join(beside, name), join(target, name));
  removeTemporary(beside);
}
