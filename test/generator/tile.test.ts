// Tests generator/tile.ts.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ARCHS, findArch } from '../../generator/arch.ts';
import { contractOf, type Op } from '../../generator/contract.ts';
import { shippedKernels } from '../../generator/ship.ts';
import { defaultTile, misfit, threadsOf, type Tile } from '../../generator/tile.ts';

const sm80 = findArch('sm80')!;
const contract = (op: Op, headDim: 64 | 128 = 128) => contractOf(op, { headDim, k: '8c8b', v: '8c8bq8', dtype: 'f16', key: 'pre', gain: 'k' });

const MISFITS: [op: Op, tile: Tile, want: RegExp][] = [
  ['decode', { warps: 3, tokens: 96, stages: 2 }, /3 warps is not a power of two/],
  ['decode', { warps: 0, tokens: 64, stages: 2 }, /0 warps/],
  ['decode', { warps: 32, tokens: 512, stages: 1 }, /32 warps/],
  ['decode', { warps: 4, tokens: 32, stages: 2 }, /do not split into 16 rows for each of 4 warps/],
  ['decode', { warps: 4, tokens: 60, stages: 2 }, /60 tokens is not a multiple of 16/],
  ['decode', { warps: 4, tokens: 64, stages: 5 }, /5 stages/],
  ['decode', { warps: 4, tokens: 64, stages: 0 }, /0 stages/],
  ['decode', { warps: 4, tokens: 64 }, /a tile of decode has warps, tokens, stages/],
  ['decode', { warps: 16, tokens: 1024, stages: 4 }, /B of shared memory, sm80 has 166912/],
  ['encode', { warps: 4, tokens: 256 }, /at most 128/],
  ['encode', { warps: 4, tokens: 8 }, /multiple of 16/],
  ['encode', { warps: 4, tokens: 32, stages: 2 }, /a tile of encode has warps, tokens/],
  ['score', { warps: 4, tokens: 48 }, /do not split/],
  ['select', { warps: 4, tokens: 16 }, /a tile of select has warps/],
];
for (const [op, tile, want] of MISFITS) test(`${op} ${JSON.stringify(tile)} does not fit`, () => assert.match(misfit(contract(op), tile, sm80).join('\n'), want));

test('default tiles fit every shipped contract on every architecture', () => {
  for (const { contract: shipped } of shippedKernels()) for (const arch of ARCHS) assert.equal(misfit(shipped, defaultTile(shipped.op), arch), [], arch.name);
});

test('shared memory decides by architecture', () => {
  const tile = { warps: 8, tokens: 256, stages: 4 };
  assert.equal(misfit(contract('decode'), tile, findArch('sm90')!), []);
  assert.match(misfit(contract('decode'), tile, findArch('sm86')!).join(), /sm86 has 101376/);
});

test('a warp has 32 threads', () => assert.is(threadsOf({ warps: 4 }), 128));

test.run();
