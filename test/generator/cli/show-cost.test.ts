// Tests generator/cli/show-cost.ts.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { costFacts, parseShapes, printCost } from '../../../generator/cli/show-cost.ts';
import { COST_SHAPES } from '../../../generator/cost.ts';
import { UsageError } from '../../../generator/errors.ts';
import { parseKernelName } from '../../../generator/name.ts';
import { gen } from './run.ts';

const FAST = 'antkv_decode_d128_k8c8b_v8c8bq8_f16_n4__sm90_lookup_w16_s2_c4';

test('shapes are read as users write them', () => {
  assert.equal(parseShapes([]), COST_SHAPES);
  assert.equal(parseShapes(['16x32K', '1x100, 2x4k']), [{ batch: 16, tokens: 32768 }, { batch: 1, tokens: 100 }, { batch: 2, tokens: 4096 }]);
  for (const bad of ['', '16', '16x', 'x4K', '0x4K', '4x0', '-1x5', '1x4M', '16*4K']) assert.throws(() => parseShapes([bad]), (error: unknown) => error instanceof UsageError && /16x32K/.test(error.fix ?? ''), bad);
});

test('what has no model says so, with what has', () => {
  assert.throws(() => costFacts(parseKernelName('antkv_select__sm90_w8'), COST_SHAPES), /knows decode, not select/);
  assert.throws(() => costFacts(parseKernelName('antkv_decode_d128_kf16_vf16_f16__sm89_w4_t64_s2'), COST_SHAPES), (error: unknown) => error instanceof UsageError && /sm80 \(A100\), sm90 \(H200\)/.test(error.fix ?? ''));
});

test('an A100 is modelled, and printed as that', () => {
  const facts = costFacts(parseKernelName('antkv_decode_d128_k8c8b_v8c8bq8_f16_n4__sm80_lookup_w16_s2_c2'), COST_SHAPES);
  assert.ok(facts.modelled);
  assert.match(printCost(facts), /A100, modelled: 108 SMs[\s\S]*us modelled/);
  assert.not.match(printCost(costFacts(parseKernelName(FAST), COST_SHAPES)), /modelled|expected/);
  assert.match(printCost(costFacts(parseKernelName(FAST), COST_SHAPES)), /us at best[\s\S]*no stalls/);
});

test('show --cost prints tables, or JSON with the same numbers', async () => {
  const { stdout, exitCode } = await gen(['show', FAST, '--cost', '--shape', '16x32K', '--json']);
  assert.is(exitCode, 0);
  const facts = JSON.parse(stdout) as ReturnType<typeof costFacts>;
  assert.equal(facts, JSON.parse(JSON.stringify(costFacts(parseKernelName(FAST), [{ batch: 16, tokens: 32768 }]))));
  const text = (await gen(['show', FAST, '--cost', '--shape', '16x32K'])).stdout;
  assert.match(text, /^keys \(sum\) +0 +32 +20 +20 +0 +4 +0 +2 +16 +0$/m);
  assert.match(text, new RegExp(`^B16 32K .* ${facts.shapes[0]!.us.toFixed(1)} .* ${facts.shapes[0]!.overF16.toFixed(2)}x$`, 'm'));
  assert.match(text, new RegExp(`^bound by ${facts.tile.bound}$`, 'm'));
  const alone = await gen(['show', FAST, '--shape', '16x32K']);
  assert.is(alone.exitCode, 2);
  assert.match(alone.stderr, /--shape goes with --cost/);
});

test.run();
