// Journals and tables as files: what gen table and the end of a sweep on many machines read and write.
import { InputError } from '../../generator/errors.ts';
import { parseTable, tablesIn, type NamedTable } from '../../generator/table/read.ts';
import { printTable, tablePath } from '../../generator/table/words.ts';
import { mergeLines } from '../journal/merge.ts';
import { eventsOf, isJournal, parseJournal, type JournalLine } from '../journal/read.ts';
import { buildTables, type Built } from './build.ts';
import { readText } from '../text.ts';
import type { BuildOptions } from './contract.ts';
import { areTwins, joinTables } from './join.ts';

/** Files that a user named, told apart by how they begin. */
export interface Inputs {
  readonly lines: readonly JournalLine[];
  /** How many of the files were journals. */
  readonly journals: number;
  readonly tables: readonly NamedTable[];
  /** Files whose last line is not finished: a writer was killed there, or is at work. */
  readonly torn: readonly string[];
}

/** Reads journals and tables in any mixture. Throws InputError. */
export function readInputs(paths: readonly string[]): Inputs {
  const journals: (readonly JournalLine[])[] = [];
  const tables: NamedTable[] = [];
  const torn: string[] = [];
  for (const path of paths) {
    const text = readText(path, 'give paths of journals (gen tune writes tune.jsonl) or of tables (table.*.json)');
    if (text === '' || isJournal(text)) {
      const journal = parseJournal(text, path);
      journals.push(journal.lines);
      if (journal.torn > 0) torn.push(path);
    } else {
      const table = parseTable(text, path);
      tables.push({ file: tablePath(table.arch, table.device), table });
    }
  }
  return { lines: mergeLines(journals), journals: journals.length, tables, torn };
}

/** What to say where a table was asked for and nothing was measured. */
export const noTimes = (what: string): InputError =>
  new InputError(`${what} hold no times of a GPU whose kernels compiled, were right, and ran beside the default`, '"gen tune" measures; "gen report FILES" shows what failed');

export interface Merged {
  readonly file: string;
  readonly table: NamedTable['table'];
  readonly curves: Built['curves'];
  readonly notes: readonly string[];
}

/**
 * The tables that `inputs` make beside those that lie in `dir` (none: undefined): what journals tell comes first, then given tables, then what was there. Tables of `dir`
 * that nothing speaks of are not among them: they stay as they are.
 */
export function mergeInto(inputs: Inputs, dir: string | undefined, options: BuildOptions = {}): Merged[] {
  const fresh: Merged[] = buildTables(eventsOf(inputs.lines), options).map(({ file, table, curves, notes }) => ({ file, table, curves, notes }));
  const merged: Merged[] = [];
  const older = [...inputs.tables.toSorted((a, b) => (printTable(a.table) < printTable(b.table) ? -1 : 1)), ...(dir === undefined ? [] : tablesIn(dir))];
  const put = (next: Merged): void => {
    const at = merged.findIndex(({ table }) => areTwins(table, next.table));
    if (at < 0) return void merged.push(next);
    const { table, notes } = joinTables(merged[at]!.table, next.table);
    merged[at] = { ...merged[at]!, table, notes: [...merged[at]!.notes, ...notes] };
  };
  fresh.forEach(put);
  for (const { file, table } of older) {
    const spoken = merged.some((one) => areTwins(one.table, table)) || inputs.tables.some((given) => given.table === table);
    if (spoken) put({ file, table, curves: {}, notes: [] });
  }
  // A table that is there keeps its name.
  const there = dir === undefined ? [] : tablesIn(dir);
  return merged.map((one) => ({ ...one, file: there.find(({ table }) => areTwins(table, one.table))?.file ?? one.file }));
}
