// Runs the command line as a user would, with a cache and, if wanted, a compiler of its own.
import { execaNode, type Options } from 'execa';
import { join } from 'node:path';
import { ROOT } from '../../../generator/cli/select.ts';
import { temporaryFolder } from '../../folder.ts';

/** The environment of a machine without nvcc. */
export const WITHOUT_NVCC = { CUDACXX: '/nonexistent/nvcc' };

const cache = temporaryFolder();

/** Starts `gen` with `words`; never rejects. */
export const startGen = (words: readonly string[], env: Record<string, string> = {}, options: Options = {}) =>
  execaNode(join(ROOT, 'generator/gen.mjs'), words, {
    reject: false, nodeOptions: [], cwd: ROOT, timeout: 120_000, ...options,
    env: { ANTKV_CACHE: cache, NO_COLOR: '1', FORCE_COLOR: undefined, ...env },
  });

/** Runs `gen` to its end. */
export async function gen(words: readonly string[], env?: Record<string, string>, options?: Options): Promise<{ exitCode: number | undefined; stdout: string; stderr: string }> {
  const { exitCode, stdout, stderr } = await startGen(words, env, options);
  return { exitCode, stdout: String(stdout), stderr: String(stderr) };
}
