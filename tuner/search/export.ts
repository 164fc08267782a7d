// Makes a recorded space of what a journal holds: the exporter behind test/fixtures. Pure.
import { InputError } from '../../generator/errors.ts';
import { candidateOf } from '../space/space.ts';
import { poolsOf, type Point } from '../table/pool.ts';
import type { EventOf, TuneEvent } from '../tune/events.ts';
import { armWord, problemKey, type Problem } from '../tune/problem.ts';
import type { RecordedRow, RecordedSpace } from './recorded.ts';

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

/**
 * The space of one task as it was measured, pooled as tables pool times. Kernels with the PTX of another have that one's times; those that were lost have none, and say
 * why. Throws InputError if the journal has no such task, no times of it, or times on several devices and none is named.
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
  const twins = new Map(events.flatMap((event) => (event.event === 'pruned' && event.same !== undefined ? [[event.kernel, event.same] as const] : [])));
  const losses = lossesOf(events);
  const reason = (kernel: string): { why?: string } => (losses.has(kernel) ? { why: losses.get(kernel)! } : {});

  const ofKernel = (kernel: string): RecordedRow => {
    // A point's arms are fastest first.
    const us = points.map((point) => micros(bestOf(point, kernel) ?? bestOf(point, twins.get(kernel))));
    return { id: kernel, fields: candidateOf(kernel).fields, us, ...(us.every((time) => time === null) ? reason(kernel) : {}) };
  };
  const ofArms = (kernel: string): RecordedRow[] => {
    const arms = points[0]!.arms.filter((arm) => arm.kernel === (twins.get(kernel) ?? kernel));
    const { fields } = candidateOf(kernel);
    if (arms.length === 0) return [{ id: kernel, fields, us: [null], ...reason(kernel) }];
    return arms.map(({ launch, us }) => ({ id: armWord({ kernel, launch }), fields: { ...fields, launch }, us: [micros(us)] }));
  };
  const rows = problem ? task.kernels.flatMap(ofArms) : task.kernels.map(ofKernel);
  const usual = problem ? armWord(points[0]!.default) : task.kernels[0]!;
  const what = `${pool.clock === 'emulated' ? 'EMULATED, times mean nothing: ' : ''}${rows.length} ${problem ? 'arms at one problem' : `kernels over ${problems.length} problems`} of ${contract}, measured on ${pool.device.name}`;
  const origin = pool.clock === 'emulated' ? 'synthetic' : 'measured';
  return { header: { space: 1, origin, what, device: pool.device.name, arch, contract, rows: problem ? 'arms' : 'kernels', problems, seeds: [usual] }, rows };
}
