// The bytes of a coded page, an anchor page and a packed codebook. The C twin is templates/antkv_format.h; a test compares them.
import { chunksOf, codecOf, entriesOf, rowBytes, storedOf, type Codec } from './codec.ts';
import { isCoded, type CacheContract } from './contract.ts';

/** Tokens of a unit: every page size is a multiple of it, and one matrix instruction covers it. */
export const UNIT_TOKENS = 16;
/** Rows of an anchor page. */
export const ANCHOR_ROWS = 16;
/** Uncommitted rows that the ring can hold beyond window + flush block. */
export const DRAFT_ROWS = 16;
export const PAGE_SIZES = [16, 32, 64, 128, 256] as const;

/** What the sizes of a page depend on; the order of codes depends on the key position too ({@link PageFormat}). */
type Format = Pick<CacheContract, 'headDim' | 'k' | 'v' | 'gain'>;
/** What names a page format: whoever reads a page must know all of it. */
export type PageFormat = Pick<CacheContract, 'headDim' | 'k' | 'v' | 'gain' | 'key'>;
/** A side of the cache: keys or values. */
export type Side = 'k' | 'v';

const align16 = (bytes: number): number => Math.ceil(bytes / 16) * 16;

/** Offsets in bytes inside one unit of 16 tokens: the keys, then the values, then the gains (fp16) of each side that has them. */
export interface UnitLayout {
  /** Bytes of one token's key: exact, or all its codes. Where they lie: {@link codeOffset}. */
  readonly kRow: number;
  /** The same of its value. */
  readonly vRow: number;
  readonly v: number;
  readonly kGain: number;
  readonly vGain: number;
  readonly bytes: number;
}

/** The layout of one unit of a page format. */
export function unitLayout(c: Format): UnitLayout {
  const kRow = rowBytes(codecOf(c.k), c.headDim);
  const vRow = rowBytes(codecOf(c.v), c.headDim);
  const v = kRow * UNIT_TOKENS;
  const kGain = v + vRow * UNIT_TOKENS;
  const vGain = kGain + (c.gain === 'k' || c.gain === 'kv' ? UNIT_TOKENS * 2 : 0);
  const bytes = align16(vGain + (c.gain === 'v' || c.gain === 'kv' ? UNIT_TOKENS * 2 : 0));
  return { kRow, vRow, v, kGain, vGain, bytes };
}

/** How the codes of one side of a unit are ordered; kernels get these numbers as constants. CACHE.md, "Order of codes", says why. */
export interface CodeOrder {
  /** True: by the lanes of a warp. False: rows, token by token, as exact sides have them ({@link isByLane}). */
  readonly byLane: boolean;
  readonly chunks: number;
  /** Bytes of one lane that lie together: what it loads at once. */
  readonly piece: number;
  /** Keys: the turn of row r is `(r & 1) * turnHigh | (r >> turnShift & turnMask)`, within its part of the groups ({@link partOf}). */
  readonly turnHigh: number;
  readonly turnShift: number;
  readonly turnMask: number;
  /** Values: consecutive chunks lie in this many consecutive rows of lanes. */
  readonly rowSpan: number;
}

/** Whether a warp's lanes can share `chunks` codes of 8 bits: every lane the same number, of values all or all but a last half of a look-up; chunk and partner in one lane. */
function isByLane(side: Side, chunks: number, channels: number, key: PageFormat['key']): boolean {
  if (chunks < 8) return false;
  if (side === 'v') return chunks % 8 === 0 || (chunks % 8 === 4 && channels === HALVED_CHANNELS);
  return key === 'post' ? chunks % 4 === 0 : isPowerOfTwo(chunks);
}

export const isPowerOfTwo = (n: number): boolean => Number.isInteger(n) && n > 0 && (n & (n - 1)) === 0;
/** The largest power of two that divides `n`. */
const powerIn = (n: number): number => n & -n;
/** Channels of value codes whose last four chunks, where chunks are an odd number of fours, two rows of lanes share, a half of an entry each. */
const HALVED_CHANNELS = 8;

/** Groups of four chunks come in parts, powers of two from the largest on (6 groups: 4 and 2): groups in the part of group `group` of `groups`. */
export const partOf = (group: number, groups: number): number => 2 ** (31 - Math.clz32(group ^ groups));

/** The order of one side of a page format. */
export function codeOrder(side: Side, f: PageFormat): CodeOrder {
  const codec = codecOf(f[side]);
  const chunks = chunksOf(codec, f.headDim);
  const rows = { byLane: false, chunks, piece: 0, turnHigh: 0, turnShift: 0, turnMask: 0, rowSpan: 0 };
  if (codec.kind === 'exact' || codec.bits !== 8 || !isByLane(side, chunks, codec.channels, f.key)) return rows;
  const whole = side === 'v' ? chunks - (chunks % 8) : chunks;
  const byLane = { ...rows, byLane: true, piece: Math.min(16, powerIn(whole / 2)) };
  if (side === 'v') return { ...byLane, rowSpan: Math.min(8, 32 / codec.channels) };
  if (f.key === 'post') return { ...byLane, turnMask: Math.min(partOf(0, chunks / 4) - 1, 3) };
  // Keys that the kernel rotates: chunk c is paired with c + chunks / 2, so the highest bit of the group turns by itself.
  return { ...byLane, turnHigh: chunks / 8, turnShift: 1, turnMask: Math.max(2, Math.min(8, 16 / codec.channels)) / 2 - 1 };
}

/**
 * The byte, from the start of its side of a unit, in which the code of `chunk` of the unit's token `token` (0 ... 15) begins.
 * C twin: antkv_code_offset in templates/antkv_format.h; on the device: templates/order.cuh.
 */
export function codeOffset(side: Side, f: PageFormat, token: number, chunk: number): number {
  const codec = codecOf(f[side]);
  if (codec.kind === 'exact') throw new Error(`side ${side} is exact: it has rows of ${codec.name}, no codes`);
  const { byLane, chunks, piece, turnHigh, turnShift, turnMask, rowSpan } = codeOrder(side, f);
  if (!byLane) return token * rowBytes(codec, f.headDim) + Math.floor((chunk * codec.bits) / 8);
  let lane: number;
  let position: number; // among the lane's bytes
  if (side === 'k') {
    const row = token % 8;
    const group = Math.floor(chunk / 4);
    const turn = ((row & 1) * turnHigh) | ((row >> turnShift) & turnMask);
    lane = row * 4 + (chunk % 4);
    position = Math.floor(token / 8) * (chunks / 4) + (group ^ (turn & (partOf(group, chunks / 4) - 1)));
  } else {
    const whole = chunks - (chunks % 8);
    if (chunk >= whole) return 16 * whole + ((chunk % 4) * 4 + (token % 4)) * 4 + Math.floor(token / 4);
    const span = Math.floor(chunk / rowSpan); // of rowSpan chunks
    const row = Math.floor(span / (whole / 8)) * rowSpan + (chunk % rowSpan);
    lane = row * 4 + (token % 4);
    position = Math.floor(token / 4) * (whole / 8) + (span % (whole / 8));
  }
  return Math.floor(position / piece) * 32 * piece + lane * piece + (position % piece);
}

/** The byte of the unit at which the gain (fp16) of its token `token` lies: tokens n and n + 8 side by side, as the lanes of a warp hold them. */
export function gainOffset(side: Side, f: Format, token: number): number {
  if (!f.gain.includes(side) || f.gain === 'none') throw new Error(`gain "${f.gain}": side ${side} has none`);
  return unitLayout(f)[side === 'k' ? 'kGain' : 'vGain'] + 2 * (2 * (token % 8) + Math.floor(token / 8));
}

/** Offset of the anchor bitmap in a page of `pageSize` tokens: behind the last unit. */
export const bitmapOffset = (c: Format, pageSize: number): number => (pageSize / UNIT_TOKENS) * unitLayout(c).bytes;

/** Bytes of one coded page of one KV head: units, then the bitmap's uint32 words (none for exact recipes), padded to 16. */
export const pageBytes = (c: Format, pageSize: number): number =>
  align16(bitmapOffset(c, pageSize) + (isCoded(c) ? Math.ceil(pageSize / 32) * 4 : 0));

/** Bytes of one anchor page of one KV head: K rows, V rows (16 bit each), int32 token indices. */
export const anchorPageBytes = (headDim: number): number => ANCHOR_ROWS * (headDim * 2 * 2 + 4);

/** Rows of a sequence's ring: window, flush block, drafts. */
export const ringRows = (window: number, flushBlock: number): number => window + flushBlock + DRAFT_ROWS;

/** Bytes of a sequence's ring, K and V together. */
export const ringBytes = (headDim: number, kvHeads: number, window: number, flushBlock: number): number =>
  ringRows(window, flushBlock) * kvHeads * headDim * 2 * 2;

/** Offsets in bytes inside the packed codebook of one side and KV head: entries, scales (q8 only), half norms. */
export interface CodebookLayout {
  /** `[chunks, stages, entries, channels]`, f16 or int8. */
  readonly entries: number;
  /** `[head dim]` fp32, the value of one int8 step per channel, of all stages alike; absent (same as halfNorm) for f16 codebooks. */
  readonly scale: number;
  /** `[chunks, 2^bits]` fp32, ‖c‖²/2 of the centroid that each code means: what encode subtracts from x·c. */
  readonly halfNorm: number;
  readonly bytes: number;
}

/** The packed codebook that kernels read, per KV head; 0 bytes for an exact codec. */
export function codebookLayout(codec: Codec, headDim: number): CodebookLayout {
  if (codec.kind === 'exact') return { entries: 0, scale: 0, halfNorm: 0, bytes: 0 };
  const scale = headDim * storedOf(codec) * (codec.codebook === 'q8' ? 1 : 2);
  const halfNorm = scale + (codec.codebook === 'q8' ? headDim * 4 : 0);
  return { entries: 0, scale, halfNorm, bytes: halfNorm + chunksOf(codec, headDim) * entriesOf(codec) * 4 };
}
