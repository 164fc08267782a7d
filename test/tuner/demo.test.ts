// Tests tuner/demo.ts: the pipeline on a corner of the fixture, and what counts as disagreement.
import { execaSync } from 'execa';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EXIT, type AntkvError } from '../../generator/errors.ts';
import { presetOf } from '../../generator/presets.ts';
import { demo, faultsOf, mustAgree, TOLERANCE } from '../../tuner/demo.ts';
import type { AttendRecord } from '../../tuner/attend-schema.ts';
import { fixture } from '../fixtures/paths.ts';

const good: AttendRecord['agreement'] = { score_rel_l2: 1e-6, kept_equal: true, codes_equal: 1, decode_rel_l2: 1e-3, decode_lse_err: 1e-4, decode_anchors_rel_l2: 1e-3, decode_anchors_lse_err: 1e-4 };
const BAD: [what: string, change: Partial<AttendRecord['agreement']>, message: RegExp][] = [
  ['scores', { score_rel_l2: 2 * TOLERANCE.score }, /^score differs/],
  ['scores that are NaN', { score_rel_l2: null }, /^score differs/],
  ['outputs', { decode_rel_l2: 2 * TOLERANCE.output }, /^decode differs/],
  ['outputs with anchors', { decode_anchors_rel_l2: NaN }, /^decode with anchors differs/],
  ['the LSE', { decode_lse_err: 1 }, /^LSE differs/],
  ['the tokens kept', { kept_equal: false }, /^select kept other tokens/],
  ['codes', { codes_equal: 0.99 }, /^encode: only 0\.99/],
];
test('agreement within tolerance is no fault; a recipe without anchors has fewer figures', () => {
  assert.equal(faultsOf({ faults: [], agreement: good }), []);
  assert.equal(faultsOf({ faults: [], agreement: { codes_equal: 1, decode_rel_l2: 0, decode_lse_err: 0 } }), []);
  mustAgree([{ recipe: 'a', window: 0, faults: [] }]);
});
for (const [what, change, message] of BAD) {
  test(`${what} beyond tolerance are a fault, and the exit code is 5`, () => {
    const faults = faultsOf({ faults: [], agreement: { ...good, ...change } });
    assert.is(faults.length, 1);
    assert.match(faults[0]!, message);
    assert.throws(() => mustAgree([{ recipe: 'a', window: 0, faults }]), (error: AntkvError) => error.exitCode === EXIT.wrong);
  });
}
test('what the runner found is a fault', () => assert.equal(faultsOf({ faults: ['decode wrote NaN'], agreement: good }), ['decode wrote NaN']));

const compiler = process.env['CXX'] ?? 'g++';
const compiles = execaSync(compiler, ['--version'], { reject: false }).exitCode === 0;
if (!compiles) console.log(`# the demo is not run: no ${compiler}`);
(compiles ? test : test.skip)('calibrates, scores, selects, encodes and decodes with emulated kernels that agree with the reference', async () => {
  const steps: string[] = [];
  const { rows, emulated, tokens } = await demo({
    variants: [{ name: 'antkv-1', recipe: presetOf('antkv-1') }],
    evaluation: fixture('kv-eval-small'),
    calibration: fixture('kv-calib-small'),
    queries: 8,
    device: 'emulated',
    onProgress: (done, total, what) => steps.push(`${done}/${total} ${what}`),
  });
  assert.is(emulated, true);
  assert.equal(rows.map(({ window }) => window), [0, 128]);
  for (const { faults, anchors, undertrained, error, errorWithAnchors, effectiveBits } of rows) {
    assert.equal(faults, []);
    assert.is(anchors, Math.floor(tokens / 100));
    assert.not(undertrained);
    assert.ok(error > 0.01 && error < 0.9 && errorWithAnchors! < error, `${error} ${errorWithAnchors}`);
    assert.ok(effectiveBits > 1 && effectiveBits < 1.4);
  }
  assert.is(steps.length, Number(steps[0]!.split('/')[1]!.split(' ')[0]), 'progress ends at its total');
});

const REFUSED: [what: string, evaluation: string, calibration: string, message: RegExp][] = [
  ['an evaluation dump without queries', 'kv-calib-small', 'kv-calib-small', /has no queries/],
];
for (const [what, evaluation, calibration, message] of REFUSED) {
  test(`refuses ${what}`, async () => {
    const options = { variants: [], evaluation: fixture(evaluation as 'kv-eval-small'), calibration: fixture(calibration as 'kv-calib-small'), queries: 8, device: 'emulated' as const };
    const error = await demo(options).then(() => undefined, (e: AntkvError) => e);
    assert.match(error?.message ?? '', message);
    assert.ok(error?.fix);
  });
}

test.run();
