// Every built codec on both sides, before and after RoPE, at both head dims: encode, append, unpack and decode on the emulated driver against the fp64 reference.
// The other suites of this folder meet few codecs at many shapes; this one meets all codecs at the shapes that touch every token of a unit.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Runner } from '../../../tuner/runner.ts';
import { contractOf, reject } from '../../../generator/contract.ts';
import { CODECS } from '../../../generator/codec.ts';
import type { KernelRef } from '../../../tuner/problem.ts';
import { cacheAxes, emulated, emulatedRunner, mustPass } from './lab.ts';

const test = suite('ops/codecs');

/** Each codec is on each side, and keys of each are coded before and after RoPE. 16c8b at d64 has 4 codes per token, and wider codes do not fill bytes: rows, not lanes. */
const CACHES = [
  'd128 2c8b/16c8bq8 pre gain',
  'd128 2c8bq8/2c8bq8 post',
  'd128 4c8bq8/16c8b pre',
  'd64 16c8bq8/2c8b pre gain',
  'd128 16c8b/8c8b post gain',
  'd64 2c8b/4c8b post',
  'd64 4c8b/8c8bq8 post gain',
  'd128 4c8b/8c8b pre',
  'd128 8c8bq8/2c8b pre gain',
  'd128 8c8b/16c8b post',
  'd64 8c8bq8/f16 post',
  'd128 f16/4c8bq8 post',
  'd64 16c8b/16c8bq8 pre',
  'd64 8c8b/2c8bq8 pre',
  'd128 4c8bq8/4c8b post',
  'd128 16c8bq8/2c8bq8 post',
  'd64 2c8bq8/4c8bq8 pre',
  'd128 8c10b/16c12b pre gain',
  'd64 8c10bq8/32c12bq8 post',
  'd128 16c12b/32c12b post gain',
  'd128 16c12bq8/8c10b pre',
  'd64 32c12b/8c10bq8 pre gain',
  'd128 32c12bq8/16c12bq8 post',
  'd128 8c10bq8/f16 pre gain',
  'd64 8c10b/f16 post',
  'd128 16c6b6b/16c6b6bq8 pre gain',
  'd64 16c6b6bq8/16c6b6b post',
  'd128 16c6b6bq8/f16 pre gain',
  'd128 f16/16c6b6b post',
  'd64 16c6b6b/8c8b post gain',
  'd128 16c12bq8/f16 post gain',
  'd64 16c12b/f16 pre',
  'd128 32c12b/f16 post',
  'd64 32c12bq8/f16 pre',
  'd128 f16/32c12b post',
  'd64 f16/16c12bq8 post',
  'd128 f16/8c10b post',
] as const;

let runner: Runner;
const kernels = new Map<string, KernelRef>();

// A test, not a hook: uvu swallows what a before hook throws, and the suite would pass without having run.
test('runner and kernels build', async () => {
  const wanted = CACHES.flatMap((words) => (['encode', 'append', 'unpack', 'decode'] as const).map((op) => [op, words] as const));
  const [made, ...built] = await Promise.all([emulatedRunner(), ...wanted.map(([op, words]) => emulated(op, cacheAxes(words)))]);
  runner = made;
  wanted.forEach(([op, words], i) => kernels.set(`${op} ${words}`, built[i]!));
});
test.after(() => runner?.close());

test('the list above meets every built codec on each side, and keys of each before and after RoPE', () => {
  const met = new Set(CACHES.flatMap((words) => {
    const { k, v, key } = cacheAxes(words);
    return [`k ${k} ${key}`, `v ${v}`];
  }));
  for (const { name, kind } of CODECS) {
    const built = (axes: object): boolean => reject(contractOf('decode', { headDim: 128, k: 'f16', v: 'f16', dtype: 'f16', ...axes })).length === 0;
    for (const key of ['pre', 'post'] as const) if (kind === 'vq' && built({ k: name, key })) assert.ok(met.has(`k ${name} ${key}`), `k ${name} ${key}`);
    if (kind === 'vq' && built({ v: name })) assert.ok(met.has(`v ${name}`), `v ${name}`);
  }
});

for (const words of CACHES) {
  const emulator = { order: 0, race: 1 };
  test(words, async () => {
    await mustPass(runner, 'encode', kernels.get(`encode ${words}`)!, { end: [0, 1, 33], anchor_permille: 100 }, { emulator });
    await mustPass(runner, 'append', kernels.get(`append ${words}`)!, { seq_len: [47, 33], page_size: 32, flush_block: 32, kv_heads: 1, anchor_permille: 100, first_pos: [9, 1000] }, { emulator });
    await mustPass(runner, 'unpack', kernels.get(`unpack ${words}`)!, { coded_len: [15, 49], kv_heads: 2, anchor_permille: 100, first_pos: [9, 1000] }, { emulator });
    const decode = { coded_len: [64, 0, 128, 23], kv_len: [70, 5, 128, 30], q_len: [1, 3, 2, 1], ring_rows: 40, q_heads: 4, kv_heads: 2, anchor_permille: 60, first_pos: [0, 5, 1_000_000, 77] };
    await mustPass(runner, 'decode', kernels.get(`decode ${words}`)!, decode, { emulator });
    if (words.includes('c1')) await mustPass(runner, 'decode', kernels.get(`decode ${words}`)!, { ...decode, page_size: 16 }, { emulator, seed: 2 });
  });
}

test.run();
