// The look-up: which kernel and launch, and how sure. Clamps and indexes. Twins: harness/antkv_table.h, harness/python/antkv_table.py; test/golden/table.json holds for all. Pure.
import { BOUNDS } from '../launch.ts';
import { contractName, kernelName, parseContractName, type Kernel } from '../name.ts';
import { sharedBytes } from '../shared.ts';
import { runsOn } from '../tile.ts';
import type { Entry, EntryCell } from './entries.ts';
import { CELL_LETTERS, ORIGINS, QUALITIES, type Choice, type Identity, type Mode, type Quality } from './schema.ts';
import { placeOf } from './steps.ts';
import { MOST_REGRET } from './words.ts';

/** A question: a contract at a shape, as the host bounds it, on a device. {@link find} takes a number beyond {@link BOUNDS} as the nearest bound. */
export interface Ask {
  readonly contract: string;
  readonly mode: Mode;
  readonly device: Identity;
  readonly batch: number;
  readonly qHeads: number;
  readonly kvHeads: number;
  /** Query rows per sequence. */
  readonly qLen: number;
  readonly tokens: number;
}

export interface Answer {
  /** Undefined: no kernel of the contract runs on this device. */
  readonly kernel: string | undefined;
  /** 0: the loader's rule for splits decides; ops without splits have 0 too. */
  readonly splits: number;
  readonly spread: boolean;
  readonly merge: Choice['merge'];
  readonly quality: Quality;
  /** Expected loss against the best that is known, in thousandths; null: unknown. */
  readonly regret: number | null;
  /** The table that answered. */
  readonly table: string | undefined;
}

/** How a table's device and the asked one compare. */
export type Match = 'same' | 'sibling' | 'arch';
const MATCHES: readonly Match[] = ['same', 'sibling', 'arch'];
/** The members of an identity, in the order of the schema. */
export const IDENTITY_KEYS = ['cc', 'sms', 'sharedPerBlock', 'l2Bytes', 'busBits', 'memoryMhz'] as const satisfies readonly (keyof Identity)[];

export function matchOf(table: Identity, device: Identity): Match {
  if (IDENTITY_KEYS.every((key) => table[key] === device[key])) return 'same';
  return table.cc === device.cc && table.sms === device.sms ? 'sibling' : 'arch';
}

/** Number of an architecture: `sm80` is 80. */
const archOf = (name: string): number => Number(name.slice(2));

/** A rung of the ladder: an entry and how far it is from the device. */
export interface Rung {
  readonly entry: Entry;
  readonly match: Match;
}

/** Negative: `a` is asked before `b`. Whole numbers only; how far apart two numbers of SMs are is compared as ratios, crosswise. */
function compareRungs(a: Rung, b: Rung, device: Identity): number {
  const far = ({ entry: { named: { table } } }: Rung): [high: number, low: number] => [Math.max(table.device.sms, device.sms), Math.min(table.device.sms, device.sms)];
  const foreign = ({ entry: { named: { table } } }: Rung): number => (Math.floor(table.device.cc / 10) === Math.floor(device.cc / 10) ? 0 : 1);
  const [aHigh, aLow] = far(a);
  const [bHigh, bLow] = far(b);
  return (
    MATCHES.indexOf(a.match) - MATCHES.indexOf(b.match) ||
    foreign(a) - foreign(b) ||
    aHigh * bLow - bHigh * aLow ||
    ORIGINS.indexOf(a.entry.origin) - ORIGINS.indexOf(b.entry.origin) ||
    archOf(b.entry.named.table.arch) - archOf(a.entry.named.table.arch) ||
    (a.entry.named.file < b.entry.named.file ? -1 : 1)
  );
}

/**
 * Why an entry is not asked, undefined where it is. What was modelled for one device says nothing of another one, where the default may be newer code; a sibling is the same processor at other clocks.
 */
export function barred({ named: { table }, origin, planes }: Entry, { mode, device }: Pick<Ask, 'mode' | 'device'>): string | undefined {
  if (!planes[mode]) return `it has no cells for mode ${mode}`;
  if (archOf(table.arch) > device.cc) return `its kernels are for ${table.arch}, which a device of compute capability ${device.cc / 10} does not run`;
  if (origin === 'modelled' && matchOf(table.device, device) === 'arch') return `it was modelled for ${table.device.name}, which says nothing of another device`;
  return undefined;
}

/** The entries that can answer, best first. */
export function ladder(entries: readonly Entry[], { contract, mode, device }: Pick<Ask, 'contract' | 'mode' | 'device'>): Rung[] {
  return entries
    .filter((entry) => entry.contract === contract && barred(entry, { mode, device }) === undefined)
    .map((entry) => ({ entry, match: matchOf(entry.named.table.device, device) }))
    .sort((a, b) => compareRungs(a, b, device));
}

/** Groups of query columns times KV heads, grid.y of decode; KV heads for the other ops. */
export function linesOf({ contract, qHeads, kvHeads, qLen }: Pick<Ask, 'contract' | 'qHeads' | 'kvHeads' | 'qLen'>): number {
  const { op, columns = 8 } = parseContractName(contract);
  return op === 'decode' ? kvHeads * Math.ceil((qLen * Math.floor(qHeads / kvHeads)) / columns) : kvHeads;
}

/** Ops other than decode have one mode. */
export const modeOf = ({ contract, mode }: Pick<Ask, 'contract' | 'mode'>): Mode => (parseContractName(contract).op === 'decode' ? mode : 'sequence');

/** The cell of a shape, and where it lies. */
export function cellAt({ named: { table }, planes }: Entry, mode: Mode, streams: number, tokens: number): { cell: EntryCell; row: number; column: number } {
  const row = placeOf(table.axes.streams, streams);
  const column = placeOf(table.axes.tokens, tokens);
  return { cell: planes[mode]![row]![column]!, row, column };
}

/** Splits of a choice at a shape. A share of fewer than 32 tokens is none. */
export function splitsOf({ ctas, spread }: Choice, lines: number, tokens: number): number {
  if (ctas === 0) return 0;
  const splits = spread ? Math.max(1, Math.floor(ctas / lines)) : Math.min(ctas, Math.max(1, Math.ceil(tokens / 32)));
  return Math.min(splits, 1024);
}

/** The worse of two qualities. */
const worse = (a: Quality, b: Quality): Quality => (QUALITIES.indexOf(a) < QUALITIES.indexOf(b) ? b : a);

/** What an entry answers. `fits` says whether the device takes a kernel ({@link takes}); undefined where it does not take the chosen one. */
export function answerOf({ entry, match }: Rung, ask: Ask, fits: (kernel: string) => boolean): Answer | undefined {
  const lines = linesOf(ask);
  const { cell } = cellAt(entry, modeOf(ask), ask.batch * lines, ask.tokens);
  const { choice } = cell;
  if (!fits(choice.kernel)) return undefined;
  const splits = splitsOf(choice, lines, ask.tokens);
  const { elsewhere } = entry.named.table;
  const own: Quality = worse(CELL_LETTERS[cell.letter], choice.stale ? 'stale' : 'measured');
  return {
    kernel: choice.kernel,
    splits,
    spread: choice.spread,
    merge: splits > 1 ? choice.merge : 'none',
    quality: worse(worse(own, match === 'same' ? 'measured' : match), entry.origin === 'modelled' ? 'modelled' : 'measured'),
    regret: Math.min(cell.regret + (match === 'same' ? 0 : elsewhere[match]), MOST_REGRET),
    table: entry.named.file,
  };
}

/** Whether a device has the instructions and the shared memory of a kernel. */
export const takes = (device: Identity, kernel: Kernel): boolean => runsOn(kernel, device.cc) && sharedBytes(kernel.contract, kernel.tile) <= device.sharedPerBlock;

/** The kernel when no table answers: the newest architecture's that the device runs and whose shared memory fits, of those the first. `kernels` as in generator/ship.ts. */
export function defaultKernel(kernels: readonly Kernel[], contract: string, device: Identity): Kernel | undefined {
  let best: Kernel | undefined;
  for (const kernel of kernels) {
    if (contractName(kernel.contract) !== contract || !takes(device, kernel)) continue;
    if (!best || archOf(kernel.arch.name) > archOf(best.arch.name)) best = kernel;
  }
  return best;
}

const clamp = (x: number, most: number): number => Math.min(Math.max(x, 1), most);

/** A question within {@link BOUNDS}, as launches have them; `qHeads` becomes a multiple of `kvHeads`. */
function bounded(ask: Ask): Ask {
  const kvHeads = clamp(ask.kvHeads, BOUNDS.grid);
  const qHeads = kvHeads * clamp(Math.floor(ask.qHeads / kvHeads), BOUNDS.ratio);
  return { ...ask, batch: clamp(ask.batch, BOUNDS.grid), qHeads, kvHeads, qLen: clamp(ask.qLen, BOUNDS.qLen), tokens: clamp(ask.tokens, BOUNDS.tokens) };
}

/** Always an answer, unless no kernel runs there at all. */
export function find(entries: readonly Entry[], kernels: readonly Kernel[], any: Ask): Answer {
  const ask = bounded(any);
  const fits = (name: string): boolean => {
    const kernel = kernels.find((one) => kernelName(one) === name);
    return kernel !== undefined && takes(ask.device, kernel);
  };
  for (const rung of ladder(entries, { ...ask, mode: modeOf(ask) })) {
    const answer = answerOf(rung, ask, fits);
    if (answer) return answer;
  }
  const kernel = defaultKernel(kernels, ask.contract, ask.device);
  // Look-up kernels are mostly faster spread, the others not (harness/bench/NOTES.md).
  const spread = kernel !== undefined && (modeOf(ask) === 'spread' || (modeOf(ask) === 'fastest' && kernel.tile.algorithm !== undefined));
  return { kernel: kernel && kernelName(kernel), splits: 0, spread, merge: 'none', quality: 'default', regret: null, table: undefined };
}
