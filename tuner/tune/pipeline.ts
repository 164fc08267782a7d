// A task from its kernels to its winners: the one body of a sweep, for the pool of this machine and for a worker of a cluster.
import { bringDefault } from './bring.ts';
import { problemKey } from './problem.ts';
import { confirmAt, raceAt, type Raced } from './race-phase.ts';
import { search } from './search-phase.ts';
import { DefaultLost, TaskSession, type TaskRun } from './session.ts';

/** Of a task's part of the budget: the rest is for races. */
const SEARCH_SHARE = 0.6;

export interface TaskEnd {
  /** False: the signal came first. */
  readonly done: boolean;
  /** Why the default kernel could not be measured, and nothing of the task. */
  readonly defaultLost?: { readonly kind: DefaultLost['fault']; readonly why: string };
}

/**
 * Works on a task until its problems are settled, its time is up or the signal comes; all that is found goes through `write`, and what `past` holds is not measured
 * again. Throws EnvironmentError where the machine is at fault.
 */
export async function runTask(run: TaskRun): Promise<TaskEnd> {
  const { task, signal, clock } = run;
  const session = new TaskSession(run);
  if (run.deadline !== undefined) session.deadline = clock.now() + SEARCH_SHARE * (run.deadline - clock.now());
  const dropped = new Set<string>();
  try {
    await bringDefault(session);
    await search(session, dropped);
    if (signal.aborted) return { done: false };

    session.cut = session.late;
    session.deadline = run.deadline;
    const raced: Raced[] = [];
    for (const problem of task.problems) {
      if (session.state.settled(problem) || dropped.has(problemKey(problem))) continue;
      const one = await raceAt(session, problem);
      if (one) raced.push(one);
      if (signal.aborted) return { done: false };
    }
    for (const one of raced) {
      if (!(await confirmAt(session, one)) && signal.aborted) return { done: false };
    }
    return { done: true };
  } catch (error) {
    if (error instanceof DefaultLost) return { done: true, defaultLost: { kind: error.fault, why: error.message } };
    throw error;
  }
}
