// Work of warps by the pipes that it takes: what generator/counts.ts counts and generator/cost.ts makes times of. Pure.

/** Work of one warp. Wavefronts are of shared memory and L1 together (one data pipe); all but `bytes` and `wavefronts` are warp instructions. */
export interface Work {
  /** Bytes from memory. */
  readonly bytes: number;
  readonly wavefronts: number;
  /** Integer, logic, select, PRMT, conversions: 64 lanes. */
  readonly alu: number;
  /** dp4a and integer multiply-add: 64 lanes of the FMA pipe. */
  readonly dot: number;
  /** Two halves at once. */
  readonly half: number;
  readonly float: number;
  /** ex2, sin, cos. */
  readonly mufu: number;
  /** mma of m16n8k16 f16, of m16n8k32 bytes, or of m16n8k64 bytes of which half are zeros. */
  readonly matrix: number;
  /** Loads, stores, cp.async, ldmatrix, shuffles, movmatrix. */
  readonly memory: number;
  /** Branches, barriers, votes, uniform moves. */
  readonly control: number;
}

export const NONE: Work = { bytes: 0, wavefronts: 0, alu: 0, dot: 0, half: 0, float: 0, mufu: 0, matrix: 0, memory: 0, control: 0 };
/** Work that is nothing but `some`. */
export const work = (some: Partial<Work>): Work => ({ ...NONE, ...some });
const FIELDS = Object.keys(NONE) as (keyof Work)[];

/** `a` added up, each `times` as often. */
export const total = (parts: readonly (readonly [times: number, work: Work])[]): Work =>
  Object.fromEntries(FIELDS.map((field) => [field, parts.reduce((sum, [times, w]) => sum + times * w[field], 0)])) as unknown as Work;
