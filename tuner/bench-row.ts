// One measurement with the environment that it was taken in: the record of gen bench, one JSON object a line, and what other files hold is turned into it.
import { z } from 'zod';
import { InputError } from '../generator/errors.ts';
import { parseKernelName } from '../generator/name.ts';
import { benchRecordSchema, ceilingsRecordSchema, spreadSchema, type BenchRecord, type CeilingsRecord } from './bench-schema.ts';

const rate = z.number().nullable().default(null);

export const environmentSchema = z.looseObject({
  device: z.string(),
  /** Compute capability times 10. */
  cc: z.int(),
  multiprocessors: z.int(),
  l2_bytes: z.int(),
  memory_bytes: z.int(),
  /** Version of the driver package, `580.95.05`. */
  driver: z.string().nullable(),
  /** Compiler of the fatbins. */
  nvcc: z.string().nullable().default(null),
  /** Of a peer: what it is made of. */
  software: z.string().optional(),
  emulated: z.boolean(),
  /** Which run of several that files hold: only rows of one run are compared with each other. */
  run: z.string().optional(),
  /** What the device can do at most, measured in the same run; null: not measured. */
  read_gbps: rate,
  copy_gbps: rate,
  mma_tflops: rate,
  /** Microseconds of a step that does nothing, its graph included; older rows lack it. */
  launch_us: rate.default(null),
  /** SM clocks when idle and under load. */
  idle_mhz: rate,
  busy_mhz: rate,
});
export type Environment = z.infer<typeof environmentSchema>;

export const rowSchema = z.looseObject({
  record: z.literal('bench'),
  /** `peer`: somebody else's kernel, for comparison. */
  source: z.enum(['antkv', 'peer']),
  op: z.string(),
  kernel: z.string(),
  /** Which code ran: "sm_90", "sm_80 through PTX". */
  code: z.string(),
  head_dim: z.int().optional(),
  shape: z.looseObject({ batch: z.int(), tokens: z.int().nullish(), lens: z.array(z.int()).optional(), spread: z.boolean().optional() }),
  splits: z.int().optional(),
  us: spreadSchema,
  b2b_us: z.number(),
  samples: z.int(),
  /** Useful bytes of one step. */
  bytes: z.int(),
  gbps: z.number(),
  ok: z.boolean(),
  faults: z.array(z.string()),
  clock_mhz: z.object({ begin: z.number().nullable(), end: z.number().nullable() }),
  environment: environmentSchema,
});
export type Row = z.infer<typeof rowSchema>;

/** Code of `arch` (`sm80`) on a device: machine code runs on the same major version, not older; everything newer compiles the PTX. */
export function codeLabel(arch: string, cc: number): string {
  const built = Number(arch.slice(2));
  const name = `sm_${built}`;
  return Math.floor(built / 10) === Math.floor(cc / 10) && built <= cc ? name : `${name} through PTX`;
}

export function environmentOf(ceilings: CeilingsRecord, nvcc: string | null): Environment {
  const { device, cc, multiprocessors, l2_bytes, memory_bytes, driver, emulated } = ceilings;
  return {
    ...{ device, cc, multiprocessors, l2_bytes, memory_bytes, driver, nvcc, emulated },
    read_gbps: ceilings.read?.gbps ?? null,
    copy_gbps: ceilings.copy.gbps,
    mma_tflops: ceilings.mma?.tflops ?? null,
    launch_us: ceilings.launch?.us.median ?? null,
    idle_mhz: ceilings.clocks_idle?.sm_mhz ?? null,
    busy_mhz: ceilings.clocks_busy?.sm_mhz ?? null,
  };
}

/** The row of a runner's record. */
export function rowOf(record: BenchRecord, environment: Environment): Row {
  const { contract, arch } = parseKernelName(record.kernel);
  const { id: _, ...rest } = record;
  return rowSchema.parse({ record: 'bench', source: 'antkv', code: codeLabel(arch.name, environment.cc), head_dim: contract.headDim, ...rest, environment });
}

export interface Records {
  readonly rows: readonly Row[];
  /** Requests that failed. */
  readonly errors: readonly string[];
  /** Checks before the measurements, and the kernels that failed theirs. */
  readonly checks: { readonly passed: number; readonly failed: readonly string[] };
  /** The last line is not finished, as a run that was killed leaves it: it is passed over. */
  readonly torn: boolean;
}

/** What `schema` makes of a line. Throws InputError. */
function parse<T>(schema: z.ZodType<T>, json: unknown, source: string, line: number): T {
  const parsed = schema.safeParse(json);
  if (!parsed.success) throw bad(source, line, z.prettifyError(parsed.error));
  return parsed.data;
}

const bad = (source: string, line: number, why: string): InputError => new InputError(`${source}, line ${line}: ${why}`, 'give a file written by gen bench --out, or the records.jsonl of a pack');

/** Reads rows, or the records.jsonl of a pack (its runner's records, made rows here). Throws InputError with the line that is neither. */
export function readRecords(text: string, source: string): Records {
  const rows: Row[] = [];
  const errors: string[] = [];
  const failed: string[] = [];
  let passed = 0;
  let nvcc: string | null = null;
  let environment: Environment | undefined;
  let runs = 0;
  let torn = false;
  const lines = text.split('\n');
  lines.forEach((line, i) => {
    if (line.trim() === '') return;
    let json: Record<string, unknown>;
    try {
      json = JSON.parse(line) as Record<string, unknown>;
    } catch {
      if (i > 0 && i === lines.length - 1) return void (torn = true);
      throw bad(source, i + 1, 'not JSON');
    }
    if (typeof json !== 'object' || json === null) throw bad(source, i + 1, 'no record that is known here');
    const named = (kernel: string): void => {
      try {
        parseKernelName(kernel);
      } catch (error) {
        throw bad(source, i + 1, (error as Error).message);
      }
    };
    if (json['record'] === 'pack') return void (nvcc = typeof json['nvcc'] === 'string' ? json['nvcc'] : null);
    if (json['record'] === 'bench') {
      const row = parse(rowSchema, json, source, i + 1);
      if (row.source === 'antkv') named(row.kernel);
      return void rows.push(row.source === 'peer' ? complete(row, environment) : row);
    }
    if (typeof json['error'] === 'string') return void errors.push(`request ${String(json['id'])}: ${json['error']}`);
    // A pack that is taken up again measures ceilings and baseline again: it may be on another card.
    if ('copy' in json) return void (environment = { ...environmentOf(parse(ceilingsRecordSchema, json, source, i + 1), nvcc), run: `${source} ${++runs}` });
    if ('us' in json) {
      const record = parse(benchRecordSchema, json, source, i + 1);
      if (!environment) throw bad(source, i + 1, 'a measurement without the ceilings of its device before it');
      named(record.kernel);
      return void rows.push(rowOf(record, environment));
    }
    if (typeof json['bit_equal'] === 'boolean') {
      if (json['ok'] === true) passed++;
      else if (Array.isArray(json['faults'])) failed.push(`request ${String(json['id'])} (${String(json['op'])}): ${json['faults'].join('; ')}`);
      else throw bad(source, i + 1, 'a failed check without its faults');
    } else if (!('abi_version' in json)) throw bad(source, i + 1, 'no record that is known here');
  });
  return { rows, errors, checks: { passed, failed }, torn };
}

/** A peer measures no ceilings: it takes those of the run that it belongs to. */
const complete = (row: Row, known: Environment | undefined): Row =>
  known && row.environment.read_gbps === null && row.environment.device === known.device
    ? { ...row, environment: { ...known, ...Object.fromEntries(Object.entries(row.environment).filter(([, value]) => value !== null)) } as Environment }
    : row;
