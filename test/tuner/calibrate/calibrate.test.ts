// Tests tuner/calibrate/calibrate.ts with its pool, on synthetic dumps.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { product } from '../../../generator/basis.ts';
import { readCodebook } from '../../../generator/codebook.ts';
import { InputError } from '../../../generator/errors.ts';
import { toF16Array } from '../../../generator/f16.ts';
import { centroidsOf } from '../../../generator/pack.ts';
import { presetOf } from '../../../generator/presets.ts';
import { setAxis } from '../../../generator/recipe.ts';
import { writeSafetensors } from '../../../generator/safetensors.ts';
import { calibrate, type CalibrateOptions, type Calibrated } from '../../../tuner/calibrate/calibrate.ts';
import { openDump } from '../../../tuner/calibrate/file.ts';
import { createPool } from '../../../tuner/calibrate/pool.ts';
import { gather } from '../../../tuner/calibrate/rows.ts';
import type { ChunkTask } from '../../../tuner/calibrate/task.ts';
import { temporaryFolder } from '../../folder.ts';

const D = 64;
const folder = temporaryFolder();
const random = xoroshiro128plus(5);
const recipe = presetOf('antkv-1');

/** Writes a dump of random rows; names map to heads. */
function dump(name: string, tokens: number, heads: Record<string, number>, metadata: Record<string, string> = {}): string {
  const path = join(folder, `${name}.safetensors`);
  const tensors = Object.entries(heads).map(([tensor, n]) => ({ name: tensor, dtype: 'F16' as const, shape: [n, tokens, D], data: new Uint8Array(toF16Array(Array.from({ length: n * tokens * D }, () => uniformFloat64(random) * 4 - 2)).buffer) }));
  writeFileSync(path, writeSafetensors(tensors, metadata));
  return path;
}
async function run(path: string, options: Partial<CalibrateOptions> = {}): Promise<Calibrated> {
  const file = openDump(path);
  try {
    return await calibrate(file, { recipe, iterations: 3, threads: 1, ...options });
  } finally {
    file.close();
  }
}
const PLAIN = dump('plain', 300, { k_pre_rope: 2, v: 2 }, { layer: '3', rope_theta: '10000' });

test('equal bytes from one thread, two threads, and again; other bytes from another seed', async () => {
  const one = await run(PLAIN, { threads: 1 });
  assert.equal((await run(PLAIN, { threads: 2 })).bytes, one.bytes);
  assert.equal((await run(PLAIN, { threads: 1 })).bytes, one.bytes);
  assert.not.equal((await run(PLAIN, { seed: 1 })).bytes, one.bytes);
});

test('the record says how each tensor was made, and the file holds it', async () => {
  const { record, bytes, chunks } = await run(PLAIN);
  const book = readCodebook(bytes, 'f');
  assert.equal(book.metadata.calibration, record);
  assert.equal([...book.layers.keys()], [3]);
  assert.is(record.weights, 'none');
  const { position, vectors, undertrained, codec, distortion } = record.tensors['layers.3.k']!;
  assert.equal({ position, vectors, undertrained, codec }, { position: 'pre', vectors: 300, undertrained: true, codec: '8c8b' });
  assert.is(record.tensors['layers.3.v']!.position, null);
  assert.ok(distortion > 0 && distortion < 0.3);
  assert.is(chunks.length, 2 * 2 * (D / 8));
  assert.ok(Math.abs(chunks.filter((c) => c.side === 'k').reduce((sum, c) => sum + c.distortion, 0) / 16 - distortion) < 0.01);
});

test('the undertrained label falls at 16 vectors per entry', async () => {
  const path = dump('long', 16 * 256, { k_pre_rope: 1, v: 1 });
  assert.is((await run(path, { iterations: 1 })).record.tensors['layers.0.v']!.undertrained, false);
  assert.is((await run(path, { iterations: 1, tokens: 16 * 256 - 1 })).record.tensors['layers.0.v']!.undertrained, true);
});

test('with as many entries as tokens every row is coded to rounding: assembly puts each chunk in its place', async () => {
  const path = dump('tiny', 200, { k_pre_rope: 2, v: 2 });
  const { layers, chunks } = await run(path, { iterations: 8, recipe: setAxis(setAxis(recipe, 'v=8c8b'), 'transform=none') });
  assert.ok(chunks.every(({ distortion }) => distortion < 1e-5));
  const { codec, tensor } = layers.get(0)!.v!;
  const file = openDump(path);
  const { data } = file.rows(file.dump.layers[0]!.v, 200);
  file.close();
  const all = centroidsOf(codec, D, tensor);
  // Row 7 of head 1, chunk 5, must be an entry of exactly that chunk.
  const want = toF16Array(all);
  const row = Array.from(data.subarray((200 + 7) * D + 40, (200 + 7) * D + 48));
  const entries = Array.from({ length: 256 }, (_, e) => Array.from(want.subarray(((8 + 5) * 256 + e) * 8, ((8 + 5) * 256 + e + 1) * 8)));
  assert.ok(entries.some((entry) => entry.every((half, i) => Math.abs(half - row[i]!) <= 1)));
});

test('centroids of values in a basis, brought back by the inverse in the file, are the rows', async () => {
  const path = dump('turned', 200, { k_pre_rope: 2, v: 2 });
  const { layers, bytes } = await run(path, { iterations: 8, recipe: setAxis(recipe, 'v=8c8b') });
  const { codec, tensor } = layers.get(0)!.v!;
  const { basis } = readCodebook(bytes, 'f').layers.get(0)!;
  assert.equal(basis, layers.get(0)!.basis);
  const file = openDump(path);
  const rows = gather(file.rows(file.dump.layers[0]!.v, 200), 1, 0, D);
  file.close();
  const all = centroidsOf(codec, D, tensor);
  for (const token of [0, 7, 199]) {
    const turned = product(basis!.to, 1, rows.subarray(token * D, (token + 1) * D));
    // As many entries as rows: the nearest centroid of each chunk is the row's own.
    const near = turned.map((_, i) => {
      const chunk = Math.floor(i / 8);
      const entry = (e: number) => all.subarray(((8 + chunk) * 256 + e) * 8, ((8 + chunk) * 256 + e + 1) * 8);
      const far = (e: number): number => entry(e).reduce((sum, x, c) => sum + (x - turned[chunk * 8 + c]!) ** 2, 0);
      const best = Array.from({ length: 256 }, (_, e) => e).reduce((least, e) => (far(e) < far(least) ? e : least));
      return entry(best)[i % 8]!;
    });
    product(basis!.back, 1, near).forEach((x, i) => assert.ok(Math.abs(x - rows[token * D + i]!) < 0.01, `token ${token}, channel ${i}: ${x}, not ${rows[token * D + i]}`));
  }
  assert.is((await run(path, { iterations: 1, recipe: setAxis(recipe, 'transform=none') })).layers.get(0)!.basis, undefined);
});

test('keys after RoPE are derived from keys before it, and back', async () => {
  const path = dump('pre', 260, { k_pre_rope: 1, v: 1 }, { rope_theta: '10000', positions: 'token index modulo 130' });
  const post = await run(path, { recipe: setAxis(recipe, 'key=post') });
  const pre = await run(path);
  assert.is(post.record.tensors['layers.0.k']!.position, 'post');
  assert.not.equal(post.layers.get(0)!.k!.tensor.values, pre.layers.get(0)!.k!.tensor.values);
  assert.equal(post.layers.get(0)!.v, pre.layers.get(0)!.v);
});

test('weights: the default is exact with queries; each choice changes what it should', async () => {
  const path = dump('queries', 300, { q: 4, k: 2, v: 2 }, { rope_theta: '10000' });
  const exact = await run(path);
  assert.is(exact.record.weights, 'exact');
  const column = await run(path, { weights: 'column' });
  const none = await run(path, { weights: 'none' });
  const [ke, kc, kn] = [exact, column, none].map((c) => c.layers.get(0)!.k!.tensor.values);
  const [ve, vc, vn] = [exact, column, none].map((c) => c.layers.get(0)!.v!.tensor.values);
  assert.not.equal(ke, kc);
  assert.not.equal(kc, kn);
  assert.equal(ve, vc);
  assert.not.equal(vc, vn);
  assert.equal((await run(path, { weights: 'exact', power: 0 })).layers, none.layers);
});

const nan = toF16Array(new Float64Array(D * 4));
nan[D * 2 + 5] = 0x7e00;
writeFileSync(join(folder, 'nan.safetensors'), writeSafetensors([
  { name: 'k', dtype: 'F16', shape: [1, 4, D], data: new Uint8Array(toF16Array(new Float64Array(D * 4)).buffer) },
  { name: 'v', dtype: 'F16', shape: [1, 4, D], data: new Uint8Array(nan.buffer) },
]));
const REFUSED: [what: string, start: () => Promise<unknown>, message: RegExp][] = [
  ['a NaN in the values', () => run(join(folder, 'nan.safetensors'), { recipe: setAxis(recipe, 'key=post') }), /tensor "v" holds NaN or infinity, first at \[0, 2, 5\]/],
  ['weights without queries', () => run(PLAIN, { weights: 'column' }), /has no queries/],
  ['keys that cannot be rotated', () => run(dump('noRope', 20, { k_pre_rope: 1, v: 1 }), { recipe: setAxis(recipe, 'key=post') }), /do not say how to rotate/],
  ['a layer that is not there', () => run(PLAIN, { layers: [0] }), /has no layer 0/],
  ['an exact recipe', () => run(PLAIN, { recipe: presetOf('f16') }), /nothing to calibrate/],
];
for (const [what, start, message] of REFUSED) {
  test(`refuses ${what}`, async () => {
    try {
      await start();
    } catch (error) {
      assert.match((error as InputError).message, message);
      assert.ok((error as InputError).fix);
      return;
    }
    assert.unreachable('it was calibrated');
  });
}

test('progress counts the basis of every head and every chunk', async () => {
  const seen: string[] = [];
  await run(PLAIN, { onProgress: ({ what, done, total }) => seen.push(`${what} ${done}/${total}`) });
  assert.is(seen.length, 2 + 32);
  assert.is(seen[1], 'basis 2/2');
  assert.is(seen.at(-1), 'v 8c8bq8 16/16');
});

test('an error in a thread reaches the caller, and the pool still closes', async () => {
  const pool = createPool(2);
  const broken = { kind: 'chunk', scope: 'chunk', codec: 'f16', rows: { data: new Uint16Array(0), stride: 0, tokens: 0, headDim: 0 }, stream: [0, 0, 0], head: 0, chunk: 0, iterations: 1 } satisfies ChunkTask;
  let message = '';
  await pool.run([broken]).catch((error: Error) => (message = error.message));
  await pool.close();
  assert.match(message, /f16 has no codebook/);
});

test.run();
