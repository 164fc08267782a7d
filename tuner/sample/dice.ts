// Random choices from a seed; equal seeds give equal choices.
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';

/** Draws in order; each draw moves the state on. */
export class Dice {
  readonly #state;
  constructor(seed: number) {
    this.#state = xoroshiro128plus(seed);
    for (let i = 0; i < 8; i++) this.int(0, 1); // near seeds begin alike
  }
  /** A whole number from `least` to `most`, both included. */
  int(least: number, most: number): number {
    return uniformInt(this.#state, least, most);
  }
  pick<T>(from: readonly T[]): T {
    return from[this.int(0, from.length - 1)]!;
  }
  /** True once in `n` times. */
  once(n: number): boolean {
    return this.int(1, n) === 1;
  }
}
