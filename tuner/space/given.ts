// Reads what a user tunes for: a model's config.json, or shapes as JSON lines. Text in, data out.
import { z } from 'zod';
import { AXES, reject } from '../../generator/contract.ts';
import { InputError } from '../../generator/errors.ts';
import { contractName, parseContractName, parseKernelName } from '../../generator/name.ts';
import { HEADS } from '../bench-plan.ts';
import { BENCH_SHAPES } from '../bench-schema.ts';
import { pointShapeSchema } from '../tune/problem.ts';
import { plainShape, type GivenShape, type Tuning } from './grid.ts';

const count = z.int().min(1);
/** The members of a Hugging Face config.json that say how attention is shaped; all others are left alone. */
const modelSchema = z.looseObject({
  num_attention_heads: count,
  num_key_value_heads: count.nullish(),
  head_dim: count.nullish(),
  hidden_size: count.nullish(),
  num_hidden_layers: count.nullish(),
});

export const MODEL_FIX = 'give the config.json of a Hugging Face model: num_attention_heads, num_key_value_heads, and head_dim or hidden_size';
const MOST_RATIO = 16;

/** The heads and head dim of a model. `source` is how messages name the file. Throws InputError for what is no model, or has heads that no kernel takes. */
export function readModel(text: string, source: string): Tuning & { readonly headDim: number; readonly layers: number | null } {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new InputError(`${source} is not JSON: ${(error as Error).message}`, MODEL_FIX);
  }
  // Models of text and pictures have the language model's numbers one level down.
  const inner = typeof json === 'object' && json !== null && 'text_config' in json && !('num_attention_heads' in json) ? (json as { text_config: unknown }).text_config : json;
  const parsed = modelSchema.safeParse(inner);
  if (!parsed.success) throw new InputError(`${source} is not a model's config:\n${z.prettifyError(parsed.error)}`, MODEL_FIX);
  const { num_attention_heads: q_heads, num_key_value_heads, head_dim, hidden_size, num_hidden_layers } = parsed.data;
  const kv_heads = num_key_value_heads ?? q_heads;
  const headDim = head_dim ?? (hidden_size ?? 0) / q_heads;
  if (!(AXES.headDim as readonly number[]).includes(headDim)) throw new InputError(`${source}: head dim ${headDim} (of ${head_dim == null ? `hidden_size ${hidden_size ?? 'missing'} / ${q_heads} heads` : 'head_dim'})`, `kernels have head dims ${AXES.headDim.join(', ')}`);
  if (q_heads % kv_heads !== 0 || q_heads / kv_heads > MOST_RATIO) throw new InputError(`${source}: ${q_heads} query heads over ${kv_heads} KV heads`, `kernels take 1 to ${MOST_RATIO} query heads per KV head, a whole number`);
  return { tunedFor: `model ${source}`, heads: { q_heads, kv_heads }, headDim, layers: num_hidden_layers ?? null };
}

const SHAPES_FIX = 'one JSON object a line: {"batch":16,"tokens":32768}, or a row that gen bench --out wrote; "contract" beside it restricts it to one';
// A bench row's shape says how it was launched; a point is what all launches race for.
const lineSchema = BENCH_SHAPES.decode.extend({ rows: count.optional() });

/** The contract that a line is about: named, or that of a bench row's kernel. */
function contractOfLine(json: Record<string, unknown>, fail: (why: string) => InputError): string | undefined {
  const { contract, kernel } = json;
  try {
    if (typeof contract === 'string') {
      const why = reject(parseContractName(contract));
      if (why.length > 0) throw fail(`${contract} is not offered: ${why.join('; ')}`);
      return contract;
    }
    return json['record'] === 'bench' && typeof kernel === 'string' && json['source'] !== 'peer' ? contractName(parseKernelName(kernel).contract) : undefined;
  } catch (error) {
    throw error instanceof InputError ? error : fail((error as Error).message);
  }
}

/** Shapes from JSON lines, each once. Throws InputError with the line that is none, and for a file without any. */
export function readShapes(text: string, source: string): Tuning {
  const shapes = new Map<string, GivenShape>();
  text.split('\n').forEach((line, i) => {
    if (line.trim() === '') return;
    const fail = (why: string): InputError => new InputError(`${source}, line ${i + 1}: ${why}`, SHAPES_FIX);
    let json: unknown;
    try {
      json = JSON.parse(line);
    } catch {
      throw fail('not JSON');
    }
    if (typeof json !== 'object' || json === null || Array.isArray(json)) throw fail('not an object');
    const fields = json as Record<string, unknown>;
    if (fields['record'] === 'bench' && fields['source'] === 'peer') return;
    const { contract: _, ...bare } = fields;
    const parsed = lineSchema.safeParse(fields['shape'] ?? bare);
    if (!parsed.success) throw fail(z.prettifyError(parsed.error));
    const { splits: _s, spread: _p, merge: _m, ...shape } = parsed.data;
    if (shape.tokens === undefined && shape.lens === undefined) throw fail('neither tokens nor lens');
    const contract = contractOfLine(fields, fail);
    const point = plainShape(pointShapeSchema.parse({ ...HEADS, ...shape }));
    const given: GivenShape = { ...(contract === undefined ? {} : { contract }), shape: point };
    shapes.set(JSON.stringify(given), given);
  });
  const all = [...shapes.values()];
  if (all.length === 0) throw new InputError(`${source} has no shapes`, SHAPES_FIX);
  const { q_heads, kv_heads } = all[0]!.shape;
  return { tunedFor: `shapes ${source}`, heads: { q_heads, kv_heads }, shapes: all };
}
