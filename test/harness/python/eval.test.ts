// Tests harness/python/eval: its figures and files are TypeScript's; the rest is test_eval.py, which needs PyTorch and is skipped where no Python has it.
import { execa } from 'execa';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { effectiveBits, heldBits } from '../../../generator/bits.ts';
import { readCodebook } from '../../../generator/codebook.ts';
import { codecOf } from '../../../generator/codec.ts';
import { parseDump } from '../../../generator/format.ts';
import { parseHeader } from '../../../generator/safetensors.ts';
import { fromF16 } from '../../../generator/f16.ts';
import { isCoded } from '../../../generator/contract.ts';
import { codebookLayout } from '../../../generator/layout.ts';
import { PRESETS, presetOf } from '../../../generator/presets.ts';
import { recipeHash } from '../../../generator/recipe.ts';
import { temporaryFolder } from '../../folder.ts';
import { ROOT } from '../load/build.ts';
import { python, withTorch } from './python.ts';

const test = suite('eval');
const TORCH = await withTorch();

/** The lines that bits.py prints. */
type BitsRow = { name: string; head_dim: number; tokens: number; bits: number; held: number } | { name: string; hash: string; codebook_bytes: number } | { refused: string[] };

const json = (text: string): Record<string, unknown>[] => text.trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);
const near = (a: number, b: number, words: string): void => assert.ok(Math.abs(a - b) <= 1e-9 * Math.abs(b), `${words}: ${a}, not ${b}`);

test('effective bits, hashes and codebooks of every preset are counted as TypeScript counts them', async () => {
  const ran = await python('python3', 'bits.py');
  if (ran === undefined) return void process.stdout.write('skipped: python3 is not on PATH\n');
  const rows = json(ran) as unknown as BitsRow[];
  assert.equal([...new Set(rows.flatMap((row) => ('name' in row ? [row.name] : [])))].sort(), [...PRESETS.keys()].sort());
  for (const row of rows) {
    if ('refused' in row) {
      assert.match(row.refused[0]!, /no axis "windwo"; axes: /);
      assert.match(row.refused[1]!, /no preset is called "antkv-9"; presets: antkv-0.375, /);
      assert.match(row.refused[2]!, /no codec is called "8x8"/);
      continue;
    }
    const { name } = row;
    const recipe = presetOf(name);
    if ('hash' in row) {
      assert.is(row.hash, recipeHash(recipe), name);
      assert.is(row.codebook_bytes, codebookLayout(codecOf(recipe.k), 128).bytes + codebookLayout(codecOf(recipe.v), 128).bytes, name);
    } else {
      const { head_dim: d, tokens } = row;
      const coded = isCoded(recipe) ? Math.floor(tokens / 2) : 0;
      near(row.bits, effectiveBits(recipe, d, tokens), `${name} at ${tokens} tokens of d ${d}`);
      near(row.held, heldBits(recipe, d, { tokens, coded, anchors: isCoded(recipe) ? 7 : 0, kvHeads: 1 }), `${name}, held`);
    }
  }
});

test('a plan of codecs by layer is the best of all plans below its budget', async () => {
  const said = await python('python3', 'plans.py');
  if (said === undefined) return void process.stdout.write('skipped: python3 is not on PATH\n');
  assert.match(said, /best there are/);
});

const whenTorch = TORCH === undefined ? test.skip : test;
if (TORCH === undefined) process.stdout.write('skipped: no python3 here has torch\n');

whenTorch('a codebook file is one that gen reads: the same centroids, hash and frequencies', async () => {
  const path = join(temporaryFolder(), 'book.safetensors');
  const [want] = json((await python(TORCH!, 'book.py', path))!) as unknown as [{ hash: string; inv_freq: number[]; k: number[]; v: number[] }];
  const book = readCodebook(readFileSync(path), path);
  assert.is(book.headDim, 64);
  assert.is(book.layers.size, 2);
  const { k, v } = book.layers.get(1)!;
  assert.equal([k!.codec.name, v!.codec.name, k!.tensor.kvHeads], ['8c8b', '8c8bq8', 2]);
  assert.equal(Array.from(k!.tensor.values as Uint16Array, fromF16), want.k);
  // [kv_heads, chunks, entries, channels] steps times [kv_heads, chunks * channels] scales
  const scaled = Array.from(v!.tensor.values, (step, i) => Math.fround(step * v!.tensor.scale![Math.floor(i / (8 * 256)) * 8 + (i % 8)]!));
  assert.equal(scaled, want.v);
  assert.is(book.metadata.recipe_hash, want.hash);
  assert.equal(Array.from(book.rope!.invFreq), want.inv_freq.map(Math.fround));
  assert.equal([book.metadata.recipe!.key, book.metadata.calibration.weights], ['pre', 'exact']);
});

whenTorch('record.py dumps what attention saw, of separate and fused projections, with norms and without; gen reads it', async () => {
  const path = join(temporaryFolder(), 'dump.safetensors');
  const said = (await python(TORCH!, 'dump.py', path))!.split('\n');
  [/no layer 7; it has 0 to 1/, /no modules layers\.N\.self_attn/, /partial_rotary_factor 0\.5/, /only llama3/].forEach((want, i) => assert.match(said[i]!, want));
  const { layers, headDim, window, rope } = parseDump(parseHeader(readFileSync(path), path));
  assert.equal([layers.length, headDim, window, layers[1]!.tokens, layers[1]!.q!.shape[0], layers[1]!.kvHeads], [2, 64, 40, 120, 4, 2]);
  assert.ok(Math.abs(rope!.invFreq[1]! - 500000 ** (-2 / 64)) < 1e-6);
});

whenTorch('the forward pass, the simulated cache, scores and k-means are what loops over rows and keys say', async () => {
  const ran = await execa(TORCH!, ['-B', join(ROOT, 'test/harness/python/test_eval.py')], { env: { PYTHONPATH: [join(ROOT, 'harness/python'), join(ROOT, 'test/harness/python')].join(':') }, reject: false, timeout: 300_000 });
  assert.is(ran.exitCode, 0, ran.stderr);
  assert.match(ran.stderr, /Ran \d\d tests/);
});

test.run();
