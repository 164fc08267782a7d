// A table for a device that nobody has measured: the model's times as events of a journal, from which tables are built as from measured ones. Every cell of it says "modelled". Pure.
import { findArch, type Machine } from '../../generator/arch.ts';
import { EnvironmentError } from '../../generator/errors.ts';
import { BOARDS } from '../../generator/table/devices.ts';
import type { DeviceFacts } from '../../generator/table/schema.ts';
import { seedsOf, type Winner } from '../search/seeds.ts';
import { armsOf } from '../space/arms.ts';
import type { Draft, TuneEvent } from '../tune/events.ts';
import type { Fit } from '../tune/model.ts';
import { armWord, type Task } from '../tune/problem.ts';
import { stableDigest } from '../../generator/stable.ts';
import { makeModel } from './model.ts';

const A100 = 'NVIDIA A100-SXM4-80GB';
/** The board that a table is modelled for; memory and power as NVIDIA's data sheet has them. */
export const A100_SXM4_80GB: DeviceFacts = { name: A100, ...BOARDS[A100]!, memoryBytes: 80 * 2 ** 30, powerW: 400 };

/** The machine that the model computes with for a device. Throws EnvironmentError where nobody wrote it down. */
export function machineFor({ cc, sms, name }: DeviceFacts): Machine {
  const machine = findArch(`sm${cc}`)?.machine;
  if (!machine) throw new EnvironmentError(`no machine of compute capability ${cc / 10} is known: ${name} cannot be modelled`, 'measure on it: gen tune; or write its numbers into generator/arch.ts');
  return { ...machine, sms };
}

// Long before any measurement: of two facts that disagree the later holds.
const AT = '1970-01-01T00:00:00.000Z';
const dated = (draft: Draft): TuneEvent => {
  const rest = { ...draft, at: AT, writer: 'model' };
  return { ...rest, id: stableDigest(rest) } as TuneEvent;
};

export interface ModelledOptions {
  readonly device: DeviceFacts;
  readonly fit: Fit;
  readonly tunedFor: string;
  /**
   * Kernels that won where somebody measured. The model prices the default and these tiles only: it counts work and knows nothing of registers, so that a tile that
   * spills would look as good as one that does not.
   */
  readonly winners?: readonly Winner[];
}

/** The events of a sweep as the model would have run it: one round at each problem, the default first. Tasks of ops that the model does not know are left out. */
export function modelledEvents(tasks: readonly Task[], { device, fit, tunedFor, winners = [] }: ModelledOptions): TuneEvent[] {
  const model = makeModel(machineFor(device), fit);
  const facts = { device, driver: null, nvcc: null, clock: 'model' as const, policy: { launch: 'graph' as const, l2: 'cold' as const } };
  const environment = stableDigest(facts);
  const races = tasks.flatMap((task) => {
    const kernels = seedsOf(task, winners, device);
    return task.problems.flatMap((problem): TuneEvent[] => {
      const timed = kernels.flatMap((kernel) => armsOf(kernel, problem, device.sms)).flatMap((arm) => {
        const us = model.us(problem, arm);
        return us === undefined ? [] : [{ arm, us }];
      });
      const usual = timed.find(({ arm }) => arm.kernel === task.kernels[0]);
      if (!usual) return [];
      const order = [usual, ...timed.filter(({ arm }) => armWord(arm) !== armWord(usual.arm))];
      return [dated({
        event: 'raced', environment, session: 'model', phase: 'race', problem, arms: order.map(({ arm }) => arm), ptx: order.map(() => ''),
        rounds: [{ us: order.map(({ us }) => Number(us.toPrecision(5))), mhz: null, celsius: null }], discarded: 0, bytes: 0,
      })];
    });
  });
  return [
    dated({ event: 'header', schema: 1, version: 'model', command: [], seed: 0, tunedFor }),
    dated({ event: 'environment', environment, facts }),
    ...races,
  ];
}
