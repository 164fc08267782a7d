// Files of text that a user names: records, journals, tables.
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { InputError } from '../generator/errors.ts';

/**
 * The text of a file, unpacked where it is gzipped, as sweeps are kept in harness/bench/records. Throws InputError: `fix` says what to give instead of a file that
 * cannot be read, `what` names it ("the journal").
 */
export function readText(path: string, fix: string, what = ''): string {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new InputError(`cannot read ${what ? `${what} ` : ''}${path} (${(error as NodeJS.ErrnoException).code})`, fix);
  }
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes.toString('utf8');
  try {
    return gunzipSync(bytes).toString('utf8');
  } catch (error) {
    throw new InputError(`${path} is gzipped, and damaged: ${(error as Error).message}`, 'take the file as its writer left it');
  }
}
