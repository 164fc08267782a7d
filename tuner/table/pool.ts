// From the events of journals to times: for every device, architecture and problem the arms with their pooled ratio to the default. Pure; the order of events does not matter.
import type { DeviceFacts, TuneEnvironment } from '../../generator/table/schema.ts';
import { IDENTITY_KEYS } from '../../generator/table/find.ts';
import { median } from '../space/numbers.ts';
import { SETTING } from '../space/grid.ts';
import { estimate } from '../tune/race.ts';
import { byAge, of, type EventOf, type TuneEvent } from '../tune/events.ts';
import { armWord, linesOf, placeOfProblem, problemKey, type Arm, type Problem } from '../tune/problem.ts';
import { stableDigest, stableText } from '../../generator/stable.ts';

/** An arm's time at a problem. */
export interface TimedArm extends Arm {
  readonly us: number;
  /** Half the width of the 95 % interval of its log-ratio to the default; null with too few rounds. 0: the default itself. */
  readonly half: number | null;
}

/** What points of a table share. */
export type Setting = Readonly<Record<'qHeads' | 'kvHeads' | 'qLen' | 'anchorPermille' | 'window' | 'pageSize', number> & { codes: string }>;

/** A problem with its times on one device. */
export interface Point {
  readonly problem: Problem;
  readonly streams: number;
  readonly tokens: number;
  readonly lines: number;
  readonly setting: Setting;
  /** Of the default's times: the newest. */
  readonly environment: string;
  readonly default: TimedArm;
  /** The default among them, fastest first. */
  readonly arms: readonly TimedArm[];
  /** The arm that a table chose before. */
  readonly incumbent: Arm | undefined;
}

/** All that is known of one device and the kernels of one architecture. */
export interface Pool {
  readonly device: DeviceFacts;
  readonly arch: string;
  readonly clock: TuneEnvironment['clock'];
  readonly points: readonly Point[];
  readonly environments: ReadonlyMap<string, TuneEnvironment>;
  /** The newest compilation of each kernel that has one. */
  readonly compiled: ReadonlyMap<string, EventOf<'compiled'>>;
}

type Dated = Pick<TuneEvent, 'at' | 'id'>;
const newest = <T extends Dated>(items: readonly T[], key: (item: T) => string): Map<string, T> => new Map(items.map((item) => [key(item), item]));

const archOf = (kernel: string): string => kernel.split('__')[1]?.split('_')[0] ?? '';

/** The setting of a problem, the runner's defaults filled in. */
export function settingOfProblem({ shape }: Problem): Setting {
  const { q_heads: qHeads, kv_heads: kvHeads, q_len: qLen = SETTING.qLen, anchor_permille: anchorPermille = SETTING.anchorPermille, window = SETTING.window, page_size: pageSize = SETTING.pageSize, codes = SETTING.codes } = shape;
  return { qHeads, kvHeads, qLen, anchorPermille, window, pageSize, codes };
}

/** Blocks of rounds of one problem on one device, with the arms whose code is today's. */
interface Block {
  readonly event: EventOf<'raced'>;
  readonly arms: ReadonlyMap<string, number>;
}

/** Of the blocks with an arm those that count: raced before screened, then of the newest environment. */
function blocksOf(blocks: readonly Block[], arm: string): Block[] {
  const all = blocks.filter(({ arms }) => arms.has(arm));
  const raced = all.filter(({ event }) => event.phase !== 'screen');
  const use = raced.length > 0 ? raced : all;
  return use.filter(({ event }) => event.environment === use.at(-1)?.event.environment);
}

function timesOf(blocks: readonly Block[], arms: readonly Arm[], base: Arm): TimedArm[] {
  const baseWord = armWord(base);
  const timesIn = ({ event, arms: places }: Block, word: string): number[] => event.rounds.map(({ us }) => us[places.get(word)!]!);
  const baseUs = median(blocksOf(blocks, baseWord).flatMap((block) => timesIn(block, baseWord)));
  return arms.map((arm): TimedArm => {
    const word = armWord(arm);
    if (word === baseWord) return { ...arm, us: baseUs, half: 0 };
    const paired = blocksOf(blocks.filter(({ arms: places }) => places.has(baseWord)), word);
    // Without the default beside it only its own time is left, which another session's clock may have moved.
    if (paired.length === 0) return { ...arm, us: median(blocksOf(blocks, word).flatMap((block) => timesIn(block, word))), half: null };
    const ratios = paired.flatMap((block) => {
      const bases = timesIn(block, baseWord);
      return timesIn(block, word).map((us, i) => Math.log(us / bases[i]!));
    });
    const { middle, half } = estimate(ratios);
    return { ...arm, us: baseUs * Math.exp(middle), half: Number.isFinite(half) ? half : null };
  });
}

/** Kernels and arms that were lost on a device and not taken back: a later check or block does that. */
function lossesOf(events: readonly TuneEvent[], here: ReadonlySet<string>): (arm: Arm, problem: string, raced: Dated) => boolean {
  const failed = of(events, 'failed').filter(({ environment }) => environment === undefined || here.has(environment));
  const verified = newest(of(events, 'verified').filter(({ environment }) => here.has(environment)), ({ kernel }) => kernel);
  const whole = newest(failed.filter(({ arm, problem }) => !arm && !problem), ({ kernel }) => kernel);
  const single = newest(failed.filter(({ arm }) => arm), ({ arm, problem }) => `${problem ? problemKey(problem) : ''} ${armWord(arm!)}`);
  return (arm, problem, raced) => {
    const loss = whole.get(arm.kernel);
    const checked = verified.get(arm.kernel);
    if (loss && !(checked && byAge(loss, checked) < 0)) return true;
    const own = single.get(`${problem} ${armWord(arm)}`);
    return own !== undefined && byAge(own, raced) > 0;
  };
}

/** What decides about arms beside their times. */
interface Judges {
  readonly environments: ReadonlyMap<string, TuneEnvironment>;
  /** The code is what the kernel is today. */
  readonly current: (kernel: string, ptx: string) => boolean;
  readonly lost: ReturnType<typeof lossesOf>;
}

function pointOf(key: string, races: readonly EventOf<'raced'>[], { environments, current, lost }: Judges, incumbent: Arm | undefined): Point | undefined {
  // Cold and warm, graph and stream are different questions: the newest one counts.
  const policy = stableText(environments.get(races.at(-1)!.environment)!.policy);
  const blocks = races.filter(({ environment }) => stableText(environments.get(environment)!.policy) === policy).map((event): Block => ({
    event,
    arms: new Map(event.arms.flatMap((arm, i): [string, number][] => (current(arm.kernel, event.ptx[i] ?? '') ? [[armWord(arm), i]] : []))),
  }));
  const base = blocks.findLast(({ event, arms }) => arms.has(armWord(event.arms[0]!)))?.event.arms[0];
  if (!base) return undefined;
  const seen = new Map(blocks.flatMap(({ event, arms }) => event.arms.filter((arm) => arms.has(armWord(arm))).map((arm): [string, { arm: Arm; event: Dated }] => [armWord(arm), { arm, event }])));
  const usable = [...seen.values()].filter(({ arm, event }) => !lost(arm, key, event)).map(({ arm }) => arm);
  if (!usable.some((arm) => armWord(arm) === armWord(base))) return undefined;
  const arms = timesOf(blocks, usable, base).sort((a, b) => a.us - b.us || (armWord(a) < armWord(b) ? -1 : 1));
  const { problem } = races[0]!;
  const environment = blocksOf(blocks, armWord(base)).at(-1)!.event.environment;
  return { problem, ...placeOfProblem(problem), lines: linesOf(problem), setting: settingOfProblem(problem), environment, default: arms.find((arm) => armWord(arm) === armWord(base))!, arms, incumbent };
}

/** The pools of a set of events, one per device, clock and architecture. Emulated times mean nothing: they are left out unless a test asks for them. */
export function poolsOf(unordered: readonly TuneEvent[], { emulated = false }: { readonly emulated?: boolean } = {}): Pool[] {
  const events = [...new Map(unordered.map((event) => [event.id, event])).values()].sort(byAge);
  const environments = new Map(of(events, 'environment').map(({ environment, facts }) => [environment, facts]));
  const compiled = newest(of(events, 'compiled'), ({ kernel }) => kernel);
  const incumbents = newest(of(events, 'incumbent'), ({ problem }) => problemKey(problem));
  const identityOf = ({ device, clock }: TuneEnvironment): string => stableDigest([clock, ...IDENTITY_KEYS.map((key) => device[key])]);
  const groups = new Map<string, EventOf<'raced'>[]>();
  for (const race of of(events, 'raced')) {
    const facts = environments.get(race.environment);
    if (!facts || race.rounds.length === 0 || (facts.clock === 'emulated' && !emulated)) continue;
    const key = `${archOf(race.arms[0]!.kernel)} ${identityOf(facts)}`;
    groups.set(key, [...(groups.get(key) ?? []), race]);
  }
  return [...groups].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, races]): Pool => {
    const facts = environments.get(races.at(-1)!.environment)!;
    const here = new Set([...environments].filter(([, other]) => identityOf(other) === identityOf(facts)).map(([digest]) => digest));
    const lost = lossesOf(events, here);
    // A model times no code: its kernels need not be compiled.
    const current = (kernel: string, ptx: string): boolean => (facts.clock === 'model' && !compiled.has(kernel)) || compiled.get(kernel)?.ptx === ptx;
    const problems = new Map<string, EventOf<'raced'>[]>();
    for (const race of races) {
      const key = problemKey(race.problem);
      problems.set(key, [...(problems.get(key) ?? []), race]);
    }
    const points = [...problems].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([key, own]) => pointOf(key, own, { environments, current, lost }, incumbents.get(key)?.arm) ?? []);
    return { device: facts.device, arch: archOf(races[0]!.arms[0]!.kernel), clock: facts.clock, points, environments, compiled };
  });
}
