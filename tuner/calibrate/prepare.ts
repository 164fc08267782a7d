// What the cores find of a layer before anything is clustered: weights from its queries, and its values in a basis of their own.
import type { Basis } from '../../generator/basis.ts';
import { InputError } from '../../generator/errors.ts';
import type { DumpLayer } from '../../generator/format.ts';
import type { CalibrateOptions } from './calibrate.ts';
import type { DumpFile } from './file.ts';
import type { Pool } from './pool.ts';
import { rotated } from './rows.ts';
import type { Rows, WeightTask } from './task.ts';
import { turnedValues } from './turn.ts';

export interface Prepared {
  readonly tokens: number;
  /** `[kv_heads, tokens]` of each side, where they come from queries. */
  readonly weights: { readonly k: Float32Array; readonly v: Float32Array } | undefined;
  readonly turned: { readonly basis: Basis; readonly rows: Rows } | undefined;
}

type Preparing = CalibrateOptions & { readonly weights: NonNullable<CalibrateOptions['weights']>; readonly power: number };

/** Throws InputError if the dump lacks queries that the weights need, or does not say how its keys rotate. */
export async function prepare(file: DumpFile, layer: DumpLayer, options: Preparing, pool: Pool): Promise<Prepared> {
  const tokens = Math.min(layer.tokens, options.tokens ?? Infinity);
  const weights = typeof options.weights === 'object' ? undefined : await weightsOfLayer(file, layer, tokens, options, pool);
  const turned = options.recipe.transform === 'basis' ? await turnedValues(file, layer, tokens, options, pool) : undefined;
  return { tokens, weights, turned };
}

async function weightsOfLayer(file: DumpFile, layer: DumpLayer, tokens: number, { weights, power, onProgress }: Preparing, pool: Pool): Promise<{ k: Float32Array; v: Float32Array } | undefined> {
  if (weights === 'none') return undefined;
  if (!layer.q) throw new InputError(`${file.path}: layer ${layer.layer} has no queries, which weights "${String(weights)}" need`, 'dump q (after RoPE) too, or give --weights none');
  const [q, k, v] = [file.rows(layer.q, tokens), keysOf(file, layer, tokens, 'post'), file.rows(layer.v, tokens)];
  const ratio = layer.q.shape[0]! / layer.kvHeads;
  const tasks = Array.from({ length: layer.kvHeads }, (_, head): WeightTask => ({ kind: 'weights', q, k, v, head, ratio, window: file.dump.window, exact: weights === 'exact', power }));
  let done = 0;
  const results = await pool.run(tasks, () => onProgress?.({ layer: layer.layer, what: 'weights', done: ++done, total: tasks.length }));
  const shared = (): Float32Array => new Float32Array(new SharedArrayBuffer(layer.kvHeads * tokens * 4));
  const all = { k: shared(), v: shared() };
  for (const { head, k, v } of results) {
    all.k.set(k, head * tokens);
    all.v.set(v, head * tokens);
  }
  return all;
}

/** Keys before or after RoPE, rotated if the dump has the other kind only. Throws InputError if it does not say how. */
export function keysOf(file: DumpFile, layer: DumpLayer, tokens: number, position: 'pre' | 'post'): Rows {
  const there = position === 'pre' ? layer.k_pre_rope : layer.k;
  if (there) return file.rows(there, tokens);
  const { rope, window } = file.dump;
  if (!rope) throw new InputError(`${file.path}: layer ${layer.layer} has no keys ${position === 'pre' ? 'before' : 'after'} RoPE, and the metadata do not say how to rotate`, 'add the metadata rope_theta (generator/format.ts), or dump the other keys');
  return rotated(file.rows((layer.k ?? layer.k_pre_rope)!, tokens), layer.kvHeads, rope, window, position === 'pre' ? -1 : 1);
}
