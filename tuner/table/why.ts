// Why a look-up answers as it does: every rung of the ladder, what differs from the device, what the cell says, and the command that would make it better. Pure.
import type { Kernel } from '../../generator/name.ts';
import { kernelName } from '../../generator/name.ts';
import { sharedBytes } from '../../generator/shared.ts';
import { runsOn } from '../../generator/tile.ts';
import type { Entry } from '../../generator/table/entries.ts';
import { answerOf, barred, cellAt, find, IDENTITY_KEYS, ladder, linesOf, modeOf, takes, type Answer, type Ask } from '../../generator/table/find.ts';
import { CELL_LETTERS, type Identity } from '../../generator/table/schema.ts';
import { stepOn, wholeMiddleOf } from '../../generator/table/steps.ts';
import { choiceWord } from '../../generator/table/words.ts';

export interface RungFacts {
  readonly file: string;
  readonly device: string;
  readonly origin: string;
  readonly match: string;
  /** Members of the identity that differ: `sms 132, here 108`. */
  readonly differs: readonly string[];
  /** The step of the cell that answers, as numbers, and whether the shape had to be clamped to the axes. */
  readonly cell: { readonly streams: number; readonly tokens: number; readonly clamped: boolean; readonly says: string; readonly quality: string; readonly regret: number; readonly stale: boolean };
  /** Why it does not answer, or undefined for the one that does, and for those below it. */
  readonly passed: string | undefined;
  readonly answers: boolean;
}

export interface Why {
  readonly ask: { readonly streams: number; readonly tokens: number; readonly lines: number; readonly mode: string };
  readonly answer: Answer;
  readonly rungs: readonly RungFacts[];
  /** Tables of this contract that were not even asked, with the reason. */
  readonly refused: readonly { readonly file: string; readonly why: string }[];
  /** What to run for a better answer; undefined where nothing is missing. */
  readonly fix: string | undefined;
}

const differences = (table: Identity, device: Identity): string[] => IDENTITY_KEYS.filter((key) => table[key] !== device[key]).map((key) => `${key} ${table[key]}, here ${device[key]}`);

function fixOf({ quality, regret }: Answer, ask: Ask): string | undefined {
  const tune = `gen tune --only ${ask.contract}`;
  switch (quality) {
    case 'measured': return undefined;
    case 'interpolated':
      // Between points that were measured there is little to win where the loss is small.
      return (regret ?? 0) <= 30 ? undefined : `${tune} --shapes FILE   with this shape in it`;
    case 'stale': return `${tune} --stale   on that device, or "gen table validate --mend FILE" if only names and comments changed`;
    default: return `${tune}   on that device, then "gen"`;
  }
}

/** Why a device does not take the kernel that a cell names; entries name kernels that are there (generator/table/entries.ts). */
const passedOver = (kernel: Kernel, device: Ask['device']): string =>
  runsOn(kernel, device.cc)
    ? `${kernelName(kernel)} needs ${sharedBytes(kernel.contract, kernel.tile)} B of shared memory, blocks of the device have ${device.sharedPerBlock}`
    : `${kernelName(kernel)} is for ${kernel.arch.name} alone, the device has compute capability ${device.cc / 10}`;

/** The ladder for a question, rung by rung. */
export function explain(entries: readonly Entry[], kernels: readonly Kernel[], ask: Ask): Why {
  const mode = modeOf(ask);
  const lines = linesOf(ask);
  const streams = ask.batch * lines;
  const known = new Map(kernels.map((kernel) => [kernelName(kernel), kernel]));
  const fits = (name: string): boolean => known.has(name) && takes(ask.device, known.get(name)!);
  const answer = find(entries, kernels, ask);
  let answered = false;
  const rungs = ladder(entries, { ...ask, mode }).map((rung): RungFacts => {
    const { entry: { named: { file, table }, origin }, match } = rung;
    const { axes } = table;
    const { cell, row, column } = cellAt(rung.entry, mode, streams, ask.tokens);
    const own = answerOf(rung, ask, fits);
    const answers = own !== undefined && !answered;
    answered ||= answers;
    return {
      file, device: table.device.name, origin, match, differs: differences(table.device, ask.device), answers,
      cell: { streams: wholeMiddleOf(axes.streams, row), tokens: wholeMiddleOf(axes.tokens, column), clamped: stepOn(axes.streams, streams) !== axes.streams.first + row || stepOn(axes.tokens, ask.tokens) !== axes.tokens.first + column, says: choiceWord(cell.choice), quality: CELL_LETTERS[cell.letter], regret: cell.regret, stale: cell.choice.stale },
      passed: own ? undefined : passedOver(known.get(cell.choice.kernel)!, ask.device),
    };
  });
  const refused = entries.filter(({ contract }) => contract === ask.contract).flatMap((entry) => {
    const why = barred(entry, { mode, device: ask.device });
    return why === undefined ? [] : [{ file: entry.named.file, why }];
  });
  return { ask: { streams, tokens: ask.tokens, lines, mode }, answer, rungs, refused, fix: fixOf(answer, ask) };
}
