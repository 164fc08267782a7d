// Tests tuner/simulate.ts: decode loops on the fixture by emulated kernels, and that their records add up.
import { execaSync } from 'execa';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { presetOf } from '../../generator/presets.ts';
import { setAxis } from '../../generator/recipe.ts';
import { simulate, simulateRecordSchema, type SimulateOptions } from '../../tuner/simulate.ts';
import { fixture } from '../fixtures/paths.ts';

const compiler = process.env['CXX'] ?? 'g++';
const compiles = execaSync(compiler, ['--version'], { reject: false }).exitCode === 0;
if (!compiles) console.log(`# no cache lives: no ${compiler}`);
const it = compiles ? test : test.skip;

const small = ['window=32', 'flush_block=64', 'budget_permille=50'].reduce(setAxis, presetOf('antkv-1'));
const options: SimulateOptions = {
  variant: { name: 'antkv-1', recipe: small }, evaluation: fixture('kv-eval-small'), calibration: fixture('kv-calib-small'), steps: 160, prompt: 200, batch: 2, seed: 1, every: 40, device: 'emulated',
};

it('a loop whose records add up, with anchors found and handed back', async () => {
  const steps: string[] = [];
  const { records, life, emulated } = await simulate({ ...options, onProgress: (done, total) => steps.push(`${done}/${total}`) });
  assert.equal(life.faults, []);
  assert.ok(emulated);
  assert.is(steps.at(-1), `${steps.length}/${steps.length}`, 'progress ends at its total');
  assert.equal(records.map(({ step }) => step), [40, 80, 120, 160]);
  for (const record of records) {
    assert.equal(simulateRecordSchema.parse(record), record);
    const { coded, tokens, anchors, anchors_found, anchors_handed_back } = record;
    assert.is(tokens, 2 * (200 + record.step - 2), 'the first step writes the tail of the prompt, the last rows are not committed yet');
    assert.is(coded % 64, 0);
    assert.is(anchors, anchors_found - anchors_handed_back, 'no sequence has ended yet');
    assert.is(anchors, 2 * Math.floor((coded / 2) * 0.05), 'as many as the budget has');
    assert.ok(record.error! > 0.005 && record.error! < 0.5 && record.cosine! > 0.9, JSON.stringify(record));
    const exact = tokens - coded;
    const bits = (8 * (coded * (16 + 16 + 2 + 1 / 8) + anchors * (512 + 4) + exact * 512)) / (2 * 128 * tokens);
    assert.ok(Math.abs(record.effective_bits - bits) < 1e-9, `${record.effective_bits} ${bits}`);
  }
  assert.ok(records.at(-1)!.anchors_handed_back > 0);
});

it('eight tokens a step, OTT: the smallest keys stay, none is handed back', async () => {
  const recipe = ['policy=key-magnitude', 'budget_permille=0', 'budget_tokens=3', 'extra_tokens=4'].reduce(setAxis, small);
  const { records, life } = await simulate({ ...options, variant: { name: 'OTT', recipe }, batch: 1, steps: 48, tokensPerStep: 8, every: 12 });
  assert.equal(life.faults, []);
  assert.equal(records.map(({ tokens }) => tokens), [1, 2, 3, 4].map((i) => 200 + 8 * (12 * i - 2)));
  assert.ok(records.every(({ anchors, anchors_handed_back }, i) => anchors_handed_back === 0 && anchors >= (records[i - 1]?.anchors ?? 3) && anchors <= 7), JSON.stringify(records.map(({ anchors }) => anchors)));
});

it('results do not depend on the seed of pages and slots', async () => {
  const few = { ...options, steps: 40 };
  const [one, other] = [await simulate(few), await simulate({ ...few, seed: 2 })];
  assert.equal(one.records.map(({ seed: _, ...rest }) => rest), other.records.map(({ seed: _, ...rest }) => rest));
});

it('exact rows give exact attention, at 16 bits', async () => {
  const { records, life } = await simulate({ ...options, variant: { name: 'f16', recipe: presetOf('f16') }, steps: 20, every: 20 });
  assert.equal(life.faults, []);
  assert.ok(records[0]!.error! < 1e-3);
  assert.is(records[0]!.effective_bits, 16);
});

test.run();
