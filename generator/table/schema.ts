// The tuning table of one device and one architecture's kernels: what it holds, as a schema. Everything clever was done when it was built; a look-up only indexes. Pure.
import { z } from 'zod';
import { VERSIONS } from '../versions.ts';
import { axisSchema } from './steps.ts';

/**
 * How far an answer can be trusted, best first; of several reasons the last one here is told. `measured`: the cell is a measured point. `interpolated`: between or beside
 * such. `stale`: the kernel's code has changed since. `sibling`: measured on another board of the same capability and number of SMs. `arch`: on any other device that
 * runs the same code. `modelled`: computed, never measured. `default`: no table; the default tile and the rule for splits.
 */
export const QUALITIES = ['measured', 'interpolated', 'stale', 'sibling', 'arch', 'modelled', 'default'] as const;
export type Quality = (typeof QUALITIES)[number];

/** The letters of qualities in cells; only these can be decided when a table is built. */
export const CELL_LETTERS = { M: 'measured', I: 'interpolated', X: 'modelled', D: 'default' } as const;

/**
 * What a caller lets a launch do. `sequence`: each sequence is cut by itself, its bits never depend on its neighbours. `spread`: all are cut as one line. `fastest`:
 * either. Ops other than decode have `sequence` alone.
 */
export const MODES = ['sequence', 'spread', 'fastest'] as const;
export type Mode = (typeof MODES)[number];

/** Where times come from: this device, another device's table, or the cost model. */
export const ORIGINS = ['measured', 'copied', 'modelled'] as const;

const hex = (digits: number) => z.string().regex(new RegExp(`^[0-9a-f]{${digits}}$`));
const permille = z.int().min(0).max(9999);
const positive = z.int().min(1);
const micros = z.number().positive();

/** What a device is, whatever its name. A MIG slice has other numbers of SMs and of bytes of L2, and so is another device. */
export const identitySchema = z.strictObject({
  /** Compute capability times 10. */
  cc: z.int(),
  sms: positive,
  sharedPerBlock: positive,
  l2Bytes: positive,
  busBits: positive,
  memoryMhz: positive,
});
export type Identity = z.infer<typeof identitySchema>;

/** A device with its label. The limit of power is not compared: a lower one is told, not refused. */
export const deviceSchema = identitySchema.extend({ name: z.string(), memoryBytes: positive, powerW: z.number().nullable() });
export type DeviceFacts = z.infer<typeof deviceSchema>;

/** What times depend on besides kernel, shape and device: times of one environment may be pooled. */
export const environmentSchema = z.strictObject({
  device: deviceSchema,
  driver: z.string().nullable(),
  nvcc: z.string().nullable(),
  /** `emulated` times mean nothing and make no table that is shipped. */
  clock: z.enum(['gpu', 'emulated', 'model']),
  policy: z.strictObject({ launch: z.enum(['graph', 'stream']), l2: z.enum(['cold', 'warm']) }),
});
export type TuneEnvironment = z.infer<typeof environmentSchema>;

/** A kernel that the table names, and the code that was measured. */
export const kernelFactsSchema = z.strictObject({
  /** SHA-256 of its PTX without comments, line marks and its own name. */
  ptx: hex(64),
  /** Digest of its source and headers without comments: equal means equal code, without a compiler. */
  inputs: hex(16),
  registers: positive.nullable(),
  spillBytes: z.int().min(0).nullable(),
});

/** What a cell says to do. */
export const choiceSchema = z.strictObject({
  kernel: z.string(),
  /** CTAs of a stream; where `spread`, of the whole grid: splits = max(1, ctas / lines). 0 for ops without splits. */
  ctas: z.int().min(0).max(65_535),
  spread: z.boolean(),
  merge: z.enum(['none', 'last', 'combine']),
});
export type Choice = z.infer<typeof choiceSchema>;

/** A cell: key of a choice, letter of its quality, expected regret in thousandths: `3fa0M12`. */
export const CELL = /^([0-9a-f]{4})([MIXD])(0|[1-9]\d{0,3})$/;

/** The cells of one mode. Keys are the first digits of the choice's digest, longer never: of two that meet, the later by name takes the next free one. */
export const planeSchema = z.strictObject({
  choices: z.record(hex(4), choiceSchema),
  /** One string per step of streams, ascending; in each one word per step of tokens, with blanks between. */
  cells: z.array(z.string()),
});
export type Plane = z.infer<typeof planeSchema>;

/** A measured (or modelled) point of the grid, with the times from which cells are made. */
export const pointTimesSchema = z.strictObject({
  mode: z.enum(['sequence', 'spread']),
  streams: positive,
  tokens: positive,
  environment: hex(16),
  /** The best that was found at all, shipped or not. */
  best: z.strictObject({ kernel: z.string(), launch: z.string(), us: micros }),
  default: z.strictObject({ kernel: z.string(), launch: z.string(), us: micros }),
  /** Of every shipped kernel: its best launch, its time, half the width of the 95 % interval of its ratio to the default. */
  times: z.array(z.strictObject({ kernel: z.string(), launch: z.string(), us: micros, half: z.number().min(0).nullable() })),
  /** Shipped kernels that cannot be told from the fastest of them. */
  ties: z.array(z.string()),
});
export type PointTimes = z.infer<typeof pointTimesSchema>;

export const contractTableSchema = z.strictObject({
  default: z.string(),
  origin: z.enum(ORIGINS),
  modes: z.partialRecord(z.enum(MODES), planeSchema),
  points: z.array(pointTimesSchema),
  /** What the look-up loses at a point that is left out of the build: the measure of interpolation. Null with fewer than three points. */
  leftOut: z.strictObject({ points: positive, mean: permille, worst: permille }).nullable(),
});

export type ContractTable = z.infer<typeof contractTableSchema>;

export const tableSchema = z.strictObject({
  schema: z.literal(VERSIONS.table),
  abi: positive,
  layout: positive,
  /** Of the kernels. */
  arch: z.string(),
  device: deviceSchema,
  /** What was tuned for, in words (`the default grid`, `model config.json`), and what all points share. */
  tunedFor: z.string(),
  setting: z.strictObject({ qHeads: positive, kvHeads: positive, qLen: positive, anchorPermille: permille, window: z.int().min(0), pageSize: positive, codes: z.string() }),
  axes: z.strictObject({ streams: axisSchema, tokens: axisSchema }),
  environments: z.record(hex(16), environmentSchema),
  kernels: z.record(z.string(), kernelFactsSchema),
  contracts: z.record(z.string(), contractTableSchema),
  /** Expected regret, in thousandths, to be added where another device uses this table. */
  elsewhere: z.strictObject({ sibling: permille, arch: permille }),
  /** Digests of the sets of events that it was built from. */
  journals: z.array(hex(16)),
});
export type Table = z.infer<typeof tableSchema>;

/** JSON Schema of table.*.json, draft 2020-12. */
export const tableJsonSchema = (): unknown => ({ title: 'antkv tuning table', ...z.toJSONSchema(tableSchema) });
