// Where a command writes to, judged before its work: not over what it reads, and not where nothing can be written.
import { existsSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { UsageError } from '../errors.ts';
import { checkFolder } from '../write.ts';
import { checkWritable } from '../../tuner/calibrate/file.ts';

/** Throws UsageError if the file `out` is one of `inputs`, under whatever name, and EnvironmentError if it cannot be written. */
export function judgeOutput(out: string, inputs: readonly (string | undefined)[] = []): void {
  if (out === '') throw new UsageError('--out is empty', 'name a file');
  const fileOf = (path: string) => statSync(path, { throwIfNoEntry: false });
  try {
    const there = fileOf(out);
    const same = there && inputs.find((path) => path !== undefined && path !== '' && fileOf(path)?.ino === there.ino && fileOf(path)?.dev === there.dev);
    if (same !== undefined) throw new UsageError(`--out ${out} would overwrite ${same}, which is read`, 'name another file with --out');
  } catch (error) {
    if (error instanceof UsageError) throw error; // else what is wrong with a path is said below, or by who reads it
  }
  const folder = dirname(resolve(out));
  if (existsSync(folder)) checkWritable(out);
  else checkFolder(folder);
}
