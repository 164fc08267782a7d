// What records of perplexity say of a recipe. Pure.
import { bitsPerChannel, findCodec } from '../../generator/codec.ts';
import type { Recipe } from '../../generator/recipe.ts';
import { hasBasis, isStrict, type Accuracy, type MeasuredRecipe } from '../accuracy/record.ts';

/** Perplexity over that of an exact cache, less 1, and where it stands. */
export interface Loss {
  readonly increase: number;
  readonly model: string;
  readonly run: string;
}

export interface KnownLoss {
  /** As users get it: window, flush blocks, anchors chosen while decoding. */
  readonly used: Loss | undefined;
  /** Every token coded: what the codes alone do. */
  readonly strict: Loss | undefined;
}

const SAME = ['k', 'v', 'key', 'gain', 'policy', 'budget_permille', 'first_tokens'] as const;
const isOf = (recipe: Recipe, measured: MeasuredRecipe): boolean => SAME.every((axis) => measured[axis] === recipe[axis]);

/**
 * The least loss among records of `recipe` in every layer, on validation text; codebooks differ by how they were made, and the record says how. A recipe whose values have a basis takes the records
 * without one where there are none with it, and the run's name says so: no rate was measured at which the basis loses.
 */
export function lossOf(recipe: Recipe, records: readonly Accuracy[]): KnownLoss {
  const basis = recipe.transform === 'basis';
  const own = records.filter((record) => record.run.on === 'validation' && (basis || !hasBasis(record)) && record.run.plan.every((measured) => isOf(recipe, measured)));
  const least = (all: readonly Accuracy[]): Loss | undefined => {
    const alike = all.filter((record) => hasBasis(record) === basis);
    const [best] = (alike.length > 0 ? alike : all).toSorted((a, b) => a.perplexity / a.exact - b.perplexity / b.exact);
    return best && { increase: best.perplexity / best.exact - 1, model: best.model, run: hasBasis(best) === basis ? best.run.name : `${best.run.name}; without the basis of values` };
  };
  const used = own.filter(({ run: { rule, plan } }) => rule === 'flush' && plan.every(({ window, selection }) => window === recipe.window && selection === recipe.selection));
  return { used: least(used), strict: least(own.filter(isStrict)) };
}

const rate = (codec: string): number => {
  const known = findCodec(codec);
  return known ? bitsPerChannel(known) : 0;
};

/** Bits per channel of the keys' codes. */
export const keyBits = (recipe: Recipe): number => rate(recipe.k);

/**
 * Why a recipe that gives keys fewer bits than values is not advised, or undefined. Errors of keys move weights, those of values average out: it has to have been measured
 * better than the same recipe with the codecs exchanged.
 */
export function keysShort(recipe: Recipe, records: readonly Accuracy[]): string | undefined {
  if (rate(recipe.k) >= rate(recipe.v)) return undefined;
  const own = lossOf(recipe, records);
  const exchanged = lossOf({ ...recipe, k: recipe.v, v: recipe.k }, records);
  const better = (['used', 'strict'] as const).some((how) => own[how] && exchanged[how] && own[how].increase < exchanged[how].increase);
  return better ? undefined : `keys have fewer bits than values (${recipe.k} / ${recipe.v}), and nothing measured says that this is better than ${recipe.v} / ${recipe.k}`;
}
