// The support matrix (SUPPORT.md): for every value of every axis, how far each architecture's kernels were tried. Pure; `gen support` writes it.
import { z } from 'zod';
import { ARCHS } from './arch.ts';
import { AXES, AXES_OF, OPS, reject, type Axis, type Contract, type Op } from './contract.ts';
import { parseContractName } from './name.ts';
import seen from './support.json' with { type: 'json' };
import type { NamedTable } from './table/read.ts';

/** What was seen of an architecture's kernels: by what (`emulated`, `nvcc 13.0.88`, or a GPU's name), and of each axis value how many contracts. Made by `gen support --records`. */
export const supportSchema = z.record(z.string(), z.record(z.string(), z.record(z.string(), z.int().min(1))));
export type Support = Readonly<z.infer<typeof supportSchema>>;

/** What was seen so far. */
export const SEEN: Support = supportSchema.parse(seen);

/** How far something was tried, best first. */
const STATES = ['measured', 'checked', 'emulated', 'compiled', 'untested'] as const;
type State = (typeof STATES)[number];

/** Architectures of the matrix: those that kernels are committed for, and those whose limits differ. */
const COLUMNS = ['sm80', 'sm86', 'sm89', 'sm90', 'sm100', 'sm120'] as const;

/** `op=decode`, `headDim=96`, … of a contract: what a row of the matrix stands for. */
export const valuesOf = (c: Contract): string[] => [`op=${c.op}`, ...AXES_OF[c.op].map((axis) => `${axis}=${String(c[axis])}`)];

/** Counts of the values of `contracts`. */
export function countValues(contracts: readonly string[]): Record<string, number> {
  const counts = new Map<string, number>();
  for (const name of new Set(contracts)) for (const value of valuesOf(parseContractName(name))) counts.set(value, (counts.get(value) ?? 0) + 1);
  return Object.fromEntries([...counts].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** The values that a contract offers somewhere: all others of an axis have no row of their own. */
function offeredValues(): string[] {
  const met = new Set<string>();
  const bases: Record<string, unknown>[] = [];
  for (const dtype of AXES.dtype) for (const key of AXES.key) for (const gain of AXES.gain) bases.push({ headDim: 128, k: '8c8b', v: '8c8bq8', dtype, key, gain, columns: 8, form: 'column', softcap: false, sink: false, numerics: 'exact' });
  for (const op of OPS as readonly Op[]) {
    for (const base of bases) {
      for (const axis of AXES_OF[op]) {
        for (const value of AXES[axis] as readonly Contract[Axis][]) {
          const c = { op, ...Object.fromEntries(AXES_OF[op].map((name) => [name, base[name]])), [axis]: value } as Contract;
          if (reject(c).length === 0) valuesOf(c).forEach((one) => met.add(one));
        }
      }
      if (AXES_OF[op].length === 0 && reject({ op }).length === 0) met.add(`op=${op}`);
    }
  }
  return [...met];
}

function stateOf(value: string, arch: string, support: Support, measured: ReadonlySet<string>): State {
  if (measured.has(`${arch} ${value}`)) return 'measured';
  const by = Object.entries(support[arch] ?? {}).filter(([, counts]) => value in counts).map(([what]) => (what === 'emulated' ? 'emulated' : what.startsWith('nvcc ') ? 'compiled' : 'checked'));
  return STATES.find((state) => by.includes(state as never)) ?? 'untested';
}

const ROWS: readonly (readonly [title: string, axis: Axis | 'op'])[] = [
  ['op', 'op'], ['head dim', 'headDim'], ['K', 'k'], ['V', 'v'], ['dtype', 'dtype'], ['keys', 'key'], ['gain', 'gain'], ['query columns', 'columns'], ['softcap', 'softcap'], ['sink logits', 'sink'], ['score form', 'form'],
];

/** The matrix in Markdown. Values that nothing offers are listed behind it. */
export function supportMatrix(tables: readonly NamedTable[], support: Support = SEEN): string {
  const measured = new Set(
    tables.flatMap(({ table }) => Object.entries(table.contracts).filter(([, { origin }]) => origin === 'measured').flatMap(([name]) => valuesOf(parseContractName(name)).map((value) => `${table.arch} ${value}`))),
  );
  const offered = new Set(offeredValues());
  const lines = [`| | ${COLUMNS.join(' | ')} |`, `|---|${COLUMNS.map(() => '---').join('|')}|`];
  const missing: string[] = [];
  for (const [title, axis] of ROWS) {
    const values = (axis === 'op' ? OPS : AXES[axis]).map(String).filter((value) => value !== 'false');
    missing.push(...values.filter((value) => !offered.has(`${axis}=${value}`)).map((value) => `${title} \`${value}\``));
    // Neighbours that stand alike are one row.
    let before = '';
    for (const value of values.filter((one) => offered.has(`${axis}=${one}`))) {
      const states = COLUMNS.map((arch) => stateOf(`${axis}=${value}`, arch, support, measured)).join(' | ');
      const word = value === 'true' ? '' : ` \`${value}\``;
      if (states === before) lines[lines.length - 1] = lines.at(-1)!.replace(/ \|/, `${word} |`);
      else lines.push(`| ${title}${word} | ${states} |`);
      before = states;
    }
  }
  const by = COLUMNS.map((arch) => [arch, Object.keys(support[arch] ?? {})] as const).filter(([, what]) => what.length > 0).map(([arch, what]) => `${arch}: ${what.join(', ')}`);
  return `${lines.join('\n')}\n\nSeen by ${by.join('; ') || 'nothing yet'}. \`measured\`: raced on a GPU, a committed table has it; \`checked\`: on a GPU against the reference; \`emulated\`: on the emulated driver against the reference; \`compiled\`: by nvcc, never run; \`untested\`: the source is generated, and no more. A value stands at the best that a contract with it got${missing.length > 0 ? `. Named, and not offered: ${missing.join(', ')}` : ''}.\n`;
}

/** The lines between which SUPPORT.md holds the matrix. */
export const MARKERS = ['<!-- support matrix: gen support writes it -->', '<!-- end of the support matrix -->'] as const;

/** `page` with the matrix of today. Throws if the markers are missing. */
export function withMatrix(page: string, matrix: string): string {
  const [begin, end] = MARKERS.map((marker) => page.indexOf(marker)) as [number, number];
  if (begin < 0 || end < begin) throw new Error(`SUPPORT.md lacks the lines ${MARKERS.join(' and ')}`);
  return `${page.slice(0, begin + MARKERS[0].length)}\n\n${matrix}\n${page.slice(end)}`;
}

// Only architectures that exist: a typing mistake in COLUMNS would be an empty column.
for (const column of COLUMNS) if (!ARCHS.some(({ name }) => name === column)) throw new Error(`no architecture ${column}`);
