// One contract's part of a table: which kernels to ship, the cells of every mode, the points they come from, and what points lose that were left out. Pure.
import { parseKernelName } from '../../generator/name.ts';
import { MODES, type ContractTable, type Mode, type Plane, type Table } from '../../generator/table/schema.ts';
import { stableText } from '../../generator/stable.ts';
import { planeOf } from './cells.ts';
import { chooseKernels, CHOOSE_DEFAULTS, type ChooseOptions, type CurveStep } from './choose.ts';
import type { Board } from './expected.ts';
import { fieldOf, type Field } from './field.ts';
import { bestOf, TIE } from './layers.ts';
import { holdOut, leaveOut, summary } from './leave-out.ts';
import type { Point } from './pool.ts';

export interface BuildOptions extends Partial<ChooseOptions> {
  /** Emulated times too, for tests: such tables are never shipped. */
  readonly emulated?: boolean;
  readonly axes?: Table['axes'];
  /** What a model of time errs by, as a share: the regret of modelled cells. */
  readonly modelError?: number;
}

/** Streams from 1 to 1024 and tokens from 256 to 256 K in quarter octaves: what fills the device with 5 sequences does not with 6, and steps of a kernel that 3,072 tokens fill 3,500 begin anew. */
export const DEFAULT_AXES: Table['axes'] = { streams: { first: 0, count: 41, power: 2 }, tokens: { first: 32, count: 41, power: 2 } };
/** Until a fit says otherwise. */
const MODEL_ERROR = 0.2;

const round = (us: number): number => Number(us.toPrecision(5));

/** The word that most of `words` are; of equally frequent ones the first by text. */
export function usual(words: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  return [...counts].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))[0]![0];
}

/** Points of the usual setting, one per place and mode, from which cells are made; and the others, which only test them. Ragged batches come last. */
function partition(points: readonly Point[], setting: string): { build: Point[]; held: Point[] } {
  const build = new Map<string, Point>();
  const held: Point[] = [];
  const order = [...points].sort((a, b) => Number(a.problem.shape.lens !== undefined) - Number(b.problem.shape.lens !== undefined));
  for (const point of order) {
    const key = `${point.problem.mode} ${point.streams} ${point.tokens}`;
    if (stableText(point.setting) === setting && !build.has(key)) build.set(key, point);
    else held.push(point);
  }
  return { build: [...build.values()], held };
}

function pointTimes(point: Point, shipped: readonly string[]): ContractTable['points'][number] {
  const { problem, streams, tokens, environment, arms } = point;
  const best = arms[0]!;
  const times = shipped.flatMap((kernel) => bestOf(point, kernel) ?? []).sort((a, b) => a.us - b.us || (a.kernel < b.kernel ? -1 : 1));
  const least = times[0]!;
  const tied = times.filter(({ us, half }) => Math.log(us / least.us) <= Math.max(TIE, (half ?? 0) + (least.half ?? 0)));
  return {
    mode: problem.mode, streams, tokens, environment,
    best: { kernel: best.kernel, launch: best.launch, us: round(best.us) },
    default: { kernel: point.default.kernel, launch: point.default.launch, us: round(point.default.us) },
    times: times.map(({ kernel, launch, us, half }) => ({ kernel, launch, us: round(us), half: half === null ? null : Number(half.toFixed(4)) })),
    ties: tied.length > 1 ? tied.map(({ kernel }) => kernel).sort() : [],
  };
}

export interface BuiltContract {
  readonly contract: ContractTable;
  readonly curve: readonly CurveStep[];
  readonly field: Field;
}

/** One contract's part of a table, or why it has none. `setting`: the canonical text of the one that the table has. */
export function buildContract(points: readonly Point[], setting: string, board: Board, modelled: boolean, options: BuildOptions): BuiltContract | string {
  const { build, held } = partition(points, setting);
  if (build.length === 0) return 'no point of it has the setting that the others share';
  const first = usual(build.map((point) => point.default.kernel));
  const timed = build.filter((point) => bestOf(point, first));
  const curve = chooseKernels(timed, first, { ...CHOOSE_DEFAULTS, ...options });
  const shipped = curve.filter((step) => step.shipped).map(({ kernel }) => kernel);
  const field = fieldOf(timed, shipped, board);
  const left = leaveOut(timed, shipped, board);
  const losses = [...left, ...holdOut(field, held)];
  const cellOptions = { axes: options.axes ?? DEFAULT_AXES, losses: left, ...(modelled ? { modelError: options.modelError ?? MODEL_ERROR } : {}) };
  const decode = parseKernelName(first).contract.op === 'decode';
  const modes: Partial<Record<Mode, Plane>> = {};
  for (const mode of decode ? MODES : (['sequence'] as const)) {
    const plane = planeOf(field, mode, cellOptions);
    if (plane) modes[mode] = plane;
  }
  const used = new Set([first, ...Object.values(modes).flatMap(({ choices }) => Object.values(choices).map(({ kernel }) => kernel))]);
  const order = (p: Point): string => `${p.problem.mode} ${String(p.streams).padStart(9)} ${String(p.tokens).padStart(12)}`;
  const contract: ContractTable = {
    default: first, origin: modelled ? 'modelled' : 'measured', modes, leftOut: summary(losses),
    points: timed.toSorted((a, b) => (order(a) < order(b) ? -1 : 1)).map((point) => pointTimes(point, [...used])),
  };
  return { contract, curve, field };
}
