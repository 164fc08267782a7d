// Tests covering.ts by definition.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { covering } from './covering.ts';

const AXES = { a: [1, 2, 3], b: ['x', 'y'], c: [true, false], d: [0, 1, 2, 3] } as const;

test('every pair is in a row or listed as impossible, and no row breaks the rule', () => {
  const valid = (row: { a: number; b: string }): boolean => !(row.a === 1 && row.b === 'y');
  const { rows, impossible } = covering(AXES, valid);
  assert.equal(impossible, ['a=1 b=y']);
  assert.ok(rows.every(valid));
  const names = Object.keys(AXES) as (keyof typeof AXES)[];
  for (const p of names) for (const q of names) for (const x of AXES[p]) for (const y of AXES[q]) {
    if (p >= q || (p === 'a' && q === 'b' && x === 1 && y === 'y')) continue;
    assert.ok(rows.some((row) => row[p] === x && row[q] === y), `${p}=${x} ${q}=${y}`);
  }
  assert.ok(rows.length >= 12 && rows.length <= 20, `${rows.length} rows; 12 is the least, 44 would be every valid one`);
});

test('what follows from other values is settled, so that a rare row is found; never against the pair that is looked for', () => {
  const even = [true, false];
  const rows = covering({ n: [1, 2], even }, ({ n, even }) => (n % 2 === 0) === even, (row) => ({ ...row, even: row.n % 2 === 0 }));
  assert.equal([rows.rows.length, rows.impossible], [2, ['n=1 even=true', 'n=2 even=false']]);
  const { impossible } = covering({ go: ['x'], even, n: Array.from({ length: 300 }, (_, i) => i) }, ({ n }) => n === 77, (row) => ({ ...row, n: 77 }));
  assert.not.ok(impossible.includes('go=x even=true'));
});

test('equal input gives equal rows', () => assert.equal(covering(AXES, () => true, undefined, 5), covering(AXES, () => true, undefined, 5)));

test.run();
