// decode (and combine) on the emulated driver against the fp64 reference, at the shapes where kernels break.
import { suite } from 'uvu';
import type { Runner } from '../../../tuner/runner.ts';
import type { KernelRef, Shape } from '../../../tuner/problem.ts';
import { cacheAxes, emulated, emulatedRunner, mustPass } from './lab.ts';

const test = suite('ops/decode');
let runner: Runner;
const kernels = new Map<string, KernelRef>();

const ONE_BIT = 'd128 8c8b/8c8bq8 pre gain';
const MIXED = 'd64 4c8b/f16 post';
const TWO_SIDES = 'd64 8c8bq8/4c8b pre';
const EXACT = 'd128 f16/f16';

// A test, not a hook: uvu swallows what a before hook throws, and the suite would pass without having run.
test('runner and kernels build', async () => {
  const words = [ONE_BIT, MIXED, TWO_SIDES, EXACT];
  const [made, ...built] = await Promise.all([
    emulatedRunner(),
    ...words.map((w) => emulated('decode', cacheAxes(w))),
    emulated('combine', { headDim: 128, dtype: 'f16' }),
    emulated('combine', { headDim: 64, dtype: 'f16' }),
  ]);
  runner = made;
  [...words, 'd128', 'd64'].forEach((key, i) => kernels.set(key, built[i]!));
});
test.after(() => runner?.close());

interface Case {
  readonly on: string;
  readonly shape: Shape<'decode'>;
  readonly seed?: number;
}

async function passes({ on, shape, seed = 1 }: Case, emulator = {}): Promise<void> {
  const splits = (shape.splits ?? 1) > 1;
  await mustPass(runner, 'decode', kernels.get(on)!, shape, { seed, emulator: { order: 0, race: 1, ...emulator }, ...(splits ? { combine: kernels.get(on.split(' ')[0]!)! } : {}) });
}

const each = (title: string, cases: readonly Case[]): void => test(title, async () => {
  for (const one of cases) await passes(one);
});

// Tiles of the default kernels are 64 tokens, units 16; the last is two pages of 64 and one token.
const LENGTHS = [0, 1, 15, 16, 17, 63, 64, 65, 127, 129];

each('every length around unit, tile and page, with and without splits', [ONE_BIT, MIXED, TWO_SIDES, EXACT].flatMap((on) => [
  { on, shape: { coded_len: LENGTHS } },
  { on, shape: { coded_len: LENGTHS, splits: 3, page_size: 16, index: 'csr' as const } },
]));

each('no anchors, some anchors, only anchors', [ONE_BIT, MIXED, TWO_SIDES].flatMap((on) =>
  [0, 80, 1000].map((anchor_permille) => ({ on, shape: { coded_len: [33, 64, 1, 0, 100], kv_heads: 2, anchor_permille, splits: anchor_permille === 80 ? 3 : 1 } })),
));

each('ragged batches: coded, anchors and ring, query rows from 0 to 16, slots and pages in any order', [ONE_BIT, MIXED, TWO_SIDES].flatMap((on) => [
  { on, shape: { coded_len: [64, 0, 128, 16], kv_len: [70, 5, 128, 50], q_len: [1, 3, 0, 16], ring_rows: 40, q_heads: 4, kv_heads: 2, anchor_permille: 60, pad: 32 } },
  { on, shape: { coded_len: [64, 0, 128, 16], kv_len: [70, 5, 140, 50], q_len: [16, 1, 2, 5], ring_rows: 40, q_heads: 4, kv_heads: 2, anchor_permille: 60, splits: 3, page_size: 16 } },
]));

each('a bound on query rows that no sequence reaches', [{ on: ONE_BIT, shape: { coded_len: [40, 20], q_heads: 4, kv_heads: 2, max_q_len: 16 } }]);

each('every GQA ratio', [1, 2, 4, 5, 7, 8, 16].flatMap((ratio) => [
  { on: ONE_BIT, shape: { coded_len: [40], kv_len: [47], ring_rows: 32, q_heads: ratio * 2, kv_heads: 2, anchor_permille: 50 } },
  { on: MIXED, shape: { coded_len: [40], kv_len: [47], q_len: [3], ring_rows: 32, q_heads: ratio, kv_heads: 1, anchor_permille: 50, splits: 2 } },
]));

each('a ring longer than the context, and one that is full and wrapped', [
  { on: ONE_BIT, shape: { coded_len: [0], kv_len: [9], q_len: [9], ring_rows: 272 } },
  { on: ONE_BIT, shape: { coded_len: [48], kv_len: [80], q_len: [4], ring_rows: 32 } },
  { on: MIXED, shape: { coded_len: [112], kv_len: [145], q_len: [4], ring_rows: 33, splits: 3 } },
]);

each('positions up to 4 million', [ONE_BIT, TWO_SIDES].flatMap((on) => [
  { on, shape: { coded_len: [70, 33], kv_len: [75, 40], first_pos: [1_000_000, 4_000_000], ring_rows: 16, anchor_permille: 50 } },
  { on, shape: { coded_len: [70], first_pos: [8_388_000], rope: { theta: 500_000 } } },
]));

each('q_pos other than the default: some keys masked, all masked, none masked', [ONE_BIT, MIXED, EXACT].flatMap((on) => [
  { on, shape: { coded_len: [70, 70, 70, 70], q_len: [2, 2, 2, 1], first_pos: [100, 100, 100, 100], q_pos: [100, 98, 133, 1_000], ...(on === EXACT ? {} : { anchor_permille: 100 }) } },
]));
each('q_pos in the middle of the ring and of the anchors', [
  { on: ONE_BIT, shape: { coded_len: [64, 64], kv_len: [90, 90], q_len: [4, 1], q_pos: [70, 20], ring_rows: 32, anchor_permille: 300, splits: 3 } },
]);

each('tree masks', [ONE_BIT, MIXED].flatMap((on) => [
  { on, shape: { coded_len: [32, 0], kv_len: [50, 16], q_len: [16, 16], ring_rows: 40, q_heads: 2, tree_mask: true } },
  { on, shape: { coded_len: [32, 16], kv_len: [50, 19], q_len: [5, 3], ring_rows: 40, tree_mask: true, splits: 2, first_pos: [7, 9] } },
]));

each('a shared prefix: inherited anchor rows beyond it are skipped', [ONE_BIT, TWO_SIDES].map((on) => (
  { on, shape: { coded_len: [128, 128, 64], kv_heads: 2, anchor_permille: 300, frozen_len: [64, 0, 64], frozen_anchor_pages: [1, 2, 100] } }
)));

each('segments alone', [1, 2, 3, 4, 5, 6, 0].map((segments) => ({ on: ONE_BIT, shape: { coded_len: [70], kv_len: [80], ring_rows: 16, anchor_permille: 200, segments } })));

each('RoPE as data: interleaved, partial, with an attention factor', [ONE_BIT, TWO_SIDES].flatMap((on) => [
  { on, shape: { coded_len: [70], first_pos: [1000], rope: { interleaved: true, theta: 500_000 } } },
  { on, shape: { coded_len: [70], first_pos: [1000], rope: { rotary_dim: 32, factor: 1.2 } } },
  { on, shape: { coded_len: [70], first_pos: [1000], rope: { rotary_dim: 48, interleaved: true, factor: 0.8 } } },
]));

each('large scores: standard deviation 4, and one 60 above the rest', [ONE_BIT, MIXED, EXACT].flatMap((on) => [
  { on, shape: { coded_len: [129], score_std: 4, splits: 3 } },
  { on, shape: { coded_len: [129, 65], q_heads: 4, peak: true } },
]));

test('raw scores of the ring, and their mass after combine', async () => {
  const shape = { coded_len: [64, 0, 16], kv_len: [90, 7, 16], q_len: [4, 2, 1], ring_rows: 32, q_heads: 4, kv_heads: 2, anchor_permille: 60, ring_scores: true };
  await passes({ on: ONE_BIT, shape });
  await passes({ on: ONE_BIT, shape: { ...shape, tree_mask: true } });
  await passes({ on: ONE_BIT, shape: { ...shape, splits: 3 } });
  await passes({ on: ONE_BIT, shape: { ...shape, splits: 3, q_pos: [70, 0, 0] } });
  await mustPass(runner, 'decode', kernels.get(ONE_BIT)!, shape, { combine: kernels.get('d128')! });
});

each('no LSE wanted', [{ on: ONE_BIT, shape: { coded_len: [40], lse: false } }, { on: ONE_BIT, shape: { coded_len: [40], lse: false, splits: 2 } }]);

test('other orders of blocks, warps and lanes give the same answer, and no race in global memory', async () => {
  const shape = { coded_len: [70, 33], kv_len: [80, 40], q_len: [3, 1], ring_rows: 16, q_heads: 4, kv_heads: 2, anchor_permille: 60, splits: 3, ring_scores: true };
  for (const order of [1, 2, 3]) await passes({ on: ONE_BIT, shape }, { order, race: 2 });
});

test.run();
