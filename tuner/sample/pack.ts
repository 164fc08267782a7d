// `gen verify --sample N --pack DIR`: a folder with which a machine without Node, network or nvcc makes the draws' checks; harness/runner/checks.sh runs it there.
import { chmod, copyFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { kernelName, type Kernel } from '../../generator/name.ts';
import { makeFolder, writingTo } from '../../generator/write.ts';
import { combineOf } from '../bench-plan.ts';
import { buildRunner } from '../host.ts';
import { judgeFolder } from '../pack-target.ts';
import { writePackImages, type ImageForm } from '../pack-images.ts';
import { kernelRef, type CheckOp } from '../problem.ts';
import { jobOf, requestOf } from '../verify.ts';
import { againOf, type Draw } from './draw.ts';

const SCRIPT = fileURLToPath(new URL('../../harness/runner/checks.sh', import.meta.url));

/** Every kernel that the checks of `draws` launch, once. */
export function kernelsOfDraws(draws: readonly Draw[]): Kernel[] {
  const merges = draws.filter(({ kernel }) => kernel.contract.op === ('decode' satisfies CheckOp)).map(({ kernel }) => combineOf(kernel));
  return [...new Map([...draws.map(({ kernel }) => kernel), ...merges].map((kernel) => [kernelName(kernel), kernel])).values()];
}

/** Fills the folder `dir`: kernels, runner, requests, and beside each request the command that repeats it. Throws EnvironmentError without nvcc (unless they are sources) or where it cannot write, CompileError. */
export const writeSamplePack = async (dir: string, draws: readonly Draw[], form: ImageForm, onStep: (what: string) => void): Promise<{ requests: number; bytes: number }> => {
  judgeFolder(dir, PARTS, FIX);
  return writingTo(dir, () => fill(dir, draws, form, onStep), FIX);
};

/** What a run that was ended leaves of these is written anew. Without answers.jsonl: answers belong to the requests that they were asked. */
const PARTS = ['checks.sh', 'requests.jsonl', 'again.txt', 'antkv-runner', 'images', 'sources', 'compile.sh'];
const FIX = 'choose a new folder, in one that you can write, with --pack';

async function fill(dir: string, draws: readonly Draw[], form: ImageForm, onStep: (what: string) => void): Promise<{ requests: number; bytes: number }> {
  makeFolder(dir);
  const { paths, bytes } = await writePackImages(kernelsOfDraws(draws), dir, form, onStep);
  const refs = new Map([...paths].map(([name, path]) => [name, kernelRef(name, path)]));
  const checks = draws.map((draw, i) => ({ id: i + 1, ...requestOf(jobOf(draw), refs, draw.seed) }));
  const requests = [{ id: 0, cmd: 'info' }, ...checks];
  await writeFile(join(dir, 'requests.jsonl'), requests.map((request) => `${JSON.stringify(request)}\n`).join(''));
  await writeFile(join(dir, 'again.txt'), draws.map((draw, i) => `${i + 1} ${againOf(draw)}\n`).join(''));
  await copyFile(await buildRunner(), join(dir, 'antkv-runner'));
  await copyFile(SCRIPT, join(dir, basename(SCRIPT)));
  for (const file of ['antkv-runner', basename(SCRIPT)]) await chmod(join(dir, file), 0o755);
  return { requests: draws.length, bytes };
}
