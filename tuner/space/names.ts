// Names that a search meets thousands of times, parsed once each.
import { parseKernelName, type Kernel } from '../../generator/name.ts';
import { linesOf, type Problem } from '../tune/problem.ts';

const kernels = new Map<string, Kernel>();
const lines = new WeakMap<Problem, number>();

/** The kernel of a name. Throws on a name that is none. */
export function kernelNamed(name: string): Kernel {
  const known = kernels.get(name) ?? parseKernelName(name);
  kernels.set(name, known);
  return known;
}

/** {@link linesOf} of a problem. */
export function linesOfProblem(problem: Problem): number {
  const known = lines.get(problem) ?? linesOf(problem);
  lines.set(problem, known);
  return known;
}
