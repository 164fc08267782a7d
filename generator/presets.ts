// Presets: recipes with a name, read from recipes/presets. Their accuracy record: harness/bench/ACCURACY.md ("What the basis of the presets rests on"); CACHE.md says what may change them.
import antkv0375 from './recipes/presets/antkv-0.375.json' with { type: 'json' };
import antkv05 from './recipes/presets/antkv-0.5.json' with { type: 'json' };
import antkv075 from './recipes/presets/antkv-0.75.json' with { type: 'json' };
import antkv075Fast from './recipes/presets/antkv-0.75-fast.json' with { type: 'json' };
import antkv1 from './recipes/presets/antkv-1.json' with { type: 'json' };
import antkv1Fast from './recipes/presets/antkv-1-fast.json' with { type: 'json' };
import antkv2 from './recipes/presets/antkv-2.json' with { type: 'json' };
import antkv4 from './recipes/presets/antkv-4.json' with { type: 'json' };
import bf16 from './recipes/presets/bf16.json' with { type: 'json' };
import f16 from './recipes/presets/f16.json' with { type: 'json' };
import { unknownName } from './errors.ts';
import { parseRecipe, type Recipe } from './recipe.ts';

const FILES = { 'antkv-4': antkv4, 'antkv-2': antkv2, 'antkv-1': antkv1, 'antkv-1-fast': antkv1Fast, 'antkv-0.75': antkv075, 'antkv-0.75-fast': antkv075Fast, 'antkv-0.5': antkv05, 'antkv-0.375': antkv0375, f16, bf16 };

/** Every preset by name, highest rate first, the exact ones last. */
export const PRESETS: ReadonlyMap<string, Recipe> = new Map(
  Object.entries(FILES).map(([name, json]) => [name, parseRecipe(json, `recipes/presets/${name}.json`)]),
);

/** The preset called `name`. Throws UsageError with the nearest names. */
export function presetOf(name: string): Recipe {
  const recipe = PRESETS.get(name);
  if (!recipe) throw unknownName('preset', name, [...PRESETS.keys()]);
  return recipe;
}
