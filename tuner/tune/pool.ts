// All devices of this machine at work on one list of tasks: each takes the next one when it is free. A device that is lost gives its task back to the others.
import { EnvironmentError } from '../../generator/errors.ts';
import { helpersOf } from './arms.ts';
import type { CompilePool } from './compile-pool.ts';
import type { TuneEvent, Write } from './events.ts';
import type { Clock, Measurer } from './measurer.ts';
import { runTask, type TaskEnd } from './pipeline.ts';
import type { Task } from './problem.ts';
import { WINDOW } from './search-phase.ts';
import type { Strategy } from './strategy.ts';

export interface PoolDevice {
  readonly measurer: Measurer;
  /** Digest of its environment. */
  readonly environment: string;
  readonly pool: CompilePool;
  readonly label: string;
}

export interface SweepOptions {
  readonly devices: readonly PoolDevice[];
  /** Most important first. */
  readonly tasks: readonly Task[];
  readonly strategyOf: (task: Task) => Strategy;
  readonly write: Write;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** All events so far, those of this sweep too: a task that comes back goes on where it was. */
  readonly past: () => readonly TuneEvent[];
  readonly seed: number;
  readonly rounds: number;
  /** Milliseconds since 1970. */
  readonly deadline?: number;
  readonly retry?: boolean;
  readonly booted?: number;
  readonly onTask?: (task: Task, end: TaskEnd | undefined) => void;
  /** A device that is lost, and why. */
  readonly onLost?: (label: string, error: EnvironmentError) => void;
}

export interface SweepEnd {
  readonly ends: readonly { readonly task: Task; readonly end: TaskEnd }[];
  /** Tasks that nobody came to, or that were left half done. */
  readonly left: readonly Task[];
}

/** Runs a sweep to its end, its budget or the signal. Throws EnvironmentError when the last device is lost, or the journal cannot be written. */
export async function runSweep({ devices, tasks, strategyOf, deadline, onTask, onLost, ...common }: SweepOptions): Promise<SweepEnd> {
  const { clock, signal, past, write, seed, rounds, retry, booted } = common;
  const queue = [...tasks];
  const ends: { task: Task; end: TaskEnd }[] = [];
  let alive = devices.length;
  let running = 0;
  let wake: (() => void)[] = [];
  const changed = (): void => {
    wake.forEach((go) => go());
    wake = [];
  };

  /** Compilers begin all tasks' first kernels before anybody waits for them: else devices are idle while they compile, half of a sweep's time with four of them. */
  const ahead = (): void => {
    const pools = new Set(devices.map(({ pool }) => pool));
    for (const task of tasks) {
      for (const kernel of [task.kernels[0]!, ...helpersOf(task.kernels[0]!), ...strategyOf(task).ask(WINDOW)]) pools.forEach((pool) => void pool.get(kernel, true));
    }
  };

  const work = async (device: PoolDevice): Promise<void> => {
    const { measurer, environment, pool, label } = device;
    for (;;) {
      if (signal.aborted) return;
      const task = queue.shift();
      if (!task) {
        if (running === 0) return;
        await new Promise<void>((go) => wake.push(go)); // a task that runs elsewhere may come back
        continue;
      }
      // Each task has its share of the time that is left.
      const share = deadline === undefined ? {} : { deadline: clock.now() + (Math.max(0, deadline - clock.now()) * Math.min(alive, queue.length + 1)) / (queue.length + 1) };
      running++;
      onTask?.(task, undefined);
      try {
        const end = await runTask({ task, strategy: strategyOf(task), measurer, environment, pool, write, clock, signal, past: past(), seed, rounds, label, ...share, ...(retry === undefined ? {} : { retry }), ...(booted === undefined ? {} : { booted }) });
        ends.push({ task, end });
        onTask?.(task, end);
      } catch (error) {
        if (!(error instanceof EnvironmentError) || --alive === 0) throw error;
        queue.unshift(task);
        onLost?.(label, error);
        return;
      } finally {
        running--;
        changed();
      }
    }
  };
  ahead();
  const outcomes = await Promise.allSettled(devices.map(work));
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failed) throw failed.reason;
  const done = new Set(ends.filter(({ end }) => end.done).map(({ task }) => task));
  return { ends, left: tasks.filter((task) => !done.has(task)) };
}
