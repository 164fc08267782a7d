// The first half of a task: the search names kernels, compile workers make them ahead of the device, which checks and screens them in batches on every problem.
import { bring } from './bring.ts';
import { problemKey, type Problem } from './problem.ts';
import { costOf, givenUp, kernelRatio, SCREEN_ROUNDS, screenArms, screenOrder, TOGETHER, type Screened } from './screen.ts';
import type { TaskSession } from './session.ts';

/** Those that are screened, and as many that are compiled meanwhile: no more is asked ahead. */
export const WINDOW = 2 * TOGETHER;

const screens = (session: TaskSession): Screened[] => session.run.task.problems.map((problem) => session.state.screened(problem));

/** Screens kernels at one problem, those of which a process died alone. */
async function screenAt(session: TaskSession, problem: Problem, kernels: readonly string[], dropped: Set<string>): Promise<void> {
  const { state, run: { measurer } } = session;
  const screened = state.screened(problem);
  const open: string[] = [];
  for (const kernel of kernels) if (kernelRatio(screened, kernel) === undefined && (await session.mayBegin(kernel, 'screen', problem))) open.push(kernel);
  const alone = open.filter((kernel) => kernel !== session.usual && state.ends(kernel, 'screen', problem) > 0);
  const groups = [open.filter((kernel) => !alone.includes(kernel)), ...alone.map((kernel) => [kernel])].filter((group) => group.length > 0);
  for (const group of groups) {
    const usual = session.arm0(problem);
    const arms = screenArms(problem, group, measurer.device.sms).filter((arm) => !state.isLost(problem, arm) && !(arm.kernel === usual.kernel && arm.launch === usual.launch));
    if (arms.length === 0 && kernelRatio(screened, usual.kernel) !== undefined) continue;
    if (await session.measure(problem, [usual, ...arms], 'screen', SCREEN_ROUNDS)) continue;
    dropped.add(problemKey(problem));
    return;
  }
}

/**
 * Searches until the strategy has seen enough, time is up, or the signal comes. `dropped` gathers problems that do not fit the device. What the journal knows already is
 * not measured again, but told to the strategy in the same order: so a search that was interrupted goes on as if it had not been.
 */
export async function search(session: TaskSession, dropped: Set<string>): Promise<void> {
  const { run: { strategy, pool, signal, task }, state } = session;
  const queue: string[] = [];
  const over = (): boolean => signal.aborted || session.late;
  for (;;) {
    if (!strategy.done && queue.length < WINDOW) queue.push(...strategy.ask(WINDOW - queue.length));
    queue.forEach((kernel) => void pool.get(kernel));
    const batch = queue.splice(0, TOGETHER);
    if (batch.length === 0) break;
    const ready: string[] = [];
    for (const kernel of batch) {
      if (over()) return;
      if (await bring(session, kernel)) ready.push(kernel);
    }
    for (const kernel of [...ready]) {
      if (over()) return;
      if (!(await session.verify(kernel))) ready.splice(ready.indexOf(kernel), 1);
    }
    for (const problem of screenOrder(task.problems)) {
      if (over()) return;
      if (dropped.has(problemKey(problem))) continue;
      const known = screens(session);
      await screenAt(session, problem, ready.filter((kernel) => !state.lost.has(kernel) && !givenUp(known, kernel)), dropped);
    }
    const known = screens(session);
    // One with another's PTX is as good as that one.
    for (const kernel of batch) strategy.tell(kernel, state.lost.has(kernel) ? undefined : costOf(known, state.pruned.get(kernel)?.same ?? kernel));
  }
}
