// How long a sweep takes: compilers side by side with a GPU. What is not measured here is marked as assumed. Pure.
import { isCacheContract } from '../../generator/contract.ts';
import { parseContractName } from '../../generator/name.ts';
import { SCREEN_LAUNCHES, SCREEN_ROUNDS, TOGETHER } from '../tune/screen.ts';
import type { TimeModel } from '../tune/model.ts';
import type { Problem, Task } from '../tune/problem.ts';
import { expectedUs } from './arms.ts';
import type { Effort } from '../tune/strategy.ts';
import { EFFORTS, triedBy } from './effort.ts';
import { cacheBytes } from './grid.ts';
import type { PlannedTask } from './tasks.ts';

/** What a GPU spends beside the timed work: medians of a sweep of decode on an H200 (harness/bench/records); a compiler's time is assumed until a sample says better. */
export const ASSUMED = {
  /** Seconds of a core to compile a kernel in both steps, where none was. */
  compile: 2.5,
  /** Seconds to load a kernel and to run its quick checks. */
  verify: 0.27,
  /** Seconds to set a problem up in the runner and to ask the reference, beside filling its caches at so many bytes per second. */
  setUp: 0.12,
  fill: 20e9,
  /** Seconds of a request on data that are there already, beside its rounds. */
  request: 0.05,
  /** A round of an arm takes its time twice, as it runs once untimed before, and at least so many seconds; an op without a model is taken to need no longer. */
  sample: 2e-4,
  /** Requests of a race; share of its rounds that it takes until its intervals are narrow enough; arms that race. */
  blocks: 2.1,
  rounds: 0.6,
  racers: 8,
  /** Share of the problems whose winner is confirmed, for which data are made anew in a fresh process, and rounds of that. */
  confirmed: 0.5,
  confirm: 10,
} as const;

export interface Costs {
  /** Seconds that one kernel of a task takes to compile on a core; undefined where no sample says. */
  readonly compile: (task: Task) => number | undefined;
  readonly model: TimeModel | undefined;
  readonly sms: number;
  readonly jobs: number;
  /** GPUs that share the tasks. */
  readonly devices: number;
  readonly seed: number;
}

export interface Estimate {
  readonly effort: Effort;
  readonly kernels: number;
  /** Seconds: of all cores together, of all GPUs together, and by the clock on the wall. */
  readonly compile: number;
  readonly gpu: number;
  readonly wall: number;
}

/** Seconds of set-up of each problem; modes of one shape come one after the other and share its data. */
function setUps(problems: readonly Problem[]): number[] {
  const words = problems.map(({ shape }) => JSON.stringify(shape));
  return problems.map(({ contract, shape }, i) => {
    const parsed = parseContractName(contract);
    const alone = ASSUMED.setUp + (isCacheContract(parsed) ? cacheBytes(parsed, shape) / ASSUMED.fill : 0);
    return alone / words.filter((word) => word === words[i]).length;
  });
}

/** Seconds of a GPU for `tried` kernels of a task: checks, screens of all problems, races, confirmation. */
function gpuSeconds({ problems, kernels }: Task, tried: number, rounds: number, { model, sms }: Costs): number {
  const batches = Math.ceil(tried / TOGETHER);
  const ready = setUps(problems);
  const each = problems.map((problem, i) => {
    const us = (model && expectedUs(model, kernels[0]!, problem, sms)) ?? 0;
    const sample = Math.max(ASSUMED.sample, (2 * us) / 1e6);
    const arms = parseContractName(problem.contract).op === 'decode' ? SCREEN_LAUNCHES : 1;
    const screens = ready[i]! + batches * ASSUMED.request + tried * arms * SCREEN_ROUNDS * sample;
    const race = ASSUMED.blocks * ASSUMED.request + Math.min(ASSUMED.racers, tried * arms) * rounds * ASSUMED.rounds * sample;
    const confirm = ASSUMED.confirmed * (ready[i]! + ASSUMED.request + 2 * ASSUMED.confirm * sample);
    return screens + race + confirm;
  });
  return tried * ASSUMED.verify + each.reduce((a, b) => a + b, 0);
}

/** The costs of trying `tried(task)` kernels of every task. Compilers and GPUs work side by side, but for the first kernel. */
function sumOf(tasks: readonly PlannedTask[], tried: (task: PlannedTask) => number, rounds: number, costs: Costs): Omit<Estimate, 'effort'> {
  const counts = tasks.map(tried);
  const seconds = tasks.map(({ task }) => costs.compile(task) ?? ASSUMED.compile);
  const compile = seconds.reduce((sum, each, i) => sum + counts[i]! * each, 0);
  const gpu = tasks.reduce((sum, { task }, i) => sum + gpuSeconds(task, counts[i]!, rounds, costs), 0);
  const first = seconds[0] ?? 0;
  return { kernels: counts.reduce((a, b) => a + b, 0), compile, gpu, wall: first + Math.max(compile / costs.jobs, gpu / costs.devices) };
}

/** What an effort takes. */
export function estimate(tasks: readonly PlannedTask[], effort: Effort, costs: Costs): Estimate {
  const tried = ({ task, expected }: PlannedTask): number => triedBy(effort, task.kernels, expected, costs.seed);
  return { effort, ...sumOf(tasks, tried, EFFORTS[effort].rounds, costs) };
}

/** What fits a budget. */
export interface Fitting {
  /** The largest effort that fits; undefined if not even `quick` does. */
  readonly effort: Effort | undefined;
  /** Kernels of each task, the likeliest first, that fit where no effort does, beside the default. */
  readonly kernels: number;
  readonly wall: number;
}

/** What can be done in `seconds`: the largest effort of `estimates` that fits, else as many kernels of each task as there is time for; at least the default. */
export function fitting(tasks: readonly PlannedTask[], estimates: readonly Estimate[], seconds: number, costs: Costs): Fitting {
  const whole = (['exhaustive', 'full', 'quick'] as const).map((name) => estimates.find(({ effort }) => effort === name)).find((one) => one !== undefined && one.wall <= seconds);
  if (whole) return { effort: whole.effort, kernels: whole.kernels, wall: whole.wall };
  let kernels = 1;
  const wallOf = (most: number): number => sumOf(tasks, ({ task }) => Math.min(most, task.kernels.length), EFFORTS.quick.rounds, costs).wall;
  while (kernels < EFFORTS.quick.kernels && wallOf(kernels + 1) <= seconds) kernels++;
  return { effort: undefined, kernels, wall: wallOf(kernels) };
}
