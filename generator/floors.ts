// How long each pipe of a multiprocessor takes for a piece of work, and which of them bounds it. Pure.
import type { Machine } from './arch.ts';
import type { Work } from './work.ts';

export const PIPES = ['memory', 'shared', 'issue', 'alu', 'fma', 'mufu', 'matrix'] as const;
export type Pipe = (typeof PIPES)[number];
export type Floors = Readonly<Record<Pipe, number>>;

// Clocks. A mma takes the issue port for about four more slots: of kernels that differ only in the number of mma, time follows instructions + 3.2 x mma per tile,
// and in micro-benchmarks a mma.sync with 6 FFMA between takes 10.8 clocks of a scheduler.
const MMA_SLOTS = 4.2;
/** Loops reach this share of their largest floor. Of an SM's pipes 0.86 was the best seen, 0.7 to 0.8 is usual when two are close; copying f16 rows reaches 0.9 of memory. */
const reached = (pipe: Pipe): number => (pipe === 'memory' ? 0.9 : 0.75);

/** Clocks of one SM that each pipe needs for `w`, when `active` SMs share the memory; half of them suffice to use all of it. */
export function floorsOf(w: Work, m: Machine, active = m.sms): Floors {
  const instructions = w.alu + w.dot + w.half + w.float + w.mufu + w.memory + w.control;
  return {
    memory: (w.bytes * Math.max(active, m.sms / 2) * m.ghz) / m.memory,
    shared: w.wavefronts,
    issue: (instructions + MMA_SLOTS * w.matrix) / 4,
    alu: w.alu / 2,
    fma: w.dot / 2 + w.half / m.half + w.float / m.float,
    mufu: w.mufu * 2,
    matrix: (w.matrix * m.matrix) / 4,
  };
}

/** The pipe that bounds, and the clocks that a loop is expected to take. */
export function expect(floors: Floors): { bound: Pipe; expected: number } {
  const bound = PIPES.reduce((top, pipe) => (floors[pipe] / reached(pipe) > floors[top] / reached(top) ? pipe : top));
  return { bound, expected: floors[bound] / reached(bound) };
}
