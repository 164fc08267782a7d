// Tests tuner/model/modelled.ts: a table that nobody measured says so in every cell.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findArch } from '../../../generator/arch.ts';
import { parseContractName } from '../../../generator/name.ts';
import { tableSchema } from '../../../generator/table/schema.ts';
import { FITS } from '../../../tuner/model/fits.ts';
import { A100_SXM4_80GB, machineFor, modelledEvents } from '../../../tuner/model/modelled.ts';
import { DEFAULT_TUNING } from '../../../tuner/space/grid.ts';
import { tasksOf } from '../../../tuner/space/tasks.ts';
import { buildTables } from '../../../tuner/table/build.ts';
import { eventSchema } from '../../../tuner/tune/events.ts';

const sm80 = findArch('sm80')!;
const contracts = ['antkv_decode_d128_k8c8b_v8c8bq8_f16_gain_n4', 'antkv_decode_d128_kf16_vf16_f16', 'antkv_select'].map(parseContractName);
const tasks = tasksOf(contracts, [sm80], DEFAULT_TUNING, () => ({ sms: 108, memoryBytes: A100_SXM4_80GB.memoryBytes }), () => undefined).map(({ task }) => task);
const options = { device: A100_SXM4_80GB, fit: FITS[0]!, tunedFor: 'the default grid' };
const WINNER = 'antkv_decode_d128_k8c8b_v8c8bq8_f16_gain_n4__sm90_lookup_w8_s2_c2';

test('events are those of a journal, of a clock that is a model, the same every time', () => {
  const events = modelledEvents(tasks, options);
  for (const event of events) assert.ok(eventSchema.safeParse(event).success);
  assert.equal(events.flatMap((event) => (event.event === 'environment' ? [event.facts.clock] : [])), ['model']);
  assert.equal(modelledEvents(tasks, options), events);
});

test('a tile is priced where it won somewhere, else the default alone; other ops are left out', () => {
  const kernels = (winners: Parameters<typeof modelledEvents>[1]['winners']) =>
    [...new Set(modelledEvents(tasks, { ...options, ...(winners ? { winners } : {}) }).flatMap((event) => (event.event === 'raced' ? event.arms.map(({ kernel }) => kernel) : [])))];
  assert.is(kernels(undefined).length, 2);
  assert.ok(kernels([{ kernel: WINNER, cc: 90, sms: 132, wins: 3 }]).includes(WINNER.replace('sm90', 'sm80')));
  assert.not.ok(kernels(undefined).some((kernel) => kernel.includes('select')));
});

test('the table is valid, of the A100, and every cell is modelled', () => {
  const built = buildTables(modelledEvents(tasks, options), { modelError: options.fit.error.p90 });
  assert.is(built.length, 1);
  const { table, file } = built[0]!;
  assert.equal(tableSchema.parse(table), table);
  assert.match(file, /^sm80\/table\..*a100.*\.json$/);
  assert.equal(Object.values(table.contracts).map(({ origin }) => origin), ['modelled', 'modelled']);
  const words = Object.values(table.contracts).flatMap(({ modes }) => Object.values(modes)).flatMap(({ cells }) => cells.flatMap((row) => row.split(' ')));
  assert.ok(words.length > 1000 && words.every((word) => /X\d+$/.test(word)), words.find((word) => !/X\d+$/.test(word)));
});

test('a device of an architecture without numbers cannot be modelled', () => {
  assert.is(machineFor(A100_SXM4_80GB).name, 'A100');
  assert.throws(() => machineFor({ ...A100_SXM4_80GB, cc: 89 }), /no machine of compute capability 8\.9 is known/);
});

test.run();
