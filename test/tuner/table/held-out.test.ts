// What a table of the default grid answers at shapes between its points: the sweep of an H200 against one of shapes that it did not see. Answers are those of cells, as users get them.
import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { splitsOf } from '../../../generator/table/find.ts';
import { parseLaunch } from '../../../tuner/bench-launch.ts';
import { eventsOf, parseJournal } from '../../../tuner/journal/read.ts';
import { mean } from '../../../tuner/space/numbers.ts';
import { chooseKernels, CHOOSE_DEFAULTS } from '../../../tuner/table/choose.ts';
import { DEFAULT_AXES, usual } from '../../../tuner/table/contract.ts';
import { decideIn, stepAt } from '../../../tuner/table/cells.ts';
import { decide, fieldOf, PARTS, type Decision, type Field } from '../../../tuner/table/field.ts';
import { lossAt } from '../../../tuner/table/leave-out.ts';
import { poolsOf, type Point, type Pool } from '../../../tuner/table/pool.ts';

const test = suite('table/held-out');
const RECORDS = new URL('../../../harness/bench/records/', import.meta.url);
/** Events of the newest journal of a kind. */
const recorded = (kind: 'sweep' | 'held-out'): ReturnType<typeof eventsOf> => {
  const name = readdirSync(RECORDS).filter((file) => file.startsWith(`h200-${kind}-`) && file.endsWith('.jsonl.gz')).sort().at(-1)!;
  return eventsOf(parseJournal(gunzipSync(readFileSync(new URL(name, RECORDS))).toString(), name).lines);
};
const poolOf = (events: ReturnType<typeof eventsOf>): Pool => poolsOf(events).find(({ arch }) => arch === 'sm90')!;
const grid = poolOf(recorded('sweep'));
const held = poolOf(recorded('held-out'));
/** Octaves between two numbers of shares that are as good as one. */
const ALIKE = 1 / 8;
/** Whether the launch of a decision, or one as good as it, was timed there: a table that names another (few do; some were timed otherwise by a fresh process) is neither right nor wrong. */
const judged = (point: Point, { choice }: Decision): boolean => {
  const splits = splitsOf(choice, point.lines, point.tokens);
  return point.arms.some(({ kernel, launch }) => kernel === choice.kernel && Math.abs(Math.log2(parseLaunch(launch).splits / splits)) <= ALIKE);
};
const contracts = [...new Set(held.points.map(({ problem }) => problem.contract))];

/** The kernels that `gen table merge --max-kernels 4` ships of these points. */
const shippedOf = (points: readonly Point[]): string[] =>
  chooseKernels(points, usual(points.map((point) => point.default.kernel)), { ...CHOOSE_DEFAULTS, maxKernels: 4 }).filter(({ shipped }) => shipped).map(({ kernel }) => kernel);
const ofContract = ({ points }: Pool, contract: string): Point[] => points.filter(({ problem }) => problem.contract === contract);
const fieldFor = (contract: string): Field => fieldOf(ofContract(grid, contract), shippedOf(ofContract(grid, contract)), grid.device);

/** Mean, worst, and how many lose more than 3 %. */
function within(lost: readonly number[], most: { of: number; mean: number; worst: number; beyond: number }): void {
  assert.is(lost.length, most.of);
  const found = { mean: mean(lost), worst: Math.max(...lost), beyond: lost.filter((loss) => loss > 0.03).length };
  assert.ok(found.mean <= most.mean && found.worst <= most.worst && found.beyond <= most.beyond, JSON.stringify(found));
}

const answer = (field: Field, mode: keyof typeof PARTS, point: Point): Decision => decideIn(field, PARTS[mode], stepAt(DEFAULT_AXES, point), DEFAULT_AXES).decision;

/** Losses of the kernels that the table ships at the shapes held out, as shares of the best that was found there. */
const losses = (mode: 'sequence' | 'spread'): number[] =>
  contracts.flatMap((contract) => {
    const field = fieldFor(contract);
    return ofContract(held, contract).filter(({ problem }) => problem.mode === mode).flatMap((point) => {
      const decision = answer(field, mode, point);
      return judged(point, decision) ? [lossAt(point, decision)] : [];
    });
  });

test('no shape held out was measured for the table', () => {
  const places = new Set(grid.points.map(({ problem: { contract, mode, shape } }) => `${contract} ${mode} ${shape.batch} ${shape.tokens}`));
  for (const { problem: { contract, mode, shape } } of held.points) assert.not(places.has(`${contract} ${mode} ${shape.batch} ${shape.tokens}`));
  const shapes = new Set(held.points.map(({ problem: { shape } }) => `${shape.batch} ${shape.tokens}`));
  assert.ok(shapes.size >= 30);
  assert.is(held.points.length, 6 * shapes.size * 2);
});

test('sequences of one length: 0.4 % in the mean; 6 of 185 lose more than 3 %, none more than 7', () => {
  assert.is(contracts.length, 6);
  within(losses('sequence'), { of: 185, mean: 0.0036, worst: 0.065, beyond: 6 });
});

test('work spread over sequences: 0.8 % in the mean; 15 of 192 lose more than 3 %, none more than 11', () => within(losses('spread'), { of: 192, mean: 0.0078, worst: 0.108, beyond: 15 }));

test('whichever is faster, of both: 0.5 % in the mean; 10 of 188 lose more than 3 %, none more than 7', () => {
  const found = contracts.flatMap((contract) => {
    const field = fieldFor(contract);
    const of = (mode: string) => ofContract(held, contract).filter(({ problem }) => problem.mode === mode);
    return of('sequence').flatMap((point) => {
      const twin = of('spread').find(({ streams, tokens }) => streams === point.streams && tokens === point.tokens)!;
      const decision = answer(field, 'fastest', point);
      const there = decision.part === 'sequence' ? point : twin;
      if (!judged(there, decision)) return [];
      return ((1 + lossAt(there, decision)) * there.arms[0]!.us) / Math.min(point.arms[0]!.us, twin.arms[0]!.us) - 1;
    });
  });
  within(found, { of: 188, mean: 0.0054, worst: 0.07, beyond: 10 });
});

test('at no point of the grid is what a table chooses slower than the default', () => {
  const places = [...new Set(grid.points.map(({ problem }) => problem.contract))];
  for (const contract of places) {
    const points = grid.points.filter(({ problem }) => problem.contract === contract);
    const first = usual(points.map((point) => point.default.kernel));
    const field = fieldOf(points, shippedOf(points), grid.device);
    for (const point of points.filter((one) => one.default.kernel === first)) {
      const { arm, from } = decide(field, [point.problem.mode], point)!;
      assert.is(from, point, `${contract}: what is chosen ran there`);
      // Two ties of half a percent: what was chosen before, and the kernel of less shared memory.
      assert.ok(arm.us <= point.default.us * 1.0101, `${contract} ${point.problem.mode} ${point.streams} x ${point.tokens}: ${arm.us} against ${point.default.us}`);
    }
  }
});

test.run();
