// What is wrong with a table that reads well: kernels that are no longer offered, code that has changed since, times that mean nothing. Pure but for mending, which asks a compiler.
import { kernelName } from '../../generator/name.ts';
import { defaultTile } from '../../generator/tile.ts';
import { offeredKernel } from '../../generator/table/entries.ts';
import { kernelInputs } from '../../generator/table/inputs.ts';
import type { Table } from '../../generator/table/schema.ts';
import { printTable, tablePath } from '../../generator/table/words.ts';
import { VERSIONS } from '../../generator/versions.ts';

export interface Finding {
  /** `wrong`: the table misleads. `stale`: its answers are marked. `note`: worth knowing. */
  readonly kind: 'wrong' | 'stale' | 'note';
  readonly what: string;
  /** What mends it. */
  readonly fix: string;
}

const MERGE = 'gen table merge JOURNALS… --out DIR';

/** Kernels of a table whose code is not what was measured. */
export function staleKernels({ kernels }: Table): string[] {
  return Object.keys(kernels).filter((name) => {
    const kernel = offeredKernel(name);
    return kernel !== undefined && kernelInputs(kernel) !== kernels[name]!.inputs;
  });
}

/** Everything that is to be said of a table; empty if it is in order. `text` and `file` as they are on the disk. */
export function findingsOf(table: Table, text: string, file?: string): Finding[] {
  const findings: Finding[] = [];
  const say = (kind: Finding['kind'], what: string, fix: string): void => void findings.push({ kind, what, fix });
  if (text !== printTable(table)) say('wrong', 'its text is not canonical: keys are not sorted, or a digit was edited by hand', MERGE);
  if (file !== undefined && !file.endsWith(tablePath(table.arch, table.device)) && !/-[0-9a-f]{4}\.json$/.test(file)) say('note', `a table of this device is usually ${tablePath(table.arch, table.device)}`, MERGE);
  for (const { clock, device } of Object.values(table.environments)) if (clock === 'emulated') say('wrong', `times of ${device.name} were taken on the emulated driver and mean nothing`, 'gen tune on a GPU');
  if (table.abi !== VERSIONS.abi || table.layout !== VERSIONS.layout) say('stale', `its kernels had ABI ${table.abi} and layout ${table.layout}, now they have ${VERSIONS.abi} and ${VERSIONS.layout}`, 'gen tune --stale');
  for (const name of Object.keys(table.kernels).filter((one) => !offeredKernel(one))) say('wrong', `${name} is not offered any more: look-ups pass its contract by`, `gen tune --only ${name.split('__')[0]}`);
  for (const name of staleKernels(table)) say('stale', `${name} has changed since it was measured`, 'gen table validate --mend FILE if only its text changed, else gen tune --stale');
  for (const [contract, { default: first, origin, leftOut }] of Object.entries(table.contracts)) {
    const kernel = offeredKernel(first);
    const today = kernel && kernelName({ ...kernel, tile: defaultTile(kernel.contract, kernel.arch) });
    if (today !== undefined && today !== first) say('note', `${contract}: it was compared with ${first}, the default is now ${today}`, `gen tune --only ${contract}`);
    if (origin === 'modelled') say('note', `${contract}: modelled, never measured`, `gen tune --only ${contract} on ${table.device.name}`);
    if (leftOut && leftOut.mean > 30) say('note', `${contract}: points that were left out lose ${leftOut.mean / 10} % on average`, `gen tune --only ${contract} --shapes FILE with more points`);
  }
  return findings;
}

/** PTX of a kernel as it is now: its hash, those that it had before fields were appended to its parameters, and the digest of its code; or why there is none. */
export type Compile = (name: string) => Promise<{ readonly ptx: string; readonly shorter?: readonly string[]; readonly inputs: string } | { readonly why: string }>;

export interface Mended {
  readonly table: Table;
  /** Kernels whose machine code is what it was: they count as measured again. */
  readonly mended: readonly string[];
  /** Kernels that have really changed, or did not compile. */
  readonly left: readonly { readonly kernel: string; readonly why: string }[];
}

/**
 * Compiles the stale kernels; where the PTX is what was measured, but for the length of its parameters, the new digest is entered, and where all of it is, today's versions
 * too: whatever else they stand for, the table's kernels read and write the bytes that they did. The hash of another nvcc's PTX differs and proves nothing.
 */
export async function mend(table: Table, compile: Compile): Promise<Mended> {
  const kernels = { ...table.kernels };
  const mended: string[] = [];
  const left: { kernel: string; why: string }[] = [];
  for (const name of staleKernels(table)) {
    const now = await compile(name);
    if ('why' in now) left.push({ kernel: name, why: now.why });
    else if (now.ptx !== kernels[name]!.ptx && !now.shorter?.includes(kernels[name]!.ptx)) left.push({ kernel: name, why: 'its PTX has changed, or nvcc has' });
    else {
      kernels[name] = { ...kernels[name]!, ptx: now.ptx, inputs: now.inputs };
      mended.push(name);
    }
  }
  const versions = left.length === 0 ? { abi: VERSIONS.abi, layout: VERSIONS.layout } : {};
  return { table: { ...table, ...versions, kernels }, mended, left };
}
