// Tests tuner/table/field.ts on SYNTHETIC journals: launches of spread work between points, and kernels that did not run somewhere.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseLaunch } from '../../../tuner/bench-launch.ts';
import { complete } from '../../../tuner/journal/write.ts';
import { decide, fieldOf } from '../../../tuner/table/field.ts';
import { choiceOf } from '../../../tuner/table/layers.ts';
import { poolsOf, type Point } from '../../../tuner/table/pool.ts';
import type { TuneEvent } from '../../../tuner/tune/events.ts';
import { linesOf, placeOfProblem, type Arm, type Problem } from '../../../tuner/tune/problem.ts';
import { CONTRACT, DEVICE, KERNELS, problemAt, sweepEvents } from '../../fixtures/sweep.ts';

const pointsOf = (events: readonly TuneEvent[]): readonly Point[] => poolsOf(events)[0]!.points;
/** What the field of a journal decides at a batch, tokens and mode. */
const decider = (events: readonly TuneEvent[], kernels: readonly string[]) => {
  const field = fieldOf(pointsOf(events), kernels, DEVICE);
  return (batch: number, tokens: number, mode: Problem['mode']) => decide(field, [mode], placeOfProblem(problemAt(batch, tokens)))!;
};

test('a launch that is best by little at one point is not taken between points where another loses less over both', () => {
  const problems = [1024, 16_384].map((tokens) => problemAt(1, tokens, 'spread'));
  // At 1,024 tokens 6s is ahead by 2 %, at 16,384 it takes twice as long.
  const us = ({ shape: { tokens } }: Problem, { launch }: Arm): number => (tokens === 1024 ? { '12s': 102, '6s': 100, '24s': 150 }[launch]! : { '12s': 100, '6s': 200, '24s': 150 }[launch]!);
  const at = decider(sweepEvents({ problems, kernels: [KERNELS[1]], us }), [KERNELS[1]]);
  assert.is(at(1, 1024, 'spread').arm.launch, '6s');
  // As near to the one as to the other, and nearer to the first.
  for (const tokens of [4096, 2048]) assert.is(at(1, tokens, 'spread').choice.ctas, 12 * linesOf(problems[0]!), String(tokens));
});

test('shares beyond what the tokens give are empty: a larger launch is worth what the largest was there', () => {
  // A sequence of 128 tokens has two steps of 64: more shares were not timed, and do no harm.
  const problems = [problemAt(1, 128, 'spread'), problemAt(1, 16_384, 'spread')];
  const events = sweepEvents({ problems, kernels: [KERNELS[1]], us: ({ shape: { tokens } }, { launch }) => (tokens === 128 ? 10 : { '12s': 100, '6s': 130, '24s': 150 }[launch]!) });
  const short = events.map((event) => {
    if (event.event !== 'raced' || event.problem.shape.tokens !== 128) return event;
    const { id: _, at: when, writer, ...rest } = event;
    return complete({ ...rest, arms: [{ kernel: KERNELS[1], launch: '2s' }], ptx: rest.ptx.slice(0, 1), rounds: rest.rounds.map((round) => ({ ...round, us: [10] })) }, writer, Date.parse(when));
  });
  const at = decider(short, [KERNELS[1]]);
  assert.is(at(1, 128, 'spread').arm.launch, '2s');
  assert.is(at(1, 2048, 'spread').arm.launch, '12s');
});

test('no kernel is chosen at a point where it was lost, however good it is all round', () => {
  const [usual, good] = [KERNELS[0], KERNELS[1]];
  const us = (_: Problem, { kernel }: Arm): number => (kernel === good ? 50 : 100);
  for (const mode of ['sequence', 'spread'] as const) {
    const problems = [1, 4, 16].flatMap((batch) => [1024, 4096, 16_384].map((tokens) => problemAt(batch, tokens, mode)));
    const events = sweepEvents({ problems, kernels: [usual, good], us });
    const lost = problemAt(4, 4096, mode);
    const failures = ['4', '1', '2', '12', '12c', '12s', '6s', '24s'].map((launch, i) => complete({ event: 'failed', kernel: good, stage: 'race', kind: 'error', problem: lost, arm: { kernel: good, launch }, why: 'x', repro: 'y' }, 'local', Date.UTC(2031, 0, 1) + i));
    const at = decider([...events, ...failures], [usual, good]);
    assert.is(at(4, 4096, mode).choice.kernel, usual, mode);
    assert.is(at(4, 16_384, mode).choice.kernel, good);
    assert.is(at(1, 2048, mode).choice.kernel, good);
  }
});

test('as many shares as the tokens gave are no choice of a number: where there is more work they are as many as the device holds', () => {
  const [usual] = KERNELS; // a step of its CTAs is 128 tokens, and one CTA fills a multiprocessor
  const [point] = pointsOf(sweepEvents({ problems: [problemAt(1, 1024)], kernels: [usual], us: () => 10 }));
  const arm = { kernel: usual, launch: '8', us: 10, half: 0 };
  const ctas = (batch: number, tokens: number): number => choiceOf(arm, point!, placeOfProblem(problemAt(batch, tokens)), DEVICE.sms).ctas;
  assert.equal([ctas(1, 1024), ctas(2, 1024), ctas(1, 2048), ctas(4, 4096), ctas(32, 4096)], [8, 6, 12, 3, 1]);
  // Four of eight were chosen: of half as many streams each gets half.
  assert.is(choiceOf({ ...arm, launch: '4' }, point!, placeOfProblem(problemAt(2, 4096)), DEVICE.sms).ctas, 2);
});

test('waves of CTAs between points: a kernel of which a multiprocessor holds two is chosen where others take two turns', () => {
  const [one, two] = [KERNELS[0], `${CONTRACT}__sm80_lookup_w4_s2_c1`];
  const turns = (ctas: number, held: number): number => Math.ceil(ctas / (held * DEVICE.sms));
  // A turn of the second takes 1.6 times as long. 12 sequences, 96 CTAs, have one turn of either; 24 have two of the first; 48 four, and two of the second.
  const us = ({ shape: { batch } }: Problem, { kernel, launch }: Arm): number => {
    const { splits } = parseLaunch(launch);
    const ctas = 8 * batch! * splits;
    return (kernel === one ? 20 * turns(ctas, 1) : 32 * turns(ctas, 2)) + splits;
  };
  const problems = [12, 48].map((batch) => problemAt(batch, 1024));
  const at = decider(sweepEvents({ problems, kernels: [one, two], us }), [one, two]);
  assert.is(at(12, 1024, 'sequence').choice.kernel, one);
  assert.is(at(48, 1024, 'sequence').choice.kernel, two);
  assert.is(at(24, 1024, 'sequence').choice.kernel, two);
});

test.run();
