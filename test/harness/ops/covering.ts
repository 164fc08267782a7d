// Pairwise covering arrays: rows of choices in which every pair of values that can occur together does.
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { uniformInt } from 'pure-rand/distribution/uniformInt';

export type Axes = Readonly<Record<string, readonly (string | number | boolean)[]>>;
export type Row<A extends Axes> = { readonly [K in keyof A]: A[K][number] };

interface Covering<A extends Axes> {
  readonly rows: Row<A>[];
  /** Pairs that no row allowed by `valid` holds, as `axis=value axis=value`. */
  readonly impossible: string[];
}

/**
 * A covering array by greedy choice among random candidates; equal input gives equal rows. `settle` gives the values that follow from a candidate's others, so that valid
 * rows are not rare. A pair that 10,000 candidates with it do not make valid counts as impossible: callers compare the list with what they expect.
 */
export function covering<A extends Axes>(axes: A, valid: (row: Row<A>) => boolean, settle: (row: Row<A>) => Row<A> = (row) => row, seed = 1): Covering<A> {
  const random = xoroshiro128plus(seed);
  const names = Object.keys(axes);
  const draw = (fixed: Readonly<Record<string, unknown>>): Row<A> => settle(
    Object.fromEntries(names.map((name) => [name, name in fixed ? fixed[name] : axes[name]![uniformInt(random, 0, axes[name]!.length - 1)]])) as Row<A>);
  const pairsOf = (row: Row<A>): string[] => names.flatMap((a, i) => names.slice(i + 1).map((b) => `${a}=${String(row[a])} ${b}=${String(row[b])}`));
  const open = new Map<string, Record<string, unknown>>();
  names.forEach((a, i) => names.slice(i + 1).forEach((b) => axes[a]!.forEach((x) => axes[b]!.forEach((y) => open.set(`${a}=${String(x)} ${b}=${String(y)}`, { [a]: x, [b]: y })))));
  const rows: Row<A>[] = [];
  const impossible: string[] = [];
  while (open.size > 0) {
    const [key, fixed] = open.entries().next().value!;
    let best: Row<A> | undefined;
    let bestGain = 0;
    for (let tries = 0, found = 0; tries < 10_000 && found < 60; tries++) {
      const row = draw(fixed);
      if (names.some((name) => name in fixed && row[name] !== fixed[name]) || !valid(row)) continue;
      found++;
      const gain = pairsOf(row).filter((pair) => open.has(pair)).length;
      if (gain > bestGain) [best, bestGain] = [row, gain];
    }
    if (!best) {
      impossible.push(key);
      open.delete(key);
      continue;
    }
    rows.push(best);
    for (const pair of pairsOf(best)) open.delete(pair);
  }
  return { rows, impossible };
}
