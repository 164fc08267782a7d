// A sweep without compilers and GPUs for the tests of tuner/cluster: real tasks through the real pipeline, on a device whose times are a function of arm and problem.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { parseArchs } from '../../../generator/arch.ts';
import { contractName, kernelName } from '../../../generator/name.ts';
import type { CeilingsRecord } from '../../../tuner/bench-schema.ts';
import { compileStage, measureStage } from '../../../tuner/cluster/stages.ts';
import { mergeWork } from '../../../tuner/cluster/merge.ts';
import { createWork, pathsOf, type WorkPlan } from '../../../tuner/cluster/work.ts';
import type { Stage } from '../../../tuner/cluster/worker.ts';
import { goalContract, GOALS } from '../../../tuner/goals.ts';
import { spaceOf } from '../../../tuner/space/space.ts';
import type { Compiler } from '../../../tuner/tune/compile-pool.ts';
import type { Gpu } from '../../../tuner/tune/gpu.ts';
import type { Clock } from '../../../tuner/tune/measurer.ts';
import { armWord, problemKey, type Arm, type Problem, type Task } from '../../../tuner/tune/problem.ts';

export const CLOCK: Clock = { now: () => Date.now(), sleep: async (ms) => void (await setTimeout(ms)) };
const sm80 = parseArchs('sm80', () => [])[0]!;

/** Tasks of two problems and `kernels` kernels each, every second one a contract of 8 columns; up to 12. */
export const tasksOf = (count: number, kernels = 6): Task[] =>
  Array.from({ length: count }, (_, i) => {
    const contract = goalContract(GOALS[Math.floor(i / 2)]!, 128, i % 2 === 0 ? 4 : 8);
    const problems = [4096, 32_768].map((tokens): Problem => ({ contract: contractName(contract), mode: 'sequence', shape: { batch: 1, tokens, q_heads: 32, kv_heads: 8 } }));
    return { arch: 'sm80', contract: contractName(contract), problems, kernels: spaceOf(contract, sm80).kernels.slice(0, kernels).map(kernelName) };
  });

export const PLAN: Omit<WorkPlan, 'schema' | 'tasks' | 'digest'> = { version: '0.1.0', command: ['gen', 'tune', '--scheduler', 'slurm'], seed: 1, effort: 'full', strategy: 'exhaustive', tunedFor: 'the default grid', maxKernels: 2, maxSlowdown: 1.03 };

export const fill = (work: string, count: number, kernels?: number): WorkPlan => createWork(work, tasksOf(count, kernels), PLAN);

const hexOf = (word: string): string => createHash('sha256').update(word).digest('hex');
/** From 100 to 267 us. */
const usOf = (arm: Arm, problem: Problem): number => 100 + Number.parseInt(hexOf(`${armWord(arm)} ${problemKey(problem)}`).slice(0, 6), 16) / 1e5;

const compiler = (ms: number): Compiler => ({
  nvcc: '13.0.88',
  async compile(kernel) {
    await setTimeout(ms);
    return { built: { kernel, path: '/dev/null', ptx: hexOf(kernel), inputs: hexOf(kernel).slice(0, 16), registers: 128, spillBytes: 0, stackBytes: 0, seconds: { ptx: 0.1, ptxas: 0.2 } } };
  },
});

/** A device that takes `ms` for each request, whatever is asked. */
const gpu = (ms: number): Gpu => ({
  device: { name: 'Fake GPU', cc: 80, sms: 108, sharedPerBlock: 166_912, l2Bytes: 41_943_040, busBits: 5120, memoryMhz: 1593, memoryBytes: 85_899_345_920, powerW: 400 },
  clock: 'gpu', driver: '580.1',
  add: () => {},
  verify: async () => ({ ok: true, checks: 10, worst: 1e-3 }),
  race: async ({ problem, arms, rounds }) => {
    await setTimeout(ms);
    return { arms, rounds: Array.from({ length: rounds }, () => ({ us: arms.map((arm) => usOf(arm, problem)), mhz: 1410, celsius: 40 })), discarded: 0, bytes: 1_000_000, session: 's', failed: [] };
  },
  probe: async () => ({ us: 10, mhz: 1410, celsius: 40 }),
  ceilings: async () => ({ id: 1, device: 'Fake GPU', cc: 80, multiprocessors: 108, l2_bytes: 41_943_040, memory_bytes: 85_899_345_920, driver: '580.1', emulated: false, copy: { gbps: 1400 } }) as unknown as CeilingsRecord,
  close: async () => {},
});

/** `ms` for each kernel. */
export const fakeCompile = (ms: number): Stage => compileStage({ compiler: () => compiler(ms), jobs: 1 });
/** `ms` for each block of rounds. */
export const fakeMeasure = (ms: number): Stage => measureStage({ open: async () => ({ gpu: gpu(ms), label: '0' }), nvcc: undefined, local: () => compiler(0), jobs: 1, tables: [] });

/** The table of a work directory, without the digest of the events that it was made of. */
export function readMerged(work: string): string {
  const table = JSON.parse(readFileSync(join(pathsOf(work).table, 'sm80/table.fake-gpu.json'), 'utf8')) as Record<string, unknown>;
  return JSON.stringify({ ...table, journals: [] }, undefined, 1);
}
export function merged(work: string): string {
  mergeWork(work);
  return readMerged(work);
}
