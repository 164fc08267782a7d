// Policies side by side on real attention: the same codes, the same budget, other anchors. Chosen over a whole prompt at once, and as tokens leave the window.
import { policyOf, POLICY_NAMES, type PolicyName } from '../generator/policy.ts';
import type { Recipe } from '../generator/recipe.ts';
import { demoOn, demoUse, type DemoRow } from './demo.ts';
import { onGround, type GroundOptions, type Place } from './ground.ts';
import { lifeUse, liveOn, mustBeOnline, type Lifetime, type Lived } from './simulate.ts';
import type { Variant } from './dumps.ts';

/** A policy at a recipe's budget. */
export interface PolicyVariant extends Variant {
  readonly policy: PolicyName;
}

/** OTT as published: a pool of 3 tokens and at most 32 that they pushed out, however long the sequence is. */
const OTT = { policy: 'key-magnitude', budget_permille: 0, budget_tokens: 3, extra_tokens: 32 } as const;

/** Every policy at the budget of `recipe`, of a sequence of `tokens` tokens where a policy has no share of them; and OTT with its own. */
export function policyVariants(recipe: Recipe, tokens: number): PolicyVariant[] {
  const budget = Math.floor((tokens * recipe.budget_permille) / 1000);
  const all = POLICY_NAMES.map((policy): PolicyVariant => {
    const none = { budget_permille: 0, budget_tokens: 0, extra_tokens: 0, first_tokens: policy === 'first' ? Math.max(1, budget) : 0 };
    return { name: policy, policy, recipe: { ...recipe, policy, ...(policyOf(policy).append === 'none' && none) } };
  });
  return [...all, { name: `OTT ${OTT.budget_tokens} + ${OTT.extra_tokens}`, policy: OTT.policy, recipe: { ...recipe, ...OTT } }];
}

/** One policy. Errors are relative L2, as in the demo. */
export interface PolicyRow {
  readonly policy: string;
  /** Anchors picked over all tokens at once, with a window of 0 and with the recipe's own; the rows of the demo. */
  readonly prompt: readonly DemoRow[];
  /** Anchors chosen as tokens leave the window; one record over all steps. */
  readonly online: Lived;
}

export interface PolicyOptions extends GroundOptions, Pick<Lifetime, 'prompt' | 'tokensPerStep'> {
  readonly recipe: Recipe;
  readonly tokens: number;
  /** Query rows of the first half. */
  readonly queries: number;
}

/** Runs every policy. Throws UsageError for a recipe that chooses no anchors online, and as `onGround`. */
export function comparePolicies({ recipe, tokens, queries, prompt, tokensPerStep = 8, ...options }: PolicyOptions): Promise<{ readonly rows: readonly PolicyRow[] } & Place> {
  mustBeOnline(recipe);
  const variants = policyVariants(recipe, tokens);
  const steps = Math.max(1, Math.floor((tokens - prompt) / tokensPerStep));
  return onGround(options, [demoUse(variants), lifeUse(variants, { prompt })], async (ground) => {
    const rows: PolicyRow[] = [];
    for (const variant of variants) {
      const online = await liveOn(ground, variant, { steps, prompt, tokensPerStep, batch: 1, seed: 1, every: steps });
      rows.push({ policy: variant.name, prompt: await demoOn(ground, [variant], queries), online });
    }
    return { rows };
  });
}
