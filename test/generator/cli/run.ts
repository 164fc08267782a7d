// Runs the command line as a user would, with a cache and, if wanted, a compiler of its own.
import { execaNode, type Options } from 'execa';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { ROOT } from '../../../generator/cli/select.ts';
import { temporaryFolder } from '../../folder.ts';

/** PATH without any nvcc. */
export const PATH_WITHOUT_NVCC = (process.env['PATH'] ?? '').split(delimiter).filter((dir) => !existsSync(join(dir, 'nvcc'))).join(delimiter);
/** False where nvcc sits in the usual place, which no PATH can hide. */
export const CAN_HIDE_NVCC = !existsSync('/usr/local/cuda/bin/nvcc');

const cache = temporaryFolder();

/** Starts `gen` with `words`; never rejects. */
export const startGen = (words: readonly string[], env: Record<string, string> = {}, options: Options = {}) =>
  execaNode(join(ROOT, 'generator/gen.mjs'), words, {
    reject: false, nodeOptions: [], cwd: ROOT, timeout: 120_000, ...options,
    env: { ANTKV_CACHE: cache, CUDA_HOME: '', CUDA_PATH: '', NO_COLOR: '1', ...env },
  });

/** Runs `gen` to its end. */
export async function gen(words: readonly string[], env?: Record<string, string>, options?: Options): Promise<{ exitCode: number | undefined; stdout: string; stderr: string }> {
  const { exitCode, stdout, stderr } = await startGen(words, env, options);
  return { exitCode, stdout: String(stdout), stderr: String(stderr) };
}
