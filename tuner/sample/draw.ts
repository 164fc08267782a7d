// `gen verify --sample`: random kernels and shapes out of the whole product of axes. The pruners decide what is offered, and what they refuse is counted by reason.
import type { Arch } from '../../generator/arch.ts';
import { AXES, AXES_OF, reject, type Contract, type Op } from '../../generator/contract.ts';
import { kernelName, type Kernel } from '../../generator/name.ts';
import { defaultTile, misfit } from '../../generator/tile.ts';
import type { CheckOp, Shape } from '../problem.ts';
import { spaceOf } from '../space/space.ts';
import { Dice } from './dice.ts';
import { drawShape } from './shapes.ts';

/** Ops as often as they have bodies that differ. */
const OPS: readonly Op[] = ['decode', 'decode', 'decode', 'decode', 'decode', 'append', 'append', 'encode', 'encode', 'unpack', 'score', 'combine', 'select', 'kmeans'];

export interface Draw {
  readonly kernel: Kernel;
  readonly shape: Shape<CheckOp>;
  /** Of the problem's numbers. */
  readonly seed: number;
}

export interface Sample {
  readonly draws: readonly Draw[];
  /** How often each reason refused a draw. */
  readonly refused: ReadonlyMap<string, number>;
}

/** What most callers ask for: of the axes drawn freely almost none would have all of it, and its fast algorithms would never be drawn. */
const PLAIN: Partial<Contract> = { dtype: 'f16', key: 'post', softcap: false, sink: false, numerics: 'exact' };
/** The codec of values that goes with one of keys: the same, its codebook as it is or in 8 bits. */
const partners = (k: Contract['k']): Contract['v'][] => AXES.v.filter((v) => k !== undefined && v.replace(/q8$/, '') === k.replace(/q8$/, ''));

/** A contract of `op` with any value on every axis; half of them plain, and half with the same codec on both sides. */
function anyContract(dice: Dice, op: Op): Contract {
  const axes: readonly string[] = AXES_OF[op];
  const drawn = Object.fromEntries(AXES_OF[op].map((axis) => [axis, dice.pick(AXES[axis] as readonly unknown[])])) as Partial<Contract>;
  if (dice.once(2)) Object.assign(drawn, Object.fromEntries(Object.entries(PLAIN).filter(([axis]) => axes.includes(axis))));
  if (axes.includes('v') && dice.once(2)) Object.assign(drawn, { v: dice.pick(partners(drawn.k)) });
  return { op, ...drawn } as Contract;
}

/** Half of the kernels have the default tile, the others any tile of the tuner's space. */
function anyKernel(dice: Dice, contract: Contract, arch: Arch): { kernel: Kernel } | { why: string } {
  if (dice.once(2)) {
    const kernel = { contract, arch, tile: defaultTile(contract, arch) };
    const why = misfit(contract, kernel.tile, arch);
    return why.length > 0 ? { why: why[0]! } : { kernel };
  }
  const { kernels, refused } = spaceOf(contract, arch);
  const at = dice.int(0, kernels.length + refused.length - 1);
  if (at >= kernels.length) return { why: refused[at - kernels.length]!.why };
  const kernel = kernels[at]!;
  const [why] = misfit(contract, kernel.tile, arch); // a default is in its space even where none fits
  return why === undefined ? { kernel } : { why };
}

/** `count` draws on any of `archs`; draw i depends on the seed and i alone. */
export function sampleOf(count: number, seed: number, archs: readonly Arch[]): Sample {
  const refused = new Map<string, number>();
  const note = (why: string): void => void refused.set(why, (refused.get(why) ?? 0) + 1);
  const one = (i: number): Draw => {
    const own = (Math.imul(seed, 0x9e3779b1) ^ Math.imul(i + 1, 0x85ebca6b)) | 0;
    const dice = new Dice(own);
    const op = dice.pick(OPS);
    for (;;) {
      const contract = anyContract(dice, op);
      const [why] = reject(contract);
      if (why !== undefined) {
        note(why);
        continue;
      }
      const made = anyKernel(dice, contract, dice.pick(archs));
      if ('kernel' in made) return { kernel: made.kernel, shape: drawShape(dice, contract), seed: own & 0xffff };
      note(made.why);
    }
  };
  return { draws: Array.from({ length: count }, (_, i) => one(i)), refused };
}

/** The command that makes one draw's check again. */
export const againOf = ({ kernel, shape, seed }: Draw): string => `gen verify --only ${kernelName(kernel)} --seed ${seed} --shape '${JSON.stringify(shape)}'`;
