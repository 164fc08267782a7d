// Tests tuner/bench-sheets.ts and tuner/goals.ts: which kernels meet which shapes, in which order.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findArch } from '../../generator/arch.ts';
import { reject } from '../../generator/contract.ts';
import { contractName, kernelName } from '../../generator/name.ts';
import { defaultTile, misfit } from '../../generator/tile.ts';
import { baselineShapes, kernelsOfCases, requestsOf, totalTokens } from '../../tuner/bench-plan.ts';
import { benchRequestSchema } from '../../tuner/bench-schema.ts';
import { RAGGED, RAGGED_MEAN, raceTiles, SHEET_NAMES, sheetCases, SHEETS } from '../../tuner/bench-sheets.ts';
import { exactContract, goalContract, goalOf, GOALS, GOAL_SHAPES } from '../../tuner/goals.ts';
import { OP_GOALS } from '../../tuner/op-goals.ts';
import { kernelRef } from '../../tuner/problem.ts';

const sm90 = findArch('sm90')!;
const options = { archs: [sm90], tiles: (contract: Parameters<typeof defaultTile>[0]) => [defaultTile(contract, sm90)], sms: 132 };
const ref = (name: string) => kernelRef(name, 'i');

test('goals: something to reach and to aim at for every shape, or neither; contracts that exist', () => {
  for (const goal of GOALS) {
    assert.is(goal.reach.length, GOAL_SHAPES.length);
    goal.reach.forEach((reach, i) => assert.ok(reach === undefined ? goal.aim[i] === undefined : goal.aim[i]! > reach));
    for (const columns of [4, 8] as const) {
      assert.equal(reject(goalContract(goal, 128, columns)), [], goal.title);
      assert.is(goalOf(goalContract(goal, 64, columns)), goal);
    }
  }
  assert.is(goalOf(exactContract(128)), undefined);
  assert.is(contractName(goalContract(GOALS[1]!, 128, 4)), 'antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_n4_gain'.replace('_n4_gain', '_gain_n4'));
});

test('every sheet has cases whose requests the runner takes, with FP16 beside every shape but codes and pages', () => {
  const { groups, left } = sheetCases(SHEET_NAMES, options);
  assert.equal(left, []);
  assert.is(groups.length, SHEET_NAMES.length);
  groups.forEach((cases, i) => {
    const name = SHEET_NAMES[i]!;
    if (name === 'ops') return;
    const { parts, launches } = SHEETS[name];
    for (const one of cases) {
      assert.ok(one.launches.length >= 1 && one.launches.length <= launches);
      for (const request of requestsOf(one, ref)) benchRequestSchema.parse(request);
    }
    for (const { headDim, dtype, shapes } of parts) {
      const own = cases.filter(({ kernel: { contract } }) => contract.headDim === headDim);
      const met = (k: string, v: string, shape: object): boolean => own.some((one) => one.kernel.contract.k === k && one.kernel.contract.dtype === v && JSON.stringify(one.shape) === JSON.stringify(shape));
      for (const shape of shapes) {
        if (dtype === undefined) assert.is(met('f16', 'f16', shape), shape.page_size === undefined && shape.codes === undefined);
        assert.ok(own.some(({ kernel: { contract } }) => met(contract.k!, dtype ?? 'f16', shape)));
      }
    }
  });
});

test('ops: every contract that is held to something exists, its requests are taken, and a score has its forward pass beside it', () => {
  const cases = sheetCases(['ops'], options).groups[0]!;
  assert.is(cases.length, OP_GOALS.length);
  for (const one of cases) {
    assert.equal(reject(one.kernel.contract), []);
    for (const request of requestsOf(one, ref)) benchRequestSchema.parse(request);
  }
  assert.equal(baselineShapes(cases), [{ batch: 1, tokens: 32_768, q_heads: 32, kv_heads: 8, head_dim: 128, q_len: 32_768, causal: true }]);
  for (const { reach, aim } of OP_GOALS) assert.ok(reach > 0 && (aim === undefined || aim < reach));
  assert.equal([...new Set(sheetCases(['ops'], { ...options, batch: [16] }).groups[0]!.map(({ kernel }) => kernel.contract.op))], ['select', 'append']);
  assert.ok(sheetCases(['ops'], { ...options, only: ({ contract }) => contract.op === 'score' }).groups[0]!.every(({ kernel }) => kernel.contract.op === 'score'));
});

test('four columns are taken by the kernels of four, more by those of eight, and beside them by those that take as many at once as a CTA can', () => {
  const { groups } = sheetCases(['rows', 'heads'], options);
  for (const { kernel: { contract }, shape } of groups.flat().filter(({ kernel }) => kernel.contract.k !== 'f16')) {
    const columns = ((shape.q_len ?? 1) * shape.q_heads!) / shape.kv_heads!;
    const want = columns <= 4 ? [4] : columns <= 8 ? [8] : columns <= 16 ? [8, 16] : [8, 32];
    assert.ok(want.includes(contract.columns!), `${columns} by ${contract.columns}`);
  }
  const rows = groups[0]!.filter(({ shape }) => shape.q_len === 8);
  for (const k of ['f16', '8c8b'] as const) assert.equal([...new Set(rows.filter(({ kernel }) => kernel.contract.k === k).map(({ kernel }) => kernel.contract.columns))].sort(), [32, 8]);
});

test('first tiles come before all others, shapes in the order of the goals', () => {
  const tiles = (contract: Parameters<typeof defaultTile>[0]) => raceTiles(contract, sm90);
  const [cases] = sheetCases(['goals'], { ...options, tiles }).groups;
  const coded = cases!.filter(({ kernel }) => kernel.contract.k !== 'f16');
  const first = coded.slice(0, GOALS.length * GOAL_SHAPES.length);
  assert.equal([...new Set(first.map(({ shape }) => `${shape.batch} ${shape.tokens}`))], GOAL_SHAPES.map(({ batch, tokens }) => `${batch} ${tokens}`));
  assert.is(kernelsOfCases(first).filter(({ contract }) => contract.op === 'decode').length, GOALS.length);
  assert.ok(coded.length > first.length);
});

test('tiles of a race fit, are named once, begin with the default; look-ups with 8, 12 and 16 warps, 1 and 2 stages', () => {
  for (const goal of GOALS) {
    const contract = goalContract(goal, 128, 4);
    const tiles = raceTiles(contract, sm90);
    assert.equal(tiles[0], defaultTile(contract, sm90));
    for (const tile of tiles) assert.equal(misfit(contract, tile, sm90), []);
    assert.is(new Set(tiles.map((tile) => kernelName({ contract, arch: sm90, tile }))).size, tiles.length);
    const lookups = tiles.filter(({ algorithm }) => algorithm === 'lookup');
    assert.ok(new Set(lookups.map(({ warps }) => warps)).size >= 2, goal.title);
    assert.equal([...new Set(lookups.map(({ stages }) => stages))].sort(), [1, 2], goal.title);
  }
});

test('kernels and shapes can be chosen; FP16 stays', () => {
  const { groups } = sheetCases(['goals'], { ...options, only: ({ contract }) => contract.k === '4c8b', batch: [16], tokens: [4096] });
  assert.equal([...new Set(groups.flat().map(({ kernel: { contract } }) => contract.k))].sort(), ['4c8b', 'f16']);
  assert.ok(groups.flat().every(({ shape }) => shape.batch === 16 && shape.tokens === 4096));
});

test('the ragged batch: sixteen lengths over seven octaves, two empty; as many tokens in a uniform one', () => {
  const full = RAGGED.filter((n) => n > 0);
  assert.is(RAGGED.length, 18);
  assert.is(full.length, 16);
  assert.ok(full.every((n) => n >= 1024 && n <= 131_072));
  for (let octave = 0; octave < 7; octave++) assert.ok(full.some((n) => n >= 1024 << octave && n <= 2048 << octave), `${1024 << octave}`);
  assert.not.equal(full, full.toSorted((a, b) => a - b));
  assert.ok(Math.abs(totalTokens({ lens: [...RAGGED] }) - 16 * RAGGED_MEAN) <= 8);
});

test.run();
