// Reads tuning journals: each line is judged by its own digest. What a killed writer left unfinished is dropped, anything else that is wrong is an error.
import { InputError } from '../../generator/errors.ts';
import { eventSchema, type TuneEvent } from '../tune/events.ts';
import { stableDigest } from '../../generator/stable.ts';
import { readText } from '../text.ts';

/** The schema of journals that this module reads. */
export const JOURNAL_SCHEMA = 1;

/** A line of a journal. `event` is undefined for events of later versions: they are copied, not understood. */
export interface JournalLine {
  readonly id: string;
  readonly at: string;
  /** As it stands in the file, without its newline. */
  readonly text: string;
  readonly event: TuneEvent | undefined;
}

export interface Journal {
  readonly lines: readonly JournalLine[];
  /** Bytes of the unfinished last line; 0 if the last one is whole. */
  readonly torn: number;
}

const FIX = 'take the file as its writer left it; "gen table merge" reads any number of journals';
const KNOWN = new Set(eventSchema.options.map((option) => option.shape.event.value as string));

/** One line. Throws InputError that says where. */
function parseLine(text: string, where: string): JournalLine {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new InputError(`${where} is not JSON`, FIX);
  }
  const { id, ...rest } = (json ?? {}) as Record<string, unknown>;
  const { event: name, at } = rest;
  if (typeof id !== 'string' || typeof name !== 'string' || typeof at !== 'string') throw new InputError(`${where} is not an event of a tuning journal`, FIX);
  if (stableDigest(rest) !== id) throw new InputError(`${where} was altered: its digest is ${stableDigest(rest)}, it says ${id}`, FIX);
  if (name === 'header' && rest['schema'] !== JOURNAL_SCHEMA) throw new InputError(`${where} begins a journal of schema ${String(rest['schema'])}, this antkv reads ${JOURNAL_SCHEMA}`, 'update antkv');
  if (!KNOWN.has(name)) return { id, at, text, event: undefined };
  const parsed = eventSchema.safeParse(json);
  if (!parsed.success) throw new InputError(`${where}: ${name}: ${parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).slice(0, 3).join('; ')}`, FIX);
  return { id, at, text, event: parsed.data };
}

/** A journal from its text. A last line without its newline was never acknowledged: it is dropped. Throws InputError with the number of a line that is wrong. */
export function parseJournal(text: string, file: string): Journal {
  const end = text.lastIndexOf('\n') + 1;
  const lines = text.slice(0, end).split('\n').slice(0, -1).map((line, i) => parseLine(line, `${file}:${i + 1}`));
  const first = lines[0];
  if (first && first.event?.event !== 'header') throw new InputError(`${file}:1 is no header: this is not a tuning journal`, FIX);
  return { lines, torn: Buffer.byteLength(text.slice(end)) };
}

/** The journal in a file. Throws InputError. */
export const readJournal = (path: string): Journal => parseJournal(readText(path, 'give the path of a file that gen tune wrote', 'the journal'), path);

/** True if the text begins as a tuning journal does: tells it from tables and bench records. */
export function isJournal(text: string): boolean {
  try {
    return (JSON.parse(text.slice(0, text.indexOf('\n'))) as { event?: unknown }).event === 'header';
  } catch {
    return false;
  }
}

/** The events of lines, in their order, without those of later versions. */
export const eventsOf = (lines: readonly JournalLine[]): TuneEvent[] => lines.flatMap(({ event }) => event ?? []);
