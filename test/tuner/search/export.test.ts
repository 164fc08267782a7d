// Tests tuner/search/export.ts: the space of a journal's events.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findArch } from '../../../generator/arch.ts';
import { parseContractName } from '../../../generator/name.ts';
import { exportSpace } from '../../../tuner/search/export.ts';
import { costsOf, readSpace, writeSpace } from '../../../tuner/search/recorded.ts';
import { DEFAULT_TUNING } from '../../../tuner/space/grid.ts';
import { taskOf } from '../../../tuner/space/tasks.ts';
import type { Draft, TuneEvent } from '../../../tuner/tune/events.ts';
import { stableDigest } from '../../../generator/stable.ts';

const contract = 'antkv_select';
const { task } = taskOf(parseContractName(contract), findArch('sm90')!, DEFAULT_TUNING, { sms: 132, memoryBytes: 2 ** 37 }, undefined)!;
const [usual, second, third, fourth, fifth] = task.kernels as [string, string, string, string, string];
const [small, large] = task.problems as [(typeof task.problems)[number], (typeof task.problems)[number]];
const code = (kernel: string): string => stableDigest(kernel).repeat(4);

const facts = (name: string, clock: 'gpu' | 'emulated', sms = 132) => ({
  device: { cc: 90, sms, sharedPerBlock: 232448, l2Bytes: 62914560, busBits: 6144, memoryMhz: 3201, name, memoryBytes: 2 ** 37, powerW: 700 },
  driver: '580', nvcc: '13.0.88', clock, policy: { launch: 'graph' as const, l2: 'cold' as const },
});
let clock = 0;
const event = (draft: Draft): TuneEvent => {
  const rest = { ...draft, at: new Date(1.7e12 + 1000 * clock++).toISOString(), writer: 'local' };
  return { ...rest, id: stableDigest(rest) } as TuneEvent;
};
const here = facts('GPU', 'gpu');
const environment = (of = here): TuneEvent => event({ event: 'environment', environment: stableDigest(of), facts: of });
const compiled = (kernel: string, ptx = code(kernel)): TuneEvent => event({ event: 'compiled', kernel, nvcc: '13', ptx, inputs: '0'.repeat(16), registers: 40, spillBytes: 0, stackBytes: 0, seconds: { ptx: 1, ptxas: 1 } });
const raced = (problem: typeof small, times: Record<string, number>, of = here, ptx = code): TuneEvent =>
  event({
    event: 'raced', environment: stableDigest(of), session: 's', phase: 'race', problem, arms: Object.keys(times).map((kernel) => ({ kernel, launch: '' })), ptx: Object.keys(times).map(ptx),
    rounds: [1, 1.1, 0.9, 1.05].map((heat) => ({ us: Object.values(times).map((us) => us * heat), mhz: null, celsius: null })), discarded: 0, bytes: 1000,
  });

const journal = (): TuneEvent[] => [
  event({ event: 'header', schema: 1, version: '0', command: [], seed: 1, tunedFor: 'the default grid' }),
  environment(), event({ event: 'task', task, strategy: 'exhaustive', effort: 'exhaustive' }),
  ...[usual, second, third, fourth].map((kernel) => compiled(kernel)),
  event({ event: 'pruned', kernel: third, stage: 'ptx', why: 'same', same: second }),
  event({ event: 'failed', kernel: fourth, stage: 'verify', kind: 'wrong', why: 'rel. L2 1', repro: 'gen verify' }),
  raced(small, { [usual]: 10, [second]: 5 }),
  raced(large, { [usual]: 100, [second]: 80 }),
];

test('kernels over all problems: ratios to the default, twins have the times of the one that was measured, the lost say why', () => {
  const space = exportSpace(journal(), { contract, arch: 'sm90' });
  assert.equal([space.header.origin, space.header.device, space.header.seeds], ['measured', 'GPU', [usual]]);
  assert.equal(space.rows.map(({ id }) => id), task.kernels);
  const of = (kernel: string) => space.rows.find(({ id }) => id === kernel)!;
  const round = (us: readonly (number | null)[]) => us.slice(0, 2).map((time) => (time === null ? null : Math.round(time * 10) / 10));
  assert.equal(round(of(second).us), [5.1, 82]);
  assert.equal(of(third).us, of(second).us);
  assert.equal([of(fourth).us.every((us) => us === null), of(fourth).why], [true, 'verify: rel. L2 1']);
  assert.is(of(fifth).why, undefined, 'not tried is no loss');
  const costs = costsOf(space);
  assert.ok(Math.abs(costs.get(second)! - Math.sqrt(0.5 * 0.8)) < 1e-4 && costs.get(fourth) === undefined && costs.get(usual) === 1);
  assert.equal(readSpace(writeSpace(space), 'x'), space);
});

test('arms at one problem', () => {
  const { rows, header } = exportSpace(journal(), { contract, arch: 'sm90', problem: large });
  assert.equal([header.rows, header.problems, header.seeds], ['arms', [large], [usual]]);
  assert.ok(rows.find(({ id }) => id === second)!.us[0]! < rows.find(({ id }) => id === usual)!.us[0]!);
});

test('times of older code do not count', () => {
  const events = [...journal(), compiled(second, 'a'.repeat(64))];
  const { rows } = exportSpace(events, { contract, arch: 'sm90' });
  assert.ok(rows.find(({ id }) => id === second)!.us.every((us) => us === null));
});

test('what cannot be exported is told', () => {
  assert.throws(() => exportSpace(journal(), { contract, arch: 'sm80' }), /no task of antkv_select on sm80/);
  assert.throws(() => exportSpace(journal().slice(0, 3), { contract, arch: 'sm90' }), /no times of antkv_select on sm90/);
  assert.throws(() => exportSpace(journal(), { contract, arch: 'sm90', problem: { ...large, shape: { ...large.shape, batch: 77 } } }), /no times at that problem/);
  const other = facts('Other', 'gpu', 108);
  const two = [...journal(), environment(other), raced(small, { [usual]: 3 }, other)];
  assert.throws(() => exportSpace(two, { contract, arch: 'sm90' }), /times of 2 devices/);
  assert.is(exportSpace(two, { contract, arch: 'sm90', device: 'Other' }).header.device, 'Other');
  const fake = facts('Fake', 'emulated');
  const emulated = [environment(fake), event({ event: 'task', task, strategy: 'ils', effort: 'full' }), compiled(usual), raced(small, { [usual]: 3 }, fake)];
  assert.throws(() => exportSpace(emulated, { contract, arch: 'sm90' }), /no times/);
  assert.match(exportSpace(emulated, { contract, arch: 'sm90', emulated: true }).header.what, /^EMULATED/);
});

test.run();
