// gen advise: recipes for a model, a context and a memory, with what is known of their speed and accuracy.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Argv, CommandModule } from 'yargs';
import { InputError, UsageError } from '../errors.ts';
import { PRESETS } from '../presets.ts';
import { shippedKernels, withChosen } from '../ship.ts';
import { entriesOf } from '../table/entries.ts';
import { committedTables, readTable } from '../table/read.ts';
import { printAdvice } from './advise-print.ts';
import type { Global } from './commands.ts';
import { note, out, outJson } from './print.ts';
import { readRecipe } from './recipe-file.ts';
import { ROOT } from './select.ts';
import { askedDevice } from './table-words.ts';
import { whole } from './whole.ts';
import { readText } from '../../tuner/text.ts';

const TASKS = ['chat', 'reasoning', 'retrieval', 'long'] as const;

const options = <T>(y: Argv<T>) =>
  y
    .option('model', { type: 'string', demandOption: true, requiresArg: true, describe: 'config.json of a Hugging Face model' })
    .option('context', { type: 'string', demandOption: true, requiresArg: true, describe: 'tokens per sequence: 131072 or 128K' })
    .option('memory', { type: 'string', demandOption: true, requiresArg: true, describe: 'for caches and codebooks, what weights and activations leave: 80GB, 40GiB' })
    .option('task', { choices: TASKS, default: 'chat' as const, describe: 'what the model is for: how many bits keys should have' })
    .option('batch', { type: 'number', default: 1, requiresArg: true, describe: 'sequences at a time that have to fit' })
    .option('device', { type: 'string', default: 'NVIDIA H200', requiresArg: true, describe: 'board that times are for: as for "gen table why"' })
    .option('recipe', { type: 'string', array: true, nargs: 1, requiresArg: true, describe: 'recipe in a JSON file, beside the presets' })
    .option('records', { type: 'string', array: true, nargs: 1, requiresArg: true, describe: 'records of perplexity (default: the committed ones)' })
    .option('table', { type: 'string', array: true, nargs: 1, requiresArg: true, describe: 'tuning table instead of the committed ones' });

export type AdviseArguments = Global & Awaited<ReturnType<typeof options>['argv']>;

/** Tokens, as users write them. Throws UsageError. */
export function parseTokens(text: string): number {
  const [, number, unit = ''] = /^(\d{1,7})([kKmM]?)$/.exec(text) ?? [];
  const tokens = Number(number) * { '': 1, k: 1024, m: 1024 * 1024 }[unit.toLowerCase()]!;
  if (number === undefined || tokens < 1 || tokens > 2 ** 23) throw new UsageError(`--context takes tokens, from 1 to 8M, not "${text}"`, 'for example 32768 or 128K');
  return tokens;
}

const UNITS: Readonly<Record<string, number>> = { MB: 1e6, GB: 1e9, TB: 1e12, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 };

/** Bytes, as users write them. Throws UsageError. */
export function parseBytes(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)\s*([MGT]i?B)$/.exec(text) ?? [];
  if (number === undefined || Number(number) === 0) throw new UsageError(`--memory takes bytes, with MB, GB, TB, MiB, GiB or TiB, not "${text}"`, 'for example 80GB');
  return Number(number) * UNITS[unit!]!;
}

/** The committed records of perplexity. */
function committedRecords(): string[] {
  const folder = join(ROOT, 'harness/bench/records');
  return readdirSync(folder).filter((name) => /^ppl-.*\.jsonl$/.test(name)).sort().map((name) => join(folder, name));
}

async function run(argv: AdviseArguments): Promise<void> {
  const context = parseTokens(argv.context);
  const memory = parseBytes(argv.memory);
  whole('batch', argv.batch, 1);
  const [{ advise }, { readAccuracy }, { readModel, MODEL_FIX }] = await Promise.all([import('../../tuner/advise/advise.ts'), import('../../tuner/accuracy/record.ts'), import('../../tuner/space/given.ts')]);
  const { layers, headDim, heads } = readModel(readText(argv.model, MODEL_FIX), argv.model);
  if (layers === null) throw new InputError(`${argv.model} has no num_hidden_layers`, 'a cache is as large as its layers are many: give the config.json of the whole model');
  const tables = argv.table ? argv.table.map((path) => readTable(path, path)) : committedTables();
  const kernels = withChosen(shippedKernels(), tables);
  const { name: device, identity } = askedDevice(argv.device, tables);
  const records = (argv.records ?? committedRecords()).flatMap((path) => readAccuracy(readText(path, 'give a file that "python3 -m eval --out" wrote'), path));
  const recipes = new Map([...PRESETS, ...(argv.recipe ?? []).map((path) => [path, readRecipe(path)] as const)]);
  const shape = { layers, qHeads: heads.q_heads, kvHeads: heads.kv_heads, headDim };
  const question = { shape, context, batch: argv.batch, memory, task: argv.task };
  const advice = advise(question, recipes, { entries: entriesOf(tables, kernels), kernels, device: identity }, records);
  if (argv.json) outJson({ model: argv.model, device, ...question, ...advice });
  else out(printAdvice(advice, question, device));
  for (const { name, why } of advice.refused) note(argv, `no kernels for ${name} at head dim ${headDim}: ${why.join('; ')}`);
}

export const advise: CommandModule<Global, AdviseArguments> = {
  command: 'advise',
  describe: 'recipes for a model, a context and a memory',
  builder: (y) => options(y) as unknown as Argv<AdviseArguments>,
  handler: run,
};

export default advise;
