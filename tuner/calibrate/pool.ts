// Does tasks on several threads. Results come in task order and do not depend on the number of threads.
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { perform, type Result, type Task } from './task.ts';

export interface Pool {
  /** Does all tasks; `onDone` is called after each, in any order. Throws what a task threw. */
  run<T extends Task>(tasks: readonly T[], onDone?: (result: Result<T>) => void): Promise<Result<T>[]>;
  close(): Promise<void>;
}

/** A pool of `threads` workers, or, for one thread, this thread itself: it yields between tasks, so that timers and Ctrl-C get through. */
export function createPool(threads: number = availableParallelism()): Pool {
  if (threads <= 1) return { run: runHere, close: async () => {} };
  const idle: Worker[] = [];
  const all = Array.from({ length: threads }, () => new Worker(new URL('./worker.mjs', import.meta.url), { execArgv: [] }));
  idle.push(...all);

  async function run<T extends Task>(tasks: readonly T[], onDone?: (result: Result<T>) => void): Promise<Result<T>[]> {
    const results = new Array<Result<T>>(tasks.length);
    let next = 0;
    const work = async (worker: Worker): Promise<void> => {
      while (next < tasks.length) {
        const at = next++;
        results[at] = await ask(worker, tasks[at]!);
        onDone?.(results[at]!);
      }
    };
    try {
      await Promise.all(idle.map(work));
    } catch (error) {
      next = tasks.length; // the others stop after what they have in hand
      throw error;
    }
    return results;
  }
  return { run, close: async () => void (await Promise.all(all.map((worker) => worker.terminate()))) };
}

/** One task on one worker. A worker that dies (out of memory) rejects. */
const ask = <T extends Task>(worker: Worker, task: T): Promise<Result<T>> =>
  new Promise((resolve, reject) => {
    const onExit = (code: number): void => reject(new Error(`a calibration thread ended with code ${code}`));
    const onError = (error: unknown): void => reject(error as Error);
    worker.once('message', (result: Result<T>) => {
      // One by one: removeAllListeners() would take the worker's own listeners too, and no message would come any more.
      worker.off('error', onError);
      worker.off('exit', onExit);
      resolve(result);
    });
    worker.once('error', onError);
    worker.once('exit', onExit);
    worker.postMessage(task);
  });

async function runHere<T extends Task>(tasks: readonly T[], onDone?: (result: Result<T>) => void): Promise<Result<T>[]> {
  const results: Result<T>[] = [];
  for (const task of tasks) {
    await new Promise((resolve) => setImmediate(resolve));
    const result = perform(task);
    results.push(result);
    onDone?.(result);
  }
  return results;
}
