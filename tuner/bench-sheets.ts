// The sheets of a measurement: which contracts meet which shapes, and why; all of them decode's but `ops`. Each answers one question; bench-views.ts prints the answers. Pure.
import type { Arch } from '../generator/arch.ts';
import { reject, type Contract } from '../generator/contract.ts';
import { kernelName, type Kernel } from '../generator/name.ts';
import { defaultTile, misfit, type Tile } from '../generator/tile.ts';
import { decodeCase, HEADS, type Case, type CaseShape, type Grid } from './bench-plan.ts';
import { exactContract, goalContract, GOALS, GOAL_SHAPES, LARGE, OF_PRESETS, type Goal, type HeadDim, type QueryColumns } from './goals.ts';
import { OP_GOALS } from './op-goals.ts';

const DECODE_SHEETS = ['goals', 'codes', 'ragged', 'pages', 'heads', 'd64', 'rows', 'breadth', 'large', 'presets'] as const;
/** `ops`: the ops beside decode. */
export const SHEET_NAMES = [...DECODE_SHEETS, 'ops'] as const;
export type SheetName = (typeof SHEET_NAMES)[number];

/** Shapes that kernels of one head dim and type meet. */
export interface SheetPart {
  readonly headDim: HeadDim;
  /** f16 unless given. */
  readonly dtype?: 'bf16';
  readonly shapes: readonly CaseShape[];
}

interface Sheet {
  readonly parts: readonly SheetPart[];
  /** Those of decode unless given. */
  readonly goals?: readonly Goal[];
  /** Launches that race on each shape. */
  readonly launches: number;
}

const at = (batch: number, tokens: number, more: CaseShape = {}): CaseShape => ({ batch, tokens, ...HEADS, ...more });
const d128 = (shapes: readonly CaseShape[]): SheetPart[] => [{ headDim: 128, shapes }];
const withRatio = (ratio: number): CaseShape => ({ q_heads: ratio * HEADS.kv_heads });

/** Sixteen lengths, evenly spread over the logarithms of 1024 ... 131072 by a fixed generator, in its order, and two rows of the batch that are empty. */
export const RAGGED: readonly number[] = (() => {
  let state = 4;
  // Knuth, MMIX's multiplier cut to 32 bits; the upper bits are the good ones.
  const uniform = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  const lens = Array.from({ length: 16 }, (_, i) => Math.round(1024 * 128 ** ((i + uniform()) / 16)));
  const shuffled = lens.map((n) => [uniform(), n] as const).sort(([a], [b]) => a - b).map(([, n]) => n);
  return [...shuffled.slice(0, 5), 0, ...shuffled.slice(5, 11), 0, ...shuffled.slice(11)];
})();
/** Tokens of each sequence of the uniform batch of 16 that has as many in all. */
export const RAGGED_MEAN = Math.round(RAGGED.reduce((a, b) => a + b, 0) / 16);

export const SHEETS: Readonly<Record<(typeof DECODE_SHEETS)[number], Sheet>> = {
  /** Is decode as fast as it must be? */
  goals: { parts: d128(GOAL_SHAPES.map(({ batch, tokens }) => at(batch, tokens))), launches: 7 },
  /** Does speed depend on the codes? */
  codes: { parts: d128((['uniform', 'zipf', 'equal'] as const).map((codes) => at(16, 32_768, codes === 'uniform' ? {} : { codes }))), launches: 3 },
  /** What does a batch of unequal sequences cost? */
  ragged: { parts: d128([{ batch: RAGGED.length, lens: [...RAGGED], ...HEADS }, at(16, RAGGED_MEAN)]), launches: 3 },
  /** Small and large pages. */
  pages: { parts: d128([64, 16, 256].map((page_size) => at(16, 32_768, page_size === 64 ? {} : { page_size }))), launches: 3 },
  /** Other numbers of query heads per KV head. */
  heads: { parts: d128([4, 1, 2, 5, 8].map((ratio) => at(16, 32_768, withRatio(ratio)))), launches: 3 },
  d64: { parts: [{ headDim: 64, shapes: GOAL_SHAPES.slice(0, 3).map(({ batch, tokens }) => at(batch, tokens)) }], goals: GOALS.slice(0, 4), launches: 3 },
  /** Several query rows: drafts and their checks. */
  rows: { parts: d128([1, 2, 4, 8, 16].map((q_len) => at(16, 32_768, q_len === 1 ? {} : { q_len }))), launches: 3 },
  /** Are other head dims, types, ratios and pages as near to their floors as the usual ones? */
  breadth: {
    parts: [
      ...d128([...[4, 1, 2, 5, 6, 7, 8, 16].map((ratio) => at(16, 32_768, withRatio(ratio))), at(16, 32_768, { page_size: 16 })]),
      { headDim: 128, dtype: 'bf16', shapes: [at(16, 32_768)] },
      ...([64, 96, 256] as const).map((headDim) => ({ headDim, shapes: [at(16, 32_768)] })),
    ],
    launches: 2,
  },
  /** Codebooks of 4096 entries, stored or in stages. */
  large: { parts: d128(GOAL_SHAPES.slice(0, 3).map(({ batch, tokens }) => at(batch, tokens))), goals: LARGE, launches: 3 },
  /** How fast is each preset? */
  presets: { parts: d128(GOAL_SHAPES.map(({ batch, tokens }) => at(batch, tokens))), goals: OF_PRESETS, launches: 3 },
};

const columnsOf = ({ q_heads = HEADS.q_heads, kv_heads = HEADS.kv_heads, q_len = 1 }: CaseShape): number => (q_len * q_heads) / kv_heads;
/** The columns that kernels for this shape have: 4 while they are enough, else 8, in several CTAs where there are more; beside them as many as one CTA can take. */
const columnsFor = (shape: CaseShape): readonly QueryColumns[] => {
  const columns = columnsOf(shape);
  return columns <= 4 ? [4] : columns <= 8 ? [8] : columns <= 16 ? [8, 16] : [8, 32];
};

export interface SheetOptions {
  readonly archs: readonly Arch[];
  /** The tiles of a contract on an arch, the likeliest first. */
  readonly tiles: (contract: Contract, arch: Arch) => readonly Tile[];
  readonly sms: number;
  /** Only kernels whose name or contract it takes; FP16 kernels, which all others are compared with, are always there. */
  readonly only?: (kernel: Kernel) => boolean;
  /** Only shapes of these sizes. */
  readonly batch?: readonly number[];
  readonly tokens?: readonly number[];
  readonly splits?: Grid['splits'];
}

/** The cases of each sheet, in order of importance: all kernels' first tiles, then their other ones. `left` names contracts that are not offered (yet). */
export function sheetCases(names: readonly SheetName[], options: SheetOptions): { groups: Case[][]; left: string[] } {
  const { archs, tiles, sms, only = () => true, batch, tokens, splits = 'auto' } = options;
  const left = new Set<string>();
  const groups = names.map((name) => {
    if (name === 'ops') return opCases(options);
    const { parts, goals = GOALS, launches } = SHEETS[name];
    const ranked = archs.flatMap((arch) => parts.flatMap(({ headDim, dtype, shapes }) => {
      const sized = shapes.filter((shape) => (!batch || batch.includes(shape.batch!)) && (!tokens || shape.tokens === undefined || tokens.includes(shape.tokens)));
      // A page of tokens means nothing to exact rows, and codes even less: they are compared at any of them; and bf16 with f16.
      const plain = sized.filter((shape) => shape.page_size === undefined && shape.codes === undefined && dtype === undefined);
      return [
        // FP16 rows have no tile for 4.
        ...plain.flatMap((shape) => columnsFor(shape).map((columns) => ({ rank: 0, case: decodeCase(kernelFor(exactContract(headDim, columns === 4 ? 8 : columns), arch), shape, sms, splits, launches) }))),
        ...sized.flatMap((shape) =>
          goals.flatMap((goal) => columnsFor(shape).flatMap((columns) => {
            const contract = goalContract(goal, headDim, columns, dtype);
            if (reject(contract).length > 0) left.add(`${goal.title}, head dim ${headDim}: ${reject(contract).join('; ')}`);
            const kernels = reject(contract).length > 0 ? [] : tiles(contract, arch).map((tile) => ({ contract, arch, tile }));
            return kernels.filter(only).map((kernel, rank) => ({ rank, case: decodeCase(kernel, shape, sms, splits, launches) }));
          })),
        ),
      ];
    }));
    return ranked.toSorted((a, b) => a.rank - b.rank).map((one) => one.case);
  });
  return { groups, left: [...left] };
}

/** The shapes at which the ops beside decode are held to something, all kernels' first tiles first. */
function opCases({ archs, tiles, only = () => true, batch, tokens }: SheetOptions): Case[] {
  const sized = OP_GOALS.filter(({ shape }) => (!batch || batch.includes(shape.batch!)) && (!tokens || tokens.includes(shape.tokens!)));
  const ranked = archs.flatMap((arch) => sized.flatMap(({ contract, shape }) => tiles(contract, arch).map((tile, rank) => ({ rank, case: { kernel: { contract, arch, tile }, shape, launches: [] } }))));
  return ranked.filter((one) => only(one.case.kernel)).toSorted((a, b) => a.rank - b.rank).map((one) => one.case);
}

const kernelFor = (contract: Contract, arch: Arch): Kernel => ({ contract, arch, tile: defaultTile(contract, arch) });

/** Tiles of fast algorithms worth a race, the likeliest first: fewer warps leave more registers, more stages hide more latency. Four copies where they fit, else two, else one. */
export function raceTiles(contract: Contract, arch: Arch): Tile[] {
  const usual = defaultTile(contract, arch);
  const fits = (tile: Tile): boolean => misfit(contract, tile, arch).length === 0;
  const made = [16, 12, 8].flatMap((warps) =>
    [2, 1].flatMap((stages) => {
      const copies = [4, 2, 1].find((n) => fits({ algorithm: 'lookup', warps, stages, copies: n }));
      return copies === undefined ? [] : [{ algorithm: 'lookup', warps, stages, copies } as const];
    }),
  );
  // Of tallies as many columns at a time as fit; a round's tokens and the warps are what registers pay for.
  const tallies = usual.algorithm === 'tally' ? [16, 8].flatMap((warps) => [2048, 1024, 512].map((tokens): Tile => ({ ...usual, warps, tokens })).filter(fits)) : [];
  const key = (tile: Tile): string => kernelName({ contract, arch, tile });
  return [...new Map([usual, ...made, ...tallies].map((tile) => [key(tile), tile])).values()];
}
