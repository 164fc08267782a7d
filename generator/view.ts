// The flat scalars that a shell's holes are filled with, from contract, tile and arch. Templates never compute.
import { chunksOf, codecOf, entriesOf, type Codec } from './codec.ts';
import { isCacheContract, isCoded, type CacheContract } from './contract.ts';
import { codebookLayout, codeOrder, UNIT_TOKENS, unitLayout } from './layout.ts';
import { keyMethod, type KeyMethod } from './lookup.ts';
import { kernelName, type Kernel } from './name.ts';
import { encodeCodeBytes, kmeansTokens, lookupTables, lookupWarpBytes, resultsOverTables, sharedBytes } from './shared.ts';
import { threadsOf } from './tile.ts';

export type Hole = string | number | boolean;
export type View = Readonly<Record<string, Hole>>;

const cache = ({ contract }: Kernel): CacheContract => {
  if (!isCacheContract(contract)) throw new Error(`${contract.op} has no coded pages`);
  return contract;
};
const present = <T>(value: T | undefined, what: string): T => {
  if (value === undefined) throw new Error(`this op has no ${what}`);
  return value;
};
const unit = (kernel: Kernel) => unitLayout(cache(kernel));
const side = ({ contract }: Kernel, which: 'k' | 'v'): Codec => codecOf(present(contract[which], `codec ${which}`));
const book = (kernel: Kernel, which: 'k' | 'v') => codebookLayout(side(kernel, which), cache(kernel).headDim);

const chunkBook = (kernel: Kernel) => {
  const codec = side(kernel, 'k');
  return codebookLayout(codec, codec.kind === 'vq' ? codec.channels : 0);
};

/** The holes of one side of the cache: its codec and its packed codebook. Exact sides have one channel per code, in one stage, and no bits. */
const sideHoles = (which: 'k' | 'v'): Record<string, (kernel: Kernel) => Hole> => ({
  [`${which}Exact`]: (kernel) => side(kernel, which).kind === 'exact',
  [`${which}Channels`]: (kernel) => {
    const codec = side(kernel, which);
    return codec.kind === 'vq' ? codec.channels : 1;
  },
  [`${which}Bits`]: (kernel) => {
    const codec = side(kernel, which);
    return codec.kind === 'vq' ? codec.bits : 0;
  },
  [`${which}CodeStages`]: (kernel) => {
    const codec = side(kernel, which);
    return codec.kind === 'vq' ? codec.stages : 1;
  },
  [`${which}Entries`]: (kernel) => entriesOf(side(kernel, which)),
  [`${which}Chunks`]: (kernel) => chunksOf(side(kernel, which), cache(kernel).headDim),
  [`${which}Q8`]: (kernel) => {
    const codec = side(kernel, which);
    return codec.kind === 'vq' && codec.codebook === 'q8';
  },
  [`${which}CodebookBytes`]: (kernel) => book(kernel, which).bytes,
  [`${which}ScaleOffset`]: (kernel) => book(kernel, which).scale,
  [`${which}HalfNormOffset`]: (kernel) => book(kernel, which).halfNorm,
  [`${which}ByLane`]: (kernel) => codeOrder(which, cache(kernel)).byLane,
  [`${which}Piece`]: (kernel) => codeOrder(which, cache(kernel)).piece,
});

/** The bodies of a way to score keys, in the order of their needs: a kernel's source has those that it uses. */
const KEY_FILES: Readonly<Record<KeyMethod, string>> = {
  sum: 'lookup_sum.cuh',
  turn: 'lookup_tokens.cuh lookup_rows.cuh lookup_turn.cuh',
  dot: 'lookup_tokens.cuh lookup_dot.cuh',
};

/** Every hole that a shell may have. */
export const HOLES: Readonly<Record<string, (kernel: Kernel) => Hole>> = {
  name: kernelName,
  threads: ({ tile }) => threadsOf(tile),
  warps: ({ tile }) => tile.warps,
  tokens: ({ tile }) => present(tile.tokens, 'tokens'),
  stages: ({ tile }) => present(tile.stages, 'stages'),
  warpUnits: ({ tile }) => present(tile.tokens, 'tokens') / UNIT_TOKENS / tile.warps,
  sharedBytes: ({ contract, tile }) => sharedBytes(contract, tile),
  headDim: ({ contract }) => present(contract.headDim, 'head dim'),
  /** CUDA's name of the dtype. */
  element: ({ contract }) => present(contract.dtype, 'dtype'),
  coded: (kernel) => isCoded(cache(kernel)),
  unitBytes: (kernel) => unit(kernel).bytes,
  kRowBytes: (kernel) => unit(kernel).kRow,
  vRowBytes: (kernel) => unit(kernel).vRow,
  vOffset: (kernel) => unit(kernel).v,
  kGainOffset: (kernel) => unit(kernel).kGain,
  ...sideHoles('k'),
  ...sideHoles('v'),
  kTurnHigh: (kernel) => codeOrder('k', cache(kernel)).turnHigh,
  kTurnShift: (kernel) => codeOrder('k', cache(kernel)).turnShift,
  kTurnMask: (kernel) => codeOrder('k', cache(kernel)).turnMask,
  vRowSpan: (kernel) => codeOrder('v', cache(kernel)).rowSpan,
  pre: (kernel) => cache(kernel).key === 'pre',
  kGain: (kernel) => cache(kernel).gain.includes('k'),
  softcap: ({ contract }) => present(contract.softcap, 'softcap'),
  sink: ({ contract }) => present(contract.sink, 'sink logits'),
  columns: ({ contract }) => present(contract.columns, 'columns'),
  copies: ({ tile }) => present(tile.copies, 'copies'),
  pass: ({ tile }) => present(tile.pass, 'columns at a time'),
  keyFiles: ({ contract }) => KEY_FILES[present(keyMethod(contract), 'way to score keys')],
  keySum: ({ contract }) => keyMethod(contract) === 'sum',
  keyTurn: ({ contract }) => keyMethod(contract) === 'turn',
  kTableBytes: ({ contract, tile }) => lookupTables(contract, tile).k,
  vTableBytes: ({ contract, tile }) => lookupTables(contract, tile).v,
  warpBytes: ({ contract }) => lookupWarpBytes(contract),
  resultsOverTables: (kernel) => resultsOverTables(cache(kernel)),
  codeBytes: ({ contract }) => encodeCodeBytes(contract),
  timesRest: ({ contract }) => ['mass', 'massq'].includes(present(contract.form, 'form')),
  timesQuery: ({ contract }) => ['massq', 'exact'].includes(present(contract.form, 'form')),
  // One chunk as a head of its own: its entries, then their half norms.
  chunkBookBytes: (kernel) => chunkBook(kernel).bytes,
  chunkHalfNormOffset: (kernel) => chunkBook(kernel).halfNorm,
  stepTokens: ({ tile }) => kmeansTokens(tile),
  timesDistance: ({ contract }) => present(contract.form, 'form') === 'exact',
  mean: ({ contract }) => present(contract.form, 'form') === 'saliency',
  norm: ({ contract }) => present(contract.form, 'form') === 'norm',
};

const CODED = [
  'name', 'element', 'threads', 'warps', 'sharedBytes', 'headDim', 'coded', 'unitBytes', 'vOffset', 'kGainOffset', 'pre', 'kGain',
  'kExact', 'kRowBytes', 'kCodebookBytes', 'kChannels', 'kBits', 'kCodeStages', 'kEntries', 'kQ8', 'kScaleOffset', 'kHalfNormOffset',
  'kByLane', 'kChunks', 'kPiece', 'kTurnHigh', 'kTurnShift', 'kTurnMask',
  'vExact', 'vRowBytes', 'vCodebookBytes', 'vChannels', 'vBits', 'vCodeStages', 'vEntries', 'vQ8', 'vScaleOffset', 'vHalfNormOffset',
  'vByLane', 'vChunks', 'vPiece', 'vRowSpan',
];

/** The shell of a kernel: templates/<shell>.cu.hbs. */
export const shellOf = ({ contract, tile }: Pick<Kernel, 'contract' | 'tile'>): string => (tile.algorithm ? `${contract.op}_${tile.algorithm}` : contract.op);

/** The holes that each shell reads; a test compares the lists with templates/*.cu.hbs. */
export const HOLES_OF: Readonly<Record<string, readonly string[] | undefined>> = {
  encode: [...CODED, 'tokens', 'codeBytes'],
  append: [...CODED, 'tokens', 'codeBytes'],
  decode: [...CODED, 'softcap', 'sink', 'columns', 'stages', 'warpUnits'],
  decode_lookup: [...CODED, 'sink', 'columns', 'stages', 'copies', 'keyFiles', 'keySum', 'keyTurn', 'kTableBytes', 'vTableBytes', 'warpBytes', 'resultsOverTables'],
  decode_tally: [...CODED, 'sink', 'columns', 'tokens', 'pass'],
  unpack: [...CODED, 'tokens'],
  combine: ['name', 'element', 'threads', 'warps', 'headDim'],
  score: ['name', 'element', 'threads', 'warps', 'warpUnits', 'stages', 'sharedBytes', 'headDim', 'timesRest', 'timesQuery', 'timesDistance', 'softcap', 'mean', 'norm'],
  score_group: ['name', 'element', 'threads', 'warps', 'warpUnits', 'stages', 'sharedBytes', 'headDim', 'timesRest', 'timesQuery', 'timesDistance', 'softcap', 'mean', 'norm'],
  select: ['name', 'threads', 'warps', 'sharedBytes'],
  kmeans: ['name', 'threads', 'warps', 'sharedBytes', 'kChannels', 'kBits', 'kCodeStages', 'kEntries', 'chunkBookBytes', 'chunkHalfNormOffset', 'stepTokens'],
};

/** The view of a kernel: the holes of its shell, and those of `also` that the table has (what a shell reads beyond its list). */
export function viewOf(kernel: Kernel, also: Iterable<string> = []): View {
  const names = HOLES_OF[shellOf(kernel)];
  if (!names) throw new Error(`op ${kernel.contract.op} has no shell yet`);
  const known = [...new Set([...names, ...also])].filter((name) => Object.hasOwn(HOLES, name));
  return Object.fromEntries(known.map((name) => [name, HOLES[name]!(kernel)]));
}
