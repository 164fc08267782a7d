// Lives find bugs: kernels with one line changed, each of which must end in a fault that names what is wrong.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { findArch } from '../../../generator/arch.ts';
import { contractOf } from '../../../generator/contract.ts';
import { kernelName } from '../../../generator/name.ts';
import { renderKernel } from '../../../generator/source.ts';
import { defaultTile } from '../../../generator/tile.ts';
import { buildEmulatedKernel } from '../../../tuner/host.ts';
import type { LifeKernels } from '../../../tuner/life-schema.ts';
import { kernelRef } from '../../../tuner/problem.ts';
import type { Runner } from '../../../tuner/runner.ts';
import { cacheAxes, emulatedRunner } from '../ops/lab.ts';
import { lifeKernels, type Life } from './lab.ts';

const test = suite('life, planted bugs');
const WORDS = 'd64 4c8b/4c8bq8 post';
const arch = findArch('sm80')!;
let runner: Runner;

test('runner and kernels build, and without a change the life is without fault', async () => {
  runner = await emulatedRunner();
  const record = await runner.life({ cmd: 'life', kernels: await lifeKernels(WORDS), ...LIFE });
  assert.equal(record.faults, []);
  for (const event of ['handed_back', 'handed_back_shared', 'prefixes', 'rejected', 'turns'] as const) assert.ok(record.events[event]! > 0, event);
});
test.after(() => runner?.close());

/** Long enough for every bug below to matter. */
const LIFE: Life = { seed: 12, steps: 500, shape: { budget_permille: 40, first_tokens: 2, sequences: 4, rows: 6, max_tokens: 600 }, events: { prefix: 120, fork: 60, end: 10, turn: 150 } };

/** Anchors that lose stay, and at some time there is no more room. */
const POOLS: Life = { ...LIFE, steps: 150, shape: { ...LIFE.shape, budget_permille: 20, extra_tokens: 3 } };

const PLANTS: readonly (readonly [what: string, op: 'append' | 'decode' | 'encode', from: string, to: string, fault: RegExp, life?: Life])[] = [
  ['rows count before their token is there', 'append', 'count + (end > first ? end - first : 0)', 'count + end', /has the sum .* rows, not/],
  ['rows count after their token would have left', 'append', 'smaller(s.accepted, leaves > first ? leaves : first)', 's.accepted', /has the sum .* rows, not|anchor bits differ|has the score/],
  ['scores of another row are folded', 'append', 'int64_t(s.score_row + i) * p.q_heads', 'int64_t(s.score_row) * p.q_heads', /has the sum/],
  ['an anchor that is handed back keeps its bit', 'append', '~(1u << place % 32)', '~0u', /anchor bits differ/],
  ['inherited anchors are handed back', 'append', 'c.token < f.frozen_len || limit.keeps(c)', 'limit.keeps(c)', /not its to write|anchor bits differ/],
  ['the budget forgets what is inherited', 'append', '- load_shared(&mem.inherited)', '', /anchor bits differ/],
  ['first tokens have no privilege', 'append', 'if (c.token < p.first_tokens) c.rank = ~0u;', 'if (c.token < 0) c.rank = ~0u;', /anchor bits differ/],
  ['the window is ignored', 'append', '<= s.tokens - p.window', '<= s.tokens', /global-out-of-bounds|host-pointer/],
  ['a frozen score is that of another token', 'append', 'load_global(f.token_score + token % p.ring_rows)', 'load_global(f.token_score + f.begin % p.ring_rows)', /has the score/],
  ['what a prompt scored is lost', 'append', 'element_or(p.new_score, from, 0.0f)', '0.0f', /has the sum/],
  ['anchors that lose are handed back though there are extra tokens', 'append', 'if (p.extra_tokens > 0) return;', '', /anchor bits differ/, POOLS],
  ['extra tokens have room without end', 'append', 'budget + p.extra_tokens - present', 'budget + p.extra_tokens', /anchor bits differ/, POOLS],
  ['a block wins beside the pool', 'append', 'return fitting.stricter(best) ? fitting : best;', 'return fitting;', /anchor bits differ/, POOLS],
  ['encode freezes sums instead of means', 'encode', 'if (p.score_rows) score /=', 'if (false) score /=', /has the score/],
];
/** The faults of a life, or what the emulated driver says of a kernel that it stops. */
async function faultsOf(kernels: LifeKernels, life: Life): Promise<string> {
  const record = await runner.life({ cmd: 'life', kernels, ...life }).catch((error: Error) => error.message);
  return typeof record === 'string' ? record : record.faults.join('\n');
}

test('without copies of anchor pages that have rows of others, a longer prefix takes those in', async () => {
  assert.match(await faultsOf(await lifeKernels(WORDS), { ...LIFE, shape: { ...LIFE.shape, seal: false } }), /is no anchor's, or a second one/);
});

for (const [what, op, from, to, fault, life = LIFE] of PLANTS) {
  test(what, async () => {
    const contract = contractOf(op, cacheAxes(WORDS));
    const kernel = { contract, arch, tile: defaultTile(contract, arch) };
    const text = renderKernel(kernel);
    assert.ok(text.includes(from), `the source has no "${from}"`);
    const name = kernelName(kernel);
    const planted = kernelRef(name, await buildEmulatedKernel(name, text.replace(from, to)));
      const found = await faultsOf({ ...(await lifeKernels(WORDS)), [op]: planted }, life);
    assert.match(found, fault, found.slice(0, 400) || 'no fault');
  });
}

test.run();
