// What is measured: kernels x shapes x splits, as requests for the runner. Pure.
import { contractOf } from '../generator/contract.ts';
import { kernelName, type Kernel } from '../generator/name.ts';
import { defaultTile } from '../generator/tile.ts';
import { BENCH_SHAPES, type BenchOp, type BenchRequest } from './bench-schema.ts';
import type { KernelRef } from './problem.ts';

export const BENCH_OPS = Object.keys(BENCH_SHAPES) as BenchOp[];

/** The heads of Llama 3 8B, Qwen 3 8B and Mistral 7B. */
export const HEADS = { q_heads: 32, kv_heads: 8 } as const;

/** Shapes of a run: every batch with every number of tokens. */
export interface Grid {
  readonly batch: readonly number[];
  readonly tokens: readonly number[];
  /** Splits of decode to race; `auto`: {@link splitChoices}. */
  readonly splits: 'auto' | readonly number[];
}
export const GRID: Grid = { batch: [1, 16], tokens: [4096, 32768, 131072], splits: 'auto' };

/** Streaming multiprocessors that a grid is planned for where no device can be asked: H100 SXM and H200. */
export const USUAL_SMS = 132;

// CTAs per SM that a grid of splits should reach, the likeliest to be best first: two fill the device, six are whole waves of a kernel of which three fit an
// SM, sixteen leave no SM idle at the end (harness/bench/NOTES.md).
const WAVES = [2, 6, 16, 3, 8, 1];

/** Splits worth a race, the likeliest first: as many CTAs as fill the device `WAVES` times over, and no split shorter than one step of a CTA. */
export function splitChoices(batch: number, tokens: number, groups: number, stepTokens: number, sms: number): number[] {
  const most = Math.max(1, Math.floor(tokens / stepTokens));
  return [...new Set(WAVES.map((waves) => Math.min(most, Math.max(1, Math.floor((waves * sms) / (batch * groups))))))];
}

/** One kernel on one shape. */
export interface Case {
  readonly kernel: Kernel;
  /** Of decode. */
  readonly combine?: Kernel;
  readonly batch: number;
  readonly tokens: number;
  /** Of decode, the likeliest best first; else empty. */
  readonly splits: readonly number[];
}

/** The combine kernel that merges the splits of a decode kernel. */
export function combineOf({ contract, arch }: Kernel): Kernel {
  const { headDim, dtype } = contract;
  if (headDim === undefined || dtype === undefined) throw new Error(`a ${contract.op} kernel has no splits to merge`);
  return { contract: contractOf('combine', { headDim, dtype }), arch, tile: defaultTile('combine') };
}

/** The cases of `kernels`, all of one op, shapes from small to large. */
export function casesOf(kernels: readonly Kernel[], grid: Grid, sms: number): Case[] {
  const shapes = grid.batch.flatMap((batch) => grid.tokens.map((tokens) => ({ batch, tokens }))).sort((a, b) => a.batch * a.tokens - b.batch * b.tokens);
  return shapes.flatMap(({ batch, tokens }) =>
    kernels.map((kernel): Case => {
      if (kernel.contract.op !== 'decode') return { kernel, batch, tokens, splits: [] };
      const groups = HEADS.kv_heads * Math.ceil(HEADS.q_heads / HEADS.kv_heads / 8);
      const splits = grid.splits === 'auto' ? splitChoices(batch, tokens, groups, kernel.tile.tokens ?? 16, sms) : grid.splits;
      return { kernel, combine: combineOf(kernel), batch, tokens, splits };
    }),
  );
}

/** Every kernel that the cases load, each once. */
export const kernelsOfCases = (cases: readonly Case[]): Kernel[] =>
  [...new Map(cases.flatMap(({ kernel, combine }) => (combine ? [kernel, combine] : [kernel])).map((kernel) => [kernelName(kernel), kernel])).values()];

/** The requests of a case, one for each number of splits. `ref` gives the reference of a kernel. */
export function requestsOf({ kernel, combine, batch, tokens, splits }: Case, ref: (name: string) => KernelRef, samples?: number): BenchRequest[] {
  const { op } = kernel.contract;
  const shape = op === 'select' ? { batch, tokens, kv_heads: HEADS.kv_heads } : { batch, tokens, ...HEADS };
  const common = { cmd: 'bench', op, kernel: ref(kernelName(kernel)), ...(samples === undefined ? {} : { samples }) };
  if (!combine) return [{ ...common, shape } as BenchRequest];
  return splits.map((n) => ({ ...common, ...(n > 1 ? { combine: ref(kernelName(combine)) } : {}), shape: { ...shape, splits: n } }) as BenchRequest);
}
