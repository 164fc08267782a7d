// What gen tune and gen tune plan have in common: which contracts, architectures and shapes, how much and how long.
import { basename } from 'node:path';
import type { Argv } from 'yargs';
import { ARCHS } from '../arch.ts';
import { OPS, reject, type Contract } from '../contract.ts';
import { InputError, nearest, UsageError } from '../errors.ts';
import { contractName, parseContractName, parseKernelName } from '../name.ts';
import { contractsOf } from '../recipe.ts';
import { shippedContracts } from '../ship.ts';
import { offeredContracts } from './list.ts';
import { globOf, recipeOptions, recipesOf, type RecipeOptions } from './select.ts';
import type { Tuning } from '../../tuner/space/grid.ts';
import type { Clock } from '../../tuner/tune/measurer.ts';

/** Time as it is. */
export const CLOCK: Clock = { now: () => Date.now(), sleep: (ms) => new Promise((wake) => setTimeout(wake, ms)) };

/** The options that choose what is tuned. */
export const tuneOptions = <T>(y: Argv<T>) =>
  recipeOptions(y)
    .option('arch', { type: 'string', default: 'sm80,sm90', requiresArg: true, describe: `architectures with commas, or native: ${ARCHS.map((a) => a.name).join(', ')}` })
    .option('only', { type: 'string', requiresArg: true, describe: 'contracts: names of any that are offered, or globs over the shipped ones (over all, where no shipped one matches)' })
    .option('model', { type: 'string', requiresArg: true, describe: "tune for the heads of this model: its config.json" })
    .option('shapes', { type: 'string', requiresArg: true, describe: 'tune for the shapes in this file: JSON lines, as gen bench --out writes them' })
    .option('budget', { type: 'string', requiresArg: true, describe: 'end after this time, what matters most first: 90s, 20m, 2h' })
    .option('jobs', { type: 'number', requiresArg: true, describe: 'compilers at once (default: processor cores)' })
    .option('seed', { type: 'number', default: 1, requiresArg: true, describe: 'of searches and samples' });

export interface TuneSelection extends RecipeOptions {
  arch: string;
  only?: string | undefined;
  model?: string | undefined;
  shapes?: string | undefined;
}

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 };

/** Seconds of `90s`, `20m`, `1.5h`; of a plain number, seconds. Throws UsageError. */
export function parseBudget(text: string): number {
  const [, number, unit = 's'] = /^(\d+(?:\.\d+)?)([smh])?$/.exec(text.trim()) ?? [];
  const seconds = Number(number) * UNITS[unit]!;
  if (!(seconds > 0)) throw new UsageError(`--budget takes a time, not "${text}"`, 'for example --budget 20m; s, m and h are seconds, minutes and hours');
  return seconds;
}

/**
 * The contracts that a word names: a contract's name, a kernel's, whose contract it means, or a glob over names. A glob means the shipped ones, as a sweep of thousands is nobody's wish;
 * all that are offered where none of those matches. Ops that it cannot be are not asked.
 */
function contractsBy(word: string): Contract[] {
  if (!/[*?]/.test(word)) {
    const contract = contractNamed(word.includes('__') ? contractOfKernel(word) : word);
    return contract && reject(contract).length === 0 ? [contract] : [];
  }
  const glob = globOf(word);
  const shipped = [...shippedContracts().values()].map(({ contract }) => contract).filter((contract) => glob.test(contractName(contract)));
  if (shipped.length > 0) return shipped;
  const fixed = word.slice(0, word.search(/[*?]/));
  const ops = OPS.filter((op) => `antkv_${op}`.startsWith(fixed) || fixed.startsWith(`antkv_${op}`));
  return ops.flatMap(offeredContracts).filter((contract) => glob.test(contractName(contract)));
}

/** The contracts that the options name: of recipes, or that match `--only`, else the shipped ones. Throws UsageError if it is none. */
export function contractsToTune(options: TuneSelection): Contract[] {
  const { only } = options;
  const named = recipesOf(options).flatMap(({ recipe, headDims, dtype }) => headDims.flatMap((d) => contractsOf(recipe, d, dtype)));
  if (only === undefined) return named.length > 0 ? named : [...shippedContracts().values()].map(({ contract }) => contract);
  const words = only.split(',').map((word) => word.trim());
  const globs = words.map((word) => globOf(word.includes('__') && !/[*?]/.test(word) ? contractOfKernel(word) : word));
  const chosen = named.length > 0 ? named.filter((contract) => globs.some((glob) => glob.test(contractName(contract)))) : words.flatMap(contractsBy);
  const names = chosen.map(contractName);
  const unmatched = words.find((_, i) => !names.some((name) => globs[i]!.test(name)));
  if (unmatched === undefined) return [...new Map(chosen.map((contract) => [contractName(contract), contract])).values()];
  const near = nearest(unmatched, named.length > 0 ? named.map(contractName) : [...shippedContracts().keys()]);
  throw new UsageError(`--only ${unmatched}: no contract matches`, near.length > 0 ? `did you mean ${near[0]}?` : '"gen list" names what is offered; quote the glob');
}

/** The contract of a name, or undefined. */
function contractNamed(name: string): Contract | undefined {
  try {
    return parseContractName(name);
  } catch {
    return undefined; // told by whoever asks, with the nearest name
  }
}

function contractOfKernel(name: string): string {
  try {
    return contractName(parseKernelName(name.trim()).contract);
  } catch (error) {
    throw new UsageError((error as Error).message, '"gen list" names what is offered');
  }
}

/** What is tuned for. Files are named by their last part: paths of one machine do not belong into a table. Throws UsageError, InputError. */
export async function tuningOf({ model, shapes }: Pick<TuneSelection, 'model' | 'shapes'>): Promise<Tuning> {
  if (model !== undefined && shapes !== undefined) throw new UsageError('--model and --shapes contradict each other', 'leave one out');
  if (model === undefined && shapes === undefined) return (await import('../../tuner/space/grid.ts')).DEFAULT_TUNING;
  const [{ readModel, readShapes }, { readText }] = await Promise.all([import('../../tuner/space/given.ts'), import('../../tuner/text.ts')]);
  if (model !== undefined) return readModel(readText(model, "give the path of a model's config.json", 'the model'), basename(model));
  return readShapes(readText(shapes!, 'give the path of a file of JSON lines', 'the shapes'), basename(shapes!));
}
