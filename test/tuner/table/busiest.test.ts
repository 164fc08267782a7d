// Tests tuner/table/busiest.ts on times of a kernel whose costs are known.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { kernelNamed } from '../../../tuner/space/names.ts';
import { sharesOf } from '../../../tuner/table/shares.ts';
import { busyTime } from '../../../tuner/table/busiest.ts';
import type { Point } from '../../../tuner/table/pool.ts';

const KERNEL = 'antkv_decode_d128_k8c8b_v8c8bq8_f16_gain_n4__sm90_lookup_w8_s2_c4';
const BOARD = { cc: 90, sms: 132 };
const LINES = 8;

/** Ten microseconds of a launch, eight of a piece, two of a thousand tokens: of the share with most where all are there at once. */
function us(batch: number, tokens: number, splits: number): number {
  return 10 + Math.max(...sharesOf(kernelNamed(KERNEL), { batch, tokens, window: 128 }, splits).map(({ pieces, sequences }) => 8 * pieces + 0.002 * sequences * tokens));
}

/** By sequence seven of a launch and six of a piece; a place takes one CTA after the other, each 3 us without its work. */
function sequenceUs(batch: number, tokens: number, splits: number): number {
  const turns = Math.ceil((splits * batch * LINES) / BOARD.sms);
  const most = Math.max(...sharesOf(kernelNamed(KERNEL), { batch: 1, tokens, window: 128 }, splits).map(({ sequences }) => sequences));
  return 7 + turns * (3 + 6 + 0.002 * most * tokens);
}

const point = (mode: 'sequence' | 'spread', batch: number, tokens: number, splits: readonly number[]): Point => {
  const time = mode === 'spread' ? us : sequenceUs;
  const arms = splits.map((n) => ({ kernel: KERNEL, launch: `${n}${mode === 'spread' ? 's' : ''}`, us: time(batch, tokens, n), half: 0.01 })).sort((a, b) => a.us - b.us);
  const problem = { contract: KERNEL.split('__')[0]!, mode, shape: { batch, tokens, q_heads: 32, kv_heads: 8 } } as const;
  return { problem, streams: batch * LINES, tokens, lines: LINES, setting: { window: 128 } as Point['setting'], environment: 'e', default: arms[0]!, arms, incumbent: undefined };
};
const TOKENS = [1024, 4096, 16_384, 65_536];
const grid = [1, 4, 8, 16, 32].flatMap((batch) => TOKENS.map((tokens) => point('spread', batch, tokens, [4, 8, 16])));
const powers = [1, 2, 4, 8, 16, 32].flatMap((batch) => TOKENS.map((tokens) => point('sequence', batch, tokens, [1, 2, 4].filter((n) => n * batch <= 32))));

test('prices are found again: batches between those that were timed cost what their busiest share does', () => {
  const time = busyTime(grid, KERNEL, BOARD)!;
  for (const [batch, tokens] of [[3, 2500], [6, 2048], [12, 10_000], [24, 7000]] as const) {
    for (const splits of [8, 16]) {
      const off = time({ streams: batch * LINES, tokens }, { splits, spread: true, merge: 'last' }) / us(batch, tokens, splits) - 1;
      assert.ok(Math.abs(off) < 0.04, `${batch} x ${tokens} in ${splits}: ${off}`);
    }
  }
});

test('CTAs that the device does not hold at once wait for others, and empty ones take time', () => {
  const time = busyTime(grid, KERNEL, BOARD)!;
  const at = (splits: number): number => time({ streams: 16 * LINES, tokens: 8192 }, { splits, spread: true, merge: 'last' });
  assert.ok(at(17) > at(16) + 8, `${at(17)} ${at(16)}`);
  assert.ok(time({ streams: LINES, tokens: 1024 }, { splits: 33, spread: true, merge: 'last' }) > time({ streams: LINES, tokens: 1024 }, { splits: 16, spread: true, merge: 'last' }) + 2);
});

test('by sequence: spread times tell what a token costs, which powers of two alone do not; 20 sequences take the device a second time', () => {
  const time = busyTime([...grid, ...powers], KERNEL, BOARD)!;
  const at = (batch: number, tokens: number, splits: number): number => time({ streams: batch * LINES, tokens }, { splits, spread: false, merge: splits > 1 ? 'last' : 'none' }) / sequenceUs(batch, tokens, splits) - 1;
  for (const [batch, tokens, splits] of [[10, 7000, 1], [20, 20_000, 1], [20, 20_000, 2], [40, 20_000, 1], [40, 20_000, 2], [5, 60_000, 3]] as const) {
    assert.ok(Math.abs(at(batch, tokens, splits)) < 0.06, `${batch} x ${tokens} in ${splits}: ${at(batch, tokens, splits)}`);
  }
});

test('a few times tell nothing', () => assert.is(busyTime(grid.slice(0, 2), KERNEL, BOARD), undefined));

test.run();
