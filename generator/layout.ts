// The bytes of a coded page, an anchor page and a packed codebook. The C twin is templates/antkv_format.h; a test compares them.
import { chunksOf, codecOf, entriesOf, rowBytes, type Codec } from './codec.ts';
import { isCoded, type CacheContract } from './contract.ts';

/** Tokens of a unit: every page size is a multiple of it, and one matrix instruction covers it. */
export const UNIT_TOKENS = 16;
/** Rows of an anchor page. */
export const ANCHOR_ROWS = 16;
/** Uncommitted rows that the ring can hold beyond window + flush block. */
export const DRAFT_ROWS = 16;
export const PAGE_SIZES = [16, 32, 64, 128, 256] as const;

type Format = Pick<CacheContract, 'headDim' | 'k' | 'v' | 'gain'>;

const align16 = (bytes: number): number => Math.ceil(bytes / 16) * 16;

/** Offsets in bytes inside one unit of 16 tokens: K rows, then V rows, then the gains (fp16), each token-major. */
export interface UnitLayout {
  readonly kRow: number;
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
  /** `[chunks, entries, channels]`, f16 or int8. */
  readonly entries: number;
  /** `[head dim]` fp32, the value of one int8 step per channel; absent (same as halfNorm) for f16 codebooks. */
  readonly scale: number;
  /** `[chunks, entries]` fp32, ‖c‖²/2 of the centroid as stored: what encode subtracts from x·c. */
  readonly halfNorm: number;
  readonly bytes: number;
}

/** The packed codebook that kernels read, per KV head; 0 bytes for an exact codec. */
export function codebookLayout(codec: Codec, headDim: number): CodebookLayout {
  if (codec.kind === 'exact') return { entries: 0, scale: 0, halfNorm: 0, bytes: 0 };
  const scale = headDim * entriesOf(codec) * (codec.codebook === 'q8' ? 1 : 2);
  const halfNorm = scale + (codec.codebook === 'q8' ? headDim * 4 : 0);
  return { entries: 0, scale, halfNorm, bytes: halfNorm + chunksOf(codec, headDim) * entriesOf(codec) * 4 };
}
