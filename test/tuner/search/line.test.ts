// Tests tuner/search/exhaustive.ts, random.ts, strategies.ts and what they share: order, seeds, ends.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { exhaustive } from '../../../tuner/search/exhaustive.ts';
import { random } from '../../../tuner/search/random.ts';
import { STRATEGY } from '../../../tuner/search/strategies.ts';
import { STRATEGIES } from '../../../tuner/tune/strategy.ts';
import { gridSpace, valley, walk } from './spaces.ts';

const space = gridSpace(5, 4, ['3,3', 'not there', '0,0']);
const costs = valley(space, 1, 1);

test('exhaustive asks for seeds, then for everything in the order of the space', () => {
  const asked = walk(exhaustive(space, 1), costs);
  assert.equal(asked.slice(0, 4), ['3,3', '0,0', '1,0', '2,0']);
  assert.is(new Set(asked).size, 20);
});

test('random asks for everything once, in another order with each seed and the same with the same', () => {
  const [a, b, again] = [1, 2, 1].map((seed) => walk(random(space, seed), costs));
  assert.equal(a, again);
  assert.is.not(a!.join(), b!.join());
  assert.equal([new Set(a).size, a!.length, ...a!.slice(0, 2)], [20, 20, '3,3', '0,0']);
});

test('asks may run ahead of tells; it is done when the last was told', () => {
  const search = exhaustive(space, 1);
  const ids = [...search.ask(15), ...search.ask(15)];
  assert.equal([ids.length, search.ask(1).length, search.done], [20, 0, false]);
  for (const id of ids) search.tell(id, undefined);
  assert.ok(search.done);
});

test('every strategy has a body', () => {
  for (const name of STRATEGIES) assert.is(walk(STRATEGY[name](gridSpace(1, 1), 1), new Map()).length, 1);
});

test.run();
