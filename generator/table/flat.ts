// Tables as arrays of numbers, for languages that index them: nothing to parse and nothing to allocate at run time. Pure.
import { rowOrder } from '../bindings/kernels.ts';
import { kernelName, parseContractName, type Kernel } from '../name.ts';
import { entriesOf, type EntryCell, type EntryChoice } from './entries.ts';
import { kernelInputs } from './inputs.ts';
import type { NamedTable } from './read.ts';
import { MODES, ORIGINS } from './schema.ts';
import { choiceWord, type Letter } from './words.ts';

/** Letters as numbers; each is below 4. */
const LETTERS: readonly Letter[] = ['M', 'I', 'X', 'D'];
export const MERGES = ['none', 'last', 'combine'] as const;

export interface FlatChoice {
  /** Index of the row in antkv_kernels.h. */
  readonly kernel: number;
  readonly ctas: number;
  readonly spread: number;
  readonly merge: number;
  readonly stale: number;
}

/** One table's say on one contract. */
export interface FlatEntry {
  readonly table: number;
  readonly origin: number;
  /** Index of its first choice. */
  readonly choices: number;
  /** By mode: index of the plane's first row in `rows`, -1 without. */
  readonly planes: readonly number[];
}

export interface Flat {
  readonly tables: readonly NamedTable[];
  /** By name; each with the range of its entries. `columns`: 0 for ops other than decode. */
  readonly contracts: readonly { readonly name: string; readonly columns: number; readonly first: number; readonly count: number }[];
  readonly entries: readonly FlatEntry[];
  readonly choices: readonly FlatChoice[];
  /** Of each row of cells the index of its first cell. Equal rows are one. */
  readonly rows: readonly number[];
  /** choice (from the entry's first) << 16 | letter << 14 | regret. */
  readonly cells: readonly number[];
}

/** Tables and `kernels` as arrays. */
export function flatten(named: readonly NamedTable[], kernels: readonly Kernel[], inputs: (kernel: Kernel) => string = kernelInputs): Flat {
  const index = new Map(rowOrder(kernels).map((kernel, i) => [kernelName(kernel), i]));
  const tables = [...named].sort((a, b) => (a.file < b.file ? -1 : 1));
  const entries: FlatEntry[] = [];
  const contracts: Flat['contracts'][number][] = [];
  const choices: FlatChoice[] = [];
  const rows: number[] = [];
  const cells: number[] = [];
  const seen = new Map<string, number>();
  for (const entry of entriesOf(tables, kernels, inputs)) {
    const first = choices.length;
    const own = new Map<string, number>();
    const choiceIndex = (choice: EntryChoice): number => {
      const word = choiceWord(choice);
      const there = own.get(word) ?? own.size;
      if (there === own.size) {
        own.set(word, there);
        choices.push({ kernel: index.get(choice.kernel)!, ctas: choice.ctas, spread: choice.spread ? 1 : 0, merge: MERGES.indexOf(choice.merge), stale: choice.stale ? 1 : 0 });
      }
      return there;
    };
    // Shifts are signed in JavaScript, products are not.
    const number = ({ choice, letter, regret }: EntryCell): number => choiceIndex(choice) * 2 ** 16 + LETTERS.indexOf(letter) * 2 ** 14 + regret;
    const planes = MODES.map((mode) => {
      const plane = entry.planes[mode];
      if (!plane) return -1;
      const at = rows.length;
      for (const row of plane) {
        const numbers = row.map(number);
        const key = numbers.join();
        let start = seen.get(key);
        if (start === undefined) seen.set(key, (start = cells.push(...numbers) - numbers.length));
        rows.push(start);
      }
      return at;
    });
    const last = contracts.at(-1);
    const { op, columns = 8 } = parseContractName(entry.contract);
    if (last?.name === entry.contract) contracts[contracts.length - 1] = { ...last, count: last.count + 1 };
    else contracts.push({ name: entry.contract, columns: op === 'decode' ? columns : 0, first: entries.length, count: 1 });
    entries.push({ table: tables.indexOf(entry.named), origin: ORIGINS.indexOf(entry.origin), choices: first, planes });
  }
  return { tables, contracts, entries, choices, rows, cells };
}
