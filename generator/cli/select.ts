// Which kernels a command means: the options that name them, and what they select.
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Argv } from 'yargs';
import { ARCHS } from '../arch.ts';
import { AXES, type Contract } from '../contract.ts';
import { nearest, UsageError } from '../errors.ts';
import { contractName, kernelName, type Kernel } from '../name.ts';
import { PRESETS, presetOf } from '../presets.ts';
import { contractsOf, dtypeOf, rejectRecipe, setAxis, type Dtype, type Recipe } from '../recipe.ts';
import { kernelsOf, kernelsToShip, SHIPPED_ARCHS, shippedContracts, shippedKernels, withChosen } from '../ship.ts';
import { misfit } from '../tile.ts';
import { archsOf, kernelOf } from './names.ts';
import { readRecipes } from './recipe-file.ts';

/** The folder of package.json. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** The committed tree. */
export const GENERATED = resolve(ROOT, 'generated');

export interface RecipeOptions {
  preset?: string[] | undefined;
  recipe?: string[] | undefined;
  set?: string[] | undefined;
  headDim?: number[] | undefined;
  dtype?: string | undefined;
}

/** The options that choose recipes, for every command that takes a preset. */
export const recipeOptions = <T>(y: Argv<T>) =>
  y
    .option('preset', { type: 'string', array: true, nargs: 1, requiresArg: true, describe: `recipe with a name: ${[...PRESETS.keys()].join(', ')}` })
    .option('recipe', { type: 'string', array: true, nargs: 1, requiresArg: true, describe: 'recipe in a JSON file (generated/recipe.schema.json), a list of one per layer, or a codebook file' })
    .option('set', { type: 'string', array: true, nargs: 1, requiresArg: true, describe: 'axis=value, changes the recipe' })
    .option('head-dim', { type: 'number', array: true, nargs: 1, requiresArg: true, describe: `head dim: ${AXES.headDim.join(', ')}` })
    .option('dtype', { type: 'string', requiresArg: true, describe: 'f16 or bf16; usually follows from the recipe' });

/** The options that choose kernels. */
export const kernelOptions = <T>(y: Argv<T>) =>
  recipeOptions(y)
    .option('arch', { type: 'string', requiresArg: true, describe: `architectures with commas, or native: ${ARCHS.map((a) => a.name).join(', ')} (default: ${SHIPPED_ARCHS.join(', ')}, where tiles differ)` })
    .option('only', { type: 'string', requiresArg: true, describe: 'kernels whose name, or contract, matches this glob' })
    .option('out', { type: 'string', requiresArg: true, describe: 'write to this folder, whatever is selected, instead of generated/; kernels that it holds stay' });

/** The recipes that the options name, `--set` applied; empty if none of the options is there. Refuses what is not offered, with all reasons. */
export function recipesOf(options: RecipeOptions): { name: string; recipe: Recipe; headDims: number[]; dtype: Dtype }[] {
  const { preset = [], recipe: files = [], set = [], headDim = [], dtype } = options;
  if (preset.length + files.length + set.length + headDim.length === 0 && dtype === undefined) return [];
  if (dtype !== undefined && !(AXES.dtype as readonly string[]).includes(dtype)) throw new UsageError(`unknown dtype "${dtype}"`, `known: ${AXES.dtype.join(', ')}`);
  const axes = set.map((text) => text.split('=')[0]!.trim());
  const twice = axes.find((axis, i) => axes.indexOf(axis) !== i);
  if (twice !== undefined) throw new UsageError(`--set ${twice} is given twice`, `give one value; a recipe has one ${twice}`);
  const named = [...preset.map((name) => ({ name, recipe: presetOf(name) })), ...files.flatMap(readRecipes)];
  if (named.length === 0) named.push({ name: 'antkv-1', recipe: presetOf('antkv-1') });
  return named.map(({ name, recipe: plain }) => {
    const recipe = set.reduce(setAxis, plain);
    const type = (dtype as Dtype | undefined) ?? dtypeOf(recipe);
    const headDims = headDim.length > 0 ? headDim : [128];
    for (const d of headDims) {
      const why = rejectRecipe(recipe, d, type);
      if (why.length > 0) throw new UsageError(`recipe ${name} at head dim ${d}:\n${why.map((reason) => `  ${reason}`).join('\n')}`, '"gen list --why" says what is offered');
    }
    return { name, recipe, headDims, dtype: type };
  });
}

/** As {@link recipesOf}, for runs on dumps, whose rows are f16. */
export function recipesOnDumps(options: RecipeOptions): ReturnType<typeof recipesOf> {
  const chosen = recipesOf(options);
  const other = chosen.find(({ dtype }) => dtype !== 'f16');
  if (other) throw new UsageError(`recipe ${other.name} is ${other.dtype}: runs on real data have rows of f16`, 'gen verify checks such kernels, on data of its own');
  return chosen;
}

/** A glob over names as a regular expression: `*` any run, `?` one character. */
export const globOf = (glob: string): RegExp => new RegExp(`^${glob.replace(/[.+^${}()|[\]\\]/g, '\\$&').replace(/\*/g, '.*').replace(/\?/g, '.')}$`);

export interface Selection {
  readonly kernels: readonly Kernel[];
  /** Recipes that the selected kernels serve, for effective bits. */
  readonly recipes: readonly Recipe[];
  readonly out: string;
  /** The kernels that the files around the sources (header, manifest, bindings) speak of: all that are committed, unless --out is given. */
  readonly family: readonly Kernel[];
  /** True if nothing was chosen: all that is committed. */
  readonly whole: boolean;
}

interface KernelOptions extends RecipeOptions {
  arch?: string | undefined;
  only?: string | undefined;
  out?: string | undefined;
}

/** The kernels of `contracts` on the architectures that the options name: all of them for a folder of the user's, what is committed of them for generated/. */
async function kernelsOn(contracts: readonly Contract[], { arch, out }: KernelOptions, committed: ReadonlySet<string>): Promise<Kernel[]> {
  if (arch === undefined) return kernelsToShip(contracts);
  const all = withChosen(kernelsOf(contracts, await archsOf(arch)));
  if (out !== undefined) return all;
  const shipped = shippedContracts();
  const served = (kernel: Kernel): boolean => SHIPPED_ARCHS.includes(kernel.arch.name) && shipped.has(contractName(kernel.contract)); // by an older one's PTX
  const kernels = all.filter((kernel) => committed.has(kernelName(kernel)) || !served(kernel));
  if (kernels.length === 0) throw new UsageError(`--arch ${arch}: no kernel is committed for it`, `leave --arch out, or add --out DIR; ${SHIPPED_ARCHS[0]} serves newer ones`);
  return kernels;
}

/** The kernels that the options select. Throws UsageError for what cannot be written where it would go. */
export async function selectKernels(options: KernelOptions): Promise<Selection> {
  const chosen = recipesOf(options);
  const contracts = new Map<string, Contract>();
  if (chosen.length === 0) for (const [name, { contract }] of shippedContracts()) contracts.set(name, contract);
  for (const { recipe, headDims, dtype } of chosen) {
    for (const contract of headDims.flatMap((d) => contractsOf(recipe, d, dtype))) contracts.set(contractName(contract), contract);
  }

  const committed = shippedKernels();
  const names = new Set(committed.map(kernelName));
  const all = await kernelsOn([...contracts.values()], options, names);
  const glob = options.only === undefined ? undefined : globOf(options.only);
  const kernels = all.filter((kernel) => !glob || glob.test(kernelName(kernel)) || glob.test(contractName(kernel.contract)));
  // A whole name means that kernel, committed or not: the command in a stamp works for every file.
  if (kernels.length === 0 && !/[*?]/.test(options.only!)) kernels.push(kernelOf(options.only!, options.arch === undefined ? SHIPPED_ARCHS[0]! : all[0]!.arch.name));
  if (kernels.length === 0) {
    const near = nearest(options.only!, all.flatMap((kernel) => [kernelName(kernel), contractName(kernel.contract)]));
    throw new UsageError(`--only ${options.only}: no kernel matches`, near.length > 0 ? `did you mean ${near[0]}?` : '"gen list" names what is offered; quote the glob');
  }
  for (const kernel of kernels) {
    const why = misfit(kernel.contract, kernel.tile, kernel.arch);
    if (why.length > 0) throw new UsageError(`${kernelName(kernel)}: ${why.join('; ')}`, 'choose another architecture or recipe');
  }

  const recipes = chosen.length > 0 ? chosen.map(({ recipe }) => recipe) : [...PRESETS.values()];
  if (options.out === '') throw new UsageError('--out is empty', 'name a folder');
  const whole = chosen.length === 0 && options.arch === undefined && options.only === undefined;
  if (options.out !== undefined) return { kernels, recipes, out: resolve(options.out), family: kernels, whole };
  const foreign = kernels.find((kernel) => !names.has(kernelName(kernel)));
  if (foreign) throw new UsageError(`${kernelName(foreign)} is not one of the committed kernels (generator/ship.ts)`, 'add --out DIR to write it elsewhere');
  return { kernels, recipes, out: GENERATED, family: committed, whole: kernels.length === committed.length };
}
