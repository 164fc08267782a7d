// Tests generator/bindings/kernels.ts; test/harness/load compiles and uses what it prints.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PARAM_STRUCTS } from '../../../generator/abi.ts';
import { kernelsDigest, needOf, needsOf, printKernels } from '../../../generator/bindings/kernels.ts';
import type { Op } from '../../../generator/contract.ts';
import { GRID } from '../../../generator/launch.ts';
import { contractName, kernelName, parseContractName } from '../../../generator/name.ts';
import { kernelsToShip, shippedContracts, shippedKernels } from '../../../generator/ship.ts';

const kernels = shippedKernels();
const text = printKernels(kernels);

test('every kernel is a row, sorted by contract, whatever the order given', () => {
  const names = [...text.matchAll(/^ {2}\{"(\w+)",\n {3}"(\w+)",\n {3}"sm\d+\/\2\.fatbin",\n/gm)];
  assert.equal(names.map(([, , symbol]) => symbol).sort(), kernels.map(kernelName).sort());
  assert.equal(names.map(([, contract]) => contract), kernels.map(({ contract }) => contractName(contract)).sort());
  assert.match(text, new RegExp(`#define ANTKV_KERNEL_COUNT ${kernels.length}\\n`));
  // Of a contract and architecture the order is the user's: the first is the default. Without tables there is one.
  const usual = kernelsToShip([...shippedContracts().values()].map(({ contract }) => contract), []);
  assert.is(printKernels([...usual].reverse()), printKernels(usual));
});

test('the first kernel given of a contract stays first: the default', () => {
  const kernel = kernels.find(({ contract }) => contract.op === 'select')!;
  const wide = { ...kernel, tile: { warps: 16 } };
  const symbols = (list: typeof kernels): (string | undefined)[] => [...printKernels(list).matchAll(/^ {3}"(antkv_select__\w+)"/gm)].map(([, symbol]) => symbol);
  assert.equal(symbols([kernel, wide]), [kernelName(kernel), kernelName(wide)]);
  assert.equal(symbols([wide, kernel]), [kernelName(wide), kernelName(kernel)]);
});

test('the digest is of the rows: the same whatever the order given, another when a launch is', () => {
  assert.match(kernelsDigest(kernels), /^0x[0-9a-f]{16}ull$/);
  assert.match(text, `#define ANTKV_KERNELS_DIGEST ${kernelsDigest(kernels)}\n`);
  const [first, ...rest] = kernels;
  assert.is(kernelsDigest([...rest, first!]), kernelsDigest(kernels));
  const others = [kernels.slice(1), [{ ...first!, tile: { ...first!.tile, warps: 2 * first!.tile.warps } }, ...rest]];
  assert.is(new Set([kernels, ...others].map(kernelsDigest)).size, 3);
});

test('without kernels it is still C: the array keeps its row of zeros', () => {
  assert.match(printKernels([]), /#define ANTKV_KERNEL_COUNT 0\n[\s\S]*rows\[ANTKV_KERNEL_COUNT \+ 1\] = \{\n {2}\{0(, 0){14}\},\n\};/);
});

// Pointers whose doc does not speak of null, and which yet depend on other fields: the loader's own code checks them.
const BY_OTHER_FIELDS = ['append.anchors', 'append.ring_v', 'decode.out', 'combine.out', 'combine.partial_o', 'combine.partial_lse', 'encode.anchors', 'decode.anchors', 'unpack.anchors', 'decode.ring_v'];

test('pointers are required exactly where their doc does not allow null', () => {
  for (const { op, fields } of PARAM_STRUCTS.filter((s) => GRID[s.op as Op])) {
    for (const { name, type, doc } of fields) {
      if (type !== 'ptr' || BY_OTHER_FIELDS.includes(`${op}.${name}`)) continue;
      const need = needOf(op as Op, name);
      if (need === undefined) assert.match(doc, /null/, `${op}.${name} is optional, but its doc does not say what null means`);
      else if (need === 'always') assert.not.match(doc, /null/, `${op}.${name} is required, but its doc speaks of null`);
      else assert.match(doc, /null for|only/, `${op}.${name} is required by some contracts, but its doc does not say by which`);
    }
  }
});

test('needs follow from the contract', () => {
  assert.equal(needsOf(parseContractName('antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain')), ['always', 'keys', 'values', 'rope']);
  assert.equal(needsOf(parseContractName('antkv_decode_d128_kf16_v8c8b_f16_sink')), ['always', 'values', 'sinks']);
  assert.equal(needsOf(parseContractName('antkv_score_d64_f16_exact')), ['always', 'exact', 'rows']);
  assert.equal(needsOf(parseContractName('antkv_score_d64_f16_norm')), ['always']);
  assert.equal(needsOf(parseContractName('antkv_select')), ['always']);
});

test.run();
