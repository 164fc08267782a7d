// Calibration on the emulated driver against that on the cores: the same codebooks, but for rows that are as near to one centroid as to another.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { CodebookTensor } from '../../../generator/pack.ts';
import { presetOf } from '../../../generator/presets.ts';
import { setAxis } from '../../../generator/recipe.ts';
import { calibrate, type Calibrated, type CalibrateOptions } from '../../../tuner/calibrate/calibrate.ts';
import { openDump } from '../../../tuner/calibrate/file.ts';
import { fixture } from '../../fixtures/paths.ts';

const test = suite('calibrate/device');

async function both(options: Omit<CalibrateOptions, 'device'>, name: 'kv-calib-small' | 'kv-eval-small' = 'kv-calib-small'): Promise<[cores: Calibrated, device: Calibrated]> {
  const file = openDump(fixture(name));
  try {
    return [await calibrate(file, options), await calibrate(file, { ...options, device: 'emulated' })];
  } finally {
    file.close();
  }
}

const sides = ({ layers }: Calibrated): [codec: string, tensor: CodebookTensor][] => [...layers.values()].flatMap(({ k, v }) => [k, v].flatMap((side) => (side ? [[side.codec.name, side.tensor] as [string, CodebookTensor]] : [])));

/** Equal in nearly all channels; where a tie fell otherwise, chunks differ but code as well. */
function same([cores, device]: [Calibrated, Calibrated]): void {
  assert.is(cores.device, 'cpu');
  assert.not.equal(device.device, 'cpu');
  for (const [i, [codec, mine]] of sides(device).entries()) {
    const [, theirs] = sides(cores)[i]!;
    let equal = 0;
    mine.values.forEach((value, at) => (equal += Number(value === theirs.values[at])));
    assert.ok(equal >= 0.99 * mine.values.length, `${codec}: only ${equal} of ${mine.values.length} channels are equal`);
  }
  for (const [i, line] of device.chunks.entries()) {
    const other = cores.chunks[i]!;
    assert.ok(Math.abs(line.distortion - other.distortion) <= 1e-3 * other.distortion, `${line.side} ${line.head} ${line.chunk}: ${line.distortion}, on cores ${other.distortion}`);
  }
  for (const [name, { convergence, iterations, distortion }] of Object.entries(device.record.tensors)) {
    const other = cores.record.tensors[name]!;
    assert.is(iterations, other.iterations, name);
    assert.is(convergence!.length, iterations);
    convergence!.forEach((value, step) => assert.ok(Math.abs(value - other.convergence![step]!) <= 1e-3 * value, `${name}, iteration ${step}`));
    assert.ok(convergence!.every((value, step) => step === 0 || value <= convergence![step - 1]! * 1.0001), 'distortions fall');
    assert.ok(Math.abs(distortion - other.distortion) <= 1e-3 * distortion, name);
  }
}

test('keys before RoPE, values stored in 8 bits', async () => same(await both({ recipe: presetOf('antkv-1'), weights: 'none', tokens: 500, iterations: 4 })));

test('weights of the queries, keys that are rotated first, the best of two starts', async () =>
  same(await both({ recipe: setAxis(setAxis(presetOf('antkv-0.5'), 'key=post'), 'v=f16'), weights: 'column', power: 0.5, tokens: 300, iterations: 2, restarts: 2, seed: 5 }, 'kv-eval-small')));

test('one codebook for all chunks of a head, and for all of a layer with weights', async () => {
  same(await both({ recipe: setAxis(presetOf('antkv-1'), 'scope=head'), weights: 'none', tokens: 40, iterations: 3 }));
  same(await both({ recipe: setAxis(setAxis(presetOf('antkv-2'), 'scope=layer'), 'v=f16'), weights: 'column', tokens: 20, iterations: 2 }, 'kv-eval-small'));
});

test('a codec that no kernel clusters is refused by name', async () => {
  try {
    await both({ recipe: { ...presetOf('antkv-1'), k: '16c12b' }, weights: 'none', tokens: 20, iterations: 1 });
  } catch (error) {
    return assert.match((error as Error).message, /no device clusters for 16c12b: ./);
  }
  assert.unreachable('it was clustered');
});

test.run();
