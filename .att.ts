import { writeFileSync } from 'node:fs';
import { emulated, emulatedRunner, cacheAxes } from './test/harness/ops/lab.ts';
import { calibrate } from './tuner/calibrate/calibrate.ts';
import { openDump } from './tuner/calibrate/file.ts';
import { presetOf } from './generator/presets.ts';
import { packCodebook } from './generator/pack.ts';
import { fixture } from './test/fixtures/paths.ts';
const t0 = Date.now(); const lap = (w: string) => console.log(((Date.now()-t0)/1000).toFixed(1), w);
const r = await emulatedRunner();
for (const [name, words] of [['antkv-1','d128 8c8b/8c8bq8 pre gain'],['antkv-1','d128 8c8b/8c8bq8 pre'],['antkv-2','d128 4c8b/4c8b pre gain'],['antkv-1-fast','d128 8c8b/8c8bq8 post gain']] as const) {
  const c = await calibrate(openDump(fixture('kv-calib-small')), { recipe: presetOf(name), iterations: 8 });
  lap('calibrated');
  const layer = [...c.layers.values()][0]!;
  for (const s of ['k','v'] as const) writeFileSync(`/tmp/cb.${s}`, packCodebook(layer[s]!.codec, 128, layer[s]!.tensor));
  const ax = cacheAxes(words);
  const kernels = { score: await emulated('score', { headDim: 128, dtype: 'f16' }), select: await emulated('select', {}), encode: await emulated('encode', ax), decode: await emulated('decode', ax), combine: await emulated('combine', { headDim: 128, dtype: 'f16' }) };
  lap('built');
  for (const budget_permille of [10]) for (const splits of [1, 3]) console.log(words, JSON.stringify(await r.attend({ cmd: 'attend', kernels, data: { file: fixture('kv-eval-small') }, codebook: { k: '/tmp/cb.k', v: '/tmp/cb.v' }, recipe: { budget_permille, first_tokens: 0 }, rope: { theta: 10000 }, queries: { count: 64 }, splits })));
  lap('attended');
}
await r.close();
