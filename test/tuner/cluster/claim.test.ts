// Tests tuner/cluster/claim.ts: one owner, a beat while it lives, the next attempt when it is lost.
import { mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { claimTask, latestClaim } from '../../../tuner/cluster/claim.ts';
import { pathsOf } from '../../../tuner/cluster/work.ts';
import { temporaryFolder } from '../../folder.ts';
import { fill } from './fake.ts';

const PULSE = { beatMs: 40, lostMs: 400 };
const filled = (): string => {
  const work = temporaryFolder();
  fill(work, 2);
  return work;
};

test('of many that ask at once one gets it; the others learn that it lives', async () => {
  const work = filled();
  const claims = (await Promise.all(Array.from({ length: 12 }, (_, i) => claimTask(work, 1, `worker ${i}`, PULSE)))).filter((claim) => claim !== undefined);
  assert.equal(claims.map(({ word }) => word), ['0001.1']);
  await claims[0]!.release('done');
});

test('a claim that ended makes room at once', async () => {
  const work = filled();
  await (await claimTask(work, 0, 'a', PULSE))!.release('again');
  const begun = performance.now();
  const next = (await claimTask(work, 0, 'b', PULSE))!;
  assert.is(next.word, '0000.2');
  assert.ok(performance.now() - begun < PULSE.lostMs / 2);
  const { end, by } = (await latestClaim(work, 0))!;
  assert.equal([end, by], [undefined, 'b']);
  await next.release('done');
  assert.is((await latestClaim(work, 0))!.end, 'done');
});

test('a silent owner is lost after a while, one that left no beat too', async () => {
  const work = filled();
  for (const beat of [true, false]) {
    const attempt = beat ? 1 : 3;
    const dir = pathsOf(work).claim(`0000.${attempt}`);
    mkdirSync(dir);
    if (beat) writeFileSync(join(dir, 'beat'), 'dead\n');
    const begun = performance.now();
    const next = (await claimTask(work, 0, 'next', PULSE))!;
    assert.is(next.attempt, attempt + 1);
    assert.ok(performance.now() - begun > PULSE.lostMs * 0.8, `${performance.now() - begun}`);
    await next.release('again');
  }
});

test('long silent: no wait', async () => {
  const work = filled();
  const dir = pathsOf(work).claim('0001.1');
  mkdirSync(dir);
  writeFileSync(join(dir, 'beat'), 'dead\n');
  const old = new Date(Date.now() - 60_000);
  utimesSync(join(dir, 'beat'), old, old);
  const begun = performance.now();
  await (await claimTask(work, 1, 'b', PULSE))!.release('done');
  assert.ok(performance.now() - begun < 300);
});

test('who was taken for lost hears it', async () => {
  const work = filled();
  const claim = (await claimTask(work, 0, 'frozen', PULSE))!;
  mkdirSync(pathsOf(work).claim('0000.2'));
  for (let i = 0; i < 50 && !claim.taken.aborted; i++) await setTimeout(20);
  assert.ok(claim.taken.aborted);
});

test('waiting ends with the signal', async () => {
  const work = filled();
  mkdirSync(pathsOf(work).claim('0000.1'));
  const stop = new AbortController();
  const waiting = claimTask(work, 0, 'b', { beatMs: 40, lostMs: 60_000 }, stop.signal);
  stop.abort();
  await waiting.then(() => assert.unreachable(), () => {});
});

test.run();
