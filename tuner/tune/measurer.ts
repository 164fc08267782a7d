// What verifies and times kernels on one device: the pool on this machine and the worker of a cluster run a sweep through the same few calls, tests pass a fake.
import type { DeviceFacts } from '../../generator/table/schema.ts';
import type { EventOf } from './events.ts';
import type { Arm, Problem } from './problem.ts';

/** A kernel that can be loaded: what the compile workers hand over. */
export interface Image {
  readonly kernel: string;
  /** Of a cubin, a fatbin or an emulated build. */
  readonly path: string;
  readonly ptx: string;
}

/** Rounds in random order, each arm once in each. Arm 0 is the default. */
export interface RaceRequest {
  readonly problem: Problem;
  readonly arms: readonly Arm[];
  readonly rounds: number;
  readonly seed: number;
  /** Begin in a fresh process. */
  readonly fresh?: boolean;
}

/** A block of rounds; `failed` holds the arms that were lost on the way, the rounds have the others (`arms`). */
export interface RaceBlock {
  readonly arms: readonly Arm[];
  readonly rounds: EventOf<'raced'>['rounds'];
  readonly discarded: number;
  readonly bytes: number;
  readonly session: string;
  readonly failed: readonly (Fault & { readonly arm: Arm })[];
}

/** Why a candidate is lost. */
export type Fault = Pick<EventOf<'failed'>, 'kind' | 'why' | 'repro'>;

export type Verdict = { readonly ok: true; readonly checks: number; readonly worst: number | null } | ({ readonly ok: false } & Fault);

/**
 * One device. Calls come one at a time. A hang, a trap, a lost context or a wrong result is an answer, after which the next call finds a new process; only what no
 * candidate is to blame for throws: EnvironmentError where the device is gone or the disk full.
 */
export interface Measurer {
  readonly device: DeviceFacts;
  readonly clock: 'gpu' | 'emulated';
  /** Makes a kernel known; a kernel is loaded where it is first wanted. */
  add(image: Image): void;
  /** Checks of `gen verify --quick`, and the problem's own output when it is timed. */
  verify(kernel: string): Promise<Verdict>;
  race(request: RaceRequest): Promise<RaceBlock>;
  /** A fixed kernel's time: tells drift of the device from a slow candidate. */
  probe(): Promise<{ readonly us: number; readonly mhz: number | null; readonly celsius: number | null }>;
  close(): Promise<void>;
}

/** Time as a sweep sees it; tests pass one that does not wait. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  sleep(ms: number): Promise<void>;
}
