// Tests tuner/table/fill.ts: the model's time between points, corrected by arms that fill the device alike.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ctasPerSm, parseLaunch } from '../../../tuner/bench-launch.ts';
import { kernelNamed } from '../../../tuner/space/names.ts';
import { corrected } from '../../../tuner/table/fill.ts';
import type { Point } from '../../../tuner/table/pool.ts';

const KERNEL = 'antkv_decode_d128_k8c8b_v8c8bq8_f16_n4__sm90_lookup_w16_s2_c4'; // one CTA per multiprocessor
const BOARD = { cc: 90, sms: 132 };
/** As long as the work of a multiprocessor that is busy to the end. */
const model = ({ streams, tokens }: { streams: number; tokens: number }): number => (streams * tokens) / 1e4;
/** What a device takes: whole turns. */
const truth = (streams: number, tokens: number, splits: number): number => (Math.ceil((streams * splits) / BOARD.sms) * BOARD.sms * tokens) / splits / 1e4;
const point = (streams: number, tokens: number, splits: readonly number[]): Point =>
  ({ streams, tokens, arms: splits.map((n) => ({ kernel: KERNEL, launch: String(n), us: truth(streams, tokens, n), half: 0 })) }) as unknown as Point;
const off = (us: number | undefined, wanted: number): number => Math.abs(us! / wanted - 1);

test('an arm that was timed is what it took', () => {
  assert.is(ctasPerSm(kernelNamed(KERNEL)), 1);
  const at = corrected([point(128, 32_768, [1, 2]), point(256, 32_768, [1, 2])], KERNEL, BOARD, model);
  for (const splits of [1, 2]) assert.ok(off(at({ streams: 128, tokens: 32_768 }, parseLaunch(String(splits))), truth(128, 32_768, splits)) < 1e-3);
});

test('192 CTAs are two turns of 132 multiprocessors, 384 three of half the work: known from others that fill them alike', () => {
  // 95 CTAs of 132, and 190 of 264, fill their last turn as 192 of 264 do; 128 and 256 are nearer in streams, and full.
  const points = [point(95, 49_152, [1, 2, 4]), point(128, 49_152, [1, 2, 4]), point(256, 49_152, [1, 2, 4]), point(190, 24_576, [1, 2])];
  const at = corrected(points, KERNEL, BOARD, model);
  const [one, two] = [1, 2].map((splits) => at({ streams: 192, tokens: 49_152 }, parseLaunch(String(splits)))!);
  assert.ok(two! < 0.9 * one!, `${two} and ${one}`);
});

test('what was timed of other kernels, and with another merge, counts not or less', () => {
  const other = KERNEL.replace('w16', 'w12');
  const mixed = { streams: 128, tokens: 32_768, arms: [{ kernel: other, launch: '1', us: 1, half: 0 }] } as unknown as Point;
  assert.is(corrected([mixed], KERNEL, BOARD, model)({ streams: 128, tokens: 32_768 }, parseLaunch('1')), model({ streams: 128, tokens: 32_768 }), 'nothing of its own: the model');
  const merges = { streams: 64, tokens: 32_768, arms: [{ kernel: KERNEL, launch: '2', us: 300, half: 0 }, { kernel: KERNEL, launch: '2c', us: 600, half: 0 }] } as unknown as Point;
  const at = corrected([merges], KERNEL, BOARD, model);
  const [last, combined] = ['2', '2c'].map((launch) => at({ streams: 64, tokens: 32_768 }, parseLaunch(launch))!);
  assert.ok(off(last, 300) < 0.01 && off(combined, 600) < 0.01, `${last} and ${combined}`);
});

test('a model that knows nothing of an op or a board says nothing', () => {
  assert.is(corrected([point(128, 32_768, [1])], KERNEL, BOARD, () => undefined)({ streams: 128, tokens: 32_768 }, parseLaunch('1')), undefined);
});

test.run();
