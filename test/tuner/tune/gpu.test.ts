// The real runner on the emulated driver behind a sweep's eyes: checks, races of several arms, the data that are kept between them; and kernels with one planted fault.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseKernelName } from '../../../generator/name.ts';
import { renderKernel } from '../../../generator/source.ts';
import { EnvironmentError } from '../../../generator/errors.ts';
import { buildEmulatedKernel, buildEmulator, buildRunner } from '../../../tuner/host.ts';
import { kernelRef } from '../../../tuner/problem.ts';
import { Runner } from '../../../tuner/runner.ts';
import { openGpu, type Gpu, type GpuOptions } from '../../../tuner/tune/gpu.ts';
import type { RaceBlock } from '../../../tuner/tune/measurer.ts';
import type { Arm, Problem } from '../../../tuner/tune/problem.ts';
import { raceRecordSchema } from '../../../tuner/tune/runner-schema.ts';
import { fakeClock } from './fake.ts';

const test = suite('tune/gpu');
const SELECT = 'antkv_select';
const GOOD = `${SELECT}__sm80_w8`;
const OTHER = `${SELECT}__sm80_w4`;
const DECODE = 'antkv_decode_d64_kf16_vf16_f16';
const COMBINE = 'antkv_combine_d64_f16__sm80_w4';
let gpu: Gpu;
let runner: Runner;
let started: GpuOptions;

const problem: Problem = { contract: SELECT, mode: 'sequence', shape: { batch: 2, tokens: 300, q_heads: 4, kv_heads: 2 } };
const arm = (kernel: string, launch = ''): Arm => ({ kernel, launch });
const race = (arms: readonly Arm[], more: object = {}): Promise<RaceBlock> => gpu.race({ problem, arms, rounds: 3, seed: 1, ...more });

/** The kernel with a statement at its beginning. */
async function planted(kernel: string, fault: string): Promise<void> {
  const source = renderKernel(parseKernelName(kernel));
  const at = /extern "C" __global__[^{]*\{/.exec(source);
  assert.ok(at, 'the source has no kernel');
  const place = at.index + at[0].length;
  const spoilt = `#include <cstdlib>\n${source.slice(0, place)}\n  ${fault}\n${source.slice(place)}`;
  gpu.add({ kernel, path: await buildEmulatedKernel(kernel, spoilt), ptx: '' });
}

// A test, not a hook: uvu swallows what a before hook throws.
test('runner and kernels build', async () => {
  const [binary, driver] = await Promise.all([buildRunner(), buildEmulator()]);
  started = { binary, driver, clock: fakeClock(), label: 'emulated', setupMs: 20_000 };
  gpu = await openGpu(started);
  runner = new Runner(started);
  for (const kernel of [GOOD, OTHER]) gpu.add({ kernel, path: await buildEmulatedKernel(kernel, renderKernel(parseKernelName(kernel))), ptx: '' });
});
test.after(() => Promise.all([gpu?.close(), runner?.close()]).then(() => undefined));

test('the device is known by what it is', () => {
  assert.is(gpu.clock, 'emulated');
  const { cc, sms, busBits, memoryMhz, l2Bytes, powerW } = gpu.device;
  assert.is(cc, 80);
  assert.ok(sms > 0 && busBits > 0 && memoryMhz > 1 && l2Bytes > 0);
  assert.is(powerW, null);
});

test('a kernel that is right passes its quick checks', async () => {
  const verdict = await gpu.verify(GOOD);
  assert.ok(verdict.ok && verdict.checks >= 3);
});

test('each arm runs once a round; a session is a process', async () => {
  const block = await race([arm(GOOD), arm(OTHER)]);
  assert.equal(block.failed, []);
  assert.is(block.rounds.length, 3);
  for (const { us, mhz } of block.rounds) {
    assert.ok(us.length === 2 && us.every((time) => time > 0));
    assert.is(mhz, null);
  }
  assert.is(block.bytes, 2 * 2 * 300 * 4 + 4 * 10 * 4 + 4 * 3 * 4);
  assert.is((await race([arm(GOOD)])).session, block.session);
  assert.is.not((await race([arm(GOOD)], { fresh: true })).session, block.session);
  assert.ok((await gpu.probe()).us > 0);
});

test('data are kept from race to race of one shape, and order is drawn anew', async () => {
  const ref = (kernel: string) => kernelRef(kernel, images.get(kernel)!);
  const images = new Map(await Promise.all([GOOD, OTHER].map(async (kernel) => [kernel, await buildEmulatedKernel(kernel, renderKernel(parseKernelName(kernel)))] as const)));
  const ask = async (shape: object, seed = 1) => raceRecordSchema.parse(await runner.request({ cmd: 'race', op: 'select', shape, arms: [{ kernel: ref(GOOD) }, { kernel: ref(OTHER) }], rounds: 2, seed }));
  const shape = { batch: 1, tokens: 200, kv_heads: 1 };
  assert.equal([(await ask(shape)).kept, (await ask(shape, 2)).kept, (await ask({ ...shape, tokens: 201 })).kept, (await ask(shape)).kept], [false, true, false, true]);
  const refused = (request: object): Promise<Error> => runner.request({ cmd: 'race', op: 'select', shape, arms: [{ kernel: ref(GOOD) }], ...request }).then(() => assert.unreachable('no error'), (error: Error) => error) as Promise<Error>;
  assert.match((await refused({ arms: [] })).message, /a race has 1 to 256 arms/);
  assert.match((await refused({ rounds: 0 })).message, /rounds must be 1 to 1000/);
  assert.match((await refused({ shape: { ...shape, splits: 2 } })).message, /splits belongs to an arm/);
  assert.match((await refused({ verbose: true })).message, /unknown field "verbose"/);
  assert.match((await refused({ arms: [{ kernel: ref(GOOD), splits: 2 }] })).message, /unknown field/);
  assert.match((await refused({ arms: [{ kernel: ref(GOOD) }, { kernel: { ...ref(OTHER), image: '/nowhere' } }] })).message, /arm 1, antkv_select__sm80_w4: cannot read the image/);
});

const FAULTS: readonly (readonly [what: string, fault: string, kind: string, why: RegExp])[] = [
  ['a wrong result', 'return;', 'wrong', /keep_bitmap differs|copies with equal data/],
  ['a trap', 'store_global(static_cast<float*>(nullptr), 1.0f);', 'trap', /ILLEGAL_ADDRESS/],
  ['a process that is killed', 'std::abort();', 'crash', /SIGABRT/],
];
for (const [what, fault, kind, why] of FAULTS) {
  test(`${what} costs the arm, not the race`, async () => {
    await planted(OTHER, fault);
    const block = await race([arm(GOOD), arm(OTHER)]);
    assert.equal(block.arms, [arm(GOOD)]);
    assert.ok(block.rounds.length === 3 && block.rounds.every(({ us }) => us.length === 1));
    assert.is(block.failed.length, 1);
    assert.is(block.failed[0]!.kind, kind);
    assert.match(block.failed[0]!.why, why);
    assert.match(block.failed[0]!.repro, /^(gen bench|echo)/);
    assert.equal((await race([arm(GOOD)])).failed, []);
    const verdict = await gpu.verify(OTHER);
    assert.ok(!verdict.ok && verdict.kind === kind && verdict.repro.startsWith('gen verify --device emulated --only'));
  });
}

test('a kernel that never ends is killed twice, and is lost', async () => {
  const impatient = await openGpu({ ...started, setupMs: 1500, timeoutMs: 3000 });
  const images = [GOOD, OTHER];
  impatient.add({ kernel: GOOD, path: await buildEmulatedKernel(GOOD, renderKernel(parseKernelName(GOOD))), ptx: '' });
  impatient.add({ kernel: OTHER, path: await buildEmulatedKernel(OTHER, renderKernel(parseKernelName(OTHER)).replace(/(extern "C" __global__[^{]*\{)/, '$1 for (volatile int i = 0;; i = 1 - i) {}')), ptx: '' });
  const block = await impatient.race({ problem, arms: images.map((kernel) => arm(kernel)), rounds: 1, seed: 1 });
  assert.equal(block.failed.map(({ arm: lost, kind }) => [lost.kernel, kind]), [[OTHER, 'timeout']]);
  assert.is(block.rounds.length, 1);
  const verdict = await impatient.verify(OTHER);
  assert.ok(!verdict.ok && verdict.kind === 'timeout');
  await impatient.close();
});

test('a shape that does not fit the device is nobody’s fault', async () => {
  const poor = await openGpu({ ...started, env: { ...process.env, ANTKV_EMU_MEMORY: String(1 << 18) } });
  poor.add({ kernel: GOOD, path: await buildEmulatedKernel(GOOD, renderKernel(parseKernelName(GOOD))), ptx: '' });
  const block = await poor.race({ problem: { ...problem, shape: { ...problem.shape, tokens: 100_000 } }, arms: [arm(GOOD)], rounds: 1, seed: 1 });
  assert.equal(block.failed.map(({ kind }) => kind), ['memory']);
  assert.match(block.failed[0]!.why, /needs .* of device memory/);
  await poor.close();
});

test('decode: launches of one kernel race on the same data, whoever merges', async () => {
  const kernel = `${DECODE}__sm80_w4_t64_s2`;
  for (const name of [kernel, COMBINE]) gpu.add({ kernel: name, path: await buildEmulatedKernel(name, renderKernel(parseKernelName(name))), ptx: '' });
  const where: Problem = { contract: DECODE, mode: 'sequence', shape: { batch: 2, tokens: 200, q_heads: 2, kv_heads: 1, window: 0, anchor_permille: 0 } };
  const arms = ['1', '2', '2c', '3s', '1s'].map((launch) => arm(kernel, launch));
  const block = await gpu.race({ problem: where, arms, rounds: 2, seed: 3 });
  assert.equal(block.failed, []);
  assert.equal(block.arms, arms);
  assert.ok(block.rounds.every(({ us }) => us.length === 5));
});

test('a driver that is not there is the machine’s fault', async () => {
  try {
    await openGpu({ ...started, driver: '/nowhere/libcuda.so.1' });
    assert.unreachable('no error');
  } catch (error) {
    assert.instance(error, EnvironmentError);
  }
});

test.run();
