// The two stages of a worker: compile a task's kernels into the work directory, and measure them there on the node's GPU with the body that every sweep has.
import { availableParallelism } from 'node:os';
import { CompileError, EnvironmentError, WrongResultError } from '../../generator/errors.ts';
import type { Table } from '../../generator/table/schema.ts';
import type { Nvcc } from '../nvcc.ts';
import { seedsOf, winnersOf } from '../search/seeds.ts';
import { STRATEGY } from '../search/strategies.ts';
import { EFFORTS } from '../space/effort.ts';
import { candidateOf } from '../space/space.ts';
import { helpersOf } from '../tune/arms.ts';
import { CompilePool, type Compiler } from '../tune/compile-pool.ts';
import { bootedAt, ceilingsOf, environmentOf, type Opened } from '../tune/devices.ts';
import type { Gpu } from '../tune/gpu.ts';
import { incumbentsOf } from '../tune/incumbents.ts';
import { runTask } from '../tune/pipeline.ts';
import type { Task } from '../tune/problem.ts';
import { stableText } from '../../generator/stable.ts';
import { objectCompiler } from './objects.ts';
import type { Stage, StageContext } from './worker.ts';

export interface CompileOptions {
  /** A compiler that leaves its outputs in `objects`. */
  readonly compiler: (objects: string) => Compiler;
  readonly jobs?: number;
}

/** Compiles what has no `compiled` or `failed` event yet, the helpers of the kernels first; a kernel that fails is an event. */
export const compileStage = ({ compiler, jobs = availableParallelism() }: CompileOptions): Stage => async ({ task, objects, past, write, signal }) => {
  const known = new Set(past.flatMap((event) => (event.event === 'compiled' || (event.event === 'failed' && (event.stage === 'compile' || event.stage === 'ptxas')) ? [event.kernel] : [])));
  const wanted = [...new Set([...helpersOf(task.kernels[0]!), ...task.kernels])].filter((kernel) => !known.has(kernel));
  const pool = new CompilePool(compiler(objects), jobs);
  signal.addEventListener('abort', () => pool.drop(), { once: true });
  // As many at once as there are compilers: a queue of all would hold their results until the end.
  const next = wanted.values();
  await Promise.all(Array.from({ length: jobs }, async () => {
    for (const kernel of next) {
      if (signal.aborted) return;
      const outcome = await pool.get(kernel);
      if ('lost' in outcome) {
        const { stage, kind, why, repro } = outcome.lost;
        await write({ event: 'failed', kernel, stage, kind, why, repro });
        continue;
      }
      const { ptx, inputs, registers, spillBytes, stackBytes, seconds } = outcome.built;
      await write({ event: 'compiled', kernel, nvcc: pool.nvcc, ptx, inputs, registers: Math.max(1, registers), spillBytes, stackBytes, seconds });
    }
  }));
};

export interface MeasureOptions {
  /** Opens the node's device. Throws EnvironmentError where there is none. */
  readonly open: (task: Task) => Promise<Opened>;
  /** Undefined where the node has none: then only what compile nodes made is measured. */
  readonly nvcc: Nvcc | undefined;
  /** Compiles on this node what compile nodes have not. */
  readonly local: (gpu: Gpu) => Compiler | undefined;
  readonly jobs?: number;
  /** Tables of today: what wins ties, and where searches begin. */
  readonly tables: readonly Table[];
}

/** What a task's events say of its environment and its search, each once, whatever the number of attempts. */
async function announce({ plan, task, past, write }: StageContext, { gpu }: Opened, nvcc: string, options: MeasureOptions): Promise<string> {
  const { facts, digest } = environmentOf(gpu, nvcc);
  if (!past.some((event) => event.event === 'environment' && event.environment === digest)) await write({ event: 'environment', environment: digest, facts });
  if (!past.some((event) => event.event === 'ceilings' && event.environment === digest)) await write(await ceilingsOf(gpu, digest, options.nvcc));
  if (!past.some(({ event }) => event === 'task')) await write({ event: 'task', task, strategy: plan.strategy, effort: plan.effort });
  const chosen = new Set(past.flatMap((event) => (event.event === 'incumbent' ? [stableText([event.problem, event.arm])] : [])));
  for (const { problem, arm } of incumbentsOf(task, options.tables, gpu.device)) if (!chosen.has(stableText([problem, arm]))) await write({ event: 'incumbent', problem, arm });
  return digest;
}

/** Measures a task, from where `past` ends. Throws EnvironmentError without a device or anything compiled, CompileError or WrongResultError where the default kernel is lost. */
export const measureStage = (options: MeasureOptions): Stage => async (context) => {
  const { plan, task, objects, past, here, write, clock, signal } = context;
  const opened = await options.open(task);
  const { gpu, label } = opened;
  try {
    // Machine code is of no use to the emulated driver.
    const usable = gpu.clock === 'emulated' ? [] : past;
    const pool = new CompilePool(objectCompiler(objects, usable, gpu.device.cc, options.local(gpu)), options.jobs ?? availableParallelism());
    if (pool.nvcc === 'none') throw new EnvironmentError('nothing was compiled for this task, and there is no nvcc here', 'see slurm/log of its compile job; or load CUDA in --prologue');
    const environment = await announce(context, opened, pool.nvcc, options);
    const space = { candidates: task.kernels.map(candidateOf), seeds: seedsOf(task, options.tables.flatMap(winnersOf), gpu.device) };
    const { defaultLost } = await runTask({ task, strategy: STRATEGY[plan.strategy](space, plan.seed), measurer: gpu, environment, pool, write, clock, signal, past, seed: plan.seed, rounds: EFFORTS[plan.effort].rounds, label, ...(here ? { booted: bootedAt() } : {}) });
    if (!defaultLost) return;
    const { kind, why } = defaultLost;
    const Fault = kind === 'ice' || kind === 'error' ? CompileError : WrongResultError;
    throw new Fault(`nothing of ${task.contract} was measured: ${why}`, `gen verify --only ${task.kernels[0]} shows it on a machine with such a GPU`);
  } finally {
    await gpu.close();
  }
};
