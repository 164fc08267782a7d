// Tests tuner/search/recorded.ts and replay.ts: the file of a space, its faults, costs, and curves.
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { InputError } from '../../../generator/errors.ts';
import { costsOf, readSpace, spaceOfRecorded, writeSpace, type RecordedSpace } from '../../../tuner/search/recorded.ts';
import { contest, evaluationsTo, replay } from '../../../tuner/search/replay.ts';
import { exhaustive } from '../../../tuner/search/exhaustive.ts';
import type { Problem } from '../../../tuner/tune/problem.ts';
import { SYNTHETIC } from '../../fixtures/make-space.ts';

const problem = (tokens: number): Problem => ({ contract: 'antkv_select', mode: 'sequence', shape: { batch: 1, tokens, q_heads: 32, kv_heads: 8 } });
const tiny: RecordedSpace = {
  header: { space: 1, origin: 'synthetic', what: 'three rows', device: 'none', arch: 'sm90', contract: 'antkv_select', rows: 'kernels', problems: [problem(1), problem(2)], seeds: ['a'] },
  rows: [{ id: 'a', fields: { warps: 8 }, us: [10, 40] }, { id: 'b', fields: { warps: 4 }, us: [5, null] }, { id: 'c', fields: { warps: 2 }, us: [null, null], why: 'verify: wrong' }, { id: 'd', fields: { warps: 1 }, us: [20, 20] }],
};

test('a space is read as it was written, and the same bytes are written again', () => {
  const bytes = writeSpace(tiny);
  assert.equal(readSpace(bytes, 'x'), tiny);
  assert.ok(writeSpace(readSpace(bytes, 'x')).equals(bytes));
});

test('costs are geometric means over the problems that both have; the lost have none', () => {
  assert.equal([...costsOf(tiny)], [['a', 1], ['b', 0.5], ['c', undefined], ['d', 1]]);
  assert.equal(spaceOfRecorded(tiny).seeds, ['a']);
});

test('broken files are told with the line', () => {
  const file = (lines: readonly unknown[]): Buffer => gzipSync(lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'));
  const told = (bytes: Uint8Array, why: RegExp): void => assert.throws(() => readSpace(bytes, 'f.gz'), (error: unknown) => error instanceof InputError && why.test(error.message) && /record-space/.test(error.fix!));
  told(Buffer.from('plain'), /f\.gz is not gzipped/);
  told(file([tiny.header, '{"id":']), /line 2: /);
  told(file([{ ...tiny.header, space: 2 }]), /line 1: /);
  told(file([tiny.header, { ...tiny.rows[0], us: [1] }]), /line 2: 1 times for 2 problems/);
  told(file([tiny.header, tiny.rows[1]]), /no row of its default a/);
});

test('a curve is the best so far over the optimum', () => {
  const curve = replay(exhaustive, spaceOfRecorded(tiny), costsOf(tiny), 1);
  assert.equal(curve, [2, 1, 1, 1]);
  assert.equal([evaluationsTo(curve, 0.02), evaluationsTo(curve, 1), evaluationsTo([3, 2], 0.02)], [2, 1, undefined]);
  assert.equal(replay(exhaustive, spaceOfRecorded(tiny), costsOf(tiny), 1, { most: 1 }), [2]);
});

test('a search that cheats or hangs is told', () => {
  const space = spaceOfRecorded(tiny);
  const of = (ask: () => string[]) => () => ({ ask, tell: () => undefined, done: false });
  assert.throws(() => replay(of(() => ['a']), space, costsOf(tiny), 1), /a was asked for twice/);
  assert.throws(() => replay(of(() => ['z']), space, costsOf(tiny), 1), /z is not in the space/);
  assert.throws(() => replay(of(() => []), space, costsOf(tiny), 1), /waits for nothing/);
});

test('a run that never comes near counts as the whole space', () => {
  const [row] = contest(spaceOfRecorded(tiny), costsOf(tiny), { seeds: 3, most: 1, strategies: { mine: exhaustive } });
  assert.equal([row!.median, row!.reached, row!.ended.worst], [4, 0, 2]);
});

test('the synthetic fixture says that it is made up', () => {
  const { header, rows } = readSpace(readFileSync(new URL(`../../fixtures/${SYNTHETIC}`, import.meta.url)), SYNTHETIC);
  assert.equal([header.origin, header.device], ['synthetic', 'none']);
  assert.match(header.what, /^SYNTHETIC/);
  assert.ok(rows.length > 300 && rows.some(({ us }) => us[0] === null));
});

test.run();
