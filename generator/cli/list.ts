// gen list: the presets and contracts that are offered; with --why the reasons, and what is refused.
import type { CommandModule } from 'yargs';
import { effectiveBits, USUAL_TOKENS } from '../bits.ts';
import { AXES, AXES_OF, OPS, reject, type Axis, type Contract, type Op } from '../contract.ts';
import { contractName } from '../name.ts';
import { PRESETS } from '../presets.ts';
import { rejectRecipe } from '../recipe.ts';
import { shippedContracts } from '../ship.ts';
import type { Global } from './commands.ts';
import { out, outJson, table } from './print.ts';

interface ListOptions extends Global {
  why: boolean;
}

interface Row {
  readonly kind: 'preset' | 'contract';
  readonly name: string;
  readonly offered: boolean;
  readonly shipped: boolean;
  /** Why it ships, or why it is not offered. */
  readonly why: readonly string[];
}

/** Every contract of `op` that is offered. Axes are fixed one by one, and a value that nothing can mend is dropped at once: the product is large. */
export function offeredContracts(op: Op): Contract[] {
  let contracts: Contract[] = [{ op }];
  for (const axis of AXES_OF[op]) {
    const values = (AXES[axis] as readonly Contract[Axis][]).filter((value) => !refusedAlone(op, axis, value));
    contracts = contracts.flatMap((contract) => values.map((value) => ({ ...contract, [axis]: value }) as Contract));
  }
  return contracts.filter((contract) => reject(contract).length === 0);
}

/** True if no contract of a committed kind becomes good with this value: "not built yet" on the axis itself. */
function refusedAlone(op: Op, axis: Axis, value: Contract[Axis]): boolean {
  const bases = [...shippedContracts().values()].map(({ contract }) => contract).filter((contract) => contract.op === op);
  return bases.length === 0 || bases.every((base) => reject({ ...base, [axis]: value }).some((why) => why.includes('not built yet') && why.includes(String(value))));
}

/** For each committed contract, each other value of each axis that is refused: what `--why` answers. */
function refusedNeighbours(): Row[] {
  const rows = new Map<string, Row>();
  for (const { contract } of shippedContracts().values()) {
    for (const axis of AXES_OF[contract.op]) {
      for (const value of AXES[axis] as readonly Contract[Axis][]) {
        const neighbour = { ...contract, [axis]: value } as Contract;
        const why = reject(neighbour);
        const name = contractName(neighbour);
        if (why.length > 0) rows.set(name, { kind: 'contract', name, offered: false, shipped: false, why });
      }
    }
  }
  return [...rows.values()];
}

function rowsOf(why: boolean): Row[] {
  const shipped = shippedContracts();
  const presets = [...PRESETS].map(([name, recipe]): Row => {
    const reasons = rejectRecipe(recipe);
    return { kind: 'preset', name, offered: reasons.length === 0, shipped: reasons.length === 0, why: reasons.length > 0 ? reasons : [recipe.doc] };
  });
  const offered = OPS.flatMap(offeredContracts).map((contract): Row => {
    const name = contractName(contract);
    const row = shipped.get(name);
    return { kind: 'contract', name, offered: true, shipped: row !== undefined, why: row?.why ?? [] };
  });
  return [...presets, ...offered, ...(why ? refusedNeighbours() : [])];
}

export const list: CommandModule<object, ListOptions> = {
  command: 'list',
  describe: 'presets and contracts that are offered',
  builder: (y) => y.option('why', { type: 'boolean', default: false, describe: 'reasons, and what is refused' }).strict() as never,
  handler: ({ why, json }) => {
    const rows = rowsOf(why);
    if (json) return rows.forEach(outJson);
    const presets = [...PRESETS].map(([name, r]) => [name, `${r.k} / ${r.v}`, r.key, r.gain, r.window, effectiveBits(r, 128, USUAL_TOKENS).toFixed(3), rejectRecipe(r).length === 0 ? 'offered' : 'not built yet']);
    out(table([['preset', 'K / V', 'key', 'gain', 'window', 'bits', ''], ...presets]));
    out('');
    for (const { name, offered, shipped, why: reasons } of rows.filter(({ kind }) => kind === 'contract')) {
      out(`${shipped ? 'shipped  ' : offered ? 'offered  ' : 'refused  '}${name}${why && reasons.length > 0 ? `\n           ${reasons.join('\n           ')}` : ''}`);
    }
    if (why) for (const { name, why: reasons } of rows.filter(({ kind, offered }) => kind === 'preset' && !offered)) out(`refused  ${name}\n           ${reasons.join('\n           ')}`);
  },
};
