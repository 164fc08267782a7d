// Tests tuner/cluster/objects.ts and the compile stage: what a compile node leaves is what a node with a GPU takes, and nothing else.
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { kernelInputs } from '../../../generator/table/inputs.ts';
import { parseKernelName } from '../../../generator/name.ts';
import { objectCompiler, objectOf, storingCompiler } from '../../../tuner/cluster/objects.ts';
import { compileStage } from '../../../tuner/cluster/stages.ts';
import { pathsOf } from '../../../tuner/cluster/work.ts';
import { workOn } from '../../../tuner/cluster/worker.ts';
import { eventsOf, readJournal } from '../../../tuner/journal/read.ts';
import type { EventOf } from '../../../tuner/tune/events.ts';
import { temporaryFolder } from '../../folder.ts';
import { fakeNvcc, WORKS } from '../fake.ts';
import { CLOCK, fill, tasksOf } from './fake.ts';

/** A work directory of one task whose kernels went through a fake nvcc, and the events of that. */
async function compiled(body: string) {
  // What another fake has left would else be found.
  process.env['ANTKV_CACHE'] = temporaryFolder();
  const work = temporaryFolder();
  fill(work, 1, 3);
  const nvcc = { path: join(fakeNvcc(body), 'nvcc'), version: '12.4.131' };
  const run = compileStage({ compiler: (objects) => storingCompiler(nvcc, objects), jobs: 2 });
  const code = await workOn(work, 0, { stage: 'compile', run, clock: CLOCK, signal: new AbortController().signal, note: () => {} });
  return { work, code, objects: pathsOf(work).objects, events: eventsOf(readJournal(pathsOf(work).journal('0000.1')).lines) };
}
const of = (events: readonly { event: string }[]): EventOf<'compiled'>[] => events.filter((event): event is EventOf<'compiled'> => event.event === 'compiled');

test('PTX, machine code and facts of each kernel; the helper of decode too', async () => {
  const { code, objects, events } = await compiled(WORKS);
  assert.is(code, 0);
  const kernels = of(events);
  assert.is(kernels.length, 4);
  assert.match(kernels.map(({ kernel }) => kernel).join(), /antkv_combine_/);
  for (const { kernel, ptx } of kernels) assert.equal(readdirSync(join(objects, ptx.slice(0, 16))).filter((name) => name.startsWith(`${kernel}.`)).sort(), ['cubin', 'json', 'ptx'].map((end) => `${kernel}.${end}`));
});

test('a GPU of the same major version takes machine code, a newer one PTX', async () => {
  const { objects, events } = await compiled(WORKS);
  const event = of(events)[0]!;
  assert.equal([80, 86, 90].map((cc) => basename(objectOf(objects, event, cc)!.path)), ['cubin', 'cubin', 'ptx'].map((end) => `${event.kernel}.${end}`));
  assert.is(objectOf(objects, event, 80)!.registers, 40);
  assert.is(objectOf(objects, event, 80)!.inputs, kernelInputs(parseKernelName(event.kernel)));
});

test('what is not there, torn, or made of other code is compiled here; without nvcc the candidate is lost', async () => {
  const { objects, events } = await compiled(WORKS);
  const [first, second, third] = of(events) as [EventOf<'compiled'>, EventOf<'compiled'>, EventOf<'compiled'>];
  writeFileSync(join(objects, first.ptx.slice(0, 16), `${first.kernel}.json`), '{"kernel":');
  rmSync(join(objects, second.ptx.slice(0, 16), `${second.kernel}.cubin`));
  assert.is(objectOf(objects, { ...third, inputs: '0'.repeat(16) }, 80), undefined);
  const asked: string[] = [];
  const local = { nvcc: '13', compile: async (kernel: string) => (asked.push(kernel), { lost: { kernel, stage: 'compile' as const, kind: 'error' as const, why: 'here', repro: '' } }) };
  const compiler = objectCompiler(objects, events, 80, local);
  for (const { kernel } of [first, second, third]) await compiler.compile(kernel);
  assert.equal(asked, [first.kernel, second.kernel]);
  const none = await objectCompiler(objects, events, 80, undefined).compile(first.kernel);
  assert.match('lost' in none ? none.lost.why : '', /no nvcc here/);
  assert.is(objectCompiler(objects, events, 80, undefined).nvcc, '12.4.131');
  assert.is(objectCompiler(objects, [], 80, undefined).nvcc, 'none');
});

test('a kernel that does not compile is an event with its command, and the task goes on', async () => {
  const bad = tasksOf(1, 3)[0]!.kernels[1]!;
  const { code, events } = await compiled(`case "$src" in *${bad.replace(/^.*__/, '')}*) echo "x.cu(1): error: no" >&2; exit 2;; esac\n${WORKS}`);
  assert.is(code, 0);
  assert.is(of(events).length, 3);
  const failed = events.filter((event): event is EventOf<'failed'> => event.event === 'failed');
  assert.equal(failed.map(({ kernel, stage, kind }) => [kernel, stage, kind]), [[bad, 'compile', 'error']]);
  assert.match(failed[0]!.repro, /nvcc/);
});

test.run();
