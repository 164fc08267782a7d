// gen bench: times of the kernels as the templates are now, beside what the device can do.
import type { Argv, CommandModule } from 'yargs';
import { EXIT, UsageError } from '../errors.ts';
import { kernelName } from '../name.ts';
import { writeWhole } from '../write.ts';
import { benchOptions, gridOf, kernelsToBench, planOf } from './bench-options.ts';
import type { Global } from './commands.ts';
import { deviceOf } from './device.ts';
import { judgeOutput } from './output.ts';
import { note, out, outJson, progress, table } from './print.ts';
import { readRowFiles } from './records.ts';
import type { Row } from '../../tuner/bench-row.ts';

const options = <T>(y: Argv<T>) =>
  benchOptions(y)
    .option('arch', { type: 'string', requiresArg: true, describe: 'architectures with commas, or native (default: sm80; of sheets sm90)' })
    .option('device', { type: 'string', default: 'auto', requiresArg: true, describe: 'auto, the number of a GPU, or emulated (times mean nothing)' })
    .option('baseline', { type: 'boolean', default: true, describe: 'FP16 rows of PyTorch, where it is installed (--no-baseline)' })
    .option('out', { type: 'string', requiresArg: true, describe: 'also write the records to this file' })
    .option('records', { type: 'string', array: true, nargs: 1, requiresArg: true, describe: 'measure nothing; read this file, also the records.jsonl of a pack' })
    .option('profile', { type: 'boolean', default: false, describe: 'measure nothing; build one kernel with -lineinfo and print the ncu command' })
    .option('keep', { type: 'string', requiresArg: true, describe: 'leave source, PTX and SASS of the kernels in this folder' });

/** Sheets are held to goals that the sm90 kernels must reach. */
const ARCHS = { sheet: 'sm90', other: 'sm80' };

/** What only a measurement needs. */
const MEASURING = ['arch', 'device', 'baseline', 'profile', 'keep', 'sheet', 'tiles', 'only', 'op', 'batch', 'tokens', 'splits', 'codes', 'rows', 'sampled', 'samples', 'preset', 'recipe', 'set', 'headDim', 'dtype'] as const;
const DEFAULTS: Readonly<Record<string, unknown>> = { device: 'auto', baseline: true, profile: false, tiles: 'default', splits: 'auto' };
const kebab = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

export type BenchArguments = Global & Awaited<ReturnType<typeof options>['argv']>;

const lines = (rows: readonly Row[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join('');

/** Rows as they come: on stdout with --json, and in the file, so that a run that is cut off leaves what it has. */
const keeper = (argv: BenchArguments, rows: Row[]) => (row: Row): void => {
  rows.push(row);
  if (argv.json) outJson(row);
  if (argv.out !== undefined) writeWhole(argv.out, lines(rows));
};

/** Prints what was measured as a table, then a page for each question that the rows answer, the goals last; sets the exit code if something is wrong. */
async function print(argv: BenchArguments, rows: readonly Row[]): Promise<void> {
  const { cellsOf, environmentWords, HEAD, linesOf } = await import('../../tuner/bench-table.ts');
  const { viewsOf } = await import('../../tuner/bench-views.ts');
  if (!argv.json && rows.length > 0) {
    out(table([HEAD, ...linesOf(rows).map(cellsOf)]));
    for (const { title, head, rows: cells, notes } of viewsOf(rows)) out(['', title, table([head, ...cells]), ...notes].join('\n'));
  }
  for (const words of new Set(rows.map(environmentWords))) note(argv, words);
  if (rows.length > 0) note(argv, 'µs: median of one step, cold L2, with its start; GB/s: useful bytes; floor: useful bytes at the measured read bandwidth; x FP16: over the fastest FP16 row of the same shape. harness/runner/README.md says how');
  const wrong = rows.filter(({ ok }) => !ok);
  for (const { kernel, shape, faults } of wrong) process.stderr.write(`wrong results: ${kernel} B${shape.batch} ${shape.tokens} tokens: ${faults.join('; ')}\n`);
  if (wrong.length > 0) process.exitCode = EXIT.wrong;
}

async function run(argv: BenchArguments): Promise<void> {
  const rows: Row[] = [];
  const keep = keeper(argv, rows);
  if (argv.out !== undefined) judgeOutput(argv.out, argv.records);
  if (argv.records !== undefined) {
    const idle = MEASURING.find((name) => argv[name] !== undefined && argv[name] !== DEFAULTS[name]);
    if (idle) throw new UsageError(`--records measures nothing: --${kebab(idle)} has no meaning`, 'leave one of them out');
    (await readRowFiles(argv, argv.records)).forEach(keep);
    return print(argv, rows);
  }
  const device = deviceOf(argv.device);
  if (argv.keep === '') throw new UsageError('--keep is empty', 'name a folder');
  if (argv.keep !== undefined || argv.profile) {
    const { keepListings, profileCommand } = await import('../../tuner/listings.ts');
    const grid = await gridOf(argv);
    const kernels = await kernelsToBench(argv, ARCHS.other);
    if (argv.keep !== undefined) for (const path of await keepListings(kernels, argv.keep)) note(argv, path);
    if (argv.profile) {
      if (kernels.length !== 1) throw new UsageError(`--profile takes one kernel, ${kernels.length} are selected`, `add --only, for example --only '*k8c8b*pre_gain'`);
      const command = await profileCommand(kernels[0]!, { batch: grid.batch[0]!, tokens: grid.tokens[0]!, splits: grid.splits === 'auto' ? undefined : grid.splits[0]?.splits }, argv.keep);
      return argv.json ? outJson({ kernel: kernelName(kernels[0]!), command }) : out(command);
    }
  }
  const plan = await planOf(argv, ARCHS);
  for (const words of plan.left) note(argv, `left out: ${words}`);
  const { bench } = await import('../../tuner/bench.ts');
  const line = progress(argv, 'measuring');
  let misses = 0;
  await bench({
    plan: plan.groups, device, baseline: argv.baseline,
    ...(argv.samples === undefined ? {} : { samples: argv.samples }),
    onRow: keep,
    onMiss: (what) => {
      line.end();
      if (!/^baseline|^no FP16/.test(what)) misses++;
      process.stderr.write(`${what}\n`);
    },
    onStep: (done, total, what) => line.step(done, total, what),
  }).finally(() => line.end());
  await print(argv, rows);
  if (misses > 0) process.exitCode = EXIT.wrong;
}

export const bench: CommandModule<Global, BenchArguments> = {
  command: 'bench',
  describe: 'times kernels on a GPU, beside what the device can do',
  builder: (y) => options(y) as unknown as Argv<BenchArguments>,
  handler: run,
};

export default bench;
