// The comparison of policies on the fixture, emulated: every kernel right, every life without fault, and what is known of the answer.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { presetOf } from '../../generator/presets.ts';
import { comparePolicies } from '../../tuner/policies.ts';
import { fixture } from '../fixtures/paths.ts';

test('anchors by attention beat none, over the prompt and online; OTT hands nothing back', async () => {
  const { rows } = await comparePolicies({ recipe: presetOf('antkv-1'), tokens: 768, queries: 16, prompt: 256, evaluation: fixture('kv-eval-small'), calibration: fixture('kv-calib-small'), device: 'emulated' });
  for (const { policy, prompt, online } of rows) {
    assert.equal(online.life.faults, [], policy);
    for (const { faults } of prompt) assert.equal(faults, [], policy);
  }
  const row = (name: string) => rows.find(({ policy }) => policy === name)!;
  const errors = (name: string): number[] => [...row(name).prompt.map(({ error, errorWithAnchors }) => errorWithAnchors ?? error), row(name).online.records.at(-1)!.error!];
  for (const policy of ['column', 'mass', 'massq', 'exact', 'saliency']) errors(policy).forEach((error, i) => assert.ok(error < errors('none')[i]!, `${policy}: ${error}`));
  assert.equal([row('none').online.life.events['found'], row('OTT 3 + 32').online.life.events['handed_back']], [0, 0]);
});

test.run();
