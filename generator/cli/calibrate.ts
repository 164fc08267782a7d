// gen calibrate: codebooks from a K/V dump.
import { existsSync } from 'node:fs';
import type { ArgumentsCamelCase, Argv, CommandModule } from 'yargs';
import { codebookLayout } from '../layout.ts';
import { codecOf } from '../codec.ts';
import { UsageError } from '../errors.ts';
import type { Recipe } from '../recipe.ts';
import { writeWhole } from '../write.ts';
import type { Global } from './commands.ts';
import { deviceOf } from './device.ts';
import { judgeOutput } from './output.ts';
import { note, out, outJson, progress, table } from './print.ts';
import { recipeOptions, recipesOf } from './select.ts';
import { judgeThreads, whole } from './whole.ts';
import type { Calibrated, Weights } from '../../tuner/calibrate/calibrate.ts';

const options = <T>(y: Argv<T>) =>
  recipeOptions(y)
    .positional('dump', { type: 'string', describe: 'safetensors file with keys and values (generator/format.ts)' })
    .option('out', { type: 'string', demandOption: true, requiresArg: true, describe: 'codebook file to write' })
    .option('layer', { type: 'number', array: true, nargs: 1, requiresArg: true, describe: 'layer of the dump (default: all)' })
    .option('weights', { type: 'string', requiresArg: true, describe: 'how much each token counts: none, column or exact, which need queries, or a safetensors file of weights (generator/format.ts) (default: exact with queries, none without)' })
    .option('power', { type: 'number', default: 1, requiresArg: true, describe: 'exponent of the weights' })
    .option('seed', { type: 'number', default: 0, requiresArg: true, describe: 'equal seeds give equal bytes, on any number of threads' })
    .option('iterations', { type: 'number', default: 25, requiresArg: true, describe: 'most Lloyd iterations per chunk' })
    .option('restarts', { type: 'number', default: 1, requiresArg: true, describe: 'starts to try for each chunk; the best is kept' })
    .option('refine', { type: 'number', default: 0, requiresArg: true, describe: 'most rounds of least squares with the gains that will be stored, after k-means; for sides with a gain' })
    .option('device', { type: 'string', default: 'cpu', requiresArg: true, describe: 'who clusters: cpu, auto or the number of a GPU, emulated; the codebooks are the same to rounding' })
    .option('threads', { type: 'number', requiresArg: true, describe: 'threads (default: processor cores)' })
    .option('tokens', { type: 'number', requiresArg: true, describe: 'use the first tokens of the dump only' });

export type CalibrateArguments = Global & Awaited<ReturnType<typeof options>['argv']>;

function checkNumbers(argv: CalibrateArguments): void {
  whole('seed', argv.seed, 0);
  whole('iterations', argv.iterations, 1);
  whole('restarts', argv.restarts, 1);
  whole('refine', argv.refine, 0);
  judgeThreads(argv.threads);
  whole('tokens', argv.tokens, 1);
  argv.layer?.forEach((layer) => whole('layer', layer, 0));
  if (!(argv.power >= 0 && argv.power <= 8)) throw new UsageError(`--power takes a number from 0 to 8, not ${argv.power}`, 'leave --power out for the default');
}

const FORMS = ['none', 'column', 'exact'] as const;

/** What is no form is a file; one that is not there is more likely a form that was misspelt. */
function weightsOf(word: string | undefined): Weights | undefined {
  const form = FORMS.find((name) => name === word);
  if (word === undefined || form) return form;
  if (!existsSync(word)) throw new UsageError(`--weights takes ${FORMS.join(', ')} or a file that is there, not "${word}"`, 'generator/format.ts specifies files of weights');
  return { file: word };
}

/** The one recipe that the options name, checked at the head dim of the dump. */
function recipeOf(argv: CalibrateArguments, headDim: number): { name: string; recipe: Recipe } {
  if (argv.dtype !== undefined && argv.dtype !== 'f16') throw new UsageError(`--dtype ${argv.dtype} has no meaning here: dumps have rows of f16`, 'leave it out');
  if (argv.headDim !== undefined) throw new UsageError('--head-dim has no meaning here: the dump has its own', 'leave it out');
  const chosen = recipesOf({ preset: argv.preset, recipe: argv.recipe, set: argv.set, headDim: [headDim], dtype: argv.dtype });
  if (chosen.length !== 1) throw new UsageError(`codebooks are made for one recipe, not ${chosen.length}`, 'give one --preset or one --recipe; those of recipes by layer are made by python3 -m eval.codebooks --plan');
  return chosen[0]!;
}

/** Distortions in percent, one line per layer, side and head: of each chunk, or of the codebook that chunks share. */
function lines({ chunks }: Calibrated): string {
  const groups = new Map<string, number[]>();
  for (const { layer, side, head, distortion } of chunks) {
    const key = `${layer} ${side} ${head ?? 'all'}`;
    groups.set(key, [...(groups.get(key) ?? []), 100 * distortion]);
  }
  const rows = [...groups].map(([key, values]) => {
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    return [...key.split(' '), mean.toFixed(2), values.map((value) => value.toFixed(1).padStart(4)).join(' ')];
  });
  return table([['layer', 'side', 'head', 'mean %', 'distortion of each codebook, %'], ...rows]);
}

async function run(argv: ArgumentsCamelCase<CalibrateArguments>): Promise<void> {
  checkNumbers(argv);
  const { checkWritable, openDump } = await import('../../tuner/calibrate/file.ts');
  const { calibrate } = await import('../../tuner/calibrate/calibrate.ts');
  const start = performance.now();
  // Optional to yargs, whose own message would name no example.
  const words = argv._.length - 1 + (argv.dump === undefined ? 0 : 1);
  if (argv.dump === undefined || words !== 1) throw new UsageError(`gen calibrate takes one dump, not ${words}`, 'gen calibrate DUMP.safetensors --out CODEBOOK.safetensors');
  judgeOutput(argv.out, [argv.dump, argv.weights, ...(argv.recipe ?? [])]);
  const file = openDump(argv.dump);
  const line = progress(argv, 'calibrating');
  try {
    const { name, recipe } = recipeOf(argv, file.dump.headDim);
    checkWritable(argv.out);
    const { seed, iterations, power, threads, tokens, restarts, refine } = argv;
    const weights = weightsOf(argv.weights);
    const result = await calibrate(file, {
      ...{ recipe, layers: argv.layer, seed, iterations, weights, power, threads, tokens, restarts, refine, device: argv.device === 'cpu' ? 'cpu' : deviceOf(argv.device, ['cpu']) },
      onProgress: ({ layer, what, done, total }) => line.step(done, total, `layer ${layer} ${what}`),
    }).finally(() => line.end());
    writeWhole(argv.out, result.bytes);

    const tensors = Object.entries(result.record.tensors);
    if (argv.json) {
      for (const chunk of result.chunks) outJson({ event: 'chunk', ...chunk });
      outJson({ event: 'codebook', file: argv.out, bytes: result.bytes.length, recipe: name, device: result.device, seconds: (performance.now() - start) / 1000, ...result.record });
    } else out(lines(result));
    const packed = [recipe.k, recipe.v].reduce((sum, codec) => sum + codebookLayout(codecOf(codec), file.dump.headDim).bytes, 0);
    note(argv, `${argv.out}: ${tensors.length} tensors for ${name}, clustered by ${result.device}, weights ${result.record.weights}, ${packed} bytes per layer and KV head when packed${recipe.scope === 'chunk' ? '' : ` (once for each chunk, though a ${recipe.scope} shares one)`}; ${((performance.now() - start) / 1000).toFixed(1)} s`);
    for (const [tensor, { refined }] of tensors) {
      if (refined) note(argv, `${tensor}: ${refined.rounds} round${refined.rounds === 1 ? '' : 's'} of least squares with gains, error ${(100 * refined.before).toFixed(3)} to ${(100 * refined.after).toFixed(3)} %`);
    }
    for (const [tensor, { undertrained, vectors_per_entry: per }] of tensors) {
      if (undertrained) note(argv, `undertrained: ${tensor} has ${per.toFixed(1)} vectors per entry, under 16; use more tokens before you compare it with others`);
    }
  } finally {
    file.close();
  }
}

export const calibrate: CommandModule<Global, CalibrateArguments> = {
  command: 'calibrate [dump]',
  describe: 'codebooks from K/V dumps',
  builder: (y) => options(y) as unknown as Argv<CalibrateArguments>,
  handler: run,
};

export default calibrate;
