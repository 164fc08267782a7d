// A SYNTHETIC sweep for tests of the report: times from a formula, faults as they happen, journals as text. Nothing in it was measured.
import { parseArchs } from '../../../generator/arch.ts';
import { contractName, kernelName } from '../../../generator/name.ts';
import type { TuneEnvironment } from '../../../generator/table/schema.ts';
import { complete } from '../../../tuner/journal/write.ts';
import { exactContract, goalContract, GOALS } from '../../../tuner/goals.ts';
import { candidateOf, spaceOf } from '../../../tuner/space/space.ts';
import { defaultArm, launchesFor } from '../../../tuner/tune/arms.ts';
import type { Draft } from '../../../tuner/tune/events.ts';
import type { Arm, Problem } from '../../../tuner/tune/problem.ts';
import { stableDigest, stableText } from '../../../generator/stable.ts';

export interface SweepOptions {
  readonly device?: string;
  readonly sms?: number;
  /** Contracts, up to 13. */
  readonly contracts?: number;
  readonly kernels?: number;
  readonly tokens?: readonly number[];
  readonly batches?: readonly number[];
  readonly clock?: TuneEnvironment['clock'];
}

const sm80 = parseArchs('sm80', () => [])[0]!;
const CONTRACTS = [exactContract(128), ...GOALS.flatMap((goal) => [goalContract(goal, 128, 4), goalContract(goal, 128, 8)])];
const hex = (word: string): string => stableDigest(word).repeat(4);

/** Faster with more warps up to eight, with two stages, and with launches that fill the device; a little different by kernel. */
function usOf({ kernel, launch }: Arm, { shape: { batch = 1, tokens = 1 } }: Problem, sms: number): number {
  const { fields } = candidateOf(kernel);
  const warps = Math.abs(Math.log2(Number(fields['warps'] ?? 4) / 8));
  const stages = Math.abs(Number(fields['stages'] ?? 2) - 2);
  const filled = Math.abs(Math.log2((Math.max(1, parseInt(launch, 10)) * batch * 8) / (2 * sms)));
  return (8 + (batch * tokens) / 300) * (1 + 0.12 * warps + 0.07 * stages + 0.02 * filled + (parseInt(stableDigest(kernel).slice(0, 2), 16) / 255) * 0.05) * (132 / sms);
}

/** The text of a journal. */
export function sweepText({ device = 'Test GPU', sms = 132, contracts = 2, kernels = 12, tokens = [1024, 8192, 65_536], batches = [1, 16], clock = 'gpu' }: SweepOptions = {}): string {
  const lines: string[] = [];
  let now = Date.UTC(2026, 10, 23, 9);
  const emit = (draft: Draft): void => void lines.push(stableText(complete(draft, 'local', (now += 1500))));
  emit({ event: 'header', schema: 1, version: '0.1.0', command: ['gen', 'tune', '--only', 'antkv_decode_*'], seed: 7, tunedFor: 'the default grid' });
  const facts: TuneEnvironment = {
    device: { name: device, cc: 80, sms, sharedPerBlock: 166_912, l2Bytes: 50_000_000, busBits: 5120, memoryMhz: 1593, memoryBytes: 85_899_345_920, powerW: 400 },
    driver: '580.1', nvcc: '13.0.88', clock, policy: { launch: 'graph', l2: 'cold' },
  };
  const environment = stableDigest(facts);
  emit({ event: 'environment', environment, facts });
  emit({ event: 'ceilings', environment, read_gbps: 4000, copy_gbps: 3900, mma_tflops: 600 });
  CONTRACTS.slice(0, contracts).forEach((contract, c) => {
    const names = spaceOf(contract, sm80).kernels.map(kernelName);
    const chosen = [names[0]!, ...names.slice(1).filter((_, i) => i % Math.max(1, Math.floor(names.length / kernels)) === 0).slice(0, kernels - 1)];
    const problems = (['sequence', 'spread'] as const).flatMap((mode) => tokens.flatMap((n) => batches.map((batch): Problem => ({ contract: contractName(contract), mode, shape: { batch, tokens: n, q_heads: 32, kv_heads: 8 } }))));
    emit({ event: 'task', task: { arch: 'sm80', contract: contractName(contract), problems, kernels: chosen }, strategy: 'ils', effort: 'full' });
    for (const kernel of chosen) emit({ event: 'compiled', kernel, nvcc: '13.0.88', ptx: hex(kernel), inputs: stableDigest(kernel), registers: 128, spillBytes: 0, stackBytes: 0, seconds: { ptx: 1, ptxas: 1 } });
    emit({ event: 'pruned', kernel: `${names.at(-1)!}`, stage: 'ptxas', why: '1024 bytes of spills' });
    emit({ event: 'failed', environment, kernel: chosen.at(-1)!, stage: 'verify', kind: 'wrong', why: `relative error 0.${c}5 <of> 4e-3`, repro: `gen verify --only ${chosen.at(-1)!} --quick` });
    const race = (problem: Problem, phase: 'screen' | 'race', raced: readonly string[]): void => {
      const arms = [defaultArm(problem, chosen[0]!, sms), ...raced.map((kernel): Arm => ({ kernel, launch: launchesFor(problem, kernel, sms)[0]! }))];
      const rounds = Array.from({ length: phase === 'screen' ? 3 : 12 }, (_, r) => ({ us: arms.map((arm, i) => usOf(arm, problem, sms) * (1 + 0.004 * Math.sin(7 * r + i))), mhz: 1980 - 5 * (r % 3), celsius: 40 + c + r / 4 }));
      emit({ event: 'raced', environment, session: 'a.1', phase, problem, arms, ptx: arms.map(({ kernel }) => hex(kernel)), rounds, discarded: phase === 'race' ? 1 : 0, bytes: 3000 * problem.shape.batch! * problem.shape.tokens! });
    };
    const others = chosen.slice(1, -1);
    for (let i = 0; i < others.length; i += 4) for (const problem of problems) race(problem, 'screen', others.slice(i, i + 4));
    for (const problem of problems) {
      const usual = defaultArm(problem, chosen[0]!, sms);
      race(problem, 'race', others.slice(0, 3));
      emit({ event: 'baseline', environment, problem, software: 'PyTorch 2.11', us: (10 + problem.shape.batch! * problem.shape.tokens! / 60) });
      emit({ event: 'settled', environment, problem, arm: usual, why: 'interval' });
      emit({ event: 'probe', environment, session: 'a.1', us: 20 + (lines.length % 5) / 10, mhz: 1980, celsius: 45 });
    }
  });
  return `${lines.join('\n')}\n`;
}
