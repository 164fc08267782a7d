// Appends to a tuning journal: one file per writer and no locks, each event on the disk before its promise resolves.
import { existsSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { EnvironmentError, InputError } from '../../generator/errors.ts';
import { makeFolder, placeOf } from '../../generator/write.ts';
import { eventSchema, type Draft, type EventOf, type TuneEvent, type Write } from '../tune/events.ts';
import { stableDigest, stableText } from '../../generator/stable.ts';
import { parseJournal, type JournalLine } from './read.ts';

export interface JournalOptions {
  /** Who writes: `local`, or shard and attempt, `0007.1`. */
  readonly writer: string;
  /** The first line of a new file. */
  readonly header: Omit<EventOf<'header'>, 'event' | 'id' | 'at' | 'writer' | 'schema'>;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

export interface OpenJournal {
  readonly path: string;
  /** What the file held when it was opened: a sweep goes on from there. */
  readonly lines: readonly JournalLine[];
  readonly write: Write;
  /** Resolves when everything written so far is on the disk, and the file is closed. */
  close(): Promise<void>;
}

/** An event as it stands in a journal. Throws on what its schema refuses: a bug of the caller, found before it is on the disk. */
export function complete(draft: Draft, writer: string, now: number): TuneEvent {
  const rest = { ...draft, at: new Date(now).toISOString(), writer };
  // As JSON has it: members that are undefined are not there.
  const plain = JSON.parse(stableText(rest)) as object;
  return eventSchema.parse({ ...plain, id: stableDigest(plain) });
}

const mend = (error: unknown, path: string): unknown => {
  const { code = '' } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG') return new EnvironmentError(`no space left to write ${path}`, 'free some space and run the same command again: it goes on from what the journal holds');
  if (['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EISDIR', 'ENOENT', 'EIO', 'ELOOP', 'ENAMETOOLONG'].includes(code)) return new EnvironmentError(`cannot write ${path} (${code})`, 'choose another file with --journal');
  return error;
};

/** A file name is on the disk when its folder is. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(dirname(path), 'r');
  await folder.sync().catch(() => undefined); // some network file systems cannot, and need not
  await folder.close();
}

/** How every header begins, digits as zeros: members are written in the order of the alphabet. */
const BEGINNING = '{"at":"0000-00-00T00:00:00.000Z","command":[';

/** True if a text without a whole line may be a header whose writer was killed; a crash may leave zeros behind it. */
function isTornHeader(text: string): boolean {
  const begun = text.replace(/\0+$/, '').replace(/\d/g, '0');
  return begun.startsWith(BEGINNING) || BEGINNING.startsWith(begun);
}

/** Opens the file for appending; its lines, and where its last whole one ends. What a killed writer left unfinished behind that is cut off, never anything else. */
async function openFile(path: string): Promise<{ file: FileHandle; lines: readonly JournalLine[]; end: number }> {
  const file = await open(path, 'a+');
  try {
    const text = await file.readFile('utf8');
    const { lines, torn } = parseJournal(text, path);
    if (lines.length === 0 && !isTornHeader(text)) throw new InputError(`${path} is no tuning journal`, 'choose another file with --journal; one that is not there is begun');
    const end = Buffer.byteLength(text) - torn;
    if (torn > 0) await file.truncate(end);
    return { file, lines, end };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * Opens a journal, or begins one. Throws InputError for a file that is none, EnvironmentError where the machine does not let it write. A write that fails leaves no
 * part of its line behind, and the journal takes the next one; where not even that can be had, every later write fails too.
 */
export async function openJournal(name: string, { writer, header, now }: JournalOptions): Promise<OpenJournal> {
  const path = resolve(name);
  try {
    placeOf(path); // no device, no pipe
    if (!existsSync(dirname(path))) makeFolder(dirname(path));
    const { file, lines, end: begin } = await openFile(path);
    let end = begin;
    let last: Promise<void> = Promise.resolve();
    let broken: unknown;
    const append = async (draft: Draft): Promise<void> => {
      if (broken) throw broken;
      const line = `${stableText(complete(draft, writer, now()))}\n`;
      try {
        await file.appendFile(line);
        await file.datasync();
        end += Buffer.byteLength(line);
      } catch (error) {
        await file.truncate(end).catch(() => (broken = mend(error, path)));
        throw mend(error, path);
      }
    };
    const write: Write = (draft) => {
      const mine = last.then(() => append(draft));
      last = mine.catch(() => undefined); // whoever wrote it hears of it
      return mine;
    };
    if (lines.length === 0) {
      await write({ event: 'header', schema: 1, ...header });
      await syncFolder(path);
    }
    return { path, lines, write, close: () => last.then(() => file.close()) };
  } catch (error) {
    throw mend(error, path);
  }
}
