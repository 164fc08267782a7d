// Recipes in files: JSON with one or with a list of them, or a codebook file, which says what it is for.
import { readFileSync } from 'node:fs';
import { InputError } from '../errors.ts';
import { codebookMetadata, parseMetadata } from '../format.ts';
import { parseRecipe, recipeHash, type Recipe } from '../recipe.ts';
import { parseHeader } from '../safetensors.ts';

/** What a file holds that recipes are parsed from: one, or one per layer. */
function read(path: string): unknown {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new InputError(`cannot read the recipe ${path} (${(error as NodeJS.ErrnoException).code})`, 'give the path of a JSON file; generator/recipes/presets holds some');
  }
  if (path.endsWith('.safetensors')) {
    const { recipe, recipes } = parseMetadata(codebookMetadata, parseHeader(bytes, path), 'a codebook file');
    return recipe ?? recipes;
  }
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new InputError(`${path} is not JSON: ${(error as Error).message}`, 'generator/recipes/presets holds recipes to start from');
  }
}

/** The recipe of a file. Throws InputError where it has one per layer. */
export function readRecipe(path: string): Recipe {
  const json = read(path);
  if (Array.isArray(json)) throw new InputError(`${path} has recipes of ${json.length} layers, one is wanted here`, 'give each recipe in a file of its own');
  return parseRecipe(json, path);
}

/** The recipes of a file, each once and with a name for messages: of a plan that of its first layer. */
export function readRecipes(path: string): { name: string; recipe: Recipe }[] {
  const json = read(path);
  if (!Array.isArray(json)) return [{ name: path, recipe: parseRecipe(json, path) }];
  if (json.length === 0) throw new InputError(`${path} is an empty list of recipes`, 'give one per layer');
  const found = new Map<string, { name: string; recipe: Recipe }>();
  for (const [layer, members] of json.entries()) {
    const name = `${path}, layer ${layer}`;
    const recipe = parseRecipe(members, name);
    const hash = recipeHash(recipe);
    if (!found.has(hash)) found.set(hash, { name, recipe });
  }
  return [...found.values()];
}
