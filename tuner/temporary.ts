// Temporary folders that do not outlive the process, however it ends: Ctrl-C skips every `finally`.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const made = new Set<string>();
let watching = false;

/** A new empty folder in `place` whose name starts with `prefix`. Remove it with {@link removeTemporary} when done; the end of the process does so too. */
export function temporaryFolder(prefix: string, place = tmpdir()): string {
  if (!watching) process.once('exit', () => made.forEach((dir) => rmSync(dir, { recursive: true, force: true })));
  watching = true;
  const dir = mkdtempSync(join(place, prefix));
  made.add(dir);
  return dir;
}

/** Removes a folder that {@link temporaryFolder} made. */
export function removeTemporary(dir: string): void {
  rmSync(dir, { recursive: true, force: true });
  made.delete(dir);
}
