// Recipes: what a user wants for a cache, as data; the one pruner of recipes; the contracts that a recipe needs.
import { z } from 'zod';
import { TRANSFORMS } from './basis.ts';
import { codecOf, type ExactCodec } from './codec.ts';
import { AXES, contractOf, isCoded, reject, type Contract } from './contract.ts';
import { InputError, nearest, UsageError } from './errors.ts';
import { PAGE_SIZES } from './layout.ts';
import { lookupMisfit } from './lookup.ts';
import { formsOf, POLICY_NAMES, policyOf } from './policy.ts';
import { stableDigest } from './stable.ts';

const count = z.int().min(0);

/** A recipe as JSON has it. Unknown members are refused: a misspelt axis must not silently mean its default. */
export const Recipe = z.strictObject({
  $schema: z.string().optional(),
  doc: z.string().default('').describe('What it is for, in one sentence; no part of the recipe hash'),
  k: z.enum(AXES.k).describe('Codec of the keys: 8c8b = 8 channels per code of 8 bits; q8 = codebook stored as int8'),
  v: z.enum(AXES.v).describe('Codec of the values'),
  key: z.enum(AXES.key).default('post').describe('Keys are coded before RoPE (pre) or after it (post)'),
  gain: z.enum(AXES.gain).default('none').describe('One fp16 factor per token and KV head, on keys, values or both'),
  transform: z.enum(TRANSFORMS).default('none').describe('basis: values are coded along balanced principal directions, which calibration finds; undone on the output, or folded into W_v and W_o'),
  scope: z.enum(['chunk', 'head', 'layer']).default('chunk').describe('What shares one codebook: a chunk has its own, all chunks of a KV head, or all of a layer; cache and kernels hold it once for each chunk'),
  policy: z
    .enum(POLICY_NAMES)
    .default('column')
    .describe('Which tokens stay exact: an anchor score, saliency (ZipCache), key magnitude (OTT), the largest keys, the first tokens only, or none'),
  selection: z.enum(['online', 'global']).default('online').describe('Anchors are chosen at each flush, or once over all tokens'),
  budget_permille: count.max(1000).default(10).describe('Anchors per 1000 coded tokens'),
  budget_tokens: count.default(0).describe('Instead of budget_permille: anchors however long the sequence is (pool of OTT)'),
  extra_tokens: count.default(0).describe('Anchors that lost and stay all the same; when as many as this do, no token wins any more (extra pool of OTT). 0: losers are handed back'),
  first_tokens: count.default(0).describe('Tokens at the start that are always anchors'),
  window: count.default(128).describe('Newest tokens that stay exact'),
  flush_block: count.min(1).default(128).describe('Tokens that leave the window at once'),
});

export type Recipe = Readonly<Omit<z.infer<typeof Recipe>, '$schema'>>;
export type Dtype = (typeof AXES.dtype)[number];

/** The members that `--set` takes. */
export const RECIPE_AXES = Object.keys(Recipe.shape).filter((name) => name !== '$schema' && name !== 'doc');

/** JSON Schema of a recipe file, draft 2020-12. */
export const recipeSchema = (): unknown => ({ title: 'antkv recipe', ...z.toJSONSchema(Recipe, { io: 'input' }) });

/** A recipe from parsed JSON. Throws InputError with every fault and where it is. */
export function parseRecipe(json: unknown, source: string): Recipe {
  const parsed = Recipe.safeParse(json);
  if (!parsed.success) throw new InputError(`${source} is not a recipe:\n${z.prettifyError(parsed.error)}`, 'generated/recipe.schema.json describes recipes; generator/recipes/presets holds some');
  const { $schema: _, ...recipe } = parsed.data;
  return recipe;
}

/** The recipe with `axis=value` replaced; the value is a word or a number. Throws UsageError. */
export function setAxis(recipe: Recipe, assignment: string): Recipe {
  const [axis, value, ...rest] = assignment.split('=');
  if (!axis || value === undefined || rest.length > 0) throw new UsageError(`--set takes axis=value, not "${assignment}"`, `axes: ${RECIPE_AXES.join(', ')}`);
  if (!RECIPE_AXES.includes(axis)) {
    const near = nearest(axis, RECIPE_AXES);
    throw new UsageError(`a recipe has no axis "${axis}"`, near.length > 0 ? `did you mean ${near.join(' or ')}?` : `axes: ${RECIPE_AXES.join(', ')}`);
  }
  const parsed = Recipe.safeParse({ ...recipe, [axis]: /^-?\d+(\.\d+)?(e\d+)?$/.test(value) ? Number(value) : value });
  if (!parsed.success) throw new UsageError(`--set ${assignment}: ${parsed.error.issues[0]?.message}`, `generated/recipe.schema.json lists the values of ${axis}`);
  return parseRecipe(parsed.data, `--set ${assignment}`);
}

/** Eight bytes of SHA-256 over the recipe's members in sorted order, without its sentence; written into codebook files. */
export function recipeHash(recipe: Recipe): string {
  const { doc: _, ...members } = recipe;
  return stableDigest(members);
}

/** The dtype that a recipe asks for when the user names none: that of an exact side, else f16. */
export function dtypeOf(recipe: Recipe): Dtype {
  const exact = [codecOf(recipe.k), codecOf(recipe.v)].find((codec): codec is ExactCodec => codec.kind === 'exact');
  return exact?.name ?? 'f16';
}

/** The contracts that a recipe needs at one head dim: of the cache, of the merge, and of choosing anchors where its policy scores them. */
export function contractsOf(recipe: Recipe, headDim: number, dtype: Dtype = dtypeOf(recipe)): Contract[] {
  const axes = { headDim: headDim as NonNullable<Contract['headDim']>, k: recipe.k, v: recipe.v, dtype, key: recipe.key, gain: recipe.gain };
  const cache = (['encode', 'append', 'decode', 'unpack'] as const).map((op) => contractOf(op, axes));
  // Four columns are what one query of up to four heads per KV head fills; only look-ups are faster for it.
  const narrow = contractOf('decode', { ...axes, columns: 4 });
  if (lookupMisfit(narrow).length === 0) cache.push(narrow);
  const combine = contractOf('combine', axes);
  if (!isCoded(recipe) || recipe.policy === 'none') return [...cache, combine];
  const scores = formsOf(policyOf(recipe.policy)).map((form) => contractOf('score', { ...axes, form }));
  return [...cache, combine, ...scores, contractOf('select', {})];
}

/** Every reason why a recipe is not offered; empty if it is. Nothing else prunes recipes. */
export function rejectRecipe(recipe: Recipe, headDim = 128, dtype: Dtype = dtypeOf(recipe)): string[] {
  const why: string[] = [];
  const { window, flush_block: flush, policy, selection, budget_permille: budget, budget_tokens: tokens, extra_tokens: extra, first_tokens: first } = recipe;
  const { append } = policyOf(policy);
  if (isCoded(recipe)) {
    if (!PAGE_SIZES.some((page) => flush % page === 0)) why.push(`flush_block ${flush} is not a multiple of a page (${PAGE_SIZES.join(', ')})`);
    if (selection === 'online' && window < 16 && append === 'column') why.push(`online selection needs a window of 16 or more, so that every candidate was seen; ${window} leaves only selection "global"`);
    if (append === 'none' && (budget > 0 || tokens > 0)) why.push(`policy "${policy}" with a budget of ${tokens > 0 ? `${tokens} tokens` : `${budget} permille`}: the budget must be 0`);
    if (budget > 0 && tokens > 0) why.push(`a budget of ${budget} permille and of ${tokens} tokens: one of them must be 0`);
    if (extra > 0 && budget === 0 && tokens === 0) why.push(`extra_tokens ${extra} beside no budget: no anchor would ever lose`);
    if (policy === 'none' && first > 0) why.push(`policy "none" keeps no tokens, first_tokens is ${first}`);
    if (policy === 'first' && first === 0) why.push('policy "first" keeps the first tokens: first_tokens is 0');
  } else {
    if (window !== 0 || flush !== 1) why.push(`exact recipes have window 0 and flush_block 1, not ${window} and ${flush}`);
    if (policy !== 'none' || budget !== 0 || tokens !== 0 || extra !== 0 || first !== 0) why.push('exact recipes have no anchors: policy "none", budgets and tokens 0');
    if (recipe.scope !== 'chunk') why.push(`exact recipes have no codebook to share: scope "chunk", not "${recipe.scope}"`);
  }
  if (recipe.transform === 'basis' && codecOf(recipe.v).kind === 'exact') why.push(`transform "basis" is for codes of values, and v is ${recipe.v}: transform must be "none"`);
  return [...new Set([...why, ...contractsOf(recipe, headDim, dtype).flatMap(reject)])];
}
