// gen tune plan: the space before and after each step of pruning, a sample compiled, and how long each effort would take. Measures nothing.
import { availableParallelism } from 'node:os';
import type { Argv, CommandModule } from 'yargs';
import { UsageError } from '../errors.ts';
import { contractName, parseContractName } from '../name.ts';
import type { Global } from './commands.ts';
import { archsOf } from './names.ts';
import { detail, note, out, outJson, progress, table } from './print.ts';
import { contractsToTune, parseBudget, tuneOptions, tuningOf } from './tune-options.ts';
import { whole } from './whole.ts';
import type { Estimate } from '../../tuner/space/estimate.ts';
import type { Sampled, Steps } from '../../tuner/space/plan.ts';
import { duration } from '../../tuner/tune/progress.ts';

const options = <T>(y: Argv<T>) =>
  tuneOptions(y)
    .option('sample', { type: 'string', default: '8', requiresArg: true, describe: 'kernels of each op to compile; all: every kernel, so that nothing is estimated; 0: none' })
    .option('devices', { type: 'number', default: 1, requiresArg: true, describe: 'GPUs to share the work' });

export type TunePlanArguments = Global & Awaited<ReturnType<typeof options>['argv']>;

/** Of `--sample`. Throws UsageError. */
function sampleSize(text: string): number {
  if (text === 'all') return Infinity;
  if (/^\d{1,5}$/.test(text)) return Number(text);
  throw new UsageError(`--sample takes a whole number or all, not "${text}"`, 'leave --sample out for 8');
}

/** The tasks of the options. Throws UsageError if there are none. */
async function tasksFor(argv: TunePlanArguments) {
  const [{ tasksOf, usualTarget }, { makeModel }, { fitFor }] = await Promise.all([import('../../tuner/space/tasks.ts'), import('../../tuner/model/model.ts'), import('../../tuner/model/fits.ts')]);
  const tuning = await tuningOf(argv);
  const archs = await archsOf(argv.arch);
  const contracts = contractsToTune(argv);
  const modelOf = (arch: (typeof archs)[number]) => {
    const { machine } = usualTarget(arch);
    return makeModel(machine, fitFor(machine));
  };
  const tasks = tasksOf(contracts, archs, tuning, usualTarget, modelOf);
  if (tasks.length === 0) {
    const names = contracts.slice(0, 3).map(contractName).join(', ');
    throw new UsageError(`nothing to tune for ${tuning.tunedFor} among ${names}`, tuning.headDim === undefined ? 'combine has one tile that is fast enough and is not tuned; choose other contracts' : `its head dim is ${tuning.headDim}: add --head-dim ${tuning.headDim}, or choose contracts with --only '*_d${tuning.headDim}_*'`);
  }
  return { tasks, tuning, model: modelOf(archs[0]!), sms: usualTarget(archs[0]!).sms };
}

async function compiled(argv: TunePlanArguments, tasks: Awaited<ReturnType<typeof tasksFor>>['tasks'], jobs: number): Promise<Sampled[]> {
  const size = sampleSize(argv.sample);
  if (size === 0) return [];
  const [{ compileSample, sampleOf }, { findNvcc, NVCC_FIX }] = await Promise.all([import('../../tuner/space/plan.ts'), import('../../tuner/nvcc.ts')]);
  const nvcc = await findNvcc();
  if (!nvcc) {
    note(argv, `nvcc was not found, nothing is compiled: ${NVCC_FIX}`);
    return [];
  }
  const line = progress(argv, 'compiling');
  const onDone = (done: number, total: number, kernel: string): void => {
    line.step(done, total, kernel);
    detail(argv, kernel);
  };
  return compileSample(sampleOf(tasks, size, argv.seed), { nvcc, jobs, onDone }).finally(() => line.end());
}

const about = (steps: Steps, field: 'compile' | 'ptx' | 'ptxas', sampled: boolean): string | number => (!sampled ? '-' : steps.exact ? steps[field] : `~${steps[field]}`);

function sampleRows(sample: readonly Sampled[], gone: ReadonlyMap<string, { step: string; why: string }>): (string | number)[][] {
  return sample.map(({ kernel, seconds, facts }) => [
    kernel, seconds?.toFixed(1) ?? '-', facts?.registers ?? '-', facts ? facts.spillStores + facts.spillLoads : '-', facts?.stack ?? '-', gone.get(kernel)?.why ?? 'stays',
  ]);
}

const estimateRows = (estimates: readonly Estimate[]): (string | number)[][] => estimates.map(({ effort, kernels, compile, gpu, wall }) => [effort, kernels, duration(compile), duration(gpu), duration(wall)]);

async function run(argv: TunePlanArguments): Promise<void> {
  whole('jobs', argv.jobs, 1);
  whole('devices', argv.devices, 1);
  whole('seed', argv.seed, 0);
  const budget = argv.budget === undefined ? undefined : parseBudget(argv.budget);
  const jobs = argv.jobs ?? availableParallelism();
  const { tasks, tuning, model, sms } = await tasksFor(argv);
  const sample = await compiled(argv, tasks, jobs);
  const { compileSeconds, leavers, stepsOf } = await import('../../tuner/space/plan.ts');
  const { ASSUMED, estimate, fitting } = await import('../../tuner/space/estimate.ts');
  const { EFFORT_NAMES } = await import('../../tuner/tune/strategy.ts');
  const gone = leavers(sample);
  const steps = tasks.map((task) => ({ arch: task.task.arch, contract: task.task.contract, problems: task.task.problems.length, ...stepsOf(task, sample, gone) }));
  // Kernels that a later step will drop are counted as if they were measured: an upper bound.
  const costs = { compile: (task: (typeof tasks)[number]['task']) => compileSeconds(sample, parseContractName(task.contract).op), model, sms, jobs, devices: argv.devices, seed: argv.seed };
  const estimates = EFFORT_NAMES.map((effort) => estimate(tasks, effort, costs));
  const fits = budget === undefined ? undefined : fitting(tasks, estimates, budget, costs);

  if (argv.json) {
    const samples = sample.map(({ kernel, seconds, facts, lost }) => ({ kernel, seconds, ...(facts ? { registers: facts.registers, spills: facts.spillStores + facts.spillLoads, stack: facts.stack } : {}), lost: lost ?? null, leaves: gone.get(kernel) ?? null }));
    return outJson({ tunedFor: tuning.tunedFor, jobs, devices: argv.devices, tasks: steps, refused: argv.verbose ? tasks.flatMap(({ refused }) => refused) : undefined, sample: samples, estimates, assumed: ASSUMED, ...(fits ? { budget: { seconds: budget, ...fits } } : {}) });
  }
  for (const { kernel, why } of tasks.flatMap(({ refused }) => refused)) detail(argv, `refused  ${kernel}: ${why}`);
  const sampled = sample.length > 0;
  out(`Tuned for ${tuning.tunedFor}. Kernels left after each step${sampled && steps.some(({ exact }) => !exact) ? ' (~: as the sample went)' : ''}`);
  out(table([['contract', 'arch', 'points', 'tiles', 'formula', 'compile', 'PTX', 'ptxas'], ...steps.map((one) => [one.contract, one.arch, one.problems, one.all, one.formula, about(one, 'compile', sampled), about(one, 'ptx', sampled), about(one, 'ptxas', sampled)])]));
  if (sampled && (sample.length <= 40 || argv.verbose)) out(`\n${table([['sample', 's', 'registers', 'spills B', 'stack B', ''], ...sampleRows(sample, gone)])}`);
  out(`\n${table([['effort', 'kernels', `compile (${jobs} at once)`, 'GPU', `until done (${argv.devices} GPU${argv.devices > 1 ? 's' : ''})`], ...estimateRows(estimates)])}`);
  if (fits) out(`\n--budget ${argv.budget}: ${fits.effort ? `${fits.effort} fits, ${duration(fits.wall)}` : `the default and the ${fits.kernels - 1} likeliest other kernels of each contract, ${duration(fits.wall)}`}`);
  note(argv, `compile: seconds of one core${sampled ? `, from ${sample.length} kernels` : `, assumed ${ASSUMED.compile} s per kernel`}; GPU: the model's times, and ${ASSUMED.verify} s of checks per kernel, ${ASSUMED.setUp} s per problem, as on an H200`);
}

const tunePlan: CommandModule<Global, TunePlanArguments> = {
  command: 'plan',
  describe: 'the space before and after each step of pruning, a sample compiled, and the time of each effort; measures nothing',
  builder: (y) => options(y) as unknown as Argv<TunePlanArguments>,
  handler: run,
};

export default tunePlan;
