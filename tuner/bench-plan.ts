// What is measured: kernels x shapes x launches, as requests for the runner. Pure.
import { contractOf, isCacheContract, isCoded, type Contract } from '../generator/contract.ts';
import { kernelName, type Kernel } from '../generator/name.ts';
import { defaultTile } from '../generator/tile.ts';
import { launchesOf, type Launch } from './bench-launch.ts';
import { BENCH_SHAPES, type BenchOp, type BenchRequest, type BenchShape } from './bench-schema.ts';
import type { KernelRef } from './problem.ts';

export const BENCH_OPS = Object.keys(BENCH_SHAPES) as BenchOp[];

/** The heads of Llama 3 8B, Qwen 3 8B and Mistral 7B. */
export const HEADS = { q_heads: 32, kv_heads: 8 } as const;

export type Codes = NonNullable<BenchShape<'decode'>['codes']>;

/** Shapes of a run: every batch with every number of tokens. */
export interface Grid {
  readonly batch: readonly number[];
  readonly tokens: readonly number[];
  /** Launches of decode to race; `auto`: {@link launchesOf}. */
  readonly splits: 'auto' | readonly Launch[];
  /** Of decode, encode and unpack; `uniform` unless given. */
  readonly codes?: Codes;
  /** Of score: query rows, at most as many as tokens; the runner's default unless given. */
  readonly rows?: number | 'all';
  /** Of score: how many of the older rows stand for them, in thousandths of all rows; all count unless given. */
  readonly sampledPermille?: number;
}
export const GRID: Grid = { batch: [1, 16], tokens: [4096, 32768, 131072], splits: 'auto' };

/** Streaming multiprocessors that a grid is planned for where no device can be asked: H100 SXM and H200. */
export const USUAL_SMS = 132;

/** The shape of a case, without what a launch adds. Heads are always there where the op has them. */
export type CaseShape = Omit<BenchShape<'decode'>, 'splits' | 'spread' | 'merge'> & Pick<BenchShape<'score'>, 'rows' | 'sampled_rows'> & Pick<BenchShape<'append'>, 'flush'>;

/** One kernel on one shape. */
export interface Case {
  readonly kernel: Kernel;
  /** Of decode. */
  readonly combine?: Kernel;
  readonly shape: CaseShape;
  /** Of decode, the likeliest best first; else empty. */
  readonly launches: readonly Launch[];
}

/** The combine kernel that merges the splits of a decode kernel. */
export function combineOf({ contract, arch }: Kernel): Kernel {
  const { headDim, dtype } = contract;
  if (headDim === undefined || dtype === undefined) throw new Error(`a ${contract.op} kernel has no splits to merge`);
  const combine = contractOf('combine', { headDim, dtype });
  return { contract: combine, arch, tile: defaultTile(combine, arch) };
}

/** Tokens of all sequences of a shape. */
export const totalTokens = ({ batch = 1, tokens = 0, lens }: Pick<CaseShape, 'batch' | 'tokens' | 'lens'>): number => (lens ? lens.reduce((a, b) => a + b, 0) : batch * tokens);

/** A decode case; at most `most` launches of the automatic race. */
export function decodeCase(kernel: Kernel, shape: CaseShape, sms: number, splits: Grid['splits'] = 'auto', most = Infinity): Case {
  const { batch = 1, q_heads = HEADS.q_heads, kv_heads = HEADS.kv_heads, q_len = 1, lens } = shape;
  const groups = kv_heads * Math.ceil((q_len * q_heads) / kv_heads / (kernel.contract.columns ?? 8));
  const work = { batch, tokens: lens ? Math.max(...lens) : shape.tokens!, total: totalTokens(shape), groups, sms };
  return { kernel, combine: combineOf(kernel), shape, launches: splits === 'auto' ? launchesOf(kernel, work).slice(0, most) : splits };
}

/** What a grid adds to the shape of a score case. */
function scoreRows({ rows: wanted, sampledPermille }: Grid, tokens: number): Pick<CaseShape, 'rows' | 'sampled_rows'> {
  if (wanted === undefined) return {};
  const rows = wanted === 'all' ? tokens : Math.min(wanted, tokens);
  return { rows, ...(sampledPermille === undefined ? {} : { sampled_rows: Math.max(1, Math.floor((rows * sampledPermille) / 1000)) }) };
}

/** Of append: steps in which no sequence flushes, and all do. */
const flushesOf = ({ contract }: Kernel, batch: number): number[] => (isCacheContract(contract) && isCoded(contract) ? [0, batch] : [0]);

/** The cases of `kernels`, all of one op, shapes from small to large. */
export function casesOf(kernels: readonly Kernel[], grid: Grid, sms: number): Case[] {
  const shapes = grid.batch.flatMap((batch) => grid.tokens.map((tokens) => ({ batch, tokens }))).sort((a, b) => a.batch * a.tokens - b.batch * b.tokens);
  const coded = grid.codes === undefined ? {} : { codes: grid.codes };
  return shapes.flatMap((size) =>
    kernels.flatMap((kernel): Case[] | Case => {
      const { op } = kernel.contract;
      if (op === 'decode') return decodeCase(kernel, { ...size, ...HEADS, ...coded }, sms, grid.splits);
      if (op === 'append') return flushesOf(kernel, size.batch).map((flush) => ({ kernel, shape: { ...size, ...HEADS, ...coded, flush }, launches: [] }));
      if (op === 'select') return { kernel, shape: { ...size, kv_heads: HEADS.kv_heads }, launches: [] };
      return { kernel, shape: { ...size, ...HEADS, ...(op === 'score' ? scoreRows(grid, size.tokens) : coded) }, launches: [] };
    }),
  );
}

/** Every kernel that the cases load, each once. */
export const kernelsOfCases = (cases: readonly Case[]): Kernel[] =>
  [...new Map(cases.flatMap(({ kernel, combine, launches }) => (combine && launches.some(({ merge }) => merge === 'combine') ? [kernel, combine] : [kernel])).map((kernel) => [kernelName(kernel), kernel])).values()];

/** The requests of a case, one for each launch. `ref` gives the reference of a kernel. */
export function requestsOf({ kernel, combine, shape, launches }: Case, ref: (name: string) => KernelRef, samples?: number): BenchRequest[] {
  const common = { cmd: 'bench', op: kernel.contract.op, kernel: ref(kernelName(kernel)), ...(samples === undefined ? {} : { samples }) };
  if (!combine) return [{ ...common, shape } as BenchRequest];
  return launches.map(({ splits, spread, merge }) => {
    const how = { splits, ...(spread ? { spread } : {}), ...(merge === 'none' ? {} : { merge }) };
    return { ...common, ...(merge === 'combine' ? { combine: ref(kernelName(combine)) } : {}), shape: { ...shape, ...how } } as BenchRequest;
  });
}

/**
 * The requests of all cases, what matters most first: groups and the cases of each come in order of importance, and within a group each case has its likeliest launch
 * measured before any has its second one, so that a run that is cut off has one time of each. A request that several cases make is made once.
 */
export function roundsOf(groups: readonly (readonly Case[])[], ref: (name: string) => KernelRef, samples?: number): BenchRequest[] {
  const requests = groups.flatMap((cases) => {
    const raced = cases.map((one) => requestsOf(one, ref, samples));
    const rounds = Math.max(0, ...raced.map((own) => own.length));
    return Array.from({ length: rounds }, (_, i) => raced.flatMap((own) => own[i] ?? [])).flat();
  });
  return [...new Map(requests.map((request) => [JSON.stringify(request), request])).values()];
}

/** A shape of the FP16 baseline, harness/python/baseline.py. */
export interface BaselineShape {
  readonly batch: number;
  readonly tokens: number;
  readonly q_heads: number;
  readonly kv_heads: number;
  readonly q_len: number;
  readonly head_dim: number;
  /** The forward pass of a whole prompt: row i sees tokens 0 ... i. */
  readonly causal?: true;
}

/** What PyTorch is asked for beside a shape of a contract: its decode step, or the forward pass that a whole prompt's score comes after; undefined for all else, and where sequences differ in length. */
export function baselineShapeOf({ op, headDim }: Pick<Contract, 'op' | 'headDim'>, { batch = 1, tokens, lens, q_heads = HEADS.q_heads, kv_heads = HEADS.kv_heads, q_len = 1, rows }: CaseShape): BaselineShape | undefined {
  if (lens || tokens === undefined || headDim === undefined) return undefined;
  const shape = { batch, tokens, q_heads, kv_heads, head_dim: headDim };
  if (op === 'score' && rows === tokens) return { ...shape, q_len: tokens, causal: true };
  return op === 'decode' ? { ...shape, q_len } : undefined;
}

/** The shapes at which PyTorch's FP16 attention is timed for cases, each once. */
export function baselineShapes(cases: readonly Case[]): BaselineShape[] {
  const shapes = cases.flatMap(({ kernel: { contract }, shape }) => baselineShapeOf(contract, shape) ?? []);
  return [...new Map(shapes.map((shape) => [JSON.stringify(shape), shape])).values()];
}
