// Real keys and values for whole runs: dumps that fit each other, and codebooks trained on one for the other.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packBasis } from '../generator/basis.ts';
import { findArch } from '../generator/arch.ts';
import { codecOf } from '../generator/codec.ts';
import type { Op } from '../generator/contract.ts';
import { InputError } from '../generator/errors.ts';
import type { Dump } from '../generator/format.ts';
import type { Kernel } from '../generator/name.ts';
import { packCodebook } from '../generator/pack.ts';
import { contractsOf, type Recipe } from '../generator/recipe.ts';
import { kernelsOf } from '../generator/ship.ts';
import { calibrate } from './calibrate/calibrate.ts';
import type { DumpFile } from './calibrate/file.ts';
import { createPool, type Pool } from './calibrate/pool.ts';

/** A recipe with the words that name it in the output. */
export interface Variant {
  readonly name: string;
  readonly recipe: Recipe;
}

/** Codebooks of one side: where they lie packed, the basis that they are in, and whether they had too few vectors. */
export interface Side {
  readonly path: string;
  readonly basis?: string;
  readonly undertrained: boolean;
}

/** The default sm_80 kernels that a run on real data launches, which newer devices take through their PTX; `unused`: ops that it has no use for. */
export const kernelsFor = (recipe: Recipe, headDim: number, unused: readonly Op[]): Kernel[] =>
  kernelsOf(contractsOf(recipe, headDim), [findArch('sm80')!]).filter(({ contract }) => !unused.includes(contract.op) && contract.columns !== 4);

/** What a kernel is to a cache: its op, but for scores that rank a prompt and are no column sums. */
export const roleOf = ({ contract: { op, form } }: Kernel): Op | 'rank' => (op === 'score' && form !== 'column' ? 'rank' : op);

/** Throws InputError if `evaluation` cannot be attended to with codebooks of `calibration`. */
export function checkDumps(evaluation: Dump, calibration: Dump): void {
  const { source } = evaluation.header;
  const [layer] = evaluation.layers;
  const trained = calibration.layers.find((l) => l.layer === layer!.layer);
  if (!layer!.q) throw new InputError(`${source}: layer ${layer!.layer} has no queries`, 'dump q (after RoPE) too');
  if (evaluation.window < layer!.tokens) throw new InputError(`${source} holds several windows`, 'give a dump of one window to evaluate on');
  if (!trained) throw new InputError(`${calibration.header.source} has no layer ${layer!.layer}`, `calibrate on the layer that ${source} holds`);
  if (trained.kvHeads !== layer!.kvHeads || calibration.headDim !== evaluation.headDim) throw new InputError(`${calibration.header.source} and ${source} differ in KV heads or head dim`, 'dump both from one model');
  if (!evaluation.rope) throw new InputError(`${source}: the metadata do not describe RoPE`, 'add the metadata rope_theta (generator/format.ts)');
  if (evaluation.metadata.rope_inv_freq) throw new InputError(`${source} gives frequencies of its own, which the demo does not take`, 'use a dump with rope_theta');
}

/** The fields that the runner wants of a dump's RoPE. */
export const ropeOf = (dump: Dump): { theta: number; rotary_dim: number; interleaved: boolean; factor: number } =>
  ({ theta: dump.metadata.rope_theta!, rotary_dim: dump.rope!.dim, interleaved: dump.rope!.interleaved, factor: dump.rope!.attentionFactor });

/** The codebook that a side of a recipe needs, as a key that recipes share; undefined for an exact side. */
export function sideKey(recipe: Recipe, side: 'k' | 'v'): string | undefined {
  if (codecOf(recipe[side]).kind === 'exact') return undefined;
  return `${side === 'k' ? `k-${recipe.k}-${recipe.key}` : `v-${recipe.v}-${recipe.transform}`}-${recipe.scope}`;
}

/** Every codebook that the variants need, once, as a recipe whose other side is exact. */
export function sidesOf(variants: readonly Variant[]): Map<string, Recipe> {
  const sides = new Map<string, Recipe>();
  for (const { recipe } of variants) {
    const [k, v] = [sideKey(recipe, 'k'), sideKey(recipe, 'v')];
    if (k) sides.set(k, { ...recipe, v: 'f16', transform: 'none' });
    if (v) sides.set(v, { ...recipe, k: 'f16', key: 'post' });
  }
  return sides;
}

async function calibrateSide(file: DumpFile, layer: number, recipe: Recipe, path: string, pool: Pool): Promise<Side> {
  const { layers, record } = await calibrate(file, { recipe, layers: [layer], pool });
  const { k, v, basis } = layers.get(layer)!;
  const { codec, tensor } = (k ?? v)!;
  writeFileSync(path, packCodebook(codec, file.dump.headDim, tensor));
  if (basis) writeFileSync(`${path}.basis`, packBasis(basis));
  return { path, ...(basis && { basis: `${path}.basis` }), undertrained: Object.values(record.tensors).some(({ undertrained }) => undertrained) };
}

/** Codebooks of all `sides` for the layer that `evaluation` holds, packed into files of `folder`, by their keys. */
export async function calibrateSides(calibration: DumpFile, evaluation: Dump, sides: ReadonlyMap<string, Recipe>, folder: string, threads: number | undefined, onSide: (key: string) => void): Promise<Map<string, Side>> {
  const books = new Map<string, Side>();
  const pool = createPool(threads);
  try {
    for (const [key, recipe] of sides) {
      books.set(key, await calibrateSide(calibration, evaluation.layers[0]!.layer, recipe, join(folder, key), pool));
      onSide(key);
    }
  } finally {
    await pool.close();
  }
  return books;
}
