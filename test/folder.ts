// Temporary folders for tests, gone when the process ends.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const made: string[] = [];
process.once('exit', () => made.forEach((dir) => rmSync(dir, { recursive: true, force: true })));

/** A new empty folder. */
export function temporaryFolder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'antkv-test-'));
  made.push(dir);
  return dir;
}
