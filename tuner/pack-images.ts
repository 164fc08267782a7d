// The kernels of a pack: compiled here, built for the emulated driver, or sources that the machine of the pack compiles (harness/runner/compile.sh), which are a tenth of the size.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { emitAll } from '../generator/emit.ts';
import { fatbinPath, kernelName, sourcePath, type Kernel } from '../generator/name.ts';
import { renderKernel } from '../generator/source.ts';
import { usesOwnInstructions } from '../generator/tile.ts';
import { buildEmulatedKernel } from './host.ts';
import { compileFatbins } from './images.ts';
import { nvccArgs } from './nvcc.ts';
import { removeTemporary, temporaryFolder } from './temporary.ts';

export type ImageForm = 'fatbins' | 'sources' | 'emulated';

const SCRIPT = fileURLToPath(new URL('../harness/runner/compile.sh', import.meta.url));
/** What every kernel's source includes. */
const HEADERS = ['antkv.h', 'antkv_device.cuh'];

export interface PackImages {
  /** By kernel name: the path of the image that a runner loads, below the pack's folder or, of sources, below the folder that they are compiled into. */
  readonly paths: ReadonlyMap<string, string>;
  /** Files below the pack's folder that decide what is run. */
  readonly files: readonly string[];
  readonly bytes: number;
}

/** Writes `kernels` into the folder `dir` of a pack. `onStep` hears of each. Throws EnvironmentError without nvcc (fatbins only), CompileError. */
export async function writePackImages(kernels: readonly Kernel[], dir: string, form: ImageForm, onStep: (what: string) => void): Promise<PackImages> {
  const paths = new Map(kernels.map((kernel) => [kernelName(kernel), `images/${kernelName(kernel)}.${form === 'emulated' ? 'so' : 'fatbin'}`]));
  if (form === 'sources') return writeSources(kernels, paths, dir);
  await mkdir(join(dir, 'images'), { recursive: true });
  const scratch = temporaryFolder('antkv-pack-');
  let bytes = 0;
  try {
    const built = form === 'fatbins' ? await compileFatbins(kernels, scratch, onStep) : undefined;
    for (const kernel of kernels) {
      const name = kernelName(kernel);
      const image = await readFile(built ? built.get(name)!.image : await buildEmulatedKernel(name, renderKernel(kernel)));
      bytes += image.length;
      await writeFile(join(dir, paths.get(name)!), image);
      if (!built) onStep(name);
    }
  } finally {
    removeTemporary(scratch);
  }
  return { paths, files: [...paths.values()], bytes };
}

/** Sources, flat beside the headers, and a line for each in compile.txt: what nvcc is told, from the folder of the sources. */
async function writeSources(kernels: readonly Kernel[], paths: ReadonlyMap<string, string>, dir: string): Promise<PackImages> {
  await mkdir(join(dir, 'sources'), { recursive: true });
  const emitted = emitAll(kernels, []);
  const texts = new Map([...HEADERS.map((name) => [name, emitted.get(name)!] as const), ...kernels.map((kernel) => [basename(sourcePath(kernel)), emitted.get(sourcePath(kernel))!] as const)]);
  for (const [name, text] of texts) await writeFile(join(dir, 'sources', name), text);
  const lines = kernels.map((kernel) => nvccArgs(kernel.arch, basename(sourcePath(kernel)), basename(fatbinPath(kernel)), usesOwnInstructions(kernel.tile)).join(' '));
  await writeFile(join(dir, 'sources/compile.txt'), lines.map((line) => `${line}\n`).join(''));
  await writeFile(join(dir, 'compile.sh'), await readFile(SCRIPT), { mode: 0o755 });
  const files = [...texts.keys()].map((name) => `sources/${name}`);
  return { paths, files, bytes: [...texts.values()].reduce((sum, text) => sum + text.length, 0) };
}
