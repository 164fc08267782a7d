// What differs between two tables: contracts, cells, kernels that are shipped, times. Pure.
import { wholeMiddleOf } from '../../generator/table/steps.ts';
import type { ContractTable, Mode, Table } from '../../generator/table/schema.ts';
import { choiceWord, parseCell } from '../../generator/table/words.ts';
import { stableText } from '../../generator/stable.ts';

/** A run of cells of a row whose choice changed alike. */
export interface CellChange {
  readonly contract: string;
  readonly mode: Mode;
  readonly streams: number;
  /** First and last step of the run, in tokens. */
  readonly tokens: readonly [number, number];
  readonly from: string;
  readonly to: string;
}

export interface TableDiff {
  /** Of what surrounds contracts: device, axes, setting. */
  readonly members: readonly string[];
  readonly added: readonly string[];
  readonly removed: readonly string[];
  /** Cells whose choice differs; quality and regret alone do not count. */
  readonly changes: readonly CellChange[];
  readonly cells: { readonly changed: number; readonly all: number };
  /** Points that both have, with the time of the fastest shipped kernel in each, where they differ by more than 1 %. */
  readonly times: readonly { readonly contract: string; readonly point: string; readonly from: number; readonly to: number }[];
}

/** The choices of a mode by row and column, as words. */
const wordsOf = ({ modes }: ContractTable, mode: Mode): string[][] | undefined =>
  modes[mode]?.cells.map((row) => row.split(' ').map((word) => choiceWord(modes[mode]!.choices[parseCell(word)!.key]!)));

function cellChanges(contract: string, mode: Mode, axes: Table['axes'], before: string[][], after: string[][]): { changes: CellChange[]; changed: number; all: number } {
  const changes: CellChange[] = [];
  let changed = 0;
  let all = 0;
  for (const [i, row] of after.entries()) {
    for (const [j, to] of row.entries()) {
      all++;
      const from = before[i]![j]!;
      if (from === to) continue;
      changed++;
      const last = changes.at(-1);
      const streams = wholeMiddleOf(axes.streams, i);
      const tokens = wholeMiddleOf(axes.tokens, j);
      const goesOn = last?.streams === streams && last.from === from && last.to === to && last.tokens[1] === wholeMiddleOf(axes.tokens, j - 1);
      if (goesOn) changes[changes.length - 1] = { ...last, tokens: [last.tokens[0], tokens] };
      else changes.push({ contract, mode, streams, tokens: [tokens, tokens], from, to });
    }
  }
  return { changes, changed, all };
}

const pointWord = ({ mode, streams, tokens }: ContractTable['points'][number]): string => `${mode} ${streams} x ${tokens}`;

function timeChanges(contract: string, before: ContractTable, after: ContractTable): TableDiff['times'] {
  const old = new Map(before.points.map((point) => [pointWord(point), point.times[0]!.us]));
  return after.points.flatMap((point) => {
    const from = old.get(pointWord(point));
    const to = point.times[0]!.us;
    return from !== undefined && Math.abs(Math.log(to / from)) > 0.01 ? [{ contract, point: pointWord(point), from, to }] : [];
  });
}

export function diffTables(before: Table, after: Table): TableDiff {
  const members = (['arch', 'device', 'axes', 'setting', 'tunedFor', 'elsewhere'] as const).filter((key) => stableText(before[key]) !== stableText(after[key]));
  const both = Object.keys(after.contracts).filter((name) => before.contracts[name]);
  // Cells of other axes cannot be laid side by side.
  const found = members.includes('axes') ? [] : both.flatMap((name) => (['sequence', 'spread', 'fastest'] as const).flatMap((mode) => {
    const [a, b] = [wordsOf(before.contracts[name]!, mode), wordsOf(after.contracts[name]!, mode)];
    return a && b ? [cellChanges(name, mode, after.axes, a, b)] : [];
  }));
  return {
    members,
    added: Object.keys(after.contracts).filter((name) => !before.contracts[name]).sort(),
    removed: Object.keys(before.contracts).filter((name) => !after.contracts[name]).sort(),
    changes: found.flatMap(({ changes }) => changes),
    cells: { changed: found.reduce((sum, { changed }) => sum + changed, 0), all: found.reduce((sum, { all }) => sum + all, 0) },
    times: both.flatMap((name) => timeChanges(name, before.contracts[name]!, after.contracts[name]!)),
  };
}

/** True if a user of either table gets the same kernels and launches. */
export const isSame = ({ members, added, removed, changes }: TableDiff): boolean => members.length + added.length + removed.length + changes.length === 0;
