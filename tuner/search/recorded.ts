// Spaces whose times are known, so that searches can be tried on them without a GPU: gzipped JSON lines, a header and a row per candidate.
import { gunzipSync, gzipSync } from 'node:zlib';
import { z } from 'zod';
import { InputError } from '../../generator/errors.ts';
import { problemSchema } from '../tune/problem.ts';
import { stableText } from '../../generator/stable.ts';
import type { Candidate, Cost, Space } from '../tune/strategy.ts';
import { geomean } from '../space/numbers.ts';

const headerSchema = z.strictObject({
  space: z.literal(1),
  /** `synthetic`: made up to test searches; says nothing of any device. */
  origin: z.enum(['measured', 'synthetic']),
  /** What it is and where it comes from, in a sentence. */
  what: z.string(),
  device: z.string(),
  arch: z.string(),
  contract: z.string(),
  /** `kernels`: a row is a kernel, each time that of its best launch. `arms`: a row is a kernel with a launch. */
  rows: z.enum(['kernels', 'arms']),
  /** Times of a row are in this order. */
  problems: z.array(problemSchema).min(1),
  /** Candidates that a search begins with; the default is the first, and costs are relative to it. */
  seeds: z.array(z.string()).min(1),
});

const rowSchema = z.strictObject({
  id: z.string(),
  fields: z.record(z.string(), z.union([z.number(), z.string()])),
  /** Microseconds at each problem; null: not measured there, or lost. */
  us: z.array(z.number().positive().nullable()),
  /** Why it has no times. */
  why: z.string().optional(),
});

export type RecordedHeader = z.infer<typeof headerSchema>;
export type RecordedRow = z.infer<typeof rowSchema>;

/** Rows in the order in which a model had them: likeliest best first. */
export interface RecordedSpace {
  readonly header: RecordedHeader;
  readonly rows: readonly RecordedRow[];
}

/** The file of a space. The same space gives the same bytes. */
export function writeSpace({ header, rows }: RecordedSpace): Buffer {
  const lines = [headerSchema.parse(header), ...rows.map((row) => rowSchema.parse(row))].map((line) => `${stableText(line)}\n`);
  return gzipSync(lines.join(''), { level: 9 });
}

/** Reads the file of a space. `source` is how messages name it. Throws InputError with the line that is wrong. */
export function readSpace(bytes: Uint8Array, source: string): RecordedSpace {
  const fix = 'record it again: node --import tsx test/fixtures/record-space.ts JOURNAL';
  let text: string;
  try {
    text = gunzipSync(bytes).toString('utf8');
  } catch (error) {
    throw new InputError(`${source} is not gzipped: ${(error as Error).message}`, fix);
  }
  const parse = <T>(schema: z.ZodType<T>, line: string, number: number): T => {
    try {
      return schema.parse(JSON.parse(line));
    } catch (error) {
      throw new InputError(`${source}, line ${number}: ${error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message}`, fix);
    }
  };
  const [first = '', ...rest] = text.trimEnd().split('\n');
  const header = parse(headerSchema, first, 1);
  const rows = rest.map((line, i) => parse(rowSchema, line, i + 2));
  const uneven = rows.findIndex(({ us }) => us.length !== header.problems.length);
  if (uneven >= 0) throw new InputError(`${source}, line ${uneven + 2}: ${rows[uneven]!.us.length} times for ${header.problems.length} problems`, fix);
  if (!rows.some(({ id }) => id === header.seeds[0])) throw new InputError(`${source} has no row of its default ${header.seeds[0]}`, fix);
  return { header, rows };
}

/** Candidates and seeds as a search gets them. */
export function spaceOfRecorded({ header, rows }: RecordedSpace): Space {
  return { candidates: rows.map(({ id, fields }): Candidate => ({ id, fields })), seeds: header.seeds };
}

/** The cost of every candidate: the geometric mean of time / time of the default over the problems where both have one. */
export function costsOf({ header, rows }: RecordedSpace): Map<string, Cost> {
  const usual = rows.find(({ id }) => id === header.seeds[0])!.us;
  return new Map(rows.map(({ id, us }) => {
    const ratios = us.flatMap((time, i) => (time === null || usual[i] == null ? [] : [time / usual[i]]));
    return [id, ratios.length > 0 ? geomean(ratios) : undefined];
  }));
}
