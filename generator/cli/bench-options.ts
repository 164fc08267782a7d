// What gen bench and gen pack --measure have in common: which kernels, on which shapes.
import type { Argv } from 'yargs';
import { UsageError } from '../errors.ts';
import { kernelName, type Kernel } from '../name.ts';
import { recipeOptions, selectKernels, type RecipeOptions } from './select.ts';
import type { Grid } from '../../tuner/bench-plan.ts';

// Written down again in tuner/bench-plan.ts, which is loaded only when there is work.
const OPS = ['decode', 'encode', 'unpack', 'score', 'select'] as const;

export const benchOptions = <T>(y: Argv<T>) =>
  recipeOptions(y)
    .option('only', { type: 'string', requiresArg: true, describe: 'kernels whose name, or contract, matches one of these globs; whole names also of tiles that are not committed' })
    .option('op', { choices: OPS, default: 'decode' as const, requiresArg: true, describe: 'operation' })
    .option('batch', { type: 'string', default: '1,16', requiresArg: true, describe: 'sequences, a list with commas' })
    .option('tokens', { type: 'string', default: '4096,32768,131072', requiresArg: true, describe: 'tokens of each sequence, a list with commas' })
    .option('splits', { type: 'string', default: 'auto', requiresArg: true, describe: 'of decode: a list with commas to race, or auto' })
    .option('samples', { type: 'number', requiresArg: true, describe: 'timed steps (default: 30)' });

export interface BenchOptions extends RecipeOptions {
  arch: string;
  only?: string | undefined;
  op: (typeof OPS)[number];
  batch: string;
  tokens: string;
  splits: string;
  samples?: number | undefined;
}

/** Whole numbers from 1 with commas between. */
function numbersOf(name: string, text: string): number[] {
  const numbers = text.split(',').map((word) => (/^[1-9]\d{0,8}$/.test(word.trim()) ? Number(word) : NaN));
  if (numbers.some(Number.isNaN)) throw new UsageError(`--${name} takes whole numbers with commas, not "${text}"`, `for example --${name} 1,16`);
  return [...new Set(numbers)];
}

/** The grid that the options name. Throws UsageError. */
export function gridOf({ batch, tokens, splits, samples }: BenchOptions): Grid {
  if (samples !== undefined && !(Number.isInteger(samples) && samples >= 1 && samples <= 10_000)) throw new UsageError(`--samples takes 1 to 10000, not ${samples}`, 'leave --samples out for 30');
  return { batch: numbersOf('batch', batch), tokens: numbersOf('tokens', tokens), splits: splits === 'auto' ? 'auto' : numbersOf('splits', splits) };
}

/** The kernels of one op that the options name. Throws UsageError if there is none. */
export async function kernelsToBench(options: BenchOptions): Promise<Kernel[]> {
  const { preset, recipe, set, headDim, dtype, arch, only, op } = options;
  // A folder to write to lifts the rule that only committed kernels are written to generated/; nothing is written.
  const select = (glob: string | undefined) => selectKernels({ preset, recipe, set, headDim, dtype, arch, only: glob, out: '.' });
  const selected = await Promise.all(only === undefined ? [select(undefined)] : only.split(',').map(select));
  const kernels = [...new Map(selected.flatMap((one) => one.kernels).map((kernel) => [kernelName(kernel), kernel])).values()];
  const wanted = kernels.filter(({ contract }) => contract.op === op);
  if (wanted.length === 0) throw new UsageError(`no ${op} kernel is selected`, `of ${kernels.length} kernels none is of this op; see --op`);
  return wanted;
}
