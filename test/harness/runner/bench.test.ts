// bench and ceilings on the emulated driver: records of every op, useful bytes by hand, checks that notice wrong results, refusals. Times mean nothing here.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { benchRecordSchema, benchRequestSchema, ceilingsRecordSchema, type BenchRecord, type BenchRequest } from '../../../tuner/bench-schema.ts';
import { parseKernelName } from '../../../generator/name.ts';
import { renderKernel } from '../../../generator/source.ts';
import { buildEmulatedKernel, buildEmulator, buildRunner } from '../../../tuner/host.ts';
import { kernelRef, type KernelRef } from '../../../tuner/problem.ts';
import { Runner } from '../../../tuner/runner.ts';
import { cacheAxes, emulated } from '../ops/lab.ts';

const test = suite('runner/bench');
let runner: Runner, poor: Runner;
let oneBit: KernelRef, exact: KernelRef, combine: KernelRef, append: KernelRef, exactAppend: KernelRef, encode: KernelRef, unpack: KernelRef, score: KernelRef, select: KernelRef, wrong: KernelRef;

/** A kernel whose source was spoilt after rendering. */
async function spoilt(kernel: KernelRef, from: string, to: string): Promise<KernelRef> {
  const source = renderKernel(parseKernelName(kernel.name));
  assert.ok(source.includes(from), `the source has no "${from}"`);
  return kernelRef(kernel.name, await buildEmulatedKernel(kernel.name, source.replace(from, to)));
}

// A test, not a hook: uvu swallows what a before hook throws.
test('runners and kernels build', async () => {
  const axes = cacheAxes('d64 8c8b/8c8bq8 pre gain');
  const [binary, driver] = await Promise.all([buildRunner(), buildEmulator()]);
  runner = new Runner({ binary, driver });
  poor = new Runner({ binary, driver, env: { ...process.env, ANTKV_EMU_MEMORY: String(1 << 20) } });
  [oneBit, exact, combine, append, exactAppend, encode, unpack, score, select] = await Promise.all([
    emulated('decode', axes),
    emulated('decode', cacheAxes('d64 f16/f16')),
    emulated('combine', { headDim: 64, dtype: 'f16' }),
    emulated('append', axes),
    emulated('append', cacheAxes('d64 f16/f16')),
    emulated('encode', axes),
    emulated('unpack', axes),
    emulated('score', { headDim: 64, dtype: 'f16', form: 'exact' }),
    emulated('select', {}),
  ]);
  wrong = await spoilt(oneBit, 'weight[i] = fours.weight_of(part)', 'weight[i] = 1.01f * fours.weight_of(part)');
});
test.after(async () => {
  await Promise.all([runner?.close(), poor?.close()]);
});

/** A request less its first word; of each op its own fields. */
type Ask = BenchRequest extends infer R ? (R extends BenchRequest ? Omit<R, 'cmd'> : never) : never;

const ask = async (request: Ask, on = runner): Promise<BenchRecord> =>
  benchRecordSchema.parse(await on.request(benchRequestSchema.parse({ cmd: 'bench', samples: 2, emulator: { race: 0 }, ...request })));

async function passes(request: Ask): Promise<BenchRecord> {
  const record = await ask(request);
  assert.equal(record.faults, []);
  assert.ok(record.ok && record.emulated && record.graph);
  assert.ok(record.us.min <= record.us.p10 && record.us.p10 <= record.us.median && record.us.median <= record.us.p90 && record.b2b_us > 0);
  assert.is(Object.values(record.byte_parts).reduce((a, b) => a + b), record.bytes);
  return record;
}

test('decode at 1 bit: window, anchors, splits; useful bytes counted by hand', async () => {
  const record = await passes({ op: 'decode', kernel: oneBit, combine, shape: { batch: 2, tokens: 300, kv_heads: 2, q_heads: 4, window: 40, anchor_permille: 50, page_size: 32, splits: 3 } });
  // c(300) = 128 * floor((300 - 40) / 128) = 256 coded tokens: codes 8 + 8 B, gain 2 B, and 8 words of bitmap; 44 rows in the ring.
  // 5 % of the pool's 16 pages, rounded down: 25 anchors per KV head in both sequences.
  assert.is(record.anchors, 2 * 25);
  assert.equal(record.byte_parts, {
    codes: 4 * (256 * 18 + 32), anchors: 50 * (64 * 4 + 4), ring: 4 * 44 * 256,
    codebooks: 2 * (64 * 256 * 2 + 64 * 256 + 64 * 4), queries: 2 * 4 * 128, outputs: 2 * 4 * 128,
  });
  assert.is(record.splits, 3);
  assert.is(record.copies, 3);
  assert.is(record.check.kind, 'full');
  assert.is(record.check['heads'], 4);
  assert.ok(Number(record.check['rel_l2']) > 0);
});

test('decode: no window, other distributions of codes, several query rows, sequences of different lengths', async () => {
  for (const codes of ['uniform', 'zipf', 'equal'] as const) {
    await passes({ op: 'decode', kernel: oneBit, shape: { lens: [70, 9, 129], batch: 3, kv_heads: 1, q_heads: 2, window: 0, q_len: 3, codes } });
  }
  await passes({ op: 'decode', kernel: oneBit, shape: { tokens: 20, kv_heads: 1, q_heads: 1, window: 128 } });
});

test('decode: shares of one line of work, merged by the last CTA or by combine', async () => {
  const shape = { lens: [300, 0, 40, 129], batch: 4, kv_heads: 2, q_heads: 2, window: 16, splits: 3, spread: true };
  const last = await passes({ op: 'decode', kernel: oneBit, shape: { ...shape, merge: 'last' } });
  assert.equal([last.combine, last.shape['spread'], last.shape['merge']], [null, true, 'last']);
  assert.is((await passes({ op: 'decode', kernel: oneBit, combine, shape })).combine, combine.name);
});

test('decode: sequences of no tokens cost nothing and see nothing, whoever merges', async () => {
  for (const how of [{}, { splits: 3 }, { splits: 3, merge: 'last' }, { splits: 5, spread: true, merge: 'last' }] as const) {
    const record = await passes({ op: 'decode', kernel: oneBit, combine, shape: { batch: 4, lens: [0, 300, 0, 17], kv_heads: 2, q_heads: 4, window: 40, ...how } });
    assert.is(record.byte_parts['ring'], 2 * (44 + 17) * 256);
    assert.is(record.check.kind, 'full');
  }
});

test('decode of exact rows; one split ignores combine', async () => {
  const record = await passes({ op: 'decode', kernel: exact, combine, shape: { tokens: 100, kv_heads: 2, q_heads: 2 } });
  assert.is(record.byte_parts['codes'], 2 * 100 * 256);
  assert.is(record.bytes, 2 * 100 * 256 + 2 * 2 * 128);
  assert.is(record.combine, null);
});

test('above 16,384 tokens one head is checked', async () => {
  const record = await passes({ op: 'decode', kernel: exact, combine, samples: 1, shape: { batch: 3, tokens: 5600, kv_heads: 1, q_heads: 1, splits: 2 } });
  assert.is(record.check.kind, 'one head');
  assert.is(record.check['heads'], 1);
});

test('a kernel that is off by one per cent is found out', async () => {
  const record = await ask({ op: 'decode', kernel: wrong, shape: { tokens: 100, kv_heads: 1, q_heads: 1 } });
  assert.not(record.ok);
  assert.match(record.faults.join(), /relative L2 error/);
});

test('encode, unpack, score and select', async () => {
  const shape = { batch: 2, tokens: 70, kv_heads: 2, q_heads: 4 };
  const cache = { ...shape, anchor_permille: 50, page_size: 32 };
  const encoded = await passes({ op: 'encode', kernel: encode, shape: cache });
  assert.ok(Number(encoded.check['codes']) > 0);
  const unpacked = await passes({ op: 'unpack', kernel: unpack, shape: cache });
  assert.is(unpacked.byte_parts['rows'], 2 * 2 * 70 * 2 * 128);
  const scored = await passes({ op: 'score', kernel: score, shape: { ...shape, rows: 7 } });
  assert.ok(scored.tflops! > 0);
  const selected = await passes({ op: 'select', kernel: select, shape: { ...shape, anchor_permille: 100 } });
  assert.is(selected.check['kept'], 7);
});

test('append: no flush, some, all; useful bytes counted by hand', async () => {
  const shape = { batch: 3, tokens: 300, kv_heads: 2, q_heads: 4, page_size: 32, anchor_permille: 50, window: 16, flush_block: 32 };
  // 32 * floor((300 - 16) / 32) = 256 tokens in pages; the ring holds 16 + 16 of a sequence that does not flush, 16 + 32 of one that does.
  const still = await passes({ op: 'append', kernel: append, shape });
  assert.equal(still.byte_parts, { rows: 3 * 2 * 4 * 128, scores: 3 * 32 * 4 * 4, sums: 3 * 32 * 2 * 16, 'flushed rows': 0, codes: 0 });
  const flushing = await passes({ op: 'append', kernel: append, shape: { ...shape, flush: 2 } });
  assert.is(flushing.byte_parts['codes'], 2 * 32 * 2 * 18 + (2 * 32 * 2) / 8);
  assert.is(flushing.check['codes'], 32 * 16);
  await passes({ op: 'append', kernel: append, shape: { ...shape, flush: 3, anchor_permille: 0 } });
  await passes({ op: 'append', kernel: exactAppend, shape: { batch: 3, tokens: 100, kv_heads: 2, q_heads: 2 } });
});

test('ceilings without an image: copies only', async () => {
  const record = ceilingsRecordSchema.parse(await runner.request({ cmd: 'ceilings' }));
  assert.ok(record.emulated && record.copy.gbps > 0 && record.multiprocessors === 108);
  assert.is(record.read, null);
  assert.is(record.clocks_idle, null);
});

test('too little memory: how much is needed, how much there is, and the next request is served', async () => {
  const refused = (request: Ask): Promise<string> => ask(request, poor).then(() => 'not refused', (error: Error) => error.message);
  assert.match(await refused({ op: 'decode', kernel: exact, shape: { batch: 16, tokens: 131_072 } }), /16 x 131072 tokens needs 4\.29 GB of device memory, the device has 0\.00 GB free/);
  // The workspace is allocated, the data is not: both must be gone afterwards.
  for (let i = 0; i < 3; i++) await refused({ op: 'decode', kernel: exact, combine, shape: { tokens: 4096, kv_heads: 8, q_heads: 8, splits: 64 } });
  assert.ok((await ask({ op: 'decode', kernel: exact, combine, shape: { tokens: 64, kv_heads: 1, q_heads: 1, splits: 64 } }, poor)).ok);
});

test('requests that make no sense are refused', async () => {
  const cases: [object, RegExp][] = [
    [{ op: 'decode', kernel: exact, shape: { tokens: 64, window: 128 } }, /exact recipes have neither window nor anchors/],
    [{ op: 'decode', kernel: oneBit, shape: { tokens: 64, splits: 2 } }, /several splits need "combine", or "merge": "last"/],
    [{ op: 'decode', kernel: oneBit, shape: { tokens: 64, splits: 2, merge: 'first' } }, /merge must be "last" or "combine"/],
    [{ op: 'decode', kernel: oneBit, shape: { tokens: 64, splitz: 2 } }, /splitz/],
    [{ op: 'decode', kernel: oneBit, shape: {} }, /tokens/],
    [{ op: 'decode', kernel: oneBit, shape: { tokens: 4, q_len: 5 } }, /shorter than q_len/],
    [{ op: 'decode', kernel: oneBit, shape: { batch: 2, lens: [0, 0] } }, /tokens/],
    [{ op: 'encode', kernel: encode, shape: { batch: 2, lens: [0, 9] } }, /only decode has sequences of no tokens/],
    [{ op: 'decode', kernel: oneBit, shape: { tokens: 64, codes: 'gauss' } }, /codes must be/],
    [{ op: 'decode', kernel: oneBit, shape: { tokens: 64 }, samples: 0 }, /samples/],
    [{ op: 'decode', kernel: oneBit, shape: { batch: 65_535, tokens: 1 << 24 } }, /2\^31 tokens/],
    [{ op: 'combine', kernel: combine, shape: {} }, /cannot be timed/],
    [{ op: 'score', kernel: score, shape: { tokens: 64, rows: 65 } }, /rows/],
    [{ op: 'encode', kernel: oneBit, shape: { tokens: 64 } }, /op "encode" is needed/],
  ];
  for (const [request, message] of cases) {
    const error = await runner.request({ cmd: 'bench', ...request }).then(() => undefined, (e: Error) => e);
    assert.ok(error, JSON.stringify(request).slice(0, 60));
    assert.match(error.message, message);
  }
});

test.run();
