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

/** Relative L2 errors of attention on the fixture without a window and with the recipe's, each without and with anchors, by the kernels; a fiftieth above what was measured. */
const MOST: Readonly<Record<string, readonly (readonly [coded: number, anchors: number])[]>> = {
  'antkv-1': [[0.5, 0.387], [0.099, 0.0465]], // 0.4900, 0.3795; 0.0971, 0.0456
  'antkv-0.5': [[0.723, 0.595], [0.1167, 0.0652]], // 0.7091, 0.5831; 0.1144, 0.0639
};

(compiles ? test : test.skip)('the pipeline on real keys and values: kernels as their references, errors as measured, which codecs, calibration, anchors and kernels all have a part in', async () => {
  const steps: string[] = [];
  const { rows, emulated, tokens } = await demo({
    variants: Object.keys(MOST).map((name) => ({ name, recipe: presetOf(name) })),
    evaluation: fixture('kv-eval-small'),
    calibration: fixture('kv-calib-small'),
    queries: 32,
    device: 'emulated',
    onProgress: (done, total, what) => steps.push(`${done}/${total} ${what}`),
  });
  assert.is(emulated, true);
  assert.equal(rows.map(({ recipe, window }) => [recipe, window]), Object.keys(MOST).flatMap((name) => [[name, 0], [name, 128]]));
  for (const { recipe, window, faults, anchors, undertrained, error, errorWithAnchors, effectiveBits } of rows) {
    assert.equal(faults, []);
    assert.is(anchors, Math.floor(tokens / 100));
    assert.not(undertrained);
    const [coded, kept] = MOST[recipe]![window === 0 ? 0 : 1]!;
    const said = `${recipe}, window ${window}: ${error.toFixed(4)}, with anchors ${errorWithAnchors?.toFixed(4)}`;
    assert.ok(error <= coded && errorWithAnchors! <= kept, `${said}, at most ${coded} and ${kept}`);
    // Far less is no better recipe: something is not coded that should be, or is compared with itself.
    assert.ok(error > 0.9 * coded && errorWithAnchors! > 0.9 * kept, said);
    assert.ok(effectiveBits > (recipe === 'antkv-1' ? 1 : 0.5) && effectiveBits < (recipe === 'antkv-1' ? 1.4 : 0.9));
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
