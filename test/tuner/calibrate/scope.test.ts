// Tests tuner/calibrate/scope.ts, and calibration of codebooks that chunks or heads share.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readCodebook } from '../../../generator/codebook.ts';
import { toF16Array } from '../../../generator/f16.ts';
import { presetOf } from '../../../generator/presets.ts';
import { setAxis } from '../../../generator/recipe.ts';
import { writeSafetensors } from '../../../generator/safetensors.ts';
import { calibrate, type Calibrated } from '../../../tuner/calibrate/calibrate.ts';
import { openDump } from '../../../tuner/calibrate/file.ts';
import { placesOf, sharesOf, vectorsOf, vectorsPerToken, weightsFor, type Scope } from '../../../tuner/calibrate/scope.ts';
import { temporaryFolder } from '../../folder.ts';

const SCOPES: [scope: Scope, books: number, perToken: number][] = [['chunk', 6, 1], ['head', 2, 3], ['layer', 1, 6]];
for (const [scope, books, perToken] of SCOPES) {
  test(`${scope}: every (head, chunk) is served by one codebook`, () => {
    const shares = sharesOf(scope, 2, 3);
    assert.is(shares.length, books);
    assert.equal(shares.flatMap((share) => placesOf(share, 2, 3)).sort(), [0, 1, 2, 3, 4, 5]);
    assert.is(vectorsPerToken(scope, 2, 3), perToken);
  });
}

test('vectors of a codebook come by head, token and chunk, each with the weight of its token', () => {
  // [2 heads, 3 tokens in memory of which 2 are used, 4 channels]
  const rows = { data: toF16Array(Float64Array.from({ length: 24 }, (_, i) => i)), stride: 3, tokens: 2, headDim: 4 };
  const weights = Float32Array.of(1, 2, 3, 4);
  const [chunk, head, layer] = (['chunk', 'head', 'layer'] as const).map((scope) => ({ scope, head: scope === 'layer' ? 0 : 1, chunk: scope === 'chunk' ? 1 : 0 }));
  assert.equal([...vectorsOf(rows, chunk!, 2)], [14, 15, 18, 19]);
  assert.equal([...weightsFor(weights, rows, chunk!, 2)], [3, 4]);
  assert.equal([...vectorsOf(rows, head!, 2)], [12, 13, 14, 15, 16, 17, 18, 19]);
  assert.equal([...weightsFor(weights, rows, head!, 2)], [3, 3, 4, 4]);
  assert.equal([...vectorsOf(rows, layer!, 2)], [0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15, 16, 17, 18, 19]);
  assert.equal([...weightsFor(weights, rows, layer!, 2)], [1, 1, 2, 2, 3, 3, 4, 4]);
});

const D = 64;
const path = join(temporaryFolder(), 'dump.safetensors');
const values = (wave: number): Uint8Array => new Uint8Array(toF16Array(Float64Array.from({ length: 2 * 300 * D }, (_, i) => Math.sin(i * wave) * (1 + (i % 7)))).buffer);
writeFileSync(path, writeSafetensors(['k', 'v'].map((name, i) => ({ name, dtype: 'F16' as const, shape: [2, 300, D], data: values(0.37 + i) }))));
async function run(scope: Scope, threads: number): Promise<Calibrated> {
  const file = openDump(path);
  try {
    return await calibrate(file, { recipe: setAxis(setAxis(presetOf('antkv-1-fast'), 'gain=none'), `scope=${scope}`), iterations: 3, threads });
  } finally {
    file.close();
  }
}

test('a shared codebook stands in the file once for each chunk, with its int8 steps; what was trained is told', async () => {
  const made = { head: await run('head', 2), layer: await run('layer', 1) };
  for (const [scope, { bytes, record, chunks }] of Object.entries(made)) {
    const { k, v } = readCodebook(bytes, scope).layers.get(0)!;
    const [books, perChunk] = [scope === 'head' ? 2 : 1, 256 * 8];
    for (const { tensor } of [k!, v!]) {
      const book = (place: number): number[] => [...tensor.values.subarray(place * perChunk, (place + 1) * perChunk)];
      const own = new Set(Array.from({ length: 16 }, (_, place) => book(place).join()));
      assert.is(own.size, books, scope);
      assert.equal(book(8), book(15), 'chunks of head 1');
    }
    const { scale } = v!.tensor;
    for (let i = 0; i < 2 * D; i++) assert.is(scale![i], scale![(books === 2 && i >= D ? D : 0) + (i % 8)]);
    assert.is(chunks.length, 2 * books);
    assert.equal([chunks.at(-1)!.head, chunks.at(-1)!.chunk], [scope === 'head' ? 1 : null, null]);
    const per = (300 * (D / 8) * 2) / books;
    assert.equal([record.tensors['layers.0.k']!.vectors, record.tensors['layers.0.k']!.undertrained], [per, per < 16 * 256]);
    assert.ok(chunks.every(({ distortion }) => distortion > 0 && distortion < 0.5));
  }
  assert.equal((await run('head', 1)).bytes, made.head.bytes, 'on any number of threads');
});

test.run();
