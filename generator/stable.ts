// Canonical JSON: keys sorted, so that equal things are equal text and have equal digests. Pure.
import { createHash } from 'node:crypto';
import { configure } from 'safe-stable-stringify';

const stringify = configure({ deterministic: true, bigint: false, circularValue: Error, strict: true });

/** One line. Throws on what JSON cannot hold: NaN, infinities, functions. */
export const stableText = (value: unknown): string => stringify(value)!;

/** 16 hex digits of the SHA-256 of {@link stableText}. */
export const stableDigest = (value: unknown): string => createHash('sha256').update(stableText(value)).digest('hex').slice(0, 16);
