// What a sweep asks the runner beside checks, and what it answers, as schemas: race, probe, and the device's facts. harness/runner/README.md is the same in words.
import { z } from 'zod';
import type { DeviceFacts } from '../../generator/table/schema.ts';
import { BENCH_SHAPES, type BenchOp } from '../bench-schema.ts';
import { emulatorSchema, infoRecordSchema, kernelRefSchema, measure } from '../problem.ts';

const positive = z.int().min(1);

/** One arm: a kernel, and of decode its launch. */
export const raceArmSchema = z.strictObject({
  kernel: kernelRefSchema,
  combine: kernelRefSchema.optional(),
  splits: positive.max(1024).optional(),
  spread: z.boolean().optional(),
  merge: z.enum(['last', 'combine']).optional(),
});
export type RaceArm = z.infer<typeof raceArmSchema>;

export const raceRequestSchema = z.strictObject({
  cmd: z.literal('race'),
  op: z.enum(Object.keys(BENCH_SHAPES) as [BenchOp, ...BenchOp[]]),
  /** A bench shape without a launch. */
  shape: z.looseObject({}),
  /** All of one contract. */
  arms: z.array(raceArmSchema).min(1).max(256),
  rounds: positive.max(1000).optional(),
  /** Of the order within rounds; the data are the same for every seed. */
  seed: z.int().optional(),
  emulator: emulatorSchema.optional(),
});
export type RaceWire = z.infer<typeof raceRequestSchema>;

export const raceRecordSchema = z.object({
  /** In the order of the request. One that is not `ok` was not timed. */
  arms: z.array(z.looseObject({ kernel: z.string(), ok: z.boolean(), faults: z.array(z.string()), check: z.looseObject({ kind: z.string(), rel_l2: measure.optional() }) })),
  /** `us` in the order of the request, null for arms that were not timed; clock and temperature while the round ran. */
  rounds: z.array(z.object({ us: z.array(measure), mhz: measure, celsius: measure })),
  /** Useful bytes of a step. */
  bytes: z.int(),
  byte_parts: z.record(z.string(), z.int()),
  copies: positive,
  copy_bytes: z.int(),
  l2_bytes: z.int(),
  /** The data were those of the race before. */
  kept: z.boolean(),
  graph: z.boolean(),
  emulated: z.boolean(),
});
export type RaceRecord = z.infer<typeof raceRecordSchema>;

export const probeRecordSchema = z.looseObject({ us: z.number(), mhz: measure, celsius: measure });

/** `info`, with all that tells one device from another. */
export const deviceInfoSchema = infoRecordSchema.extend({
  l2_bytes: z.int(),
  bus_bits: z.int(),
  memory_mhz: positive,
  /** The limit that is set. */
  power_w: measure,
  uuid: z.string().nullable(),
  /** Version of the driver package; null without NVML. */
  driver: z.string().nullable(),
});
export type DeviceInfo = z.infer<typeof deviceInfoSchema>;

/** What a table and an environment say of a device. */
export const factsOf = (info: DeviceInfo): DeviceFacts => ({
  name: info.device,
  cc: info.cc,
  sms: info.multiprocessors,
  sharedPerBlock: info.shared_per_block,
  memoryBytes: info.memory_bytes,
  l2Bytes: info.l2_bytes,
  busBits: info.bus_bits,
  memoryMhz: info.memory_mhz,
  powerW: info.power_w,
});
