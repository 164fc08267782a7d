// The speeds that decode is held to on an H200: kernels x shapes, over the best FP16 kernel of the same run.
import { contractOf, isCacheContract, isCoded, type Contract } from '../generator/contract.ts';
import { PRESETS } from '../generator/presets.ts';
import { contractsOf } from '../generator/recipe.ts';

/** The shapes of the table, as its columns: 32 query and 8 KV heads, head dim 128, one query row. */
export const GOAL_SHAPES = [
  { batch: 16, tokens: 131_072 },
  { batch: 16, tokens: 32_768 },
  { batch: 1, tokens: 131_072 },
  { batch: 16, tokens: 4096 },
  { batch: 1, tokens: 4096 },
] as const;

export interface Goal {
  readonly title: string;
  /** What of the contract differs between goals. */
  readonly axes: Pick<Contract, 'k' | 'v' | 'key' | 'gain'>;
  /** Times the speed of FP16 at each of {@link GOAL_SHAPES}; undefined: none is set. `reach` must be met, `aim` is what the floors allow. */
  readonly reach: readonly (number | undefined)[];
  readonly aim: readonly (number | undefined)[];
}

export const GOALS: readonly Goal[] = [
  { title: '1 bit, post', axes: { k: '8c8b', v: '8c8bq8', key: 'post' }, reach: [7.5, 6.5, 4.5, 2.5, 0.8], aim: [10, 9, 7, 3.5, 1] },
  { title: '1 bit + gain, pre', axes: { k: '8c8b', v: '8c8bq8', key: 'pre', gain: 'k' }, reach: [5, 4.5, 3.5, 2, 0.8], aim: [7, 6.5, 5, 3, 1] },
  { title: '2 bit, post', axes: { k: '4c8b', v: '4c8bq8', key: 'post' }, reach: [5, 4.5, 3.5, 2, 0.8], aim: [6.5, 5.5, 4.5, 3, 1] },
  { title: '2 bit, pre', axes: { k: '4c8b', v: '4c8bq8', key: 'pre' }, reach: [3, 2.8, 2.5, 1.8, 0.8], aim: [5, 4.5, 4, 2.5, 1] },
  { title: '4 bit, post', axes: { k: '2c8bq8', v: '2c8bq8', key: 'post' }, reach: [3, 2.8, 2.2, 1.6, 0.8], aim: [3.3, 3.2, 2.8, 2.2, 1] },
  { title: '0.5 bit, post', axes: { k: '16c8b', v: '16c8bq8', key: 'post' }, reach: [7.5, 6.5, 4.5, undefined, undefined], aim: [10, 9, 7, undefined, undefined] },
];

/** Codebooks of 4096 entries, as one or as a sum of two of 64: measured beside FP16, and no cells of the table of goals. */
export const LARGE: readonly Goal[] = (
  [
    ['0.375 bit + gain, post', '32c12b', 'post'], ['0.375 bit + gain, post, 8-bit books', '32c12bq8', 'post'],
    ['0.75 bit + gain, post', '16c12b', 'post'], ['0.75 bit in stages + gain, post', '16c6b6b', 'post'],
    ['0.75 bit + gain, pre', '16c12b', 'pre'], ['0.75 bit in stages + gain, pre', '16c6b6b', 'pre'],
  ] as const
).map(([title, codec, key]) => ({ title, axes: { k: codec, v: codec, key, gain: 'k' }, reach: [], aim: [] }));

/** What users get: decode of each preset that codes, at the shapes of the goals; held to nothing of its own. */
export const OF_PRESETS: readonly Goal[] = [...PRESETS].flatMap(([title, recipe]) => {
  const decode = contractsOf(recipe, 128).filter(isCacheContract).find((contract) => contract.op === 'decode' && isCoded(contract));
  return decode ? [{ title, axes: { k: decode.k, v: decode.v, key: decode.key, gain: decode.gain }, reach: [], aim: [] }] : [];
});

/** What other shapes are held to. */
export const LIMITS = {
  /** Of the fraction of its floor's speed that the kernel reaches at head dim 128, 4 query heads per KV head and pages of 64: other head dims, ratios and pages. */
  ofFloorFraction: 0.6,
  /** Of the throughput of a uniform batch of as many tokens: ragged batches. */
  ofUniform: 0.85,
  /** Times the time of one query row: as many rows as fill 8 columns. */
  rows: 1.2,
} as const;

export type QueryColumns = NonNullable<Contract['columns']>;
export type HeadDim = NonNullable<Contract['headDim']>;

/** The decode contract of a goal. `columns`: query rows x heads per KV head that one CTA takes. */
export const goalContract = ({ axes }: Goal, headDim: HeadDim, columns: QueryColumns, dtype: 'f16' | 'bf16' = 'f16'): Contract => contractOf('decode', { ...axes, headDim, dtype, columns });

/** Decode of exact FP16 rows. */
export const exactContract = (headDim: HeadDim, columns: QueryColumns = 8): Contract => contractOf('decode', { k: 'f16', v: 'f16', headDim, dtype: 'f16', columns });

/** The goal that a decode contract serves, whatever its head dim, type and columns. */
export const goalOf = ({ op, k, v, key, gain }: Contract): Goal | undefined =>
  op === 'decode' ? GOALS.find(({ axes }) => axes.k === k && axes.v === v && axes.key === key && (axes.gain ?? 'none') === gain) : undefined;
