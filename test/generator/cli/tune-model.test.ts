// Tests gen tune model: a table that says that nobody measured it, written once, checked, and refused where the model knows nothing.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseTable } from '../../../generator/table/read.ts';
import { temporaryFolder } from '../../folder.ts';
import { parallel } from '../../parallel.ts';
import { gen } from './run.ts';

const together = parallel(test);
const ONLY = ['--only', 'antkv_decode_d128_kf16_vf16_f16'];

together('it writes a table of the A100 whose every contract is modelled; again it is the same', async () => {
  const dir = temporaryFolder();
  const words = ['tune', 'model', '--arch', 'sm80', ...ONLY, '--out', dir];
  const first = await gen([...words, '--json']);
  assert.is(first.exitCode, 0, first.stderr);
  const { device, fit, tables } = JSON.parse(first.stdout) as { device: { name: string }; fit: { machine: string }; tables: { modelled: number; measured: number; changed: boolean }[] };
  assert.equal([device.name, fit.machine, tables.length, tables[0]!.modelled, tables[0]!.measured, tables[0]!.changed], ['NVIDIA A100-SXM4-80GB', 'H200', 1, 1, 0, true]);
  assert.match(first.stderr, /modelled for NVIDIA A100-SXM4-80GB, not measured: .*gen tune --arch sm80/);
  const path = join(dir, 'sm80/table.nvidia-a100-sxm4-80gb.json');
  const text = readFileSync(path, 'utf8');
  assert.equal(Object.values(parseTable(text, path).contracts).map(({ origin }) => origin), ['modelled']);
  const second = await gen([...words, '--check']);
  assert.equal([second.exitCode, readFileSync(path, 'utf8') === text], [0, true], second.stdout);
  assert.match(second.stdout, /unchanged/);
});

together('--check writes nothing and says what would change', async () => {
  const dir = temporaryFolder();
  const { exitCode, stdout } = await gen(['tune', 'model', '--arch', 'sm80', ...ONLY, '--out', dir, '--check']);
  assert.is(exitCode, 1);
  assert.match(stdout, /would change/);
  assert.throws(() => readFileSync(join(dir, 'sm80/table.nvidia-a100-sxm4-80gb.json')));
});

const refused = (words: readonly string[], why: RegExp, exitCode = 2): void =>
  together(`refused: ${words.join(' ')}`, async () => {
    const { exitCode: code, stderr } = await gen(['tune', 'model', '--out', temporaryFolder(), ...words]);
    assert.is(code, exitCode, stderr);
    assert.match(stderr, why);
    assert.match(stderr, /fix: /);
  });
refused(['--device', 'v100'], /no device is called "v100"/);
refused(['--arch', 'sm90'], /NVIDIA A100-SXM4-80GB runs no code of sm90/);
refused(['--only', 'antkv_select'], /the model knows decode/);
const broken = join(temporaryFolder(), 'device.json');
writeFileSync(broken, '{"cc": 80}');
refused(['--device', broken], /is not a device/);
const unknown = join(temporaryFolder(), 'unknown.json');
writeFileSync(unknown, JSON.stringify({ name: 'L40S', cc: 89, sms: 142, sharedPerBlock: 101376, l2Bytes: 100663296, busBits: 384, memoryMhz: 9001, memoryBytes: 48e9, powerW: 350 }));
refused(['--arch', 'sm80', '--device', unknown, ...ONLY], /no machine of compute capability 8\.9/, 3);

test.run();
