// What the report of a sweep is drawn from: tables, the events of journals, and what follows from both. Pure.
import { InputError } from '../../generator/errors.ts';
import { parseContractName } from '../../generator/name.ts';
import { IDENTITY_KEYS } from '../../generator/table/find.ts';
import { parseTable } from '../../generator/table/read.ts';
import type { PointTimes, Table } from '../../generator/table/schema.ts';
import { baselineShapeOf } from '../bench-plan.ts';
import { mergeLines } from '../journal/merge.ts';
import { eventsOf, isJournal, parseJournal } from '../journal/read.ts';
import { geomean } from '../space/numbers.ts';
import { buildTables } from '../table/build.ts';
import type { CurveStep } from '../table/choose.ts';
import { poolsOf, type Point, type Pool } from '../table/pool.ts';
import { byAge, of, type TuneEvent } from '../tune/events.ts';
import { stableText } from '../../generator/stable.ts';

export interface NamedText {
  readonly file: string;
  readonly text: string;
}

export interface ReportTable {
  readonly file: string;
  readonly table: Table;
  /** What more kernels would bring, by contract; empty where the table came without its journals. */
  readonly curves: Readonly<Record<string, readonly CurveStep[]>>;
}

export interface ReportData {
  /** Given, and built of the journals; one of each device and architecture. */
  readonly tables: readonly ReportTable[];
  /** In order of time. */
  readonly events: readonly TuneEvent[];
  readonly pools: readonly Pool[];
  /** Nothing was measured on a GPU: times mean nothing. */
  readonly emulated: boolean;
}

/** `journal`, `table`, or anything else, as bench records are. */
export function kindOf(text: string): 'journal' | 'table' | 'other' {
  if (isJournal(text)) return 'journal';
  try {
    const json = JSON.parse(text) as { contracts?: unknown; axes?: unknown } | null;
    return typeof json?.contracts === 'object' && typeof json.axes === 'object' ? 'table' : 'other';
  } catch {
    return 'other';
  }
}

const placeOf = ({ arch, device }: Table): string => stableText([arch, IDENTITY_KEYS.map((key) => device[key])]);

/** Reads journals and tables. A given table stands for the one that the journals of its device make. Throws InputError for a file that is neither. */
export function readData(files: readonly NamedText[]): ReportData {
  const journals: ReturnType<typeof parseJournal>['lines'][] = [];
  const given: ReportTable[] = [];
  for (const { file, text } of files) {
    const kind = kindOf(text);
    if (kind === 'other') throw new InputError(`${file} is neither a tuning journal nor a table`, 'records of gen bench are drawn by themselves: gen report RECORDS');
    if (kind === 'journal') journals.push(parseJournal(text, file).lines);
    else given.push({ file, table: parseTable(text, file), curves: {} });
  }
  const events = eventsOf(mergeLines(journals)).toSorted(byAge);
  const environments = of(events, 'environment');
  const emulated = environments.length > 0 && environments.every(({ facts }) => facts.clock === 'emulated');
  const built = buildTables(events, { emulated }).map(({ file, table, curves }) => ({ file: `${file} (of the journals)`, table, curves }));
  const curvesOf = ({ table }: ReportTable): ReportTable['curves'] => built.find((other) => placeOf(other.table) === placeOf(table))?.curves ?? {};
  const tables = [...given.map((one) => ({ ...one, curves: curvesOf(one) })), ...built.filter(({ table }) => !given.some((one) => placeOf(one.table) === placeOf(table)))];
  return { tables, events, pools: poolsOf(events, { emulated }), emulated };
}

/** The contract's name without what all have; the part of a kernel's name that says how. */
export const contractWord = (contract: string): string => contract.replace(/^antkv_/, '');
export const howWord = (kernel: string): string => kernel.replace(/^.*__[a-z0-9]+_/, '');

/** Points of one contract on one device. */
export interface Group {
  readonly arch: string;
  readonly contract: string;
  readonly device: string;
  readonly points: readonly Point[];
}

export const groupsOf = (pools: readonly Pool[]): Group[] =>
  pools.flatMap(({ arch, device, points }) => [...new Set(points.map(({ problem }) => problem.contract))].map((contract) => ({ arch, contract, device: device.name, points: points.filter(({ problem }) => problem.contract === contract) })));

/** Of every kernel that ran at half the points or more: its best launch's time over the default's, geometric mean over those. */
export function costsOf({ points }: Group): Map<string, number> {
  const ratios = new Map<string, number[]>();
  for (const { arms, default: { us } } of points) {
    const best = new Map<string, number>();
    for (const arm of arms) best.set(arm.kernel, Math.min(best.get(arm.kernel) ?? Infinity, arm.us / us));
    for (const [kernel, ratio] of best) ratios.set(kernel, [...(ratios.get(kernel) ?? []), ratio]);
  }
  return new Map([...ratios].filter(([, own]) => 2 * own.length >= points.length).map(([kernel, own]) => [kernel, geomean(own)]));
}

/** What journals know of a point of a table, beyond its times. */
export interface Extra {
  readonly batch: number | undefined;
  readonly bytes: number | undefined;
  /** Microseconds of the bytes at the bandwidth that the device showed. */
  readonly floorUs: number | undefined;
  readonly fp16Us: number | undefined;
}

const baselineKey = (problem: Point['problem']): string => stableText(baselineShapeOf(parseContractName(problem.contract), problem.shape) ?? null);

/** Looks points up among the events. */
export function extrasOf({ events, pools }: ReportData): (table: Table, contract: string, point: PointTimes) => Extra {
  const bytes = new Map(of(events, 'raced').map(({ problem, bytes: count }) => [stableText(problem), count]));
  const read = new Map(of(events, 'ceilings').map(({ environment, read_gbps }) => [environment, read_gbps]));
  const fp16 = new Map<string, number>();
  for (const { environment, problem, us } of of(events, 'baseline')) {
    const key = `${environment} ${baselineKey(problem)}`;
    fp16.set(key, Math.min(fp16.get(key) ?? Infinity, us));
  }
  return ({ arch, device }, contract, { mode, streams, tokens, environment }) => {
    const pool = pools.find((one) => one.arch === arch && IDENTITY_KEYS.every((key) => one.device[key] === device[key]));
    const point = pool?.points.find(({ problem, ...place }) => problem.contract === contract && problem.mode === mode && place.streams === streams && place.tokens === tokens);
    const useful = point && bytes.get(stableText(point.problem));
    const rate = read.get(environment) ?? undefined;
    return {
      batch: point?.problem.shape.batch, bytes: useful,
      floorUs: useful !== undefined && rate ? (1e-3 * useful) / rate : undefined,
      fp16Us: point && fp16.get(`${environment} ${baselineKey(point.problem)}`),
    };
  };
}
