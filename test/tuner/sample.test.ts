// Tests tuner/sample: draws are what the pruners offer, depend on seed and number alone, and meet every value that is offered; shapes are shapes of their op.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findArch } from '../../generator/arch.ts';
import { AXES, AXES_OF, contractOf, reject, type Axis, type Contract } from '../../generator/contract.ts';
import { kernelName } from '../../generator/name.ts';
import { misfit } from '../../generator/tile.ts';
import { SHAPES, type CheckOp } from '../../tuner/problem.ts';
import { againOf, sampleOf } from '../../tuner/sample/draw.ts';
import { kernelsOfDraws } from '../../tuner/sample/pack.ts';

const archs = [findArch('sm80')!, findArch('sm90')!];
const { draws, refused } = sampleOf(900, 7, archs);

test('every draw is offered, fits, and has a shape of its op', () => {
  assert.is(draws.length, 900);
  for (const { kernel, shape } of draws) {
    assert.equal([...reject(kernel.contract), ...misfit(kernel.contract, kernel.tile, kernel.arch)], [], kernelName(kernel));
    const parsed = SHAPES[kernel.contract.op as CheckOp].safeParse(shape);
    assert.ok(parsed.success, `${kernelName(kernel)} ${JSON.stringify(shape)}`);
  }
});

test('equal seeds draw alike, whatever the number of draws; others do not', () => {
  assert.equal(sampleOf(5, 7, archs).draws.map(againOf), draws.slice(0, 5).map(againOf));
  assert.not.equal(sampleOf(5, 8, archs).draws.map(againOf), draws.slice(0, 5).map(againOf));
});

test('what is refused has its reason counted', () => {
  assert.ok(refused.size > 20);
  for (const [why, times] of refused) assert.ok(why.length > 5 && times > 0);
  assert.ok([...refused.keys()].some((why) => why.includes('not built yet')));
});

test('every offered value of every axis of decode is met', () => {
  const base = { headDim: 128, k: '8c8b', v: '8c8bq8', dtype: 'f16' } as const;
  const met = draws.filter(({ kernel }) => kernel.contract.op === 'decode').map(({ kernel }) => kernel.contract);
  for (const axis of AXES_OF.decode) {
    for (const value of AXES[axis] as readonly Contract[Axis][]) {
      if (reject(contractOf('decode', { ...base, [axis]: value })).length === 0) assert.ok(met.some((contract) => contract[axis] === value), `${axis} ${String(value)}`);
    }
  }
});

test('decode brings the kernel that merges', () => {
  const names = kernelsOfDraws(draws.slice(0, 40)).map(kernelName);
  assert.is(new Set(names).size, names.length);
  for (const { kernel } of draws.slice(0, 40)) if (kernel.contract.op === 'decode') assert.ok(names.some((name) => name.startsWith(`antkv_combine_d${kernel.contract.headDim}_${kernel.contract.dtype}`)));
});

test.run();
