// What a schema cannot say of a tuning table: its parts fit each other, so that a look-up can index without asking. Pure.
import type { Plane, Table } from './schema.ts';
import { parseCell } from './words.ts';

function planeFaults(plane: Plane, where: string, { axes, kernels }: Table): string[] {
  const faults: string[] = [];
  if (plane.cells.length !== axes.streams.count) faults.push(`${where}: ${plane.cells.length} rows of cells, the axis has ${axes.streams.count} steps of streams`);
  const used = new Set<string>();
  for (const [i, row] of plane.cells.entries()) {
    const words = row.split(' ');
    if (words.length !== axes.tokens.count) faults.push(`${where}: row ${i} has ${words.length} cells, the axis has ${axes.tokens.count} steps of tokens`);
    for (const word of words) {
      const cell = parseCell(word);
      if (!cell) faults.push(`${where}: row ${i}: "${word}" is no cell`);
      else if (!plane.choices[cell.key]) faults.push(`${where}: row ${i}: "${word}" names no choice`);
      else used.add(cell.key);
    }
  }
  for (const [key, { kernel }] of Object.entries(plane.choices)) {
    if (!used.has(key)) faults.push(`${where}: no cell names choice ${key}`);
    if (!kernels[kernel]) faults.push(`${where}: choice ${key}: ${kernel} is not among the kernels of the table`);
  }
  return faults;
}

/** Everything that is wrong with how the parts of a table fit; empty if a look-up can rely on it. */
export function misfitsOf(table: Table): string[] {
  const { kernels, contracts, environments } = table;
  return Object.entries(contracts).flatMap(([name, contract]) => {
    const faults = Object.entries(contract.modes).flatMap(([mode, plane]) => planeFaults(plane, `${name} ${mode}`, table));
    if (!kernels[contract.default]) faults.push(`${name}: the default ${contract.default} is not among the kernels of the table`);
    for (const { environment, times } of contract.points) {
      if (!environments[environment]) faults.push(`${name}: a point's environment ${environment} is not there`);
      for (const { kernel } of times) if (!kernels[kernel]) faults.push(`${name}: a point's kernel ${kernel} is not among the kernels of the table`);
    }
    // Another contract's kernel would answer another question.
    for (const plane of Object.values(contract.modes)) for (const { kernel } of Object.values(plane.choices)) if (!kernel.startsWith(`${name}__${table.arch}_`)) faults.push(`${name}: ${kernel} is no kernel of it for ${table.arch}`);
    return faults;
  });
}
