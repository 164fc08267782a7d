// The words of a tuning table: cells, keys of choices, file names, text. Pure.
import { digest } from '../stamp.ts';
import { printJson } from '../manifest.ts';
import { CELL, type CELL_LETTERS, type Choice, type DeviceFacts, type Table } from './schema.ts';

export type Letter = keyof typeof CELL_LETTERS;

/** What one cell says: which choice, how sure, and the expected regret in thousandths. */
export interface Cell {
  readonly key: string;
  readonly letter: Letter;
  readonly regret: number;
}

/** The largest regret that a cell can hold. */
export const MOST_REGRET = 9999;

/** `3fa0M12`. */
export const cellWord = ({ key, letter, regret }: Cell): string => `${key}${letter}${Math.min(Math.max(Math.ceil(regret), 0), MOST_REGRET)}`;

/** The inverse of {@link cellWord}; undefined for what is no cell. */
export function parseCell(word: string): Cell | undefined {
  const [, key, letter, regret] = CELL.exec(word) ?? [];
  return key === undefined ? undefined : { key, letter: letter as Letter, regret: Number(regret) };
}

/** One text per choice, in which no two differ: what keys are made of and sorted by. */
export const choiceWord = ({ kernel, ctas, spread, merge }: Choice): string => `${kernel} ${ctas}${spread ? 's' : ''} ${merge}`;

/** The key of every choice, by its word. Four digits of its digest; of two that meet, the later by name takes the next free one. */
export function keysOf(choices: Iterable<Choice>): Map<string, string> {
  const keys = new Map<string, string>();
  const taken = new Set<number>();
  for (const word of [...new Set([...choices].map(choiceWord))].sort()) {
    let key = Number.parseInt(digest([word]).slice(0, 4), 16);
    while (taken.has(key)) key = (key + 1) % 65_536;
    taken.add(key);
    keys.set(word, key.toString(16).padStart(4, '0'));
  }
  return keys;
}

/** `NVIDIA H200` as part of a file's name: `nvidia-h200`. */
export const slugOf = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '') || 'device';

/** Path of a table below the generated folder. */
export const tablePath = (arch: string, device: Pick<DeviceFacts, 'name'>): string => `${arch}/table.${slugOf(device.name)}.json`;

/** The canonical text of a table: sorted keys, a row of cells a line, so that a re-tune is a small diff. */
export const printTable = (table: Table): string => printJson(table);
