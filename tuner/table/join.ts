// Joins tables of one device and architecture, contract by contract: measured before copied before modelled, new before old. Pure.
import { ORIGINS, type ContractTable, type Table } from '../../generator/table/schema.ts';
import { IDENTITY_KEYS } from '../../generator/table/find.ts';
import { stableText } from '../../generator/stable.ts';

export interface Joined {
  readonly table: Table;
  /** What of the old table could not be kept, and why. */
  readonly notes: readonly string[];
}

/** True if both are of one device and of one architecture's kernels. */
export const areTwins = (a: Table, b: Table): boolean => a.arch === b.arch && IDENTITY_KEYS.every((key) => a.device[key] === b.device[key]);

/** Of two tables what their contracts need and no more. */
function needed(table: Omit<Table, 'kernels' | 'environments'>, kernels: Table['kernels'], environments: Table['environments']): Table {
  const contracts = Object.values(table.contracts);
  const names = contracts.flatMap(({ default: first, modes, points }) => [
    first, ...Object.values(modes).flatMap(({ choices }) => Object.values(choices).map(({ kernel }) => kernel)), ...points.flatMap(({ times }) => times.map(({ kernel }) => kernel)),
  ]);
  const used = contracts.flatMap(({ points }) => points.map(({ environment }) => environment));
  const pick = <T>(all: Readonly<Record<string, T>>, keys: readonly string[]): Record<string, T> => Object.fromEntries([...new Set(keys)].sort().map((key) => [key, all[key]!]));
  return { ...table, kernels: pick(kernels, names), environments: pick(environments, used) };
}

/** `fresh` with those contracts of `old` that it lacks, or knows less well. Tables that differ in axes or setting cannot share a file: the fresh one stands alone. */
export function joinTables(fresh: Table, old: Table): Joined {
  const unlike = (['axes', 'setting', 'abi', 'layout'] as const).filter((key) => stableText(fresh[key]) !== stableText(old[key]));
  const better = (name: string): boolean => !fresh.contracts[name] || ORIGINS.indexOf(old.contracts[name]!.origin) < ORIGINS.indexOf(fresh.contracts[name]!.origin);
  // A kernel has one code in a table: an old contract whose kernels were since measured with other code is kept only where that code is not asked for twice.
  const clashes = (contract: ContractTable): boolean =>
    [contract.default, ...contract.points.flatMap(({ times }) => times.map(({ kernel }) => kernel))].some((kernel) => fresh.kernels[kernel] && fresh.kernels[kernel].ptx !== old.kernels[kernel]!.ptx);
  const wanted = Object.keys(old.contracts).filter(better);
  const kept = unlike.length > 0 ? [] : wanted.filter((name) => !clashes(old.contracts[name]!));
  const dropped = wanted.filter((name) => !kept.includes(name));
  const why = unlike.length > 0 ? `the old table has other ${unlike.join(' and ')}` : 'its kernels were measured again with other code';
  const contracts = { ...fresh.contracts, ...Object.fromEntries(kept.map((name) => [name, old.contracts[name]!])) };
  const words = [...new Set([...fresh.tunedFor.split('; '), ...(kept.length > 0 ? old.tunedFor.split('; ') : [])])].filter((word) => word !== '').sort();
  const table = needed(
    { ...fresh, contracts, tunedFor: words.join('; '), journals: [...new Set([...fresh.journals, ...(kept.length > 0 ? old.journals : [])])].sort() },
    { ...old.kernels, ...fresh.kernels },
    { ...old.environments, ...fresh.environments },
  );
  return { table, notes: dropped.map((name) => `${name} of the old table is dropped: ${why}`) };
}
