// The launches that a kernel is tried with at a problem, and the time that a model expects of the best of them. Pure.
import { totalTokens } from '../bench-plan.ts';
import { launchesOf, launchWord } from '../bench-launch.ts';
import type { TimeModel } from '../tune/model.ts';
import type { Arm, Problem } from '../tune/problem.ts';
import { kernelNamed, linesOfProblem } from './names.ts';

/** Arms of a kernel at a problem on a device of `sms` multiprocessors, the likeliest best first: decode cut as the problem's mode says; one arm of other ops. */
export function armsOf(kernel: string, problem: Problem, sms: number): Arm[] {
  if (kernelNamed(kernel).contract.op !== 'decode') return [{ kernel, launch: '' }];
  const { lens, batch = 1, tokens = 0 } = problem.shape;
  const work = { batch: lens ? lens.filter((n) => n > 0).length || 1 : batch, tokens: lens ? Math.max(1, ...lens) : tokens, total: totalTokens(problem.shape), groups: linesOfProblem(problem), sms };
  const launches = launchesOf(kernelNamed(kernel), work).filter(({ spread }) => spread === (problem.mode === 'spread'));
  return launches.map((launch) => ({ kernel, launch: launchWord(launch) }));
}

/** The least time that the model gives to the launches of a kernel at a problem, in microseconds; undefined where it knows none. */
export function expectedUs(model: TimeModel, kernel: string, problem: Problem, sms: number): number | undefined {
  const times = armsOf(kernel, problem, sms).flatMap((arm) => model.us(problem, arm) ?? []);
  return times.length > 0 ? Math.min(...times) : undefined;
}
