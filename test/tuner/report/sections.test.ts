// Tests the arithmetic behind the report's sections: costs, sensitivity, convergence, portability; and the plot that lines are drawn with.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { compiledOf, compileSection } from '../../../tuner/report/compile.ts';
import { convergenceOf } from '../../../tuner/report/convergence.ts';
import { costsOf, extrasOf, groupsOf, readData } from '../../../tuner/report/data.ts';
import { of } from '../../../tuner/tune/events.ts';
import { sensitivitiesOf } from '../../../tuner/report/fields.ts';
import { portabilityOf } from '../../../tuner/report/portability.ts';
import { linePlot } from '../../../tuner/report/svg.ts';
import { rowsOf } from '../../../tuner/report/winners.ts';
import { sweepText } from './sweep.ts';

const data = readData([{ file: 'a', text: sweepText({ contracts: 1 }) }, { file: 'b', text: sweepText({ contracts: 1, device: 'Other GPU', sms: 108 }) }]);

test('two devices, two tables, each with its own points', () => {
  assert.equal(data.tables.map(({ table }) => table.device.name), ['Other GPU', 'Test GPU']);
  assert.equal(groupsOf(data.pools).map(({ device, points }) => [device, points.length]), [['Other GPU', 12], ['Test GPU', 12]]);
});

test('the default costs 1; what was lost costs nothing, for it has no time', () => {
  const group = groupsOf(data.pools)[1]!;
  const costs = costsOf(group);
  const usual = group.points[0]!.default.kernel;
  assert.ok(Math.abs(costs.get(usual)! - 1) < 0.05, String(costs.get(usual)));
  const lost = of(data.events, 'failed')[0]!.kernel;
  assert.not(costs.has(lost));
  assert.ok(costs.size >= 8);
});

test('sensitivity: the least time with a value, over the least of all; fields of one value are left out', () => {
  const known = [[1, 1, 100], [1, 2, 110], [2, 1, 130], [2, 2, 150]].map(([warps, stages, cost]) => ({ cost: cost!, fields: { warps: warps!, stages: stages!, copies: 4 } }));
  assert.equal(sensitivitiesOf(known), [
    { field: 'warps', values: [{ value: 1, times: 1 }, { value: 2, times: 1.3 }], worst: 1.3 },
    { field: 'stages', values: [{ value: 1, times: 1 }, { value: 2, times: 1.1 }], worst: 1.1 },
  ]);
});

test('convergence never rises at one problem, and counts each kernel once', () => {
  const races = of(data.events, 'raced').filter(({ phase }) => phase === 'screen');
  const [{ problem }] = races as [(typeof races)[number]];
  const curve = convergenceOf(races.filter((race) => JSON.stringify(race.problem) === JSON.stringify(problem)));
  assert.ok(curve.length > 1);
  curve.slice(1).forEach(([kernels, ratio], i) => assert.ok(kernels > curve[i]![0] && ratio <= curve[i]![1]));
  assert.ok(curve[0]![1] <= 1);
});

test('each kernel is told once with the seconds of its newest compilation, the slowest first', () => {
  const compiled = of(data.events, 'compiled');
  const told = compiledOf(data);
  assert.is(told.length, new Set(compiled.map(({ kernel }) => kernel)).size);
  const [slow] = compiled as [(typeof compiled)[number]];
  const again = { ...slow, seconds: { ptx: 70, ptxas: 30 } };
  const cached = { ...slow, seconds: { ptx: null, ptxas: null } };
  assert.is(compiledOf({ events: [...data.events, again, cached] })[0], again);
  assert.match(compileSection({ ...data, events: [cached] }), /<td>cached<\/td><td>cached<\/td>/);
  assert.match(compileSection({ ...data, events: [again] }), new RegExp(`<td>${slow.kernel}</td><td>70.0</td><td>30.0</td><td>${slow.registers}</td>`));
});

test('portability: a table loses nothing on itself but ties, and what it loses elsewhere is not negative', () => {
  const [a, b] = data.tables as [(typeof data.tables)[number], (typeof data.tables)[number]];
  const own = portabilityOf(a.table, a, data);
  assert.is(own.compared, own.points);
  assert.ok(own.worst <= 0.03, String(own.worst));
  const other = portabilityOf(a.table, b, data);
  assert.ok(other.compared > 0 && other.mean >= 0 && other.worst >= other.mean);
});

test('a point knows its bytes, its floor and FP16 of its own device', () => {
  const row = rowsOf(data).find(({ point, batch }) => batch === 16 && point.tokens === 65_536)!;
  assert.is(row.bytes, 3000 * 16 * 65_536);
  assert.is(row.floorUs, (1e-3 * row.bytes!) / 4000);
  assert.is(row.fp16Us, 10 + (16 * 65_536) / 60);
  assert.equal(extrasOf({ ...data, pools: [] })(row.of.table, row.contract, row.point), { batch: undefined, bytes: undefined, floorUs: undefined, fp16Us: undefined });
});

test('a plot stays inside its box, is thinned, and is nothing without two points', () => {
  const points = Array.from({ length: 5000 }, (_, i): [number, number] => [i, Math.sin(i / 100)]);
  const drawn = linePlot('t', [{ name: 'a', points }, { name: 'b', points: [[0, 2], [9, 2]] }], String, String);
  const [, width, height] = /viewBox="0 0 (\d+) (\d+)"/.exec(drawn)!.map(Number);
  const places = [...drawn.matchAll(/[ML]([\d.]+) ([\d.]+)/g)];
  assert.is(places.length, 302);
  for (const [, x, y] of places) assert.ok(Number(x) >= 0 && Number(x) <= width! && Number(y) >= 0 && Number(y) <= height!);
  assert.is(linePlot('t', [{ name: 'a', points: [[1, 1]] }], String, String), '');
  assert.not.match(linePlot('t', [{ name: 'a', points: [[1, 5], [1, 5]] }], String, String), /NaN/);
});

test.run();
