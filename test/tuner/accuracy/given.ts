// Records of perplexity for tests.
import { accuracySchema, type Accuracy } from '../../../tuner/accuracy/record.ts';

export interface Given {
  readonly bits?: number;
  readonly perplexity?: number;
  readonly name?: string;
  readonly rule?: string;
  readonly on?: string;
  /** Members of the recipe. */
  readonly recipe?: Readonly<Record<string, string | number>>;
}

const RECIPE = { k: '8c8b', v: '8c8b', key: 'pre', gain: 'none', transform: 'none', scope: 'chunk', policy: 'none', selection: 'global', budget_permille: 0, first_tokens: 0, window: 0, flush_block: 128 };

/** A strict record of one bit; `given` changes it. */
export const accuracy = ({ bits = 1, perplexity = 6, name = `at ${bits}`, rule = 'newest', on = 'validation', recipe = {} }: Given = {}): Accuracy =>
  accuracySchema.parse({
    record: 'perplexity', schema: 1, model: 'lm-a', run: { name, rule, on, plan: [{ ...RECIPE, ...recipe }] }, perplexity, exact: 3.4325, increase: perplexity - 3.4325,
    bits: bits + 0.01, bits_at: 32768, held_bits: bits, codebook_bytes: 1_572_864, windows: [8, 4096], source: 'simulation, fp32', device: 'a test',
  });
