// Tests tuner/space/grid.ts and given.ts: the default grid, models, shapes from files, and what is refused.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { contractOf } from '../../../generator/contract.ts';
import { InputError } from '../../../generator/errors.ts';
import { parseContractName } from '../../../generator/name.ts';
import type { Contract } from '../../../generator/contract.ts';
import { readModel, readShapes } from '../../../tuner/space/given.ts';
import { cacheBytes, DEFAULT_TUNING, MEMORY_SHARE, plainShape, problemsOf } from '../../../tuner/space/grid.ts';
import { problemKey, problemSchema, type PointShape } from '../../../tuner/tune/problem.ts';

const ONE_BIT = parseContractName('antkv_decode_d128_k8c8b_v8c8bq8_f16_n4');
const EXACT = contractOf('decode', { k: 'f16', v: 'f16', headDim: 128, dtype: 'f16' });
const heads = { q_heads: 32, kv_heads: 8 };
const told = (read: () => unknown, why: RegExp): void => assert.throws(read, (error: unknown) => error instanceof InputError && why.test(error.message) && error.fix !== undefined);

test('the default grid of decode: 77 shapes of equal sequences, 63 spread, from small to large, 84 of exact rows in either mode; twelve of score, six of other ops', () => {
  const problems = problemsOf(ONE_BIT, DEFAULT_TUNING);
  assert.equal([problems.length, problems.filter(({ mode }) => mode === 'spread').length], [140, 63]);
  for (const problem of problems) assert.equal(problemSchema.parse(problem), problem);
  assert.equal(problems[0], { contract: 'antkv_decode_d128_k8c8b_v8c8bq8_f16_n4', mode: 'sequence', shape: { batch: 1, tokens: 1024, ...heads } });
  const work = problems.map(({ shape }) => shape.batch! * shape.tokens!);
  assert.equal(work, work.toSorted((a, b) => a - b));
  assert.is(new Set(problems.map(problemKey)).size, 140);
  const exact = problemsOf(EXACT, DEFAULT_TUNING);
  assert.equal([exact.length, exact.filter(({ mode }) => mode === 'spread').length], [168, 84]);
  const score = problemsOf(parseContractName('antkv_score_d128_f16'), DEFAULT_TUNING);
  assert.equal([score.length, score[0]!.shape.rows, score[0]!.mode], [12, 128, 'sequence']);
  assert.is(problemsOf(parseContractName('antkv_select'), DEFAULT_TUNING).length, 6);
  assert.equal(problemsOf(parseContractName('antkv_combine_d128_f16'), DEFAULT_TUNING), []);
});

test('what is too large for the device is left out, by the bytes of its cache', () => {
  // 64 x 128 K tokens x 8 heads x 512 B are 34 GB.
  assert.is(cacheBytes(EXACT as Contract & { headDim: 128; k: 'f16'; v: 'f16'; dtype: 'f16'; key: 'post'; gain: 'none' }, { batch: 64, tokens: 131072, ...heads }), 64 * 131072 * 8 * 512);
  const largest = (memory: number): number => Math.max(...problemsOf(EXACT, DEFAULT_TUNING, memory).map(({ shape }) => shape.batch! * shape.tokens!));
  assert.is(largest(141e9), 64 * 131072);
  assert.is(largest(80e9), 48 * 131_072);
  assert.ok(largest(80e9) * 8 * 512 <= MEMORY_SHARE * 80e9);
  assert.is(problemsOf(ONE_BIT, DEFAULT_TUNING, 80e9).length, 140);
  const one = cacheBytes(ONE_BIT as Parameters<typeof cacheBytes>[0], { batch: 1, tokens: 131072, ...heads });
  assert.ok(one > 131072 * 8 * 32 && one < 131072 * 8 * 44, `${one} B: 32 of codes, and anchors`);
});

test('equal shapes are equal text: defaults are left out, a batch is always there', () => {
  const shape: PointShape = { tokens: 64, ...heads, page_size: 64, anchor_permille: 10, window: 128, codes: 'uniform', q_len: 1 };
  assert.equal(plainShape(shape), { batch: 1, tokens: 64, ...heads });
  assert.equal(plainShape({ ...shape, page_size: 16, q_len: 4 }), { batch: 1, tokens: 64, ...heads, page_size: 16, q_len: 4 });
  assert.equal(plainShape({ batch: 2, lens: [3, 4], ...heads }), { lens: [3, 4], ...heads });
});

test('a model: its heads and head dim', () => {
  const config = { architectures: ['LlamaForCausalLM'], hidden_size: 2048, num_attention_heads: 32, num_key_value_heads: 8, num_hidden_layers: 16 };
  const llama = readModel(JSON.stringify(config), 'config.json');
  assert.equal(llama, { tunedFor: 'model config.json', heads: { q_heads: 32, kv_heads: 8 }, headDim: 64, layers: 16 });
  assert.equal(problemsOf(ONE_BIT, llama), [], 'contracts of another head dim are not tuned');
  assert.is(problemsOf(parseContractName('antkv_select'), llama).length, 6, 'those without one are');
  const qwen = readModel(JSON.stringify({ text_config: { ...config, head_dim: 128, num_attention_heads: 40 } }), 'c.json');
  assert.equal([qwen.headDim, qwen.heads.q_heads], [128, 40]);
  assert.equal(problemsOf(ONE_BIT, qwen)[0]!.shape, { batch: 1, tokens: 1024, q_heads: 40, kv_heads: 8 });
  assert.is(readModel(JSON.stringify({ hidden_size: 1024, num_attention_heads: 16, num_key_value_heads: null }), 'c').heads.kv_heads, 16, 'without grouping');
});

test('what is no model, or has heads that no kernel takes, is refused with the reason', () => {
  told(() => readModel('{', 'c.json'), /c\.json is not JSON/);
  told(() => readModel('{"n_head": 12}', 'c.json'), /num_attention_heads/);
  told(() => readModel(JSON.stringify({ hidden_size: 2560, num_attention_heads: 32 }), 'c.json'), /head dim 80 \(of hidden_size 2560/);
  told(() => readModel(JSON.stringify({ num_attention_heads: 32 }), 'c.json'), /hidden_size missing/);
  told(() => readModel(JSON.stringify({ head_dim: 128, num_attention_heads: 71, num_key_value_heads: 1 }), 'c.json'), /71 query heads over 1 KV heads/);
  told(() => readModel(JSON.stringify({ head_dim: 128, num_attention_heads: 12, num_key_value_heads: 5 }), 'c.json'), /12 query heads over 5/);
});

test('shapes: bare ones, bench rows, ragged ones; each once, launches left out, defaults filled in', () => {
  const row = { record: 'bench', source: 'antkv', op: 'decode', kernel: 'antkv_decode_d128_k8c8b_v8c8bq8_f16_n4__sm90_lookup_w16_s2_c4', shape: { batch: 2, tokens: 512, q_heads: 32, kv_heads: 8, page_size: 64, splits: 4, spread: true, merge: 'last' }, us: {} };
  const lines = ['{"batch":16,"tokens":32768}', '', JSON.stringify(row), '{"batch":16,"tokens":32768,"splits":3}', '{"lens":[5,0,7],"q_heads":8,"kv_heads":8}', JSON.stringify({ ...row, source: 'peer', kernel: 'sdpa' }), '{"contract":"antkv_select","tokens":9}', '{"contract":"antkv_select","shape":{"tokens":10}}'];
  const tuning = readShapes(lines.join('\n'), 's.jsonl');
  assert.is(tuning.tunedFor, 'shapes s.jsonl');
  assert.equal(tuning.shapes, [
    { shape: { batch: 16, tokens: 32768, ...heads } },
    { contract: 'antkv_decode_d128_k8c8b_v8c8bq8_f16_n4', shape: { batch: 2, tokens: 512, ...heads } },
    { shape: { lens: [5, 0, 7], q_heads: 8, kv_heads: 8 } },
    { contract: 'antkv_select', shape: { batch: 1, tokens: 9, ...heads } },
    { contract: 'antkv_select', shape: { batch: 1, tokens: 10, ...heads } },
  ]);
  assert.is(problemsOf(ONE_BIT, tuning).length, 6);
  assert.is(problemsOf(EXACT, tuning).length, 4);
  assert.equal(problemsOf(parseContractName('antkv_select'), tuning).map(({ shape }) => shape.tokens), [9, 10], 'shapes for all are of decode');
});

test('a line that is no shape is told by its number', () => {
  const file = (line: string) => () => readShapes(`{"tokens":5}\n${line}\n`, 's.jsonl');
  told(file('{"batch":'), /s\.jsonl, line 2: not JSON/);
  told(file('[1]'), /line 2: not an object/);
  told(file('{"batch":4}'), /line 2: neither tokens nor lens/);
  told(file('{"tokens":0}'), /line 2: [\s\S]*tokens/);
  told(file('{"tokens":5,"colour":1}'), /line 2: [\s\S]*colour/);
  told(file('{"tokens":5,"contract":"antkv_fly"}'), /line 2: .*"fly" is not an op/);
  told(file('{"tokens":5,"contract":"antkv_kmeans_k8c8b_bf16"}'), /line 2: .*not built yet/);
  told(() => readShapes('\n\n', 's.jsonl'), /s\.jsonl has no shapes/);
});

test.run();
