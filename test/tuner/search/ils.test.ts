// Tests tuner/search/ils.ts, neighbours.ts and resume.ts: descents, restarts, what is never done twice, and resuming.
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ils, ilsWith } from '../../../tuner/search/ils.ts';
import { neighbourhoodOf } from '../../../tuner/search/neighbours.ts';
import type { Cost, Space, Strategy } from '../../../tuner/tune/strategy.ts';
import { gridSpace, valley, walk } from './spaces.ts';

test('neighbours differ in one field, nearest values first; words count by their order, missing fields as one', () => {
  const space = gridSpace(4, 4);
  const { near, distance } = neighbourhoodOf(space.candidates);
  assert.equal(near('1,1'), ['1,0', '0,1', '2,1', '1,2', '3,1', '1,3']);
  assert.equal([distance('1,1', '1,1'), distance('1,1', '1,3'), distance('0,0', '3,3')], [0, 1, 2]);
  const mixed = neighbourhoodOf([{ id: 'a', fields: { how: 'rows', w: 4, t: 64 } }, { id: 'b', fields: { how: 'lookup', w: 4 } }, { id: 'c', fields: { how: 'rows', w: 16, t: 64 } }]);
  assert.equal([mixed.distance('a', 'b'), mixed.distance('a', 'c'), mixed.near('a')], [2, 1, ['c']]);
});

test('a valley is walked down: the optimum of 400 is found in a tenth of them', () => {
  const space = gridSpace(20, 20);
  const asked = walk(ilsWith({ starts: 1 })(space, 1), valley(space, 13, 7));
  const at = asked.indexOf('13,7') + 1;
  assert.ok(at > 0 && at < 40, `found after ${at}`);
  assert.is(asked[0], '0,0', 'seeds come first');
});

test('two valleys: restarts find the deeper one', () => {
  const space = gridSpace(16, 16);
  const far = valley(space, 14, 14);
  const costs = new Map([...valley(space, 2, 2)].map(([id, cost]) => [id, Math.min(cost!, far.get(id)! * 0.8)]));
  for (const seed of [1, 2, 3, 4, 5]) assert.ok(walk(ils(space, seed), costs).includes('14,14'), `seed ${seed}`);
});

test('it ends by itself, sooner with less patience, and asks for everything with no end to it', () => {
  const space = gridSpace(20, 20);
  const costs = valley(space, 3, 3);
  const counts = [1, 4, Infinity].map((patience) => walk(ilsWith({ patience })(space, 1), costs).length);
  assert.ok(counts[0]! < counts[1]! && counts[1]! < counts[2]!, String(counts));
  assert.is(counts[2], 400);
});

test('a space of failures ends, and so does one of a single candidate', () => {
  const space = gridSpace(5, 5);
  const none = new Map(space.candidates.map(({ id }): [string, Cost] => [id, undefined]));
  const search = ils(space, 1);
  walk(search, none);
  assert.ok(search.done);
  const one = ils(gridSpace(1, 1), 1);
  assert.equal(one.ask(8), ['0,0']);
  assert.not.ok(one.done, 'it waits for the answer');
  assert.equal(one.ask(8), []);
  one.tell('0,0', 1);
  assert.ok(one.done);
});

/** Asks and tells in an order that `choices` makes up, as workers and a GPU would; what was asked and told, in order. */
function played(search: Strategy, costs: ReadonlyMap<string, Cost>, choices: readonly number[]): string[] {
  const underway: string[] = [];
  const log: string[] = [];
  for (let step = 0; !search.done && step < 4000; step++) {
    const choice = choices[step % choices.length]!;
    const ids = search.ask(choice % 5);
    underway.push(...ids);
    log.push(...ids);
    // Any of those under way may be told first; at least one is when nothing is asked.
    if (underway.length > 0 && (ids.length === 0 || choice % 2 === 0)) {
      const [id] = underway.splice(choice % underway.length, 1) as [string];
      search.tell(id, costs.get(id));
      log.push(`= ${id}`);
    }
  }
  return log;
}
const ragged = (space: Space): Map<string, Cost> => new Map(space.candidates.map(({ id }, i) => [id, i % 7 === 3 ? undefined : 1 + ((i * 7919) % 101) / 100]));

test('whatever the order of answers: no id twice, an end, and the same again with the same seed', () => {
  const space = gridSpace(9, 7, ['4,4', 'not there', '0,0']);
  const costs = ragged(space);
  fc.assert(fc.property(fc.array(fc.nat(60), { minLength: 1, maxLength: 40 }).filter((list) => list.some((n) => n % 5 > 0)), fc.integer(), (choices, seed) => {
    const search = ilsWith({ patience: Infinity })(space, seed);
    const log = played(search, costs, choices);
    const asked = log.filter((word) => !word.startsWith('='));
    return search.done && asked.length === 63 && new Set(asked).size === 63 && JSON.stringify(played(ilsWith({ patience: Infinity })(space, seed), costs, choices)) === JSON.stringify(log);
  }), { numRuns: 60 });
});

test.run();
