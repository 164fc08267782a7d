// What a table of the default grid loses at shapes between its points: the sweep of an H200 against one of shapes that it did not see.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readTable } from '../../../generator/table/read.ts';
import { eventsOf, parseJournal } from '../../../tuner/journal/read.ts';
import { mean } from '../../../tuner/space/numbers.ts';
import { fieldOf } from '../../../tuner/table/field.ts';
import { holdOut } from '../../../tuner/table/leave-out.ts';
import { poolsOf, type Pool } from '../../../tuner/table/pool.ts';

const test = suite('table/held-out');
const recorded = (name: string): Pool => {
  const file = new URL(`../../../harness/bench/records/${name}`, import.meta.url);
  return poolsOf(eventsOf(parseJournal(gunzipSync(readFileSync(file)).toString(), name).lines)).find(({ arch }) => arch === 'sm90')!;
};
const grid = recorded('h200-sweep-2026-11-22.jsonl.gz');
const held = recorded('h200-held-out-2026-11-22.jsonl.gz');
const { table: { kernels } } = readTable(fileURLToPath(new URL('../../../generated/sm90/table.nvidia-h200.json', import.meta.url)));

/** Losses of the kernels that the table ships at the shapes held out, as shares of the best that was found there. */
function losses(contract: string, mode: 'sequence' | 'spread'): number[] {
  const of = ({ points }: Pool) => points.filter(({ problem }) => problem.contract === contract && problem.mode === mode);
  const shipped = Object.keys(kernels).filter((kernel) => kernel.startsWith(`${contract}__`));
  return holdOut(fieldOf(of(grid), shipped, grid.device.sms), of(held)).map(({ loss }) => loss);
}
const contracts = [...new Set(held.points.map(({ problem }) => problem.contract))];

test('no shape held out was measured for the table', () => {
  const places = new Set(grid.points.map(({ problem: { contract, mode, shape } }) => `${contract} ${mode} ${shape.batch} ${shape.tokens}`));
  for (const { problem: { contract, mode, shape } } of held.points) assert.not(places.has(`${contract} ${mode} ${shape.batch} ${shape.tokens}`));
  assert.is(held.points.length, 6 * 11 * 2);
});

test('sequences of one length: 1 % in the mean and 3.5 % at worst', () => {
  assert.is(contracts.length, 6);
  for (const contract of contracts) {
    const lost = losses(contract, 'sequence');
    assert.is(lost.length, 11);
    assert.ok(mean(lost) <= 0.01 && Math.max(...lost) <= 0.035, `${contract}: ${lost.map((loss) => loss.toFixed(3)).join(' ')}`);
  }
});

test('work spread over sequences has a coarser grid: 5 % in the mean', () => {
  for (const contract of contracts) assert.ok(mean(losses(contract, 'spread')) <= 0.05, contract);
});

test.run();
