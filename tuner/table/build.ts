// Builds tuning tables from the events of journals: a pure function of their set. All cleverness is here and below; who reads a table clamps and indexes.
import { ARCHS } from '../../generator/arch.ts';
import { parseKernelName } from '../../generator/name.ts';
import { misfitsOf } from '../../generator/table/check.ts';
import { offeredKernel } from '../../generator/table/entries.ts';
import { matchOf } from '../../generator/table/find.ts';
import { kernelInputs } from '../../generator/table/inputs.ts';
import type { ContractTable, Table } from '../../generator/table/schema.ts';
import { tablePath } from '../../generator/table/words.ts';
import { VERSIONS } from '../../generator/versions.ts';
import { setDigest } from '../journal/merge.ts';
import { stableDigest, stableText } from '../../generator/stable.ts';
import type { TuneEvent } from '../tune/events.ts';
import type { CurveStep } from './choose.ts';
import { buildContract, DEFAULT_AXES, usual, type BuildOptions } from './contract.ts';
import { decide, type Field } from './field.ts';
import { lossAt } from './leave-out.ts';
import { poolsOf, type Point, type Pool, type Setting } from './pool.ts';

export interface Built {
  /** Path below the generated folder. */
  readonly file: string;
  readonly table: Table;
  /** By contract: what each further kernel would bring. */
  readonly curves: Readonly<Record<string, readonly CurveStep[]>>;
  /** What a reader should know: contracts that were left out, and why. */
  readonly notes: readonly string[];
}

/** Regret on another board, where no second device tells: boards of one chip differ by clocks, others in more. */
const ELSEWHERE = { sibling: 50, arch: 150 } as const;

const ceilPermille = (share: number): number => Math.min(9999, Math.max(0, Math.ceil(1000 * share - 1e-9)));

/** What a table's choices lose on the devices of the other pools of the same architecture; the worst point counts. */
function elsewhereOf(pool: Pool, fields: ReadonlyMap<string, Field>, others: readonly Pool[]): Table['elsewhere'] {
  const worst: { sibling?: number; arch?: number } = {};
  for (const other of others) {
    const match = matchOf(pool.device, other.device);
    if (match === 'same') continue;
    for (const point of other.points) {
      const field = fields.get(point.problem.contract);
      const decision = field && decide(field, [point.problem.mode], point);
      if (decision) worst[match] = Math.max(worst[match] ?? 0, ceilPermille(lossAt(point, decision)));
    }
  }
  return { sibling: worst.sibling ?? ELSEWHERE.sibling, arch: Math.max(worst.arch ?? ELSEWHERE.arch, worst.sibling ?? 0) };
}

/** Points by contract; a measured contract replaces its modelled twin. Contracts whose kernels are no longer offered are left out with a note. */
function contractsOf(pools: readonly Pool[], notes: string[]): Map<string, { points: Point[]; modelled: boolean }> {
  const contracts = new Map<string, { points: Point[]; modelled: boolean }>();
  for (const { points, clock } of [...pools].sort((a, b) => Number(a.clock === 'model') - Number(b.clock === 'model'))) {
    for (const [name, own] of groupBy(points, ({ problem }) => problem.contract)) {
      if (contracts.has(name)) continue;
      const offered = own.flatMap((point) => {
        const arms = point.arms.filter(({ kernel }) => offeredKernel(kernel));
        return arms.some(({ kernel, launch }) => kernel === point.default.kernel && launch === point.default.launch) ? [{ ...point, arms }] : [];
      });
      if (offered.length === 0) notes.push(`${name}: its default is not offered any more`);
      else contracts.set(name, { points: offered, modelled: clock === 'model' });
    }
  }
  return contracts;
}

function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) groups.set(key(item), [...(groups.get(key(item)) ?? []), item]);
  return groups;
}

function buildTable(pools: readonly Pool[], all: readonly Pool[], tunedFor: string, journal: string, options: BuildOptions): Built | undefined {
  const notes: string[] = [];
  const pool = pools.find(({ clock }) => clock !== 'model') ?? pools[0]!;
  const { device, arch } = pool;
  const sources = contractsOf(pools, notes);
  if (sources.size === 0) return undefined;
  const setting = usual([...sources.values()].flatMap(({ points }) => points.map((point) => stableText(point.setting))));
  const contracts: Record<string, ContractTable> = {};
  const curves: Record<string, readonly CurveStep[]> = {};
  const fields = new Map<string, Field>();
  for (const [name, { points, modelled }] of [...sources].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const built = buildContract(points, setting, device, modelled, options);
    if (typeof built === 'string') notes.push(`${name}: ${built}`);
    else [contracts[name], curves[name]] = [built.contract, built.curve], fields.set(name, built.field);
  }
  const kernels = Object.values(contracts).flatMap((contract) => [contract.default, ...contract.points.flatMap(({ times }) => times.map(({ kernel }) => kernel))]);
  const environments = new Set(Object.values(contracts).flatMap(({ points }) => points.map(({ environment }) => environment)));
  const facts = (name: string): Table['kernels'][string] => {
    const compiled = pool.compiled.get(name);
    return compiled ? { ptx: compiled.ptx, inputs: compiled.inputs, registers: compiled.registers, spillBytes: compiled.spillBytes } : { ptx: '0'.repeat(64), inputs: kernelInputs(parseKernelName(name)), registers: null, spillBytes: null };
  };
  const table: Table = {
    schema: VERSIONS.table, abi: VERSIONS.abi, layout: VERSIONS.layout, arch, device, tunedFor, setting: JSON.parse(setting) as Setting,
    axes: options.axes ?? DEFAULT_AXES,
    environments: Object.fromEntries([...environments].sort().map((digest) => [digest, pool.environments.get(digest)!])),
    kernels: Object.fromEntries([...new Set(kernels)].sort().map((name) => [name, facts(name)])),
    contracts,
    elsewhere: elsewhereOf(pool, fields, all.filter((other) => other.arch === arch && other.clock !== 'model')),
    journals: [journal],
  };
  const faults = misfitsOf(table);
  if (faults.length > 0) throw new Error(`a table was built wrong: ${faults.slice(0, 3).join('; ')}`);
  return { file: tablePath(arch, device), table, curves, notes };
}

/** The tables of a set of events, one per device and architecture, by file. Of two devices with one name the later by identity has its digest in the file's name. */
export function buildTables(events: readonly TuneEvent[], options: BuildOptions = {}): Built[] {
  const pools = poolsOf(events, options).filter(({ arch }) => ARCHS.some(({ name }) => name === arch));
  const tunedFor = [...new Set(events.flatMap((event) => (event.event === 'header' ? [event.tunedFor] : [])))].sort().join('; ');
  const journal = setDigest(events);
  const identity = ({ arch, device: { name: _, memoryBytes: __, powerW: ___, ...rest } }: Pool): string => stableText([arch, rest]);
  const files = new Set<string>();
  return [...groupBy(pools, identity)].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([key, own]) => {
    const built = buildTable(own, pools, tunedFor, journal, options);
    if (!built) return [];
    const file = files.has(built.file) ? built.file.replace(/\.json$/, `-${stableDigest(key).slice(0, 4)}.json`) : built.file;
    files.add(file);
    return [{ ...built, file }];
  });
}
