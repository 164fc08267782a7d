// The axes of a tuning table: half octaves, or quarters, found with whole numbers alone, so that TypeScript, C and Python index alike. Pure.
import { z } from 'zod';

/** Steps `first` to `first + count - 1` of {@link stepOf}; with `power` 2 of the square of what is looked up, which are quarter octaves of it. */
export const axisSchema = z.strictObject({ first: z.int().min(0).max(62), count: z.int().min(1).max(63), power: z.literal(2).optional() });
export type Axis = z.infer<typeof axisSchema>;

/** Numbers beyond count as this one: their squares are exact in every language. */
const MOST = 2 ** 26 - 1;

/** Of a whole number from 1 to 2^52: how often it can be halved. */
const exponentOf = (x: number): number => (x < 2 ** 32 ? 31 - Math.clz32(x) : 63 - Math.clz32(x / 2 ** 32));

/**
 * The nearest of 1, 1.5, 2, 3, 4, 6, 8, 12 … to `x`, as its number: 2 k is 2^k, 2 k + 1 is 1.5 x 2^k; bounds lie at 1.25 and 1.75 x 2^k and belong to the step above.
 * `x` from 1 to 2^52 - 1; what is less counts as 1, what is more as that. In C: k = 63 - clzll(x), q = (x << 2 >> k) & 3, step = 2 k + (q + 1 >> 1).
 */
export function stepOf(x: number): number {
  const whole = Math.min(Math.max(Math.floor(x), 1), 2 ** 52 - 1);
  const k = exponentOf(whole);
  const quarter = Math.floor((whole / 2 ** k) * 4) - 4;
  return 2 * k + ((quarter + 1) >> 1);
}

/** The number that a step stands for: the inverse of {@link stepOf}, but for step 1, which is 1.5 and which no whole number has. */
export const valueOf = (step: number): number => (step % 2 === 0 ? 1 : 1.5) * 2 ** Math.floor(step / 2);

/** The step of `x` on an axis, not clamped to its ends. */
export const stepOn = ({ power }: Axis, x: number): number => stepOf(Math.min(Math.max(x, 1), MOST) ** (power ?? 1));

/** The place of `x` on an axis, clamped to its ends. */
export const placeOf = (axis: Axis, x: number): number => Math.min(Math.max(stepOn(axis, x) - axis.first, 0), axis.count - 1);

/** What the place `i` of an axis stands for. */
export const middleOf = ({ first, power }: Axis, i: number): number => valueOf(first + i) ** (1 / (power ?? 1));

/** The same as a whole number: what cells of tokens are decided for, and what is printed. */
export const wholeMiddleOf = (axis: Axis, i: number): number => Math.round(middleOf(axis, i));
