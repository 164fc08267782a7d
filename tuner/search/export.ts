// Makes a recorded space of what a journal holds: the exporter behind test/fixtures. Pure.
import { InputError } from '../../generator/errors.ts';
import { candidateOf } from '../space/space.ts';
import { poolsOf, type Point, type Pool } from '../table/pool.ts';
import { launchesFor } from '../tune/arms.ts';
import { of, type EventOf, type TuneEvent } from '../tune/events.ts';
import { armWord, problemKey, type Problem, type Task } from '../tune/problem.ts';
import type { RecordedHeader, RecordedRow, RecordedSpace } from './recorded.ts';

export interface ExportOptions {
  readonly arch: string;
  readonly contract: string;
  /** The device's name; may be left out where the journal has only one. */
  readonly device?: string;
  /** Rows are kernels with launches at this one problem; else kernels over all problems of the task. */
  readonly problem?: Problem;
  /** Emulated times too, for tests: such spaces are never kept. */
  readonly emulated?: boolean;
}

const FIX = 'name an architecture, a contract and a problem that the journal has; "gen report" shows what is in it';

/** Why each kernel that has no time has none: the last word on it. */
function lossesOf(events: readonly TuneEvent[]): Map<string, string> {
  const losses = new Map<string, string>();
  for (const event of events) {
    if (event.event === 'failed' && !event.arm) losses.set(event.kernel, `${event.stage}: ${event.why}`);
    if (event.event === 'pruned' && event.stage !== 'formula') losses.set(event.kernel, `${event.stage}: ${event.why}`);
  }
  return losses;
}

const micros = (us: number | undefined): number | null => (us === undefined ? null : Number(us.toPrecision(6)));
const bestOf = (point: Point | undefined, kernel: string | undefined): number | undefined => point?.arms.find((arm) => arm.kernel === kernel)?.us;

/** What a journal says of kernels besides their times. */
interface Known {
  /** The kernel whose PTX is another's, by that one. */
  readonly twins: ReadonlyMap<string, string>;
  readonly losses: ReadonlyMap<string, string>;
}
const knownOf = (events: readonly TuneEvent[]): Known => ({
  twins: new Map(events.flatMap((event) => (event.event === 'pruned' && event.same !== undefined ? [[event.kernel, event.same] as const] : []))),
  losses: lossesOf(events),
});

/** Kernels with the PTX of another have that one's times; those that were lost have none, and say why. `points`: of `problems`, undefined where nothing was timed. */
function spaceOf(task: Task, pool: Pool, problems: readonly Problem[], points: readonly (Point | undefined)[], rowsAre: RecordedHeader['rows'], { twins, losses }: Known): RecordedSpace {
  const reason = (kernel: string): { why?: string } => (losses.has(kernel) ? { why: losses.get(kernel)! } : {});
  const ofKernel = (kernel: string): RecordedRow => {
    // A point's arms are fastest first.
    const us = points.map((point) => micros(bestOf(point, kernel) ?? bestOf(point, twins.get(kernel))));
    return { id: kernel, fields: candidateOf(kernel).fields, us, ...(us.every((time) => time === null) ? reason(kernel) : {}) };
  };
  const ofArms = (kernel: string): RecordedRow[] => {
    const own = points[0]!.arms.filter((arm) => arm.kernel === (twins.get(kernel) ?? kernel));
    const { fields } = candidateOf(kernel);
    if (own.length === 0) return [{ id: kernel, fields, us: [null], ...reason(kernel) }];
    // In the order in which a sweep would have tried them: that of their times is what a search is to find out.
    const order = launchesFor(problems[0]!, kernel, pool.device.sms);
    const rank = ({ launch }: { readonly launch: string }): number => (order.includes(launch) ? order.indexOf(launch) : order.length);
    const arms = own.toSorted((a, b) => rank(a) - rank(b) || (a.launch < b.launch ? -1 : 1));
    return arms.map(({ launch, us }) => ({ id: armWord({ kernel, launch }), fields: { ...fields, launch }, us: [micros(us)] }));
  };
  const arms = rowsAre === 'arms';
  const rows = task.kernels.flatMap((kernel) => (arms ? ofArms(kernel) : [ofKernel(kernel)]));
  const usual = arms ? armWord(points[0]!.default) : task.kernels[0]!;
  const emulated = pool.clock === 'emulated';
  const what = `${emulated ? 'EMULATED, times mean nothing: ' : ''}${rows.length} ${arms ? 'arms at one problem' : `kernels over ${problems.length} problems`} of ${task.contract}, measured on ${pool.device.name}`;
  return { header: { space: 1, origin: emulated ? 'synthetic' : 'measured', what, device: pool.device.name, arch: task.arch, contract: task.contract, rows: rowsAre, problems: [...problems], seeds: [usual] }, rows };
}

/**
 * The space of one task as it was measured, pooled as tables pool times. Throws InputError if the journal has no such task, no times of it, or times on several devices
 * and none is named.
 */
export function exportSpace(events: readonly TuneEvent[], { arch, contract, device, problem, emulated = false }: ExportOptions): RecordedSpace {
  const task = events.findLast((event): event is EventOf<'task'> => event.event === 'task' && event.task.arch === arch && event.task.contract === contract)?.task;
  if (!task) throw new InputError(`the journal has no task of ${contract} on ${arch}`, FIX);
  const pools = poolsOf(events, { emulated }).filter((pool) => pool.arch === arch && pool.clock !== 'model' && (device === undefined || pool.device.name === device));
  const pool = pools.find(({ points }) => points.some((point) => point.problem.contract === contract));
  if (!pool) throw new InputError(`the journal has no times of ${contract} on ${arch}`, FIX);
  if (pools.length > 1) throw new InputError(`the journal has times of ${pools.length} devices`, `name one: ${pools.map((one) => one.device.name).join(', ')}`);
  const problems = problem ? [problem] : task.problems;
  const points = problems.map((one) => pool.points.find((point) => problemKey(point.problem) === problemKey(one)));
  if (points.every((point) => point === undefined)) throw new InputError(`the journal has no times at that problem`, FIX);
  return spaceOf(task, pool, problems, points, problem ? 'arms' : 'kernels', knownOf(events));
}

/** Every problem of a journal that was measured, as a space of arms: kernels of the task that has most of them. Those whose default is none of its rows are left out. */
export function exportSpaces(events: readonly TuneEvent[]): RecordedSpace[] {
  const known = knownOf(events);
  const tasks = new Map<string, Task>();
  for (const { task } of of(events, 'task')) {
    const key = `${task.arch} ${task.contract}`;
    if (task.kernels.length >= (tasks.get(key)?.kernels.length ?? 0)) tasks.set(key, task);
  }
  return poolsOf(events).filter(({ clock }) => clock === 'gpu').flatMap((pool) => pool.points.flatMap((point): RecordedSpace[] => {
    const task = tasks.get(`${pool.arch} ${point.problem.contract}`);
    const space = task && spaceOf(task, pool, [point.problem], [point], 'arms', known);
    return space?.rows.some(({ id }) => id === space.header.seeds[0]) ? [space] : [];
  }));
}
