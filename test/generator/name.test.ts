// Tests generator/name.ts.
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ARCHS, findArch } from '../../generator/arch.ts';
import { AXES, AXES_OF, contractOf, OPS } from '../../generator/contract.ts';
import { contractName, kernelName, NAME_LIMIT, parseContractName, parseKernelName } from '../../generator/name.ts';
import { ALGORITHMS, defaultTile, tileFields, type Tile } from '../../generator/tile.ts';
import { anyContract, anyKernel, everyContract } from './products.ts';

const arch = ARCHS[0]!;
const DECODE = 'antkv_decode_d128_k8c8b_v8c8bq8_f16';

test('names read as they are documented', () => {
  const cache = { headDim: 128, k: '8c8b', v: '8c8bq8', dtype: 'f16', key: 'pre', gain: 'k' } as const;
  const decode = contractOf('decode', cache);
  const name = (op: 'decode' | 'combine' | 'score' | 'select' | 'encode', contract = contractOf(op, { ...cache, form: 'exact' })) => kernelName({ contract, arch, tile: defaultTile(contract, arch) });
  assert.is(kernelName({ contract: decode, arch, tile: { warps: 4, tokens: 64, stages: 2 } }), 'antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain__sm80_w4_t64_s2');
  const fast = { contract: { ...decode, key: 'post', gain: 'none', columns: 4 } as const, arch: findArch('sm90')!, tile: { algorithm: 'lookup', warps: 16, stages: 2, copies: 4 } as const };
  assert.is(kernelName(fast), 'antkv_decode_d128_k8c8b_v8c8bq8_f16_n4__sm90_lookup_w16_s2_c4');
  assert.is(name('encode'), 'antkv_encode_d128_k8c8b_v8c8bq8_f16_pre_gain__sm80_w4_t64');
  assert.is(name('combine'), 'antkv_combine_d128_f16__sm80_w4');
  assert.is(name('score'), 'antkv_score_d128_f16_exact__sm80_w8_t256_s3');
  assert.is(name('select'), 'antkv_select__sm80_w32');
  assert.is(contractName({ ...decode, gain: 'kv', columns: 32, softcap: true, sink: true, numerics: 'adc8' }), 'antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gainkv_n32_softcap_sink_adc8');
});

test('every contract reads back, under a name of its own', () => {
  for (const op of OPS) {
    const seen = new Set<string>();
    for (const contract of everyContract(op)) {
      const name = contractName(contract);
      seen.add(name);
      const back = parseContractName(name);
      // Half a million contracts: the slow comparison only explains a failure.
      if (AXES_OF[op].some((axis) => back[axis] !== contract[axis])) assert.equal(back, contract, name);
    }
    assert.is(seen.size, AXES_OF[op].reduce((product, axis) => product * AXES[axis].length, 1), op);
  }
});

test('any contract and any kernel reads back', () => {
  fc.assert(fc.property(anyContract, (contract) => assert.equal(parseContractName(contractName(contract)), contract)), { numRuns: 2000 });
  fc.assert(fc.property(anyKernel, (kernel) => assert.equal(parseKernelName(kernelName(kernel)), kernel)), { numRuns: 2000 });
});

test('a name that was not written here is refused: parsing never gives another name back', () => {
  const letter = fc.constantFrom(...'_0123456789abcdefkmnpqrstvwx');
  const spoilt = fc.tuple(anyKernel.map(kernelName), fc.nat(200), fc.constantFrom('insert', 'delete', 'replace'), letter).map(([name, at, how, c]) => {
    const i = at % name.length;
    return name.slice(0, i) + (how === 'delete' ? '' : c) + name.slice(how === 'insert' ? i : i + 1);
  });
  let refused = 0;
  fc.assert(
    fc.property(spoilt, (name) => {
      let back: string | undefined;
      try {
        back = kernelName(parseKernelName(name));
      } catch {
        refused++;
      }
      assert.ok(back === undefined || back === name);
    }),
    { numRuns: 5000 },
  );
  assert.ok(refused > 3000, `only ${refused} of 5000 spoilt names were refused`);
});

test('refusals say where', () => {
  const refusals: [string, RegExp][] = [
    ['antkv_decode', /it ends where headDim/],
    ['antkv_decode_d128_k8c8b_f16', /"f16" stands where v/],
    ['antkv_decode_d128_k8c8b_v8c8b_f16_post', /"post" does not belong/],
    ['antkv_decode_d128_k8c8b_v8c8b_f16_exact', /"exact" does not belong/],
    ['antkv_decode_d0128_k8c8b_v8c8b_f16', /stands where headDim/],
    ['antkv_decod', /"decod" is not an op/],
    ['vq_select', /begin with antkv_/],
    ['antkv_select_', /does not belong/],
  ];
  for (const [name, want] of refusals) assert.throws(() => parseContractName(name), want, name);
  for (const name of ['antkv_select', 'antkv_select__sm80', 'antkv_select__sm80_w08', 'antkv_select__sm80_t8', 'antkv_select__sm80_w8_t8', 'antkv_select__sm81_w8', 'antkv_select__sm80_w8__x', 'antkv_select__sm80_lookup_w8', `${DECODE}__sm80_rows_w4_t64_s2`, `${DECODE}__sm80_lookup_w4_t64_s2`, `${DECODE}__sm80_w16_s2_c4`]) {
    assert.throws(() => parseKernelName(name), /is not a kernel's name/, name);
  }
});

test(`no name is longer than ${NAME_LIMIT}`, () => {
  // Words do not depend on each other, so the longest word of each axis makes the longest name.
  for (const op of OPS) {
    const longest = { op } as Record<string, unknown>;
    for (const axis of AXES_OF[op]) {
      const lengthOf = (value: unknown): number => contractName({ ...contractOf(op, { headDim: 128, k: '8c8b', v: '8c8b', dtype: 'f16' }), [axis]: value }).length;
      longest[axis] = [...AXES[axis]].sort((a, b) => lengthOf(b) - lengthOf(a))[0];
    }
    for (const algorithm of [undefined, ...(ALGORITHMS[op] ?? [])]) {
      const numbers = Object.fromEntries(tileFields(op, algorithm).map((field) => [field, { warps: 16, tokens: 1024, stages: 4, copies: 4, pass: 4 }[field]]));
      const tile = { ...(algorithm ? { algorithm } : {}), ...numbers } as unknown as Tile;
      // Keys before RoPE have neither tallies nor int8 sums, and `adc8` is longer than `pre`.
      const contract = longest['numerics'] === undefined ? longest : { ...longest, key: 'post' };
      const name = kernelName({ contract: contract as never, arch: ARCHS.find(({ name: n }) => n === 'sm103')!, tile });
      assert.ok(name.length <= NAME_LIMIT, `${name.length}: ${name}`);
    }
  }
});

test.run();
