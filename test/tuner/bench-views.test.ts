// Tests tuner/bench-views.ts: each view from rows made up for it.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { viewsOf } from '../../tuner/bench-views.ts';
import { ENVIRONMENT, EXACT, row } from './rows.ts';

const POST = 'antkv_decode_d128_k8c8b_v8c8bq8_f16_n4__sm90_lookup_w16_s2_c4';
const BIG = { batch: 16, tokens: 131_072, q_heads: 32, kv_heads: 8 };
const MIDDLE = { ...BIG, tokens: 32_768 };
const view = (rows: Parameters<typeof viewsOf>[0], title: RegExp) => viewsOf(rows).find((one) => title.test(one.title));

test('goals come last: the best launch and tile over the best FP16, beside reach and aim', () => {
  const rows = [
    row(EXACT, 2000, { shape: BIG }), row('torch_sdpa_cudnn', 1800, { shape: BIG, source: 'peer', code: 'PyTorch' }),
    row(POST, 200, { shape: BIG }), row(POST, 220, { shape: BIG, splits: 33 }), row(POST.replace('w16', 'w8'), 190, { shape: { ...BIG, spread: true } }),
    row(EXACT, 500, { shape: MIDDLE }), row(POST, 50, { shape: MIDDLE }), row(POST.replace('k8c8b', 'k4c8b').replace('v8c8b', 'v4c8b'), 125, { shape: MIDDLE }),
  ];
  const views = viewsOf(rows);
  const last = views.at(-1)!;
  assert.match(last.title, /Speed over the best FP16 kernel of the same run, Test GPU/);
  assert.equal(last.head, ['K / V', 'B16 128K', 'B16 32K', 'B1 128K', 'B16 4K', 'B1 4K']);
  assert.equal(last.rows[0], ['1 bit, post', '9.47 ✓ (7.5 / 10)', '10.00 ✓✓ (6.5 / 9)', '- (4.5 / 7)', '- (2.5 / 3.5)', '- (0.8 / 1)']);
  assert.is(last.rows[2]![2], '4.00 -11 % (4.5 / 5.5)');
  assert.equal(last.rows[5]!.slice(4), ['-', '-']);
  assert.match(last.notes[0]!, /Reach: 2 of 28\. Aim: 1 of 28/);
  const detail = views.at(-2)!;
  assert.equal(detail.rows[0], ['1 bit, post', 'B16 128K', '190', '190', '2', 'sm90_lookup_w8_s2_c4 n4', '16s', '-', '1800', 'PyTorch SDPA cudnn', '9.47']);
});

test('wrong results and other runs reach nothing', () => {
  const other = { ...ENVIRONMENT, run: 'b' };
  assert.is(view([row(EXACT, 2000, { shape: BIG }), row(POST, 1, { shape: BIG, ok: false, faults: ['NaN'] }), row(POST, 100, { shape: BIG, environment: other })], /Speed over/), undefined);
});

test('codes: time over that of uniform ones', () => {
  const { rows } = view([row(POST, 100, { shape: MIDDLE }), row(POST, 110, { shape: { ...MIDDLE, codes: 'zipf' } }), row(POST, 90, { shape: { ...MIDDLE, codes: 'equal' } })], /^Codes/)!;
  assert.equal(rows.map((cells) => cells.slice(2)), [['zipf', '110', '100', '110 %'], ['equal', '90.0', '100', '90 %']]);
});

test('ragged: tokens per time over those of the uniform batch', () => {
  const lens = [1000, 0, 3000];
  const of = (us: number) => view([row(POST, us, { shape: { batch: 3, lens, q_heads: 32, kv_heads: 8 } }), row(POST, 100, { shape: { ...MIDDLE, batch: 2, tokens: 2000 } })], /^Ragged/)!.rows[0]!;
  assert.equal(of(100).slice(1, 3), ['2 + 1 empty', '4000']);
  assert.equal(of(110).slice(-2), ['91 %', '✓']);
  assert.equal(of(125).slice(-2), ['80 %', '✗']);
});

test('pages, heads and head dims: the fraction of the own floor over the usual one', () => {
  const rows = [
    row(POST, 40, { shape: MIDDLE, bytes: 80_000_000 }), // half of its floor's speed
    row(POST, 80, { shape: { ...MIDDLE, page_size: 16 }, bytes: 80_000_000 }),
    row(POST, 50, { shape: { ...MIDDLE, q_heads: 8 }, bytes: 80_000_000 }),
    row(POST.replace('d128', 'd64'), 25, { head_dim: 64, shape: MIDDLE, bytes: 40_000_000 }),
  ];
  const shown = view(rows, /fraction of the floor/)!.rows.map((cells) => [cells[2], cells.at(-2), cells.at(-1)]);
  assert.equal(shown.toSorted(), [['128 GQA 1', '80 %', '✓'], ['128 page 16', '50 %', '✗'], ['64', '80 %', '✓']]);
});

test('query rows: times one row, held to it up to eight columns', () => {
  const rows = [row(POST, 100, { shape: MIDDLE }), ...[[2, 115], [4, 260]].map(([q_len, us]) => row(POST.replace('_n4', ''), us!, { shape: { ...MIDDLE, q_len } }))];
  assert.equal(view(rows, /^Several query rows/)!.rows.map((cells) => cells.slice(-2)), [['1.15', '✓'], ['2.60', '-']]);
});

test('nothing to compare, no view', () => assert.equal(viewsOf([row(POST, 1, { shape: BIG }), row('antkv_select__sm80_w8', 1, { op: 'select' })]), []));

test.run();
