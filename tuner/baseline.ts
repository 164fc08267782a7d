// FP16 attention of PyTorch at the shapes of decode, as harness/python/baseline.py times it: what `gen bench` and `gen tune` compare with.
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import type { BaselineShape } from './bench-plan.ts';
import { rowSchema, type Row } from './bench-row.ts';

const BASELINE = fileURLToPath(new URL('../harness/python/baseline.py', import.meta.url));

export interface BaselineOptions {
  /** What CUDA_VISIBLE_DEVICES is to be; undefined: as it is. */
  readonly device?: string;
  readonly samples?: number;
  /** Seconds after which no further shape is begun. */
  readonly limit?: number;
  readonly signal?: AbortSignal;
}

/** Times the shapes in their order, in a process of its own. `missing`: why rows lack, where they do (no PyTorch, no GPU, too little memory, the limit). */
export async function runBaseline(shapes: readonly BaselineShape[], { device, samples, limit, signal }: BaselineOptions = {}): Promise<{ readonly rows: Row[]; readonly missing: string | undefined }> {
  const python = process.env['PYTHON'] || 'python3';
  const words = [BASELINE, '--shapes', JSON.stringify(shapes), ...(samples === undefined ? [] : ['--samples', String(samples)]), ...(limit === undefined ? [] : ['--limit', String(limit)])];
  const { stdout = '', stderr = '', exitCode } = await execa(python, words, {
    reject: false, timeout: 600_000, ...(signal ? { cancelSignal: signal } : {}), ...(device === undefined ? {} : { env: { CUDA_VISIBLE_DEVICES: device } }),
  });
  const rows = stdout.split('\n').filter((text) => text.startsWith('{') && text.endsWith('}')).map((line) => rowSchema.parse(JSON.parse(line)));
  return { rows, missing: exitCode === 0 ? undefined : stderr.trim().split('\n').at(-1) || `no FP16 baseline: ${python} does not run` };
}
