// Reads tuning tables: from text, and those that are committed. Reads files, writes none.
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { ARCHS } from '../arch.ts';
import { InputError } from '../errors.ts';
import { VERSIONS } from '../versions.ts';
import { misfitsOf } from './check.ts';
import { tableSchema, type Table } from './schema.ts';

/** A table and its path below the generated folder, by which tables are told apart and ordered. */
export interface NamedTable {
  readonly file: string;
  readonly table: Table;
}

const REMAKE = '"gen table merge JOURNALS… --out DIR" makes it again from its journals';

/** A table from its text. Throws InputError, with the first few faults. */
export function parseTable(text: string, file: string): Table {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new InputError(`${file} is not JSON: ${(error as Error).message}`, REMAKE);
  }
  const schema = (json as { schema?: unknown } | null)?.schema;
  if (typeof schema === 'number' && schema !== VERSIONS.table) throw new InputError(`${file} is a tuning table of schema ${schema}, this antkv reads ${VERSIONS.table}`, schema > VERSIONS.table ? 'update antkv' : REMAKE);
  const parsed = tableSchema.safeParse(json);
  if (!parsed.success) throw new InputError(`${file} is not a tuning table:\n${z.prettifyError(parsed.error).split('\n').slice(0, 6).join('\n')}`, REMAKE);
  const faults = misfitsOf(parsed.data);
  if (faults.length > 0) throw new InputError(`${file} is broken:\n${faults.slice(0, 6).map((fault) => `  ${fault}`).join('\n')}`, REMAKE);
  return parsed.data;
}

/** The table in a file. Throws InputError. */
export function readTable(path: string, file = basename(path)): NamedTable {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new InputError(`cannot read the table ${path} (${(error as NodeJS.ErrnoException).code})`, 'give the path of a table.*.json; generated/ holds those that are committed');
  }
  return { file, table: parseTable(text, path) };
}

const namesIn = (dir: string): string[] => {
  try {
    return readdirSync(dir).filter((name) => /^table\.[a-z0-9.-]+\.json$/.test(name)).sort();
  } catch {
    return [];
  }
};

/** The tables of a generated folder, sorted by path. Throws InputError. */
export const tablesIn = (dir: string): NamedTable[] => ARCHS.flatMap(({ name: arch }) => namesIn(join(dir, arch)).map((name) => readTable(join(dir, arch, name), `${arch}/${name}`)));

let committed: readonly NamedTable[] | undefined;

/** The committed tables, read once. Throws InputError. */
export const committedTables = (): readonly NamedTable[] => (committed ??= tablesIn(fileURLToPath(new URL('../../generated', import.meta.url))));
