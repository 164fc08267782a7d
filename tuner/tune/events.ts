// The events of a tuning journal, one JSON object a line. Journals are the truth: a table is a function of the set of their events, whatever file and order they came in.
import { z } from 'zod';
import { environmentSchema } from '../../generator/table/schema.ts';
import { armSchema, problemSchema, taskSchema } from './problem.ts';
import { EFFORT_NAMES } from './strategy.ts';

const digest = z.string().regex(/^[0-9a-f]{16}$/);
const measure = z.number().nullable();

/** Which step gave up a candidate, in the order of the steps. */
export const STAGES = ['formula', 'compile', 'ptx', 'ptxas', 'verify', 'screen', 'race', 'confirm'] as const;
export type Stage = (typeof STAGES)[number];

/** Where a time was taken. `screen`: few rounds, absolute. `race`: pairs in turn. `confirm`: a race in a fresh process. */
export const PHASES = ['screen', 'race', 'confirm'] as const;
export type Phase = (typeof PHASES)[number];

/**
 * What every event has. `id` is the {@link stableDigest} of all the rest as it was read, fields of later versions included: equal events are one, and a line that was
 * altered shows. Readers skip events that they do not know, drop fields that they do not know after the digest was checked, and keep the line as it is when they copy it.
 */
const common = {
  id: digest,
  /** UTC, `2026-11-23T09:41:07.512Z`; of two facts that disagree the later holds, then the one of the greater id. */
  at: z.iso.datetime(),
  /** Who wrote it: `local`, or shard and attempt, `0007.1`. */
  writer: z.string(),
};
const event = <Name extends string, Fields extends z.ZodRawShape>(name: Name, fields: Fields) => z.object({ event: z.literal(name), ...common, ...fields });

/** The first line of every file. */
export const headerEvent = event('header', { schema: z.literal(1), version: z.string(), command: z.array(z.string()), seed: z.int(), tunedFor: z.string() });
/** What follows is measured here. `environment` of other events is the {@link stableDigest} of `facts`. */
export const environmentEvent = event('environment', { environment: digest, facts: environmentSchema });
/** What is to be done, before pruning by a compiler. */
export const taskEvent = event('task', { task: taskSchema, strategy: z.string(), effort: z.enum(EFFORT_NAMES) });
/** The choice that a table made before: a tie keeps it. */
export const incumbentEvent = event('incumbent', { problem: problemSchema, arm: armSchema });
/** Not tried, and why. `same`: the kernel whose PTX is equal, and whose times hold for this one. */
export const prunedEvent = event('pruned', { kernel: z.string(), stage: z.enum(['formula', 'ptx', 'ptxas']), why: z.string(), same: z.string().optional() });
export const compiledEvent = event('compiled', {
  kernel: z.string(),
  nvcc: z.string(),
  ptx: z.string().regex(/^[0-9a-f]{64}$/),
  inputs: digest,
  registers: z.int(),
  spillBytes: z.int(),
  stackBytes: z.int(),
  /** Seconds to PTX, and from it to machine code; null: from the cache. */
  seconds: z.object({ ptx: measure, ptxas: measure }),
});
/** Written and synced before a launch that may take the machine down: one without an end after it counts as failed. */
export const startedEvent = event('started', { environment: digest, kernel: z.string(), problem: problemSchema.optional(), stage: z.enum(['verify', 'screen', 'race', 'confirm']) });
export const verifiedEvent = event('verified', { environment: digest, kernel: z.string(), ptx: z.string(), checks: z.int().min(1), worst: measure });
/** Rounds in which each arm ran once, in random order; `us[i]` belongs to `arms[i]`. Arm 0 is the default; times of different blocks are compared by ratio to it. */
export const racedEvent = event('raced', {
  environment: digest,
  /** Of the process and board that measured: times of two may be pooled, pairs never cross. */
  session: z.string(),
  phase: z.enum(PHASES),
  problem: problemSchema,
  arms: z.array(armSchema).min(1),
  /** PTX of each arm's kernel. */
  ptx: z.array(z.string()),
  /** Kept rounds only; `discarded` says how many were repeated because the clock had drifted. */
  rounds: z.array(z.object({ us: z.array(z.number().positive()), mhz: measure, celsius: measure })),
  discarded: z.int().min(0),
  /** Useful bytes of a step, for the share of the floor. */
  bytes: z.int(),
});
/** One candidate is lost, nothing else. `arm` absent: the kernel on every problem. */
export const failedEvent = event('failed', {
  environment: digest.optional(),
  kernel: z.string(),
  stage: z.enum(STAGES),
  kind: z.enum(['ice', 'error', 'timeout', 'crash', 'trap', 'wrong', 'memory']),
  problem: problemSchema.optional(),
  arm: armSchema.optional(),
  why: z.string(),
  /** A command that shows it again. */
  repro: z.string(),
});
/** A probe kernel's time, once a minute: a move of more than 2 % begins a new epoch. */
export const probeEvent = event('probe', { environment: digest, session: z.string(), us: z.number(), mhz: measure, celsius: measure });
/** What the device can do at most, for floors in the report; bench-row.ts has the names. */
export const ceilingsEvent = event('ceilings', { environment: digest, read_gbps: measure, copy_gbps: measure, mma_tflops: measure });
/** FP16 attention of PyTorch at a shape, for the report. */
export const baselineEvent = event('baseline', { environment: digest, problem: problemSchema, software: z.string(), us: z.number() });
/** Nothing is left to measure for this problem under the effort of its task. */
export const settledEvent = event('settled', { environment: digest, problem: problemSchema, arm: armSchema, why: z.enum(['interval', 'rounds', 'alone', 'budget']) });

export const eventSchema = z.discriminatedUnion('event', [
  headerEvent, environmentEvent, taskEvent, incumbentEvent, prunedEvent, compiledEvent, startedEvent, verifiedEvent, racedEvent, failedEvent, probeEvent, ceilingsEvent, baselineEvent, settledEvent,
]);
export type TuneEvent = z.infer<typeof eventSchema>;
export type EventOf<Name extends TuneEvent['event']> = Extract<TuneEvent, { event: Name }>;

/** The events of one name, in their order. */
export const of = <Name extends TuneEvent['event']>(events: readonly TuneEvent[], name: Name): EventOf<Name>[] => events.filter((event): event is EventOf<Name> => event.event === name);

/** Of two facts that disagree the later holds, then the one of the greater id. */
export const byAge = (a: Pick<TuneEvent, 'at' | 'id'>, b: Pick<TuneEvent, 'at' | 'id'>): number => (a.at < b.at ? -1 : a.at > b.at ? 1 : a.id < b.id ? -1 : 1);

type Bare<Event> = Event extends unknown ? Omit<Event, 'id' | 'at' | 'writer'> : never;
/** An event before the journal gives it id, time and writer. */
export type Draft = Bare<TuneEvent>;

/** Where events go; resolves when the line is on the disk. */
export type Write = (draft: Draft) => Promise<void>;
