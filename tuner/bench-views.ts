// What rows answer: one small table for each question that a sheet asks (bench-sheets.ts), the goals last. A view is there if the rows for it are. Pure.
import type { Contract } from '../generator/contract.ts';
import { parseKernelName } from '../generator/name.ts';
import type { Row } from './bench-row.ts';
import { featuresOf, figures, launchOf, lengthWord, linesOf, shapeKey, shapeWords, tokensWord, type Line } from './bench-table.ts';
import { opViews } from './bench-ops-view.ts';
import { GOALS, GOAL_SHAPES, goalOf, LIMITS, type Goal } from './goals.ts';

export interface View {
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** Sentences under the table. */
  readonly notes: readonly string[];
}

/** A line of a coded decode kernel, with the goal that it serves. */
interface Entry extends Line {
  readonly goal: Goal;
  readonly features: ReturnType<typeof featuresOf>;
}

function entriesOf(lines: readonly Line[]): Entry[] {
  return lines.flatMap((line) => {
    const { row } = line;
    const goal = row.source === 'antkv' && row.ok && row.op === 'decode' ? goalOf(parseKernelName(row.kernel).contract) : undefined;
    return goal ? [{ ...line, goal, features: featuresOf(row) }] : [];
  });
}

/** One fastest line per key: tiles and columns compete. */
function fastest<T>(entries: readonly Entry[], keyOf: (entry: Entry) => T): Map<T, Entry> {
  const best = new Map<T, Entry>();
  for (const entry of entries) {
    const there = best.get(keyOf(entry));
    if (!there || entry.row.us.median < there.row.us.median) best.set(keyOf(entry), entry);
  }
  return best;
}

const dtypeOf = ({ kernel }: Row): string => parseKernelName(kernel).contract.dtype ?? 'f16';
const isUsual = ({ row, features: { lens, ratio, kvHeads, qLen, pageSize, codes } }: Entry): boolean =>
  row.head_dim === 128 && dtypeOf(row) === 'f16' && !lens && ratio === 4 && kvHeads === 8 && qLen === 1 && pageSize === 64 && codes === 'uniform';
const CODES = ['uniform', 'zipf', 'equal'];
/** Goals in their order, of each the shapes from the usual to the odd. */
const placeOf = ({ goal, row, features: { codes, pageSize, ratio, qLen } }: Entry): number[] => [GOALS.indexOf(goal), -(row.head_dim ?? 0), qLen, ratio, pageSize, CODES.indexOf(codes)];
const inOrder = (a: Entry, b: Entry): number => {
  const [x, y] = [placeOf(a), placeOf(b)];
  return x.map((value, i) => value - y[i]!).find((difference) => difference !== 0) ?? 0;
};
const sized = (batch: number, tokens: number) => ({ row }: Entry): boolean => !row.shape.lens && row.shape.batch === batch && row.shape.tokens === tokens;
const sizeWords = ({ row }: Entry): string => `B${row.shape.batch} ${lengthWord(row)}`;
const columnWord = ({ columns = 8 }: Contract): string => (columns === 8 ? '' : ` n${columns}`);
/** The part of a kernel's name that says how, with its columns if they are not 8. */
const howWords = ({ row: { kernel } }: Line): string => `${kernel.replace(/^.*__/, '')}${columnWord(parseKernelName(kernel).contract)}`;
const percent = (part: number): string => `${(100 * part).toFixed(0)} %`;
const tick = (met: boolean): string => (met ? '✓' : '✗');

/** A row for each goal and shape, beside the usual one of the same size: `cells` of both. Nothing without both. */
function beside(entries: readonly Entry[], title: string, head: readonly string[], other: (entry: Entry) => boolean, cells: (entry: Entry, usual: Entry) => readonly string[], notes: readonly string[]): View[] {
  const key = (entry: Entry): string => JSON.stringify([entry.row.environment.device, entry.row.environment.run, entry.goal.title, entry.row.head_dim, dtypeOf(entry.row), shapeWords(entry.row), sizeWords(entry)]);
  const usual = fastest(entries.filter(isUsual), (entry) => JSON.stringify([entry.row.environment.device, entry.row.environment.run, entry.goal.title, sizeWords(entry)]));
  const rows = [...fastest(entries.filter(other), key).values()].toSorted(inOrder).flatMap((entry) => {
    const compared = usual.get(JSON.stringify([entry.row.environment.device, entry.row.environment.run, entry.goal.title, sizeWords(entry)]));
    return compared ? [[entry.goal.title, sizeWords(entry), ...cells(entry, compared)]] : [];
  });
  return rows.length > 0 ? [{ title, head: ['kernel', 'shape', ...head], rows, notes }] : [];
}

const codes = (entries: readonly Entry[]): View[] =>
  beside(entries, 'Codes: uniform, Zipf, all equal', ['codes', 'µs', 'uniform µs', 'of its time'],
    ({ features, row }) => features.codes !== 'uniform' && row.head_dim === 128,
    (entry, usual) => [entry.features.codes, figures(entry.row.us.median), figures(usual.row.us.median), percent(entry.row.us.median / usual.row.us.median)],
    ['Zipf: the entry of rank r has weight 1 / (r + 1). Time that depends on the codes is time lost to bank conflicts.']);

const floors = (entries: readonly Entry[]): View[] =>
  beside(entries, 'Other pages, query heads, head dims and types: the fraction of the floor that is reached', ['d', 'how', 'µs', '% of floor', 'usual % of floor', 'of it', ''],
    ({ features: { qLen, codes: dealt, lens, pageSize, ratio }, row }) => !lens && qLen === 1 && dealt === 'uniform' && (row.head_dim !== 128 || dtypeOf(row) !== 'f16' || pageSize !== 64 || ratio !== 4),
    (entry, usual) => {
      const part = (entry.ofFloor ?? NaN) / (usual.ofFloor ?? NaN);
      const known = Number.isFinite(part);
      return [[entry.row.head_dim, dtypeOf(entry.row) === 'f16' ? '' : dtypeOf(entry.row), shapeWords(entry.row)].filter((word) => word !== '').join(' '), howWords(entry), figures(entry.row.us.median), entry.ofFloor?.toFixed(0) ?? '-', usual.ofFloor?.toFixed(0) ?? '-', known ? percent(part) : '-', known ? tick(part >= LIMITS.ofFloorFraction) : '-'];
    },
    [`Usual: head dim 128, 4 query heads per KV head, pages of 64. ✓: at least ${percent(LIMITS.ofFloorFraction)} of its fraction of the floor's speed.`]);

const queryRows = (entries: readonly Entry[]): View[] =>
  beside(entries, 'Several query rows', ['rows', 'columns', 'how', 'µs', 'one row µs', 'times', ''],
    ({ features: { qLen, lens, ratio }, row }) => !lens && qLen > 1 && ratio === 4 && row.head_dim === 128,
    (entry, usual) => {
      const times = entry.row.us.median / usual.row.us.median;
      const columns = entry.features.qLen * entry.features.ratio;
      return [String(entry.features.qLen), String(columns), howWords(entry), figures(entry.row.us.median), figures(usual.row.us.median), times.toFixed(2), columns <= 8 ? tick(times <= LIMITS.rows) : '-'];
    },
    [`✓: up to 8 columns (query rows x heads per KV head) take at most ${LIMITS.rows} times as long as one row.`]);

function ragged(entries: readonly Entry[]): View[] {
  const place = (entry: Entry): string => JSON.stringify([entry.row.environment.device, entry.row.environment.run, entry.goal.title]);
  const rate = ({ features, row }: Entry): number => features.total / row.us.median;
  const rows = [...fastest(entries.filter(({ features }) => features.lens), place)].flatMap(([key, entry]) => {
    const full = entry.features.lens!.filter((n) => n > 0).length;
    const mean = Math.round(entry.features.total / full);
    const uniform = fastest(entries.filter(isUsual).filter(sized(full, mean)), place).get(key);
    if (!uniform) return [];
    const part = rate(entry) / rate(uniform);
    return [[entry.goal.title, `${full} + ${entry.features.lens!.length - full} empty`, String(entry.features.total), launchOf(entry.row) ?? '-', figures(entry.row.us.median), figures(uniform.row.us.median), rate(entry).toFixed(0), percent(part), tick(part >= LIMITS.ofUniform)]];
  });
  const head = ['kernel', 'sequences', 'tokens', 'splits', 'µs', 'uniform µs', 'tokens per µs', 'of uniform', ''];
  return rows.length > 0 ? [{ title: 'Ragged batches', head, rows, notes: [`Beside a batch of equal sequences with as many tokens. ✓: at least ${percent(LIMITS.ofUniform)} of its throughput.`] }] : [];
}

/** Of a device and run, a goal and a shape: the entry with the best speed over FP16. */
const bestAt = (entries: readonly Entry[], goal: Goal, i: number): Entry | undefined => {
  const { batch, tokens } = GOAL_SHAPES[i]!;
  return entries.filter((entry) => entry.goal === goal && isUsual(entry) && sized(batch, tokens)(entry) && entry.overFp16 !== undefined).toSorted((a, b) => b.overFp16! - a.overFp16!)[0];
};

/** Reached or missed, beside what it is held to: `8.12 ✓ (7.5 / 10)`, `10.3 ✓✓ (7.5 / 10)`, `6.1 -19 % (7.5 / 10)`. */
function goalCell(speed: number | undefined, reach: number | undefined, aim: number | undefined): string {
  if (reach === undefined || aim === undefined) return speed === undefined ? '-' : `${speed.toFixed(2)}`;
  const held = `(${reach} / ${aim})`;
  if (speed === undefined) return `- ${held}`;
  return `${speed.toFixed(2)} ${speed >= aim ? '✓✓' : speed >= reach ? '✓' : `-${Math.max(1, Math.round(100 * (1 - speed / reach)))} %`} ${held}`;
}

function goals(lines: readonly Line[], entries: readonly Entry[]): View[] {
  const places = new Set(entries.map(({ row: { environment } }) => environment.device));
  return [...places].flatMap((device) => {
    const own = entries.filter(({ row }) => row.environment.device === device);
    const best = GOALS.map((goal) => GOAL_SHAPES.map((_, i) => bestAt(own, goal, i)));
    if (best.flat().every((entry) => entry === undefined)) return [];
    const fp16 = (entry: Entry) => lines.filter(({ row, overFp16 }) => shapeKey(row) === shapeKey(entry.row) && overFp16 === 1)[0];
    const details = GOALS.flatMap((goal, g) =>
      best[g]!.flatMap((entry) => {
        if (!entry) return [];
        const against = fp16(entry);
        const { row } = entry;
        return [[goal.title, sizeWords(entry), figures(row.us.median), figures(row.b2b_us), entry.ofFloor?.toFixed(0) ?? '-', howWords(entry), launchOf(row) ?? '-', row.clock_mhz.end?.toFixed(0) ?? '-', against ? figures(against.row.us.median) : '-', against?.title ?? '-', entry.overFp16!.toFixed(2)]];
      }),
    );
    const held = GOALS.flatMap(({ reach, aim }, g) => reach.flatMap((r, i) => (r === undefined ? [] : [{ speed: best[g]![i]?.overFp16 ?? 0, reach: r, aim: aim[i]! }])));
    const count = (what: 'reach' | 'aim'): string => `${held.filter((one) => one.speed >= one[what]).length} of ${held.length}`;
    return [
      { title: `Goals in detail, ${device}`, head: ['kernel', 'shape', 'µs', 'b2b µs', '% of floor', 'how', 'splits', 'MHz', 'FP16 µs', 'FP16 by', 'x FP16'], rows: details, notes: [] },
      {
        title: `Speed over the best FP16 kernel of the same run, ${device}`,
        head: ['K / V', ...GOAL_SHAPES.map(({ batch, tokens }) => `B${batch} ${tokensWord(tokens)}`)],
        rows: GOALS.map((goal, g) => [goal.title, ...best[g]!.map((entry, i) => goalCell(entry?.overFp16, goal.reach[i], goal.aim[i]))]),
        notes: [
          `Reach: ${count('reach')}. Aim: ${count('aim')}. In brackets reach / aim; ✓ reached, ✓✓ aim too, else what is missing of reach.`,
          '32 query and 8 KV heads, head dim 128, one query row, 1 % anchors, a window of 128, pages of 64, uniform random codes; the merge is part of the time.',
        ],
      },
    ];
  });
}

/** All views that the rows have something for, the goals last. */
export function viewsOf(rows: readonly Row[]): View[] {
  const lines = linesOf(rows.filter(({ op }) => op === 'decode'));
  const entries = entriesOf(lines);
  return [...opViews(rows), ...codes(entries), ...ragged(entries), ...floors(entries), ...queryRows(entries), ...goals(lines, entries)];
}
