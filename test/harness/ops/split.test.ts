// How decode shares work among CTAs and merges their parts (work.cuh, result.cuh): equal bits in every order, and every planted mistake is found.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { contractOf } from '../../../generator/contract.ts';
import { findArch } from '../../../generator/arch.ts';
import { kernelName, parseKernelName, type Kernel } from '../../../generator/name.ts';
import { renderKernel } from '../../../generator/source.ts';
import { buildEmulatedKernel } from '../../../tuner/host.ts';
import { kernelRef, type CheckRecord, type KernelRef, type Shape } from '../../../tuner/problem.ts';
import type { Runner } from '../../../tuner/runner.ts';
import { MANY, RAGGED } from '../../../tuner/shapes.ts';
import { cacheAxes, emulated, emulatedRunner } from './lab.ts';

const test = suite('ops/split');
let runner: Runner;
let combine: KernelRef;
let sound: KernelRef;

// 8 warps and 4 columns of 64 channels: four groups of lanes share the parts of a column.
const KERNEL: Kernel = { contract: contractOf('decode', cacheAxes('d64 8c8b/8c8bq8 post n4')), arch: findArch('sm80')!, tile: { warps: 8, tokens: 128, stages: 2 } };
/** Pieces have a price on the line before their tokens. */
const PRICED = parseKernelName('antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain__sm80_lookup_w8_s2_c2');

/** The kernel with one piece of its source replaced. */
async function build(from = '', to = '', of: Kernel = KERNEL): Promise<KernelRef> {
  const source = renderKernel(of);
  if (source.split(from).length !== 2 && from !== '') throw new Error(`"${from}" occurs ${source.split(from).length - 1} times`);
  return kernelRef(kernelName(of), await buildEmulatedKernel(kernelName(of), source.replace(from, () => to)));
}

test('runner and kernels build', async () => {
  [runner, combine, sound] = await Promise.all([emulatedRunner(), emulated('combine', { headDim: 64, dtype: 'f16' }), build()]);
});
test.after(() => runner?.close());

const check = (kernel: KernelRef, shape: Shape<'decode'>, emulator = {}): Promise<CheckRecord> =>
  runner.check({ cmd: 'check', op: 'decode', kernel, seed: 3, shape, ...((shape.splits ?? 1) > 1 && shape.merge !== 'last' ? { combine } : {}), emulator: { order: 0, race: 2, ...emulator } });

const WAYS: readonly (readonly [what: string, how: Partial<Shape<'decode'>>])[] = [
  ...[1, 3, 17].flatMap((splits) => (['last', 'combine'] as const).map((merge) => [`${splits} CTAs, spread, ${merge}`, { splits, spread: true, merge }] as const)),
  ['40 CTAs each, last', { splits: 40, merge: 'last' }],
  ['3 CTAs each, combine', { splits: 3 }],
];

for (const [what, how] of WAYS) {
  test(`${what}: no order of blocks, warps and lanes changes a bit, and nothing races`, async () => {
    for (const shape of [{ ...RAGGED, ...how }, { ...MANY, ...how }]) {
      const records = [];
      for (const order of [0, 1, 2]) records.push(await check(sound, shape, { order }));
      for (const { ok, faults, rel_l2, max_abs, lse_err } of records) {
        assert.ok(ok, `${faults.join('; ')} ${JSON.stringify(shape)}`);
        assert.equal([rel_l2, max_abs, lse_err], [records[0]!.rel_l2, records[0]!.max_abs, records[0]!.lse_err]);
      }
    }
  });
}

/** Runs the shapes and orders until something is found: what it was, or nothing. */
async function found(kernel: KernelRef): Promise<string> {
  for (const order of [0, 1, 2]) {
    for (const [, how] of WAYS) {
      for (const shape of [{ ...RAGGED, ...how }, { ...MANY, ...how }]) {
        const words = await check(kernel, shape, { order }).then(({ ok, faults }) => (ok ? '' : faults.join('; ')), (error: Error) => error.message);
        if (words) return words;
      }
    }
  }
  return '';
}

const PLANTED: readonly (readonly [what: string, from: string, to: string, report: RegExp])[] = [
  ['a counter that is not set back', 'if (last) store_global(counter, 0u);', '', /wrote to the input counters|values are NaN/],
  ['no release at the counter', 'atomic_add_acquire_release(counter, 1) == uint32_t(w.parts - 1);', 'atomic_add_global(counter, 1) == uint32_t(w.parts - 1);\n    grid_fence();', /global-race/],
  ['no acquire at the counter', 'const bool last = atomic_add_acquire_release(', 'grid_fence();\n    const bool last = atomic_add_global(', /global-race/],
  ['no barrier before the counter', '  block_barrier();  // what this puts before', '  // what this puts before', /race/],
  ['a part that arrives last too early', 'uint32_t(w.parts - 1)', 'uint32_t(w.parts > 2 ? w.parts - 2 : w.parts - 1)', /./],
  ['a share that ends one unit late', 'end = boundary(w.to);', 'end = boundary(w.to) + (w.to < w.of);', /L2 error above|global-race/],
  ['a share that begins one unit late', 'begin = boundary(w.from);', 'begin = boundary(w.from) + (w.from > 0);', /L2 error above/],
  ['a sequence whose first CTA is forgotten', 'w.first = owner(tokens);', 'w.first = owner(tokens) + 1;', /./],
  ['no -inf from the CTAs that hold no share', 'if (!p.counters && p.splits > 1) clear_partials<K>(p);', '', /NaN|L2 error/],
  ['ring rows that no one clears', 'if (p.ring_scores && w.from == 0) clear_ring_scores', 'if (p.ring_scores && w.from != 0) clear_ring_scores', /NaN/],
  ['empty sequences that no one answers', '(coded + 31) / 32 * Cost::kCoded32 : 0)', '(coded + 31) / 32 * Cost::kCoded32 : 0) - Cost::kPiece', /NaN|bits/],
];
const PLANTED_IN_PRICED: typeof PLANTED = [
  ['a CTA that counts for the price of a piece it has not', 'w.first = owner(tokens);', 'w.first = owner(s.at);', /./],
  ['a share that begins behind all tokens of its sequence', 's.at + after - Cost::kSide > s.begin', 's.at + after > s.begin', /./],
  ['a piece whose tokens are another CTA\'s', 'if (s.at + Cost::kSide >= s.end) return {};', 'if (s.at >= s.end) return {};', /./],
  ['a piece that is looked at before it is there', 'if (thread_index() == 0) advance<K, Cost>(p, &cta->work);\n    block_barrier();', 'if (thread_index() == 0) advance<K, Cost>(p, &cta->work);', /race/],
];
for (const [of, planted] of [[KERNEL, PLANTED], [PRICED, PLANTED_IN_PRICED]] as const) {
  for (const [what, from, to, report] of planted) {
    test(`found: ${what}`, async () => {
      assert.match(await found(await build(from, to, of)), report);
    });
  }
}

test.run();
