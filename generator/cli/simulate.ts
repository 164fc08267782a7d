// gen simulate: the life of a cache on recorded keys and values, a record of anchors, bits and error every so many steps.
import type { Argv, CommandModule } from 'yargs';
import { DRAFT_ROWS } from '../layout.ts';
import { EXIT, UsageError } from '../errors.ts';
import { writeWhole } from '../write.ts';
import type { Global } from './commands.ts';
import { FIXTURE } from './demo.ts';
import { deviceOf } from './device.ts';
import { lifeLines, LIFE_WORDS, mustLiveOn } from './life-print.ts';
import { judgeOutput } from './output.ts';
import { note, out, outJson, progress } from './print.ts';
import { recipeOptions, recipesOnDumps } from './select.ts';
import { judgeThreads, whole } from './whole.ts';
import type { Simulation } from '../../tuner/simulate.ts';

const options = <T>(y: Argv<T>) =>
  recipeOptions(y)
    .option('data', { type: 'string', requiresArg: true, describe: 'dump to decode, with queries (default: the fixture)' })
    .option('calib', { type: 'string', requiresArg: true, describe: 'dump to calibrate on, another text of the same layer (default: the fixture)' })
    .option('steps', { type: 'number', default: 1000, requiresArg: true, describe: 'decode steps; each adds a token to every sequence' })
    .option('tokens-per-step', { type: 'number', default: 1, requiresArg: true, describe: 'tokens that a step adds, as accepted drafts do: 1 to 16' })
    .option('prompt', { type: 'number', default: 256, requiresArg: true, describe: 'tokens of each sequence before its first step' })
    .option('batch', { type: 'number', default: 1, requiresArg: true, describe: 'sequences at a time; one that reaches the end of the dump ends, and another begins' })
    .option('every', { type: 'number', requiresArg: true, describe: 'steps between two records (default: a twentieth of them)' })
    .option('seed', { type: 'number', default: 1, requiresArg: true, describe: 'of page numbers, slots and the order of batches: results do not depend on it' })
    .option('device', { type: 'string', default: 'auto', requiresArg: true, describe: 'auto, emulated, or the number of a GPU' })
    .option('threads', { type: 'number', requiresArg: true, describe: 'threads for calibration (default: processor cores)' })
    .option('out', { type: 'string', requiresArg: true, describe: 'also write the records to this file' });

export type SimulateArguments = Global & Awaited<ReturnType<typeof options>['argv']>;

/** The recipe that the options name; antkv-1 if they name none. */
function recipeOf(argv: SimulateArguments, headDim: number) {
  if (argv.headDim !== undefined) throw new UsageError('--head-dim has no meaning here: the dump has its own', 'leave it out');
  const { preset = [], recipe, set, dtype } = argv;
  const chosen = recipesOnDumps({ preset: preset.length === 0 && recipe === undefined ? ['antkv-1'] : preset, recipe, set, headDim: [headDim], dtype });
  if (chosen.length !== 1) throw new UsageError(`one recipe lives at a time, ${chosen.length} are named`, 'give one --preset or --recipe');
  return { name: [chosen[0]!.name, ...(set ?? [])].join(' '), recipe: chosen[0]!.recipe };
}

function summary({ life, records, device, emulated }: Simulation, milliseconds: number): string[] {
  const { events: e } = life;
  const last = records.at(-1);
  return [
    `${device}${emulated ? ' (emulated; no GPU speed)' : ''}: ${life.steps} steps, ${(milliseconds / 1000).toFixed(0)} s; ${e['starts']} sequences, ${e['appended']} tokens, ${e['flushes']} flushes, ${e['found']} anchors found, ${e['handed_back']} handed back`,
    `kernels against the simulation: output ${life.rel_l2?.toExponential(1)}, LSE and scores ${life.lse_err?.toExponential(1)}; ${e['code_ties']} of ${e['codes']} codes and ${e['anchor_ties']} anchors tied`,
    ...(last ? [LIFE_WORDS] : []),
    ...(last?.undertrained ? ['the codebook is undertrained (under 16 vectors per entry): errors are too large'] : []),
  ];
}

async function run(argv: SimulateArguments): Promise<void> {
  if ((argv.data === undefined) !== (argv.calib === undefined)) throw new UsageError('--data and --calib go together', 'give a dump to decode and one of another text to calibrate on');
  for (const name of ['steps', 'prompt', 'batch', 'every'] as const) whole(name, argv[name], 1);
  judgeThreads(argv.threads);
  whole('seed', argv.seed, 0);
  whole('tokens-per-step', argv.tokensPerStep, 1);
  if (argv.tokensPerStep > DRAFT_ROWS) throw new UsageError(`--tokens-per-step ${argv.tokensPerStep}: a sequence has at most ${DRAFT_ROWS} new rows in a step`, `--tokens-per-step ${DRAFT_ROWS}`);
  if (argv.out !== undefined) judgeOutput(argv.out, [argv.data, argv.calib, ...(argv.recipe ?? [])]);
  const device = deviceOf(argv.device);
  const { simulate } = await import('../../tuner/simulate.ts');
  const { checkWritable, openDump } = await import('../../tuner/calibrate/file.ts');
  const evaluation = argv.data ?? FIXTURE('kv-eval-small');
  const file = openDump(evaluation);
  const { headDim } = file.dump;
  file.close();
  const variant = recipeOf(argv, headDim);
  if (argv.out !== undefined) checkWritable(argv.out);

  const start = performance.now();
  const line = progress(argv, 'simulate');
  const simulation = await simulate({
    variant, evaluation, calibration: argv.calib ?? FIXTURE('kv-calib-small'), device, threads: argv.threads,
    steps: argv.steps, tokensPerStep: argv.tokensPerStep, prompt: argv.prompt, batch: argv.batch, seed: argv.seed, every: argv.every ?? Math.ceil(argv.steps / 20),
    onProgress: (done, total, what) => line.step(done, total, what),
  }).finally(() => line.end());

  const { records, why } = simulation;
  if (argv.out !== undefined) writeWhole(argv.out, records.map((record) => `${JSON.stringify(record)}\n`).join(''));
  if (argv.json) records.forEach(outJson);
  else if (records.length > 0) out(lifeLines(records));
  for (const words of summary(simulation, performance.now() - start)) note(argv, words);
  if (why !== undefined) note(argv, `no GPU was used: ${why}`);
  mustLiveOn(simulation);
  process.exitCode ??= EXIT.ok;
}

export const simulateCommand: CommandModule<Global, SimulateArguments> = {
  command: 'simulate',
  describe: 'the life of a cache: a decode loop on recorded K/V, every step checked',
  builder: (y) => options(y) as unknown as Argv<SimulateArguments>,
  handler: run,
};

export default simulateCommand;
