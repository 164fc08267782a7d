// Tests tuner/tune/{race,confirm}.ts: the bounds hold as often as they say, slower arms go, equal ones tie, and races end.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import fc from 'fast-check';
import { drawOf } from '../../../tuner/search/chance.ts';
import { confirmed } from '../../../tuner/tune/confirm.ts';
import { estimate, leaderOf, ratiosOf, roundsByArm, standingsOf, type Round } from '../../../tuner/tune/race.ts';
import type { Arm } from '../../../tuner/tune/problem.ts';

const test = suite('tune/race');
const arm = (kernel: string, launch = '1'): Arm => ({ kernel, launch });
const [A, B, C] = [arm('a'), arm('b'), arm('c')];

/** Rounds of arms with given middles and noise, the same for the same seed. */
function rounds(arms: readonly (readonly [Arm, number])[], count: number, noise: number, seed = 1): Round[] {
  const draw = drawOf(seed);
  const uniform = (): number => draw(1_000_000) / 1_000_000;
  return Array.from({ length: count }, () => {
    const drift = 1 + 0.05 * uniform(); // of all arms alike: pairs do not see it
    return roundsByArm(arms.map(([one]) => one), [{ us: arms.map(([, middle]) => middle * drift * (1 + noise * (uniform() - 0.5))) }])[0]!;
  });
}

test('one-sided bounds hold in 95 of 100 cases, two-sided intervals too', () => {
  let below = 0, above = 0;
  const cases = 2000;
  const draw = drawOf(3);
  for (let i = 0; i < cases; i++) {
    const { low, high } = estimate(Array.from({ length: 20 }, () => (draw(1_000_000) - 500_000) / 1e6));
    if (low > 0) below++;
    if (high < 0) above++;
  }
  assert.ok(below / cases <= 0.06 && above / cases <= 0.06, `${below} and ${above} of ${cases}`);
  assert.ok(below + above > 0);
});

test('with fewer than five rounds nothing is sure', () => {
  for (const n of [1, 2, 3, 4]) assert.equal([estimate(Array<number>(n).fill(1)).low, estimate(Array<number>(n).fill(1)).half], [-Infinity, Infinity]);
  assert.is(estimate([1, 1, 1, 1, 1]).low, 1);
  assert.is(estimate([1, 1, 1, 1, 1]).half, Infinity);
  assert.is(estimate([1, 1, 1, 1, 1, 1]).half, 0);
});

test('a bound never crosses the median, and order does not matter', () => {
  fc.assert(fc.property(fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 1, maxLength: 80 }), (ratios) => {
    const { low, middle, high, half } = estimate(ratios);
    assert.ok(low <= middle && middle <= high && half >= 0);
    assert.equal(estimate(ratios.toReversed()), estimate(ratios));
  }));
});

test('the fastest leads, who is surely slower leaves, the default stays', () => {
  const seen = rounds([[A, 110], [B, 100], [C, 105]], 12, 0.01);
  assert.is(leaderOf([A, B, C], seen), B);
  const { alive, leader, settled, ties } = standingsOf([A, B, C], seen);
  assert.is(leader, B);
  assert.equal(alive, [A, B]);
  assert.equal(ties, [B]);
  assert.is(settled, 'interval');
  assert.equal(standingsOf([A, B, C], seen, 60, [C]).alive, [A, B, C]);
});

test('arms that cannot be told apart tie, and the race ends at its limit', () => {
  const seen = rounds([[A, 100], [B, 100.1]], 20, 0.2);
  assert.is(standingsOf([A, B], seen).settled, undefined);
  const end = standingsOf([A, B], seen, 20);
  assert.is(end.settled, 'rounds');
  assert.is(end.ties.length, 2);
  assert.is(standingsOf([A, B], rounds([[A, 100], [B, 100.1]], 40, 0.01)).settled, 'interval');
});

test('who may win a tie is told apart narrowly; another arm only as far as it might be faster', () => {
  // B leads by a little less than what tells arms apart after twelve rounds of this noise, and never loses by 0.5 %.
  const paired = (other: Arm, ratio: (i: number) => number): Round[] => Array.from({ length: 12 }, (_, i) => roundsByArm([A, B, other], [{ us: [120, 100, 100 * ratio(i)] }])[0]!);
  const ahead = paired(C, (i) => 0.996 + 0.003 * i);
  assert.is(standingsOf([A, B, C], ahead).settled, 'interval');
  assert.equal(standingsOf([A, B, C], ahead).ties, [B, C]);
  assert.is(standingsOf([A, B, C], ahead, 60, [C]).settled, undefined, 'what a table chose is a tie only within 0.5 %');
  assert.is(standingsOf([A, B, C], paired(C, (i) => 0.98 + 0.006 * i)).settled, undefined, 'it may be 2 % faster');
  const usual = ahead.map((round) => new Map([['a 1', round.get('c 1')!], ['b 1', 100]]));
  assert.is(standingsOf([A, B], usual).settled, undefined, 'so is the default');
});

test('alone, or without rounds', () => {
  assert.is(standingsOf([A], []).settled, 'alone');
  const none = standingsOf([A, B], []);
  assert.equal([none.settled, none.leader, none.alive.length], [undefined, A, 2]);
});

test('an arm that missed rounds is compared in those it had', () => {
  const seen = [...rounds([[A, 100], [B, 90]], 10, 0.01), ...rounds([[A, 100]], 10, 0.01)];
  assert.is(ratiosOf(seen, B, A).length, 10);
  assert.is(standingsOf([A, B], seen).leader, B);
});

test('a confirmation within 2 % is one, and one that is surely faster', () => {
  const race = rounds([[A, 100], [B, 90]], 20, 0.01);
  assert.ok(confirmed(B, A, race, rounds([[A, 100], [B, 91]], 10, 0.01)).ok);
  const less = rounds([[A, 100], [B, 94]], 10, 0.01);
  assert.ok(confirmed(B, A, race, less).ok, 'faster than the default in both, by how much is a matter of the process');
  assert.not.ok(confirmed(B, A, race, less.slice(0, 4)).ok, 'four rounds do not make that sure');
  const not = confirmed(B, A, race, rounds([[A, 100], [B, 99.9]], 10, 0.01));
  assert.ok(!not.ok && /-9\.\d % over the default in the race, -[01]\.\d % in a fresh process|-10\.\d % over/.test(not.why));
});

test.run();
