// The end of a sweep on many machines: all journals of a work directory become one, and that becomes tables. Any number may do it, at any time: the same set of events gives the same files.
import { join } from 'node:path';
import { EnvironmentError } from '../../generator/errors.ts';
import { printTable } from '../../generator/table/words.ts';
import { writeWhole } from '../../generator/write.ts';
import { journalText, mergeLines } from '../journal/merge.ts';
import { eventsOf, readJournal } from '../journal/read.ts';
import { buildTables } from '../table/build.ts';
import type { BuildOptions } from '../table/contract.ts';
import { journalsOf, missingTasks, pathsOf, readPlan } from './work.ts';

export interface Merged {
  /** Absolute paths of what was written: the journal, then a table for each device and architecture. */
  readonly files: readonly string[];
  /** Tasks that are not measured to their end; what they found counts as far as they got. */
  readonly missing: readonly number[];
  /** What a reader should know of the tables. */
  readonly notes: readonly string[];
}

/** Writes table/journal.jsonl and the tables. Throws EnvironmentError if no worker has begun. */
export function mergeWork(work: string, options: Pick<BuildOptions, 'emulated' | 'axes'> = {}): Merged {
  const { maxKernels, maxSlowdown } = readPlan(work);
  const paths = journalsOf(work);
  if (paths.length === 0) throw new EnvironmentError(`${work} holds no journal: no worker has begun`, 'see "gen tune status --work DIR", and slurm/log there');
  const lines = mergeLines(paths.map((path) => readJournal(path).lines));
  const built = buildTables(eventsOf(lines), { ...options, maxKernels, maxSlowdown });
  const folder = pathsOf(work).table;
  const files: [string, string][] = [[join(folder, 'journal.jsonl'), journalText(lines)], ...built.map(({ file, table }): [string, string] => [join(folder, file), printTable(table)])];
  for (const [path, text] of files) writeWhole(path, text);
  return { files: files.map(([path]) => path), missing: missingTasks(work, 'measure'), notes: built.flatMap(({ notes }) => notes) };
}
