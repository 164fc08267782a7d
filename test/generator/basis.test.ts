// Tests generator/basis.ts: matrices that undo each other, and those that do not.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkBasis, packBasis, product, type Basis } from '../../generator/basis.ts';
import { InputError } from '../../generator/errors.ts';

const D = 8;
/** Head 0 shears, head 1 turns the channels around: both have inverses that are not themselves. */
const matrix = (entry: (i: number, j: number) => number): number[] => Array.from({ length: D * D }, (_, n) => entry(Math.floor(n / D), n % D));
const shear = (by: number) => matrix((i, j) => Number(i === j) + by * Number(j === i + 1 && i % 2 === 0));
const turn = (by: number) => matrix((i, j) => Number(j === (i + by + D) % D));
const basis: Basis = { kvHeads: 2, headDim: D, to: Float32Array.from([...shear(3), ...turn(1)]), back: Float32Array.from([...shear(-3), ...turn(-1)]) };

test('a vector goes there and back by the matrices of its head', () => {
  checkBasis(basis, 'b');
  const x = Array.from({ length: D }, (_, i) => i + 1);
  assert.equal([...product(basis.to, 0, x)], [7, 2, 15, 4, 23, 6, 31, 8]);
  assert.equal([...product(basis.to, 1, x)], [2, 3, 4, 5, 6, 7, 8, 1]);
  for (const head of [0, 1]) assert.equal([...product(basis.back, head, product(basis.to, head, x))], x);
});

const REFUSED: [what: string, change: Partial<Basis>, message: RegExp][] = [
  ['a matrix too few', { back: basis.back.subarray(D * D) }, /b: 128 and 64 elements, not 128, \[kv_heads, head_dim, head_dim\]/],
  ['matrices of another head dim', { headDim: 16 }, /not 512/],
  ['heads in another order', { back: Float32Array.from([...turn(-1), ...shear(-3)]) }, /inverse of KV head 0 does not undo its basis/],
  ['columns first', { back: Float32Array.from([...shear(-3), ...turn(1)]) }, /inverse of KV head 1 does not undo/],
  ['NaN', { to: basis.to.map((value, i) => (i === 5 ? NaN : value)) }, /off by NaN/],
];
for (const [what, change, message] of REFUSED) {
  test(`refuses ${what}`, () => assert.throws(() => checkBasis({ ...basis, ...change }, 'b'), (error: unknown) => error instanceof InputError && message.test(error.message) && !!error.fix));
}

test('the runner gets both matrices of all heads, one after the other', () => {
  const bytes = packBasis(basis);
  assert.equal([...new Float32Array(bytes.buffer)], [...basis.to, ...basis.back]);
});

test.run();
