// What earlier tables chose: the arms that win ties, and the kernels that a search begins with. Pure.
import { parseCell } from '../../generator/table/words.ts';
import { placeOf } from '../../generator/table/steps.ts';
import { IDENTITY_KEYS } from '../../generator/table/find.ts';
import type { Identity, Table } from '../../generator/table/schema.ts';
import { launchWord } from '../bench-launch.ts';
import { parseContractName } from '../../generator/name.ts';
import { linesOf, placeOfProblem, type Arm, type Problem, type Task } from './problem.ts';

/** The arm that a table chooses for a problem; undefined where it does not know the contract. */
export function choiceAt({ axes, contracts }: Table, problem: Problem): Arm | undefined {
  const plane = contracts[problem.contract]?.modes[problem.mode];
  if (!plane) return undefined;
  const { streams, tokens } = placeOfProblem(problem);
  const cell = parseCell(plane.cells[placeOf(axes.streams, streams)]?.split(' ')[placeOf(axes.tokens, tokens)] ?? '');
  const choice = cell && plane.choices[cell.key];
  if (!choice) return undefined;
  const { kernel, ctas, spread, merge } = choice;
  if (parseContractName(problem.contract).op !== 'decode') return { kernel, launch: '' };
  const splits = Math.min(1024, Math.max(1, spread ? Math.floor(ctas / linesOf(problem)) : ctas));
  return { kernel, launch: launchWord({ splits, spread, merge }) };
}

/** What the tables of this very device chose for a task's problems, of kernels that the task has. */
export function incumbentsOf(task: Task, tables: readonly Table[], device: Identity): { problem: Problem; arm: Arm }[] {
  const own = tables.filter((table) => table.arch === task.arch && IDENTITY_KEYS.every((key) => table.device[key] === device[key]));
  return task.problems.flatMap((problem) => own.flatMap((table) => choiceAt(table, problem) ?? []).filter(({ kernel }) => task.kernels.includes(kernel)).slice(0, 1).map((arm) => ({ problem, arm })));
}

/** The kernels that tables name for a contract on an architecture. */
export const namedOf = (tables: readonly Table[], arch: string, contract: string): string[] =>
  [...new Set(tables.filter((table) => table.arch === arch).flatMap(({ contracts }) => Object.values(contracts[contract]?.modes ?? {}).flatMap((plane) => Object.values(plane.choices).map(({ kernel }) => kernel))))];
