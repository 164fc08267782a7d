// How the CTAs of one decode step share the work and who merges what they found: what a race of launches tries, and its notation. Pure.
import { UsageError } from '../generator/errors.ts';
import type { Kernel } from '../generator/name.ts';
import { sharedBytes } from '../generator/shared.ts';
import { threadsOf } from '../generator/tile.ts';

export interface Launch {
  /** CTAs per sequence and group of columns; with `spread` of all sequences together. */
  readonly splits: number;
  /** All sequences, end to end, are cut into `splits` shares of equal work; else each sequence is. */
  readonly spread: boolean;
  /** `last`: the CTA that comes last merges; `combine`: a second kernel does; `none`: there is nothing to merge. */
  readonly merge: 'last' | 'combine' | 'none';
}

/** As `--splits` has it: `16` shares of each sequence, `16s` of all together, `16c` of each sequence and merged by combine. */
export const launchWord = ({ splits, spread, merge }: Launch): string => `${splits}${spread ? 's' : ''}${merge === 'combine' ? 'c' : ''}`;

/** The inverse of {@link launchWord}. Throws UsageError. */
export function parseLaunch(word: string): Launch {
  const [, digits, letters] = /^([1-9]\d{0,3})(s?c?)$/.exec(word.trim()) ?? [];
  const splits = Number(digits);
  if (digits === undefined || splits > 1024) throw new UsageError(`--splits takes numbers from 1 to 1024 with commas, each with s (spread over all sequences) or c (merged by combine) behind it, not "${word}"`, 'for example --splits 16s,2,2c');
  return launch(splits, letters!.includes('s'), letters!.includes('c'));
}

const launch = (splits: number, spread: boolean, combine = false): Launch => ({ splits, spread, merge: combine ? 'combine' : spread || splits > 1 ? 'last' : 'none' });

/** Registers that a thread of a look-up kernel takes at least: tables' addresses, codes under way and accumulators. */
const LOOKUP_REGISTERS = 128;

/** CTAs of a kernel that fit one multiprocessor, by threads and shared memory (1 KB of each CTA's is the system's), and by registers where they are known. */
export function ctasPerSm({ contract, tile, arch }: Kernel): number {
  const threads = threadsOf(tile);
  const byRegisters = tile.algorithm !== undefined ? Math.floor(arch.registersPerSm / (threads * LOOKUP_REGISTERS)) : Infinity;
  return Math.max(1, Math.min(Math.floor(arch.sharedPerSm / (sharedBytes(contract, tile) + 1024)), Math.floor(arch.threadsPerSm / threads), byRegisters));
}

/** What a launch divides. */
export interface Work {
  readonly batch: number;
  /** Of the longest sequence, and of all together. */
  readonly tokens: number;
  readonly total: number;
  /** KV heads x groups of columns: grid.y. */
  readonly groups: number;
  readonly sms: number;
}

/** Shares of a sequence of `tokens` at most: none is shorter than a step of a CTA, 32 tokens of each warp or the tile (`lookup`: half a step). */
export function mostShares({ tile }: Kernel, tokens: number): number {
  const shortest = tile.algorithm !== undefined ? 16 * tile.warps : tile.tokens ?? 16;
  return Math.min(Math.max(1, Math.floor(tokens / shortest)), 1024);
}

// CTAs per SM that a grid of `rows` kernels should reach, the likeliest to be best first: two fill the device, six are whole waves of a kernel of which three fit an
// SM, sixteen leave no SM idle at the end (harness/bench/NOTES.md).
const WAVES = [2, 6, 16, 3, 8, 1];

/**
 * Launches worth a race, the likeliest first. Spread: as many CTAs as the device holds at once, half, twice, one more and a quarter of that. By sequence: the same in
 * whole CTAs per sequence (`rows`: {@link WAVES}). No more than {@link mostShares}.
 */
export function launchesOf(kernel: Kernel, { batch, tokens, total, groups, sms }: Work): Launch[] {
  const lookup = kernel.tile.algorithm !== undefined;
  const bounded = (length: number, counts: readonly number[]): number[] => [...new Set(counts.map((n) => Math.min(mostShares(kernel, length), Math.max(1, Math.floor(n)))))];
  const held = (ctasPerSm(kernel) * sms) / groups;
  const spread = bounded(total, [held, held / 2, 2 * held, held + 1, held / 4]).map((n) => launch(n, true));
  const static_ = bounded(tokens, lookup ? [held, 2 * held, 3 * held].map((n) => n / batch) : WAVES.map((waves) => (waves * sms) / (batch * groups))).map((n) => launch(n, false));
  const several = static_.find(({ splits }) => splits > 1);
  const combined = several ? [launch(several.splits, false, true)] : [];
  // Turn about: what wins is decided by the shape more than by the count.
  const [first, second] = lookup ? [spread, static_] : [static_, spread];
  const rest = [first[1], first[2], second[1], ...combined, ...first.slice(3), ...second.slice(2)];
  return [first[0], second[0], ...rest].filter((one) => one !== undefined);
}
