// Tests tuner/policies.ts: which policies are compared, on recipes that are offered. The comparison itself: policies.all.ts.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { anchorsOf } from '../../generator/bits.ts';
import { POLICY_NAMES } from '../../generator/policy.ts';
import { presetOf } from '../../generator/presets.ts';
import { rejectRecipe, setAxis } from '../../generator/recipe.ts';
import { comparePolicies, policyVariants } from '../../tuner/policies.ts';
import { fixture } from '../fixtures/paths.ts';

const TOKENS = 2048;
const variants = policyVariants(presetOf('antkv-1'), TOKENS);

test('every policy once, and OTT with its own pools, on recipes that are offered', () => {
  assert.equal(variants.map(({ name }) => name), [...POLICY_NAMES, 'OTT 3 + 32']);
  for (const { name, recipe } of variants) assert.equal(rejectRecipe(recipe), [], name);
});

test('all that keep tokens keep as many, but for OTT', () => {
  const most = new Map(variants.map(({ name, recipe }) => [name, anchorsOf(recipe, TOKENS)]));
  for (const [name, anchors] of most) assert.is(anchors, name === 'none' ? 0 : name.startsWith('OTT') ? 35 : 20, name);
});

test('a recipe that chooses over all tokens at once is refused', () => {
  const recipe = setAxis(presetOf('antkv-1'), 'selection=global');
  assert.throws(() => comparePolicies({ recipe, tokens: TOKENS, queries: 1, prompt: 1, evaluation: fixture('kv-eval-small'), calibration: fixture('kv-calib-small'), device: 'emulated' }), /anchors are chosen at each flush here/);
});

test.run();
