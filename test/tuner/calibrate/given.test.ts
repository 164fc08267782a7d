// Tests tuner/calibrate/given.ts: files of weights, alone and in a calibration.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { InputError } from '../../../generator/errors.ts';
import { toF16Array } from '../../../generator/f16.ts';
import { presetOf } from '../../../generator/presets.ts';
import { setAxis } from '../../../generator/recipe.ts';
import { writeSafetensors, type Tensor } from '../../../generator/safetensors.ts';
import { calibrate, type Calibrated, type CalibrateOptions } from '../../../tuner/calibrate/calibrate.ts';
import { openDump } from '../../../tuner/calibrate/file.ts';
import { openWeights } from '../../../tuner/calibrate/given.ts';
import { temporaryFolder } from '../../folder.ts';

const [D, HEADS, TOKENS] = [64, 2, 300];
const folder = temporaryFolder();
const at = (name: string): string => join(folder, `${name}.safetensors`);
function write(name: string, tensors: readonly Tensor[]): string {
  writeFileSync(at(name), writeSafetensors(tensors));
  return at(name);
}
const bytesOf = (array: Uint16Array | Float32Array): Uint8Array => new Uint8Array(array.buffer);
const rows = (name: string, wave: number): Tensor => ({ name, dtype: 'F16', shape: [HEADS, TOKENS, D], data: bytesOf(toF16Array(Float64Array.from({ length: HEADS * TOKENS * D }, (_, i) => Math.sin(i * wave) * (1 + (i % 7))))) });
const weights = (name: string, of: (head: number, token: number) => number, tokens = TOKENS): Tensor => ({
  name, dtype: 'F32', shape: [HEADS, tokens], data: bytesOf(Float32Array.from({ length: HEADS * tokens }, (_, i) => of(Math.floor(i / tokens), i % tokens))),
});
const DUMP = write('dump', [rows('layers.3.k', 0.37), rows('layers.3.v', 0.71)]);
const recipe = setAxis(setAxis(presetOf('antkv-0.5'), 'gain=none'), 'v=8c8b');

async function run(file: string | undefined, more: Partial<CalibrateOptions> = {}): Promise<Calibrated> {
  const dump = openDump(DUMP);
  try {
    return await calibrate(dump, { recipe, iterations: 3, threads: 1, weights: file === undefined ? 'none' : { file }, ...more });
  } finally {
    dump.close();
  }
}

test('weights are scaled to mean 1 in each head, after the power; a tensor of one side stands before that of both', () => {
  const path = write('both', [weights('layers.3.weights', (head, token) => 1 + head + (token % 2)), weights('layers.3.weights_v', () => 1e30)]);
  const [dump, given] = [openDump(DUMP), openWeights(path)];
  const layer = dump.dump.layers[0]!;
  const k = given.of(layer, 'k', 4, 2);
  const one = given.digest();
  const v = given.of(layer, 'v', 4, 8);
  [dump, given].forEach((file) => file.close());
  assert.instance(k.buffer, SharedArrayBuffer);
  [1, 4, 1, 4].forEach((want, i) => assert.ok(Math.abs(k[i]! - want / 2.5) < 1e-6, `${k}`));
  [4, 9, 4, 9].forEach((want, i) => assert.ok(Math.abs(k[4 + i]! - want / 6.5) < 1e-6, `${k}`));
  assert.equal([...v], Array(8).fill(1), 'huge ones are no infinity');
  assert.match(one, /^[0-9a-f]{16}$/);
  assert.not.equal(given.digest(), one);
});

test('equal weights give the codebooks that none give; the record says that they were given, and which', async () => {
  const [none, equal] = [await run(undefined), await run(write('equal', [weights('layers.3.weights', () => 7)]))];
  assert.equal(equal.layers, none.layers);
  assert.is(equal.record.weights, 'file');
  assert.match(equal.record.weights_digest!, /^[0-9a-f]{16}$/);
  assert.is(none.record.weights_digest, undefined);
});

test('a token of weight 0 is as if it were not there, on cores and on a device', async () => {
  const path = write('first', [weights('layers.3.weights', (_, token) => (token < 90 ? 1 : 0))]);
  for (const device of ['cpu', 'emulated'] as const) {
    const [some, fewer] = [await run(path, { iterations: 2, device }), await run(undefined, { tokens: 90, iterations: 2, device })];
    // Every token that counts has an entry of its own.
    for (const { chunks } of [some, fewer]) assert.ok(chunks.every(({ distortion }) => distortion < 1e-6), JSON.stringify([device, chunks.slice(0, 2)]));
  }
});

const REFUSED: [what: string, tensors: readonly Tensor[], message: RegExp][] = [
  ['no tensor for a side', [weights('layers.3.weights_k', () => 1)], /no weights for the values of layer 3/],
  ['tensors of another layer', [weights('weights', () => 1)], /no weights for the keys of layer 3/],
  ['other tokens than the dump', [weights('layers.3.weights', () => 1, TOKENS - 1)], /"layers.3.weights" .*\[2, 299\]/],
  ['halves', [rows('layers.3.weights', 1)], /"layers.3.weights" .*F16/],
  ['a negative weight', [weights('layers.3.weights', (head, token) => (head === 1 && token === 5 ? -2 : 1))], /head 1: the weight of token 5 is -2/],
  ['a NaN', [weights('layers.3.weights', (head, token) => (head === 1 && token === 5 ? NaN : 1))], /NaN or infinity, first at \[1, 5\]/],
  ['a head without weight', [weights('layers.3.weights', (head) => head)], /head 0: no token has a weight above 0/],
];
for (const [i, [what, tensors, message]] of REFUSED.entries()) {
  test(`refuses ${what}`, async () => {
    try {
      await run(write(`refused-${i}`, tensors));
    } catch (error) {
      assert.match((error as InputError).message, message);
      assert.ok((error as InputError).fix);
      return;
    }
    assert.unreachable('it was calibrated');
  });
}

test.run();
