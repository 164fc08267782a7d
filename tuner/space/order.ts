// The order in which kernels are compiled and tried: what the model expects to be fastest over all problems comes first, behind the default. Pure.
import type { TimeModel } from '../tune/model.ts';
import type { Problem } from '../tune/problem.ts';
import { expectedUs } from './arms.ts';
import { geomean } from './numbers.ts';
import { candidateOf } from './space.ts';

/** How far a kernel's fields are from the default's: octaves of numbers, one for each word. What orders ops that no model knows. */
function distance(kernel: string, usual: string): number {
  const mine = candidateOf(kernel).fields;
  const other = candidateOf(usual).fields;
  return Object.entries(mine).reduce((sum, [name, value]) => {
    const was = other[name];
    return sum + (typeof value === 'number' && typeof was === 'number' ? Math.abs(Math.log2(value / was)) : value === was ? 0 : 1);
  }, 0);
}

/** The geometric mean over `problems` of a kernel's expected time, in microseconds; undefined where the model knows none of them. */
function expectedMean(model: TimeModel, kernel: string, problems: readonly Problem[], sms: number): number | undefined {
  const times = problems.flatMap((problem) => expectedUs(model, kernel, problem, sms) ?? []);
  return times.length > 0 ? geomean(times) : undefined;
}

/** The model's costs of `names` as a search counts them: time over that of `usual`. Undefined where the model does not know the op. */
export function modelCosts(model: TimeModel, names: readonly string[], usual: string, problems: readonly Problem[], sms: number): Map<string, number> | undefined {
  const of = expectedMean(model, usual, problems, sms);
  return of === undefined ? undefined : new Map(names.map((name) => [name, expectedMean(model, name, problems, sms)! / of]));
}

export interface Ranked {
  /** The default first. */
  readonly names: readonly string[];
  /** What the model expects of each, relative to the default; undefined for ops that it does not know. */
  readonly costs: ReadonlyMap<string, number> | undefined;
}

/**
 * `names` with the default first and the others by the model's cost; by their distance to the default where there is no model of the op. Of equals the earlier name is
 * first: the order depends on nothing else.
 */
export function inOrder(names: readonly string[], usual: string, problems: readonly Problem[], model: TimeModel | undefined, sms: number): Ranked {
  const costs = model && modelCosts(model, names, usual, problems, sms);
  const keyed = names.map((name) => ({ name, key: costs?.get(name) ?? distance(name, usual) }));
  const rank = ({ name, key }: (typeof keyed)[number]): number => (name === usual ? -1 : key);
  return { names: keyed.toSorted((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1)).map(({ name }) => name), costs };
}
