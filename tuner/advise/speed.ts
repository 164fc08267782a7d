// How long a decode step should take, from tuning tables: the look-up chooses kernel and launch, and says how far it can be trusted; the time is that kernel's, between measured points. Pure.
import { dtypeOf, contractsOf, type Recipe } from '../../generator/recipe.ts';
import { contractName, type Kernel } from '../../generator/name.ts';
import type { Entry } from '../../generator/table/entries.ts';
import { find, linesOf, type Ask } from '../../generator/table/find.ts';
import type { ContractTable, Identity, Quality } from '../../generator/table/schema.ts';
import { surfaceOf, type Sample } from '../table/surface.ts';
import type { CacheShape } from './memory.ts';

export interface Speed {
  readonly kernel: string;
  readonly quality: Quality;
  /** Of attention in one layer, merge of splits included; undefined where no table has times of this device. */
  readonly us: number | undefined;
  /** The shape lies beyond what was measured: the time is that of the border, times the tokens that are missing. */
  readonly extrapolated: boolean;
}

export interface SpeedTables {
  readonly entries: readonly Entry[];
  readonly kernels: readonly Kernel[];
  readonly device: Identity;
}

/** The decode contract that a query of one row takes: four columns where they are enough and offered. */
function decodeContract(recipe: Recipe, { qHeads, kvHeads, headDim }: CacheShape): string {
  const ratio = qHeads / kvHeads;
  const decodes = contractsOf(recipe, headDim, dtypeOf(recipe)).filter(({ op }) => op === 'decode');
  const fitting = decodes.filter(({ columns }) => columns === 4 && ratio <= 4);
  return contractName((fitting[0] ?? decodes.find(({ columns }) => columns !== 4))!);
}

/** Times of a kernel at the points of a table, as logarithms; of a kernel that is not there, the best shipped ones. */
function samples({ points }: ContractTable, kernel: string): Sample[] {
  return points.filter(({ mode }) => mode === 'sequence').flatMap(({ streams, tokens, times }) => {
    const own = times.filter((time) => time.kernel === kernel);
    const us = Math.min(...(own.length > 0 ? own : times).map((time) => time.us));
    return Number.isFinite(us) ? [{ streams, tokens, value: Math.log2(us) }] : [];
  });
}

/** The expected decode step of `batch` sequences of `tokens`; undefined where no kernel of the recipe is shipped. */
export function speedOf(recipe: Recipe, shape: CacheShape, batch: number, tokens: number, { entries, kernels, device }: SpeedTables): Speed | undefined {
  const ask: Ask = { contract: decodeContract(recipe, shape), mode: 'sequence', device, batch, qHeads: shape.qHeads, kvHeads: shape.kvHeads, qLen: 1, tokens };
  const { kernel, quality, table } = find(entries, kernels, ask);
  if (kernel === undefined) return undefined;
  const entry = entries.find((one) => one.contract === ask.contract && one.named.file === table);
  const times = entry && quality !== 'arch' ? samples(entry.named.table.contracts[ask.contract]!, kernel) : [];
  if (times.length === 0) return { kernel, quality, us: undefined, extrapolated: false };
  const streams = batch * linesOf(ask);
  const most = (values: readonly number[]): number => Math.max(...values);
  const beyond = Math.max(1, streams / most(times.map((time) => time.streams))) * Math.max(1, tokens / most(times.map((time) => time.tokens)));
  return { kernel, quality, us: 2 ** surfaceOf(times)({ streams, tokens }) * beyond, extrapolated: beyond > 1 };
}
