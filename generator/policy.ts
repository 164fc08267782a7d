// Policies: which tokens stay exact. Each is a row: what ranks a prompt's tokens, and what a token scores when it leaves the window.
import type { Contract } from './contract.ts';

/** Numbers of `antkv_append_params.policy`: the score of a token that leaves the window. */
export const APPEND_POLICY = { column: 0, 'smallest-key': 1, 'largest-key': 2, none: 3 } as const;

export interface Policy {
  readonly doc: string;
  /** The form of `score` that ranks a prompt's tokens; undefined: none competes, and only the first tokens are kept. */
  readonly rank?: NonNullable<Contract['form']>;
  /** `scale` of form `norm`. */
  readonly scale?: 1 | -1;
  /** The decode-time analogue. Every attention form goes by mean attention mass, which decode leaves at no cost: other forms would need |q| or |v - o| of every row. */
  readonly append: keyof typeof APPEND_POLICY;
}

export const POLICIES = {
  column: { doc: 'attention mass: summed over a prompt\'s rows, and its mean from then on', rank: 'column', append: 'column' },
  mass: { doc: 'P (1 - P)', rank: 'mass', append: 'column' },
  massq: { doc: 'P (1 - P) |q|', rank: 'massq', append: 'column' },
  exact: { doc: 'P |v - o| |q|, how far a change of the key moves the output', rank: 'exact', append: 'column' },
  saliency: { doc: 'ZipCache: mean attention mass over the rows that see the token, a prompt\'s too', rank: 'saliency', append: 'column' },
  'key-magnitude': { doc: 'OTT: the smallest keys, by |k|', rank: 'norm', scale: -1, append: 'smallest-key' },
  'largest-key': { doc: 'the largest keys, by |k|', rank: 'norm', scale: 1, append: 'largest-key' },
  first: { doc: 'the first tokens', append: 'none' },
  none: { doc: 'no token', append: 'none' },
} as const satisfies Record<string, Policy>;

export type PolicyName = keyof typeof POLICIES;
export const POLICY_NAMES = Object.keys(POLICIES) as PolicyName[];
export const policyOf = (name: PolicyName): Policy => POLICIES[name];

/** The forms of `score` that a cache under `policy` launches: what ranks prompts, and the column sums that its ring goes on from. */
export function formsOf({ rank, append }: Policy): NonNullable<Contract['form']>[] {
  if (rank === undefined) return [];
  return append === 'column' ? [...new Set([rank, 'column' as const])] : [rank];
}
