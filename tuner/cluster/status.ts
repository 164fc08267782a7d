// How far a work directory is: read from its files alone, on any machine that sees them.
import { eventsOf, readJournal } from '../journal/read.ts';
import type { TuneEvent } from '../tune/events.ts';
import { problemKey } from '../tune/problem.ts';
import { latestClaim, PULSE, type Pulse } from './claim.ts';
import { isDone, journalsOf, readPlan, readTask } from './work.ts';

/** `waiting`: nobody has begun, or only compiled it; `lost`: its worker is silent; `again`: given back by its worker; `failed`: its worker ended with an error. */
export type TaskState = 'waiting' | 'compiled' | 'working' | 'lost' | 'again' | 'failed' | 'done';

export interface TaskStatus {
  readonly task: number;
  readonly arch: string;
  readonly contract: string;
  readonly state: TaskState;
  readonly attempts: number;
  /** Who holds it, or held it last. */
  readonly by: string;
  /** Seconds since the last beat; null: no worker holds it. */
  readonly silentS: number | null;
  readonly problems: number;
  readonly settled: number;
  readonly kernels: number;
  readonly compiled: number;
  /** Kernels that raced at least once. */
  readonly raced: number;
  /** Candidates lost, and by compilers left out. */
  readonly failed: number;
  readonly pruned: number;
}

export interface WorkStatus {
  readonly tasks: number;
  readonly count: Readonly<Partial<Record<TaskState, number>>>;
  readonly rows: readonly TaskStatus[];
}

function stateOf(done: boolean, compiled: boolean, claim: Awaited<ReturnType<typeof latestClaim>>, { lostMs }: Pulse): TaskState {
  if (done) return 'done';
  if (claim && claim.end === undefined) return claim.ageMs < lostMs ? 'working' : 'lost';
  if (claim && claim.end !== 'done') return claim.end!;
  return compiled ? 'compiled' : 'waiting';
}

const distinct = (events: readonly TuneEvent[], key: (event: TuneEvent) => string | undefined): number => new Set(events.map(key).filter((word) => word !== undefined)).size;

async function taskStatus(work: string, number: number, pulse: Pulse): Promise<TaskStatus> {
  const { arch, contract, problems, kernels } = readTask(work, number);
  const claim = await latestClaim(work, number);
  const state = stateOf(isDone(work, number, 'measure'), isDone(work, number, 'compile'), claim, pulse);
  const own = new Set(kernels);
  const events = eventsOf(journalsOf(work, number).flatMap((path) => readJournal(path).lines));
  return {
    task: number, arch, contract, state,
    attempts: claim?.attempt ?? 0,
    by: claim?.by ?? '-',
    silentS: claim && claim.end === undefined && state !== 'done' ? Math.round(claim.ageMs / 1000) : null,
    problems: problems.length,
    settled: distinct(events, (e) => (e.event === 'settled' ? problemKey(e.problem) : undefined)),
    kernels: kernels.length,
    compiled: distinct(events, (e) => (e.event === 'compiled' && own.has(e.kernel) ? e.kernel : undefined)),
    raced: new Set(events.flatMap((e) => (e.event === 'raced' ? e.arms.map(({ kernel }) => kernel) : []))).size,
    failed: distinct(events, (e) => (e.event === 'failed' ? `${e.kernel} ${e.arm?.launch ?? ''} ${e.problem ? problemKey(e.problem) : ''}` : undefined)),
    pruned: distinct(events, (e) => (e.event === 'pruned' ? e.kernel : undefined)),
  };
}

/** The state of every task. Throws InputError where there is no plan. */
export async function statusOf(work: string, pulse: Pulse = PULSE): Promise<WorkStatus> {
  const { tasks } = readPlan(work);
  const rows: TaskStatus[] = [];
  for (let task = 0; task < tasks; task++) rows.push(await taskStatus(work, task, pulse));
  const count: Partial<Record<TaskState, number>> = {};
  for (const { state } of rows) count[state] = (count[state] ?? 0) + 1;
  return { tasks, count, rows };
}
