// Tests tuner/bench-table.ts: races, floors, speed over FP16, cells.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Row } from '../../tuner/bench-row.ts';
import { bestOf, cellsOf, environmentWords, figures, floorUs, fp16Of, HEAD, launchOf, lengthWord, linesOf, shapeWords, tokensWord } from '../../tuner/bench-table.ts';
import { COMBINE, ENVIRONMENT, EXACT, ONE_BIT, row } from './rows.ts';

const peer = (backend: string, us: number, more: Partial<Row> = {}) => row(`torch_sdpa_${backend}`, us, { source: 'peer', code: 'PyTorch', ...more });

test('the floor is the useful bytes at the measured read bandwidth', () => {
  assert.is(floorUs({ bytes: 16_000_000, environment: ENVIRONMENT }), 4);
  assert.is(floorUs({ bytes: 1, environment: { ...ENVIRONMENT, read_gbps: null } }), undefined);
});

test('the fastest number of splits wins its race, and the others are kept by name', () => {
  const [best, ...rest] = bestOf([row(ONE_BIT, 30, { splits: 1 }), row(ONE_BIT, 10, { splits: 8 }), row(ONE_BIT, 20, { splits: 4 })]);
  assert.is(rest.length, 0);
  assert.is(best!.splits, 8);
  assert.equal(best!.raced.map(({ what }) => what), ['8 splits', '4 splits', '1 splits']);
});

test('wrong results do not win, but are shown where nothing is right', () => {
  const wrong = row(ONE_BIT, 1, { ok: false, faults: ['NaN'] });
  assert.is(bestOf([wrong, row(ONE_BIT, 10)])[0]!.us.median, 10);
  const [line] = linesOf([wrong]);
  assert.match(cellsOf(line!)[1]!, /WRONG/);
});

test('shapes, architectures, kernels and devices are different races; backends of a peer are one', () => {
  const rows = [
    row(ONE_BIT, 1), row(EXACT, 1), row(ONE_BIT, 1, { code: 'sm_90' }), row(ONE_BIT, 1, { head_dim: 64 }), row(ONE_BIT, 1, { environment: { ...ENVIRONMENT, device: 'Other' } }),
    row(ONE_BIT, 1, { shape: { batch: 16, tokens: 4096 } }), row(ONE_BIT, 1, { shape: { batch: 1, tokens: 8192 } }), peer('cudnn', 2), peer('flash', 1), peer('cudnn_bshd', 3),
  ];
  assert.is(bestOf(rows).length, 8);
});

test('a launch is told by its splits, by what it spreads over, and by who merges', () => {
  const raced = bestOf([row(ONE_BIT, 30, { splits: 1 }), row(ONE_BIT, 10, { splits: 8, shape: { batch: 1, tokens: 4096, q_heads: 32, kv_heads: 8, spread: true } }), row(ONE_BIT, 20, { splits: 4, combine: COMBINE })]);
  assert.equal(raced[0]!.raced.map(({ what }) => what), ['8s splits', '4c splits', '1 splits']);
  assert.is(launchOf(row(ONE_BIT, 1, { splits: undefined })), undefined);
});

test('pages, codes, windows, heads, rows and lengths are races of their own; FP16 is the same for all pages and codes, never for another run', () => {
  const shape = { batch: 2, tokens: 4096, q_heads: 32, kv_heads: 8 };
  const coded = [{}, { page_size: 16 }, { codes: 'zipf' }, { window: 0 }, { anchor_permille: 0 }].map((more) => row(ONE_BIT, 10, { shape: { ...shape, ...more } }));
  const others = [{ q_heads: 8 }, { q_len: 4 }, { lens: [1, 2] }].map((more) => row(ONE_BIT, 10, { shape: { ...shape, ...more } }));
  const rows = [...coded, ...others, row(EXACT, 30, { shape }), row(EXACT, 20, { shape, environment: { ...ENVIRONMENT, run: 'b' } })];
  assert.is(bestOf(rows).length, rows.length);
  assert.equal(coded.map((one) => fp16Of(one, rows)?.us.median), coded.map(() => 30));
  assert.equal(others.map((one) => fp16Of(one, rows)?.us.median), others.map(() => undefined));
  assert.equal(others.map(shapeWords), ['GQA 1', '4 rows', '']);
  assert.equal(others.map(lengthWord), ['4K', '4K', 'ragged']);
});

test('speed over FP16: against the fastest exact row of the shape, ours or a peer, never a wrong one', () => {
  const coded = row(ONE_BIT, 10);
  assert.is(fp16Of(coded, [coded]), undefined);
  assert.is(fp16Of(coded, [coded, row(EXACT, 30), peer('cudnn', 20)])!.us.median, 20);
  assert.is(fp16Of(coded, [row(EXACT, 30), { ...peer('cudnn', 20), ok: false }])!.us.median, 30);
  assert.is(fp16Of(coded, [row(EXACT, 30, { shape: { batch: 16, tokens: 4096 } })]), undefined);
  const lines = linesOf([coded, row(EXACT, 30), peer('cudnn', 20)]);
  assert.equal(lines.map(({ title, overFp16 }) => [title, overFp16]), [['antkv-1', 2], ['PyTorch SDPA cudnn', 1], ['f16', 20 / 30]]);
});

test('tiles are named where a preset has several', () => {
  const titles = linesOf([row(ONE_BIT, 10), row(ONE_BIT.replace('w4_t64', 'w8_t128'), 11)]).map(({ title }) => title);
  assert.equal(titles, ['antkv-1 w4_t64_s2', 'antkv-1 w8_t128_s2']);
});

test('a contract that presets share goes by its own name, and is not compared with FP16', () => {
  const [line] = linesOf([row('antkv_score_d128_f16__sm80_w4_t64_s2', 10, { op: 'score', splits: undefined }), row('antkv_encode_d128_kf16_vf16_f16__sm80_w4_t32', 10, { op: 'score' })]);
  assert.is(line!.title, 'score_d128_f16');
  assert.is(line!.overFp16, undefined);
});

test('the score of a whole prompt is held against the causal forward pass of that prompt alone', () => {
  const prompt = { batch: 1, tokens: 4096, q_heads: 32, kv_heads: 8 };
  const forward = peer('cudnn', 30, { op: 'prefill', shape: { ...prompt, q_len: 4096 } });
  const score = (rows: number, more = {}) => row('antkv_score_d128_f16__sm80_w4_t64_s2', 20, { op: 'score', splits: undefined, shape: { ...prompt, rows, ...more } });
  const over = (one: Row) => linesOf([forward, peer('cudnn', 5, { shape: prompt }), one]).find(({ row: { op } }) => op === 'score')!.overFp16;
  assert.is(over(score(4096)), 1.5);
  assert.is(over(score(4096, { sampled_rows: 409 })), 1.5);
  assert.is(over(score(128)), undefined);
  assert.is(shapeWords(score(4096, { sampled_rows: 409 })), '4096 rows, 409 drawn');
});

test('cells stand under their heads', () => {
  const [line] = linesOf([row(ONE_BIT, 10), row(EXACT, 30)]);
  const cells = Object.fromEntries(cellsOf(line!).map((cell, i) => [HEAD[i]!, cell]));
  assert.equal(cells, { op: 'decode', kernel: 'antkv-1', code: 'sm_80 through PTX', d: '128', B: '1', tokens: '4K', shape: '', splits: '16', 'µs': '10.0', p10: '9.00', p90: '12.0', 'GB/s': '1600', '% of floor': '40', 'x FP16': '3.00' });
});

test('numbers in words', () => {
  assert.equal([1.234, 12.34, 123.4].map(figures), ['1.23', '12.3', '123']);
  assert.equal([4096, 131072, 100, undefined].map(tokensWord), ['4K', '128K', '100', 'mixed']);
  assert.is(environmentWords(row(ONE_BIT, 1)), 'Test GPU, 132 SMs, compute capability 9, driver 580.1, nvcc 13.0.88, 1980 MHz under load, 4000 GB/s read, 3900 GB/s copied (read and written), 600 TFLOP/s FP16, 4.0 µs for a step that does nothing');
});

test.run();
