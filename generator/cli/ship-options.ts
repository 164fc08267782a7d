// How many kernels of a contract tables ship: the options that gen tune and gen table have in common.
import type { Argv } from 'yargs';
import { UsageError } from '../errors.ts';
import type { ChooseOptions } from '../../tuner/table/choose.ts';
import { whole } from './whole.ts';

export interface ShipOptions {
  maxKernels?: number | undefined;
  maxSlowdown?: number | undefined;
}

export const shipOptions = <T>(y: Argv<T>) =>
  y
    .option('max-kernels', { type: 'number', requiresArg: true, describe: 'kernels to ship of a contract, the default among them (default: 2)' })
    .option('max-slowdown', { type: 'number', requiresArg: true, describe: 'enough, when no point is slower than this against the best found (default: 1.03)' });

/** What the options say, without what was left out. Throws UsageError. */
export function shippingOf({ maxKernels, maxSlowdown }: ShipOptions): Partial<ChooseOptions> {
  whole('max-kernels', maxKernels, 1);
  if (maxSlowdown !== undefined && !(maxSlowdown >= 1)) throw new UsageError(`--max-slowdown takes a ratio from 1, not ${maxSlowdown}`, 'for example --max-slowdown 1.03');
  return { ...(maxKernels === undefined ? {} : { maxKernels }), ...(maxSlowdown === undefined ? {} : { maxSlowdown }) };
}
