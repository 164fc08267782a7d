// gen show: one kernel or contract: what it computes, its bytes, how to launch it.
import type { CommandModule } from 'yargs';
import { paramStruct, structLayout } from '../abi.ts';
import { isCacheContract } from '../contract.ts';
import { UsageError } from '../errors.ts';
import { gridOfTile } from '../launch.ts';
import { layoutOf } from '../manifest.ts';
import { contractName, kernelName, sourcePath, type Kernel } from '../name.ts';
import { sharedBytes } from '../shared.ts';
import { shippedKernels } from '../ship.ts';
import { renderKernel } from '../source.ts';
import { algorithmOf, ALGORITHMS, threadsOf } from '../tile.ts';
import { readBuild } from '../../tuner/build.ts';
import type { Global } from './commands.ts';
import { archsOf, kernelOf } from './names.ts';
import { out, outJson } from './print.ts';
import { GENERATED } from './select.ts';
import { costFacts, parseShapes, printCost } from './show-cost.ts';

interface ShowOptions extends Global {
  name: string;
  arch: string;
  source: boolean;
  cost: boolean;
  shape?: string[] | undefined;
}

async function describe(kernel: Kernel) {
  const { contract, arch, tile } = kernel;
  const name = kernelName(kernel);
  const struct = paramStruct(contract.op);
  const { offsets, bytes } = structLayout(struct);
  const built = (await readBuild(GENERATED)).kernels[name];
  return {
    kernel: name,
    contract: { name: contractName(contract), ...contract },
    arch: arch.name,
    ...(ALGORITHMS[contract.op] ? { algorithm: algorithmOf(tile) } : {}),
    tile,
    shipped: shippedKernels().some((k) => kernelName(k) === name),
    source: `generated/${sourcePath(kernel)}`,
    threads: threadsOf(tile),
    dynamicShared: sharedBytes(contract, tile),
    grid: gridOfTile(contract, tile),
    ...(isCacheContract(contract) ? { layout: layoutOf(contract) } : {}),
    params: { struct: struct.name, bytes, fields: struct.fields.map(({ name: field, type }, i) => ({ name: field, type, offset: offsets[i]! })) },
    build: built ?? null,
  };
}

const words = (record: object): string =>
  Object.entries(record).map(([key, value]) => `${key} ${typeof value === 'object' ? `{${words(value as object)}}` : String(value)}`).join(', ');

export const show: CommandModule<object, ShowOptions> = {
  command: 'show <name>',
  describe: 'one kernel or contract: configuration, bytes, shared memory, grid, parameters',
  builder: (y) =>
    y
      .positional('name', { type: 'string', demandOption: true, describe: 'kernel or contract' })
      .option('arch', { type: 'string', default: 'sm80', requiresArg: true, describe: "architecture, for a contract's name" })
      .option('source', { type: 'boolean', default: false, describe: 'print its source instead' })
      .option('cost', { type: 'boolean', default: false, describe: 'print where its time goes instead: an analytic model of decode' })
      .option('shape', { type: 'string', array: true, nargs: 1, requiresArg: true, describe: 'BATCHxTOKENS for --cost, 16x32K (default: those that decode is judged by)' })
      .strict() as never,
  handler: async ({ name, arch, source, cost, shape, json }) => {
    const archs = await archsOf(arch);
    if (archs.length > 1) throw new UsageError(`gen show shows a kernel of one architecture, --arch ${arch} names ${archs.length}`, `name one: ${archs.map((one) => one.name).join(' or ')}`);
    const kernel = kernelOf(name, archs[0]!.name);
    if (source && cost) throw new UsageError('--source and --cost contradict each other', 'leave one out');
    if (shape && !cost) throw new UsageError('--shape goes with --cost', 'add --cost, or leave --shape out');
    if (source) return json ? outJson({ kernel: kernelName(kernel), source: renderKernel(kernel) }) : out(renderKernel(kernel));
    if (cost) {
      const costs = costFacts(kernel, parseShapes(shape ?? []));
      return json ? outJson(costs) : out(printCost(costs));
    }
    const facts = await describe(kernel);
    if (json) return outJson(facts);
    const { params, layout, build } = facts;
    const lines: [string, string][] = [
      ['kernel', `${facts.kernel}${facts.shipped ? '' : '  (written on demand: gen --out DIR)'}`],
      ['contract', words(facts.contract)],
      ['tile', `${facts.arch}, ${words(facts.tile)}`],
      ['launch', `grid (${facts.grid.join(', ')}), ${facts.threads} threads, ${facts.dynamicShared} B of dynamic shared memory`],
      ...(layout ? ([['layout', `unit ${layout.unit.bytes} B of 16 tokens (${words(layout.unit)})`], ['pages', `${words(layout.pageBytes)} B`], ['anchors', `${layout.anchorPageBytes} B a page, ring row ${layout.ringRowBytes} B`], ['codebook', `${words(layout.codebookBytes)} B per KV head`]] as [string, string][]) : []),
      ['build', build ? `${build.registers} registers, ${build.spillStores + build.spillLoads} B of spills, fatbin ${build.bytes} B, nvcc ${build.nvcc}` : 'not compiled here ("gen" compiles if nvcc is there)'],
      ['params', `${params.struct}, ${params.bytes} B`],
      ...params.fields.map((field): [string, string] => ['', `${String(field.offset).padStart(5)}  ${field.type}  ${field.name}`]),
    ];
    out(lines.map(([key, value]) => `${key.padEnd(9)}${value}`).join('\n'));
  },
};
