// Tests tuner/search/seeds.ts: whose winners a search begins with.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findArch } from '../../../generator/arch.ts';
import { parseContractName } from '../../../generator/name.ts';
import type { Table } from '../../../generator/table/schema.ts';
import { seedsOf, winnersOf, type Winner } from '../../../tuner/search/seeds.ts';
import { DEFAULT_TUNING } from '../../../tuner/space/grid.ts';
import { taskOf } from '../../../tuner/space/tasks.ts';

const decode = (words: string, tile: string, arch = 'sm90'): string => `antkv_decode_d128_${words}__${arch}_${tile}`;
const contract = parseContractName('antkv_decode_d128_k8c8b_v8c8bq8_f16_gain_n4');
const { task } = taskOf(contract, findArch('sm90')!, DEFAULT_TUNING, { sms: 132, memoryBytes: 2 ** 37 }, undefined)!;
const won = (kernel: string, wins: number, cc = 90, sms = 132): Winner => ({ kernel, cc, sms, wins });
const tiles = (ids: readonly string[]): string[] => ids.map((id) => id.replace(/^.*__sm90_/, ''));

test('the default first, then winners of the contract, the nearest device first, then most wins, then other contracts', () => {
  const usual = tiles(task.kernels)[0]!;
  const winners = [
    won(decode('k4c8b_v4c8bq8_f16_gain_n4', 'lookup_w12_s1_c4'), 99),
    won(decode('k8c8b_v8c8bq8_f16_gain_n4', 'lookup_w8_s2_c4'), 1),
    won(decode('k8c8b_v8c8bq8_f16_gain_n4', 'lookup_w8_s1_c4'), 7),
    won(decode('k8c8b_v8c8bq8_f16_gain_n4', 'lookup_w4_s2_c4', 'sm80'), 50, 80, 108),
    won('antkv_select__sm90_w8', 60),
    won(decode('k8c8b_v8c8bq8_f16_gain_n4', 'lookup_w16_s2_c4'), 3),
  ];
  assert.equal(tiles(seedsOf(task, winners, { cc: 90, sms: 132 })), [usual, 'lookup_w8_s1_c4', 'lookup_w8_s2_c4', 'lookup_w4_s2_c4', 'lookup_w12_s1_c4'].filter((tile, i) => i === 0 || tile !== usual));
  assert.is(seedsOf(task, winners, { cc: 90, sms: 132, most: 1 }).length, 2);
  assert.ok(seedsOf(task, winners, { cc: 90, sms: 132 }).every((id) => task.kernels.includes(id)));
});

test('without winners there is the default; tiles that the contract cannot have are left out', () => {
  assert.equal(seedsOf(task, [], { cc: 80, sms: 108 }), [task.kernels[0]]);
  assert.equal(seedsOf(task, [won('antkv_decode_d128_kf16_vf16_f16__sm90_w16_t4096_s4', 5)], { cc: 90, sms: 132 }), [task.kernels[0]]);
});

test('the winners of a table are the best of its points, counted', () => {
  const point = (kernel: string) => ({ best: { kernel, launch: '1', us: 1 } });
  const table = { device: { cc: 80, sms: 108 }, contracts: { a: { points: [point('x'), point('y'), point('x')] }, b: { points: [point('x')] } } } as unknown as Table;
  assert.equal(winnersOf(table), [{ kernel: 'x', cc: 80, sms: 108, wins: 3 }, { kernel: 'y', cc: 80, sms: 108, wins: 1 }]);
});

test.run();
