// The only module that writes files: plans what a set of files changes in a folder, and makes it so, file by file and each whole.
import * as nodeFs from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import type { Files } from './emit.ts';
import { EnvironmentError } from './errors.ts';
import { STAMP_TITLE } from './stamp.ts';

/** What {@link plan} and {@link apply} use of node:fs; tests pass one that fails. */
export type Fs = Pick<typeof nodeFs, 'readFileSync' | 'writeFileSync' | 'renameSync' | 'rmSync' | 'mkdirSync' | 'readdirSync'>;

/** Paths below the folder, sorted. */
export interface Plan {
  readonly add: readonly string[];
  readonly change: readonly string[];
  readonly same: readonly string[];
  /** Kernel sources of ours that no longer belong there. */
  readonly orphan: readonly string[];
}

/** True if nothing would change. */
export const isClean = ({ add, change, orphan }: Plan): boolean => add.length + change.length + orphan.length === 0;

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? '';

function readIfThere(path: string, fs: Fs): string | undefined {
  try {
    return fs.readFileSync(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined;
    throw new EnvironmentError(`cannot read ${path} (${codeOf(error)})`, 'make it readable, or choose another folder with --out');
  }
}

/** Kernel sources in the folders of `archs`: ours by name and by stamp. Tables and files of others are never touched. */
export function sourcesIn(dir: string, archs: readonly string[], fs: Fs = nodeFs): string[] {
  return archs.flatMap((arch) => {
    let names: string[];
    try {
      names = fs.readdirSync(join(dir, arch)) as string[];
    } catch {
      return [];
    }
    return names.filter((name) => /^antkv_\w+\.cu$/.test(name) && readIfThere(join(dir, arch, name), fs)?.startsWith(`// ${STAMP_TITLE}`)).map((name) => `${arch}/${name}`);
  });
}

/** Compares `files` with the folder `dir`. Orphans are looked for in the folders of `archs`: none of them, no orphans. */
export function plan(files: Files, dir: string, archs: readonly string[], fs: Fs = nodeFs): Plan {
  const add: string[] = [];
  const change: string[] = [];
  const same: string[] = [];
  for (const [path, text] of files) {
    const there = readIfThere(join(dir, path), fs);
    (there === undefined ? add : there === text ? same : change).push(path);
  }
  const orphan = sourcesIn(dir, archs, fs).filter((path) => !files.has(path));
  return { add: add.sort(), change: change.sort(), same: same.sort(), orphan: orphan.sort() };
}

const UNWRITABLE = ['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EISDIR', 'EEXIST', 'ENOENT', 'ELOOP', 'ENAMETOOLONG'];

const ELSEWHERE = 'make its folder writable, or choose another with --out';

/** What to tell of an error of writing `path`: an EnvironmentError for what a user can mend, else the error itself. */
export function cannotWrite(error: unknown, path: string, fix = ELSEWHERE): unknown {
  const code = codeOf(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') return new EnvironmentError(`no space left to write ${path}`, 'free some space and run the same command again: what was written is whole');
  if (UNWRITABLE.includes(code)) return new EnvironmentError(`cannot write ${path} (${code})`, fix);
  return error;
}

/** Creates a folder and those above it. Node 20's own `recursive` never returns below /proc, where creating answers ENOENT for ever. */
export function makeFolder(dir: string, fs: Pick<Fs, 'mkdirSync'> = nodeFs): void {
  const make = (): string => {
    try {
      fs.mkdirSync(dir);
      return '';
    } catch (error) {
      if (codeOf(error) !== 'EEXIST' && codeOf(error) !== 'ENOENT') throw error;
      return codeOf(error);
    }
  };
  if (make() !== 'ENOENT') return;
  if (dirname(dir) !== dir) makeFolder(dirname(dir), fs);
  fs.mkdirSync(dir);
}

/** Throws EnvironmentError unless the folder `dir` can be written to, or made: asked before long work. */
export function checkFolder(dir: string, fix = ELSEWHERE): void {
  let there = resolve(dir);
  try {
    while (!nodeFs.statSync(there, { throwIfNoEntry: false })) there = dirname(there);
    if (!nodeFs.statSync(there).isDirectory()) throw Object.assign(new Error(), { code: 'ENOTDIR' });
    nodeFs.accessSync(there, nodeFs.constants.W_OK);
  } catch (error) {
    throw cannotWrite(error, dir, fix);
  }
}

/** What `work` answers, which writes below the folder `dir`. Throws EnvironmentError with the fix where that cannot be written to, before the work if that shows. */
export async function writingTo<T>(dir: string, work: () => Promise<T>, fix = ELSEWHERE): Promise<T> {
  checkFolder(dir, fix);
  try {
    return await work();
  } catch (error) {
    const { path = dir } = error as NodeJS.ErrnoException; // a full disk names none
    throw resolve(path).startsWith(resolve(dir)) ? cannotWrite(error, dir, fix) : error;
  }
}

/**
 * Where a write to `path` lands: behind its links, which so stay. Throws EnvironmentError for a device, a pipe, a socket or what a process has open (/dev/stdout):
 * renaming a file over it would replace it.
 */
export function placeOf(path: string): string {
  const refuse = (why: string) => new EnvironmentError(`cannot write ${path}: ${why}`, 'choose the path of a file');
  let place = resolve(path);
  let there: nodeFs.Stats | undefined;
  try {
    for (let links = 0; ; links++) {
      if (links > 40) throw refuse('its links lead in a circle');
      place = join(nodeFs.realpathSync(dirname(place)), basename(place));
      if (/^\/proc\/\d+\//.test(place)) throw refuse('a process has it open');
      place = resolve(dirname(place), nodeFs.readlinkSync(place));
    }
  } catch (error) {
    if (error instanceof EnvironmentError) throw error;
    // No link, or nothing there: whoever writes there hears why.
  }
  try {
    there = nodeFs.statSync(place, { throwIfNoEntry: false });
  } catch {
    // As above.
  }
  if (there && !there.isFile() && !there.isDirectory()) throw refuse('it is no regular file');
  return place;
}

/** Writes a file beside its place and renames it there: readers see the old file or the new one. Throws EnvironmentError with the fix if it cannot. */
export function writeWhole(path: string, data: string | Uint8Array, fs: Fs = nodeFs): void {
  const place = placeOf(path);
  const temporary = `${place}.${process.pid}.tmp`;
  try {
    makeFolder(dirname(place), fs);
    fs.writeFileSync(temporary, data);
    fs.renameSync(temporary, place);
  } catch (error) {
    try {
      fs.rmSync(temporary, { force: true });
    } catch {
      // The first error says more.
    }
    throw cannotWrite(error, path);
  }
}

/** Makes `dir` what `files` say: writes what is new or changed, removes orphans, and what was compiled from sources that change or go. */
export function apply(files: Files, dir: string, { add, change, orphan }: Plan, fs: Fs = nodeFs): void {
  const remove = (path: string): void => {
    try {
      fs.rmSync(join(dir, path), { force: true });
    } catch (error) {
      throw cannotWrite(error, join(dir, path));
    }
  };
  // What was compiled from an old source goes first: at no time does it lie beside a new one.
  for (const path of [...change, ...orphan].filter((p) => p.endsWith('.cu'))) remove(path.replace(/\.cu$/, '.fatbin'));
  for (const path of [...add, ...change]) writeWhole(join(dir, path), files.get(path)!, fs);
  orphan.forEach(remove);
}
