// The header comment of generated files: what made them, of what, and how to make them again. No date, host, path or version: they would churn.
import { createHash } from 'node:crypto';

/** The first line of every stamp, behind its comment sign; write.ts tells our files from others by it. */
export const STAMP_TITLE = 'Generated file. Do not edit.';

/** Digest of everything that a file's text depends on, 16 hex digits. */
export function digest(inputs: readonly string[]): string {
  const hash = createHash('sha256');
  for (const input of inputs) hash.update(`${input.length}:`).update(input);
  return hash.digest('hex').slice(0, 16);
}

/** The stamp as comment lines; entries are aligned `key value` pairs in the given order. */
export function stamp(entries: Readonly<Record<string, string>>, comment = '//'): string {
  const width = Math.max(...Object.keys(entries).map((key) => key.length));
  const lines = Object.entries(entries).map(([key, value]) => `${comment}   ${key.padEnd(width)}  ${value}`);
  return [`${comment} ${STAMP_TITLE}`, ...lines, ''].join('\n');
}

/** The digest that a stamped text carries, or undefined. */
export const stampedInputs = (text: string): string | undefined => /^\S+\s+inputs\s+([0-9a-f]{16})$/m.exec(text)?.[1];
