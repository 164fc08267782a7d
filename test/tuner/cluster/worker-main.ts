// `gen` as the batch scripts of the tests call it: tune worker --work DIR --stage compile|measure|merge [--task N], on the fake sweep. FAKE_MS: milliseconds per measurement.
import { parseArgs } from 'node:util';
import { AntkvError } from '../../../generator/errors.ts';
import { mergeWork } from '../../../tuner/cluster/merge.ts';
import { workOn } from '../../../tuner/cluster/worker.ts';
import { CLOCK, fakeCompile, fakeMeasure } from './fake.ts';

const { values } = parseArgs({ args: process.argv.slice(4), options: { work: { type: 'string' }, stage: { type: 'string' }, task: { type: 'string' } } });
const { work, stage, task } = values as { work: string; stage: 'compile' | 'measure' | 'merge'; task?: string };
const ms = Number(process.env['FAKE_MS'] ?? 5);
const stop = new AbortController();
for (const signal of ['SIGUSR1', 'SIGTERM'] as const) process.on(signal, () => stop.abort());
try {
  if (stage === 'merge') console.log(JSON.stringify(mergeWork(work)));
  else process.exitCode = await workOn(work, Number(task), { stage, run: stage === 'compile' ? fakeCompile(ms) : fakeMeasure(ms), clock: CLOCK, signal: stop.signal, note: console.error, pulse: { beatMs: 250, lostMs: Number(process.env['FAKE_LOST_MS'] ?? 2000) } });
} catch (error) {
  console.error(error);
  process.exitCode = error instanceof AntkvError ? error.exitCode : 1;
}
