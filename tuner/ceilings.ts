// Compiles harness/bench/ceilings.cu, whose kernels find what a device can do at most.
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CompileError } from '../generator/errors.ts';
import { cached } from './cache.ts';
import { firstErrorLine, runNvcc, type Nvcc } from './nvcc.ts';

const SOURCE = fileURLToPath(new URL('../harness/bench/ceilings.cu', import.meta.url));
// sm_80, and its PTX for whatever is newer.
const FLAGS = ['-fatbin', '-std=c++17', '-O3', '-gencode', 'arch=compute_80,code=sm_80', '-gencode', 'arch=compute_80,code=compute_80', '-o', 'ceilings.fatbin', 'ceilings.cu'];

/** Writes the fatbin to `out`, through the build cache. Throws CompileError. */
export async function compileCeilings(nvcc: Nvcc, out: string): Promise<void> {
  const text = await readFile(SOURCE, 'utf8');
  const dir = await cached(['ceilings 1', nvcc.version, ...FLAGS, text], async (dir) => {
    await writeFile(join(dir, 'ceilings.cu'), text);
    const { code, log } = await runNvcc(nvcc.path, FLAGS, dir, 300_000);
    if (code !== 0) throw new CompileError(`ceilings.cu: ${firstErrorLine(log)}`, `cd harness/bench && ${nvcc.path} ${FLAGS.join(' ')}`);
  });
  await copyFile(join(dir, 'ceilings.fatbin'), out);
}
