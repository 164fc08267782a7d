// Tests generator/recipe.ts and presets.ts.
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { InputError, UsageError } from '../../generator/errors.ts';
import { contractName } from '../../generator/name.ts';
import { PRESETS, presetOf } from '../../generator/presets.ts';
import { contractsOf, dtypeOf, parseRecipe, recipeHash, RECIPE_AXES, recipeSchema, rejectRecipe, setAxis, type Recipe } from '../../generator/recipe.ts';

const one = presetOf('antkv-1');

test('the presets are those of CACHE.md', () => {
  const rows = [...PRESETS].map(([name, r]) => [name, r.k, r.v, r.key, r.gain, r.window]);
  assert.equal(rows, [
    ['antkv-4', '2c8bq8', '2c8bq8', 'post', 'none', 128],
    ['antkv-2', '4c8b', '4c8bq8', 'pre', 'k', 128],
    ['antkv-1', '8c8b', '8c8bq8', 'pre', 'k', 128],
    ['antkv-1-fast', '8c8b', '8c8bq8', 'post', 'k', 128],
    ['antkv-0.75', '16c12b', '16c12b', 'pre', 'k', 128],
    ['antkv-0.75-fast', '8c8b', '16c8bq8', 'pre', 'k', 128],
    ['antkv-0.5', '16c8b', '16c8bq8', 'post', 'k', 128],
    ['antkv-0.375', '32c12b', '32c12b', 'post', 'k', 128],
    ['f16', 'f16', 'f16', 'post', 'none', 0],
    ['bf16', 'bf16', 'bf16', 'post', 'none', 0],
  ]);
  for (const [name, r] of PRESETS) if (name.startsWith('antkv')) assert.equal([r.budget_permille, r.policy, r.flush_block], [10, 'column', 128]);
});

test('a preset is offered, or refused only because it is not built yet', () => {
  const offered = [...PRESETS].filter(([, recipe]) => rejectRecipe(recipe).length === 0).map(([name]) => name);
  assert.equal(offered, ['antkv-4', 'antkv-2', 'antkv-1', 'antkv-1-fast', 'antkv-0.75', 'antkv-0.75-fast', 'antkv-0.5', 'antkv-0.375', 'f16', 'bf16']);
  for (const [name, recipe] of PRESETS) for (const why of rejectRecipe(recipe)) assert.match(why, /not built yet/, name);
});

test('an unknown preset gives the nearest names', () => {
  assert.throws(() => presetOf('antkv1'), (error: unknown) => error instanceof UsageError && /antkv-1/.test(error.fix ?? ''));
});

const REJECTED: [what: string, change: Partial<Recipe>, want: RegExp][] = [
  ['online selection with a small window', { window: 15 }, /online selection needs a window of 16/],
  ['a flush block that is no page', { flush_block: 100 }, /flush_block 100 is not a multiple of a page/],
  ['two budgets', { budget_tokens: 3 }, /a budget of 10 permille and of 3 tokens: one of them must be 0/],
  ['a budget in tokens without a policy', { policy: 'none', budget_permille: 0, budget_tokens: 3 }, /policy "none" with a budget of 3 tokens: the budget must be 0/],
  ['extra tokens beside no budget', { budget_permille: 0, extra_tokens: 4 }, /extra_tokens 4 beside no budget/],
  ['extra tokens of an exact recipe', { k: 'f16', v: 'f16', key: 'post', gain: 'none', window: 0, flush_block: 1, policy: 'none', budget_permille: 0, extra_tokens: 1 }, /exact recipes have no anchors/],
  ['a budget without a policy', { policy: 'none' }, /policy "none" with a budget of 10 permille: the budget must be 0/],
  ['first tokens without a policy', { policy: 'none', budget_permille: 0, first_tokens: 4 }, /keeps no tokens, first_tokens is 4/],
  ['the first tokens, none of them', { policy: 'first', budget_permille: 0 }, /first_tokens is 0/],
  ['an exact recipe with a window', { k: 'f16', v: 'f16', key: 'post', gain: 'none', policy: 'none', budget_permille: 0 }, /exact recipes have window 0 and flush_block 1, not 128 and 128/],
  ['an exact recipe with anchors', { k: 'f16', v: 'f16', key: 'post', gain: 'none', window: 0, flush_block: 1 }, /exact recipes have no anchors/],
  ['an exact recipe that shares a codebook', { k: 'f16', v: 'f16', key: 'post', gain: 'none', window: 0, flush_block: 1, policy: 'none', budget_permille: 0, scope: 'layer' }, /exact recipes have no codebook to share: scope "chunk", not "layer"/],
  ['a basis for values that are exact', { v: 'f16', transform: 'basis' }, /transform "basis" is for codes of values, and v is f16/],
  ['a gain to come', { gain: 'kv' }, /gain kv: not built yet/],
  ['keys before RoPE that are exact', { k: 'f16', gain: 'none' }, /needs a coded key/],
];
for (const [what, change, want] of REJECTED) test(`rejects ${what}`, () => assert.match(rejectRecipe({ ...one, ...change }).join('\n'), want));

test('offers what CACHE.md allows', () => {
  for (const change of [{ window: 0, selection: 'global' }, { window: 16 }, { policy: 'none', budget_permille: 0 }, { flush_block: 16 }, { policy: 'exact' }, { policy: 'mass' }, { policy: 'massq' }, { first_tokens: 4 },
    { policy: 'saliency' }, { policy: 'key-magnitude', window: 0 }, { policy: 'key-magnitude', budget_permille: 0, budget_tokens: 3, extra_tokens: 32 }, { policy: 'largest-key' },
    { policy: 'first', budget_permille: 0, first_tokens: 4 }, { budget_permille: 0 }, { budget_permille: 1000 }] as Partial<Recipe>[]) {
    assert.equal(rejectRecipe({ ...one, ...change }), [], JSON.stringify(change));
  }
});

test('a recipe needs its cache, its merge, and what its policy scores with', () => {
  assert.equal(contractsOf(one, 128).map(contractName), [
    'antkv_encode_d128_k8c8b_v8c8bq8_f16_pre_gain', 'antkv_append_d128_k8c8b_v8c8bq8_f16_pre_gain', 'antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain', 'antkv_unpack_d128_k8c8b_v8c8bq8_f16_pre_gain',
    'antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain_n4',
    'antkv_combine_d128_f16', 'antkv_score_d128_f16', 'antkv_select',
  ]);
  const scores = (policy: Recipe['policy']): string[] => contractsOf({ ...one, policy }, 64).filter(({ op }) => op === 'score').map(contractName);
  assert.equal(scores('exact'), ['antkv_score_d64_f16_exact', 'antkv_score_d64_f16'], 'what ranks prompts, and the sums that the ring goes on from');
  assert.equal([scores('saliency')[0], ...scores('key-magnitude'), ...scores('largest-key'), ...scores('first')], ['antkv_score_d64_f16_saliency', 'antkv_score_d64_f16_norm', 'antkv_score_d64_f16_norm']);
  assert.is(contractsOf({ ...one, policy: 'first' }, 64).at(-1)?.op, 'select');
  assert.equal(contractsOf({ ...one, policy: 'none' }, 128).map(({ op }) => op), ['encode', 'append', 'decode', 'unpack', 'decode', 'combine']);
  assert.equal(contractsOf(presetOf('f16'), 128).map(({ op }) => op), ['encode', 'append', 'decode', 'unpack', 'combine']);
  assert.is(dtypeOf(presetOf('bf16')), 'bf16');
  assert.is(dtypeOf(one), 'f16');
});

test('--set changes one axis and refuses the rest', () => {
  assert.equal(setAxis(one, 'k=4c8b'), { ...one, k: '4c8b' });
  assert.equal(setAxis(one, 'window=64'), { ...one, window: 64 });
  for (const [text, want] of [['k', /axis=value/], ['k=4c8b=1', /axis=value/], ['widow=4', /no axis "widow"/], ['k=9c9b', /--set k=9c9b/], ['window=-1', /--set window=-1: .*>=0/], ['window=0.5', /window=0.5: .*expected int/], ['doc=x', /no axis "doc"/]] as const) {
    assert.throws(() => setAxis(one, text), (error: unknown) => error instanceof UsageError && want.test(error.message), text);
  }
  assert.throws(() => setAxis(one, 'widow=4'), (error: unknown) => error instanceof UsageError && /window/.test(error.fix ?? ''));
});

test('a recipe file is checked member by member', () => {
  assert.equal(parseRecipe({ k: '8c8b', v: '8c8b' }, 'x'), { doc: '', k: '8c8b', v: '8c8b', key: 'post', gain: 'none', transform: 'none', scope: 'chunk', policy: 'column', selection: 'online', budget_permille: 10, budget_tokens: 0, extra_tokens: 0, first_tokens: 0, window: 128, flush_block: 128 });
  for (const [json, want] of [[{ k: '8c8b' }, /v/], [{ k: '8c8b', v: '8c8b', widnow: 3 }, /widnow/], [{ k: '8c8b', v: '8c8b', window: 1.5 }, /window/], [[], /object/], [null, /object/]] as const) {
    assert.throws(() => parseRecipe(json, 'mine.json'), (error: unknown) => error instanceof InputError && want.test(error.message) && /mine\.json/.test(error.message), JSON.stringify(json));
  }
});

test('recipes of other systems are recipes; what is not built of them is named', () => {
  const folder = new URL('../../generator/recipes/others/', import.meta.url);
  const refused = readdirSync(folder).sort().map((file) => [file, rejectRecipe(parseRecipe(JSON.parse(readFileSync(new URL(file, folder), 'utf8')), file))] as const);
  assert.equal(refused.map(([file]) => file), ['cq-8c10b.json', 'cq-8c8b.json', 'million-4.json']);
  for (const [file, why] of refused) assert.ok(why.every((reason) => /8c10b: not built yet/.test(reason)), `${file}: ${why.join('; ')}`);
});

test('the hash is of the recipe, not of its sentence or the order of its members', () => {
  assert.is(recipeHash(one), recipeHash({ ...one, doc: 'other' }));
  assert.is(recipeHash(one), recipeHash(Object.fromEntries(Object.entries(one).reverse()) as unknown as Recipe));
  const hashes = RECIPE_AXES.map((axis) => recipeHash({ ...one, [axis]: 'other' } as unknown as Recipe));
  assert.is(new Set([recipeHash(one), ...hashes]).size, RECIPE_AXES.length + 1);
});

test('the JSON Schema names every axis and forbids others', () => {
  const schema = recipeSchema() as { properties: Record<string, object>; required: string[]; additionalProperties: boolean };
  assert.equal(RECIPE_AXES.filter((axis) => !(axis in schema.properties)), []);
  assert.equal([schema.required, schema.additionalProperties], [['k', 'v'], false]);
});

test.run();
