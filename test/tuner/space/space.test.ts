// Tests tuner/space/space.ts, arms.ts, order.ts and tasks.ts: what is in a space, in which order, with which launches.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ARCHS, findArch, type Arch } from '../../../generator/arch.ts';
import { kernelName, parseContractName, parseKernelName } from '../../../generator/name.ts';
import { shippedContracts } from '../../../generator/ship.ts';
import { defaultTile, misfit } from '../../../generator/tile.ts';
import { raceTiles } from '../../../tuner/bench-sheets.ts';
import { parseLaunch } from '../../../tuner/bench-launch.ts';
import { fitFor } from '../../../tuner/model/fits.ts';
import { makeModel } from '../../../tuner/model/model.ts';
import { armsOf, expectedUs } from '../../../tuner/space/arms.ts';
import { DEFAULT_TUNING, problemsOf } from '../../../tuner/space/grid.ts';
import { inOrder, modelCosts } from '../../../tuner/space/order.ts';
import { candidateOf, spaceOf } from '../../../tuner/space/space.ts';
import { taskOf, tasksOf, usualTarget } from '../../../tuner/space/tasks.ts';
import { taskSchema, type Problem } from '../../../tuner/tune/problem.ts';

const sm90 = findArch('sm90')!;
const LOOKUP = parseContractName('antkv_decode_d128_k8c8b_v8c8bq8_f16_gain_n4');
const model = makeModel(sm90.machine!, fitFor(sm90.machine!));

test('a space has the default first, everything that the formula takes, each once; the rest has a reason', () => {
  for (const arch of [findArch('sm80')!, sm90, findArch('sm86')!]) {
    for (const { contract } of shippedContracts().values()) {
      const { kernels, refused, all } = spaceOf(contract, arch);
      const names = kernels.map(kernelName);
      assert.is(names[0], kernelName({ contract, arch, tile: defaultTile(contract, arch) }));
      assert.is(new Set([...names, ...refused.map(({ kernel }) => kernel)]).size, all);
      assert.ok(kernels.every(({ tile }) => misfit(contract, tile, arch).length === 0));
      assert.ok(refused.every(({ kernel, why }) => why !== '' && !names.includes(kernel)));
      for (const tile of raceTiles(contract, arch)) if (misfit(contract, tile, arch).length === 0) assert.ok(names.includes(kernelName({ contract, arch, tile })), kernelName({ contract, arch, tile }));
    }
  }
});

test('a space of decode has hundreds of tiles before the formula, and all algorithms', () => {
  const { kernels, refused, all } = spaceOf(LOOKUP, sm90);
  assert.ok(all > 100 && kernels.length > 60 && refused.some(({ why }) => /shared memory/.test(why)));
  assert.equal([...new Set(kernels.map(({ tile }) => tile.algorithm ?? 'rows'))].sort(), ['lookup', 'rows', 'tally']);
  const exact = spaceOf(parseContractName('antkv_decode_d128_kf16_vf16_f16'), sm90);
  assert.ok(exact.kernels.every(({ tile }) => tile.algorithm === undefined) && exact.refused.some(({ why }) => /needs codes/.test(why)));
});

test('candidates have the fields of their tile, and the algorithm where there are several', () => {
  assert.equal(candidateOf('antkv_select__sm90_w8').fields, { warps: 8 });
  const { fields } = candidateOf(kernelName(spaceOf(LOOKUP, sm90).kernels.find(({ tile }) => tile.algorithm === undefined)!));
  assert.is(fields['algorithm'], 'rows');
  const score = spaceOf(parseContractName('antkv_score_d128_f16'), sm90).kernels.map(kernelName);
  assert.equal(candidateOf(score[0]!).fields, { algorithm: 'group', warps: 12, tokens: 384, stages: 4 });
  assert.equal(score.filter((name) => name.includes('_group_')).sort(), [192, 384].flatMap((tokens) => [2, 3, 4].map((stages) => `antkv_score_d128_f16__sm90_group_w12_t${tokens}_s${stages}`)));
  assert.ok(typeof fields['tokens'] === 'number' && typeof fields['stages'] === 'number');
});

const at = (more: Partial<Problem['shape']>, mode: Problem['mode'] = 'sequence'): Problem => ({ contract: 'antkv_decode_d128_k8c8b_v8c8bq8_f16_gain_n4', mode, shape: { q_heads: 32, kv_heads: 8, ...more } });
const KERNEL = kernelName({ contract: LOOKUP, arch: sm90, tile: defaultTile(LOOKUP, sm90) });

test('arms are launches of the mode, never more CTAs than there is work; other ops have one', () => {
  for (const mode of ['sequence', 'spread'] as const) {
    const arms = armsOf(KERNEL, at({ batch: 16, tokens: 32768 }, mode), 132);
    assert.ok(arms.length > 1);
    for (const { launch } of arms) assert.is(parseLaunch(launch).spread, mode === 'spread');
  }
  assert.equal([...new Set(armsOf(KERNEL, at({ batch: 1, tokens: 64 }), 132).map(({ launch }) => launch))], ['1']);
  assert.ok(armsOf(KERNEL, at({ lens: [5000, 0, 100] }, 'spread'), 132).length > 0, 'ragged, with an empty one');
  assert.equal(armsOf('antkv_select__sm90_w8', { contract: 'antkv_select', mode: 'sequence', shape: { batch: 1, tokens: 64, q_heads: 8, kv_heads: 8 } }, 132), [{ kernel: 'antkv_select__sm90_w8', launch: '' }]);
});

test('the order: default, then by the model; expected costs are relative to the default', () => {
  const problems = problemsOf(LOOKUP, DEFAULT_TUNING);
  const names = spaceOf(LOOKUP, sm90).kernels.map(kernelName);
  const { names: order, costs } = inOrder(names, names[0]!, problems, model, 132);
  assert.is(order[0], names[0]);
  assert.is(costs!.get(names[0]!), 1);
  const tail = order.slice(1).map((name) => costs!.get(name)!);
  assert.equal(tail, tail.toSorted((a, b) => a - b));
  assert.equal(order.toSorted(), names.toSorted());
  assert.equal(inOrder([...names].reverse(), names[0]!, problems, model, 132).names, order, 'whatever the order before');
  assert.ok(order.slice(0, 10).every((name) => name.includes('lookup')), 'look-ups are expected to be faster than rows');
  assert.is(expectedUs(model, 'antkv_select__sm90_w8', { contract: 'antkv_select', mode: 'sequence', shape: { batch: 1, tokens: 64, q_heads: 8, kv_heads: 8 } }, 132), undefined);
});

test('ops without a model are ordered by their distance to the default', () => {
  const contract = parseContractName('antkv_select');
  const names = spaceOf(contract, sm90).kernels.map(kernelName);
  const problems = problemsOf(contract, DEFAULT_TUNING);
  assert.is(modelCosts(model, names, names[0]!, problems, 132), undefined);
  assert.equal(inOrder(names, names[0]!, problems, model, 132).names.map((name) => parseKernelName(name).tile.warps), [32, 16, 8, 4, 2, 1]);
});

test('tasks: valid, one per contract and architecture, none of what nobody times', () => {
  const contracts = ['antkv_select', 'antkv_combine_d128_f16', 'antkv_select', 'antkv_score_d128_f16'].map(parseContractName);
  const tasks = tasksOf(contracts, [findArch('sm80')!, sm90], DEFAULT_TUNING, usualTarget, () => undefined);
  assert.equal(tasks.map(({ task }) => `${task.contract} ${task.arch}`), ['antkv_select sm80', 'antkv_select sm90', 'antkv_score_d128_f16 sm80', 'antkv_score_d128_f16 sm90']);
  for (const { task } of tasks) assert.ok(taskSchema.safeParse(task).success);
  assert.is(taskOf(parseContractName('antkv_combine_d128_f16'), sm90, DEFAULT_TUNING, usualTarget(sm90), undefined), undefined);
});

test('every architecture has a usual target', () => {
  const known = (arch: Arch) => usualTarget(arch);
  for (const arch of ARCHS) assert.ok(known(arch).sms > 0 && known(arch).memoryBytes > 2 ** 30, arch.name);
  assert.equal([usualTarget(findArch('sm80')!).machine.name, usualTarget(sm90).machine.name, usualTarget(findArch('sm86')!).sms], ['A100', 'H200', 84]);
});

test.run();
