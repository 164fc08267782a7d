// What need not be measured, known from the compiler alone: kernels whose PTX is another's, and kernels that keep too much in local memory. Pure.
import { threadsOf } from '../../generator/tile.ts';
import type { Resources } from '../nvcc.ts';
import type { EventOf } from '../tune/events.ts';
import { kernelNamed } from './names.ts';

/** A `pruned` event before the journal gives it id, time and writer. */
export type Pruned = Omit<EventOf<'pruned'>, 'id' | 'at' | 'writer'>;

/**
 * Spilled bytes per thread (stores and loads together) that a kernel may have whatever the default has. Not 0: kernels of 16 warps spill 100 to 300 bytes around their
 * loop and are the fastest of their contract on an H200, while those of 800 bytes and more spill inside it and take 1.4 times as long (harness/bench/NOTES.md).
 */
export const SPILLS_ALLOWED = 512;
/** The same of the stack frame: arrays that are indexed lie there too. */
export const STACK_ALLOWED = 1024;
/** Times the default's bytes that any other kernel may have. */
const TIMES_DEFAULT = 2;
/** Of those that ptxas's report speaks against, every so many is measured all the same: a wrong rule shows in the journal. */
export const EXPLORE = 20;

/**
 * Kernels with equal PTX, all but the first of each kind. `compiled` is in order of importance, the default first, which therefore always stays.
 */
export function sameCode(compiled: readonly { readonly kernel: string; readonly ptx: string }[]): Pruned[] {
  const first = new Map<string, string>();
  return compiled.flatMap(({ kernel, ptx }): Pruned[] => {
    const same = first.get(ptx);
    if (same === undefined) first.set(ptx, kernel);
    return same === undefined || same === kernel ? [] : [{ event: 'pruned', kernel, stage: 'ptx', why: `its PTX is that of ${same}`, same }];
  });
}

export type Facts = Pick<Resources, 'registers' | 'spillStores' | 'spillLoads' | 'stack'>;
export const spillsOf = ({ spillStores, spillLoads }: Facts): number => spillStores + spillLoads;

/** Why ptxas's report on a kernel speaks against it, or undefined. `usual`: the report on the default; without it only what cannot start at all is refused. */
export function againstFacts(kernel: string, facts: Facts, usual: Facts | undefined): { why: string; final: boolean } | undefined {
  const { arch, tile } = kernelNamed(kernel);
  const registers = Math.ceil(facts.registers / 8) * 8 * threadsOf(tile);
  if (registers > arch.registersPerSm) return { why: `${facts.registers} registers x ${threadsOf(tile)} threads, ${arch.name} has ${arch.registersPerSm}`, final: true };
  if (!usual) return undefined;
  const spills = Math.max(SPILLS_ALLOWED, TIMES_DEFAULT * spillsOf(usual));
  if (spillsOf(facts) > spills) return { why: `${spillsOf(facts)} B of spills per thread, more than ${spills}`, final: false };
  const stack = Math.max(STACK_ALLOWED, TIMES_DEFAULT * usual.stack);
  return facts.stack > stack ? { why: `a stack frame of ${facts.stack} B, more than ${stack}`, final: false } : undefined;
}

/** A number from 0 to 2^32 of a name (FNV-1a): the same kernels are explored in every sweep and on every machine. */
const chanceOf = (name: string): number => [...name].reduce((hash, letter) => Math.imul(hash ^ letter.charCodeAt(0), 0x01000193) >>> 0, 0x811c9dc5);

/** The verdict on one kernel as a compile worker gives it: undefined if it is to be measured. The default is, whatever its report says, unless it cannot start. */
export function prunedByFacts(kernel: string, facts: Facts, usual: { readonly kernel: string; readonly facts: Facts | undefined }): Pruned | undefined {
  const against = againstFacts(kernel, facts, usual.facts);
  if (!against || (!against.final && (kernel === usual.kernel || chanceOf(kernel) % EXPLORE === 0))) return undefined;
  return { event: 'pruned', kernel, stage: 'ptxas', why: against.why };
}
