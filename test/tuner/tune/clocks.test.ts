// Tests tuner/tune/clocks.ts: which rounds are repeated because the clock had drifted.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Clocks } from '../../../tuner/tune/clocks.ts';

const round = (mhz: number | null) => ({ mhz });

test('rounds more than 3 % off the median of the session go', () => {
  const clocks = new Clocks();
  const first = [1980, 1980, 1975, 1700, 1990].map(round);
  assert.equal(clocks.steady('a', first).map(({ mhz }) => mhz), [1980, 1980, 1975, 1990]);
  assert.equal(clocks.steady('a', [round(1700)]), []);
});

test('a new session has its own clock, and what stays slow becomes usual', () => {
  const clocks = new Clocks();
  clocks.steady('a', [1980, 1980].map(round));
  assert.is(clocks.steady('b', [1400, 1400].map(round)).length, 2);
  for (let i = 0; i < 3; i++) clocks.steady('a', [1980].map(round));
  for (let i = 0; i < 8; i++) clocks.steady('a', [1410].map(round));
  assert.is(clocks.steady('a', [round(1410)]).length, 1);
});

test('without a clock every round stays', () => {
  assert.is(new Clocks().steady('a', [round(null), round(null)]).length, 2);
});

test.run();
