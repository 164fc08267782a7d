// What a launch takes by its busiest CTAs: how many pieces and tokens they have is arithmetic, what either costs is fitted on the kernel's own times. Pure.
import { ctasPerSm, parseLaunch, type Launch } from '../bench-launch.ts';
import { sharesOf, type Share } from './shares.ts';
import { kernelNamed } from '../space/names.ts';
import type { Board } from './expected.ts';
import type { Point } from './pool.ts';
import type { Place } from './surface.ts';

/** What the place for CTAs that works longest has, of all CTAs that it takes one after the other: their number, pieces, and sequences' worth of tokens. */
interface Busy {
  readonly turns: number;
  readonly pieces: number;
  readonly sequences: number;
}

/** Which place is busiest is asked for prices in steps of this ratio: it hardly hangs on them, and questions that are asked again have their answer. */
const STEP = 1.25;
const rounded = (price: number): number => STEP ** Math.round(Math.log(price) / Math.log(STEP));

const known = new Map<string, Busy>();

/** Shares of `lines` equal lines by turns: a place takes the next one when it is free. Those that are there `together` take as much longer. */
function inTurns(shares: readonly Share[], lines: number, slots: number, together: number, worth: (pieces: number, sequences: number) => number): Busy {
  const worths = shares.map(({ pieces, sequences }) => worth(pieces, sequences * together));
  // A heap: the place that is free first is on top, takes the next share, and sinks.
  const free = new Float64Array(slots);
  const at = Array.from({ length: slots }, () => [] as number[]);
  for (let line = 0; line < lines; line++) {
    for (let i = 0; i < shares.length; i++) {
      const time = free[0]! + worths[i]!;
      const mine = at[0]!;
      mine.push(i);
      let place = 0;
      for (;;) {
        const left = 2 * place + 1;
        if (left >= slots) break;
        const least = left + 1 < slots && free[left + 1]! < free[left]! ? left + 1 : left;
        if (free[least]! >= time) break;
        [free[place], at[place]] = [free[least]!, at[least]!];
        place = least;
      }
      [free[place], at[place]] = [time, mine];
    }
  }
  const most = at[free.reduce((best, time, i) => (time > free[best]! ? i : best), 0)]!.map((i) => shares[i]!);
  const sum = (of: (share: Share) => number): number => most.reduce((total, share) => total + of(share), 0);
  return { turns: most.length, pieces: sum(({ pieces }) => pieces), sequences: sum(({ sequences }) => sequences) * together };
}

type Part = 'sequence' | 'spread';
/** What a launch is cut from, and for how long it is. */
interface Work {
  readonly part: Part;
  readonly batch: number;
  readonly tokens: number;
  readonly window: number;
  readonly splits: number;
  readonly lines: number;
}

/** The busiest of the places for CTAs that a device has, each taking the next one when it is free. `piece`, `turn`: what a piece costs, and a CTA without any, in tokens. */
function busiest(name: string, { part, batch, tokens, window, splits, lines }: Work, sms: number, piece: number, turn: number): Busy {
  const key = [name, part, batch, tokens, window, splits, lines, sms, piece, turn].join(' ');
  const before = known.get(key);
  if (before) return before;
  const kernel = kernelNamed(name);
  // Cut by sequence each is a line of its own.
  const [line, equal] = part === 'spread' ? [batch, lines] : [1, batch * lines];
  const shares = sharesOf(kernel, { batch: line, tokens, window }, splits);
  const worth = ({ pieces, sequences }: Share): number => pieces * piece + sequences * tokens;
  const resident = ctasPerSm(kernel);
  const total = shares.length * equal;
  // Those that share a multiprocessor share its pipes.
  const together = Math.min(resident, Math.ceil(total / sms));
  const slots = sms * resident;
  const longest = (): Busy => {
    const most = shares.reduce((a, b) => (worth(b) > worth(a) ? b : a));
    return { turns: 1, pieces: most.pieces, sequences: most.sequences * together };
  };
  const found = total <= slots ? longest() : inTurns(shares, equal, slots, together, (pieces, sequences) => turn + pieces * piece + sequences * tokens);
  known.set(key, found);
  return found;
}

/**
 * Microseconds: of a token of the busiest place; of one for each multiprocessor, of all the work, as they share the memory; of each CTA that a place takes. Then, in either
 * mode, of the launch, of a piece of the busiest place, and of each part of a sequence that the last CTA merges. Both modes together tell what a token costs: where batches
 * are powers of two, sequences of one length fill the device so evenly that the busiest place has as much as the mean.
 */
const PRICES = ['token', 'shared', 'turn', 'sequence launch', 'sequence piece', 'sequence part', 'spread launch', 'spread piece', 'spread part'] as const;
type Prices = Readonly<Record<(typeof PRICES)[number], number>>;

/**
 * Where a fit begins, and what it may not fall below: a graph's launch; what a CTA without work takes, whose loads of lengths wait for memory twice. Kernels that tell
 * say 3.5 to 5 us of a turn; of others all launches of more CTAs than the device holds were too slow to be timed.
 */
const FIRST: Prices = { token: 0.002, shared: 0, turn: 2.5, 'sequence launch': 8, 'sequence piece': 6, 'sequence part': 0, 'spread launch': 8, 'spread piece': 6, 'spread part': 0 };
const LEAST: Prices = { token: 1e-5, shared: 0, turn: 2.5, 'sequence launch': 4, 'sequence piece': 0.1, 'sequence part': 0, 'spread launch': 4, 'spread piece': 0.1, 'spread part': 0 };
/** Which place is busiest hangs on the prices: they are fitted so often. */
const PASSES = 4;
const TURNS = 300;
/** Times that tell: twice as many as a mode has prices. */
const ENOUGH = 12;

/** The x >= `least` of least squares of A x = b, by coordinates in turn on the normal equations: there are nine, and they start near. */
function fitted(rows: readonly (readonly number[])[], b: readonly number[], from: readonly number[], least: readonly number[]): number[] {
  const inner = from.map((_, i) => from.map((__, j) => rows.reduce((sum, row) => sum + row[i]! * row[j]!, 0)));
  const aim = from.map((_, i) => rows.reduce((sum, row, r) => sum + row[i]! * b[r]!, 0));
  const x = [...from];
  for (let turn = 0; turn < TURNS; turn++) {
    for (let i = 0; i < x.length; i++) {
      if (inner[i]![i]! === 0) continue;
      const others = x.reduce((sum, value, j) => (j === i ? sum : sum + inner[i]![j]! * value), 0);
      x[i] = Math.max(least[i]!, (aim[i]! - others) / inner[i]![i]!);
    }
  }
  return x;
}

/** Microseconds of a launch at a place. */
export type BusyTime = (place: Place, launch: Launch) => number;

/** What launches of `kernel` take in either mode, from all its arms at `points` but those that combine merges; undefined if too few tell. */
export function busyTime(points: readonly Point[], kernel: string, { sms }: Board): BusyTime | undefined {
  const samples = points.flatMap((point) => point.arms.filter((arm) => arm.kernel === kernel && arm.launch !== '').map(({ launch, us }) => ({ point, us, launch: parseLaunch(launch) }))).filter(({ launch }) => launch.merge !== 'combine');
  if (samples.length < ENOUGH) return undefined;
  const { lines, setting: { window } } = points[0]!;
  /** How much of each price a launch takes, in the order of {@link PRICES}. */
  const amounts = ({ streams, tokens }: Place, { splits, spread }: Launch, prices: Prices): number[] => {
    const part: Part = spread ? 'spread' : 'sequence';
    const batch = Math.max(1, Math.round(streams / lines));
    const { turns, pieces, sequences } = busiest(kernel, { part, batch, tokens, window, splits, lines }, sms, rounded(prices[`${part} piece`] / prices.token), rounded(prices.turn / prices.token));
    const own = [1, pieces, spread ? Math.max(1, (splits * lines) / streams) : splits];
    return [sequences * tokens, (streams * tokens) / sms, turns, ...(spread ? [0, 0, 0, ...own] : [...own, 0, 0, 0])];
  };
  let prices = FIRST;
  for (let pass = 0; pass < PASSES; pass++) {
    // Errors count as shares of the time.
    const rows = samples.map(({ point, us, launch }) => amounts(point, launch, prices).map((value) => value / us));
    const x = fitted(rows, rows.map(() => 1), PRICES.map((name) => prices[name]), PRICES.map((name) => LEAST[name]));
    prices = Object.fromEntries(PRICES.map((name, i) => [name, x[i]!])) as unknown as Prices;
  }
  return (place, launch) => amounts(place, launch, prices).reduce((sum, value, i) => sum + value * prices[PRICES[i]!], 0);
}
