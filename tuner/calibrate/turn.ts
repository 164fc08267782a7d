// Values in a basis of their own: found head by head, applied piece by piece.
import { chunksOf, codecOf } from '../../generator/codec.ts';
import type { Basis } from '../../generator/basis.ts';
import type { DumpLayer } from '../../generator/format.ts';
import { transposed } from './basis.ts';
import type { CalibrateOptions } from './calibrate.ts';
import type { DumpFile } from './file.ts';
import type { Pool } from './pool.ts';
import type { BasisTask, Rows, TurnTask } from './task.ts';

/** Tokens that a task turns: enough tasks for 16 cores where a layer has one head of 65,536. */
const TURNED = 4096;

/** The values of a layer in a basis of their own: bases head by head, then rows in pieces, so that cores beyond the number of heads have work too. */
export async function turnedValues(file: DumpFile, layer: DumpLayer, tokens: number, { recipe, onProgress }: Pick<CalibrateOptions, 'recipe' | 'onProgress'>, pool: Pool): Promise<{ basis: Basis; rows: Rows } | undefined> {
  const codec = codecOf(recipe.v);
  if (codec.kind === 'exact') return undefined;
  const { headDim } = file.dump;
  const out = new Uint16Array(new SharedArrayBuffer(layer.kvHeads * tokens * headDim * 2));
  const rows = file.rows(layer.v, tokens);
  const tasks = Array.from({ length: layer.kvHeads }, (_, head): BasisTask => ({ kind: 'basis', rows, head, chunks: chunksOf(codec, headDim) }));
  const found = await pool.run(tasks);
  const starts = Array.from({ length: Math.ceil(tokens / TURNED) }, (_, i) => i * TURNED);
  const pieces = found.flatMap(({ head, to: basis }) => starts.map((from): TurnTask => ({ kind: 'turn', rows, head, basis, range: [from, Math.min(tokens, from + TURNED)], out })));
  let done = 0;
  await pool.run(pieces, () => onProgress?.({ layer: layer.layer, what: 'basis', done: ++done, total: pieces.length }));
  const to = new Float32Array(layer.kvHeads * headDim * headDim);
  for (const { head, to: mine } of found) to.set(mine, head * headDim * headDim);
  return { basis: { kvHeads: layer.kvHeads, headDim, to, back: transposed(to, headDim) }, rows: { data: out, stride: tokens, tokens, headDim } };
}
