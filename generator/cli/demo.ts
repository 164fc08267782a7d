// gen demo: the whole algorithm on the keys and values that ship in the repository, or on dumps of the user.
import { fileURLToPath } from 'node:url';
import type { Argv, CommandModule } from 'yargs';
import { USUAL_TOKENS } from '../bits.ts';
import { UsageError } from '../errors.ts';
import { PRESETS, presetOf } from '../presets.ts';
import { dtypeOf, rejectRecipe, setAxis } from '../recipe.ts';
import type { Global } from './commands.ts';
import { policyRecipe, runPolicies } from './demo-policies.ts';
import { deviceOf } from './device.ts';
import { lifeLines, LIFE_WORDS, mustLiveOn } from './life-print.ts';
import { note, out, outJson, progress, table } from './print.ts';
import { recipeOptions, recipesOnDumps, type RecipeOptions } from './select.ts';
import { judgeThreads, whole } from './whole.ts';
import type { DemoRecord, DemoRow } from '../../tuner/demo.ts';
import type { Variant } from '../../tuner/dumps.ts';

/** A dump that ships in the repository. */
export const FIXTURE = (name: string): string => fileURLToPath(new URL(`../../test/fixtures/${name}.safetensors`, import.meta.url));

const options = <T>(y: Argv<T>) =>
  recipeOptions(y)
    .option('data', { type: 'string', requiresArg: true, describe: 'dump to evaluate on, with queries (default: the fixture)' })
    .option('calib', { type: 'string', requiresArg: true, describe: 'dump to calibrate on, another text of the same layer (default: the fixture)' })
    .option('queries', { type: 'number', default: 64, requiresArg: true, describe: 'query rows, spread over the tokens' })
    .option('policies', { type: 'boolean', default: false, describe: 'instead: every policy on one recipe, anchors chosen over a whole prompt and online' })
    .option('prompt', { type: 'number', default: 256, requiresArg: true, describe: 'with --policies: tokens of the prompt before the decode loop' })
    .option('device', { type: 'string', default: 'auto', requiresArg: true, describe: 'auto, emulated, or the number of a GPU' })
    .option('threads', { type: 'number', requiresArg: true, describe: 'threads for calibration (default: processor cores)' });

export type DemoArguments = Global & Awaited<ReturnType<typeof options>['argv']>;

/** What the 1-bit preset is shown without, so that the effect shows. */
const WITHOUT = ['gain=none', 'transform=none'] as const;

/** Every preset that is built for this head dim and rows of f16, and the 1-bit one without its gain, and without its basis of values. */
function usual(headDim: number): Variant[] {
  const built = [...PRESETS].filter(([, recipe]) => dtypeOf(recipe) === 'f16' && rejectRecipe(recipe, headDim).length === 0).map(([name, recipe]) => ({ name, recipe }));
  const at = built.findIndex(({ name }) => name === 'antkv-1');
  if (at >= 0) built.splice(at + 1, 0, ...WITHOUT.map((set) => ({ name: `antkv-1 ${set}`, recipe: setAxis(presetOf('antkv-1'), set) })));
  return built;
}

function variantsOf(argv: DemoArguments, headDim: number): Variant[] {
  if (argv.headDim !== undefined) throw new UsageError('--head-dim has no meaning here: the dump has its own', 'leave it out');
  const { preset, recipe, set, dtype } = argv;
  if (preset === undefined && recipe === undefined && set === undefined) return usual(headDim);
  return recipesOnDumps({ preset, recipe, set, headDim: [headDim], dtype } satisfies RecipeOptions).map((chosen) => ({ name: [chosen.name, ...(set ?? [])].join(' '), recipe: chosen.recipe }));
}

const percent = (error: number | null | undefined): string => (error === null || error === undefined ? '-' : (100 * error).toFixed(error < 0.001 ? 3 : 2));

/** Whose cache lives beside the table: the recipe to start from if it is there, else the first with anchors. */
const livingOf = (variants: readonly Variant[]): Variant | undefined =>
  variants.find(({ name }) => name === 'antkv-1') ?? variants.find(({ recipe }) => recipe.policy !== 'none' && recipe.selection === 'online');

/** One line per recipe: errors at window 0 and at its own window, without and with anchors. */
function lines({ rows }: DemoRecord): string {
  const names = [...new Set(rows.map(({ recipe }) => recipe))];
  const cells = names.map((name) => {
    const mine = rows.filter(({ recipe }) => recipe === name);
    const strict = mine.find(({ window }) => window === 0)!;
    const own = mine.find(({ window }) => window > 0);
    const worst = Math.max(...mine.flatMap(({ agreement: a }) => [a.decode_rel_l2, a.decode_anchors_rel_l2 ?? 0]));
    const errors = [strict.error, strict.errorWithAnchors, own?.error, own?.errorWithAnchors].map(percent);
    const agrees = mine.every(({ faults }) => faults.length === 0) ? worst.toExponential(1) : 'DISAGREES';
    return [name, strict.effectiveBits.toFixed(3), strict.codebookBytes, ...errors, agrees, strict.undertrained ? 'undertrained' : ''];
  });
  return table([['recipe', 'bits', 'codebook B', 'error %', '+ anchors', 'window: error %', '+ anchors', 'kernel vs reference', ''], ...cells]);
}

/** What the rows show of gain, basis and anchors; rows with undertrained codebooks stay out. */
function findings(rows: readonly DemoRow[]): string[] {
  const row = (name: string): DemoRow | undefined => rows.find(({ recipe, window, undertrained }) => recipe === name && window === 0 && !undertrained);
  const gain = row('antkv-1');
  const said: string[] = [];
  for (const [what, set] of [['gain on keys', WITHOUT[0]], ['values in a basis of their own', WITHOUT[1]]] as const) {
    const plain = row(`antkv-1 ${set}`);
    if (gain && plain) said.push(`${what}: ${percent(plain.error)} -> ${percent(gain.error)} % without anchors, ${percent(plain.errorWithAnchors)} -> ${percent(gain.errorWithAnchors)} % with them`);
  }
  if (gain && gain.errorWithAnchors !== null) said.push(`anchors (${gain.anchors} tokens, picked over all tokens): ${percent(gain.error)} -> ${percent(gain.errorWithAnchors)} %`);
  const left = [...new Set(rows.filter(({ undertrained }) => undertrained).map(({ recipe }) => recipe))];
  if (left.length > 0) said.push(`not compared, codebook undertrained (under 16 vectors per entry): ${left.join(', ')}`);
  return said;
}

async function run(argv: DemoArguments): Promise<void> {
  if ((argv.data === undefined) !== (argv.calib === undefined)) throw new UsageError('--data and --calib go together', 'give a dump to evaluate on and one of another text to calibrate on');
  for (const name of ['queries', 'prompt'] as const) whole(name, argv[name], 1);
  judgeThreads(argv.threads);
  const device = deviceOf(argv.device);
  const { demo, mustAgree } = await import('../../tuner/demo.ts');
  const { openDump } = await import('../../tuner/calibrate/file.ts');
  const evaluation = argv.data ?? FIXTURE('kv-eval-small');
  const file = openDump(evaluation);
  const { headDim, layers } = file.dump;
  file.close();

  const { tokens } = layers[0]!;
  const options = { evaluation, calibration: argv.calib ?? FIXTURE('kv-calib-small'), queries: Math.min(argv.queries, tokens), device, threads: argv.threads };
  if (argv.policies) {
    const named = argv.preset !== undefined || argv.recipe !== undefined;
    return runPolicies(argv, policyRecipe(variantsOf(named ? argv : { ...argv, preset: ['antkv-1'] }, headDim)), { ...options, tokens, prompt: argv.prompt });
  }

  const start = performance.now();
  const line = progress(argv, 'demo');
  const variants = variantsOf(argv, headDim);
  const record = await demo({
    ...options,
    variants,
    life: livingOf(variants),
    onProgress: (done, total, what) => line.step(done, total, what),
  }).finally(() => line.end());

  if (argv.json) for (const row of record.rows) outJson({ device: record.device, emulated: record.emulated, tokens: record.tokens, queries: record.queries, ...row });
  else out(lines(record));
  const { records = [], life } = record.lived ?? {};
  if (argv.json) records.forEach(outJson);
  else if (records.length > 0) out(`\n${lifeLines(records)}`);
  const where = `${record.device}${record.emulated ? ' (emulated; no GPU speed)' : ''}`;
  note(argv, `${where}: ${record.queries} queries over ${record.tokens} tokens, ${((performance.now() - start) / 1000).toFixed(0)} s. Errors: attention output against exact attention, relative L2; bits at ${USUAL_TOKENS} tokens; codebooks per layer and KV head`);
  if (record.why !== undefined) note(argv, `no GPU was used: ${record.why}`);
  for (const said of findings(record.rows)) note(argv, said);
  if (life) note(argv, `then the life of a cache, ${records[0]?.recipe}: a prompt of ${records[0]?.prompt} tokens, ${life.steps} decode steps. ${LIFE_WORDS}`);
  mustAgree(record.rows);
  if (record.lived) mustLiveOn(record.lived);
}

export const demoCommand: CommandModule<Global, DemoArguments> = {
  command: 'demo',
  describe: 'the whole algorithm on real K/V that ships in the repository',
  builder: (y) => options(y) as unknown as Argv<DemoArguments>,
  handler: run,
};

export default demoCommand;
