// The analytic model of time: the cost of a launch (generator/cost.ts) with factors that were fitted on measured times. Pure.
import type { Machine } from '../../generator/arch.ts';
import { codecOf } from '../../generator/codec.ts';
import { launchCost } from '../../generator/cost.ts';
import { keyMethod } from '../../generator/lookup.ts';
import type { Kernel } from '../../generator/name.ts';
import { ctasPerSm, parseLaunch } from '../bench-launch.ts';
import { kernelNamed, linesOfProblem } from '../space/names.ts';
import type { Arm, Problem } from '../tune/problem.ts';
import type { MakeModel } from '../tune/model.ts';

/** Where a decode kernel's loop spends its time, each with a factor of its own: the key method of `lookup`, `tally`, `rows` that expand codes, `copy` of exact rows. */
export const LOOPS = ['sum', 'turn', 'dot', 'tally', 'rows', 'copy'] as const;
export type Loop = (typeof LOOPS)[number];

/** The names that a fit gives factors to; a factor that is missing is 1. */
export const FACTORS = ['start', 'merge', 'launch', ...LOOPS.map((loop) => `loop.${loop}` as const)] as const;

/** The loop of a decode kernel. */
export function loopOf({ contract, tile }: Kernel): Loop {
  if (tile.algorithm === 'tally') return 'tally';
  if (tile.algorithm === 'lookup') return keyMethod(contract)!;
  return codecOf(contract.k!).kind === 'exact' && codecOf(contract.v!).kind === 'exact' ? 'copy' : 'rows';
}

/** Microseconds that each factor multiplies; their sum at factors of 1 is the model's time. Undefined for ops other than decode. */
export type Parts = Readonly<Record<string, number>>;

/** The parts of an arm's time on `machine`. Sequences of unequal lengths count by their mean where they are one line of work, by the longest where each is cut alone. */
export function partsOf(machine: Machine, problem: Problem, { kernel: name, launch }: Arm): Parts | undefined {
  const kernel = kernelNamed(name);
  if (kernel.contract.op !== 'decode') return undefined;
  const { shape } = problem;
  const how = parseLaunch(launch);
  const lens = (shape.lens ?? []).filter((n) => n > 0);
  const batch = shape.lens ? Math.max(1, lens.length) : shape.batch ?? 1;
  const tokens = shape.lens ? Math.max(1, how.spread ? lens.reduce((a, b) => a + b, 0) / batch : Math.max(...lens, 0)) : shape.tokens!;
  const work = {
    batch, tokens, lines: linesOfProblem(problem),
    ...(shape.anchor_permille === undefined ? {} : { anchors: shape.anchor_permille / 1000 }),
    ...(shape.window === undefined ? {} : { window: shape.window }),
  };
  const { start, loop, merge, launchUs } = launchCost(kernel, machine, work, { ...how, resident: ctasPerSm(kernel) });
  const us = (clocks: number): number => clocks / (machine.ghz * 1e3);
  return { start: us(start), [`loop.${loopOf(kernel)}`]: us(loop), merge: us(merge), launch: launchUs };
}

/** The time of parts under factors, in microseconds. */
export const timeOf = (parts: Parts, factors: Readonly<Record<string, number>>): number =>
  Object.entries(parts).reduce((sum, [name, us]) => sum + us * (factors[name] ?? 1), 0);

export const makeModel: MakeModel = (machine, fit) => ({
  us(problem, arm) {
    const parts = partsOf(machine, problem, arm);
    return parts && timeOf(parts, fit?.factors ?? {});
  },
});
