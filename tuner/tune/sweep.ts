// gen tune on this machine: devices, tasks and searches brought together, with the journal as the one thing that is left of it.
import { availableParallelism } from 'node:os';
import { ARCHS, type Arch } from '../../generator/arch.ts';
import type { Contract } from '../../generator/contract.ts';
import { EnvironmentError, UsageError } from '../../generator/errors.ts';
import type { DeviceFacts, Table } from '../../generator/table/schema.ts';
import { eventsOf, readJournal } from '../journal/read.ts';
import { openJournal } from '../journal/write.ts';
import { fitFor } from '../model/fits.ts';
import { makeModel } from '../model/model.ts';
import { findNvcc, NVCC_FIX, type Nvcc } from '../nvcc.ts';
import { seedsOf, winnersOf } from '../search/seeds.ts';
import { STRATEGY } from '../search/strategies.ts';
import { EFFORTS } from '../space/effort.ts';
import type { Tuning } from '../space/grid.ts';
import { candidateOf } from '../space/space.ts';
import { tasksOf, usualTarget } from '../space/tasks.ts';
import { CompilePool, emulatedCompiler, nvccCompiler } from './compile-pool.ts';
import { measureBaselines } from './baselines.ts';
import { bootedAt, ceilingsOf, environmentOf, openDevices, type Devices, type Opened } from './devices.ts';
import type { Write } from './events.ts';
import { incumbentsOf, namedOf } from './incumbents.ts';
import type { Clock } from './measurer.ts';
import { runSweep, type PoolDevice, type SweepEnd } from './pool.ts';
import { problemKey, type Task } from './problem.ts';
import { SweepProgress } from './progress.ts';
import { stableText } from '../../generator/stable.ts';
import type { Effort, StrategyName } from './strategy.ts';

export interface SweepPlan {
  readonly contracts: readonly Contract[];
  readonly archs: readonly Arch[];
  readonly tuning: Tuning;
  readonly effort: Effort;
  /** Absent: the effort's own. */
  readonly strategy?: StrategyName;
  readonly seed: number;
  /** Tables of today: what wins ties, and where searches begin. */
  readonly tables: readonly Table[];
  /** Only these kernels beside the default, by contract and architecture: what is measured again because its code has changed. `all`: as many as the effort takes. */
  readonly only?: (arch: string, contract: string) => readonly string[] | 'all';
}

export interface Sweep extends SweepPlan {
  readonly devices: Devices;
  readonly journal: string;
  readonly header: { readonly version: string; readonly command: readonly string[] };
  readonly jobs?: number;
  /** Of a race at most; absent: the effort's own. */
  readonly rounds?: number;
  readonly budgetMs?: number;
  readonly retry: boolean;
  /** FP16 attention of PyTorch is timed too, for the report. */
  readonly baseline: boolean;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: SweepProgress) => void;
  readonly onNote: (text: string) => void;
}

/** The tasks of a plan on a device, kernels cut to the effort and to what tables chose before. Throws UsageError if there are none. */
export function tasksFor({ contracts, archs, tuning, effort, tables, only }: SweepPlan, device: Pick<DeviceFacts, 'cc' | 'sms' | 'memoryBytes'>): Task[] {
  // What computes is the device that measures, whatever its kernels were made for.
  const native = ARCHS.findLast(({ name }) => Number(name.slice(2)) <= device.cc) ?? ARCHS[0]!;
  const { machine } = usualTarget(native);
  const model = makeModel({ ...machine, sms: device.sms }, fitFor(machine));
  const planned = tasksOf(contracts, archs, tuning, () => device, () => model);
  const tasks = planned.flatMap(({ task }): Task[] => {
    const wanted = only?.(task.arch, task.contract) ?? 'all';
    if (wanted === 'all') {
      const chosen = new Set(namedOf(tables, task.arch, task.contract));
      return [{ ...task, kernels: task.kernels.filter((kernel, rank) => rank < EFFORTS[effort].kernels || chosen.has(kernel)) }];
    }
    const again = new Set(wanted);
    return again.size === 0 ? [] : [{ ...task, kernels: [task.kernels[0]!, ...task.kernels.slice(1).filter((kernel) => again.has(kernel))] }];
  });
  if (tasks.length > 0) return tasks;
  throw only
    ? new UsageError('nothing is stale: tables hold these contracts, and the kernels that they name have the code that was measured', 'leave --stale out to tune anew')
    : new UsageError(`nothing to tune for ${tuning.tunedFor} among these contracts`, 'combine has one tile and is not tuned; choose other contracts with --only, or other shapes');
}

/** The devices that can run kernels of these architectures; says which cannot. Throws EnvironmentError if none is left. */
function able(opened: readonly Opened[], archs: readonly Arch[], onNote: Sweep['onNote']): Opened[] {
  const least = Math.min(...archs.map(({ name }) => Number(name.slice(2))));
  const good = opened.filter(({ gpu, label }) => gpu.device.cc >= least || void onNote(`device ${label}, ${gpu.device.name}, is older than these kernels and left out`));
  if (good.length > 0) return good;
  throw new EnvironmentError(`no device here can run kernels of ${archs.map(({ name }) => name).join(', ')}`, 'name older architectures with --arch, for example sm80');
}

export interface SweepResult extends SweepEnd {
  readonly progress: SweepProgress['summary'];
  readonly tasks: readonly Task[];
}

/** Tunes. Throws UsageError if there is nothing to do, EnvironmentError where the machine lacks something, InputError for a journal that is none. */
export async function sweep(options: Sweep): Promise<SweepResult> {
  const { devices, archs, clock, signal, effort, seed, tables, tuning, onNote } = options;
  const newest = archs.some(({ name }) => Number(name.slice(2)) >= 90);
  const nvcc = devices === 'emulated' ? undefined : await findNvcc();
  if (devices !== 'emulated' && !nvcc) throw new EnvironmentError('nvcc was not found', NVCC_FIX);
  const opened = await openDevices(devices, clock, newest ? { emulatedArch: '90' } : {});
  const begun = clock.now();
  const deadline = options.budgetMs === undefined ? {} : { deadline: begun + options.budgetMs };
  try {
    const used = able(opened, archs, onNote);
    const first = used[0]!.gpu.device;
    // An older board takes what it can; kernels newer than it are for the others.
    const tasks = tasksFor({ ...options, archs: archs.filter(({ name }) => Number(name.slice(2)) <= Math.min(...used.map(({ gpu }) => gpu.device.cc))) }, first);
    const name = options.strategy ?? EFFORTS[effort].strategy;
    const { command, version } = options.header;
    const journal = await openJournal(options.journal, { writer: 'local', header: { version, command: [...command], seed, tunedFor: tuning.tunedFor }, now: () => clock.now() });
    const past = eventsOf(journal.lines);
    const settled = new Set(past.flatMap((event) => (event.event === 'settled' && event.why !== 'budget' ? [problemKey(event.problem)] : [])));
    const open = tasks.flatMap(({ problems }) => problems).filter((problem) => !settled.has(problemKey(problem))).length;
    const progress = new SweepProgress(open, clock, deadline.deadline);
    const write: Write = async (draft) => {
      await journal.write(draft);
      progress.take(draft);
      options.onProgress(progress);
    };
    try {
      const known = new Set(past.flatMap((event) => (event.event === 'task' ? [stableText(event.task)] : [])));
      for (const task of tasks) if (!known.has(stableText(task))) await write({ event: 'task', task, strategy: name, effort });
      const chosen = new Set(past.flatMap((event) => (event.event === 'incumbent' ? [stableText([event.problem, event.arm])] : [])));
      for (const { problem, arm } of tasks.flatMap((task) => incumbentsOf(task, tables, first))) if (!chosen.has(stableText([problem, arm]))) await write({ event: 'incumbent', problem, arm });
      const pooled = await devicesOf(used, nvcc, options.jobs ?? availableParallelism(), past, write);
      const winners = tables.flatMap(winnersOf);
      const run = runSweep({
        devices: pooled, tasks, write, clock, signal, seed, rounds: options.rounds ?? EFFORTS[effort].rounds, retry: options.retry, booted: bootedAt(), ...deadline,
        past: () => eventsOf(readJournal(journal.path).lines),
        strategyOf: (task) => STRATEGY[name]({ candidates: task.kernels.map(candidateOf), seeds: seedsOf(task, winners, first) }, seed),
        onLost: (label, error) => onNote(`device ${label} is lost, the others go on: ${error.message}`),
      });
      // Kernels that were asked for ahead, and that nobody waits for any more, would keep the machine busy after the signal or the end of the budget.
      const end = await run.finally(() => pooled.forEach(({ pool }) => pool.drop()));
      if (options.baseline && devices !== 'emulated' && !signal.aborted) {
        const { environment, label: device } = pooled[0]!;
        const left = deadline.deadline === undefined ? {} : { left: (deadline.deadline - clock.now()) / 1000 };
        const missing = await measureBaselines({ tasks, past: eventsOf(readJournal(journal.path).lines), environment, device, write, signal, ...left });
        if (missing !== undefined) onNote(missing);
      }
      return { ...end, tasks, progress: progress.summary };
    } finally {
      await journal.close();
    }
  } finally {
    await Promise.all(opened.map(({ gpu }) => gpu.close()));
  }
}

/** Environments and ceilings into the journal, once each; compile workers for each kind of device. */
async function devicesOf(opened: readonly Opened[], nvcc: Nvcc | undefined, jobs: number, past: ReturnType<typeof eventsOf>, write: Write): Promise<PoolDevice[]> {
  const pools = new Map<number, CompilePool>();
  const kinds = new Set(opened.map(({ gpu }) => gpu.device.cc)).size;
  const told = new Set(past.flatMap((event) => (event.event === 'ceilings' ? [event.environment] : [])));
  const out: PoolDevice[] = [];
  for (const { gpu, label } of opened) {
    const { cc } = gpu.device;
    const pool = pools.get(cc) ?? new CompilePool(nvcc ? nvccCompiler(nvcc, cc) : emulatedCompiler(), Math.max(1, Math.floor(jobs / kinds)));
    pools.set(cc, pool);
    const { facts, digest } = environmentOf(gpu, pool.nvcc);
    if (!told.has(digest)) {
      told.add(digest);
      await write({ event: 'environment', environment: digest, facts });
      await write(await ceilingsOf(gpu, digest, nvcc));
    }
    out.push({ measurer: gpu, environment: digest, pool, label });
  }
  return out;
}
