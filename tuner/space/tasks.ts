// The tasks of a sweep: every contract and architecture with its problems, and its kernels in the order in which they are tried. Pure.
import { ARCHS, type Arch, type Machine } from '../../generator/arch.ts';
import type { Contract } from '../../generator/contract.ts';
import { contractName, kernelName } from '../../generator/name.ts';
import type { TimeModel } from '../tune/model.ts';
import type { Task } from '../tune/problem.ts';
import { problemsOf, type Tuning } from './grid.ts';
import { inOrder } from './order.ts';
import { spaceOf, type Refused } from './space.ts';

/** The device that a sweep is planned for; where none can be asked, the usual part of the architecture. */
export interface Target {
  readonly sms: number;
  readonly memoryBytes: number;
  /** What the model computes with. */
  readonly machine: Machine;
}

/** The usual part of an architecture: its SMs, the memory of the largest part that we know, its machine or the one nearest in architecture. */
export function usualTarget(arch: Arch): Target {
  const known = ARCHS.filter(({ machine }) => machine).toSorted((a, b) => Math.abs(ARCHS.indexOf(a) - ARCHS.indexOf(arch)) - Math.abs(ARCHS.indexOf(b) - ARCHS.indexOf(arch)));
  const machine = known[0]!.machine!;
  return { sms: arch.machine?.sms ?? arch.part?.sms ?? machine.sms, memoryBytes: 80 * 2 ** 30, machine };
}

export interface PlannedTask {
  readonly task: Task;
  /** What the model expects of each kernel, relative to the default; undefined for ops that it does not know. */
  readonly expected: ReadonlyMap<string, number> | undefined;
  readonly refused: readonly Refused[];
  /** Tiles before the formula. */
  readonly all: number;
}

/** The task of a contract on an architecture; undefined if nothing of it can be measured ({@link problemsOf}). */
export function taskOf(contract: Contract, arch: Arch, tuning: Tuning, { sms, memoryBytes }: Pick<Target, 'sms' | 'memoryBytes'>, model: TimeModel | undefined): PlannedTask | undefined {
  const problems = problemsOf(contract, tuning, memoryBytes);
  if (problems.length === 0) return undefined;
  const { kernels, refused, all } = spaceOf(contract, arch);
  const names = kernels.map(kernelName);
  const ranked = inOrder(names, names[0]!, problems, model, sms);
  return { task: { arch: arch.name, contract: contractName(contract), problems, kernels: [...ranked.names] }, expected: ranked.costs, refused, all };
}

/** The tasks of all contracts on all architectures that have one, each once; architectures by turns, so that a sweep that is cut off has something of each. */
export function tasksOf(contracts: readonly Contract[], archs: readonly Arch[], tuning: Tuning, target: (arch: Arch) => Pick<Target, 'sms' | 'memoryBytes'>, model: (arch: Arch) => TimeModel | undefined): PlannedTask[] {
  const once = [...new Map(contracts.map((contract) => [contractName(contract), contract])).values()];
  return once.flatMap((contract) => archs.flatMap((arch) => taskOf(contract, arch, tuning, target(arch), model(arch)) ?? []));
}
