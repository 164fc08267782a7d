// Tests tuner/bench-ops-view.ts: ops beside what they are held to, from rows made up for it.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { opViews } from '../../tuner/bench-ops-view.ts';
import { ENVIRONMENT, row } from './rows.ts';

const PROMPT = { batch: 1, tokens: 32_768, q_heads: 32, kv_heads: 8 };
const SCORE = 'antkv_score_d128_f16__sm90_group_w12_t384_s4';
const APPEND = 'antkv_append_d128_k8c8b_v8c8bq8_f16_pre_gain__sm90_w16_t128';
const forward = row('torch_sdpa_cudnn', 15_000, { op: 'prefill', shape: { ...PROMPT, q_len: 32_768 }, source: 'peer', code: 'PyTorch' });
const score = (us: number, more: object = {}) => row(SCORE, us, { op: 'score', shape: { ...PROMPT, rows: 32_768, ...more } });
const step = (us: number, flush: number, alone = us + 2) => row(APPEND, alone, { b2b_us: us, op: 'append', shape: { ...PROMPT, batch: 16, flush } });
const cellsOf = (rows: Parameters<typeof opViews>[0]) => opViews(rows).flatMap((view) => view.rows);

test('a score is held to a part of the forward pass, the fastest tile of each goal', () => {
  assert.equal(cellsOf([forward, score(12_500), row(SCORE.replace('s4', 's3'), 12_000, { op: 'score', shape: { ...PROMPT, rows: 32_768 } })]), [
    ['score of a prompt, column', 'sm90_group_w12_t384_s3', '12000', '12000', '0.800x', '0.850x', '0.750x', '✓'],
  ]);
  assert.is(cellsOf([forward, score(13_000)])[0]!.at(-1), '✗');
  assert.is(cellsOf([forward, score(9000)])[0]!.at(-1), '✓✓');
  assert.equal(cellsOf([forward, score(1000, { sampled_rows: 3276 })]).map(([what, , , , part]) => [what, part]), [['column by a tenth of the rows', '0.067x']]);
});

test('without its forward pass, with wrong results or at another size nothing is said to be reached', () => {
  assert.is(cellsOf([score(1)])[0]!.at(-1), '-');
  assert.equal(cellsOf([forward, row(SCORE, 1, { op: 'score', shape: { ...PROMPT, rows: 32_768 }, ok: false, faults: ['NaN'] }), score(1, { tokens: 4096, rows: 4096 })]), []);
  assert.is(cellsOf([{ ...forward, environment: { ...ENVIRONMENT, run: 'b' } }, score(1)])[0]!.at(-1), '-');
});

test('steps of append: held to microseconds, and their mean over the steps between two flushes', () => {
  const [view] = opViews([step(5.5, 0), step(58, 16)]);
  assert.equal(view!.rows.map((cells) => [cells[2], cells[3], cells.at(-1)]), [['7.50', '5.50', '✓'], ['60.0', '58.0', '✓']]);
  assert.match(view!.notes[1]!, /5\.91 µs \(at most 8\) ✓/);
  assert.match(opViews([step(9, 0), step(58, 16)])[0]!.notes[1]!, /9\.38 µs \(at most 8\) ✗/);
  assert.is(opViews([step(9, 0)])[0]!.notes.length, 1);
});

test.run();
