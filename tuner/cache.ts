// Content-addressed build cache: a folder per key, made whole or not at all, safe with several processes at once.
import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { access, mkdtemp, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { EnvironmentError } from '../generator/errors.ts';
import { makeFolder } from '../generator/write.ts';

/** $ANTKV_CACHE, else $XDG_CACHE_HOME/antkv, else ~/.cache/antkv. */
export function cacheDir(env: NodeJS.ProcessEnv = process.env): string {
  if (env['ANTKV_CACHE']) return env['ANTKV_CACHE'];
  return join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'antkv');
}

/** Digest of a list of strings; ['ab', 'c'] and ['a', 'bc'] differ. */
export const digestOf = (key: readonly string[]): string => createHash('sha256').update(JSON.stringify(key)).digest('hex').slice(0, 32);

// Folders under construction, so that Ctrl-C leaves none behind.
const underway = new Set<string>();
let watching = false;
function watchExit(): void {
  if (watching) return;
  watching = true;
  process.once('exit', () => underway.forEach((dir) => rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 })));
}

const exists = (path: string): Promise<boolean> => access(path).then(() => true, () => false);

const mend = (error: NodeJS.ErrnoException, dir: string): unknown => {
  if (error.code === 'ENOSPC' || error.code === 'EDQUOT') {
    return new EnvironmentError(`no space left for the build cache ${dir}`, 'free some space, or set ANTKV_CACHE to a folder on another disk');
  }
  if (error.code === 'EACCES' || error.code === 'EROFS' || error.code === 'EPERM' || error.code === 'ENOTDIR' || error.code === 'EEXIST' || error.code === 'ENAMETOOLONG') {
    return new EnvironmentError(`cannot write the build cache ${dir} (${error.code})`, 'set ANTKV_CACHE to a folder that you can write');
  }
  return error;
};

// Two requests for one key in this process build once.
const pending = new Map<string, Promise<string>>();

/**
 * The folder of `key`, built by `build` in a temporary folder beside it if it is not there yet, then renamed into place: readers never see half of it.
 * When two processes build the same key, the first rename wins and the other folder is dropped. If `build` throws, nothing stays. The key must name everything that
 * the result depends on (sources, flags, compiler version). Throws EnvironmentError if the cache cannot be written, and whatever `build` throws.
 */
export function cached(key: readonly string[], build: (dir: string) => Promise<void>): Promise<string> {
  const final = join(cacheDir(), digestOf(key));
  const running = pending.get(final);
  if (running) return running;
  const made = make(final, build).finally(() => pending.delete(final));
  pending.set(final, made);
  return made;
}

async function make(final: string, build: (dir: string) => Promise<void>): Promise<string> {
  if (await exists(final)) return final;
  const parent = dirname(final);
  let temporary: string;
  try {
    makeFolder(parent);
    temporary = await mkdtemp(`${final}.tmp-`);
  } catch (error) {
    throw mend(error as NodeJS.ErrnoException, parent);
  }
  underway.add(temporary);
  watchExit();
  try {
    await build(temporary);
    await rename(temporary, final).catch((error: NodeJS.ErrnoException) => {
      // Someone else was first: same key, same content.
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw mend(error, parent);
    });
    return final;
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === 'ENOSPC' ? mend(error as NodeJS.ErrnoException, parent) : error;
  } finally {
    underway.delete(temporary);
    await rm(temporary, { recursive: true, force: true });
  }
}
