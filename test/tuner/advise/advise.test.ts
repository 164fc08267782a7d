// Tests tuner/advise: memory by the formats' own sizes, times from tables, what a task asks, what records say.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { footprint } from '../../../generator/bits.ts';
import { PRESETS, presetOf } from '../../../generator/presets.ts';
import { parseRecipe, type Recipe } from '../../../generator/recipe.ts';
import { shippedKernels, withChosen } from '../../../generator/ship.ts';
import { entriesOf } from '../../../generator/table/entries.ts';
import { committedTables } from '../../../generator/table/read.ts';
import { advise, type Question } from '../../../tuner/advise/advise.ts';
import { keysShort, lossOf } from '../../../tuner/advise/accuracy.ts';
import { memoryOf } from '../../../tuner/advise/memory.ts';
import { speedOf } from '../../../tuner/advise/speed.ts';
import { accuracy } from '../accuracy/given.ts';

const test = suite('advise');
const SHAPE = { layers: 32, qHeads: 32, kvHeads: 8, headDim: 128 };
const H200 = committedTables().find(({ file }) => file === 'sm90/table.nvidia-h200.json')!;
const kernels = withChosen(shippedKernels(), [H200]);
const tables = { entries: entriesOf([H200], kernels), kernels, device: H200.table.device };
const question = (more: Partial<Question> = {}): Question => ({ shape: SHAPE, context: 32768, batch: 1, memory: 80e9, task: 'chat', ...more });
const recipe = (members: object): Recipe => parseRecipe(members, 'a test');

test('memory is that of whole pages, rings and codebooks; the longest context fits and one more does not', () => {
  const one = presetOf('antkv-1');
  const { sequence, codebooks, longest, batch } = memoryOf(one, SHAPE, 32768, 2e9);
  const bytes = (tokens: number): number => 256 * footprint(one, 128, tokens).allocatedBytes;
  assert.equal([sequence, codebooks], [bytes(32768), 256 * footprint(one, 128, 32768).codebookBytes]);
  assert.ok(bytes(longest) + codebooks <= 2e9 && bytes(longest + 1) + codebooks > 2e9, String(longest));
  assert.ok(batch * sequence + codebooks <= 2e9 && (batch + 1) * sequence + codebooks > 2e9, String(batch));
  assert.equal(memoryOf(presetOf('f16'), SHAPE, 1024, 80e9).bytesPerToken, 32 * 8 * 128 * 4);
  const none = memoryOf(one, SHAPE, 32768, 1e6); // not even its codebooks
  assert.equal([none.longest, none.batch], [0, 0]);
});

test('time is the chosen kernel\'s at a measured point, grows between points, and is marked beyond them', () => {
  const rows = H200.table.contracts['antkv_decode_d128_k8c8b_v8c8bq8_f16_gain_n4']!;
  const point = rows.points.find(({ mode, streams, tokens }) => mode === 'sequence' && streams === 128 && tokens === 32768)!;
  const at = (batch: number, tokens: number) => speedOf(presetOf('antkv-1-fast'), SHAPE, batch, tokens, tables)!;
  const { kernel, us, extrapolated } = at(16, 32768);
  assert.is(extrapolated, false);
  assert.ok(Math.abs(us! - point.times.find((time) => time.kernel === kernel)!.us) < 1e-6);
  assert.ok(at(16, 40000).us! > us! && at(16, 40000).us! < at(16, 65536).us!);
  const [edge, far] = [at(16, 131072), at(16, 524288)];
  assert.ok(far.extrapolated && Math.abs(far.us! - 4 * edge.us!) < 1e-6);
  const elsewhere = speedOf(presetOf('antkv-1-fast'), SHAPE, 16, 32768, { ...tables, device: { ...tables.device, sms: 114 } })!;
  assert.equal([elsewhere.quality, elsewhere.us], ['arch', undefined]); // the times of another processor are not its own
  assert.is(speedOf(presetOf('antkv-2'), { ...SHAPE, headDim: 64 }, 1, 4096, tables), undefined);
});

test('a task asks for bits; of those that have them the fewest are advised, and what does not fit is said', () => {
  const name = (more: Partial<Question>): string | undefined => advise(question(more), PRESETS, tables, []).best?.name;
  assert.equal([name({ task: 'chat' }), name({ task: 'reasoning' }), name({ task: 'retrieval' }), name({ task: 'long' })], ['antkv-1-fast', 'antkv-2', 'antkv-2', 'antkv-0.5']);
  assert.match(advise(question({ task: 'chat' }), PRESETS, tables, []).why, /^the fewest bits that chat should have, of recipes with committed kernels \(antkv-0\.75-fast has fewer, and no such kernel\): /);
  assert.is(advise(question({ task: 'retrieval', shape: { ...SHAPE, headDim: 96 } }), PRESETS, tables, []).best?.name, 'antkv-2'); // no coded recipe has kernels there
  const tight = advise(question({ task: 'reasoning', context: 131072, batch: 16, memory: 22e9 }), PRESETS, tables, []);
  assert.match(tight.why, /the most bits that fit, though .* reasoning asks for 2/);
  assert.match(tight.rows.find((row) => row.name === 'antkv-2')!.against.join(), /of 16 sequences fit/);
  assert.is(advise(question({ memory: 1e6 }), PRESETS, tables, []).best, undefined);
  const { rows, refused } = advise(question(), PRESETS, tables, []);
  assert.equal(rows.map((row) => row.name).sort().concat(refused.map((row) => row.name)).sort(), [...PRESETS.keys()].sort());
  assert.is(rows.find((row) => row.name === 'f16')!.overExact, 1);
});

test('records speak of the recipe that they are of, with its window or without one; nothing else counts', () => {
  const one = presetOf('antkv-1');
  const used = accuracy({ name: 'online', rule: 'flush', perplexity: 4, recipe: { ...one } });
  const strict = accuracy({ name: 'strict', perplexity: 5, recipe: { ...one, window: 0, selection: 'global' } });
  const worse = accuracy({ name: 'worse', perplexity: 6, recipe: { ...one, window: 0, selection: 'global' } });
  const others = [accuracy({ perplexity: 3.5, recipe: { ...one, window: 0, gain: 'none' } }), accuracy({ on: 'search', perplexity: 3.5, recipe: { ...one, window: 0 } }), accuracy({ rule: 'flush', perplexity: 3.5, recipe: { ...one, window: 64 } })];
  const found = lossOf(one, [...others, worse, strict, used]);
  assert.equal([found.used?.run, found.strict?.run], ['online', 'strict']);
  assert.ok(Math.abs(found.used!.increase - (4 / 3.4325 - 1)) < 1e-12);
  assert.equal(lossOf(one, others), { used: undefined, strict: undefined });
  // A basis that the recipe lacks is another recipe; one that the record lacks is said, and stands back where there is a record with it.
  const plain = { ...one, transform: 'none' as const };
  assert.equal(lossOf(plain, [used]).used, undefined);
  const without = accuracy({ name: 'before', rule: 'flush', perplexity: 3.9, recipe: { ...plain } });
  assert.is(lossOf(one, [without]).used?.run, 'before; without the basis of values');
  assert.equal([lossOf(one, [without, used]).used?.run, lossOf(plain, [without, used]).used?.run], ['online', 'before']);
  const folded = { ...without, run: { ...without.run, name: 'metric', value_basis: 'metric' } };
  assert.equal([lossOf(one, [folded]).used?.run, lossOf(plain, [folded]).used], ['metric', undefined]);
  // of the two recipes of 1 bit, the better one is advised although the other is faster
  assert.is(advise(question(), PRESETS, tables, [strict]).best!.name, 'antkv-1');
});

test('keys get no fewer bits than values, unless that was measured better', () => {
  const short = recipe({ k: '8c8b', v: '4c8b', key: 'pre', gain: 'none', policy: 'none', budget_permille: 0, window: 128 });
  const all = (perplexities: [number, number]) => [['8c8b', '4c8b'], ['4c8b', '8c8b']].map(([k, v], i) => accuracy({ name: `${k} ${v}`, perplexity: perplexities[i]!, recipe: { k: k!, v: v! } }));
  assert.match(keysShort(short, [])!, /fewer bits than values/);
  assert.match(keysShort(short, all([5, 4.5]))!, /8c8b \/ 4c8b/);
  assert.is(keysShort(short, all([4.5, 5])), undefined);
  assert.is(keysShort({ ...short, k: '4c8b' }, []), undefined);
  assert.is(advise(question(), new Map([['short', short]]), tables, []).rows[0]!.against.length, 1);
});

test.run();
