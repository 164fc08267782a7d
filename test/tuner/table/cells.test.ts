// Tests tuner/table/cells.ts: for which place of a step a cell is decided.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { decideIn, stepAt } from '../../../tuner/table/cells.ts';
import { DEFAULT_AXES } from '../../../tuner/table/contract.ts';
import { fieldOf } from '../../../tuner/table/field.ts';
import { poolsOf } from '../../../tuner/table/pool.ts';
import { linesOf } from '../../../tuner/tune/problem.ts';
import { DEVICE, KERNELS, problemAt, sweepEvents } from '../../fixtures/sweep.ts';

const problems = [1, 4, 16].flatMap((batch) => [1024, 4096].map((tokens) => problemAt(batch, tokens)));
const points = poolsOf(sweepEvents({ problems, kernels: [KERNELS[0]] }))[0]!.points;
const field = fieldOf(points, [KERNELS[0]], DEVICE);
const lines = linesOf(problems[0]!);
const placeFor = (batch: number, tokens: number) => decideIn(field, ['sequence'], stepAt(DEFAULT_AXES, { streams: batch * lines, tokens }), DEFAULT_AXES).place;

test('one to eight sequences have cells of their own; more are together with the roundest batch near them', () => {
  const near = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 15, 17, 19, 21, 23, 27, 30, 37, 50];
  assert.equal(near.map((batch) => placeFor(batch, 2048).streams / lines), [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 16, 20, 20, 24, 28, 32, 40, 48]);
});

test('where a point of the step was measured it decides', () => {
  assert.equal(placeFor(16, 1100), { ...placeFor(16, 1024) });
  assert.is(placeFor(17, 4500).tokens, 4096);
  const { own, place } = decideIn(field, ['sequence'], stepAt(DEFAULT_AXES, { streams: 15 * lines, tokens: 1000 }), DEFAULT_AXES);
  assert.ok(own && place.streams === 16 * lines && place.tokens === 1024);
});

test.run();
