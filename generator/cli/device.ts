// The --device option.
import { UsageError } from '../errors.ts';
import type { Device } from '../../tuner/images.ts';

/** The device that a user typed; `besides`: other words that the command takes. Throws UsageError. */
export function deviceOf(word: string, besides: readonly string[] = []): Device {
  if (word === 'auto' || word === 'emulated') return word;
  if (/^\d{1,4}$/.test(word)) return Number(word);
  throw new UsageError(`--device takes ${[...besides, 'auto', 'emulated'].join(', ')} or a number, not "${word}"`, 'leave --device out to use a GPU if there is one');
}
