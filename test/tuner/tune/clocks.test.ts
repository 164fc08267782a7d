// Tests tuner/tune/clocks.ts: which rounds are repeated because the clock had drifted.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Clocks } from '../../../tuner/tune/clocks.ts';

const round = (mhz: number | null) => ({ mhz });

test('rounds more than 3 % off the median of the session go', () => {
  const clocks = new Clocks();
  const first = [1980, 1980, 1975, 1700, 1990].map(round);
  assert.equal(clocks.steady('a', 'p', first).map(({ mhz }) => mhz), [1980, 1980, 1975, 1990]);
  assert.equal(clocks.steady('a', 'p', [round(1700)]), []);
});

test('a new session has its own clock, and what stays slow becomes usual', () => {
  const clocks = new Clocks();
  clocks.steady('a', 'p', [1980, 1980].map(round));
  assert.is(clocks.steady('b', 'p', [1400, 1400].map(round)).length, 2);
  for (let i = 0; i < 3; i++) clocks.steady('a', 'p', [1980].map(round));
  for (let i = 0; i < 8; i++) clocks.steady('a', 'p', [1410].map(round));
  assert.is(clocks.steady('a', 'p', [round(1410)]).length, 1);
});

test('a problem that draws so much power that the clock falls is measured at that clock from its second time on, others are not', () => {
  const clocks = new Clocks();
  clocks.steady('a', 'light', Array(20).fill(round(1980)));
  const heavy = [1710, 1695, 1710, 1725].map(round);
  assert.equal(clocks.steady('a', 'heavy', heavy), []);
  clocks.accept('heavy', heavy);
  assert.equal(clocks.steady('a', 'heavy', [...heavy, round(1500)]), heavy);
  assert.equal(clocks.steady('a', 'light', [round(1980), round(1710)]), [round(1980)]);
  // Its clock is none of the others': however often it is measured, theirs stays.
  for (let i = 0; i < 30; i++) clocks.steady('a', 'heavy', heavy);
  assert.is(clocks.steady('a', 'light', [round(1980)]).length, 1);
  assert.equal(clocks.steady('b', 'heavy', [1980, 1980, 1710].map(round)).length, 2, 'a new process learns anew');
});

test('without a clock every round stays', () => {
  const clocks = new Clocks();
  assert.is(clocks.steady('a', 'p', [round(null), round(null)]).length, 2);
  clocks.accept('p', [round(null)]);
  assert.is(clocks.steady('a', 'p', [round(null)]).length, 1);
});

test.run();
