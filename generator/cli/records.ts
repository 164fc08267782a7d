// Files of records that a user names.
import { EXIT, UsageError } from '../errors.ts';
import { note, type Talk } from './print.ts';
import type { Row } from '../../tuner/bench-row.ts';

/** The measurements of all files; says what else they hold. A failed check sets the exit code. Throws InputError, and UsageError for files that hold nothing. */
export async function readRowFiles(talk: Talk, files: readonly string[]): Promise<Row[]> {
  const [{ readRecords }, { readText }] = await Promise.all([import('../../tuner/bench-row.ts'), import('../../tuner/text.ts')]);
  const all = files.flatMap((file) => {
    const { rows, checks, errors, torn } = readRecords(readText(file, 'give a file written by gen bench --out, or the records.jsonl of a pack'), file);
    note(talk, `${file}: ${rows.length} measurements, ${checks.passed} checks passed, ${checks.failed.length} failed, ${errors.length} requests failed`);
    if (torn) note(talk, `${file}: its last line is not finished and was not read`);
    for (const why of [...checks.failed, ...errors]) process.stderr.write(`failed: ${why}\n`);
    if (checks.failed.length > 0) process.exitCode = EXIT.wrong;
    return [...rows];
  });
  if (all.length === 0 && process.exitCode !== EXIT.wrong) throw new UsageError('the files hold no measurements', 'see what measure.sh or gen bench said');
  return all;
}
