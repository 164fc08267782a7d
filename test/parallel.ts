// Tests whose work is done by child processes: they all start with the first of them, a few at a time, and report in their order.
import PQueue from 'p-queue';
import { availableParallelism } from 'node:os';
import type { Test } from 'uvu';

/** A stand-in for `suite(name, body)`. Bodies must not share anything: they overlap. */
export function parallel(suite: Test): (name: string, body: () => Promise<void>) => void {
  const queue = new PQueue({ concurrency: availableParallelism(), autoStart: false });
  let first = true;
  return (name, body) => {
    const outcome = queue.add(body).then(() => undefined, (error: unknown) => error ?? new Error('rejected without a reason'));
    if (first) suite.before(() => void queue.start());
    first = false;
    suite(name, async () => {
      const error = await outcome;
      if (error !== undefined) throw error;
    });
  };
}
