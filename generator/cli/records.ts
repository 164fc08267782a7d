// Files of records that a user names.
import { readFileSync } from 'node:fs';
import { EXIT, InputError } from '../errors.ts';
import { note, type Talk } from './print.ts';
import type { Row } from '../../tuner/bench-row.ts';

/** The measurements of all files; says what else they hold. A failed check sets the exit code. Throws InputError. */
export async function readRowFiles(talk: Talk, files: readonly string[]): Promise<Row[]> {
  const { readRecords } = await import('../../tuner/bench-row.ts');
  return files.flatMap((file) => {
    let text: string;
    try {
      text = readFileSync(file, 'utf8');
    } catch (error) {
      throw new InputError(`cannot read ${file} (${(error as NodeJS.ErrnoException).code})`, 'give a file written by gen bench --out, or the records.jsonl of a pack');
    }
    const { rows, checks, errors } = readRecords(text, file);
    note(talk, `${file}: ${rows.length} measurements, ${checks.passed} checks passed, ${checks.failed.length} failed, ${errors.length} requests failed`);
    for (const why of [...checks.failed, ...errors]) process.stderr.write(`failed: ${why}\n`);
    if (checks.failed.length > 0) process.exitCode = EXIT.wrong;
    return [...rows];
  });
}
