// From tables and the kernels beside them to what look-ups use: one entry per table and contract, cells parsed, stale kernels known. Pure.
import { reject } from '../contract.ts';
import { kernelName, parseKernelName, type Kernel } from '../name.ts';
import { misfit } from '../tile.ts';
import { kernelInputs } from './inputs.ts';
import type { NamedTable } from './read.ts';
import { MODES, type Choice, type Mode } from './schema.ts';
import { parseCell, type Letter } from './words.ts';

/** A choice with its key resolved. */
export interface EntryChoice extends Choice {
  /** The kernel's code is no longer what was measured. */
  readonly stale: boolean;
}

export interface EntryCell {
  readonly choice: EntryChoice;
  readonly letter: Letter;
  readonly regret: number;
}

/** What one table says of one contract. */
export interface Entry {
  readonly contract: string;
  readonly named: NamedTable;
  readonly origin: 'measured' | 'copied' | 'modelled';
  /** By step of streams, then of tokens. */
  readonly planes: Partial<Record<Mode, readonly (readonly EntryCell[])[]>>;
}

/** The kernel of a name that a table holds, or undefined where it is no longer offered: such a table was made before a rule changed. */
export function offeredKernel(name: string): Kernel | undefined {
  try {
    const kernel = parseKernelName(name);
    return reject(kernel.contract).length + misfit(kernel.contract, kernel.tile, kernel.arch).length === 0 ? kernel : undefined;
  } catch {
    return undefined;
  }
}

/** The kernels that tables choose or call default, as far as they are still offered; each once, by name. */
export function namedKernels(tables: readonly NamedTable[]): Kernel[] {
  const names = new Set(tables.flatMap(({ table }) => Object.values(table.contracts).flatMap(({ modes }) => Object.values(modes).flatMap(({ choices }) => Object.values(choices).map(({ kernel }) => kernel)))));
  return [...names].sort().flatMap((name) => offeredKernel(name) ?? []);
}

/**
 * The entries of `tables`, by contract, then by file. A contract of a table with a choice that is not among `kernels` has none: half a table would choose blindly.
 * `inputs` gives the digest of a kernel's code today.
 */
export function entriesOf(tables: readonly NamedTable[], kernels: readonly Kernel[], inputs: (kernel: Kernel) => string = kernelInputs): Entry[] {
  const known = new Map(kernels.map((kernel) => [kernelName(kernel), kernel]));
  const digests = new Map<string, string>();
  const today = (name: string): string => {
    const there = digests.get(name) ?? inputs(known.get(name)!);
    digests.set(name, there);
    return there;
  };
  const entries = [...tables].sort((a, b) => (a.file < b.file ? -1 : 1)).flatMap((named) =>
    Object.entries(named.table.contracts).flatMap(([contract, { origin, modes }]): Entry[] => {
      const planes: Partial<Record<Mode, EntryCell[][]>> = {};
      for (const mode of MODES) {
        const plane = modes[mode];
        if (!plane) continue;
        if (Object.values(plane.choices).some(({ kernel }) => !known.has(kernel))) return [];
        const choices = new Map(Object.entries(plane.choices).map(([key, choice]) => [key, { ...choice, stale: named.table.kernels[choice.kernel]!.inputs !== today(choice.kernel) }]));
        planes[mode] = plane.cells.map((row) => row.split(' ').map((word) => {
          const { key, letter, regret } = parseCell(word)!;
          return { choice: choices.get(key)!, letter, regret };
        }));
      }
      return [{ contract, named, origin, planes }];
    }),
  );
  return entries.sort((a, b) => (a.contract < b.contract ? -1 : a.contract > b.contract ? 1 : 0));
}
