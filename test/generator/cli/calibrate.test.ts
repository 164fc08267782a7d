// Tests generator/cli/calibrate.ts: the command as a user runs it, on a tiny dump.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readCodebook } from '../../../generator/codebook.ts';
import { fromF16, toF16, toF16Array } from '../../../generator/f16.ts';
import { centroidsOf } from '../../../generator/pack.ts';
import { writeSafetensors } from '../../../generator/safetensors.ts';
import { cacheDir } from '../../../tuner/cache.ts';
import { temporaryFolder } from '../../folder.ts';
import { parallel } from '../../parallel.ts';
import { gen } from './run.ts';

const D = 64;
const TOKENS = 280;
const folder = temporaryFolder();
const at = (name: string): string => join(folder, name);
const rows = (tokens: number, wave: number): Uint16Array => toF16Array(Float64Array.from({ length: tokens * D }, (_, i) => Math.sin(i * wave) * (1 + (i % 7))));
const tensor = (name: string, data: Uint16Array) => ({ name, dtype: 'F16' as const, shape: [1, data.length / D, D], data: new Uint8Array(data.buffer) });
const dump = writeSafetensors([tensor('k_pre_rope', rows(TOKENS, 0.37)), tensor('v', rows(TOKENS, 0.71))], { layer: '5', rope_theta: '10000' });
writeFileSync(at('dump.safetensors'), dump);
writeFileSync(at('half.safetensors'), dump.subarray(0, dump.length / 2));
const broken = rows(TOKENS, 0.37);
broken[D + 3] = 0x7c00;
writeFileSync(at('nan.safetensors'), writeSafetensors([tensor('k_pre_rope', broken), tensor('v', rows(TOKENS, 0.71))]));

const it = parallel(test);

it('writes a codebook that reads back, says what it made, and warns that it is undertrained', async () => {
  const { exitCode, stdout, stderr } = await gen(['calibrate', at('dump.safetensors'), '--preset', 'antkv-1', '--out', at('a.safetensors'), '--threads', '2']);
  assert.is(exitCode, 0, stderr);
  const book = readCodebook(readFileSync(at('a.safetensors')), 'a');
  assert.equal([...book.layers.keys()], [5]);
  assert.equal([book.layers.get(5)?.k?.codec.name, book.layers.get(5)?.v?.codec.name], ['8c8b', '8c8bq8']);
  assert.match(stdout, /layer +side +head +mean %/);
  assert.match(stderr, /undertrained: layers\.5\.k has 1\.1 vectors per entry/);
  assert.is(book.metadata.calibration.tensors['layers.5.v']?.undertrained, true);
});

it('one thread and two give the same bytes, and --json one object per line', async () => {
  const words = ['calibrate', at('dump.safetensors'), '--iterations', '4', '--json'];
  const [one, two] = await Promise.all([gen([...words, '--out', at('one.safetensors'), '--threads', '1']), gen([...words, '--out', at('two.safetensors'), '--threads', '2'])]);
  assert.equal([one.exitCode, two.exitCode], [0, 0]);
  assert.equal(readFileSync(at('one.safetensors')), readFileSync(at('two.safetensors')));
  const lines = one.stdout.trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.is(lines.filter(({ event }) => event === 'chunk').length, 2 * (D / 8));
  assert.is(lines.at(-1)?.['event'], 'codebook');
});

it('int8 codebooks are the f16 ones rounded by at most half a step', async () => {
  const run = (v: string) => gen(['calibrate', at('dump.safetensors'), '--set', `v=${v}`, '--out', at(`${v}.safetensors`), '--seed', '9']);
  assert.equal((await Promise.all([run('8c8b'), run('8c8bq8')])).map(({ exitCode }) => exitCode), [0, 0]);
  const [exact, rounded] = ['8c8b', '8c8bq8'].map((name) => readCodebook(readFileSync(at(`${name}.safetensors`)), name).layers.get(5)!.v!);
  const [c, r] = [centroidsOf(exact!.codec, D, exact!.tensor), centroidsOf(rounded!.codec, D, rounded!.tensor)];
  const scale = rounded!.tensor.scale!;
  for (let i = 0; i < c.length; i++) {
    const step = scale[Math.floor(i / (256 * 8)) * 8 + (i % 8)]!;
    const half = fromF16(toF16(c[i]!));
    // Both are roundings of one centroid: half a step, and half a unit of the f16 one.
    assert.ok(Math.abs(half - r[i]!) <= step * 0.501 + Math.abs(half) * 2 ** -11, `${i}: ${half} ${r[i]}`);
  }
});

// What else a dump or a path can have wrong is tested in process: test/tuner/calibrate.
const REFUSED: [what: string, words: string[], exitCode: number, message: RegExp][] = [
  ['no dump', ['--out', at('x')], 2, /takes one dump, not 0/],
  ['two dumps', [at('dump.safetensors'), at('dump.safetensors'), '--out', at('x')], 2, /takes one dump, not 2/],
  ['a truncated dump', [at('half.safetensors'), '--out', at('x')], 2, /truncated data/],
  ['infinity in the keys', [at('nan.safetensors'), '--out', at('x')], 2, /"k_pre_rope" holds NaN or infinity, first at \[0, 1, 3\]/],
  ['an output that cannot be written', [at('dump.safetensors'), '--out', at('no/x')], 3, /cannot write .*ENOENT/],
  ['an output over its dump', [at('dump.safetensors'), '--out', at('dump.safetensors')], 2, /would overwrite .*dump\.safetensors, which is read/],
  ['two presets', [at('dump.safetensors'), '--out', at('x'), '--preset', 'antkv-1', '--preset', 'antkv-2'], 2, /one recipe, not 2/],
  ['weights of a form that is none', [at('dump.safetensors'), '--out', at('x'), '--weights', 'exakt'], 2, /--weights takes none, column, exact or a file that is there, not "exakt"/],
  ['weights that are no weights', [at('dump.safetensors'), '--out', at('x'), '--weights', at('dump.safetensors')], 2, /no weights for the keys of layer 5/],
  ['a seed that is no number', [at('dump.safetensors'), '--out', at('x'), '--seed', 'x'], 2, /--seed takes a whole number/],
];
for (const [what, words, exitCode, message] of REFUSED) {
  it(`refuses ${what} with exit code ${exitCode} and a fix`, async () => {
    const answer = await gen(['calibrate', ...words]);
    assert.match(answer.stderr, message);
    assert.match(answer.stderr, /fix: \S/);
    assert.is(answer.exitCode, exitCode, answer.stderr);
    assert.is(answer.stdout, '');
  });
}

// In the cache of the other suites: they build the emulated driver and the runner too, a minute's work.
it('clusters on the emulated driver, and says who did; a restart is in the record', async () => {
  const args = ['calibrate', at('dump.safetensors'), '--preset', 'antkv-1', '--set', 'transform=none', '--iterations', '1', '--tokens', '60', '--restarts', '2'];
  const [device, cores] = await Promise.all([gen([...args, '--out', at('e.safetensors'), '--device', 'emulated'], { ANTKV_CACHE: cacheDir() }), gen([...args, '--out', at('f.safetensors')])]);
  assert.is(device.exitCode, 0, device.stderr);
  assert.match(device.stderr, /clustered by antkv emulator/);
  assert.match(cores.stderr, /clustered by cpu/);
  const [mine, theirs] = ['e', 'f'].map((name) => readCodebook(readFileSync(at(`${name}.safetensors`)), name));
  assert.is(mine!.metadata.calibration.restarts, 2);
  assert.equal(mine!.layers, theirs!.layers, 'with as many entries as tokens nothing ties');
});

it('a codebook for all chunks of a head, weights from a file and rounds of least squares are in the record, and told', async () => {
  writeFileSync(at('weights.safetensors'), writeSafetensors([{ name: 'weights', dtype: 'F32', shape: [1, TOKENS], data: new Uint8Array(Float32Array.from({ length: TOKENS }, (_, i) => 1 + (i % 3)).buffer) }]));
  const args = ['--set', 'scope=head', '--weights', at('weights.safetensors'), '--power', '0.5', '--refine', '2', '--iterations', '2', '--threads', '1'];
  const { exitCode, stdout, stderr } = await gen(['calibrate', at('dump.safetensors'), ...args, '--out', at('h.safetensors')]);
  assert.is(exitCode, 0, stderr);
  const { recipe, calibration } = readCodebook(readFileSync(at('h.safetensors')), 'h').metadata;
  assert.is(recipe!['scope'], 'head');
  assert.equal([calibration.weights, calibration.power, calibration.refine], ['file', 0.5, 2]);
  const { vectors, refined } = calibration.tensors['layers.5.k']!;
  assert.is(vectors, TOKENS * (D / 8));
  assert.ok(refined!.after <= refined!.before && refined!.rounds <= 2);
  assert.match(stderr, /layers\.5\.k: \d rounds? of least squares with gains, error [\d.]+ to [\d.]+ %/);
  assert.match(stderr, /weights file, \d+ bytes per layer and KV head when packed \(once for each chunk, though a head shares one\)/);
  assert.match(stdout, /^ *5 +k +0 +[\d.]+ +[\d.]+$/m);
});

it('refuses a device that is none', async () => {
  const { exitCode, stderr } = await gen(['calibrate', at('dump.safetensors'), '--preset', 'antkv-1', '--out', at('g.safetensors'), '--device', 'fast']);
  assert.is(exitCode, 2);
  assert.match(stderr, /--device takes cpu, auto, emulated or a number, not "fast"/);
});

test('nothing half-written stays behind', () => {
  assert.not(existsSync(at('x')));
  assert.equal(readdirSync(folder).filter((name) => name.includes('.tmp')), []);
});

test.run();
