// What rows say: the best of each race, the floor, the speed over FP16, a table. Pure. bench-views.ts puts rows beside what they are held to.
import { AXES } from '../generator/contract.ts';
import { contractName, parseKernelName } from '../generator/name.ts';
import { PRESETS } from '../generator/presets.ts';
import { contractsOf, rejectRecipe } from '../generator/recipe.ts';
import { launchWord } from './bench-launch.ts';
import type { Row } from './bench-row.ts';

/** Microseconds that the useful bytes take at the read bandwidth that the device showed in the same run; undefined if it was not measured. */
export const floorUs = ({ bytes, environment: { read_gbps: rate } }: Pick<Row, 'bytes' | 'environment'>): number | undefined => (rate === null ? undefined : (1e-3 * bytes) / rate);

const number = (value: unknown, otherwise: number): number => (typeof value === 'number' ? value : otherwise);
const total = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0);

/** What a decode row's shape has; defaults as the runner's. Peers know neither pages nor codes. */
export function featuresOf({ shape, source }: Pick<Row, 'shape' | 'source'>) {
  const kvHeads = number(shape['kv_heads'], 8);
  return {
    lens: shape.lens,
    /** Of all sequences. */
    total: shape.lens ? total(shape.lens) : shape.batch * (shape.tokens ?? 0),
    kvHeads,
    ratio: number(shape['q_heads'], 4 * kvHeads) / kvHeads,
    qLen: number(shape['q_len'], 1),
    pageSize: number(shape['page_size'], 64),
    codes: source === 'peer' ? 'uniform' : String(shape['codes'] ?? 'uniform'),
  };
}

/** What must be equal for two rows to be compared: run, device and shape, but for what FP16 peers know nothing of. */
export const shapeKey = (row: Row): string => {
  const { lens, kvHeads, ratio, qLen } = featuresOf(row);
  return JSON.stringify([row.environment.device, row.environment.run, row.op, row.head_dim, row.shape.batch, lens ?? row.shape.tokens, kvHeads, ratio, qLen]);
};

/** Whose rows compete for one line: a kernel's, whatever its launch; all contenders of a peer. */
const raceKey = (row: Row): string => {
  const { pageSize, codes } = featuresOf(row);
  const cache = [pageSize, codes, ...['anchor_permille', 'window', 'rows', 'sampled_rows', 'flush'].map((name) => row.shape[name])];
  return row.source === 'peer' ? `${shapeKey(row)} ${row.kernel.split('_').slice(0, 2).join('_')} ${row.code}` : `${shapeKey(row)} ${JSON.stringify(cache)} ${row.kernel} ${row.code}`;
};

/** How a row was launched, as `--splits` has it; undefined for ops that have no splits. */
export function launchOf({ splits, shape: { spread = false }, combine }: Row): string | undefined {
  if (splits === undefined) return undefined;
  return launchWord({ splits, spread, merge: typeof combine === 'string' ? 'combine' : splits > 1 || spread ? 'last' : 'none' });
}

export interface Raced extends Row {
  /** Every contender of the race that gave right results, by what was raced, microseconds. */
  readonly raced: readonly { readonly what: string; readonly us: number }[];
}

const what = (row: Row): string => (row.source === 'peer' ? row.kernel.replace(/^torch_sdpa_/, '') : row.splits === undefined ? row.kernel : `${launchOf(row)} splits`);

/** The fastest row of every race, in the order in which the races began. Rows with wrong results stay only where there is no right one. */
export function bestOf(rows: readonly Row[]): Raced[] {
  const races = new Map<string, Row[]>();
  for (const row of rows) races.set(raceKey(row), [...(races.get(raceKey(row)) ?? []), row]);
  return [...races.values()].map((all) => {
    const right = all.filter(({ ok }) => ok);
    const field = (right.length > 0 ? right : all).toSorted((a, b) => a.us.median - b.us.median);
    return { ...field[0]!, raced: field.map((row) => ({ what: what(row), us: row.us.median })) };
  });
}

/** Nothing in the row's cache is coded. */
export function isExact(row: Row): boolean {
  if (row.source === 'peer') return true;
  const { k, v } = parseKernelName(row.kernel).contract;
  return k === v && (k === 'f16' || k === 'bf16');
}

/** What a row is compared with: decode with FP16 decode, the score of a whole prompt with that prompt's causal forward pass. */
function rivalKey(row: Row): string | undefined {
  if (row.op === 'decode' || row.op === 'prefill') return shapeKey(row);
  const { tokens, rows } = row.shape;
  return row.op === 'score' && typeof tokens === 'number' && rows === tokens ? shapeKey({ ...row, op: 'prefill', shape: { ...row.shape, q_len: tokens } }) : undefined;
}

/** The fastest FP16 row of the same run and shape; undefined for ops that have no rival, and if there is none with right results. */
export const fp16Of = (row: Row, rows: readonly Row[]): Row | undefined =>
  rows.filter((other) => other.ok && ['decode', 'prefill'].includes(other.op) && isExact(other) && shapeKey(other) === rivalKey(row)).toSorted((a, b) => a.us.median - b.us.median)[0];

const presets = new Map<string, Set<string>>();
/** The preset whose contract it is; the contract's name where several presets share it, or none has it. */
function presetName(kernel: string): string {
  if (presets.size === 0) {
    for (const [name, recipe] of PRESETS) {
      for (const d of AXES.headDim.filter((headDim) => rejectRecipe(recipe, headDim).length === 0)) {
        for (const contract of contractsOf(recipe, d).map(contractName)) presets.set(contract, (presets.get(contract) ?? new Set()).add(name));
      }
    }
  }
  const contract = contractName(parseKernelName(kernel).contract);
  const [name, ...others] = presets.get(contract) ?? [];
  return name !== undefined && others.length === 0 ? name : contract.replace(/^antkv_/, '');
}

/** What readers call the row's kernel: its preset, with the tile where that is not the only one. */
export function titleOf(row: Row, rows: readonly Row[]): string {
  if (row.source === 'peer') return row.kernel.replace(/^torch_sdpa_/, 'PyTorch SDPA ').replace(/_/g, ' ');
  const preset = presetName(row.kernel);
  const tiles = new Set(rows.filter((other) => other.source === 'antkv' && presetName(other.kernel) === preset && other.code === row.code && other.head_dim === row.head_dim).map(({ kernel }) => kernel));
  return tiles.size > 1 ? `${preset} ${row.kernel.replace(/^.*__[a-z0-9]+_/, '')}` : preset;
}

export interface Line {
  readonly title: string;
  readonly row: Raced;
  /** Percent of the floor's speed. */
  readonly ofFloor: number | undefined;
  readonly overFp16: number | undefined;
}

/** One line per race, shapes from small to large, fastest first within a shape. */
export function linesOf(rows: readonly Row[]): Line[] {
  const best = bestOf(rows);
  const size = (row: Row): number => featuresOf(row).total;
  return best
    .map((row) => {
      const floor = floorUs(row);
      const fp16 = fp16Of(row, best);
      return { title: titleOf(row, best), row, ofFloor: floor === undefined ? undefined : (100 * floor) / row.us.median, overFp16: fp16 ? fp16.us.median / row.us.median : undefined };
    })
    .sort((a, b) => a.row.environment.device.localeCompare(b.row.environment.device) || a.row.op.localeCompare(b.row.op) || (b.row.head_dim ?? 0) - (a.row.head_dim ?? 0) || a.row.shape.batch - b.row.shape.batch || size(a.row) - size(b.row) || a.row.us.median - b.row.us.median);
}

/** 4096 as 4K. */
export const tokensWord = (tokens: number | null | undefined): string => (tokens == null ? 'mixed' : tokens % 1024 === 0 ? `${tokens / 1024}K` : String(tokens));

/** Tokens of a row's sequences. */
export const lengthWord = ({ shape }: Row): string => (shape.lens ? 'ragged' : tokensWord(shape.tokens));

/** What is unusual in a row's shape, in words. */
export function shapeWords(row: Row): string {
  const { ratio, qLen, pageSize, codes } = featuresOf(row);
  const { rows, sampled_rows: sampled } = row.shape;
  if (row.op === 'score') return typeof rows === 'number' ? `${rows} rows${sampled ? `, ${String(sampled)} drawn` : ''}` : '';
  if (row.op === 'append') return number(row.shape['flush'], 0) === 0 ? '' : `${row.shape['flush']} flush`;
  const words = [ratio === 4 ? '' : `GQA ${ratio}`, qLen === 1 ? '' : `${qLen} rows`, pageSize === 64 ? '' : `page ${pageSize}`, codes === 'uniform' ? '' : `codes ${codes}`];
  return row.op === 'decode' ? words.filter((word) => word !== '').join(', ') : '';
}

/** Three figures, without a power of ten. */
export const figures = (value: number): string => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));

export const HEAD = ['op', 'kernel', 'code', 'd', 'B', 'tokens', 'shape', 'splits', 'µs', 'p10', 'p90', 'GB/s', '% of floor', 'x FP16'] as const;

/** The cells of a line under {@link HEAD}; `-` for what is not known. */
export function cellsOf({ title, row, ofFloor, overFp16 }: Line): string[] {
  const { op, code, head_dim: d, shape, us, gbps, ok } = row;
  return [
    ...[op, ok ? title : `${title} (WRONG)`, code, String(d ?? '-'), String(shape.batch), lengthWord(row), shapeWords(row), launchOf(row) ?? '-'],
    ...[us.median, us.p10, us.p90].map(figures),
    gbps.toFixed(0),
    ofFloor === undefined ? '-' : ofFloor.toFixed(0),
    overFp16 === undefined ? '-' : overFp16.toFixed(2),
  ];
}

/** The environment of a run, in words. */
export function environmentWords({ environment: e }: Row): string {
  const known = (value: number | null, words: string): string[] => (value === null ? [] : [`${value.toFixed(0)} ${words}`]);
  return [
    e.emulated ? `${e.device}: emulated, times mean nothing` : `${e.device}, ${e.multiprocessors} SMs, compute capability ${e.cc / 10}`,
    ...(e.driver === null ? [] : [`driver ${e.driver}`]),
    ...(e.nvcc === null ? [] : [`nvcc ${e.nvcc}`]),
    ...known(e.busy_mhz, 'MHz under load'),
    ...known(e.read_gbps, 'GB/s read'),
    ...known(e.copy_gbps, 'GB/s copied (read and written)'),
    ...known(e.mma_tflops, 'TFLOP/s FP16'),
    ...(e.launch_us === null ? [] : [`${e.launch_us.toFixed(1)} µs for a step that does nothing`]),
  ].join(', ');
}
