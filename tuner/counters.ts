// What the emulated driver counted in a launch, and how to ask about one line of a kernel (harness/emulator/README.md, "Counters").
import { z } from 'zod';
import { UsageError } from '../generator/errors.ts';

const count = z.int().nonnegative();
/** Of warp instructions. Shared memory has wavefronts, global memory sectors of 32 bytes; `ideal` is the fewest that could do. */
const tally = z.object({ instructions: count, wavefronts: count.optional(), sectors: count.optional(), ideal: count });

export const countersSchema = z.object({
  kernel: z.string(),
  blocks: count,
  threads: count,
  shared: z.record(z.string(), tally),
  global: z.record(z.string(), tally),
  collectives: z.record(z.string(), count),
  sites: z.array(
    z.object({ file: z.string(), line: count, space: z.enum(['shared', 'global']), access: z.enum(['load', 'store', 'atomic', 'copy', 'matrix']), bytes: count, count: tally }),
  ),
});
export type Counters = z.infer<typeof countersSchema>;
export type Tally = z.infer<typeof tally>;
export type Site = Counters['sites'][number];

/**
 * The sites on the lines of a generated kernel's `source` that contain `text`: templates are one file there, so their text is the way to name a line.
 * Throws UsageError if no line contains it: the template has changed. Lines that never ran have no sites.
 */
export function sitesAt(counters: Counters, source: string, text: string): Site[] {
  const lines = new Set(source.split('\n').flatMap((line, i) => (line.includes(text) ? [i + 1] : [])));
  if (lines.size === 0) throw new UsageError(`no line of ${counters.kernel} contains "${text}"`, 'copy a part of the line from the template as it is now');
  return counters.sites.filter((site) => site.file.endsWith('.cu') && lines.has(site.line));
}

/** Wavefronts (or sectors) beyond the fewest that could do: 0 is free of bank conflicts. */
export const wasted = (sites: readonly Site[]): number => sites.reduce((n, { count: c }) => n + (c.wavefronts ?? c.sectors ?? 0) - c.ideal, 0);
