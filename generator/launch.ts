// Launch geometry of every op: what a runtime puts into grid x, y, z. Printed into manifest and header.
import type { Contract, Op } from './contract.ts';

/** Grid of each op as C expressions of its parameter struct's fields, of the contract's `columns`, and of the kernel's `tokens` and `warps`. Threads are 32 * warps, always. */
export const GRID: Readonly<Partial<Record<Op, readonly [x: string, y: string, z: string]>>> = {
  encode: ['ceil(max_tokens / tokens) + max_anchor_pages', 'kv_heads', 'batch'],
  append: ['kv_heads', 'batch', '1'],
  decode: ['splits', 'kv_heads * ceil(max_q_len * (q_heads / kv_heads) / columns)', 'spread ? 1 : batch'],
  combine: ['rows', 'ceil(q_heads / warps)', '1'],
  score: ['ceil(max_tokens / tokens)', 'kv_heads', 'batch'],
  select: ['kv_heads', 'batch', '1'],
  unpack: ['ceil(max_tokens / tokens) + max_anchor_pages', 'kv_heads', 'batch'],
  kmeans: ['splits', 'chunks', 'heads'],
};

/** What a problem may be at most: every op's launch, antkv_shape and the look-up of tables keep to it. `grid`: sides y and z of a grid, and so sequences, KV heads and splits. */
export const BOUNDS = { grid: 65_535, ratio: 16, qLen: 16, tokens: 2 ** 30 } as const;

/** The grid of `op`. Throws for ops that are not built. */
export function gridOf(op: Op): readonly [x: string, y: string, z: string] {
  const grid = GRID[op];
  if (!grid) throw new Error(`op ${op} has no launch geometry yet`);
  return grid;
}

/** The grid with the numbers of contract and tile filled in. */
export function gridOfTile({ op, columns }: Contract, tile: { readonly warps: number; readonly tokens?: number | undefined }): string[] {
  const numbers: Readonly<Record<string, number | undefined>> = { columns, tokens: tile.tokens, warps: tile.warps };
  return gridOf(op).map((part) => part.replace(/\b(columns|tokens|warps)\b/g, (name) => {
    const value = numbers[name];
    if (value === undefined) throw new Error(`the grid of ${op} needs ${name}, which this kernel does not have`);
    return String(value);
  }));
}
