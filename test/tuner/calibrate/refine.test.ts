// Tests tuner/calibrate/refine.ts against the definition, and in a calibration.
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { fromF16, toF16, toF16Array } from '../../../generator/f16.ts';
import { presetOf } from '../../../generator/presets.ts';
import { setAxis } from '../../../generator/recipe.ts';
import { calibrate, type Calibrated, type CalibrateOptions } from '../../../tuner/calibrate/calibrate.ts';
import { openDump } from '../../../tuner/calibrate/file.ts';
import { refine, type RefineTask } from '../../../tuner/calibrate/refine.ts';
import type { ChunkResult } from '../../../tuner/calibrate/task.ts';
import { fixture } from '../../fixtures/paths.ts';

const random = xoroshiro128plus(9);
const [TOKENS, D, CHANNELS] = [600, 16, 8];
const halves = (count: number, size: number): Uint16Array => toF16Array(Float64Array.from({ length: count }, () => size * (uniformFloat64(random) - 0.5)));
const rows = { data: halves(TOKENS * D, 4), stride: TOKENS, tokens: TOKENS, headDim: D };
const weights = Float32Array.from({ length: TOKENS }, (_, i) => 0.5 + (i % 3));
// Centroids drawn at random, too short by half: far from a fit.
const books = [0, 1].map((chunk): ChunkResult => ({ scope: 'chunk', head: 0, chunk, stored: halves(256 * CHANNELS, 2), iterations: 1, reseeded: 0, losses: [], loss: 1, energy: 1 }));
const task: RefineTask = { kind: 'refine', rows, codec: '8c8b', heads: [0], books, rounds: 1, weights };
const row = (data: ArrayLike<number>, i: number, width: number): number[] => Array.from({ length: width }, (_, c) => fromF16(data[i * width + c]!));
const square = (x: readonly number[]): number => x.reduce((sum, value) => sum + value * value, 0);

/** Codes, gains and the error of `at`, row by row. */
function plain(at: readonly ChunkResult[]): { codes: number[][]; gains: number[]; error: number } {
  const book = at.map(({ stored }) => Array.from({ length: 256 }, (_, e) => row(stored as Uint16Array, e, CHANNELS)));
  const out = { codes: [] as number[][], gains: [] as number[], error: 0 };
  for (let token = 0; token < TOKENS; token++) {
    const x = row(rows.data, token, D);
    const parts = [x.slice(0, CHANNELS), x.slice(CHANNELS)];
    const codes = parts.map((part, chunk) => {
      const distances = book[chunk]!.map((c) => square(c.map((value, i) => value - part[i]!)));
      return distances.indexOf(Math.min(...distances));
    });
    const hat = codes.flatMap((code, chunk) => book[chunk]![code]!);
    const gain = fromF16(toF16(Math.sqrt(square(x) / square(hat))));
    out.codes.push(codes);
    out.gains.push(gain);
    out.error += weights[token]! * square(x.map((value, i) => value - gain * hat[i]!));
  }
  return out;
}

test('a round is the least squares fit for codes and gains as encode finds them, rounded as stored', () => {
  const { codes, gains, error } = plain(books);
  const got = refine(task);
  assert.is(got.rounds, 1);
  assert.ok(Math.abs(got.before - error) < 1e-9 * error);
  assert.ok(Math.abs(got.after - plain(got.books).error) < 1e-9 * error);
  assert.ok(got.after < got.before);
  for (const [chunk, book] of got.books.entries()) {
    for (let entry = 0; entry < 256; entry++) {
      const mine = codes.flatMap((code, token) => (code[chunk] === entry ? [token] : []));
      const mass = mine.reduce((sum, token) => sum + weights[token]! * gains[token]! ** 2, 0);
      for (let i = 0; i < CHANNELS; i++) {
        const moment = mine.reduce((sum, token) => sum + weights[token]! * gains[token]! * fromF16(rows.data[token * D + chunk * CHANNELS + i]!), 0);
        const [want, value] = [mine.length === 0 ? fromF16(books[chunk]!.stored[entry * CHANNELS + i]!) : moment / mass, fromF16(book.stored[entry * CHANNELS + i]!)];
        assert.ok(Math.abs(value - want) <= 2 ** -11 * Math.abs(want) + 1e-7, `${chunk} ${entry} ${i}: ${value}, not ${want}`);
      }
    }
  }
});

test('more rounds never lose, and end where nothing is gained', () => {
  let before = Infinity;
  for (const rounds of [0, 1, 2, 4, 8]) {
    const got = refine({ ...task, rounds });
    assert.ok(got.after <= before && got.rounds <= rounds);
    before = got.after;
  }
  const long = refine({ ...task, rounds: 200 });
  assert.ok(long.rounds < 200);
  assert.equal(refine({ ...task, rounds: 0 }).books, books);
});

async function run(options: Partial<CalibrateOptions>): Promise<Calibrated> {
  const file = openDump(fixture('kv-calib-small'));
  try {
    return await calibrate(file, { recipe: setAxis(presetOf('antkv-0.5'), 'v=f16'), tokens: 400, iterations: 2, weights: 'none', threads: 1, ...options });
  } finally {
    file.close();
  }
}

test('on real keys the error falls; the record has it; a device that clusters finds the same', async () => {
  const [cores, device, none] = [await run({ refine: 2 }), await run({ refine: 2, device: 'emulated' }), await run({})];
  const [mine, theirs] = [cores, device].map(({ record }) => record.tensors['layers.3.k']!.refined!);
  assert.ok(mine!.rounds >= 1 && mine!.after < mine!.before, JSON.stringify(mine));
  assert.is(cores.record.refine, 2);
  assert.is(none.record.tensors['layers.3.k']!.refined, undefined);
  for (const of of ['before', 'after'] as const) assert.ok(Math.abs(mine![of] - theirs![of]) < 1e-3 * mine![of], JSON.stringify([mine, theirs]));
  assert.ok(cores.chunks.every(({ distortion }, i) => Math.abs(distortion - device.chunks[i]!.distortion) < 2e-3 * distortion));
});

test('one codebook for a head is refined as one', async () => {
  const { layers, record } = await run({ recipe: setAxis(setAxis(presetOf('antkv-0.5'), 'v=f16'), 'scope=head'), refine: 1, tokens: 200 });
  const { values } = layers.get(3)!.k!.tensor;
  assert.ok(record.tensors['layers.3.k']!.refined!.after <= record.tensors['layers.3.k']!.refined!.before);
  assert.equal([...values.subarray(0, 256 * 16)], [...values.subarray(7 * 256 * 16)]);
});

test('a recipe without gain is refused', async () => {
  try {
    await run({ recipe: setAxis(presetOf('antkv-0.5'), 'gain=none'), refine: 1 });
  } catch (error) {
    return assert.match((error as Error).message, /has no gain/);
  }
  assert.unreachable('it was refined');
});

test.run();
