// gen show: one kernel or contract: what it computes, its bytes, how to launch it.
import type { CommandModule } from 'yargs';
import { paramStruct, structLayout } from '../abi.ts';
import { parseArchs } from '../arch.ts';
import { isCacheContract, reject } from '../contract.ts';
import { renderKernel, sourcePath } from '../emit.ts';
import { nearest, UsageError } from '../errors.ts';
import { gridOfTile } from '../launch.ts';
import { layoutOf } from '../manifest.ts';
import { contractName, kernelName, parseContractName, parseKernelName, type Kernel } from '../name.ts';
import { sharedBytes } from '../shared.ts';
import { shippedKernels } from '../ship.ts';
import { defaultTile, misfit, threadsOf } from '../tile.ts';
import { readBuild } from '../../tuner/compile.ts';
import type { Global } from './commands.ts';
import { out, outJson } from './print.ts';
import { GENERATED } from './select.ts';

interface ShowOptions extends Global {
  name: string;
  arch: string;
  source: boolean;
}

/** The kernel of a kernel's name, or of a contract's name with the default tile. Throws UsageError with nearest names, or with the reasons why it is not offered. */
export function kernelOf(name: string, arch: string): Kernel {
  let kernel: Kernel;
  try {
    if (name.includes('__')) kernel = parseKernelName(name);
    else {
      const contract = parseContractName(name);
      kernel = { contract, arch: parseArchs(arch, () => [])[0]!, tile: defaultTile(contract.op) };
    }
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const known = shippedKernels().flatMap((k) => [contractName(k.contract), kernelName(k)]);
    const near = nearest(name, known);
    throw new UsageError((error as Error).message, near.length > 0 ? `did you mean ${near.join(' or ')}?` : '"gen list" names what is offered');
  }
  const why = reject(kernel.contract);
  if (why.length === 0) why.push(...misfit(kernel.contract, kernel.tile, kernel.arch));
  if (why.length > 0) throw new UsageError(`${name} is not offered:\n${why.map((reason) => `  ${reason}`).join('\n')}`, '"gen list" names what is');
  return kernel;
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
    tile,
    shipped: shippedKernels().some((k) => kernelName(k) === name),
    source: `generated/${sourcePath(kernel)}`,
    threads: threadsOf(tile),
    dynamicShared: sharedBytes(contract, tile),
    grid: gridOfTile(contract.op, tile),
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
      .strict() as never,
  handler: async ({ name, arch, source, json }) => {
    const kernel = kernelOf(name, arch);
    if (source) return out(renderKernel(kernel));
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
