// Products over the axes of contracts and tiles, for tests that want all of them or random ones.
import fc from 'fast-check';
import { ARCHS } from '../../generator/arch.ts';
import { AXES, AXES_OF, OPS, type Contract, type Op } from '../../generator/contract.ts';
import type { Kernel } from '../../generator/name.ts';
import { ALGORITHMS, tileFields, type Tile } from '../../generator/tile.ts';

/** Every contract of `op`, offered or not. */
export function* everyContract(op: Op): Generator<Contract> {
  const axes = AXES_OF[op];
  function* from(i: number, made: Record<string, unknown>): Generator<Contract> {
    const axis = axes[i];
    if (axis === undefined) yield { ...made } as Contract;
    else for (const value of AXES[axis]) yield* from(i + 1, { ...made, [axis]: value });
  }
  yield* from(0, { op });
}

/** Any contract, offered or not. */
export const anyContract: fc.Arbitrary<Contract> = fc
  .constantFrom(...OPS)
  .chain((op) => fc.record(Object.fromEntries(AXES_OF[op].map((axis) => [axis, fc.constantFrom(...(AXES[axis] as readonly unknown[]))]))).map((axes) => ({ op, ...axes }) as Contract));

/** Any kernel, whether its tile fits or not. */
export const anyKernel: fc.Arbitrary<Kernel> = anyContract.chain((contract) =>
  fc.record({
    contract: fc.constant(contract),
    arch: fc.constantFrom(...ARCHS),
    tile: fc.constantFrom(undefined, ...(ALGORITHMS[contract.op] ?? [])).chain((algorithm) => {
      const fields = Object.fromEntries(tileFields(contract.op, algorithm).map((field) => [field, fc.integer({ min: 1, max: 99999 })]));
      return fc.record({ ...(algorithm ? { algorithm: fc.constant(algorithm) } : {}), ...fields }, { noNullPrototype: true }) as unknown as fc.Arbitrary<Tile>;
    }),
  }, { noNullPrototype: true }),
);
