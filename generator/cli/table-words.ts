// What gen table reads from the command line: a shape, a device.
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { InputError, nearest, UsageError } from '../errors.ts';
import type { Ask } from '../table/find.ts';
import { BOARDS, usualPart } from '../table/devices.ts';
import type { NamedTable } from '../table/read.ts';
import { identitySchema, type Identity } from '../table/schema.ts';
import { slugOf } from '../table/words.ts';

export type AskedShape = Pick<Ask, 'batch' | 'tokens' | 'qHeads' | 'kvHeads' | 'qLen' | 'mode'>;

/** As fields of kernels have it. */
const count = z.int().min(1).max(2 ** 31 - 1);
const shapeSchema = z.strictObject({
  batch: count, tokens: count, q_heads: count.default(32), kv_heads: count.default(8), q_len: z.int().min(1).max(16).default(1),
  mode: z.enum(['sequence', 'spread', 'fastest']).default('sequence'),
});
const USAGE = 'for example B16x32K or B1x131072,heads=32/8,q=1,spread (or fastest); or JSON with batch, tokens, q_heads, kv_heads, q_len, mode';

const MEMBERS = Object.keys(identitySchema.shape).join(', ');

/** A shape as users write it. Throws UsageError. */
export function parseAskedShape(text: string): AskedShape {
  const fail = (why: string) => new UsageError(`"${text}" is no shape: ${why}`, USAGE);
  let fields: Record<string, unknown> = {};
  if (text.trim().startsWith('{')) {
    try {
      fields = JSON.parse(text) as Record<string, unknown>;
    } catch (error) {
      throw fail((error as Error).message);
    }
  } else {
    const [size = '', ...words] = text.split(',').map((word) => word.trim());
    const [, batch, tokens, kilo] = /^[Bb]?(\d{1,7})x(\d{1,9})([kK]?)$/.exec(size) ?? [];
    if (batch === undefined) throw fail(`"${size}" is not BATCHxTOKENS`);
    fields = { batch: Number(batch), tokens: Number(tokens) * (kilo ? 1024 : 1) };
    const seen = new Set<string>();
    for (const word of words) {
      const what = word.includes('=') ? word.slice(0, word.indexOf('=')) : 'mode';
      if (seen.has(what)) throw fail(`${what} is given twice`);
      seen.add(what);
      const [, qHeads, kvHeads, qLen] = /^(?:heads=(\d+)\/(\d+)|q=(\d+))$/.exec(word) ?? [];
      if (qHeads !== undefined) Object.assign(fields, { q_heads: Number(qHeads), kv_heads: Number(kvHeads) });
      else if (qLen !== undefined) fields['q_len'] = Number(qLen);
      else if (['sequence', 'spread', 'fastest'].includes(word)) fields['mode'] = word;
      else throw fail(`"${word}" is none of heads=Q/KV, q=ROWS, sequence, spread, fastest`);
    }
  }
  const parsed = shapeSchema.safeParse(fields);
  if (!parsed.success) throw fail(parsed.error.issues.map(({ path, message }) => `${path.join('.')} ${message}`).join('; '));
  const { batch, tokens, q_heads: qHeads, kv_heads: kvHeads, q_len: qLen, mode } = parsed.data;
  if (qHeads % kvHeads !== 0) throw fail(`${qHeads} query heads are no multiple of ${kvHeads} KV heads`);
  if (batch * qHeads >= 2 ** 31) throw fail('it has 2^31 query heads or more');
  return { batch, tokens, qHeads, kvHeads, qLen, mode };
}

/** A device that a user named: a board, the device of a table, an architecture (its usual part), or a file with the members of an identity. Throws UsageError, InputError. */
export function askedDevice(text: string, tables: readonly NamedTable[]): { readonly name: string; readonly identity: Identity } {
  // What a table was measured on comes first: it was read on the board itself.
  const known = [...tables.map(({ table: { device } }): [string, Identity] => [device.name, device]), ...Object.entries(BOARDS)];
  const asked = slugOf(text);
  const found = known.find(([name]) => slugOf(name) === asked) ?? known.find(([name]) => slugOf(name) === `nvidia-${asked}`);
  if (found) return { name: found[0], identity: found[1] };
  const part = usualPart(text.toLowerCase());
  if (part) return { name: `the usual ${text}`, identity: part };
  if (!/[./\\]/.test(text)) {
    const near = nearest(text, known.map(([name]) => name));
    const all = `known: ${[...new Set(known.map(([name]) => name))].join(', ')}, architectures (sm80), or a JSON file with ${MEMBERS}`;
    throw new UsageError(`no device "${text}" is known`, near.length > 0 ? `did you mean ${near.join(' or ')}?` : all);
  }
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(text, 'utf8'));
  } catch (error) {
    throw new InputError(`cannot read the device in ${text}: ${(error as Error).message}`, `give a JSON file with ${MEMBERS}, or a table`);
  }
  // A table, or a device with its label, has more members.
  const inner = (json as { device?: unknown } | null)?.device ?? json;
  const parsed = z.object(identitySchema.shape).safeParse(inner);
  if (!parsed.success) throw new InputError(`${text} holds no device: ${parsed.error.issues.map(({ path, message }) => `${path.join('.')} ${message}`).slice(0, 3).join('; ')}`, `it needs ${MEMBERS}`);
  return { name: (inner as { name?: string }).name ?? text, identity: parsed.data };
}
