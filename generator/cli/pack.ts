// gen pack: what goes to machines that have neither Node nor network.
import type { Argv, CommandModule } from 'yargs';
import { UsageError } from '../errors.ts';
import { benchOptions, planOf } from './bench-options.ts';
import type { Global } from './commands.ts';
import { note, outJson, progress } from './print.ts';

const options = <T>(y: Argv<T>) =>
  benchOptions(y)
    .option('arch', { type: 'string', requiresArg: true, describe: 'architectures with commas (default: sm80,sm90; of sheets sm90)' })
    .option('measure', { type: 'boolean', default: false, describe: 'kernels, runner source and requests: "sh measure.sh" there writes records for "gen bench --records"' })
    .option('sms', { type: 'number', requiresArg: true, describe: 'multiprocessors of the GPU, for --splits auto (default: 132, H100 and H200)' })
    .option('emulated', { type: 'boolean', default: false, describe: 'kernels for the emulated driver: to try a pack without a GPU' })
    .option('sources', { type: 'boolean', default: false, describe: 'sources, which measure.sh compiles there with nvcc: small packs, made in seconds' })
    .option('out', { type: 'string', demandOption: true, requiresArg: true, describe: 'folder, or FILE.tar.gz' });

export type PackArguments = Global & Awaited<ReturnType<typeof options>['argv']>;

async function run(argv: PackArguments): Promise<void> {
  if (!argv.measure) throw new UsageError('gen pack: only measuring packs are built yet', 'gen pack --measure --out DIR');
  if (argv.emulated && argv.sources) throw new UsageError('--emulated and --sources contradict each other', 'leave one out');
  if (argv.out === '') throw new UsageError('--out is empty', 'name a folder, or FILE.tar.gz');
  const { sms } = argv;
  if (sms !== undefined && !(Number.isInteger(sms) && sms >= 1)) throw new UsageError(`--sms takes a whole number from 1, not ${sms}`, 'leave --sms out for 132');
  const plan = await planOf(argv, { sheet: 'sm90', other: 'sm80,sm90' });
  for (const words of plan.left) note(argv, `left out: ${words}`);
  const { kernelsOfCases, USUAL_SMS } = await import('../../tuner/bench-plan.ts');
  const groups = plan.groups(sms ?? USUAL_SMS);
  const { packMeasure } = await import('../../tuner/measure-pack.ts');
  const line = progress(argv, 'packing');
  const count = kernelsOfCases(groups.flat()).length;
  let done = 0;
  const packed = await packMeasure(argv.out, {
    groups, form: argv.emulated ? 'emulated' : argv.sources ? 'sources' : 'fatbins',
    ...(argv.samples === undefined ? {} : { samples: argv.samples }),
    onStep: (what) => line.step(++done, Math.max(done, count), what),
  }).finally(() => line.end());
  if (argv.json) outJson({ out: argv.out, ...packed });
  note(argv, `${argv.out}: ${packed.requests} requests; run "sh measure.sh" there, then "gen bench --records records.jsonl" here`);
}

export const pack: CommandModule<Global, PackArguments> = {
  command: 'pack',
  describe: 'a folder or archive for machines without Node and network (--measure)',
  builder: (y) => options(y) as unknown as Argv<PackArguments>,
  handler: run,
};

export default pack;
