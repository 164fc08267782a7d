// Where a search begins: the default, and what won before on the nearest device and for the nearest contracts. Pure.
import { AXES_OF, type Contract } from '../../generator/contract.ts';
import { contractName, kernelName, parseContractName, type Kernel } from '../../generator/name.ts';
import type { Table } from '../../generator/table/schema.ts';
import { kernelNamed } from '../space/names.ts';
import type { Task } from '../tune/problem.ts';

/** A kernel that won somewhere, on a device of `cc` (compute capability times 10) and `sms`; `wins`: at how many points. */
export interface Winner {
  readonly kernel: string;
  readonly cc: number;
  readonly sms: number;
  readonly wins: number;
}

/** Seeds beside the default, unless told: as many as a search's own starts. */
export const SEEDS = 6;

/** The kernels that won points of a table, best of all that was tried, shipped or not. */
export function winnersOf(table: Table): Winner[] {
  const wins = new Map<string, number>();
  for (const { points } of Object.values(table.contracts)) for (const { best } of points) wins.set(best.kernel, (wins.get(best.kernel) ?? 0) + 1);
  return [...wins].map(([kernel, count]) => ({ kernel, cc: table.device.cc, sms: table.device.sms, wins: count }));
}

/** Axes in which two contracts of one op differ. */
const difference = (a: Contract, b: Contract): number => AXES_OF[a.op].filter((axis) => a[axis] !== b[axis]).length;

export interface SeedOptions {
  readonly cc: number;
  readonly sms: number;
  readonly most?: number;
}

/**
 * The ids that a search of `task` begins with: the default, then kernels of the task with the tile of a winner of the same op; winners of the same contract before those
 * of others, those of the nearest device (capability, then SMs) first, then those with most wins. Tiles that the task does not have are left out.
 */
export function seedsOf(task: Task, winners: readonly Winner[], { cc, sms, most = SEEDS }: SeedOptions): string[] {
  const contract = parseContractName(task.contract);
  const arch = kernelNamed(task.kernels[0]!).arch;
  const there = new Set(task.kernels);
  const ranked = winners.flatMap((winner) => {
    const from: Kernel = kernelNamed(winner.kernel);
    const name = from.contract.op === contract.op ? kernelName({ contract, arch, tile: from.tile }) : '';
    if (!there.has(name)) return [];
    const device = 100 * Math.abs(winner.cc - cc) + Math.abs(Math.log2(winner.sms / sms));
    return [{ name, same: contractName(from.contract) === task.contract ? 0 : difference(from.contract, contract), device, wins: winner.wins }];
  });
  const sorted = ranked.toSorted((a, b) => a.same - b.same || a.device - b.device || b.wins - a.wins || (a.name < b.name ? -1 : 1));
  return [...new Set([task.kernels[0]!, ...sorted.map(({ name }) => name)])].slice(0, most + 1);
}
