// Weights that the user gives, in a safetensors file beside the dump (generator/format.ts, WEIGHTS).
import { createHash } from 'node:crypto';
import { InputError } from '../../generator/errors.ts';
import type { DumpLayer } from '../../generator/format.ts';
import { assertFinite, expectTensor, type TensorInfo } from '../../generator/safetensors.ts';
import { openTensors, type TensorFile } from './file.ts';
import { weightsOf } from './weights.ts';

/** An open file of weights; close it when done. */
export interface GivenWeights {
  /** Weights `[kv_heads, tokens]` of the first `tokens` tokens, to the power `power`, each head scaled to mean 1, in memory that threads share. Throws InputError. */
  of(layer: DumpLayer, side: 'k' | 'v', tokens: number, power: number): Float32Array;
  /** Of what was read so far: first 8 bytes of SHA-256, in hex. */
  digest(): string;
  close(): void;
}

const AXES = '[kv_heads, tokens]';

/** Opens a file of weights. Throws InputError if it is not there or broken. */
export function openWeights(path: string): GivenWeights {
  const file = openTensors(path);
  const hash = createHash('sha256');
  return {
    of(layer, side, tokens, power) {
      const info = tensorOf(file, layer, side);
      const out = new Float32Array(new SharedArrayBuffer(layer.kvHeads * tokens * 4));
      const bytes = new Uint8Array(out.buffer);
      const [all, used] = [layer.tokens * 4, tokens * 4];
      for (let head = 0; head < layer.kvHeads; head++) file.read(info.offset + head * all, bytes.subarray(head * used, (head + 1) * used));
      hash.update(bytes);
      assertFinite(file.header, { ...info, shape: [layer.kvHeads, tokens] }, bytes);
      for (let head = 0; head < layer.kvHeads; head++) {
        const mine = out.subarray(head * tokens, (head + 1) * tokens);
        mine.set(scaled(mine, `${path}: tensor "${info.name}", head ${head}`, power));
      }
      return out;
    },
    digest: () => hash.copy().digest('hex').slice(0, 16),
    close: file.close,
  };
}

/** The tensor of a side: its own, or that of both. */
function tensorOf({ header }: TensorFile, layer: DumpLayer, side: 'k' | 'v'): TensorInfo {
  const prefix = layer.v.name.slice(0, -1);
  const own = `${prefix}weights_${side}`;
  const name = header.tensors.has(own) ? own : `${prefix}weights`;
  if (!header.tensors.has(name)) throw new InputError(`${header.source}: no weights for the ${side === 'k' ? 'keys' : 'values'} of layer ${layer.layer}`, `add ${prefix}weights or ${own}, F32 ${AXES} (generator/format.ts)`);
  return expectTensor(header, name, { dtype: 'F32', shape: [layer.kvHeads, layer.tokens], axes: AXES });
}

function scaled(given: Float32Array, where: string, power: number): Float32Array {
  const negative = given.findIndex((weight) => weight < 0);
  if (negative >= 0) throw new InputError(`${where}: the weight of token ${negative} is ${given[negative]}`, 'a weight is at least 0; 0 leaves a token out');
  const most = given.reduce((a, b) => Math.max(a, b), 0);
  if (most === 0) throw new InputError(`${where}: no token has a weight above 0`, 'give some tokens a weight, or calibrate with --weights none');
  // Parts of the largest, so that no power overflows.
  return weightsOf(Float64Array.from(given, (weight) => weight / most), power);
}
