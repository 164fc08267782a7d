// Random shapes of every op: what the lists of shapes.ts hold by hazard, in any mixture. Small, for the emulator.
import { isCacheContract, isCoded, type Contract } from '../../generator/contract.ts';
import { PAGE_SIZES } from '../../generator/layout.ts';
import type { CheckOp, Shape } from '../problem.ts';
import type { Dice } from './dice.ts';

/** Most tokens of a sequence. */
const LONGEST = 400;

/** Tokens of up to five sequences: none, about a multiple of 16, or any. */
function lengths(dice: Dice): number[] {
  const one = (): number => {
    if (dice.once(8)) return 0;
    if (dice.once(2)) return dice.int(0, LONGEST);
    return Math.max(0, 16 * dice.int(0, LONGEST / 16 - 1) + dice.int(-1, 1));
  };
  return Array.from({ length: dice.int(1, 5) }, one);
}

/** A multiple of `step`, at most `most`. */
const multiple = (dice: Dice, step: number, most: number): number => step * dice.int(0, Math.floor(most / step));
/** `field` with a value in one of `n` draws. */
const sometimes = <T extends object>(dice: Dice, n: number, make: () => T): T | object => (dice.once(n) ? make() : {});

/** What all ops with pages have. */
function cacheFields(dice: Dice, contract: Contract, sequences: number) {
  const d = contract.headDim!;
  return {
    kv_heads: dice.int(1, 3),
    page_size: dice.pick(PAGE_SIZES),
    index: dice.pick(['table', 'csr'] as const),
    pad: dice.pick([0, 0, 16, 48]),
    ...sometimes(dice, 4, () => ({ state_slot: false })),
    ...sometimes(dice, 2, () => ({ first_pos: Array.from({ length: sequences }, () => dice.pick([0, dice.int(0, 9999), 1_000_000, 4_000_000])) })),
    ...sometimes(dice, 2, () => ({ rope: { theta: dice.pick([10_000, 500_000]), rotary_dim: dice.pick([d, d, d / 2, 32, 48]), interleaved: dice.once(2), factor: dice.pick([1, 1.3]) } })),
    ...(isCacheContract(contract) && isCoded(contract) ? { anchor_permille: dice.pick([-1, 0, 20, 100, 400, 1000]) } : {}),
  };
}

/** Inherited prefixes, where there are anchors that they could matter to. */
const frozen = (dice: Dice, cache: { anchor_permille?: number }, tokens: readonly number[]): object =>
  (cache.anchor_permille ?? -1) < 0 ? {} : sometimes(dice, 5, () => ({ frozen_len: tokens.map((n) => multiple(dice, 16, n)), frozen_anchor_pages: tokens.map(() => dice.int(0, 3)) }));

function decode(dice: Dice, contract: Contract): Shape<'decode'> {
  const coded_len = lengths(dice);
  const cache = cacheFields(dice, contract, coded_len.length);
  const ring = 'anchor_permille' in cache && !dice.once(5) ? dice.pick([16, 33, 272]) : 0;
  const kv_len = coded_len.map((n) => n + (ring > 0 ? dice.int(0, Math.min(ring, 60)) : 0));
  const rows: number[] = dice.once(2) ? kv_len.map(() => 1) : kv_len.map((n) => dice.int(0, Math.min(16, Math.max(1, n))));
  if (!rows.some((n) => n > 0)) rows[0] = 1;
  const splits = dice.pick([1, 1, 2, 3, 5, 17]);
  const scores = ring > 0 && dice.once(3);
  return {
    ...cache, ...frozen(dice, cache, coded_len), coded_len, q_len: rows, q_heads: cache.kv_heads * dice.int(1, 16), splits,
    ...(ring > 0 ? { kv_len, ring_rows: ring } : {}),
    ...sometimes(dice, 3, () => ({ spread: true })), ...(splits > 1 || dice.once(4) ? { merge: dice.pick(['last', 'combine'] as const) } : {}),
    ...(scores ? { ring_scores: true } : sometimes(dice, 6, () => ({ lse: false }))),
    ...(ring > 0 && !scores ? sometimes(dice, 6, () => ({ segments: dice.int(0, 7) })) : {}),
    ...(rows.every((n, i) => n <= kv_len[i]!) ? sometimes(dice, 4, () => ({ tree_mask: true })) : {}),
    ...sometimes(dice, 6, () => ({ max_q_len: 16 })),
    ...sometimes(dice, 3, () => ({ score_std: dice.pick([0.05, 2, 4]) })), ...sometimes(dice, 8, () => ({ peak: true })),
  };
}

function encode(dice: Dice, contract: Contract): Shape<'encode'> {
  const end = lengths(dice);
  const cache = cacheFields(dice, contract, end.length);
  return {
    ...cache, end, ...sometimes(dice, 3, () => ({ first_token: end.map((n) => multiple(dice, cache.page_size, n)) })),
    ...(contract.key === 'pre' ? sometimes(dice, 3, () => ({ keys_unrotated: true })) : {}),
  };
}

function unpack(dice: Dice, contract: Contract): Shape<'unpack'> {
  const coded_len = lengths(dice);
  const cache = cacheFields(dice, contract, coded_len.length);
  return { ...cache, ...frozen(dice, cache, coded_len), coded_len, ...sometimes(dice, 3, () => ({ first_token: coded_len.map((n) => multiple(dice, 16, n)) })) };
}

function append(dice: Dice, contract: Contract): Shape<'append'> {
  const seq_len = lengths(dice);
  const cache = { ...cacheFields(dice, contract, seq_len.length), page_size: dice.pick([16, 32, 64] as const) };
  const each = (most: number): number[] => seq_len.map(() => dice.int(0, most));
  const step = { ...cache, seq_len, q_heads: cache.kv_heads * dice.int(1, 16), ...sometimes(dice, 2, () => ({ accepted: each(16) })), ...sometimes(dice, 2, () => ({ q_len: each(16) })) };
  if (!('anchor_permille' in cache)) return step;
  return {
    ...step, window: dice.pick([16, 40, 128]), flush_block: cache.page_size * dice.int(1, 3), budget_permille: dice.pick([0, 10, 100, 500]), first_tokens: dice.pick([0, 0, 5]),
    policy: dice.int(0, 3), pattern: dice.pick(['random', 'ties', 'special'] as const),
    ...sometimes(dice, 3, () => ({ unscored: each(1) })), ...sometimes(dice, 4, () => ({ anchor_spare: dice.int(0, 20) })), ...sometimes(dice, 4, () => ({ new_score: true })), ...sometimes(dice, 6, () => ({ lse: false })),
  };
}

function score(dice: Dice): Shape<'score'> {
  const keys = lengths(dice);
  const kv_heads = dice.int(1, 3);
  return {
    keys, kv_heads, q_heads: kv_heads * dice.int(1, 16), pad: dice.pick([0, 16]), ...sometimes(dice, 2, () => ({ rows: keys.map((n) => dice.int(0, n)) })), ...sometimes(dice, 3, () => ({ score_std: dice.pick([0.1, 3]) })),
    ...sometimes(dice, 2, () => ({ first_pos: keys.map(() => dice.pick([0, 17, 4_000_000])) })), ...sometimes(dice, 3, () => ({ accumulate: true })), ...sometimes(dice, 3, () => ({ sampled_rows: dice.int(0, 60), newest_rows: dice.int(0, 30) })),
    ...sometimes(dice, 4, () => ({ sink_logit: dice.int(-3, 3) })),
  };
}

const select = (dice: Dice): Shape<'select'> => ({
  token_count: lengths(dice), kv_heads: dice.int(1, 3), pattern: dice.pick(['random', 'ties', 'constant', 'special', 'ascending', 'close', 'negative', 'nothing'] as const),
  first_tokens: dice.pick([0, 0, 4, 50]), ...(dice.once(2) ? { budget_permille: dice.int(0, 1000) } : { budget_tokens: dice.int(0, 200), max_anchors: dice.int(0, 200) }),
});

const combine = (dice: Dice): Shape<'combine'> => ({ rows: dice.int(1, 9), q_heads: dice.int(1, 20), splits: dice.int(1, 40), ring_rows: dice.pick([0, 7, 45]), empty_permille: dice.pick([0, 200, 1000]), lse_std: dice.pick([3, 60]) });

const kmeans = (dice: Dice): Shape<'kmeans'> => ({
  tokens: dice.int(1, 700), heads: dice.int(1, 2), chunks: dice.int(1, 2), splits: dice.int(1, 7), max_steps: dice.int(1, 3), pad: dice.pick([0, 16]),
  ...sometimes(dice, 3, () => ({ weights: true })), ...sometimes(dice, 4, () => ({ given: true })), ...sometimes(dice, 6, () => ({ pattern: 'alike' as const })),
});

const DRAWS: { readonly [Op in CheckOp]: (dice: Dice, contract: Contract) => Shape<Op> } = { decode, encode, append, unpack, score, select, combine, kmeans };

/** A shape that `contract` can take. */
export const drawShape = (dice: Dice, contract: Contract): Shape<CheckOp> => DRAWS[contract.op as CheckOp](dice, contract);
