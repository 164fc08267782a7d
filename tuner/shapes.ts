// The shapes at which kernels break, by op and by what they are for: `gen verify` and the op suites take them from here.
import { isCacheContract, isCoded, type CacheContract, type Contract } from '../generator/contract.ts';
import type { CheckOp, Shape } from './problem.ts';
import { APPEND } from './shapes-append.ts';

export type Lists<Op extends CheckOp> = Readonly<Record<string, readonly Shape<Op>[]>>;

// Tiles of the default kernels are 64 tokens (32 in encode and unpack), units 16; the last is two pages of 64 and one token.
const LENGTHS = [0, 1, 15, 16, 17, 63, 64, 65, 127, 129];
const ROWS = [0, 1, 15, 16, 17, 31, 32, 33, 65, 129];
const RING_SCORES: Shape<'decode'> = { coded_len: [64, 0, 16], kv_len: [90, 7, 16], q_len: [4, 2, 1], ring_rows: 32, q_heads: 4, kv_heads: 2, anchor_permille: 60, ring_scores: true };
/** Long ones, short ones, and such without tokens, without query rows, without either. */
export const RAGGED: Shape<'decode'> = {
  coded_len: [129, 0, 64, 0, 1, 300, 0, 0, 17, 0], kv_len: [140, 0, 70, 5, 1, 300, 0, 0, 40, 0], q_len: [1, 1, 4, 1, 2, 1, 0, 1, 3, 0], ring_rows: 40, q_heads: 8, kv_heads: 2, anchor_permille: 60, pad: 16, ring_scores: true,
};
const MANY_LENGTHS = Array.from({ length: 70 }, (_, i) => (i % 3 === 1 ? 0 : i === 33 ? 200 : (i * 7) % 40));
/** More sequences than lanes, most of them short, many empty. */
export const MANY: Shape<'decode'> = { coded_len: MANY_LENGTHS, kv_len: MANY_LENGTHS.map((n, i) => n + (i % 4)), q_heads: 2, kv_heads: 1, ring_rows: 16, page_size: 16, anchor_permille: 30 };

export const DECODE = {
  /** Around unit, tile and page, with and without splits. */
  lengths: [{ coded_len: LENGTHS }, { coded_len: LENGTHS, splits: 3, page_size: 16, index: 'csr' }],
  /** None, some, only anchors. */
  anchors: [0, 80, 1000].map((anchor_permille) => ({ coded_len: [33, 64, 1, 0, 100], kv_heads: 2, anchor_permille, splits: anchor_permille === 80 ? 3 : 1 })),
  /** Coded, anchors and ring, query rows from 0 to 16, slots and pages in any order. */
  ragged: [
    { coded_len: [64, 0, 128, 16], kv_len: [70, 5, 128, 50], q_len: [1, 3, 0, 16], ring_rows: 40, q_heads: 4, kv_heads: 2, anchor_permille: 60, pad: 32 },
    { coded_len: [64, 0, 128, 16], kv_len: [70, 5, 140, 50], q_len: [16, 1, 2, 5], ring_rows: 40, q_heads: 4, kv_heads: 2, anchor_permille: 60, splits: 3, page_size: 16 },
  ],
  /** A bound on query rows that no sequence reaches. */
  bound: [{ coded_len: [40, 20], q_heads: 4, kv_heads: 2, max_q_len: 16 }],
  ratios: [1, 2, 4, 5, 7, 8, 16].map((ratio) => ({ coded_len: [40], kv_len: [47], ring_rows: 32, q_heads: ratio * 2, kv_heads: 2, anchor_permille: 50 })),
  ratiosOfRows: [1, 2, 4, 5, 7, 8, 16].map((ratio) => ({ coded_len: [40], kv_len: [47], q_len: [3], ring_rows: 32, q_heads: ratio, kv_heads: 1, anchor_permille: 50, splits: 2 })),
  /** Longer than the context; full and wrapped. */
  rings: [
    { coded_len: [0], kv_len: [9], q_len: [9], ring_rows: 272 },
    { coded_len: [48], kv_len: [80], q_len: [4], ring_rows: 32 },
    { coded_len: [112], kv_len: [145], q_len: [4], ring_rows: 33, splits: 3 },
  ],
  /** Up to 8 million. */
  positions: [
    { coded_len: [70, 33], kv_len: [75, 40], first_pos: [1_000_000, 4_000_000], ring_rows: 16, anchor_permille: 50 },
    { coded_len: [70], first_pos: [8_388_000], rope: { theta: 500_000 } },
  ],
  /** Some keys masked, all masked, none masked. */
  masked: [{ coded_len: [70, 70, 70, 70], q_len: [2, 2, 2, 1], first_pos: [100, 100, 100, 100], q_pos: [100, 98, 133, 1_000], anchor_permille: 100 }],
  /** From the middle of the ring and of the anchors. */
  maskedRing: [{ coded_len: [64, 64], kv_len: [90, 90], q_len: [4, 1], q_pos: [70, 20], ring_rows: 32, anchor_permille: 300, splits: 3 }],
  trees: [
    { coded_len: [32, 0], kv_len: [50, 16], q_len: [16, 16], ring_rows: 40, q_heads: 2, tree_mask: true },
    { coded_len: [32, 16], kv_len: [50, 19], q_len: [5, 3], ring_rows: 40, tree_mask: true, splits: 2, first_pos: [7, 9] },
  ],
  /** Inherited anchor rows beyond the prefix are skipped. */
  frozen: [{ coded_len: [128, 128, 64], kv_heads: 2, anchor_permille: 300, frozen_len: [64, 0, 64], frozen_anchor_pages: [1, 2, 100] }],
  /** Pages and anchor pages of one sequence in the tables of others. */
  sharedPrefix: [
    { coded_len: [192, 128, 300, 130], kv_len: [200, 128, 310, 131], kv_heads: 2, q_heads: 4, ring_rows: 16, anchor_permille: 200, shared_prefix: 128 },
    { coded_len: [70, 64, 33], kv_heads: 2, anchor_permille: 300, shared_prefix: 32, page_size: 16, index: 'csr', splits: 3, pad: 16 },
  ],
  segments: [1, 2, 3, 4, 5, 6, 0].map((segments) => ({ coded_len: [70], kv_len: [80], ring_rows: 16, anchor_permille: 200, segments })),
  /** Interleaved, partial, with an attention factor. */
  rope: [
    { coded_len: [70], first_pos: [1000], rope: { interleaved: true, theta: 500_000 } },
    { coded_len: [70], first_pos: [1000], rope: { rotary_dim: 32, factor: 1.2 } },
    { coded_len: [70], first_pos: [1000], rope: { rotary_dim: 48, interleaved: true, factor: 0.8 } },
  ],
  /** Standard deviation 4 and 8, and one score 60 above the rest: alone, and among splits that have it or not. */
  scores: [
    { coded_len: [129], score_std: 4, splits: 3 },
    { coded_len: [129, 65], q_heads: 4, peak: true },
    { coded_len: [129, 300], q_heads: 4, score_std: 8, anchor_permille: 50 },
    { coded_len: [300], q_heads: 4, score_std: 8, peak: true, splits: 3 },
  ],
  /** One score 8 above many that are about equal: they have a quarter to a half of the weight, each so little that a weight of few bits loses it. */
  sink: [{ coded_len: [1100], score_std: 0.05, sink: 8, splits: 3 }, { coded_len: [4097], q_heads: 4, score_std: 0.05, sink: 8 }],
  /** Queries that are not numbers see nothing, and nobody beside them notices. */
  nan: [{ coded_len: [129, 40], q_heads: 4, nan: true }, { coded_len: [70, 300], kv_len: [76, 300], ring_rows: 16, q_heads: 4, anchor_permille: 50, splits: 3, nan: true }],
  ringScores: [RING_SCORES, { ...RING_SCORES, tree_mask: true }, { ...RING_SCORES, splits: 3 }, { ...RING_SCORES, splits: 3, q_pos: [70, 0, 0] }],
  noLse: [{ coded_len: [40], lse: false }, { coded_len: [40], lse: false, splits: 2 }, { coded_len: [40], lse: false, splits: 2, merge: 'last' }],
  /** The last CTA merges: fewer units than CTAs, more parts than one thread has under way. */
  merged: [
    { ...RAGGED, splits: 3, merge: 'last' },
    { coded_len: LENGTHS, q_heads: 2, kv_heads: 2, splits: 5, merge: 'last' },
    { ...RING_SCORES, splits: 40, merge: 'last' },
  ],
  /** One line of work: one CTA, a few, more than sequences, more than there is work; the last CTA merges, or combine does. */
  spread: ([[1, 'last'], [1, 'combine'], [3, 'last'], [3, 'combine'], [17, 'last'], [17, 'combine'], [500, 'last']] as const).map(([splits, merge]) => ({ ...RAGGED, spread: true, splits, merge })),
  spreadMany: [
    { ...MANY, splits: 17, spread: true, merge: 'last' },
    { ...MANY, splits: 64, spread: true, merge: 'combine' },
    { ...MANY, splits: 5, merge: 'last' },
  ],
} as const satisfies Lists<'decode'>;

export const ENCODE = {
  lengths: [{ end: ROWS }, { end: ROWS.slice(0, 6), kv_heads: 2, page_size: 16, index: 'csr', pad: 16 }],
  /** None kept, some, all; pages with stale bits and rows. */
  anchors: [...[0, 100, 1000].map((anchor_permille) => ({ end: [33, 64, 20], kv_heads: 2, anchor_permille })), { end: [50, 70], anchor_permille: 200, page_size: 16 }],
  /** A later chunk of a prompt leaves the pages before it alone. */
  chunks: [
    { end: [150, 64, 128], first_token: [128, 64, 0], kv_heads: 2, anchor_permille: 100 },
    { end: [70, 90], first_token: [64, 16], page_size: 16, anchor_permille: 100 },
  ],
  positions: [
    { end: [40, 17], first_pos: [1_000_000, 4_000_000], rope: { theta: 500_000 } },
    { end: [40], first_pos: [77], rope: { rotary_dim: 32, interleaved: true, factor: 1.3 }, anchor_permille: 100 },
  ],
  /** Keys before RoPE; contracts of key "pre" only. */
  unrotated: [
    { end: [40], keys_unrotated: true, anchor_permille: 200, first_pos: [12345] },
    { end: [40], first_pos: [77], rope: { rotary_dim: 48, factor: 0.7 }, keys_unrotated: true, anchor_permille: 300 },
  ],
} as const satisfies Lists<'encode'>;

export const UNPACK = {
  lengths: [{ coded_len: ROWS }, { coded_len: ROWS, kv_heads: 2, page_size: 16, index: 'csr', pad: 16 }],
  anchors: [0, 100, 1000].map((anchor_permille) => ({ coded_len: [33, 64, 20], kv_heads: 2, anchor_permille })),
  frozen: [{ coded_len: [128, 64], anchor_permille: 300, frozen_len: [64, 64], frozen_anchor_pages: [1, 2] }],
  sharedPrefix: [{ coded_len: [130, 64, 100], kv_heads: 2, anchor_permille: 300, shared_prefix: 64 }],
  /** A range that begins inside a page. */
  ranges: [{ coded_len: [150, 64, 100], first_token: [48, 64, 16], kv_heads: 2, anchor_permille: 100 }],
  positions: [
    { coded_len: [40, 17], first_pos: [1_000_000, 4_000_000], rope: { theta: 500_000 } },
    { coded_len: [40], first_pos: [77], rope: { rotary_dim: 32, interleaved: true, factor: 1.3 } },
  ],
} as const satisfies Lists<'unpack'>;

export const SCORE = {
  /** Ragged; rows as many as keys, fewer, none. */
  lengths: [{ keys: [0, 1, 15, 17, 64, 65, 129] }, { keys: [70, 33, 16, 5], rows: [7, 33, 0, 1], q_heads: 4, kv_heads: 2, pad: 16 }],
  ratios: [1, 2, 5, 7, 16].map((ratio) => ({ keys: [37], rows: [9], q_heads: ratio * 2, kv_heads: 2 })),
  /** Far ones, rows before all keys, rows beyond all keys. */
  positions: [
    { keys: [70, 70], rows: [20, 20], first_pos: [4_000_000, 17] },
    { keys: [40, 40, 40], rows: [6, 6, 6], first_pos: [100, 100, 100], q_pos: [97, 120, 5000] },
  ],
  scores: [{ keys: [100], rows: [40], q_heads: 2, kv_heads: 1, score_std: 6 }],
  /** A few of many rows, all of few, none but the newest, none at all; more rows than one search of the list finds at once. */
  samples: [
    { keys: [150, 20, 7, 0], sampled_rows: 20, newest_rows: 10, q_heads: 4, kv_heads: 2 },
    { keys: [130], rows: [90], sampled_rows: 45, q_heads: 3, kv_heads: 1, pad: 16 },
    { keys: [40, 33], sampled_rows: 1000, newest_rows: 5 },
    { keys: [40], newest_rows: 8 },
    { keys: [300], sampled_rows: 0, newest_rows: 0 },
  ],
  /** Added to what is there; a prompt in chunks, the last of them one row. */
  sums: [
    { keys: [70, 20], accumulate: true, first_key: [0, 33], q_heads: 4, kv_heads: 2 },
    { keys: [130], chunks: [64, 33, 32, 1], q_heads: 2, kv_heads: 1 },
    { keys: [90], rows: [50], chunks: [20, 30], first_pos: [1000], q_heads: 4, kv_heads: 1 },
  ],
} as const satisfies Lists<'score'>;

export const COMBINE = {
  /** One split to many, heads that do not fill the last CTA, padded rows. */
  splits: ([[1, 1], [2, 5], [3, 4], [33, 7]] as const).map(([splits, q_heads]) => ({ rows: 3, q_heads, splits, pad: 48 })),
  /** Splits that saw nothing, whose output is stale; rows that saw nothing at all. */
  empty: [{ rows: 5, q_heads: 4, splits: 4, empty_permille: 500 }, { rows: 2, q_heads: 3, splits: 3, empty_permille: 1000, ring_rows: 5 }],
  /** Ring scores become attention mass; splits of very different weight; no LSE. */
  mass: [{ rows: 3, q_heads: 5, splits: 3, ring_rows: 45, empty_permille: 200 }, { rows: 3, q_heads: 2, splits: 8, ring_rows: 7, lse_std: 60 }, { rows: 3, q_heads: 2, splits: 2, lse: false }],
} as const satisfies Lists<'combine'>;

const PATTERNS = ['random', 'ties', 'constant', 'special', 'ascending'] as const;
const COUNTS = [0, 1, 31, 32, 33, 255, 256, 257, 700];

export const SELECT = {
  /** From nothing to everything, over scores with ties, NaN and infinities. */
  budgets: PATTERNS.flatMap((pattern) => [0, 10, 333, 1000].map((budget_permille) => ({ token_count: COUNTS, kv_heads: 2, pattern, budget_permille, pad: 3 }))),
  /** Scores that share all digits but the last, that are subnormal, negative, or cannot win. */
  alike: (['close', 'subnormal', 'negative', 'nothing'] as const).flatMap((pattern) => [10, 333].map((budget_permille) => ({ token_count: COUNTS, pattern, budget_permille, first_tokens: 2, pad: 1 }))),
  /** About and beyond what fits shared memory, and beyond what a CTA writes at a time, with few candidates and with many. */
  long: (['random', 'close', 'constant', 'ties'] as const).map((pattern) => ({ token_count: [8192, 8193, 33_000], pattern, budget_permille: 100, pad: 2 })),
  /** More than the candidates too. */
  tokens: [0, 1, 40, 5000].flatMap((budget_tokens) => PATTERNS.map((pattern) => ({ token_count: COUNTS, pattern, budget_tokens, max_anchors: 800 }))),
  /** Beside the budget, more of them than tokens too. */
  first: [1, 4, 33, 1000].flatMap((first_tokens) => PATTERNS.map((pattern) => ({ token_count: COUNTS, kv_heads: 3, pattern, budget_permille: 50, first_tokens }))),
  /** No sequence has a token. */
  none: [{ token_count: [0, 0], kv_heads: 2, first_tokens: 3 }],
  /** No more than max_anchors are kept, first tokens first. */
  bound: ([[1, 0], [5, 3], [5, 9], [0, 0], [0, 2]] as const).flatMap(([max_anchors, first_tokens]) =>
    PATTERNS.map((pattern) => ({ token_count: COUNTS, pattern, budget_permille: 200, first_tokens, max_anchors, count: pattern !== 'ties' })),
  ),
} as const satisfies Lists<'select'>;

export const KMEANS = {
  /** Around 64 rows of a warp and 512 of a CTA; one row; fewer rows than entries. */
  rows: [1, 63, 65, 513].map((tokens) => ({ tokens, max_steps: 2 })),
  /** The same whoever has the rows, more CTAs than rows too. */
  splits: [2, 7].map((splits) => ({ tokens: 1100, heads: 2, chunks: 1, splits, max_steps: 2, pad: 16 })),
  weights: [{ tokens: 600, weights: true, chunks: 1, heads: 2, splits: 2, max_steps: 3 }, { tokens: 300, chunks: 1, weights: true, given: true }],
  /** Clusters without rows are put on the worst rows, until none has a loss. */
  empty: [{ tokens: 700, chunks: 1, given: true, splits: 2, max_steps: 3 }, { tokens: 300, chunks: 1, pattern: 'alike', max_steps: 3 }, { tokens: 300, pattern: 'alike', given: true, splits: 2, max_steps: 2 }],
  extremes: [{ tokens: 100, pattern: 'zeros', max_steps: 2 }, { tokens: 300, pattern: 'large', weights: true, max_steps: 2 }],
  /** Until they settle, and no further. */
  settled: [{ tokens: 400, chunks: 1, max_steps: 9, tolerance: 0.05 }],
} as const satisfies Lists<'kmeans'>;

export const SMALL: { readonly [Op in CheckOp]: Lists<Op> } = { decode: DECODE, encode: ENCODE, append: APPEND, unpack: UNPACK, score: SCORE, combine: COMBINE, select: SELECT, kmeans: KMEANS };

/** Whether a check of decode launches combine too: to merge the splits, or, where the last CTA merged, to turn ring scores into mass. */
export const combines = ({ splits = 1, merge, ring_scores }: Shape<'decode'>): boolean => splits > 1 && (merge !== 'last' || ring_scores === true);

/** Leaves out fields that are there. */
const without = (shape: object, fields: readonly string[]): object => Object.fromEntries(Object.entries(shape).filter(([name]) => !fields.includes(name)));

/** What only a window, anchors and their scores give a meaning. */
const APPEND_CODED = ['window', 'flush_block', 'ring_rows', 'budget_permille', 'budget_tokens', 'extra_tokens', 'first_tokens', 'anchor_spare', 'unscored', 'score_row', 'new_score'];

/**
 * `shape` as `contract` can take it; undefined if it means nothing there. Exact recipes have no anchors and no ring: what a coded cache keeps in the ring lies in their
 * pages (CACHE.md, exact recipes).
 */
export function fit<Op extends CheckOp>(op: Op, shape: Shape<Op>, contract: Contract): Shape<Op> | undefined {
  if (!isCacheContract(contract)) return shape;
  if ('keys_unrotated' in shape && contract.key !== 'pre') return undefined;
  if ('nan' in shape && contract.sink) return undefined; // a learned sink is seen in any case
  if (isCoded(contract as CacheContract)) return shape;
  if (op === 'append') {
    if ('policy' in shape || 'pattern' in shape || 'coded_len' in shape || 'scores' in shape || 'lse' in shape) return undefined;
    return without(shape, [...APPEND_CODED, 'anchor_permille', 'frozen_len', 'frozen_anchor_pages']) as Shape<Op>;
  }
  if ('segments' in shape || 'ring_scores' in shape) return undefined;
  const moved = 'kv_len' in shape ? { ...shape, coded_len: shape.kv_len } : shape;
  return without(moved, ['kv_len', 'ring_rows', 'anchor_permille', 'frozen_len', 'frozen_anchor_pages']) as Shape<Op>;
}
