// Shapes of real size, for `gen verify --full` on a GPU: 131,072 tokens, batch 16, more than 2^31 bytes of cache, long shared prefixes.
import { isCacheContract, isCoded, type CacheContract, type Contract } from '../generator/contract.ts';
import { pageBytes } from '../generator/layout.ts';
import type { Shape } from './problem.ts';

/** A check and about how many bytes it takes on the device; the host needs as much again, for encode three times. */
export interface Large {
  readonly group: string;
  readonly shape: object;
  readonly bytes: number;
}

const LONG = 131_072;
const PAGE = 64;
const PAD = 4096;
/** Just over 2^31. */
const WIDE_BYTES = 2.2e9;
const RING = 272;
/** Sixteen sequences from nothing to {@link LONG}. */
const BATCH = [LONG, 1, 0, 4097, 65_536, 100, 8191, 16, 33_333, 2, 777, 12_345, 64, 20_000, 128, 50_000];

const sum = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0);

/** Bytes of a page pool. */
function poolBytes(contract: CacheContract, tokens: readonly number[], kvHeads: number, pad: number, spare: number): number {
  const pages = sum(tokens.map((n) => Math.ceil(n / PAGE))) + spare;
  return pages * (kvHeads * (pageBytes(contract, PAGE) + pad) + pad);
}

/** Few tokens in a pool so large that their pages, dealt at random, lie beyond 2^31 bytes. */
function wide(contract: CacheContract): { pad: number; kv_heads: number; page_size: number; spare_pages: number } {
  const spare_pages = Math.ceil(WIDE_BYTES / poolBytes(contract, [], 4, PAD, 1));
  return { pad: PAD, kv_heads: 4, page_size: PAGE, spare_pages };
}

function decode(contract: CacheContract): Large[] {
  const coded = isCoded(contract);
  const anchors = coded ? { anchor_permille: 10 } : {};
  /** `more` tokens in the ring, or in pages where there is none. */
  const lengths = (tokens: number[], more: number): Partial<Shape<'decode'>> & { coded_len: number[] } => {
    const all = tokens.map((n) => n + more);
    return coded ? { coded_len: tokens, kv_len: all, ring_rows: RING } : { coded_len: all };
  };
  const row = (group: string, shape: Shape<'decode'>): Large =>
    ({ group, shape, bytes: poolBytes(contract, shape.coded_len, shape.kv_heads ?? 1, shape.pad ?? 0, shape.spare_pages ?? 0) });
  const fullHeads = (4 * 128) / contract.headDim;
  return [
    row('long', { ...lengths([LONG], 130), kv_heads: 2, q_heads: 8, splits: 16, page_size: PAGE, ...anchors }),
    row('long, one split, far positions', { ...lengths([LONG], 130), kv_heads: 1, q_heads: 4, first_pos: [8_257_000], rope: { theta: 500_000 }, ...anchors }),
    row('long, 16 rows', { ...lengths([LONG], 16), q_len: [16], kv_heads: 2, q_heads: 8, splits: 8, ...(coded ? { ring_scores: true } : {}), page_size: 16, ...anchors }),
    row('batch 16', { ...lengths(BATCH, 20), q_len: BATCH.map((_, i) => i % 5), kv_heads: 4, q_heads: 16, splits: 4, index: 'csr', ...anchors }),
    row('batch 16, work spread', { ...lengths(BATCH, 20), q_len: BATCH.map((_, i) => (i === 2 ? 0 : 1 + (i % 2))), kv_heads: 4, q_heads: 16, splits: 33, spread: true, merge: 'last', ...anchors }),
    row('long, scores of standard deviation 8', { ...lengths([LONG], 130), kv_heads: 2, q_heads: 8, splits: 16, merge: 'last', score_std: 8, ...anchors }),
    row('long, one score 60 above the rest', { ...lengths([LONG], 130), kv_heads: 2, q_heads: 8, splits: 16, merge: 'last', peak: true, ...anchors }),
    // e^12 = 1.6e5: the others together have about half of the weight.
    row('long, one score 12 above flat ones', { ...lengths([LONG], 130), kv_heads: 2, q_heads: 8, splits: 5, merge: 'last', score_std: 0.05, sink: 12, ...anchors }),
    row('shared prefix', { ...lengths(BATCH.map((_, i) => 65_536 + 61 * i), 9), kv_heads: 2, q_heads: 8, splits: 4, shared_prefix: 65_536, ...anchors }),
    coded
      ? row('beyond 2^31 bytes', { ...lengths([3000, 17, 800], 10), q_heads: 8, splits: 2, ...wide(contract), ...anchors })
      : row('beyond 2^31 bytes', { coded_len: Array<number>(16).fill(LONG), kv_heads: fullHeads, q_heads: 2 * fullHeads, splits: 2 }),
  ];
}

function encode(contract: CacheContract): Large[] {
  const anchors = isCoded(contract) ? { anchor_permille: 10 } : {};
  const row = (group: string, shape: Shape<'encode'>): Large =>
    ({ group, shape, bytes: poolBytes(contract, shape.end, shape.kv_heads ?? 1, shape.pad ?? 0, shape.spare_pages ?? 0) + sum(shape.end) * (shape.kv_heads ?? 1) * contract.headDim * 4 });
  return [
    row('long', { end: [LONG], kv_heads: 1, ...anchors }),
    row('batch 16', { end: BATCH.map((n) => Math.min(n, 5000)), kv_heads: 4, index: 'csr', page_size: 16, ...anchors }),
    row('beyond 2^31 bytes', { end: [1000, 17, 300], ...wide(contract), ...anchors }),
  ];
}

function unpack(contract: CacheContract): Large[] {
  const anchors = isCoded(contract) ? { anchor_permille: 10 } : {};
  const row = (group: string, shape: Shape<'unpack'>): Large =>
    ({ group, shape, bytes: poolBytes(contract, shape.coded_len, shape.kv_heads ?? 1, shape.pad ?? 0, shape.spare_pages ?? 0) + sum(shape.coded_len) * (shape.kv_heads ?? 1) * contract.headDim * 4 });
  return [
    row('long', { coded_len: [LONG], kv_heads: 2, ...anchors }),
    row('batch 16', { coded_len: BATCH.map((n) => Math.min(n, 9000)), kv_heads: 4, index: 'csr', page_size: 16, ...anchors }),
    row('shared prefix', { coded_len: BATCH.map((_, i) => 4096 + 61 * i), kv_heads: 2, shared_prefix: 4096, ...anchors }),
    row('beyond 2^31 bytes', { coded_len: [1000, 17, 300], ...wide(contract), ...anchors }),
  ];
}

function append(contract: CacheContract): Large[] {
  const heads = { kv_heads: 2, q_heads: 8 };
  const row = (group: string, shape: Shape<'append'>): Large => ({ group, shape, bytes: poolBytes(contract, shape.seq_len, shape.kv_heads ?? 1, shape.pad ?? 0, shape.spare_pages ?? 0) + 1e8 });
  if (!isCoded(contract)) return [row('batch 16', { ...heads, seq_len: BATCH, q_len: BATCH.map((_, i) => i) }), row('beyond 2^31 bytes', { seq_len: [1000, 17, 300], ...wide(contract) })];
  const rule = { ...heads, window: 128, flush_block: 128 };
  const flushing = (tokens: number): number => Math.floor(tokens / 128) * 128 + 127;
  return [
    ...[10, 300].map((permille) => row(`long, ${permille} permille`, { ...rule, seq_len: [flushing(LONG), LONG + 64], anchor_permille: permille, budget_permille: permille, first_tokens: 4 })),
    row('batch 16', { ...rule, seq_len: BATCH.map((n, i) => (i % 2 ? flushing(n) : n)), q_len: BATCH.map((_, i) => 1 + (i % 16)), accepted: BATCH.map((_, i) => 1 + (i % 3)), anchor_permille: 10, budget_permille: 10 }),
    row('beyond 2^31 bytes', { seq_len: [1151, 143, 300], ...rule, ...wide(contract), anchor_permille: 10 }),
  ];
}

/** The large checks of a contract. */
export function largeShapes(contract: Contract): Large[] {
  if (isCacheContract(contract)) {
    if (contract.op === 'decode') return decode(contract);
    if (contract.op === 'encode') return encode(contract);
    if (contract.op === 'append') return append(contract);
    return unpack(contract);
  }
  const rows = (shapes: readonly (readonly [group: string, shape: object])[]): Large[] => shapes.map(([group, shape]) => ({ group, shape, bytes: 1e9 }));
  if (contract.op === 'score') {
    const batch: Shape<'score'> = { keys: BATCH.map((n) => Math.min(n, 9000)), rows: BATCH.map((n) => Math.min(n, 16)), q_heads: 8, kv_heads: 2 };
    return rows([['long', { keys: [LONG], rows: [32], q_heads: 8, kv_heads: 2 }], ['long prompt', { keys: [3000], q_heads: 2, kv_heads: 1 }], ['batch 16', batch]]);
  }
  if (contract.op === 'combine') return rows([['batch 16 of 16 rows, 64 splits', { rows: 256, q_heads: 32, splits: 64, ring_rows: RING, empty_permille: 30 }]]);
  if (contract.op === 'kmeans') return rows([['long', { tokens: 3000, heads: 2, chunks: 1, splits: 4, max_steps: 1 }], ['long, weights', { tokens: 3000, chunks: 1, splits: 3, max_steps: 1, weights: true }]]);
  if (contract.op !== 'select') return [];
  const patterns = ['random', 'ties', 'special'] as const;
  return rows(patterns.map((pattern) => [`long, ${pattern}`, { token_count: BATCH, kv_heads: 4, pattern, first_tokens: 4, pad: 2 }] as const));
}
