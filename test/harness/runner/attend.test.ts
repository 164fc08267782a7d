// attend: a small dump through score, select, encode and decode, and dumps that are broken.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { packBasis } from '../../../generator/basis.ts';
import { codecOf, type VqCodec } from '../../../generator/codec.ts';
import { InputError } from '../../../generator/errors.ts';
import { toF16Array } from '../../../generator/f16.ts';
import { packCodebook } from '../../../generator/pack.ts';
import { writeSafetensors, type Tensor } from '../../../generator/safetensors.ts';
import type { AttendRequest } from '../../../tuner/attend-schema.ts';
import type { Runner } from '../../../tuner/runner.ts';
import { cacheAxes, emulated, emulatedRunner } from '../ops/lab.ts';

const test = suite('runner/attend');
const TOKENS = 80;
let runner: Runner;
let folder: string;
let request: AttendRequest;

/** Deterministic numbers of about unit variance: sums of four uniform ones of a linear congruential generator (Numerical Recipes). */
function noise(seed: number): () => number {
  let state = seed;
  const next = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32 - 0.5;
  return () => (next() + next() + next() + next()) * Math.sqrt(3);
}
const halves = (seed: number, count: number): Uint16Array => {
  const next = noise(seed);
  return toF16Array(Float64Array.from({ length: count }, next));
};
const tensor = (name: string, heads: number, seed: number): Tensor => ({ name, dtype: 'F16', shape: [heads, TOKENS, 64], data: new Uint8Array(halves(seed, heads * TOKENS * 64).buffer) });
const dump = (prefix = '', names = ['q', 'k', 'v']): Uint8Array => writeSafetensors(names.map((name, i) => tensor(prefix + name, name === 'q' ? 4 : 2, i + 1)));

// A test, not a hook: uvu swallows what a before hook throws, and the suite would pass without having run.
test('runner and kernels build', async () => {
  [runner, folder] = await Promise.all([emulatedRunner(), mkdtemp(join(tmpdir(), 'antkv-'))]);
  const axes = cacheAxes('d64 4c8b/f16 post');
  const [score, select, encode, decode, combine] = await Promise.all([
    emulated('score', { headDim: 64, dtype: 'f16' }), emulated('select', {}), emulated('encode', axes), emulated('decode', axes), emulated('combine', { headDim: 64, dtype: 'f16' }),
  ]);
  await writeFile(join(folder, 'k.codebook'), packCodebook(codecOf('4c8b') as VqCodec, 64, { kvHeads: 2, values: halves(9, 2 * 64 * 256) }));
  await writeFile(join(folder, 'dump.safetensors'), dump());
  request = {
    cmd: 'attend',
    kernels: { score, select, encode, decode, combine },
    data: { file: join(folder, 'dump.safetensors') },
    codebook: { k: join(folder, 'k.codebook') },
    recipe: { policy: 'column', budget_permille: 100, first_tokens: 2 },
    rope: { theta: 10000 },
    queries: { count: 10 },
  };
});
test.after(async () => {
  await runner?.close();
  await rm(folder, { recursive: true, force: true });
});

test('every kernel agrees with its reference, and anchors bring the answer nearer', async () => {
  for (const splits of [1, 3]) {
    const record = await runner.attend({ ...request, splits, page_size: 16 });
    assert.equal(record.faults, []);
    assert.is(record.kept, 20, '8 of 80 tokens and 2 first ones, for 2 KV heads');
    assert.is(record.pages, 10);
    assert.is(record.agreement.kept_equal, true);
    assert.ok(record.agreement.codes_equal > 0.999);
    assert.ok(record.agreement.decode_rel_l2 < 4e-3 && record.agreement.decode_anchors_rel_l2! < 4e-3, JSON.stringify(record.agreement));
    assert.ok(record.agreement.score_rel_l2! < 1e-4);
    assert.ok(record.anchors_on!.rel_l2! < record.anchors_off.rel_l2!, JSON.stringify(record));
    assert.ok(record.anchors_off.cosine! > 0.5 && record.anchors_off.cosine! < 1);
  }
});

test('a window of exact tokens as long as the context gives exact attention', async () => {
  const record = await runner.attend({ ...request, recipe: { policy: 'none', window: TOKENS, flush_block: 16 } });
  assert.is(record.anchors_on, null);
  assert.ok(record.anchors_off.rel_l2! < 1e-3, JSON.stringify(record.anchors_off));
});

/** Pairs of channels turned by 45 degrees and made twice as long, head 1 the other way round; and the inverse, unless `wrong`. */
function basisFile(name: string, wrong = false): Promise<string> {
  const matrix = (sign: number, size: number): number[] => Array.from({ length: 64 * 64 }, (_, n) => {
    const [i, j] = [Math.floor(n / 64), n % 64];
    return Math.floor(i / 2) !== Math.floor(j / 2) ? 0 : size * Math.SQRT1_2 * (i === j ? 1 : sign * (i < j ? 1 : -1));
  });
  const [to, back] = [[...matrix(1, 2), ...matrix(-1, 2)], [...matrix(-1, 0.5), ...matrix(1, 0.5)]];
  const path = join(folder, name);
  return writeFile(path, packBasis({ kvHeads: 2, headDim: 64, to: Float32Array.from(to), back: Float32Array.from(wrong ? to : back) })).then(() => path);
}

test('values in a basis, brought back, are as near to exact attention as values without one; brought back wrongly they are not', async () => {
  const plain = await runner.attend(request);
  const turned = await runner.attend({ ...request, codebook: { ...request.codebook, basis: await basisFile('good.basis') } });
  assert.equal(turned.faults, []);
  assert.is(turned.kept, plain.kept);
  for (const which of ['anchors_off', 'anchors_on'] as const) assert.ok(Math.abs(turned[which]!.rel_l2! - plain[which]!.rel_l2!) < 1e-3, JSON.stringify([turned, plain]));
  const wrong = await runner.attend({ ...request, codebook: { ...request.codebook, basis: await basisFile('wrong.basis', true) } });
  assert.equal(wrong.faults, [], 'kernels agree with their references in any basis');
  assert.ok(wrong.anchors_off.rel_l2! > 1);
  const short = await runner.attend({ ...request, codebook: { ...request.codebook, basis: join(folder, 'k.codebook') } }).then(() => assert.unreachable('no error'), (e: Error) => e);
  assert.match((short as Error).message, /the basis has \d+ B, 65536 are needed: fp32 \[2, kv_heads, head_dim, head_dim\]/);
});

test('k_pre_rope is rotated when there is no k; a prefix names a layer', async () => {
  await writeFile(join(folder, 'pre.safetensors'), dump('layers.3.', ['q', 'k_pre_rope', 'v']));
  const record = await runner.attend({ ...request, data: { file: join(folder, 'pre.safetensors'), prefix: 'layers.3.' } });
  const same = await runner.attend(request);
  assert.equal(record.faults, []);
  assert.is.not(record.anchors_off.lse_err, same.anchors_off.lse_err);
});

test('broken dumps and codebooks are refused by name, and the runner goes on', async () => {
  const whole = dump();
  const header = Number(new DataView(whole.buffer).getBigUint64(0, true));
  const edit = (from: string, to: string): Uint8Array => {
    const text = new TextDecoder().decode(whole.subarray(8, 8 + header)).replace(from, to).slice(0, header).padEnd(header);
    const bytes = whole.slice();
    bytes.set(new TextEncoder().encode(text), 8);
    return bytes;
  };
  const nan = whole.slice();
  nan.set([0xff, 0x7f], whole.length - 2);
  const cases: readonly (readonly [bytes: Uint8Array, message: RegExp])[] = [
    [whole.slice(0, 5), /is truncated: it lacks the 8 bytes/],
    [whole.slice(0, 40), /is truncated, or no safetensors file/],
    [whole.slice(0, whole.length - 100), /tensor "v": the file is truncated/],
    [edit('{"', '["'), /has a broken header: not JSON/],
    [edit('F16', 'I16'), /tensor "k": dtype is I16, F16 is needed/],
    [edit('[2,80,64]', '[2,81,64]'), /tensor "k": data_offsets do not fit its shape/],
    [edit('[2,80,64]', '[1,2,80]'), /data_offsets do not fit its shape/],
    [nan, /tensor "v": it holds NaN or infinity/],
    [dump('', ['q', 'v']), /tensor "k_pre_rope": not in the file/],
    [dump('', ['k', 'v']), /tensor "q": not in the file/],
  ];
  const file = join(folder, 'broken.safetensors');
  for (const [bytes, message] of cases) {
    await writeFile(file, bytes);
    const error = (await runner.attend({ ...request, data: { file } }).then(() => assert.unreachable('no error'), (e: Error) => e)) as Error;
    assert.instance(error, InputError, error.stack);
    assert.match(error.message, message);
    assert.match(error.message, /broken\.safetensors/);
  }
  await writeFile(join(folder, 'short.codebook'), new Uint8Array(100));
  const short = await runner.attend({ ...request, codebook: { k: join(folder, 'short.codebook') } }).then(() => assert.unreachable('no error'), (e: Error) => e);
  assert.match((short as Error).message, /the packed codebook has 100 B, \d+ are needed/);
  const wide = { ...request, kernels: { ...request.kernels, decode: { ...request.kernels.decode, dtype: 'bf16' } } };
  const refused = await runner.attend(wide).then(() => assert.unreachable('no error'), (e: Error) => e);
  assert.match((refused as Error).message, /is not of dtype f16: dumps, and the rows of lives, are/);
  assert.equal((await runner.attend(request)).faults, []);
});

test.run();
