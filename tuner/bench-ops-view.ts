// The ops beside decode, beside what they are held to. Pure.
import { contractName, parseKernelName } from '../generator/name.ts';
import type { CaseShape } from './bench-plan.ts';
import type { Row } from './bench-row.ts';
import { figures, linesOf, type Line } from './bench-table.ts';
import type { View } from './bench-views.ts';
import { AMORTISED_US, FLUSH_STEPS, OP_GOALS, type OpGoal } from './op-goals.ts';

const MARKED = ['rows', 'sampled_rows', 'flush'] as const satisfies readonly (keyof CaseShape)[];

/** A row measures a goal if contract and shape are its own; fields that a record does not have are 0. */
const serves = ({ kernel, shape, source, ok }: Row, goal: OpGoal): boolean =>
  source === 'antkv' && ok && contractName(parseKernelName(kernel).contract) === contractName(goal.contract) && shape.batch === goal.shape.batch && shape.tokens === goal.shape.tokens
  && MARKED.every((name) => (shape[name] ?? 0) === (goal.shape[name] ?? 0));

const cell = (value: number, unit: OpGoal['unit']): string => (unit === 'forward' ? `${value.toFixed(3)}x` : figures(value));

/** A page for each device and run that measured one of {@link OP_GOALS}. */
export function opViews(rows: readonly Row[]): View[] {
  const lines = linesOf(rows.filter(({ op }) => op !== 'decode'));
  const runs = new Map(lines.map(({ row: { environment } }) => [JSON.stringify([environment.device, environment.run]), environment.device]));
  return [...runs].flatMap(([run, device]) => {
    const own = lines.filter(({ row: { environment } }) => JSON.stringify([environment.device, environment.run]) === run);
    const best = OP_GOALS.map((goal) => own.filter(({ row }) => serves(row, goal)).toSorted((a, b) => a.row.us.median - b.row.us.median)[0]);
    const cells = OP_GOALS.flatMap((goal, i) => (best[i] ? [goalCells(goal, best[i])] : []));
    if (cells.length === 0) return [];
    return [{
      title: `The ops beside decode, ${device}`,
      head: ['what', 'how', 'µs', 'b2b µs', 'of the forward pass', 'reach', 'aim', ''],
      rows: cells,
      notes: ['At most reach, and aim where the floors allow it: µs, or the part of the fastest causal FP16 forward pass over the same 32K prompt. 32 query and 8 KV heads, head dim 128, 8c8b / 8c8bq8 with a gain on keys. b2b: one of many steps in a graph, as in a decode loop; what is held to 6 µs is held there.', ...amortised(best)],
    }];
  });
}

function goalCells({ title, unit, reach, aim }: OpGoal, { row, overFp16 }: Line): string[] {
  const part = overFp16 === undefined ? undefined : 1 / overFp16;
  const value = { us: row.us.median, b2b: row.b2b_us, forward: part }[unit];
  const met = value === undefined ? '-' : aim !== undefined && value <= aim ? '✓✓' : value <= reach ? '✓' : '✗';
  return [title, row.kernel.replace(/^.*__/, ''), figures(row.us.median), figures(row.b2b_us), part === undefined ? '-' : `${part.toFixed(3)}x`, cell(reach, unit), aim === undefined ? '-' : cell(aim, unit), met];
}

/** What a step of append takes in the mean, for each contract of which both kinds of step were measured. */
function amortised(best: readonly (Line | undefined)[]): string[] {
  return OP_GOALS.flatMap((goal, i) => {
    const j = OP_GOALS.findIndex((other) => contractName(other.contract) === contractName(goal.contract) && (other.shape.flush ?? 0) > 0);
    const [quiet, all] = [best[i], best[j]];
    if (goal.contract.op !== 'append' || (goal.shape.flush ?? 0) > 0 || !quiet || !all) return [];
    const us = ((FLUSH_STEPS - 1) * quiet.row.b2b_us + all.row.b2b_us) / FLUSH_STEPS;
    return [`A step of ${contractName(goal.contract)} in the mean, one of many in a graph, all 16 sequences flushing every ${FLUSH_STEPS} steps: ${figures(us)} µs (at most ${AMORTISED_US}) ${us <= AMORTISED_US ? '✓' : '✗'}.`];
  });
}
