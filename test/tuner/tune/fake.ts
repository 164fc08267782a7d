// A sweep without a device: a measurer whose times are a function of problem and arm, compilers that make nothing, a clock that does not wait, a journal in memory.
import { createHash } from 'node:crypto';
import { parseKernelName } from '../../../generator/name.ts';
import type { DeviceFacts, TuneEnvironment } from '../../../generator/table/schema.ts';
import { complete } from '../../../tuner/journal/write.ts';
import type { Compiler, Outcome } from '../../../tuner/tune/compile-pool.ts';
import type { Draft, TuneEvent } from '../../../tuner/tune/events.ts';
import type { Clock, Fault, Image, Measurer, RaceBlock, RaceRequest, Verdict } from '../../../tuner/tune/measurer.ts';
import { stableDigest } from '../../../generator/stable.ts';
import { armWord, type Arm, type Problem } from '../../../tuner/tune/problem.ts';

export const DEVICE: DeviceFacts = { name: 'Test GPU', cc: 90, sms: 132, sharedPerBlock: 232_448, memoryBytes: 140e9, l2Bytes: 50 << 20, busBits: 5120, memoryMhz: 2619, powerW: 700 };
export const ENVIRONMENT: TuneEnvironment = { device: DEVICE, driver: '580.0', nvcc: '13.0.88', clock: 'gpu', policy: { launch: 'graph', l2: 'cold' } };
export const DIGEST = stableDigest(ENVIRONMENT);

/** Microseconds of an arm in a round. */
export type Times = (problem: Problem, arm: Arm, round: number) => number;

export interface FakeOptions {
  readonly times: Times;
  /** What an arm is lost to at a problem, when it is raced. */
  readonly faults?: (problem: Problem, arm: Arm) => Fault['kind'] | undefined;
  readonly wrong?: (kernel: string) => boolean;
}

export class FakeMeasurer implements Measurer {
  readonly device = DEVICE;
  readonly clock = 'gpu' as const;
  readonly added = new Set<string>();
  readonly requests: RaceRequest[] = [];
  verified = 0;
  private process = 1;
  private readonly options: FakeOptions;

  constructor(options: FakeOptions) {
    this.options = options;
  }

  add({ kernel }: Image): void {
    this.added.add(kernel);
  }

  verify(kernel: string): Promise<Verdict> {
    this.verified++;
    if (!this.added.has(kernel)) throw new Error(`${kernel} was never added`);
    return Promise.resolve(this.options.wrong?.(kernel) ? { ok: false, kind: 'wrong', why: 'relative L2 error', repro: 'gen verify' } : { ok: true, checks: 3, worst: 1e-4 });
  }

  race(request: RaceRequest): Promise<RaceBlock> {
    this.requests.push(request);
    if (request.fresh) this.process++;
    const { problem, arms, rounds } = request;
    for (const { kernel } of arms) if (!this.added.has(kernel)) throw new Error(`${kernel} was never added`);
    const failed = arms.flatMap((arm) => {
      const kind = this.options.faults?.(problem, arm);
      return kind ? [{ arm, kind, why: kind, repro: `gen bench ${armWord(arm)}` }] : [];
    });
    if (failed.some(({ kind }) => kind !== 'wrong' && kind !== 'memory')) this.process++;
    const alive = arms.filter((arm) => !failed.some((one) => one.arm === arm));
    const times = Array.from({ length: rounds }, (_, round) => ({ us: alive.map((arm) => this.options.times(problem, arm, round)), mhz: 1980, celsius: 50 }));
    return Promise.resolve({ arms: alive, rounds: times, discarded: 0, bytes: 1e6, session: `fake.${this.process}`, failed });
  }

  probe = (): ReturnType<Measurer['probe']> => Promise.resolve({ us: 100, mhz: 1980, celsius: 50 });
  close = (): Promise<void> => Promise.resolve();
}

/** A measurer whose verification, faults and processes are real and whose times are not. */
export function withTimes(real: Measurer, times: Times): Measurer {
  return {
    device: real.device,
    clock: real.clock,
    add: (image) => real.add(image),
    verify: (kernel) => real.verify(kernel),
    probe: () => real.probe(),
    close: () => real.close(),
    async race(request) {
      const block = await real.race(request);
      return { ...block, rounds: block.rounds.map((round, i) => ({ ...round, us: block.arms.map((arm) => times(request.problem, arm, i)) })) };
    },
  };
}

/** Names are code: equal ones are equal, `same` says of which other one a kernel is a copy; `lost` which do not compile. */
export const fakeCompiler = ({ same = {}, lost = [] }: { same?: Record<string, string>; lost?: readonly string[] } = {}): Compiler & { compiled: string[] } => {
  const compiled: string[] = [];
  return {
    nvcc: '13.0.88',
    compiled,
    compile(kernel): Promise<Outcome> {
      compiled.push(kernel);
      if (lost.includes(kernel)) return Promise.resolve({ lost: { kernel, stage: 'compile', kind: 'ice', why: 'internal compiler error', repro: 'nvcc -ptx' } });
      const ptx = createHash('sha256').update(same[kernel] ?? kernel).digest('hex');
      return Promise.resolve({ built: { kernel, path: `/nowhere/${kernel}`, ptx, inputs: ptx.slice(0, 16), registers: 64, spillBytes: 0, stackBytes: 0, seconds: { ptx: 0.5, ptxas: 0.5 } } });
    },
  };
};

/** Sleeps and writes move it on. */
export function fakeClock(start = Date.UTC(2026, 10, 23)): Clock & { ms: number } {
  return {
    ms: start,
    now() {
      return this.ms;
    },
    sleep(ms) {
      this.ms += ms;
      return Promise.resolve();
    },
  };
}

/** A journal in memory. `ends`: after so many events the process is killed, and nothing is written any more. */
export class FakeJournal {
  readonly events: TuneEvent[] = [];
  private readonly clock: ReturnType<typeof fakeClock>;
  private readonly ends: number;

  constructor(clock: ReturnType<typeof fakeClock>, ends = Infinity) {
    this.clock = clock;
    this.ends = ends;
  }

  write = (draft: Draft): Promise<void> => {
    if (this.events.length >= this.ends) return Promise.reject(new Killed());
    this.events.push(complete(draft, 'local', (this.clock.ms += 7)));
    return Promise.resolve();
  };
}

export class Killed extends Error {}

/** A number from 0 to 1 of a text, always the same. */
export const chance = (...words: (string | number)[]): number => parseInt(stableDigest(words).slice(0, 8), 16) / 2 ** 32;

/** The warps of a kernel: what most fake times depend on. */
export const warpsOf = (kernel: string): number => parseKernelName(kernel).tile.warps;
