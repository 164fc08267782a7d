// The shapes at which `append` breaks: every hazard of one step of a cache. shapes.ts gathers them.
import type { Shape } from './problem.ts';
import type { Lists } from './shapes.ts';

/** Around the flush of a block of 64 behind a window of 16: nothing, one block, two. */
const STEPS = { window: 16, page_size: 64, flush_block: 64, kv_heads: 2, q_heads: 4 } as const;
const TOKENS = [0, 1, 15, 78, 79, 80, 142, 143, 144];
/** Long enough for anchors to be handed back, beside sequences that do not flush. */
const OLD: Shape<'append'> = { ...STEPS, seq_len: [335, 207, 100, 271], anchor_permille: 150, budget_permille: 150 };

export const APPEND = {
  lengths: [
    { ...STEPS, seq_len: TOKENS, anchor_permille: 0 },
    { ...STEPS, seq_len: TOKENS, anchor_permille: 60, page_size: 16, index: 'csr', pad: 16, state_slot: false },
    // The rule would have flushed: two blocks leave at once.
    { ...STEPS, seq_len: [143, 200, 143, 90], coded_len: [0, 64, 64, 0], ring_rows: 160, anchor_permille: 200, budget_permille: 200 },
    { ...STEPS, seq_len: [47, 111, 30], flush_block: 16, page_size: 16, anchor_permille: 300, budget_permille: 250 },
  ],
  /** From none to all, also where few rows are free. */
  budgets: [0, 1, 10, 100, 1000].flatMap((budget_permille) => [{ ...OLD, budget_permille }, { ...OLD, budget_permille, anchor_spare: 0, pattern: 'ties' as const }]),
  /** Long blocks: a choice in several turns of a CTA; more anchors than shared memory has room for. */
  long: [
    { ...STEPS, flush_block: 256, seq_len: [271, 527, 783], anchor_permille: 400, budget_permille: 500 },
    { ...STEPS, flush_block: 256, seq_len: [527], page_size: 16, anchor_permille: 700, budget_permille: 300, pattern: 'ties' },
    { ...STEPS, kv_heads: 1, q_heads: 1, seq_len: [6159], anchor_permille: 400, budget_permille: 390 },
  ],
  first: [{ ...OLD, seq_len: [79, 335, 143], first_tokens: 4 }, { ...OLD, seq_len: [79, 335, 143], first_tokens: 100, budget_permille: 0 }, { ...OLD, seq_len: [79, 143], first_tokens: 70, anchor_spare: 0 }],
  /** Inherited prefixes; the last sequence starts at its own, without a ring. */
  frozen: [
    { ...OLD, seq_len: [335, 207, 143, 128], accepted: [1, 1, 1, 0], anchor_permille: 300, frozen_len: [128, 64, 0, 128], frozen_anchor_pages: [2, 1, 0, 100], first_tokens: 2 },
    { ...OLD, seq_len: [335, 207], anchor_permille: 400, budget_permille: 400, frozen_len: [256, 128], frozen_anchor_pages: [3, 2], page_size: 16, index: 'csr' },
    // Inherited rows in the sequence's own pages, and few others; inherited first tokens.
    { ...OLD, seq_len: [335, 271], anchor_permille: 300, budget_permille: 1000, frozen_len: [192, 128], frozen_anchor_pages: [0, 1], anchor_spare: 0 },
    { ...OLD, seq_len: [335, 271], anchor_permille: 300, budget_permille: 250, frozen_len: [128, 64], frozen_anchor_pages: [0, 1], first_tokens: 40 },
  ],
  /** Rows of a step before that were drafts, up to all 16 of them; batches in another order; new sequences. */
  accepted: [
    { ...OLD, seq_len: [143, 140, 128, 207, 79, 0], accepted: [0, 3, 16, 1, 1, 16], q_len: [16, 4, 0, 1, 7, 3], unscored: [0, 0, 0, 0, 1, 1] },
    { ...OLD, seq_len: [130, 142, 15], accepted: [14, 16, 16], q_len: [16, 16, 16], q_heads: 10 },
  ],
  /** A prompt's tail of many rows, with what prefill scored; new rows in the places of rows that the same call encodes. */
  tails: [
    { ...OLD, seq_len: [143, 79, 335], q_len: [80, 79, 40] },
    { ...STEPS, seq_len: [0, 64, 128], accepted: [0, 0, 0], unscored: [1, 1, 1], q_len: [79, 32, 32], new_score: true, anchor_permille: 100 },
    { ...STEPS, seq_len: [0, 64, 128], accepted: [96, 32, 10], unscored: [1, 1, 1], q_len: [1, 1, 20], new_score: true, pattern: 'special', anchor_permille: 100 },
  ],
  scores: [
    { ...OLD, pattern: 'special' },
    { ...OLD, pattern: 'ties', unscored: [1, 1, 1, 1] },
    { ...OLD, lse: false },
    { ...OLD, score_row: false },
    { ...OLD, scores: false },
    { ...STEPS, seq_len: [79, 143, 100], scores: false },
    { ...STEPS, seq_len: [79, 143, 100] },
  ],
  policies: [1, 2, 3].flatMap((policy) => [{ ...OLD, policy }, { ...OLD, policy, pattern: 'ties' as const, first_tokens: 3, scores: false }]),
  /** A budget in tokens; anchors that lose and stay all the same, until there is no more room: by their number, by the rows. */
  pools: [
    ...[0, 1, 5, 200].flatMap((extra_tokens) => [3, 40].map((budget_tokens) => ({ ...OLD, policy: 1, budget_permille: 0, budget_tokens, extra_tokens }))),
    ...[0, 9, 200].map((extra_tokens) => ({ ...OLD, budget_tokens: 30, extra_tokens, anchor_spare: 2, anchor_permille: 40, pattern: 'ties' as const, first_tokens: 3 })),
    { ...OLD, policy: 1, budget_tokens: 20, extra_tokens: 16, anchor_permille: 100, first_tokens: 70 },
    { ...OLD, extra_tokens: 30, pattern: 'special' },
    { ...OLD, seq_len: [335, 207], extra_tokens: 20, anchor_permille: 100, frozen_len: [128, 64], frozen_anchor_pages: [2, 1], first_tokens: 2 },
  ],
  ratios: [1, 2, 5, 7, 16].map((ratio) => ({ ...OLD, seq_len: [207], q_heads: 2 * ratio })),
  positions: [
    { ...OLD, seq_len: [143, 79], first_pos: [1_000_000, 4_000_000], rope: { theta: 500_000 } },
    { ...OLD, seq_len: [143], first_pos: [77], rope: { rotary_dim: 32, interleaved: true, factor: 1.3 } },
  ],
} as const satisfies Lists<'append'>;
