// What a sweep would do, before it is begun: a sample is compiled, and from it what each step of pruning leaves and what every effort takes.
import PQueue from 'p-queue';
import { parseContractName } from '../../generator/name.ts';
import type { Op } from '../../generator/contract.ts';
import { drawOf, shuffled } from '../search/chance.ts';
import type { Nvcc } from '../nvcc.ts';
import { kernelNamed } from './names.ts';
import { mean } from './numbers.ts';
import { prunedByFacts, sameCode, type Facts } from './prune.ts';
import { isLost, recordedSeconds, toCubin, toPtx, type Lost } from './ptx.ts';
import type { PlannedTask } from './tasks.ts';

/** Kernels of a sample that are of one contract, at least, its default among them: a report on a kernel is judged beside its default's. */
const LEAST = 4;

/** What became of a kernel of the sample. */
export interface Sampled {
  readonly kernel: string;
  readonly contract: string;
  readonly op: Op;
  readonly isDefault: boolean;
  /** Seconds of both steps when they were made, now or before; null: nobody knows. */
  readonly seconds: number | null;
  readonly ptx?: string;
  readonly facts?: Facts;
  readonly lost?: Lost;
}

/** The kernels to compile: of each op `size` in all, of as few contracts as gives each its default and some more; all of every task if `size` is Infinity. */
export function sampleOf(tasks: readonly PlannedTask[], size: number, seed: number): { kernel: string; task: PlannedTask }[] {
  const draw = drawOf(seed);
  const byOp = new Map<string, PlannedTask[]>();
  for (const task of tasks) {
    const { op } = parseContractName(task.task.contract);
    byOp.set(op, [...(byOp.get(op) ?? []), task]);
  }
  return [...byOp.values()].flatMap((own) => {
    if (size === Infinity) return own.flatMap((task) => task.task.kernels.map((kernel) => ({ kernel, task })));
    const chosen = shuffled(own, draw).slice(0, Math.max(1, Math.floor(size / LEAST)));
    return chosen.flatMap((task, i) => {
      const [usual, ...others] = task.task.kernels as [string, ...string[]];
      const share = Math.floor(size / chosen.length) + (i < size % chosen.length ? 1 : 0);
      return [usual, ...shuffled(others, draw).slice(0, Math.max(0, share - 1))].map((kernel) => ({ kernel, task }));
    });
  });
}

export interface CompileSample {
  readonly nvcc: Nvcc;
  readonly jobs: number;
  readonly onDone?: (done: number, total: number, kernel: string) => void;
}

/** Compiles a sample in both steps, through the build cache. Rejects only for faults of the machine. */
export async function compileSample(sample: ReturnType<typeof sampleOf>, { nvcc, jobs, onDone }: CompileSample): Promise<Sampled[]> {
  const queue = new PQueue({ concurrency: jobs });
  let done = 0;
  const one = async ({ kernel: name, task }: (typeof sample)[number]): Promise<Sampled> => {
    const kernel = kernelNamed(name);
    const about = { kernel: name, contract: task.task.contract, op: kernel.contract.op, isDefault: name === task.task.kernels[0] };
    const ptx = await toPtx(kernel, { nvcc });
    if (isLost(ptx)) return { ...about, seconds: null, lost: ptx };
    const cubin = await toCubin(ptx, kernel.arch, { nvcc });
    if (isLost(cubin)) return { ...about, seconds: null, ptx: ptx.ptx, lost: cubin };
    const [first, second] = [await recordedSeconds(ptx), await recordedSeconds(cubin)];
    return { ...about, seconds: first === null || second === null ? null : first + second, ptx: ptx.ptx, facts: cubin.resources };
  };
  return Promise.all(sample.map((what) => queue.add(async () => {
    const sampled = await one(what);
    onDone?.(++done, sample.length, what.kernel);
    return sampled;
  }))).catch((error: unknown) => {
    queue.clear();
    throw error;
  });
}

/** Why kernels of a sample leave, by kernel: they did not compile, are another's twin, or ptxas speaks against them. */
export function leavers(sample: readonly Sampled[]): Map<string, { step: 'compile' | 'ptx' | 'ptxas'; why: string }> {
  const gone = new Map<string, { step: 'compile' | 'ptx' | 'ptxas'; why: string }>();
  const contracts = new Map<string, Sampled[]>();
  for (const one of sample) {
    const key = `${one.contract} ${kernelNamed(one.kernel).arch.name}`;
    contracts.set(key, [...(contracts.get(key) ?? []), one]);
  }
  for (const own of contracts.values()) {
    const usual = own.find(({ isDefault }) => isDefault);
    for (const { kernel, lost } of own) if (lost) gone.set(kernel, { step: 'compile', why: lost.why });
    const made = own.flatMap(({ kernel, ptx }) => (ptx === undefined || gone.has(kernel) ? [] : [{ kernel, ptx }]));
    for (const { kernel, why } of sameCode(made)) gone.set(kernel, { step: 'ptx', why });
    for (const { kernel, facts } of own) {
      const pruned = facts && !gone.has(kernel) && usual ? prunedByFacts(kernel, facts, { kernel: usual.kernel, facts: usual.facts }) : undefined;
      if (pruned) gone.set(kernel, { step: 'ptxas', why: pruned.why });
    }
  }
  return gone;
}

/** Kernels that are left after each step; `exact`: all were compiled, else shares of the sample. */
export interface Steps {
  readonly all: number;
  readonly formula: number;
  readonly compile: number;
  readonly ptx: number;
  readonly ptxas: number;
  readonly exact: boolean;
}

/** What each step leaves of a task. Kernels that were not compiled count as the sample of their op does, the defaults apart, which always stay. */
export function stepsOf({ task, all }: PlannedTask, sample: readonly Sampled[], gone: ReturnType<typeof leavers>): Steps {
  const { op } = parseContractName(task.contract);
  const own = new Set(task.kernels);
  const mine = sample.filter(({ kernel }) => own.has(kernel));
  const exact = mine.length === task.kernels.length;
  const judged = exact ? mine : sample.filter((one) => one.op === op && !one.isDefault);
  const n = task.kernels.length;
  const left = (steps: readonly string[]): number => {
    const out = judged.filter(({ kernel }) => steps.includes(gone.get(kernel)?.step ?? '')).length;
    return exact ? n - out : judged.length === 0 ? n : Math.round(1 + (n - 1) * (1 - out / judged.length));
  };
  return { all, formula: n, compile: left(['compile']), ptx: left(['compile', 'ptx']), ptxas: left(['compile', 'ptx', 'ptxas']), exact };
}

/** Seconds that a kernel of an op takes to compile, on one core: the mean of the sample; that of all ops where this one has none, undefined with an empty sample. */
export function compileSeconds(sample: readonly Sampled[], op: Op): number | undefined {
  const known = sample.flatMap(({ seconds, op: of }) => (seconds === null ? [] : [{ seconds, op: of }]));
  const own = known.filter((one) => one.op === op);
  return known.length > 0 ? mean((own.length > 0 ? own : known).map(({ seconds }) => seconds)) : undefined;
}

