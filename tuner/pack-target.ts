// Whether a pack may go where a user wants it: asked before its kernels are compiled, so that nothing of others is lost.
import { readdirSync, statSync } from 'node:fs';
import { InputError } from '../generator/errors.ts';
import { cannotWrite, placeOf } from '../generator/write.ts';

/** Throws InputError unless the folder is new, empty, or holds nothing but `parts` of a pack, `marker` among them. `fix`: how to name another. */
export function judgeFolder(target: string, parts: readonly string[], fix: string, marker?: string): void {
  const entries = looked(target, () => {
    if (statSync(target, { throwIfNoEntry: false })?.isDirectory() === false) throw new InputError(`${target} is no folder`, fix);
    return readdirSync(target);
  });
  if (entries.length === 0) return;
  if (marker !== undefined && !entries.includes(marker)) throw new InputError(`${target} is a folder with other files`, fix);
  const foreign = entries.filter((name) => !parts.includes(name));
  if (foreign.length > 0) throw new InputError(`${target} holds ${foreign.slice(0, 3).join(', ')} besides what a pack has`, `move that away, or ${fix}`);
}

/** Throws InputError if a folder is where an archive shall be, EnvironmentError for devices and pipes. */
export function judgeArchive(target: string): void {
  const place = placeOf(target);
  looked(target, () => {
    if (statSync(place, { throwIfNoEntry: false })?.isDirectory()) throw new InputError(`${target} is a folder`, 'name an archive, or a folder whose name does not end like one, with --out');
    return [];
  });
}

/** What `look` finds, nothing where nothing is. */
function looked(target: string, look: () => string[]): string[] {
  try {
    return look();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw cannotWrite(error, target);
  }
}
