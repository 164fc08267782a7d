// Merges tuning journals: the union of their events, in one order. Commutative, associative, idempotent. Pure.
import { stableDigest, stableText } from '../../generator/stable.ts';
import type { JournalLine } from './read.ts';

/** Headers come first, so that the merged lines are a journal; then by time, then by id. */
function compare(a: JournalLine, b: JournalLine): number {
  const rank = ({ event }: JournalLine): number => (event?.event === 'header' ? 0 : 1);
  const order = (x: string, y: string): number => (x < y ? -1 : x > y ? 1 : 0);
  return rank(a) - rank(b) || order(a.at, b.at) || order(a.id, b.id);
}

/** Each event once. Lines are kept as they are; of two that only differ in the order of their members the canonical one stays, so that who is merged first does not show. */
export function mergeLines(journals: Iterable<readonly JournalLine[]>): JournalLine[] {
  const byId = new Map<string, JournalLine>();
  for (const lines of journals) {
    for (const line of lines) {
      const there = byId.get(line.id);
      if (!there) byId.set(line.id, line);
      else if (there.text !== line.text) byId.set(line.id, { ...line, text: stableText(JSON.parse(line.text)) });
    }
  }
  return [...byId.values()].sort(compare);
}

/** The merged journal as text. */
export const journalText = (lines: readonly JournalLine[]): string => lines.map(({ text }) => `${text}\n`).join('');

/** Digest of a set of events, whatever files they came in; 16 hex digits. */
export const setDigest = (lines: readonly Pick<JournalLine, 'id'>[]): string => stableDigest([...new Set(lines.map(({ id }) => id))].sort());
