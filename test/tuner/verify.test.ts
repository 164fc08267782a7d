// Tests tuner/verify.ts: which checks there are, that wrong kernels and odd shapes are found out, and one kernel on the emulated driver.
import { execaSync } from 'execa';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { isCacheContract, isCoded } from '../../generator/contract.ts';
import { UsageError } from '../../generator/errors.ts';
import { kernelName, parseKernelName } from '../../generator/name.ts';
import { shippedKernels } from '../../generator/ship.ts';
import { SHAPES, verifyRecordSchema, type CheckOp, type KernelRef, type Shape, type VerifyRecord } from '../../tuner/problem.ts';
import { jobsOf, requestOf, verify } from '../../tuner/verify.ts';

const kernels = shippedKernels();
const named = (part: string) => kernels.find((kernel) => kernelName(kernel).includes(part))!;

test('every shape of every shipped kernel is one that its op has; a level is more than the one before', () => {
  for (const kernel of kernels) {
    const [quick, usual, full] = (['quick', 'usual', 'full'] as const).map((level) => jobsOf(kernel, level));
    assert.ok(quick!.length >= 3 && quick!.length < usual!.length && usual!.length < full!.length, kernelName(kernel));
    for (const { shape } of full!) SHAPES[kernel.contract.op as CheckOp].parse(shape);
    const texts = full!.map(({ shape }) => JSON.stringify(shape));
    assert.is(new Set(texts).size, texts.length, 'no shape twice');
    assert.ok(full!.some(({ bytes }) => bytes > 0));
  }
});

test('caches of more than 2^31 bytes are checked, and 131,072 tokens, and batches of 16', () => {
  for (const kernel of kernels.filter(({ contract }) => isCacheContract(contract))) {
    const large = jobsOf(kernel, 'full').filter(({ bytes }) => bytes > 0);
    assert.ok(large.some(({ bytes }) => bytes > 2 ** 31), kernelName(kernel));
    assert.ok(large.some(({ shape }) => /131072|131202/.test(JSON.stringify(shape))));
    assert.ok(large.some(({ shape }) => Object.values(shape).some((value) => Array.isArray(value) && value.length === 16)));
  }
});

test('exact recipes are asked for neither ring nor anchors, rotated keys not for unrotated input', () => {
  for (const kernel of kernels.filter(({ contract }) => isCacheContract(contract) && !isCoded(contract))) {
    for (const { shape } of jobsOf(kernel, 'full')) assert.not.match(JSON.stringify(shape), /ring|anchor|frozen|segments|unrotated/);
  }
  const post = jobsOf(named('encode_d128_k8c8b_v8c8bq8_f16_gain'), 'usual');
  assert.not.match(JSON.stringify(post.map(({ shape }) => shape)), /unrotated/);
  assert.match(JSON.stringify(jobsOf(named('encode_d128_k8c8b_v8c8bq8_f16_pre'), 'usual').map(({ shape }) => shape)), /unrotated/);
});

test('splits bring combine along', () => {
  const kernel = named('decode_d128_kf16');
  const ref = (name: string): [string, KernelRef] => [name, { name, image: 'i', op: 'o', threads: 32, tokens: 0, shared: 0, params_bytes: 8 }];
  const refs = new Map([ref(kernelName(kernel)), ref('antkv_combine_d128_f16__sm80_w4')]);
  const requests = jobsOf(kernel, 'usual').map((job) => requestOf(job, refs, 7));
  for (const { shape, combine, seed } of requests) {
    // The last CTA has merged; then only ring scores are left.
    const { splits = 1, merge, ring_scores } = shape as Shape<'decode'>;
    assert.is(combine?.name, splits > 1 && (merge !== 'last' || ring_scores) ? 'antkv_combine_d128_f16__sm80_w4' : undefined);
    assert.is(seed, 7);
  }
});

test('a shape that the op does not have is refused', () => {
  assert.throws(() => jobsOf(named('select'), 'usual', { token_count: [4], page_size: 16 }), (error: unknown) => error instanceof UsageError && /--shape is no shape of select: .*page_size/.test(error.message));
});

const compiler = process.env['CXX'] ?? 'g++';
const compiles = execaSync(compiler, ['--version'], { reject: false }).exitCode === 0;
if (!compiles) console.log(`skipped: nothing is verified, no ${compiler}`);
const run = compiles ? test : test.skip;

run('one kernel on the emulated driver: records as they come, notes on what cannot run there', async () => {
  const seen: VerifyRecord[] = [];
  const notes: string[] = [];
  const steps: string[] = [];
  const { records, info } = await verify({
    kernels: [named('combine_d64')], device: 'emulated', level: 'full', seed: 3, sanitize: true,
    onRecord: (record) => seen.push(record), onNote: (text) => notes.push(text), onStep: (done, total) => steps.push(`${done}/${total}`),
  });
  assert.ok(info.emulated);
  assert.equal(seen, records);
  assert.ok(records.length >= 9);
  for (const record of records) {
    assert.equal(verifyRecordSchema.parse(record).faults, []);
    assert.ok(record.ok && record.bit_equal && record.seed === 3 && record.rel_l2! < 4e-3);
  }
  assert.match(notes.join('\n'), /1 large checks left out: the emulator is too slow/);
  assert.match(notes.join('\n'), /compute-sanitizer was not run: it needs a GPU/);
  assert.match(steps.at(-1)!, /^(\d+)\/\1$/);
});

run('what the driver refuses is a record with the fault and the request; what the runner refuses is an error', async () => {
  const kernel = parseKernelName('antkv_combine_d64_f16__sm80_w4');
  const options = { kernels: [kernel], device: 'emulated', level: 'usual', seed: 1 } as const;
  process.env['ANTKV_EMU_MEMORY'] = '100000';
  const { records } = await verify({ ...options, shape: { rows: 100, splits: 8 } }).finally(() => delete process.env['ANTKV_EMU_MEMORY']);
  assert.equal(records.map(({ group, ok, rel_l2 }) => [group, ok, rel_l2]), [['given', false, null]]);
  assert.match(records[0]!.faults.join(), /cuMemAlloc of \d+ B for partial_o: CUDA_ERROR_OUT_OF_MEMORY/);
  assert.equal(records[0]!.request!['shape'], { rows: 100, splits: 8 });
  const error = await verify({ ...options, shape: { splits: 1025 } }).then(() => assert.unreachable('no error'), (e: unknown) => e);
  assert.match((error as Error).message, /splits is 1025, not 1 to 1024/);
});

test.run();
