// Tests generator/gen.mjs and generator/cli/main.ts: exit codes, words, and that mistakes write nothing.
import { execa } from 'execa';
import { cpSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ROOT } from '../../../generator/cli/select.ts';
import { COMMANDS } from '../../../generator/cli/commands.ts';
import { temporaryFolder } from '../../folder.ts';
import { parallel } from '../../parallel.ts';
import { gen, startGen } from './run.ts';

const together = parallel(test);

const MISTAKES: [words: string[], what: RegExp, fix: RegExp][] = [
  [['lst'], /unknown command "lst"/, /did you mean list\?/],
  [['docter'], /unknown command "docter"/, /doctor/],
  [['generate', '--out', 'OUT'], /unknown command "generate"/, /known: list, show/],
  [['--out', 'OUT', 'list2'], /unknown command "list2"/, /list/],
  [['--ach', 'sm80', '--out', 'OUT'], /Unknown argument: ach/, /did you mean --arch/],
  [['list', '--wy'], /Unknown argument: wy/, /did you mean --why/],
  [['tune', '--efort', 'quick'], /Unknown argument: efort/, /did you mean --effort/],
  [['--only', 'antkv_unpack_*', '--only', 'antkv_encode_*', '--out', 'OUT'], /--only is given 2 times/, /give it once/],
  [['--check=nonsense', '--out', 'OUT'], /--check takes true or false, not "nonsense"/, /--check alone is true/],
  [['--dryRun=1', '--out', 'OUT'], /--dry-run takes true or false, not "1"/, /alone is true/],
  [['-q=1', '--out', 'OUT'], /--q takes true or false, not "1"/, /alone is true/],
  [['--no-only', '--out', 'OUT'], /--only takes a value: there is no --no-only/, /leave --only out/],
  [['--only.x=antkv_select', '--out', 'OUT'], /Unknown argument: only\.x/, /gen --help|--only/],
  [['--jobs', '2', '--jobs', '3', '--out', 'OUT'], /--jobs is given 2 times/, /give it once/],
  [['verify', '--seed', ''], /--seed takes a number, and has none/, /leave --seed out/],
  [['pack', '--measure', '--out', ''], /--out is empty/, /name a folder/],
  [['--set', 'window=4', '--set', 'window=8', '--out', 'OUT'], /--set window is given twice/, /give one value/],
  [['tune', '--work', 'OUT', '--dry-run'], /--work is for jobs of a scheduler/, /add --scheduler slurm/],
  [['tune', '--only', 'antkv_decode_*,antkv_decod_*', '--dry-run'], /--only antkv_decod_\*: no contract matches/, /\w/],
  [['tune', '--scheduler', 'slurm', '--work', 'OUT/w', '--journal', 'OUT/j'], /jobs of a scheduler know no --journal/, /leave --journal out/],
  [['--timeout', 'Infinity', '--out', 'OUT'], /--timeout takes seconds, at most a day/, /leave --timeout out/],
  [['verify', '--only', 'antkv_select', '--shape', '{"rows":3}', '--quick'], /--shape is one shape: --quick chooses/, /leave one out/],
  [['verify', '--sample', '1e15'], /--sample takes a number of draws, 1 to 100000/, /--sample 20/],
  [['tune', '--out', ''], /--out is empty/, /name a folder/],
  [['demo', '--threads', '100000'], /--threads takes at most \d+ here, not 100000/, /leave --threads out/],
  [['calibrate', 'test/fixtures/kv-calib-small.safetensors', '--dtype', 'bf16', '--out', 'OUT/x'], /--dtype bf16 has no meaning here/, /leave it out/],
  [['support', '--check', '--records', 'BOGUS'], /a record names the architecture "sm1", which is none/, /gen verify --json/],
  [['list', '--zzzzzzzz'], /Unknown argument: zzzzzzzz/, /gen --help/],
  [['list', 'more'], /Unknown (argument|command): more/, /gen --help/],
  [['demo', 'more'], /Unknown (argument|command): more/, /gen --help/],
  [['calibrate', 'a', 'b', '--out', 'OUT'], /takes one dump, not 2/, /DUMP/],
  [['show'], /Not enough non-option arguments/, /gen --help/],
  [['--arch', 'sm81', '--out', 'OUT'], /unknown architecture "sm81"/, /sm80/],
  [['--arch', '', '--out', 'OUT'], /empty architecture|Not enough arguments/, /sm80|gen --help/],
  [['--preset', 'antkv1', '--out', 'OUT'], /unknown preset "antkv1"/, /antkv-1/],
  [['--preset', 'antkv-0.75', '--set', 'gain=kv', '--out', 'OUT'], /gain kv: not built yet/, /gen list --why/],
  [['--preset', 'antkv-0.375', '--head-dim', '96', '--out', 'OUT'], /3 codes of 12 bits do not fill whole bytes/, /gen list --why/],
  [['--preset', 'antkv-1', '--dtype', 'fp8', '--out', 'OUT'], /unknown dtype "fp8"/, /f16/],
  [['--set', 'widow=4', '--out', 'OUT'], /no axis "widow"/, /window/],
  [['--recipe', '/nonexistent.json', '--out', 'OUT'], /cannot read the recipe .*ENOENT/, /path of a JSON file/],
  [['--only', 'antkv_decod_*', '--out', 'OUT'], /no kernel matches/, /did you mean|gen list/],
  [['--arch', 'sm89'], /is not one of the committed kernels/, /--out DIR/],
  [['--set', 'k=4c8b'], /is not one of the committed kernels/, /--out DIR/],
  [['show', 'antkv_decod'], /not a contract's name/, /antkv_decode/],
  [['show', 'antkv_decode_d256_k8c8b_v8c8b_f16_gainv'], /gain v: not built yet/, /gen list/],
  [['support', '--check', '--records', 'generated/antkv.h'], /no records in/, /gen verify --json/],
  [['advise', '--context', '32K'], /Missing required arguments: model, memory/, /gen --help/],
  [['advise', '--model', '/nonexistent.json', '--context', '32K', '--memory', '80GB'], /cannot read \/nonexistent\.json \(ENOENT\)/, /config\.json/],
  [['advise', '--model', 'package.json', '--context', '32X', '--memory', '80GB'], /--context takes tokens, .* not "32X"/, /128K/],
  [['advise', '--model', 'package.json', '--context', '32K', '--memory', '80'], /--memory takes bytes, .* not "80"/, /80GB/],
];

const bogus = join(temporaryFolder(), 'bogus.jsonl');
writeFileSync(bogus, '{"kind":"verify","ok":true,"arch":"sm1","contract":"antkv_select","device":"x"}\n');

together('every mistake is a usage error with a fix, and writes nothing', async () => {
  const before = readdirSync(join(ROOT, 'generated'), { recursive: true }).length;
  const queue = [...MISTAKES];
  const worker = async (): Promise<void> => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      const [words, what, fix] = next;
      const out = temporaryFolder();
      const { exitCode, stdout, stderr } = await gen(words.map((word) => (word === 'BOGUS' ? bogus : word.replace(/^OUT/, out))));
      assert.is(exitCode, 2, `${words.join(' ')}: ${stderr}`);
      assert.match(stderr, what);
      assert.match(stderr.split('fix:')[1] ?? '', fix, words.join(' '));
      assert.is(stdout, '', words.join(' '));
      assert.equal(readdirSync(out), [], words.join(' '));
    }
  };
  await Promise.all([worker(), worker()]);
  assert.is(readdirSync(join(ROOT, 'generated'), { recursive: true }).length, before);
});

together('--help names every command', async () => {
  const { exitCode, stdout } = await gen(['--help']);
  assert.is(exitCode, 0);
  for (const name of COMMANDS) assert.match(stdout, new RegExp(`^ +gen ${name}\\b`, 'm'));
});

together('an error is one JSON object with --json', async () => {
  const { exitCode, stdout } = await gen(['--json', '--preset', 'antkv1']);
  assert.equal(JSON.parse(stdout), { error: 'unknown preset "antkv1"', fix: 'did you mean antkv-1 or antkv-4 or antkv-2?', exitCode: 2 });
  assert.is(exitCode, 2);
});

together('gen support answers in JSON, and tables that cannot be written are said before the sweep', async () => {
  const [support, tune] = await Promise.all([gen(['support', '--check', '--json']), gen(['tune', '--device', 'emulated', '--only', 'antkv_select', '--journal', join(temporaryFolder(), 'j'), '--out', '/dev/null/x'])]);
  assert.is((JSON.parse(support.stdout) as { clean: boolean }).clean, support.exitCode === 0);
  assert.equal([tune.exitCode, /cannot write \/dev\/null\/x \(ENOTDIR\)/.test(tune.stderr)], [3, true], tune.stderr);
});

together('a broken config file is an input error', async () => {
  const cwd = temporaryFolder();
  writeFileSync(join(cwd, 'antkv.config.json'), '{ "archh": "sm80" }');
  const { exitCode, stderr } = await gen(['--dry-run', '--out', join(cwd, 'out')], {}, { cwd });
  assert.is(exitCode, 2);
  assert.match(stderr, /antkv\.config\.json:[\s\S]*archh[\s\S]*fix: members: .*arch/);
});

together('flags win over the config file, and --print-config shows what holds', async () => {
  const cwd = temporaryFolder();
  writeFileSync(join(cwd, 'antkv.config.json'), '{ "arch": "sm90", "out": "there", "compile": false, "set": ["window=64"] }');
  const { exitCode, stdout } = await gen(['--print-config', '--arch', 'sm86'], {}, { cwd });
  assert.is(exitCode, 0);
  const { arch, out, compile, set } = JSON.parse(stdout) as Record<string, unknown>;
  assert.equal({ arch, out, compile, set }, { arch: 'sm86', out: 'there', compile: false, set: ['window=64'] });
  assert.equal(readdirSync(cwd), ['antkv.config.json']);
});

together('without node_modules there is one clear line', async () => {
  const dir = temporaryFolder();
  cpSync(join(ROOT, 'generator/gen.mjs'), join(dir, 'gen.mjs'));
  const { exitCode, stderr } = await execa(process.execPath, [join(dir, 'gen.mjs')], { reject: false });
  assert.is(exitCode, 3);
  assert.is(stderr, 'gen: tsx is not installed\n  fix: run "npm ci" in the folder of package.json');
});

together('an old Node gets one clear line', async () => {
  const pretend = "data:text/javascript,Object.defineProperty(process,'versions',{value:{...process.versions,node:'18.19.1'}})";
  const { exitCode, stderr } = await execa(process.execPath, ['--import', pretend, join(ROOT, 'generator/gen.mjs')], { reject: false });
  assert.is(exitCode, 3);
  assert.is(stderr, 'gen: Node 18.19.1 is too old\n  fix: install Node 20.19 or newer');
});

together('talk into a closed pipe ends nothing', async () => {
  const refused = startGen(['--json', '--preset', 'antkv1']);
  refused.stderr!.destroy();
  const { exitCode, stdout } = await refused;
  assert.equal([exitCode, (JSON.parse(String(stdout)) as { exitCode: number }).exitCode], [2, 2]);
});

together('output into a closed pipe is no error', async () => {
  const { exitCode } = await execa('sh', ['-c', `"${process.execPath}" "${join(ROOT, 'generator/gen.mjs')}" list --json | head -1 > /dev/null`], { reject: false });
  assert.is(exitCode, 0);
});

test.run();
