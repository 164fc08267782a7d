// gen tune: races kernels and launches on this machine's GPUs, or submits that to a cluster; leaves a journal, and tables made of it.
import { relative, resolve } from 'node:path';
import type { Argv, CommandModule } from 'yargs';
import { EXIT, unknownName, UsageError } from '../errors.ts';
import { committedTables } from '../table/read.ts';
import { printTable } from '../table/words.ts';
import { checkFolder, writeWhole } from '../write.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { EFFORT_NAMES, STRATEGIES } from '../../tuner/tune/strategy.ts';
import type { Sweep, SweepPlan, SweepResult } from '../../tuner/tune/sweep.ts';
import type { Global } from './commands.ts';
import { lazy } from './lazy.ts';
import { archsOf } from './names.ts';
import { note, out, outJson, table } from './print.ts';
import { GENERATED } from './select.ts';
import { CLOCK, contractsToTune, parseBudget, tuneOptions, tuningOf } from './tune-options.ts';
import { shipOptions, shippingOf } from './ship-options.ts';
import { judgeScheduler, schedulerOptions, tuneOnSlurm } from './tune-slurm.ts';
import { report, sweepProgress, type MadeTable } from './tune-print.ts';
import { whole } from './whole.ts';

const SUBCOMMANDS = ['plan', 'model', 'worker', 'status'];

const options = <T>(y: Argv<T>) =>
  schedulerOptions(shipOptions(tuneOptions(y)))
    .option('device', { type: 'string', default: 'all', requiresArg: true, describe: 'all, numbers of GPUs with commas, or emulated (times mean nothing)' })
    .option('effort', { choices: EFFORT_NAMES, default: 'full' as const, requiresArg: true, describe: 'quick: the 8 likeliest kernels of each contract; full: a search; exhaustive: all of them' })
    .option('strategy', { choices: STRATEGIES, requiresArg: true, describe: "how kernels are searched (default: the effort's own)" })
    .option('journal', { type: 'string', default: 'tune.jsonl', requiresArg: true, describe: 'what is found is added here, and a sweep goes on from what it holds' })
    .option('stale', { type: 'boolean', default: false, describe: 'only what committed tables do not know as it is: contracts that none of them measured, and the kernels that have changed since of others' })
    .option('rounds', { type: 'number', requiresArg: true, describe: "rounds of a race at most: more tell closer rivals apart (default: the effort's own, 20 or 60)" })
    .option('retry', { type: 'boolean', default: false, describe: 'candidates that were lost before are tried again' })
    .option('baseline', { type: 'boolean', default: true, describe: 'FP16 times of PyTorch for the report, where it is installed (--no-baseline)' })
    .option('out', { type: 'string', requiresArg: true, describe: 'write the tables below this folder (default: generated/)' })
    .option('dry-run', { type: 'boolean', default: false, describe: 'measure nothing, submit nothing; print what would be' })
    .positional('verb', { type: 'string' })
    .hide('verb');

export type TuneArguments = Global & Awaited<ReturnType<typeof options>['argv']>;

function devicesOf(word: string): Sweep['devices'] {
  if (word === 'all' || word === 'emulated') return word;
  if (/^\d{1,4}(,\d{1,4})*$/.test(word)) return [...new Set(word.split(',').map(Number))];
  throw new UsageError(`--device takes all, emulated or numbers with commas, not "${word}"`, 'for example --device 0,1; leave --device out for all GPUs');
}

async function planOf(argv: TuneArguments): Promise<SweepPlan> {
  const archs = await archsOf(argv.arch);
  const tables = committedTables().map((named) => named.table);
  const plan = { contracts: contractsToTune(argv), archs, tuning: await tuningOf(argv), effort: argv.effort, seed: argv.seed, tables, ...(argv.strategy ? { strategy: argv.strategy } : {}) };
  if (!argv.stale) return plan;
  const [{ staleKernels }, { namedOf }] = await Promise.all([import('../../tuner/table/validate.ts'), import('../../tuner/tune/incumbents.ts')]);
  const stale = new Set(tables.flatMap(staleKernels));
  const measured = (arch: string, contract: string): boolean => tables.some((one) => one.arch === arch && (one.contracts[contract]?.origin ?? 'modelled') !== 'modelled');
  const only = (arch: string, contract: string): readonly string[] | 'all' => {
    if (!measured(arch, contract)) return 'all';
    const named = namedOf(tables, arch, contract);
    return named.some((kernel) => stale.has(kernel)) ? named : [];
  };
  return { ...plan, only };
}

/** Where tables go. */
const folderOf = ({ out: dir }: TuneArguments): string => (dir === undefined ? GENERATED : resolve(dir));

/** The tables of the journal. Emulated times are for trying the command: they never reach a table that is shipped. */
async function writeTables(argv: TuneArguments, journal: string, emulated: boolean): Promise<MadeTable[]> {
  const { mergeInto, readInputs } = await import('../../tuner/table/files.ts');
  const dir = folderOf(argv);
  const merged = mergeInto(readInputs([journal]), dir, { ...shippingOf(argv), emulated });
  const written = !emulated || argv.out !== undefined;
  return merged.map(({ file, table: made, notes }) => {
    const path = resolve(dir, file);
    if (written) writeWhole(path, printTable(made));
    for (const text of notes) note(argv, `${file}: ${text}`);
    return { file: relative(process.cwd(), path), written, contracts: Object.keys(made.contracts).length, kernels: Object.keys(made.kernels).length };
  });
}

/** The first signal ends the sweep behind the measurement at hand, the second at once. */
function stopper(argv: TuneArguments): AbortSignal {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.removeAllListeners(signal);
    process.on(signal, () => {
      if (stop.signal.aborted) process.exit(EXIT.interrupted);
      note(argv, '\nending after the measurement at hand; once more ends at once');
      stop.abort();
    });
  }
  return stop.signal;
}

function exitCodeOf({ ends }: SweepResult, interrupted: boolean): number {
  if (interrupted) return EXIT.interrupted;
  const lost = ends.flatMap(({ end }) => end.defaultLost ?? []);
  if (lost.some(({ kind }) => kind !== 'ice' && kind !== 'error')) return EXIT.wrong;
  return lost.length > 0 ? EXIT.compile : EXIT.ok;
}

async function run(argv: TuneArguments): Promise<void> {
  if (argv.out === '') throw new UsageError('--out is empty', 'name a folder');
  if (argv.verb !== undefined) throw unknownName('command of gen tune', argv.verb, SUBCOMMANDS);
  whole('jobs', argv.jobs, 1);
  whole('seed', argv.seed, 0);
  whole('rounds', argv.rounds, 1);
  judgeScheduler(argv);
  const shipping = shippingOf(argv);
  const devices = devicesOf(argv.device);
  const budget = argv.budget === undefined ? {} : { budgetMs: 1000 * parseBudget(argv.budget) };
  const plan = await planOf(argv);
  const { sweep, tasksFor } = await import('../../tuner/tune/sweep.ts');
  if (argv.dryRun || argv.scheduler) {
    const { usualTarget } = await import('../../tuner/space/tasks.ts');
    const newest = plan.archs.at(-1)!;
    const tasks = tasksFor(plan, { ...usualTarget(newest), cc: Number(newest.name.slice(2)) });
    const { CHOOSE_DEFAULTS } = await import('../../tuner/table/choose.ts');
    const { EFFORTS: efforts } = await import('../../tuner/space/effort.ts');
    if (argv.scheduler) {
      return tuneOnSlurm(argv, tasks, { version: packageJson.version, command: ['gen', ...process.argv.slice(2)], seed: argv.seed, effort: argv.effort, strategy: argv.strategy ?? efforts[argv.effort].strategy, tunedFor: plan.tuning.tunedFor, ...CHOOSE_DEFAULTS, ...shipping });
    }
    if (argv.json) return outJson({ tunedFor: plan.tuning.tunedFor, tasks: tasks.map(({ arch, contract, problems, kernels }) => ({ arch, contract, problems: problems.length, kernels: kernels.length })) });
    return out(table([['contract', 'arch', 'points', 'kernels'], ...tasks.map(({ arch, contract, problems, kernels }) => [contract, arch, problems.length, kernels.length])]));
  }
  if (devices !== 'emulated' || argv.out !== undefined) checkFolder(folderOf(argv)); // hours before the tables
  const signal = stopper(argv);
  const line = sweepProgress(argv);
  const result = await sweep({
    ...plan, ...budget, devices, clock: CLOCK, signal, retry: argv.retry, baseline: argv.baseline, journal: argv.journal, ...(argv.jobs === undefined ? {} : { jobs: argv.jobs }), ...(argv.rounds === undefined ? {} : { rounds: argv.rounds }),
    header: { version: packageJson.version, command: ['gen', ...process.argv.slice(2)] },
    onProgress: line.step,
    onNote: (text) => {
      line.end();
      note(argv, text);
    },
  }).finally(() => line.end());
  const tables = await writeTables(argv, argv.journal, devices === 'emulated');
  report(argv, result, tables, argv.journal);
  for (const { task, end } of result.ends) if (end.defaultLost) process.stderr.write(`nothing of ${task.contract} for ${task.arch} was measured: ${end.defaultLost.why}\n  fix: gen verify --only ${task.kernels[0]} shows it\n`);
  const code = exitCodeOf(result, signal.aborted);
  if (code !== EXIT.ok) process.exitCode = code;
}

export const tune: CommandModule<Global, TuneArguments> = {
  command: 'tune',
  describe: 'races kernels and launches on GPUs; leaves a journal, and tables made of it',
  builder: (y) =>
    y
      .command({ command: '$0 [verb]', describe: false, builder: (z: Argv) => options(z).strict(), handler: run } as unknown as CommandModule)
      .command(lazy('plan', 'the space, a sample compiled, and the time of each effort; measures nothing', async () => (await import('./tune-plan.ts')).default) as CommandModule)
      .command(lazy('model', 'the table of a device that nobody has measured, from the analytic model', async () => (await import('./tune-model.ts')).default) as CommandModule)
      .command(lazy('worker', 'one stage of one task of a work directory (what the jobs of --scheduler run)', async () => (await import('./tune-worker.ts')).default) as CommandModule)
      .command(lazy('status', 'how far the work directory of a sweep is', async () => (await import('./tune-status.ts')).default) as CommandModule) as unknown as Argv<TuneArguments>,
  handler: () => undefined,
};

export default tune;
