// Exact rows of decode by look-up (exact.cuh): however many there are beside however many coded ones, each is attended to once, and its lines were asked for before, once.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { buildEmulatedKernel } from '../../../tuner/host.ts';
import { kernelRef, type Shape } from '../../../tuner/problem.ts';
import type { Runner } from '../../../tuner/runner.ts';
import { emulatedRunner } from './lab.ts';
import { lookup, passes, type Lookup } from './lookup.ts';

const test = suite('ops/exact');
const SUM = 'd128_k8c8b_v8c8bq8_f16_n4__sm90_lookup_w16_s2_c4';
const TURN = 'd128_k8c8b_v8c8bq8_f16_pre_gain_n4__sm90_lookup_w8_s2_c4';
const DOT = 'd128_k2c8bq8_v2c8bq8_f16_n4__sm90_lookup_w8_s1_c4';
const ALL = [SUM, TURN, DOT];

/** `source` with one piece of it replaced. */
function edit(source: string, from: string, to: string): string {
  assert.is(source.split(from).length, 2, `"${from}" occurs ${source.split(from).length - 1} times`);
  return source.replace(from, () => to);
}

/** A kernel that keeps what each warp has asked for, and gives nonsense (NaN as a weight) for a unit that was not asked for, twice, or elsewhere. One CTA per sequence and head, fewer than 31 units per warp. */
function witness(source: string): string {
  const at = 'antkv_asked[(block_index().z * 64 + block_index().y) * 16 + thread_index() / 32][n]';
  const declared = edit(source, '/// Asks for the lines of unit number `n`', `static const unsigned char* antkv_asked[8 * 64 * 16][32];\n/// Asks for the lines of unit number \`n\``);
  const asks = 'const int64_t at = u.offset(lane_index() / 2)';
  const asked = edit(declared, asks, `if (lane_index() == 0) ${at} = ${at} ? byte_pointer(&p) : u.k + u.offset(0);\n  ${asks}`);
  const reads = 'bytes16 k[2][kPieces];';
  return edit(asked, reads, `if (lane_index() == 0) {\n      if (${at} != rows.k + rows.offset(0)) maximum[0] = weight[0] = quiet_nan();\n      ${at} = nullptr;\n    }\n    ${reads}`).replaceAll('quiet_nan()', '__builtin_nanf("")');
}

let runner: Runner;
const made = new Map<string, Lookup>();
const witnesses = new Map<string, Lookup>();
const build = async (on: Lookup, source: string): Promise<Lookup> => ({ ...on, source, kernel: kernelRef(on.kernel.name, await buildEmulatedKernel(on.kernel.name, source)) });
test('runner and kernels build', async () => {
  runner = await emulatedRunner();
  for (const words of ALL) {
    const on = await lookup(words);
    made.set(words, on);
    witnesses.set(words, await build(on, witness(on.source)));
  }
});
test.after(() => runner?.close());

const HEADS = { q_heads: 4, kv_heads: 1 } as const;
/** One CTA each; then cut. */
const WHOLE: Readonly<Record<string, readonly Shape<'decode'>[]>> = {
  'units of several batches of tiles, and of none': [{ coded_len: [17000, 9000, 2300, 40], kv_len: [17040, 9048, 2300, 47], ring_rows: 48, anchor_permille: 30 }],
  'exact rows alone': [{ coded_len: [0, 0, 0, 0], kv_len: [1, 17, 40, 200], ring_rows: 208 }],
  'fewer units than warps': [{ coded_len: [5000, 33], kv_len: [5001, 34], ring_rows: 16 }],
  'coded rows alone, and nothing': [{ coded_len: [5000, 32, 1, 0] }],
  'more exact rows than coded ones': [{ coded_len: [600, 2900], kv_len: [640, 2948], ring_rows: 48, anchor_permille: 1000 }],
};
const CUT: readonly Shape<'decode'>[] = [
  { coded_len: [17000, 2300], ring_rows: 48, anchor_permille: 30, splits: 3, merge: 'last' },
  { coded_len: [3000, 14465], kv_len: [3040, 14470], ring_rows: 48, anchor_permille: 30, splits: 7, spread: true, merge: 'last' },
  { coded_len: [0, 0], kv_len: [3, 200], ring_rows: 208, splits: 3, merge: 'last' },
];

for (const [what, shapes] of Object.entries(WHOLE)) {
  test(what, async () => {
    for (const words of ALL) for (const shape of shapes) await passes(runner, witnesses.get(words)!, { ...HEADS, ...shape }, { race: 0 });
  });
}

test('sequences that CTAs share', async () => {
  for (const words of ALL) for (const shape of CUT) await passes(runner, made.get(words)!, { ...HEADS, ...shape }, { race: 0 });
});

const PLANTED: readonly (readonly [what: string, from: string, to: string])[] = [
  ['a second unit that no one asks for', '  prefetch_exact<K>(p, s, kv_head, units, 1);', ''],
  ['units that are asked for again', 'units, n + 2);', 'units, n + 1);'],
  ['lines of the unit before', 'exact_unit_of<K>(p, s, kv_head, units.first + n * K::kWarps, page)', 'exact_unit_of<K>(p, s, kv_head, units.first + (n - (n > 0)) * K::kWarps, page)'],
  ['pages of the unit before', 'load_global(s.anchors + unit)', 'load_global(s.anchors + unit - (unit > 0))'],
  ['a last unit that is left out', '(end - units.first + K::kWarps - 1) / K::kWarps', '(end - units.first + K::kWarps - 2) / K::kWarps'],
  ['a ring that does not wrap', 'return row < wrap ? row : row - wrap;', 'return row < wrap ? row : wrap - 1;'],
];

for (const [what, from, to] of PLANTED) {
  test(`found: ${what}`, async () => {
    const kernel = await build(made.get(SUM)!, edit(witnesses.get(SUM)!.source, from, to));
    let found = '';
    for (const shape of Object.values(WHOLE).flat()) {
      if (!found) found = await passes(runner, kernel, { ...HEADS, ...shape }, { race: 0 }).then(() => '', (error: Error) => error.message);
    }
    assert.match(found, /L2 error above|NaN/);
  });
}

test.run();
