// gen table: tables, ladders and differences as text.
import type { ContractTable, Table } from '../table/schema.ts';
import { CELL_LETTERS, MODES } from '../table/schema.ts';
import { parseCell } from '../table/words.ts';
import { table as columns } from './print.ts';
import type { CurveStep } from '../../tuner/table/choose.ts';
import type { TableDiff } from '../../tuner/table/diff.ts';
import type { Why } from '../../tuner/table/why.ts';

const percent = (permille: number | null): string => (permille === null ? '-' : `${(permille / 10).toFixed(1)} %`);
/** A number of an axis: 16K, 1536. */
const size = (n: number): string => (n >= 1024 && n % 1024 === 0 ? `${n / 1024}K` : String(n));

const lettersOf = ({ modes }: ContractTable): string => {
  const all = Object.values(modes).flatMap(({ cells }) => cells.flatMap((row) => row.split(' ').map((word) => parseCell(word)!.letter)));
  const counts = (Object.keys(CELL_LETTERS) as (keyof typeof CELL_LETTERS)[]).map((letter) => [letter, all.filter((one) => one === letter).length] as const);
  return counts.filter(([, count]) => count > 0).map(([letter, count]) => `${count} ${CELL_LETTERS[letter]}`).join(', ');
};

/** Kernels that cells of a contract choose, most often first, with the share of cells. */
export function sharesOf({ modes }: ContractTable): { kernel: string; share: number }[] {
  const counts = new Map<string, number>();
  let all = 0;
  for (const { cells, choices } of Object.values(modes)) {
    for (const word of cells.flatMap((row) => row.split(' '))) {
      const { kernel } = choices[parseCell(word)!.key]!;
      counts.set(kernel, (counts.get(kernel) ?? 0) + 1);
      all++;
    }
  }
  return [...counts].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1)).map(([kernel, count]) => ({ kernel, share: count / all }));
}

/** The facts of a contract that `show` prints. Speeds: of the best shipped kernel over the default at the points; what is lost against the best that was found. */
export function contractFacts(contract: string, row: ContractTable) {
  const gains = row.points.map(({ default: base, times }) => base.us / times[0]!.us);
  const losses = row.points.map(({ best, times }) => times[0]!.us / best.us);
  return {
    contract, origin: row.origin, default: row.default, kernels: sharesOf(row), modes: MODES.filter((mode) => row.modes[mode]), points: row.points.length,
    bestOverDefault: gains.length > 0 ? Math.max(...gains) : null, worstLoss: losses.length > 0 ? Math.max(...losses) : null, leftOut: row.leftOut, cells: lettersOf(row),
  };
}

export function printShow(file: string, table: Table): string {
  const { device, setting, axes } = table;
  const facts = Object.entries(table.contracts).map(([name, row]) => contractFacts(name, row));
  const ends = ({ first, count, power }: Table['axes']['streams']): string => `${size(2 ** Math.floor(first / 2 / (power ?? 1)))} … ${size(2 ** Math.floor((first + count - 1) / 2 / (power ?? 1)))}`;
  return [
    `${file}: kernels of ${table.arch} on ${device.name} (${device.sms} SMs, capability ${device.cc / 10}), tuned for ${table.tunedFor}`,
    `  ${setting.qHeads}/${setting.kvHeads} heads, ${setting.qLen} query row${setting.qLen === 1 ? '' : 's'}, ${setting.anchorPermille / 10} % anchors, window ${setting.window},` +
      ` pages of ${setting.pageSize}, ${setting.codes} codes; streams ${ends(axes.streams)}, tokens ${ends(axes.tokens)}`,
    columns([
      ['contract', 'origin', 'points', 'most over default', 'worst to best', 'left out: mean', 'worst', 'cells'],
      ...facts.map(({ contract, origin, points, bestOverDefault: gain, worstLoss: loss, leftOut, cells }) => [
        contract, origin, points, gain === null ? '-' : `${gain.toFixed(2)}x`, percent(loss === null ? null : 1000 * (loss - 1)), percent(leftOut?.mean ?? null), percent(leftOut?.worst ?? null), cells,
      ]),
    ]),
    ...facts.flatMap(({ kernels }) => kernels.map(({ kernel, share }) => `  ${percent(1000 * share).padStart(7)} of cells  ${kernel}`)),
  ].join('\n');
}

/** What each further kernel of a contract would bring. */
export function printCurve(contract: string, steps: readonly CurveStep[]): string {
  // A kernel that does not run everywhere is infinitely slow somewhere.
  const times = (slowdown: number): string => (Number.isFinite(slowdown) ? `${slowdown.toFixed(3)}x` : '-');
  const rows = steps.map(({ kernel, kernels, bytes, worst, mean, shipped }) => [kernels, (bytes / 1024).toFixed(0), times(worst), times(mean), shipped ? 'shipped' : '', kernel]);
  return [contract, columns([['kernels', 'source KB', 'worst', 'mean', '', 'added'], ...rows])].join('\n');
}

export function printWhy(contract: string, device: string, { ask, answer, rungs, refused, fix }: Why): string {
  const launch = answer.splits === 0 ? "splits by the loader's rule" : `${answer.splits} splits${answer.spread ? ', spread' : ''}, merge ${answer.merge}`;
  const marks = rungs.map((rung, i) => {
    const { cell } = rung;
    const where = `streams ${size(cell.streams)}, tokens ${size(cell.tokens)}${cell.clamped ? ' (the end of an axis)' : ''}`;
    return [
      `${i + 1}. ${rung.file}: ${rung.origin} on ${rung.device}, ${rung.match === 'same' ? 'this device' : rung.match === 'sibling' ? 'a sibling' : 'another device'}${rung.answers ? '   <- answers' : ''}`,
      ...(rung.differs.length > 0 ? [`     differs: ${rung.differs.join('; ')}`] : []),
      `     cell ${where}: ${cell.says}, ${cell.quality}, regret ${percent(cell.regret)}${cell.stale ? ', its code has changed since' : ''}`,
      ...(rung.passed ? [`     passed by: ${rung.passed}`] : []),
    ].join('\n');
  });
  return [
    `${contract} on ${device}: ${ask.streams} streams (${ask.lines} lines a sequence) of ${ask.tokens} tokens, mode ${ask.mode}`,
    answer.kernel === undefined ? 'no kernel of it runs there' : `${answer.kernel}\n${launch}; quality ${answer.quality}, expected regret ${percent(answer.regret)}`,
    '',
    ...(marks.length > 0 ? marks : ['no table knows this contract on such a device: the default tile']),
    ...refused.map(({ file, why }) => `-  ${file}: ${why}`),
    ...(fix === undefined ? [] : ['', `better: ${fix}`]),
  ].join('\n');
}

export function printDiff({ members, added, removed, changes, cells, times }: TableDiff): string {
  return [
    ...members.map((member) => `${member} differs`),
    ...added.map((name) => `added    ${name}`),
    ...removed.map((name) => `removed  ${name}`),
    ...changes.map(({ contract, mode, streams, tokens: [from, to], from: before, to: after }) => `${contract} ${mode}: streams ${size(streams)}, tokens ${size(from)}${to === from ? '' : ` … ${size(to)}`}\n  - ${before}\n  + ${after}`),
    ...times.map(({ contract, point, from, to }) => `${contract} ${point}: ${from.toFixed(1)} -> ${to.toFixed(1)} us (${((to / from - 1) * 100).toFixed(1)} %)`),
    `${cells.changed} of ${cells.all} cells choose otherwise`,
  ].join('\n');
}
