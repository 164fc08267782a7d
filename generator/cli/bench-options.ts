// What gen bench and gen pack --measure have in common: which kernels, on which shapes.
import type { Argv } from 'yargs';
import type { Arch } from '../arch.ts';
import type { Contract } from '../contract.ts';
import { UsageError } from '../errors.ts';
import { contractName, kernelName, parseKernelName, type Kernel } from '../name.ts';
import { defaultTile, misfit, type Tile } from '../tile.ts';
import { kernelsOf, withChosen } from '../ship.ts';
import { committedTables } from '../table/read.ts';
import { archsOf } from './names.ts';
import { globOf, recipeOptions, selectKernels, type RecipeOptions } from './select.ts';
import type { Case, Grid } from '../../tuner/bench-plan.ts';
import type { SheetName } from '../../tuner/bench-sheets.ts';

// Written down again in tuner/bench-plan.ts and bench-sheets.ts, which are loaded only when there is work.
const OPS = ['decode', 'append', 'encode', 'unpack', 'score', 'select'] as const;
const CODES = ['uniform', 'zipf', 'equal'] as const;
const SHEETS = ['goals', 'codes', 'ragged', 'pages', 'heads', 'd64', 'rows', 'breadth', 'large', 'presets', 'ops'] as const;

export const benchOptions = <T>(y: Argv<T>) =>
  recipeOptions(y)
    .option('sheet', { type: 'string', requiresArg: true, describe: `questions: ${SHEETS.join(', ')}, a list with commas, or all (default: goals, unless kernels or shapes are chosen otherwise)` })
    .option('tiles', { type: 'string', default: 'default', requiresArg: true, describe: 'of sheets: shipped (what tables choose, and the default), default, all that are worth a race, as in names (lookup_w16_s2_c4), or several with commas' })
    .option('only', { type: 'string', requiresArg: true, describe: 'kernels whose name, or contract, matches one of these globs; without --sheet whole names also of tiles that are not committed' })
    .option('op', { choices: OPS, requiresArg: true, describe: 'operation (default: decode)' })
    .option('batch', { type: 'string', requiresArg: true, describe: 'sequences, a list with commas (default: 1,16; of sheets: all)' })
    .option('tokens', { type: 'string', requiresArg: true, describe: 'tokens of each sequence, a list with commas (default: 4096,32768,131072; of sheets: all)' })
    .option('splits', { type: 'string', default: 'auto', requiresArg: true, describe: 'of decode: a list with commas to race, or auto; 16: CTAs per sequence, 16s: shares of the batch, 16c: merged by combine' })
    .option('codes', { choices: CODES, requiresArg: true, describe: 'distribution of the codes, without --sheet (default: uniform)' })
    .option('rows', { type: 'string', requiresArg: true, describe: 'of score: query rows, or all for a whole prompt (default: 128)' })
    .option('sampled', { type: 'number', requiresArg: true, describe: 'of score with --rows: how many older rows stand for all of them, in thousandths of the rows' })
    .option('samples', { type: 'number', requiresArg: true, describe: 'timed steps (default: 30)' });

export interface BenchOptions extends RecipeOptions {
  arch?: string | undefined;
  sheet?: string | undefined;
  tiles: string;
  only?: string | undefined;
  op?: (typeof OPS)[number] | undefined;
  batch?: string | undefined;
  tokens?: string | undefined;
  splits: string;
  codes?: (typeof CODES)[number] | undefined;
  rows?: string | undefined;
  sampled?: number | undefined;
  samples?: number | undefined;
}

/** Whole numbers from 1 with commas between. */
function numbersOf(name: string, text: string): number[] {
  const numbers = text.split(',').map((word) => (/^[1-9]\d{0,8}$/.test(word.trim()) ? Number(word) : NaN));
  if (numbers.some(Number.isNaN)) throw new UsageError(`--${name} takes whole numbers with commas, not "${text}"`, `for example --${name} 1,16`);
  return [...new Set(numbers)];
}

async function launchesOf(splits: string): Promise<Grid['splits']> {
  if (splits === 'auto') return 'auto';
  const { launchWord, parseLaunch } = await import('../../tuner/bench-launch.ts');
  return [...new Map(splits.split(',').map(parseLaunch).map((launch) => [launchWord(launch), launch])).values()];
}

/** The grid that the options name. Throws UsageError. */
export async function gridOf({ batch = '1,16', tokens = '4096,32768,131072', splits, codes, samples, rows, sampled }: Pick<BenchOptions, 'batch' | 'tokens' | 'splits' | 'codes' | 'samples' | 'rows' | 'sampled'>): Promise<Grid> {
  if (samples !== undefined && !(Number.isInteger(samples) && samples >= 1 && samples <= 10_000)) throw new UsageError(`--samples takes 1 to 10000, not ${samples}`, 'leave --samples out for 30');
  if (rows !== undefined && !/^(all|[1-9]\d{0,8})$/.test(rows)) throw new UsageError(`--rows takes a whole number or all, not "${rows}"`, 'for example --rows all');
  const scored = rows === undefined ? {} : { rows: rows === 'all' ? ('all' as const) : Number(rows) };
  if (sampled !== undefined && (rows === undefined || !(Number.isInteger(sampled) && sampled >= 1 && sampled <= 1000))) throw new UsageError(`--sampled takes 1 to 1000, with --rows, not ${sampled}`, 'for example --rows all --sampled 100');
  const sample = sampled === undefined ? {} : { sampledPermille: sampled };
  return { batch: numbersOf('batch', batch), tokens: numbersOf('tokens', tokens), splits: await launchesOf(splits), ...(codes === undefined ? {} : { codes }), ...scored, ...sample };
}

/** The kernels of one op that the options name, without sheets. Throws UsageError if there is none. */
export async function kernelsToBench(options: BenchOptions, archs: string): Promise<Kernel[]> {
  const { preset, recipe, set, headDim, dtype, only, op = 'decode' } = options;
  // A folder to write to lifts the rule that only committed kernels are written to generated/; nothing is written.
  const select = (glob: string | undefined) => selectKernels({ preset, recipe, set, headDim, dtype, arch: options.arch ?? archs, only: glob, out: '.' });
  const selected = await Promise.all(only === undefined ? [select(undefined)] : only.split(',').map(select));
  const kernels = [...new Map(selected.flatMap((one) => one.kernels).map((kernel) => [kernelName(kernel), kernel])).values()];
  const wanted = kernels.filter(({ contract }) => contract.op === op);
  if (wanted.length === 0) throw new UsageError(`no ${op} kernel is selected`, `of ${kernels.length} kernels none is of this op; see --op`);
  return wanted;
}

/** The sheets that the options ask for: the goals if they choose neither kernels nor shapes, undefined if they choose those without sheets. */
function sheetsOf({ preset, recipe, set, headDim, dtype, op, batch, tokens, codes, only, ...options }: BenchOptions): readonly SheetName[] | undefined {
  // Only sheets race tiles.
  const sheet = options.sheet ?? (options.tiles === 'default' ? undefined : 'goals');
  const chosen = [preset, recipe, set, headDim, dtype, op, codes, ...(sheet === undefined ? [only, batch, tokens] : [])].some((value) => value !== undefined);
  if (sheet === undefined) return chosen ? undefined : ['goals'];
  if (chosen) throw new UsageError('sheets have their own contracts, ops and codes', 'leave out --preset, --recipe, --set, --head-dim, --dtype, --op and --codes, or --sheet');
  const names = sheet === 'all' ? SHEETS : sheet.split(',').map((word) => word.trim());
  const unknown = names.find((name) => !(SHEETS as readonly string[]).includes(name));
  if (unknown !== undefined) throw new UsageError(`there is no sheet "${unknown}"`, `known: ${SHEETS.join(', ')}, all`);
  return names as SheetName[];
}

/** The tiles that a word of `--tiles` names, of a contract. Throws UsageError for words that no decode kernel has. */
async function tilesOfWord(word: string): Promise<(contract: Contract, arch: Arch) => readonly Tile[]> {
  if (word === 'default') return (contract, arch) => [defaultTile(contract, arch)];
  if (word === 'shipped') {
    const tables = committedTables();
    return (contract, arch) => withChosen(kernelsOf([contract], [arch]), tables).map(({ tile }) => tile);
  }
  if (word === 'all') return (await import('../../tuner/bench-sheets.ts')).raceTiles;
  try {
    const { tile } = parseKernelName(`antkv_decode_d128_kf16_vf16_f16__sm80_${word}`);
    return () => [tile];
  } catch (error) {
    throw new UsageError(`--tiles takes shipped, default, all, or tiles as in names of decode kernels, not "${word}"`, 'for example --tiles shipped,lookup_w16_s2_c4,w4_t64_s2');
  }
}

/** The tiles that `--tiles` names, of a contract, each once: those that do not fit it are left out. */
async function tilesOf(words: string): Promise<(contract: Contract, arch: Arch) => readonly Tile[]> {
  const lists = await Promise.all(words.split(',').map((word) => tilesOfWord(word.trim())));
  return (contract, arch) => {
    const named = new Map(lists.flatMap((list) => list(contract, arch)).map((tile) => [kernelName({ contract, arch, tile }), tile]));
    return [...named.values()].filter((tile) => misfit(contract, tile, arch).length === 0);
  };
}

export interface Plan {
  /** The cases on a device of so many multiprocessors, in groups, most important first. */
  readonly groups: (sms: number) => Case[][];
  /** What was asked for and is not offered. */
  readonly left: readonly string[];
}

/** What the options ask for. `archs`: architectures unless named, of sheets and of other kernels. Throws UsageError if it is nothing. */
export async function planOf(options: BenchOptions, archs: { readonly sheet: string; readonly other: string }): Promise<Plan> {
  const grid = await gridOf(options);
  const names = sheetsOf(options);
  const { casesOf, USUAL_SMS } = await import('../../tuner/bench-plan.ts');
  if (!names) {
    const kernels = await kernelsToBench(options, archs.other);
    return { groups: (sms) => [casesOf(kernels, grid, sms)], left: [] };
  }
  const { sheetCases } = await import('../../tuner/bench-sheets.ts');
  const arch = options.arch ?? archs.sheet;
  const words = options.only?.split(',') ?? [];
  const matches = (word: string, kernel: Kernel): boolean => [kernelName(kernel), contractName(kernel.contract)].some((name) => globOf(word).test(name));
  const chosen = {
    archs: await archsOf(arch),
    tiles: await tilesOf(options.tiles),
    splits: grid.splits,
    ...(words.length > 0 ? { only: (kernel: Kernel) => words.some((word) => matches(word, kernel)) } : {}),
    ...(options.batch === undefined ? {} : { batch: grid.batch }),
    ...(options.tokens === undefined ? {} : { tokens: grid.tokens }),
  };
  const { groups, left } = sheetCases(names, { ...chosen, sms: USUAL_SMS });
  if (groups.flat().length === 0) throw new UsageError('no sheet has such shapes', '--batch and --tokens choose among the shapes of the sheets; leave them out for all');
  const benched = groups.flat().map(({ kernel }) => kernel);
  const unmatched = words.find((word) => !benched.some((kernel) => matches(word, kernel)));
  if (unmatched !== undefined) throw new UsageError(`--only ${unmatched}: no kernel of the sheets matches`, 'quote the glob; leave it out to see the kernels, with --device emulated --batch 1 --tokens 4096');
  return { groups: (sms) => sheetCases(names, { ...chosen, sms }).groups, left };
}
