// Tests gen advise: what it reads and prints.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseBytes, parseTokens } from '../../../generator/cli/advise.ts';
import { temporaryFolder } from '../../folder.ts';
import { parallel } from '../../parallel.ts';
import { accuracy } from '../../tuner/accuracy/given.ts';
import { presetOf } from '../../../generator/presets.ts';
import { gen } from './run.ts';

const cli = suite('gen advise');
const test = parallel(cli);
const dir = temporaryFolder();
const file = (name: string, json: object): string => {
  writeFileSync(join(dir, name), JSON.stringify(json));
  return join(dir, name);
};
const MODEL = { num_attention_heads: 32, num_key_value_heads: 8, hidden_size: 4096, num_hidden_layers: 32 };
const model = file('config.json', MODEL);
const records = file('ppl.jsonl', accuracy({ name: 'measured', rule: 'flush', perplexity: 4.119, recipe: { ...presetOf('antkv-1') } }));
const ask = (...words: string[]) => gen(['advise', '--model', model, '--context', '32K', '--memory', '80GB', ...words]);

test('a table of what fits, the advice, and why not the others', async () => {
  const { exitCode, stdout, stderr } = await ask('--records', records, '--device', 'NVIDIA H200', '--batch', '16', '--task', 'reasoning');
  assert.is(exitCode, 0, stderr);
  assert.match(stdout, /^32 layers, 32 query and 8 KV heads, head dim 128; 16 x 32768 tokens in 80 GB; NVIDIA H200/);
  assert.match(stdout, /\+20\.0 % +not measured/); // 4.119 over 3.4325
  assert.match(stdout, /^> antkv-2 .*measured/m);
  assert.match(stdout, /^not antkv-1: 1 bits per key channel, reasoning asks for 2$/m);
});

test('JSON has all of it', async () => {
  const { exitCode, stdout } = await ask('--json', '--records', records, '-q');
  assert.is(exitCode, 0);
  const { context, best, rows, refused } = JSON.parse(stdout) as { context: number; best: { name: string }; rows: { name: string; memory: { sequence: number } }[]; refused: unknown[] };
  assert.equal([context, rows.length + refused.length, best.name], [32768, 10, 'antkv-1']);
  assert.ok(rows.every(({ memory }) => memory.sequence > 0));
});

test('a config without what is needed is refused with what is missing', async () => {
  const { num_hidden_layers: _, ...noLayers } = MODEL;
  const faulty = [file('no-layers.json', noLayers), file('no-heads.json', { hidden_size: 4096, num_hidden_layers: 2 }), file('wide.json', { ...MODEL, head_dim: 100 })];
  const runs = await Promise.all(faulty.map((path) => gen(['advise', '--model', path, '--context', '32K', '--memory', '80GB'])));
  assert.equal(runs.map(({ exitCode }) => exitCode), [2, 2, 2]);
  assert.match(runs[0]!.stderr, /no-layers\.json has no num_hidden_layers\s+fix: .*whole model/);
  assert.match(runs[1]!.stderr, /num_attention_heads/);
  assert.match(runs[2]!.stderr, /head dim 100/);
});

test('tokens and bytes as users write them', async () => {
  assert.equal(['1', '4096', '128K', '2m'].map(parseTokens), [1, 4096, 131072, 2097152]);
  assert.equal(['80GB', '1.5 GiB', '512MB'].map(parseBytes), [80e9, 1.5 * 2 ** 30, 512e6]);
  for (const text of ['0', '-1', '1.5K', '9M', '']) assert.throws(() => parseTokens(text), /--context/, text);
  for (const text of ['80', '0GB', 'GB', '8 gb']) assert.throws(() => parseBytes(text), /--memory/, text);
});

cli.run();
