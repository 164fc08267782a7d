// Tests generator/launch.ts.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { paramStruct } from '../../generator/abi.ts';
import type { Op } from '../../generator/contract.ts';
import { GRID, gridOf, gridOfTile } from '../../generator/launch.ts';
import { shippedKernels } from '../../generator/ship.ts';

test('a grid is made of fields of the op\'s struct, and of the tile', () => {
  for (const [op, grid] of Object.entries(GRID)) {
    const fields = [...paramStruct(op).fields.map(({ name }) => name), 'columns', 'tokens', 'warps', 'ceil'];
    for (const word of grid.join(' ').match(/[a-z_]+/g) ?? []) assert.ok(fields.includes(word), `${op}: ${word}`);
  }
});

test('every shipped op has a grid, and what is none says so', () => {
  for (const { contract } of shippedKernels()) assert.is(gridOf(contract.op).length, 3);
  assert.throws(() => gridOf('fly' as Op), /fly has no launch geometry yet/);
});

test('a kernel\'s own numbers are filled in', () => {
  assert.equal(gridOfTile({ op: 'score' }, { warps: 4, tokens: 64 }), ['ceil(max_tokens / 64)', 'kv_heads', 'batch']);
  assert.equal(gridOfTile({ op: 'combine' }, { warps: 4 }), ['rows', 'ceil(q_heads / 4)', '1']);
  assert.equal(gridOfTile({ op: 'decode', columns: 4 }, { warps: 16 }), ['splits', 'kv_heads * ceil(max_q_len * (q_heads / kv_heads) / 4)', 'spread ? 1 : batch']);
  assert.throws(() => gridOfTile({ op: 'score' }, { warps: 4 }), /the grid of score needs tokens/);
});

test.run();
