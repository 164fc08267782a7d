// Head dims 96 and 256, bf16, capped scores and sink logits on the emulated driver against the fp64 reference: all ops that have pages, and combine. The pairwise array
// (pairwise.all.ts) meets these axes in pairs with all others; here each op meets those shapes that touch what they change: rows of other lengths, merges, empty rows.
import PQueue from 'p-queue';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Contract } from '../../../generator/contract.ts';
import type { KernelRef, Shape } from '../../../tuner/problem.ts';
import type { Runner } from '../../../tuner/runner.ts';
import { cacheAxes, emulated, emulatedRunner, mustPass } from './lab.ts';

const test = suite('ops/breadth');

const bf16 = (axes: Partial<Contract>): Partial<Contract> => ({ ...axes, dtype: 'bf16' });
/** What is new in each; of d96 all codes lie row by row, of d256 by lanes. */
const CACHES: readonly (readonly [what: string, axes: Partial<Contract>, flags?: Partial<Contract>])[] = [
  ['d96 pre', cacheAxes('d96 8c8b/4c8bq8 pre gain')],
  ['d96 exact', cacheAxes('d96 f16/f16 post')],
  ['d256 pre', cacheAxes('d256 2c8bq8/16c8b pre gain')],
  ['d256 mixed bf16', bf16(cacheAxes('d256 bf16/8c8bq8 post')), { softcap: true }],
  ['d96 bf16', bf16(cacheAxes('d96 bf16/bf16 post')), { sink: true }],
  ['d128 bf16', bf16(cacheAxes('d128 8c8b/8c8bq8 pre gain')), { softcap: true, sink: true }],
  ['d64 bf16', bf16(cacheAxes('d64 4c8bq8/bf16 post gain'))],
  ['bf16 look-ups, sums', bf16(cacheAxes('d64 8c8b/8c8bq8 post gain n4')), { sink: true }],
  ['bf16 look-ups, products', bf16(cacheAxes('d64 2c8bq8/4c8bq8 post n4'))],
  ['bf16 look-ups, turns', bf16(cacheAxes('d128 16c8b/8c8bq8 pre gain n4'))],
];
const OPS = ['encode', 'append', 'unpack', 'decode'] as const;

let runner: Runner;
const kernels = new Map<string, KernelRef>();
test('runner and kernels build', async () => {
  const queue = new PQueue({ concurrency: 2 });
  runner = await emulatedRunner();
  const jobs = CACHES.flatMap(([what, axes, flags]) => OPS.map((op) => ({ key: `${op} ${what}`, op, axes: op === 'decode' ? { ...axes, ...flags } : axes })));
  const merges = CACHES.map(([what, axes]) => ({ key: `combine ${what}`, op: 'combine' as const, axes }));
  await Promise.all([...jobs, ...merges].map(({ key, op, axes }) => queue.add(async () => kernels.set(key, await emulated(op, axes)))));
});
test.after(() => runner?.close());

const RAGGED: Shape<'decode'> = { coded_len: [64, 0, 128, 23], kv_len: [70, 5, 128, 30], q_len: [1, 3, 2, 1], ring_rows: 40, q_heads: 6, kv_heads: 2, anchor_permille: 60, first_pos: [0, 5, 1_000_000, 77], ring_scores: true };
const EXACT: Shape<'decode'> = { coded_len: [70, 5, 128, 0], q_len: [1, 3, 2, 1], q_heads: 6, kv_heads: 2 };

for (const [what, axes, flags] of CACHES) {
  const isExact = axes.k === axes.v;
  const emulator = { order: 0, race: 1 };
  test(what, async () => {
    const anchors = isExact ? {} : { anchor_permille: 100 };
    const kernel = (op: string): KernelRef => kernels.get(`${op} ${what}`)!;
    await mustPass(runner, 'encode', kernel('encode'), { end: [0, 1, 33], ...anchors }, { emulator });
    await mustPass(runner, 'append', kernel('append'), { seq_len: [47, 33], page_size: 32, kv_heads: 1, first_pos: [9, 1000], ...(isExact ? {} : { flush_block: 32, anchor_permille: 100 }) }, { emulator });
    await mustPass(runner, 'unpack', kernel('unpack'), { coded_len: [15, 49], kv_heads: 2, first_pos: [9, 1000], ...anchors }, { emulator });
    const shape = isExact ? EXACT : RAGGED;
    await mustPass(runner, 'decode', kernel('decode'), shape, { emulator });
    // A sink joins once: in the first of the parts, whoever merges them, and also where no key is seen.
    await mustPass(runner, 'decode', kernel('decode'), { ...shape, splits: 3 }, { emulator, combine: kernel('combine') });
    await mustPass(runner, 'decode', kernel('decode'), { ...shape, splits: 5, spread: true, merge: 'last', ring_scores: false }, { emulator });
    await mustPass(runner, 'decode', kernel('decode'), { ...shape, q_pos: [-5, 0, 100, 70], ring_scores: false }, { emulator });
    // Queries that are no numbers come out as rows that see nothing, unless there is a sink to see.
    if (!flags?.sink) await mustPass(runner, 'decode', kernel('decode'), { ...shape, nan: true, ring_scores: false }, { emulator });
    await mustPass(runner, 'combine', kernel('combine'), { rows: 3, q_heads: 5, splits: 3, ring_rows: 17, empty_permille: 200 }, { emulator });
  });
}

test('a cap or a sink that a kernel forgot is found out', async () => {
  const shape: Shape<'decode'> = { coded_len: [64], kv_len: [70], ring_rows: 40, q_heads: 4 };
  const plain = await emulated('decode', CACHES[5]![1]);
  // The kernel without them, asked about as if it had them: the loader is told that the pointer is needed, and the reference counts it.
  for (const flag of ['softcap', 'sink'] as const) {
    const { ok, faults } = await runner.check({ cmd: 'check', op: 'decode', kernel: { ...plain, [flag]: true }, shape });
    assert.is(ok, false, flag);
    assert.match(faults.join(), /error above its tolerance/, flag);
  }
});

test.run();
