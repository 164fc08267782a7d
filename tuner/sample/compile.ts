// `gen support --compile`: what nvcc takes, kernel by kernel; nothing is kept.
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { emitAll } from '../../generator/emit.ts';
import { EnvironmentError } from '../../generator/errors.ts';
import { kernelName, type Kernel } from '../../generator/name.ts';
import { compileAll } from '../compile.ts';
import { findNvcc, NVCC_FIX } from '../nvcc.ts';
import { removeTemporary, temporaryFolder } from '../temporary.ts';

/** Compiles `kernels`; the names of those that nvcc took, and why it did not take the others. Throws EnvironmentError without nvcc. */
export async function tryCompile(kernels: readonly Kernel[], onDone: (done: number, total: number, name: string) => void): Promise<{ nvcc: string; names: string[]; failed: string[] }> {
  const nvcc = await findNvcc();
  if (!nvcc) throw new EnvironmentError('nvcc was not found', NVCC_FIX);
  const unique = [...new Map(kernels.map((kernel) => [kernelName(kernel), kernel])).values()];
  const out = temporaryFolder('antkv-compile-');
  try {
    const files = emitAll(unique, []);
    for (const [path, text] of files) {
      await mkdir(dirname(join(out, path)), { recursive: true });
      await writeFile(join(out, path), text);
    }
    const made = await compileAll(unique, files, { nvcc, out, onDone });
    return { nvcc: nvcc.version, names: made.filter(({ built }) => built).map(({ name }) => name), failed: made.flatMap(({ name, failure }) => (failure ? [`${name}: ${failure.why}`] : [])) };
  } finally {
    removeTemporary(out);
  }
}
