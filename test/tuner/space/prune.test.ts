// Tests tuner/space/prune.ts: what is dropped after PTX and after ptxas, and what never is.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { againstFacts, EXPLORE, prunedByFacts, sameCode, spillsOf, type Facts } from '../../../tuner/space/prune.ts';

const kernel = (tile: string): string => `antkv_decode_d128_k8c8b_v8c8bq8_f16_gain_n4__sm90_${tile}`;
const facts = (registers: number, spills = 0, stack = 0): Facts => ({ registers, spillStores: spills / 2, spillLoads: spills / 2, stack });

test('of kernels with equal PTX the first stays', () => {
  const compiled = [['a', '1'], ['b', '2'], ['c', '1'], ['d', '2'], ['e', '1'], ['f', '3']].map(([name, ptx]) => ({ kernel: name!, ptx: ptx! }));
  assert.equal(sameCode(compiled).map(({ kernel: name, same }) => `${name} ${same}`), ['c a', 'd b', 'e a']);
  assert.equal(sameCode(compiled)[0], { event: 'pruned', kernel: 'c', stage: 'ptx', why: 'its PTX is that of a', same: 'a' });
  // A kernel that comes twice is not its own double.
  assert.equal(sameCode([compiled[0]!, compiled[0]!]), []);
});

test('spills count beside those of the default', () => {
  const name = kernel('lookup_w12_s1_c4');
  assert.is(againstFacts(name, facts(168, 300), facts(128)), undefined);
  assert.match(againstFacts(name, facts(168, 520), facts(128))!.why, /520 B of spills per thread, more than 512/);
  assert.is(againstFacts(name, facts(168, 1300), facts(128, 680)), undefined, 'twice the default');
  assert.match(againstFacts(name, facts(168, 1400), facts(128, 680))!.why, /more than 1360/);
  assert.match(againstFacts(name, facts(168, 0, 2000), facts(128))!.why, /stack frame of 2000 B, more than 1024/);
  assert.is(spillsOf(facts(1, 30)), 30);
});

test('the default stays whatever it spills, unless it cannot start', () => {
  const name = kernel('lookup_w16_s2_c4');
  const usual = { kernel: name, facts: facts(128, 9000) };
  assert.is(prunedByFacts(name, facts(128, 9000), usual), undefined);
  const dead = prunedByFacts(name, facts(200), usual)!;
  assert.equal([dead.stage, dead.why], ['ptxas', '200 registers x 512 threads, sm90 has 65536']);
});

test('without a report on the default only what cannot start is refused', () => {
  const usual = { kernel: kernel('lookup_w16_s2_c4'), facts: undefined };
  assert.is(prunedByFacts(kernel('lookup_w8_s2_c4'), facts(255, 4000), usual), undefined);
  assert.ok(prunedByFacts(kernel('lookup_w16_s1_c4'), facts(255), usual));
});

test('one in twenty is measured against the report, always the same', () => {
  const usual = { kernel: kernel('lookup_w16_s2_c4'), facts: facts(128) };
  const names = Array.from({ length: 2000 }, (_, i) => kernel(`w4_t${16 * (i + 1)}_s2`));
  const explored = names.filter((name) => prunedByFacts(name, facts(64, 5000), usual) === undefined);
  assert.ok(Math.abs(explored.length - 2000 / EXPLORE) < 40, `${explored.length} of 2000`);
  assert.equal(explored, names.filter((name) => prunedByFacts(name, facts(64, 5000), usual) === undefined));
});

test.run();
