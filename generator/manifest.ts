// The manifest: all that a runtime needs to choose, load and launch a kernel, as data. Pure: nothing in it depends on a compiler or a machine.
import stringify from 'safe-stable-stringify';
import { z } from 'zod';
import { PARAM_STRUCTS, structLayout } from './abi.ts';
import { needsOf } from './bindings/kernels.ts';
import packageJson from '../package.json' with { type: 'json' };
import { footprint, USUAL_TOKENS } from './bits.ts';
import { codecOf } from './codec.ts';
import { isCacheContract, isCoded, type CacheContract, type Contract } from './contract.ts';
import { gridOf } from './launch.ts';
import { anchorPageBytes, codebookLayout, codeOrder, PAGE_SIZES, pageBytes, unitLayout } from './layout.ts';
import { contractName, kernelName, type Kernel } from './name.ts';
import { PRESETS } from './presets.ts';
import { contractsOf, dtypeOf, recipeHash, rejectRecipe } from './recipe.ts';
import { sharedBytes } from './shared.ts';
import { stampedInputs } from './stamp.ts';
import { algorithmOf, ALGORITHMS, threadsOf, usesOwnInstructions } from './tile.ts';
import { VERSIONS } from './versions.ts';

const bytes = z.int().min(0).describe('bytes');
const byName = <T extends z.ZodType>(value: T) => z.record(z.string(), value);

const Order = z.object({ byLane: z.boolean(), chunks: z.int(), piece: bytes, turnHigh: z.int(), turnShift: z.int(), turnMask: z.int(), rowSpan: z.int() });
const Layout = z.object({
  pageFormat: z.string().describe('Contracts with the same page format read each other\'s pages'),
  unitTokens: z.literal(16),
  unit: z
    .object({ kRow: bytes, vRow: bytes, v: bytes, kGain: bytes, vGain: bytes, bytes })
    .describe('Offsets inside a unit of 16 tokens; kRow and vRow are bytes of one token: its exact row, or all its codes, which lie as `order` says; the gain of token n has index 2 * (n % 8) + n / 8'),
  order: z.object({ k: Order.optional(), v: Order.optional() }).describe('How the codes of each coded side of a unit are ordered: codeOffset in generator/layout.ts, antkv_code_offset in antkv_format.h'),
  pageBytes: byName(bytes).describe('Bytes of a coded page of one KV head, by page size'),
  anchorPageBytes: bytes.describe('Bytes of an anchor page (16 rows) of one KV head; 0 for exact recipes'),
  ringRowBytes: bytes.describe('Bytes of one ring row of one KV head, K and V; 0 for exact recipes'),
  codebookBytes: z.object({ k: bytes, v: bytes }).describe('Packed codebook of one KV head'),
});

const Grid = z.tuple([z.string(), z.string(), z.string()]).describe('x, y, z in fields of the params struct and of the tile');

export const Manifest = z.object({
  schema: z.int().describe('Rises only when a reader of this file would break'),
  abi: z.int().describe('ANTKV_ABI_VERSION'),
  layout: z.int().describe('ANTKV_LAYOUT_VERSION: pages, anchor pages, ring, packed codebooks'),
  generator: z.object({ version: z.string() }),
  header: z.string(),
  params: byName(
    z.object({
      op: z.string(),
      bytes,
      fields: z.array(z.object({ name: z.string(), type: z.enum(['u32', 'i32', 'i64', 'f32', 'ptr']), offset: bytes, doc: z.string() })),
    }),
  ),
  contracts: byName(
    z.object({
      op: z.string(),
      axes: byName(z.union([z.string(), z.number(), z.boolean()])),
      params: z.string().describe('Key of `params`'),
      grid: Grid,
      needs: z.array(z.string()).describe('What it asks of its callers, as words of antkv_kernels.h (ANTKV_NEEDS_...) and antkv_params.py: pointers that serve one of them must not be null'),
      layout: Layout.optional(),
    }),
  ),
  kernels: byName(
    z.object({
      contract: z.string(),
      arch: z.string(),
      source: z.string().describe('Relative to this file'),
      fatbin: z.string().describe('Relative to this file; made by `gen` where nvcc is there'),
      symbol: z.string(),
      algorithm: z.enum(['rows', 'lookup', 'tally', 'group']).optional().describe('What the tile divides, where an op has several'),
      own: z.literal(true).optional().describe('For its architecture alone, by instructions that nothing newer has: devices of newer ones take the kernel of an older one'),
      tile: byName(z.int()),
      threads: z.int(),
      dynamicShared: bytes.describe('Dynamic shared memory; beyond 48 KB it must be requested'),
      inputs: z.string().describe('Digest of template, inlined files and view'),
    }),
  ),
  defaults: byName(byName(z.string())).describe('arch -> contract -> kernel to use when no table says better'),
  recipes: byName(
    z.object({
      hash: z.string(),
      recipe: z.unknown(),
      contracts: byName(z.array(z.string())).describe('By head dim'),
      effectiveBits: byName(z.number()).describe(`By head dim, at ${USUAL_TOKENS} tokens`),
    }),
  ).describe('Built presets, with the contracts of them that are here'),
});
export type Manifest = z.infer<typeof Manifest>;

/** JSON Schema of generated/manifest.json, draft 2020-12. */
export const manifestSchema = (): unknown => ({ title: 'antkv manifest', ...z.toJSONSchema(Manifest) });

/** JSON with sorted keys, two-space indent and a newline at the end: small diffs. */
export const printJson = (value: unknown): string => `${stringify(value, null, 2)}\n`;

/** The page format of a contract: what its coded pages depend on (CACHE.md, "Coded page"). */
export const pageFormat = (c: CacheContract): string => `d${c.headDim}_k${c.k}_v${c.v}${c.key === 'pre' ? '_pre' : ''}${c.gain === 'none' ? '' : `_gain${c.gain}`}`;

/** The bytes of a contract's cache. */
export const layoutOf = (c: CacheContract): z.infer<typeof Layout> => ({
  pageFormat: pageFormat(c),
  unitTokens: 16,
  unit: { ...unitLayout(c) },
  order: Object.fromEntries((['k', 'v'] as const).filter((side) => codecOf(c[side]).kind === 'vq').map((side) => [side, codeOrder(side, c)])),
  pageBytes: Object.fromEntries(PAGE_SIZES.map((size) => [String(size), pageBytes(c, size)])),
  anchorPageBytes: isCoded(c) ? anchorPageBytes(c.headDim) : 0,
  ringRowBytes: isCoded(c) ? c.headDim * 4 : 0,
  codebookBytes: { k: codebookLayout(codecOf(c.k), c.headDim).bytes, v: codebookLayout(codecOf(c.v), c.headDim).bytes },
});

function contractRow(c: Contract): Manifest['contracts'][string] {
  const { op, ...axes } = c;
  const row = { op, axes, params: `antkv_${op}_params`, grid: [...gridOf(op)] as [string, string, string], needs: needsOf(c) };
  return isCacheContract(c) ? { ...row, layout: layoutOf(c) } : row;
}

function recipeRows(contracts: ReadonlySet<string>): Manifest['recipes'] {
  const rows: Manifest['recipes'] = {};
  for (const [name, recipe] of PRESETS) {
    const offered: [string, string[], number][] = [64, 96, 128, 256]
      .filter((d) => rejectRecipe(recipe, d, dtypeOf(recipe)).length === 0)
      .map((d): [string, string[], number] => [String(d), contractsOf(recipe, d).map(contractName), footprint(recipe, d, USUAL_TOKENS).bits])
      .filter(([, names]) => names.every((contract) => contracts.has(contract)));
    if (offered.length === 0) continue;
    const { doc: _, ...members } = recipe;
    rows[name] = {
      hash: recipeHash(recipe),
      recipe: members,
      contracts: Object.fromEntries(offered.map(([d, names]) => [d, names])),
      effectiveBits: Object.fromEntries(offered.map(([d, , bits]) => [d, Math.round(bits * 1e4) / 1e4])),
    };
  }
  return rows;
}

/** The manifest of rendered kernels. */
export function buildManifest(sources: readonly { readonly kernel: Kernel; readonly text: string }[]): Manifest {
  const contracts = new Map(sources.map(({ kernel: { contract } }) => [contractName(contract), contract]));
  const defaults: Record<string, Record<string, string>> = {};
  for (const { kernel } of sources) (defaults[kernel.arch.name] ??= {})[contractName(kernel.contract)] ??= kernelName(kernel);
  return {
    schema: VERSIONS.manifest,
    abi: VERSIONS.abi,
    layout: VERSIONS.layout,
    generator: { version: packageJson.version },
    header: 'antkv.h',
    params: Object.fromEntries(
      PARAM_STRUCTS.map((s) => {
        const { offsets, bytes: size } = structLayout(s);
        return [s.name, { op: s.op, bytes: size, fields: s.fields.map(({ name, type, doc }, i) => ({ name, type, offset: offsets[i]!, doc })) }];
      }),
    ),
    contracts: Object.fromEntries([...contracts].map(([name, contract]) => [name, contractRow(contract)])),
    kernels: Object.fromEntries(
      sources.map(({ kernel, text }) => {
        const name = kernelName(kernel);
        const base = `${kernel.arch.name}/${name}`;
        const { algorithm: _, ...numbers } = kernel.tile;
        return [
          name,
          {
            contract: contractName(kernel.contract),
            arch: kernel.arch.name,
            source: `${base}.cu`,
            fatbin: `${base}.fatbin`,
            symbol: name,
            ...(ALGORITHMS[kernel.contract.op] ? { algorithm: algorithmOf(kernel.tile) } : {}),
            ...(usesOwnInstructions(kernel.tile) ? { own: true as const } : {}),
            tile: { ...numbers } as Record<string, number>,
            threads: threadsOf(kernel.tile),
            dynamicShared: sharedBytes(kernel.contract, kernel.tile),
            inputs: stampedInputs(text) ?? '',
          },
        ];
      }),
    ),
    defaults,
    recipes: recipeRows(new Set(contracts.keys())),
  };
}
