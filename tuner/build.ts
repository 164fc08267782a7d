// generated/build.json: what is known of the fatbins beside it. Git-ignored, because it depends on the compiler.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeWhole } from '../generator/write.ts';
import type { Resources } from './nvcc.ts';

/** What nvcc made of one kernel; part of generated/build.json. */
export interface Built extends Resources {
  readonly nvcc: string;
  /** Digest of the source and the headers that it includes. */
  readonly inputs: string;
  readonly bytes: number;
  /** Of the fatbin. */
  readonly sha256: string;
}

/** The outcome of one compile: one of `built` and `failure`. */
export interface Compiled {
  readonly name: string;
  readonly built?: Built;
  readonly failure?: { readonly why: string; readonly source: string; readonly command: string };
}

/** generated/build.json: what is known of the fatbins beside it. */
export type BuildFile = { readonly kernels: Readonly<Record<string, Built>> };

/** Reads build.json; one that is missing or broken knows nothing. */
export async function readBuild(out: string): Promise<BuildFile> {
  try {
    const read = JSON.parse(await readFile(join(out, 'build.json'), 'utf8')) as BuildFile;
    return typeof read.kernels === 'object' && read.kernels !== null ? read : { kernels: {} };
  } catch {
    return { kernels: {} };
  }
}

/** Enters what was compiled into build.json; rows of kernels that are in neither `known` nor `compiled` go. */
export async function writeBuild(out: string, compiled: readonly Compiled[], known: readonly string[]): Promise<void> {
  const rows = new Map(Object.entries((await readBuild(out)).kernels).filter(([name]) => known.includes(name)));
  for (const { name, built } of compiled) {
    if (built) rows.set(name, built);
    else rows.delete(name);
  }
  writeWhole(join(out, 'build.json'), `${JSON.stringify({ kernels: Object.fromEntries([...rows].sort(([a], [b]) => (a < b ? -1 : 1))) }, null, 2)}\n`);
}
