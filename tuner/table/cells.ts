// The dense cells of a contract: every step of streams and tokens gets the field's decision, its quality and its expected regret. Pure.
import type { Choice, Mode, Plane, Table } from '../../generator/table/schema.ts';
import { middleOf, stepOn, wholeMiddleOf, type Axis } from '../../generator/table/steps.ts';
import { cellWord, choiceWord, keysOf, type Letter } from '../../generator/table/words.ts';
import { mean } from '../space/numbers.ts';
import { decide, PARTS, type Decision, type Field } from './field.ts';
import type { Loss } from './leave-out.ts';
import { nearestFirst, type Place } from './surface.ts';

/** Regret where nothing says how large it is: of a time from a few screening rounds, and of an interpolation that cannot be tested. */
const UNKNOWN = { half: 0.02, between: 0.05 } as const;

export interface CellOptions {
  readonly axes: Table['axes'];
  /** What was lost where points were left out. */
  readonly losses: readonly Loss[];
  /** Of a table that a model made: what the model errs by, as a share; all cells are then X. */
  readonly modelError?: number;
}

const near = <T extends Place>(places: readonly T[], to: Place, count: number): T[] => nearestFirst(places, to).slice(0, count);

/** A step of streams and one of tokens. */
export interface Step {
  readonly row: number;
  readonly column: number;
}
const isIn = ({ streams, tokens }: Place, { row, column }: Step, axes: Table['axes']): boolean => stepOn(axes.streams, streams) === row && stepOn(axes.tokens, tokens) === column;

/** Times that 2 divides a number. */
const twos = (n: number): number => (n % 2 === 0 ? 1 + twos(n / 2) : 0);

/**
 * The place that a cell is decided for where none of it was measured: its middle, of the whole batches of `lines` streams in it that with the most factors of two, for
 * those are what runtimes fill batches up to. Between two batches are places that no work has: CTAs fill turns there, and shares end with sequences, as nowhere else.
 */
function middleIn({ row, column }: Step, lines: number, axes: Table['axes']): Place {
  const middle = { streams: middleOf(axes.streams, row - axes.streams.first), tokens: wholeMiddleOf(axes.tokens, column - axes.tokens.first) };
  const first = Math.max(1, Math.floor(middle.streams / lines / 2));
  const batches = Array.from({ length: 3 * first + 2 }, (_, i) => first + i).filter((batch) => stepOn(axes.streams, batch * lines) === row);
  const [batch] = batches.sort((a, b) => twos(b) - twos(a) || a - b);
  return batch === undefined ? middle : { ...middle, streams: batch * lines };
}

/** The step that a place is in. */
export const stepAt = (axes: Table['axes'], { streams, tokens }: Place): Step => ({ row: stepOn(axes.streams, streams), column: stepOn(axes.tokens, tokens) });

/** The measured point of a cell's own step, if there is one: the nearest to its middle. */
const pointIn = ({ points }: Field, part: string, step: Step, place: Place, axes: Table['axes']): Place | undefined =>
  near(points.filter((point) => point.problem.mode === part && isIn(point, step, axes)), place, 1)[0];

/**
 * Expected loss against the best that is known, as a share: what the winner lost to it where it was measured, the interval of that ratio, and between points what was lost
 * nearby when points were left out.
 */
function regretOf({ arm, from, part }: Decision, place: Place, measured: boolean, { losses, modelError }: CellOptions): number {
  const gap = arm.us / from.arms[0]!.us - 1 + (arm.half ?? UNKNOWN.half);
  if (modelError !== undefined) return gap + modelError;
  if (measured) return gap;
  const own = losses.filter(({ point }) => point.problem.mode === part).map(({ point, loss }) => ({ streams: point.streams, tokens: point.tokens, loss }));
  return gap + (losses.length < 3 || own.length === 0 ? UNKNOWN.between : mean(near(own, place, 2).map(({ loss }) => loss)));
}

/** What a field decides for a whole step, for which place of it, and whether that is of a point in it. */
export function decideIn(field: Field, parts: readonly ('sequence' | 'spread')[], step: Step, axes: Table['axes']): { decision: Decision; place: Place; own: boolean } {
  const middle = middleIn(step, field.points[0]!.lines, axes);
  const found = parts.map((part) => pointIn(field, part, step, middle, axes));
  const measured = found.every((point) => point !== undefined);
  const place = found[0] && measured ? found[0] : middle;
  const decision = decide(field, parts, place)!;
  // What was measured in this step must be of the winner itself, not of others beside it.
  return { decision, place, own: measured && isIn(decision.from, step, axes) };
}

const steps = ({ first, count }: Axis): number[] => Array.from({ length: count }, (_, i) => first + i);

/** The cells of a mode, or undefined where none of the modes that may answer it was measured. */
export function planeOf(field: Field, mode: Mode, options: CellOptions): Plane | undefined {
  const parts = PARTS[mode].filter((part) => field.layers.some((layer) => layer.part === part));
  if (parts.length === 0) return undefined;
  const rows = steps(options.axes.streams).map((row) => steps(options.axes.tokens).map((column): { choice: Choice; letter: Letter; regret: number } => {
    const { decision, place, own } = decideIn(field, parts, { row, column }, options.axes);
    return { choice: decision.choice, letter: options.modelError !== undefined ? 'X' : own ? 'M' : 'I', regret: 1000 * regretOf(decision, place, own, options) };
  }));
  const keys = keysOf(rows.flat().map(({ choice }) => choice));
  const keyOf = (choice: Choice): string => keys.get(choiceWord(choice))!;
  return {
    choices: Object.fromEntries(rows.flat().map(({ choice }) => [keyOf(choice), choice])),
    // Digits beyond a hundred-thousandth are noise of the arithmetic; without this 12.000000001 would round up to 13.
    cells: rows.map((row) => row.map(({ choice, letter, regret }) => cellWord({ key: keyOf(choice), letter, regret: Math.round(regret * 100) / 100 })).join(' ')),
  };
}
