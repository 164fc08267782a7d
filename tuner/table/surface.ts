// A value between measured places: bilinear in the logarithms of streams and tokens where the places are a grid, inverse distances where they are scattered. Pure.

export interface Place {
  readonly streams: number;
  readonly tokens: number;
}

export interface Sample extends Place {
  readonly value: number;
}

export type Surface = (place: Place) => number;

const x = ({ streams }: Place): number => Math.log2(streams);
const y = ({ tokens }: Place): number => Math.log2(tokens);

export const samePlace = (a: Place, b: Place): boolean => a.streams === b.streams && a.tokens === b.tokens;

/** Octaves between two places. */
export const distance = (a: Place, b: Place): number => Math.hypot(x(a) - x(b), y(a) - y(b));

/**
 * `places`, nearest first, so that the answer does not hang on their order: of equally near ones (to a millionth of an octave) that with fewer streams and more tokens,
 * because short sequences are cut into few shares for want of tokens.
 */
export const nearestFirst = <T extends Place>(places: readonly T[], to: Place): T[] =>
  places.map((place) => ({ place, far: Math.round(1e6 * distance(place, to)) })).sort((a, b) => a.far - b.far || a.place.streams - b.place.streams || b.place.tokens - a.place.tokens).map(({ place }) => place);

/** The two numbers of an ascending list round `at`, clamped to its ends, and how far `at` is from the first to the second. */
function bracket(list: readonly number[], at: number): [low: number, high: number, share: number] {
  const clamped = Math.min(Math.max(at, list[0]!), list.at(-1)!);
  const i = Math.max(0, list.findLastIndex((value) => value <= clamped));
  const low = list[i]!;
  const high = list[Math.min(i + 1, list.length - 1)]!;
  return [low, high, high > low ? (Math.log2(clamped) - Math.log2(low)) / (Math.log2(high) - Math.log2(low)) : 0];
}

/** How many neighbours count where no grid cell is whole. */
const NEIGHBOURS = 4;

/** The surface through `samples`, at least one; of several at one place the first counts. Outside of them it is that of the nearest border. */
export function surfaceOf(samples: readonly Sample[]): Surface {
  const at = new Map<string, number>();
  for (const { streams, tokens, value } of samples) if (!at.has(`${streams} ${tokens}`)) at.set(`${streams} ${tokens}`, value);
  const ascending = (values: readonly number[]): number[] => [...new Set(values)].sort((a, b) => a - b);
  const rows = ascending(samples.map(({ streams }) => streams));
  const columns = ascending(samples.map(({ tokens }) => tokens));
  return (place) => {
    const [s0, s1, s] = bracket(rows, place.streams);
    const [t0, t1, t] = bracket(columns, place.tokens);
    const corners = [[s0, t0, (1 - s) * (1 - t)], [s0, t1, (1 - s) * t], [s1, t0, s * (1 - t)], [s1, t1, s * t]] as const;
    // A corner of no weight need not be measured.
    const needed = corners.filter(([, , weight]) => weight > 0);
    if (needed.every(([streams, tokens]) => at.has(`${streams} ${tokens}`))) return needed.reduce((sum, [streams, tokens, weight]) => sum + weight * at.get(`${streams} ${tokens}`)!, 0);
    const inside = { streams: Math.min(Math.max(place.streams, rows[0]!), rows.at(-1)!), tokens: Math.min(Math.max(place.tokens, columns[0]!), columns.at(-1)!) };
    const near = nearestFirst(samples, inside).slice(0, NEIGHBOURS);
    const weights = near.map((sample) => 1 / Math.max(distance(sample, inside), 1e-6) ** 2);
    const sum = weights.reduce((a, b) => a + b, 0);
    return near.reduce((total, { value }, i) => total + (value * weights[i]!) / sum, 0);
  };
}
