// A device behind the runner, as a sweep sees it: checks, races, a probe. What a candidate breaks is an answer; it costs that candidate and a process.
import { randomBytes } from 'node:crypto';
import { parseKernelName } from '../../generator/name.ts';
import type { DeviceFacts } from '../../generator/table/schema.ts';
import { ceilingsRecordSchema, type CeilingsRecord } from '../bench-schema.ts';
import { kernelRef, type KernelRef } from '../problem.ts';
import { Runner, type RunnerOptions } from '../runner.ts';
import { jobsOf, requestOf } from '../verify.ts';
import { problemWord, reproOf, wireArm } from './arms.ts';
import { Clocks } from './clocks.ts';
import { lossOf, type Lost } from './loss.ts';
import { problemKey, type Arm, type Problem } from './problem.ts';
import type { Clock, Fault, Image, Measurer, RaceBlock, RaceRequest, Verdict } from './measurer.ts';
import { deviceInfoSchema, factsOf, probeRecordSchema, raceRecordSchema, type RaceRecord, type RaceWire } from './runner-schema.ts';

export interface GpuOptions extends RunnerOptions {
  readonly clock: Clock;
  /** As `--device` has it, for commands that show a fault again. */
  readonly label: string;
  /** Milliseconds that making data and asking the reference may take; 60,000 unless given. */
  readonly setupMs?: number;
}

/** A measurer with what an environment says besides the device. */
export interface Gpu extends Measurer {
  readonly driver: string | null;
  /** What the device can do at most. `image`: the fatbin of harness/bench/ceilings.cu; without it copies alone are measured. */
  ceilings(image?: string): Promise<CeilingsRecord>;
}

type Rounds = RaceBlock['rounds'];
/** Times a round is repeated, and the pauses before, in ms: what passes has passed by then, and power that a problem draws it draws again. */
const PAUSES = [250, 1000];
/** Of a step that nobody has timed yet, in us. */
const UNKNOWN_US = 10_000;

class RunnerGpu implements Gpu {
  readonly device: DeviceFacts;
  readonly clock: 'gpu' | 'emulated';
  readonly driver: string | null;
  private readonly runner: Runner;
  private readonly options: GpuOptions;
  private readonly board = randomBytes(4).toString('hex');
  private readonly refs = new Map<string, KernelRef>();
  /** Least time of any arm, by problem, in us. */
  private readonly best = new Map<string, number>();
  private readonly clocks = new Clocks();

  constructor(runner: Runner, info: ReturnType<typeof deviceInfoSchema.parse>, options: GpuOptions) {
    this.runner = runner;
    this.options = options;
    this.device = factsOf(info);
    this.clock = info.emulated ? 'emulated' : 'gpu';
    this.driver = info.driver;
  }

  add({ kernel, path }: Image): void {
    this.refs.set(kernel, kernelRef(kernel, path));
  }

  async verify(kernel: string): Promise<Verdict> {
    const repro = reproOf(this.options.label, kernel);
    let worst: number | null = null;
    const jobs = jobsOf(parseKernelName(kernel), 'quick');
    for (const job of jobs) {
      const request = requestOf(job, this.refs, 1);
      const answer = await this.twice(() => this.runner.request(request));
      const where = `${job.group} ${JSON.stringify(job.shape)}`;
      if ('kind' in answer) return { ok: false, kind: answer.kind, why: `${where}: ${answer.why}`, repro };
      const { ok, faults, rel_l2 } = answer.record as { ok: boolean; faults: string[]; rel_l2: number | null };
      if (!ok) return { ok: false, kind: 'wrong', why: `${where}: ${faults.join('; ')}`, repro: `${reproOf(this.options.label, kernel).replace(' --quick', '')} --shape '${JSON.stringify(job.shape)}'` };
      if (rel_l2 !== null) worst = Math.max(worst ?? 0, rel_l2);
    }
    return { ok: true, checks: jobs.length, worst };
  }

  async race({ problem, arms, rounds, seed, fresh = false }: RaceRequest): Promise<RaceBlock> {
    if (fresh) this.runner.kill();
    const failed: (Fault & { arm: Arm })[] = [];
    let alive = [...arms];
    const lose = (arm: Arm, lost: Pick<Fault, 'kind' | 'why'>): void => {
      failed.push({ arm, kind: lost.kind, why: `at ${problemWord(problem)}${arm.launch && ` as ${arm.launch}`}: ${lost.why}`, repro: reproOf(this.options.label, arm.kernel, problem, arm.launch) });
      alive = alive.filter((other) => other !== arm);
    };
    for (let together = 0; alive.length > 0; ) {
      const record = await this.ask(problem, alive, rounds, seed);
      if ('kind' in record) {
        const suspects = record.arm === undefined ? alive : [alive[record.arm]!];
        const guilty = new Map<Arm, Lost>();
        for (const arm of record.everyone ? [] : suspects) {
          this.runner.kill();
          const alone = await this.ask(problem, [arm], 1, seed);
          if ('kind' in alone) guilty.set(arm, alone);
        }
        // What fails together twice and never alone is blamed on all but the default.
        if (record.everyone) alive.forEach((arm) => guilty.set(arm, record));
        else if (guilty.size === 0 && ++together === 2) for (const arm of alive.length > 1 ? alive.slice(1) : alive) guilty.set(arm, { ...record, why: `together with ${alive.length - 1} others, not alone: ${record.why}` });
        guilty.forEach((lost, arm) => lose(arm, lost));
        continue;
      }
      const raced = alive;
      raced.forEach((arm, i) => {
        const { ok, faults } = record.arms[i]!;
        if (!ok) lose(arm, { kind: 'wrong', why: faults.join('; ') });
      });
      const mine = raced.flatMap((arm, i) => (record.arms[i]!.ok ? [i] : []));
      if (mine.length === 0) break;
      const { kept, discarded } = await this.steady(problem, alive, seed, roundsOf(record, mine));
      this.learn(problem, kept);
      return { arms: alive, rounds: kept, discarded, bytes: record.bytes, session: this.session(), failed };
    }
    return { arms: [], rounds: [], discarded: 0, bytes: 0, session: this.session(), failed };
  }

  async probe(): ReturnType<Measurer['probe']> {
    const answer = await this.twice(() => this.runner.request({ cmd: 'probe' }));
    if ('kind' in answer) throw new Error(`the probe failed: ${answer.why}`);
    return probeRecordSchema.parse(answer.record);
  }

  async ceilings(image?: string): Promise<CeilingsRecord> {
    return ceilingsRecordSchema.parse(await this.runner.request({ cmd: 'ceilings', ...(image === undefined ? {} : { image }) }));
  }

  close = (): Promise<void> => this.runner.close();

  /** Board and process. */
  private session = (): string => `${this.board}.${this.runner.starts}`;

  /** A request, and once more in a new process if it is lost. */
  private async twice(request: () => Promise<unknown>): Promise<{ record: unknown } | Lost> {
    for (let strike = 1; ; strike++) {
      try {
        return { record: await request() };
      } catch (error) {
        const lost = lossOf(error);
        if (strike === 2 || lost.kind === 'error') return lost;
        this.runner.kill();
      }
    }
  }

  private async ask(problem: Problem, arms: readonly Arm[], rounds: number, seed: number): Promise<RaceRecord | Lost> {
    const ref = (name: string): KernelRef => {
      const known = this.refs.get(name);
      if (!known) throw new Error(`${name} is to be measured and was never added`);
      return known;
    };
    const { op } = parseKernelName(arms[0]!.kernel).contract;
    const request: RaceWire = { cmd: 'race', op: op as RaceWire['op'], shape: problem.shape, arms: arms.map((arm) => wireArm(arm, ref)), rounds, seed };
    const us = this.best.get(problemKey(problem)) ?? UNKNOWN_US;
    const timeoutMs = Math.max(1000, (30 * us * rounds * arms.length) / 1000) + (this.options.setupMs ?? 60_000);
    try {
      return raceRecordSchema.parse(await this.runner.request(request, timeoutMs));
    } catch (error) {
      return lossOf(error);
    }
  }

  /** Repeats rounds in which the SM clock was off, each up to twice; what is off even then counts, for the clock is what the device has under this load. */
  private async steady(problem: Problem, arms: readonly Arm[], seed: number, first: Rounds): Promise<{ kept: Rounds; discarded: number }> {
    const key = problemKey(problem);
    let kept = first;
    let discarded = 0;
    for (const [i, pause] of PAUSES.entries()) {
      const sound = this.clocks.steady(this.session(), key, kept);
      const off = kept.length - sound.length;
      if (off === 0) return { kept, discarded };
      await this.options.clock.sleep(pause);
      const record = await this.ask(problem, arms, off, seed + 1_000_003 * (i + 1));
      if ('kind' in record || record.arms.some(({ ok }) => !ok)) break; // the rounds that there are count
      discarded += off;
      kept = [...sound, ...roundsOf(record, arms.map((_, at) => at))];
    }
    this.clocks.accept(key, kept);
    return { kept, discarded };
  }

  private learn(problem: Problem, rounds: Rounds): void {
    const key = problemKey(problem);
    this.best.set(key, Math.min(this.best.get(key) ?? Infinity, ...rounds.flatMap(({ us }) => us)));
  }
}

/** The rounds of a record with the times of the arms at places `mine` alone. */
const roundsOf = ({ rounds }: RaceRecord, mine: readonly number[]): Rounds => rounds.map(({ us, mhz, celsius }) => ({ us: mine.map((i) => Math.max(us[i]!, 1e-3)), mhz, celsius }));

/** Starts a runner and asks what it runs on. Throws EnvironmentError where it cannot start. */
export async function openGpu(options: GpuOptions): Promise<Gpu> {
  const runner = new Runner(options);
  try {
    return new RunnerGpu(runner, deviceInfoSchema.parse(await runner.request({ cmd: 'info' })), options);
  } catch (error) {
    await runner.close();
    throw error;
  }
}
