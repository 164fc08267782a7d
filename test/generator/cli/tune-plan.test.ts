// Tests generator/cli/tune-plan.ts and tune-options.ts: what is selected, what is printed, and what is refused.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import yargs, { type CommandModule } from 'yargs';
import { AntkvError, EXIT } from '../../../generator/errors.ts';
import { contractsToTune, parseBudget, tuningOf } from '../../../generator/cli/tune-options.ts';
import tunePlan from '../../../generator/cli/tune-plan.ts';
import { contractName } from '../../../generator/name.ts';
import { shippedContracts } from '../../../generator/ship.ts';
import { temporaryFolder } from '../../folder.ts';
import { fakeNvcc, WORKS } from '../../tuner/fake.ts';

/** Runs the command in this process; what it printed on stdout and stderr. */
async function plan(words: readonly string[]): Promise<{ out: string; talk: string }> {
  const said = { out: '', talk: '' };
  const [stdout, stderr] = [process.stdout.write, process.stderr.write];
  process.stdout.write = ((text: string) => ((said.out += text), true)) as typeof process.stdout.write;
  process.stderr.write = ((text: string) => ((said.talk += text), true)) as typeof process.stderr.write;
  try {
    await yargs(['plan', ...words])
      .option('json', { type: 'boolean', default: false }).option('quiet', { type: 'boolean', default: false }).option('verbose', { type: 'boolean', default: false })
      .command(tunePlan as unknown as CommandModule).strict().exitProcess(false)
      .fail((message, error) => {
        throw error ?? new Error(message);
      })
      .parseAsync();
  } finally {
    [process.stdout.write, process.stderr.write] = [stdout, stderr];
  }
  return said;
}

const refused = async (words: readonly string[], why: RegExp, exitCode: number = EXIT.usage): Promise<void> => {
  try {
    await plan(words);
  } catch (error) {
    assert.instance(error, AntkvError);
    assert.match((error as AntkvError).message, why);
    assert.is((error as AntkvError).exitCode, exitCode);
    assert.ok((error as AntkvError).fix, 'every error names its fix');
    return;
  }
  assert.unreachable(words.join(' '));
};

const saved = { CUDACXX: process.env['CUDACXX'], ANTKV_CACHE: process.env['ANTKV_CACHE'] };
test.before(() => {
  process.env['CUDACXX'] = join(fakeNvcc(WORKS), 'nvcc');
  process.env['ANTKV_CACHE'] = join(temporaryFolder(), 'cache');
});
test.after(() => {
  for (const [name, value] of Object.entries(saved)) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
});

test('the plan: steps, the sample, efforts and a budget, on stdout; talk on stderr', async () => {
  const { out, talk } = await plan(['--arch', 'sm90', '--only', 'antkv_select', '--budget', '1h', '--sample', 'all']);
  assert.match(out, /^Tuned for the default grid\. Kernels left after each step\n/);
  assert.match(out, /contract +arch +points +tiles +formula +compile +PTX +ptxas\nantkv_select +sm90 +6 +6 +6 +6 +6 +6\n/);
  assert.match(out, /antkv_select__sm90_w32 .* 40 +\d+ +0 +stays/);
  assert.match(out, /effort +kernels .*\nquick .*\nfull .*\nexhaustive /);
  assert.match(out, /--budget 1h: exhaustive fits/);
  assert.match(talk, /as on an H200/);
  assert.not.match(out, /~/, 'all was compiled: nothing is estimated');
});

test('a sample is told as one; none is told too', async () => {
  const words = ['--arch', 'sm90', '--only', 'antkv_score_d128_f16', '--jobs', '2'];
  assert.match((await plan([...words, '--sample', '3'])).out, /\(~: as the sample went\)[\s\S]*antkv_score_d128_f16 +sm90 +12 +90 +\d+ +~\d+ +~\d+ +~\d+/);
  const none = await plan([...words, '--sample', '0']);
  assert.match(none.out, /antkv_score_d128_f16 +sm90 +12 +90 +\d+ +- +- +-\n\neffort/);
  assert.match(none.talk, /assumed 2\.5 s per kernel/);
});

test('--json has all of it, refused tiles with -v too', async () => {
  const { out } = await plan(['--arch', 'sm80,sm90', '--only', 'antkv_select', '--sample', '2', '--json', '--verbose', '--budget', '5', '--devices', '4']);
  const facts = JSON.parse(out) as Record<string, any>;
  assert.equal([facts['tunedFor'], facts['devices'], facts['tasks'].length, facts['sample'].length], ['the default grid', 4, 2, 2]);
  assert.equal(facts['tasks'].map(({ arch, formula, exact }: { arch: string; formula: number; exact: boolean }) => [arch, formula, exact]), [['sm80', 6, false], ['sm90', 6, false]]);
  assert.equal(facts['estimates'].map(({ effort }: { effort: string }) => effort), ['quick', 'full', 'exhaustive']);
  assert.ok(facts['refused'].every(({ why }: { why: string }) => why.length > 0));
  assert.equal([facts['budget'].seconds, typeof facts['budget'].kernels], [5, 'number']);
});

test('without nvcc the formula and times are there all the same', async () => {
  const fake = process.env['CUDACXX']!;
  process.env['CUDACXX'] = '/nonexistent/nvcc';
  try {
    const { out, talk } = await plan(['--arch', 'sm90', '--only', 'antkv_select']);
    assert.match(talk, /nvcc was not found, nothing is compiled: install/);
    assert.match(out, /exhaustive +6/);
  } finally {
    process.env['CUDACXX'] = fake;
  }
});

test('a model and shapes decide what is tuned for', async () => {
  const dir = temporaryFolder();
  const model = join(dir, 'config.json');
  writeFileSync(model, JSON.stringify({ hidden_size: 2048, num_attention_heads: 32, num_key_value_heads: 8 }));
  const shapes = join(dir, 'shapes.jsonl');
  writeFileSync(shapes, '{"batch":3,"tokens":777}\n');
  assert.is((await tuningOf({ model })).tunedFor, 'model config.json');
  assert.is((await tuningOf({ shapes })).shapes!.length, 1);
  const { out } = await plan(['--model', model, '--arch', 'sm90', '--sample', '0', '--only', 'antkv_score_d64_f16,antkv_score_d128_f16']);
  assert.match(out, /^Tuned for model config\.json/);
  assert.not.match(out, /d128/, 'its head dim is 64');
  await refused(['--model', model, '--only', 'antkv_score_d128_f16'], /nothing to tune for model config\.json/);
  await refused(['--model', model, '--shapes', shapes], /contradict/);
  await refused(['--model', join(dir, 'none')], /cannot read the model .* \(ENOENT\)/);
  await refused(['--shapes', model], /line 1/);
});

test('what is selected: shipped contracts, recipes, globs, the contract of a kernel', () => {
  const names = (options: Partial<Parameters<typeof contractsToTune>[0]>): string[] => contractsToTune({ arch: 'sm90', ...options }).map(contractName);
  assert.equal(names({}), [...shippedContracts().keys()]);
  assert.ok(names({ preset: ['antkv-1'] }).every((name) => /d128|select/.test(name)) && names({ preset: ['antkv-1'], headDim: [64] }).some((name) => /d64/.test(name)));
  assert.equal(names({ only: 'antkv_select__sm80_w4' }), ['antkv_select']);
  assert.ok(names({ only: 'antkv_score_*' }).length > names({ only: 'antkv_score_d64*' }).length);
  assert.equal(names({ only: 'antkv_decode_*' }).sort(), names({}).filter((name) => name.startsWith('antkv_decode_')).sort());
  assert.ok(names({ only: 'antkv_decode_d256_*' }).length > 10); // no shipped one: of all that are offered
  assert.equal(names({ only: 'antkv_select,antkv_score_d64_f16' }).sort(), ['antkv_score_d64_f16', 'antkv_select']);
});

test('what is wrong is refused before any work', async () => {
  await refused(['--only', 'antkv_selekt'], /no contract matches/);
  await refused(['--only', 'antkv_select__sm80_t4'], /warps is written w<number>/);
  await refused(['--only', 'antkv_combine_*'], /nothing to tune/);
  await refused(['--arch', 'sm70'], /unknown architecture "sm70"/);
  await refused(['--budget', 'soon'], /--budget takes a time/);
  await refused(['--sample', 'some'], /--sample takes a whole number or all/);
  await refused(['--jobs', '0'], /--jobs takes a whole number from 1/);
  await refused(['--devices', '1.5'], /--devices takes/);
});

test('times as people write and read them', () => {
  assert.equal(['90', '90s', '20m', '1.5h'].map(parseBudget), [90, 90, 1200, 5400]);
  for (const text of ['', '0', '-5m', '5d', '1h30m']) assert.throws(() => parseBudget(text), /--budget takes a time/);
});

test.run();
