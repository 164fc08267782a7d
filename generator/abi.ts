// The parameter structs of every op, once. C, Python, Rust and TypeScript declarations are printed from these lists (generator/bindings/).

export type FieldType = 'u32' | 'i32' | 'i64' | 'f32' | 'ptr';

export interface Field {
  readonly name: string;
  readonly type: FieldType;
  /** For pointers: what it points to, as C writes it (`const int32_t`). */
  readonly to?: string;
  /** Shape, unit, and what null or 0 means; becomes the comment of every declaration. */
  readonly doc: string;
}

export interface ParamStruct {
  readonly op: string;
  /** `antkv_<op>_params` */
  readonly name: string;
  readonly doc: string;
  readonly fields: readonly Field[];
}

export const FIELD_BYTES: Readonly<Record<FieldType, number>> = { u32: 4, i32: 4, i64: 8, f32: 4, ptr: 8 };

const ptr = (name: string, to: string, doc: string): Field => ({ name, type: 'ptr', to, doc });
const i64 = (name: string, doc: string): Field => ({ name, type: 'i64', doc });
const i32 = (name: string, doc: string): Field => ({ name, type: 'i32', doc });
const f32 = (name: string, doc: string): Field => ({ name, type: 'f32', doc });

const HEAD: readonly Field[] = [
  { name: 'struct_size', type: 'u32', doc: 'sizeof this struct' },
  { name: 'abi_version', type: 'u32', doc: 'ANTKV_ABI_VERSION' },
];

// Groups that several ops share, so that one thing has one name and one meaning everywhere.
const pagePointers = (access: '' | 'const ', bound = ''): Field[] => [
  ptr('pages', `${access}void`, `coded pages; block of (page, KV head) at pages + page * page_stride + head * page_head_stride${bound}`),
  ptr('block_table', 'const int32_t', '[batch, max_pages] page of each page-sized run of tokens; null: use page_indptr and page_indices'),
  ptr('page_indptr', 'const int32_t', '[batch + 1] CSR offsets into page_indices; null with block_table'),
  ptr('page_indices', 'const int32_t', '[page_indptr[batch]] pages; null with block_table'),
];
const codebookPointers: Field[] = [
  ptr('k_codebook', 'const void', '[kv_heads] packed codebooks of the keys (antkv_pack_codebook); null for exact keys'),
  ptr('v_codebook', 'const void', '[kv_heads] packed codebooks of the values; null for exact values'),
  ptr('inv_freq', 'const float', '[rotary_dim / 2] RoPE frequencies in radians per position; null for contracts without "pre"'),
];
const anchorPointers = (access: '' | 'const '): Field[] => [
  ptr('anchors', `${access}void`, 'anchor pages of 16 rows; block of (page, KV head) at anchors + page * anchor_page_stride + head * anchor_head_stride'),
  ptr('anchor_table', 'const int32_t', '[slots, max_anchor_pages] anchor pages of each sequence, -1 ends the list; null: no anchors'),
  ptr('state_slot', 'const int32_t', '[batch] row of per-sequence state (ring, anchor_table); null: the batch row'),
];
const pageStrides: Field[] = [
  i64('page_stride', 'bytes from page to page'),
  i64('page_head_stride', 'bytes from KV head to KV head inside a page'),
];
const anchorStrides: Field[] = [
  i64('anchor_page_stride', 'bytes from anchor page to anchor page'),
  i64('anchor_head_stride', 'bytes from KV head to KV head inside an anchor page'),
];
const pageInts: Field[] = [
  i32('page_size', 'tokens per page: 16, 32, 64, 128 or 256'),
  i32('max_pages', 'row stride of block_table, in entries'),
];
const ropeInts: Field[] = [
  i32('rotary_dim', 'channels that RoPE rotates, even, at most the head dim'),
  i32('rope_interleaved', '0: pairs (i, i + rotary_dim/2); 1: pairs (2i, 2i + 1)'),
];
const attentionFactor = f32('attention_factor', 'factor on cos and sin (YaRN); 1 without');

const DECODE: readonly Field[] = [
  ...HEAD,
  ptr('out', 'void', '[rows, q_heads, d] output, dtype of the contract; written when splits is 1 or counters are given'),
  ptr('lse', 'float', '[rows, q_heads] natural log-sum-exp, -inf for a row that sees nothing; null: not wanted; written with out'),
  ptr('q', 'const void', '[rows, q_heads, d] queries after RoPE, dtype of the contract, all finite: a row with a NaN comes out as one that sees nothing (CACHE.md, "Masking")'),
  ...pagePointers('const ', '. Kernels of algorithm lookup, which tables may choose, read blocks that end at most 2^36 bytes (64 GiB) behind pages; beyond they read others'),
  ...codebookPointers,
  ...anchorPointers('const '),
  ptr('ring_k', 'const void', '[slots, kv_heads, ring_rows, d] exact keys after RoPE, token j in row j mod ring_rows; null: no ring'),
  ptr('ring_v', 'const void', '[slots, kv_heads, ring_rows, d] exact values'),
  ptr('ring_scores', 'float', '[rows, q_heads, ring_rows] raw scores (natural units) of ring rows seen, -inf in all others: every entry of a used row is written; null: not wanted'),
  ptr('partial_o', 'float', '[splits, rows, q_heads, d] normalised output of each split; null when splits is 1'),
  ptr('partial_lse', 'float', '[splits, rows, q_heads] natural log-sum-exp of each split; null when splits is 1'),
  ptr('counters', 'uint32_t', '[batch, grid.y] zero before the first launch; the CTA that arrives last merges the parts, writes out and lse, and sets its counter back; null: partials are left for combine'),
  ptr('coded_len', 'const int32_t', '[batch] tokens read from pages; at most kv_len'),
  ptr('kv_len', 'const int32_t', '[batch] tokens stored, this step\'s rows included: the ring holds coded_len ... kv_len - 1'),
  ptr('frozen_len', 'const int32_t', '[batch] tokens inherited from a shared prefix; null: 0'),
  ptr('frozen_anchor_pages', 'const int32_t', '[batch] leading entries of anchor_table that are inherited: their rows at or beyond frozen_len are skipped; null: 0'),
  ptr('first_pos', 'const int32_t', '[batch] position of logical token 0; null: 0'),
  ptr('q_pos', 'const int32_t', '[batch] position of the first query row; null: first_pos + kv_len - query rows'),
  ptr('cu_q', 'const int32_t', '[batch + 1] first query row of each sequence; null: one row each'),
  ptr('tree_mask', 'const uint16_t', '[rows] bit k: this row sees the k-th new row of its sequence; replaces the position rule for new rows; null: causal'),
  ptr('sink_logits', 'const float', '[q_heads] learned sink logits (natural units), contracts with "sink" only: each is one more key of its head, whose value is 0, and counts in lse; -inf: none'),
  i64('q_row_stride', 'bytes'),
  i64('q_head_stride', 'bytes'),
  i64('out_row_stride', 'bytes'),
  i64('out_head_stride', 'bytes'),
  ...pageStrides,
  ...anchorStrides,
  i64('ring_slot_stride', 'bytes from sequence to sequence'),
  i64('ring_head_stride', 'bytes from KV head to KV head'),
  i64('ring_row_stride', 'bytes from row to row'),
  i32('batch', 'sequences'),
  i32('q_heads', 'a multiple of kv_heads; the GQA ratio is at most 16'),
  i32('kv_heads', ''),
  i32('rows', 'query rows of all sequences'),
  ...pageInts,
  i32('max_anchor_pages', 'row stride of anchor_table, in entries; 0 without anchors'),
  i32('ring_rows', 'window + flush block + 16'),
  i32('segments', 'bit 0: coded pages, bit 1: anchors, bit 2: ring'),
  i32('splits', '1 to 65535: CTAs that share one sequence and KV head, or with spread all sequences of one KV head; grid.x'),
  i32('spread', '0: each sequence is cut into `splits` shares by its own length alone, grid.z is batch; 1: all sequences, end to end, are cut into `splits` shares of equal work, grid.z is 1'),
  i32('max_q_len', 'host bound on query rows per sequence; fixes grid.y'),
  ...ropeInts,
  f32('scale', 'factor on q.k, natural units, finite and above 0; usually 1/sqrt(d)'),
  attentionFactor,
  f32('softcap', 'contracts with "softcap" only, > 0: a score s (natural units) becomes softcap * tanh(s / softcap), in ring_scores too; else 0'),
];

const ENCODE: readonly Field[] = [
  ...HEAD,
  ptr('k', 'const void', '[input rows, kv_heads, d] keys, dtype of the contract, after RoPE unless keys_unrotated'),
  ptr('v', 'const void', '[input rows, kv_heads, d] values'),
  ...pagePointers(''),
  ...codebookPointers,
  ...anchorPointers(''),
  ptr('cu_tokens', 'const int32_t', '[batch + 1] first input row of each sequence'),
  ptr('first_token', 'const int32_t', '[batch] logical index of the first input row, a multiple of page_size; null: 0'),
  ptr('first_pos', 'const int32_t', '[batch] position of logical token 0; null: 0'),
  ptr('keep_bitmap', 'const uint32_t', '[batch, kv_heads, keep_words] bit j: logical token j is an anchor; null: none'),
  ptr('keep_indices', 'const int32_t', '[batch, kv_heads, max_anchors] logical tokens whose rows go to anchor rows 0, 1, ...; -1, or a row beyond max_anchors, is emptied; tokens outside the input keep the row they have; null: none'),
  ptr('anchor_score', 'float', '[slots, kv_heads, max_anchor_pages * 16] score of each anchor row that is written, for append; null: not wanted'),
  ptr('keep_scores', 'const float', '[batch, kv_heads, score_stride] scores of the logical tokens, as select had them; null with anchor_score'),
  ptr('score_rows', 'const int32_t', '[batch] query rows that the scores are sums over, tokens 0 ... score_rows - 1: token j was seen by score_rows - j of them, and the mean is frozen; null: scores are frozen as they are'),
  i64('k_row_stride', 'bytes'),
  i64('k_head_stride', 'bytes'),
  i64('v_row_stride', 'bytes'),
  i64('v_head_stride', 'bytes'),
  ...pageStrides,
  ...anchorStrides,
  i32('batch', 'sequences'),
  i32('kv_heads', ''),
  ...pageInts,
  i32('max_anchor_pages', 'row stride of anchor_table, in entries; 0 without anchors'),
  i32('max_tokens', 'host bound on input rows per sequence, 1 to 2^30; fixes grid.x'),
  i32('max_anchors', 'row stride of keep_indices'),
  i32('keep_words', 'row stride of keep_bitmap'),
  i32('score_stride', 'row stride of keep_scores, in elements'),
  i32('keys_unrotated', '1: k is given before RoPE; the anchor rows are rotated on the way'),
  ...ropeInts,
  attentionFactor,
];

const APPEND: readonly Field[] = [
  ...HEAD,
  ptr('k', 'const void', '[new rows, kv_heads, d] keys after RoPE of the rows that enter'),
  ptr('v', 'const void', '[new rows, kv_heads, d] their values'),
  ...pagePointers(''),
  ...codebookPointers,
  ...anchorPointers(''),
  ptr('ring_k', 'void', '[slots, kv_heads, ring_rows, d] exact keys after RoPE, token j in row j mod ring_rows; null for exact recipes'),
  ptr('ring_v', 'void', '[slots, kv_heads, ring_rows, d] exact values'),
  ptr('ring_scores', 'const float', '[rows of the step before, q_heads, ring_rows] what decode left: raw scores, -inf where unseen; with lse null: masses (combine); null: nothing is folded'),
  ptr('lse', 'const float', '[rows of the step before, q_heads] natural log-sum-exp; mass is exp(score - lse); null: ring_scores holds masses'),
  ptr('ring_score', 'float', '[slots, kv_heads, ring_rows] column sum of each token in the ring; undefined in rows that hold none; null: without anchors'),
  ptr('ring_count', 'int32_t', '[slots, kv_heads, ring_rows] query rows that saw each token; null with ring_score'),
  ptr('anchor_score', 'float', '[slots, kv_heads, max_anchor_pages * 16] score of each anchor row, frozen when it was chosen; null: without anchors'),
  ptr('score_row', 'const int32_t', '[batch] first row of ring_scores and lse that is the sequence\'s, -1: the step before had none of it; null: the batch row'),
  ptr('seq_len', 'const int32_t', '[batch] committed tokens before this call'),
  ptr('accepted', 'const int32_t', '[batch] rows of the step before to commit, the first ones; null: 1 each. n = seq_len + accepted'),
  ptr('coded_len', 'const int32_t', '[batch] tokens in pages before this call; null: the flush rule of CACHE.md for seq_len, at least frozen_len'),
  ptr('frozen_len', 'const int32_t', '[batch] tokens inherited from a shared prefix; null: 0'),
  ptr('frozen_anchor_pages', 'const int32_t', '[batch] leading entries of anchor_table that are inherited and never written; null: 0'),
  ptr('first_pos', 'const int32_t', '[batch] position of logical token 0; null: 0'),
  ptr('cu_q', 'const int32_t', '[batch + 1] first new row of each sequence, at most ring_rows - (n - coded tokens after the flush) rows each; null: one row each'),
  ptr('new_score', 'const float', '[new rows, kv_heads] column sum that a new row starts with; null: 0'),
  ptr('new_count', 'const int32_t', '[new rows, kv_heads] rows that saw it already; null: 0'),
  i64('k_row_stride', 'bytes'),
  i64('k_head_stride', 'bytes'),
  i64('v_row_stride', 'bytes'),
  i64('v_head_stride', 'bytes'),
  ...pageStrides,
  ...anchorStrides,
  i64('ring_slot_stride', 'bytes from sequence to sequence'),
  i64('ring_head_stride', 'bytes from KV head to KV head'),
  i64('ring_row_stride', 'bytes from row to row'),
  i32('batch', 'sequences; grid.y'),
  i32('q_heads', 'a multiple of kv_heads; the GQA ratio is at most 16'),
  i32('kv_heads', 'grid.x'),
  ...pageInts,
  i32('max_anchor_pages', 'row stride of anchor_table, in entries; 0 without anchors'),
  i32('ring_rows', 'at least window + flush_block + 16; 0 for exact recipes'),
  i32('window', 'newest tokens that stay exact'),
  i32('flush_block', 'tokens encoded at once, a multiple of page_size'),
  i32('budget_permille', 'anchors per 1000 coded tokens, rounded down'),
  i32('first_tokens', 'tokens 0 ... first_tokens - 1 are anchors beside the budget'),
  i32('policy', 'score of a token that leaves the window: 0 column (mean mass over the rows that saw it), 1 the smallest key (-|k|), 2 the largest key (|k|), 3 none: first_tokens only'),
  ...ropeInts,
  attentionFactor,
  i32('budget_tokens', 'anchors of a sequence and KV head, however many tokens are coded; 0: budget_permille'),
  i32('extra_tokens', '0: anchors that lose are handed back. Else none is: those that lose stay beside the budget, and when as many as this do no token of a block wins any more'),
];

const COMBINE: readonly Field[] = [
  ...HEAD,
  ptr('out', 'void', '[rows, q_heads, d] output, dtype of the contract'),
  ptr('lse', 'float', '[rows, q_heads] natural log-sum-exp, read when partial_o is null; null: not wanted'),
  ptr('partial_o', 'const float', '[splits, rows, q_heads, d]; null: decode had one split or counters and wrote out and lse itself, only ring_scores is wanted'),
  ptr('partial_lse', 'const float', '[splits, rows, q_heads]; -inf marks a split that saw nothing'),
  ptr('ring_scores', 'float', '[rows, q_heads, ring_rows] raw scores in, attention mass exp(s - lse) out; null: not wanted'),
  i64('out_row_stride', 'bytes'),
  i64('out_head_stride', 'bytes'),
  i32('rows', 'query rows; grid.x'),
  i32('q_heads', 'grid.y is q_heads over the warps of a CTA, rounded up'),
  i32('splits', 'merged in order 0, 1, ...'),
  i32('ring_rows', 'row stride of ring_scores'),
];

const SCORE: readonly Field[] = [
  ...HEAD,
  ptr('scores', 'float', '[batch, kv_heads, score_stride] anchor score of each key; with accumulate it starts as what is added to (form "norm" writes it all the same)'),
  ptr('q', 'const void', '[query rows, q_heads, d] queries after RoPE; null for form "norm"'),
  ptr('k', 'const void', '[key rows, kv_heads, d] keys after RoPE'),
  ptr('v', 'const void', '[key rows, kv_heads, d] values; form "exact" only'),
  ptr('o', 'const void', '[query rows, q_heads, d] attention output; form "exact" only'),
  ptr('lse', 'const float', '[query rows, q_heads] natural log-sum-exp of each row; null for form "norm"'),
  ptr('cu_q', 'const int32_t', '[batch + 1] first query row of each sequence; null for form "norm"'),
  ptr('cu_k', 'const int32_t', '[batch + 1] first key row of each sequence'),
  ptr('first_pos', 'const int32_t', '[batch] position of key 0; null: 0'),
  ptr('q_pos', 'const int32_t', '[batch] position of query row 0; null: first_pos + keys - query rows'),
  ptr('first_key', 'const int32_t', '[batch] place of key 0 in its row of scores; null: 0'),
  ptr('cu_sampled', 'const int32_t', '[batch + 1] offsets into sampled_rows; null: all rows count'),
  ptr('sampled_rows', 'const int32_t', '[cu_sampled[batch]] of each sequence the query rows, ascending, that stand for all older than its newest_rows newest (antkv_sample_rows); each counts (older rows) / (listed rows) times; null with cu_sampled'),
  i64('q_row_stride', 'bytes'),
  i64('q_head_stride', 'bytes'),
  i64('o_row_stride', 'bytes'),
  i64('o_head_stride', 'bytes'),
  i64('k_row_stride', 'bytes'),
  i64('k_head_stride', 'bytes'),
  i64('v_row_stride', 'bytes'),
  i64('v_head_stride', 'bytes'),
  i32('batch', 'sequences; grid.z'),
  i32('q_heads', ''),
  i32('kv_heads', 'grid.y'),
  i32('max_tokens', 'host bound on keys per sequence, 1 to 2^30; fixes grid.x'),
  i32('score_stride', 'row stride of scores, in elements'),
  i32('newest_rows', 'query rows at the end of each sequence that count once each, with cu_sampled only'),
  i32('accumulate', '1: adds to scores, so that the chunks of a prompt sum up to its score in one pass; 0: writes them'),
  f32('scale', 'factor on q.k, natural units; form "exact" multiplies by it as well; form "norm": factor on |k|, -1 ranks the smallest key first'),
  f32('softcap', 'contracts with "softcap" only, > 0, as in decode: the softcap of the attention that lse came from; else 0'),
];

const SELECT: readonly Field[] = [
  ...HEAD,
  ptr('scores', 'const float', '[batch, kv_heads, score_stride]; NaN and -inf never win'),
  ptr('keep_bitmap', 'uint32_t', '[batch, kv_heads, keep_words] bit j: token j is kept; all words are written'),
  ptr('keep_indices', 'int32_t', '[batch, kv_heads, max_anchors] kept tokens ascending, then -1'),
  ptr('keep_count', 'int32_t', '[batch, kv_heads] tokens kept; null: not wanted'),
  ptr('token_count', 'const int32_t', '[batch] candidates 0 ... token_count - 1'),
  i32('batch', 'sequences; grid.y'),
  i32('kv_heads', 'grid.x'),
  i32('score_stride', 'row stride of scores, in elements'),
  i32('keep_words', 'row stride of keep_bitmap'),
  i32('max_anchors', 'row stride of keep_indices; no more are kept'),
  i32('budget_permille', 'anchors per 1000 tokens, rounded down; used when budget_tokens is -1'),
  i32('budget_tokens', 'anchors per sequence and KV head, or -1'),
  i32('first_tokens', 'tokens 0 ... first_tokens - 1 are kept beside the budget'),
];

const UNPACK: readonly Field[] = [
  ...HEAD,
  ptr('k', 'void', '[output rows, kv_heads, d] keys after RoPE, gain applied, anchors exact'),
  ptr('v', 'void', '[output rows, kv_heads, d] values'),
  ...pagePointers('const '),
  ...codebookPointers,
  ...anchorPointers('const '),
  ptr('frozen_len', 'const int32_t', '[batch] as in decode; null: 0'),
  ptr('frozen_anchor_pages', 'const int32_t', '[batch] as in decode; null: 0'),
  ptr('first_token', 'const int32_t', '[batch] first logical token to write, a multiple of 16; null: 0'),
  ptr('cu_tokens', 'const int32_t', '[batch + 1] first output row of each sequence; their differences count the tokens'),
  ptr('first_pos', 'const int32_t', '[batch] position of logical token 0; null: 0'),
  i64('k_row_stride', 'bytes'),
  i64('k_head_stride', 'bytes'),
  i64('v_row_stride', 'bytes'),
  i64('v_head_stride', 'bytes'),
  ...pageStrides,
  ...anchorStrides,
  i32('batch', 'sequences; grid.z'),
  i32('kv_heads', 'grid.y'),
  ...pageInts,
  i32('max_anchor_pages', 'row stride of anchor_table, in entries; 0 without anchors'),
  i32('max_tokens', 'host bound on tokens per sequence, 1 to 2^30; fixes grid.x'),
  ...ropeInts,
  attentionFactor,
];

const KMEANS: readonly Field[] = [
  ...HEAD,
  ptr('x', 'const void', '[heads, tokens, chunks * channels] rows, dtype of the contract, all finite'),
  ptr('weights', 'const float', '[heads, tokens] how much each row counts, finite and at least 0; null: 1'),
  ptr('draws', 'const double', '[heads, chunks, entries] numbers from 0 to below 1: step 0 starts by k-means++ with these; null: it takes the centroids as they are'),
  ptr('centroids', 'float', '[heads, chunks, entries, channels] what is clustered around; halves, but for given ones before the first step 1'),
  ptr('codebook', 'void', '[heads, chunks] workspace of (2 * channels + 4) * entries bytes: the centroids as halves, and their |c|^2 / 2, as they are searched'),
  ptr('row_loss', 'uint64_t', '[heads, chunks, tokens] workspace: w |x - c|^2 of each row, in units of 1 / loss_scale'),
  ptr('sums', 'int64_t', '[heads, chunks, entries, channels + 1] workspace: sum of w x in units of 1 / value_scale, then of w in units of 1 / weight_scale; step 0 clears it'),
  ptr('loss', 'uint64_t', '[heads, chunks, max_steps + 1] sum of row_loss by step 1, with the centroids that it began with; the last one is what step 2 measures'),
  ptr('energy', 'uint64_t', '[heads, chunks] sum of w |x|^2, in units of 1 / loss_scale; written by step 0'),
  ptr('status', 'int32_t', '[heads, chunks, 4] steps 1 that were done; clusters that were empty and got the worst row; 1: settled, later steps 1 change nothing; 0'),
  i64('x_row_stride', 'bytes'),
  i64('x_head_stride', 'bytes'),
  i32('heads', 'grid.z'),
  i32('chunks', 'codes of a row; grid.y'),
  i32('tokens', 'rows of a head, at least 1'),
  i32('splits', 'CTAs that share the rows of a (head, chunk); grid.x. Results do not depend on it'),
  i32('step', '0: clears, and starts the centroids; 1: a Lloyd iteration; 2: only measures, once after a step 0'),
  i32('max_steps', 'bound on steps 1; fixes the row stride of loss'),
  f32('tolerance', 'a (head, chunk) is settled when a step 1 lowers its loss by no more than this part of it, and re-seeds nothing'),
  f32('value_scale', 'power of two; tokens * max(w |x|) * value_scale <= 2^62'),
  f32('weight_scale', 'power of two; tokens * max(w) * weight_scale <= 2^62'),
  f32('loss_scale', 'power of two; tokens * channels * max(w) * max(|x|, |c|)^2 * loss_scale <= 2^60'),
];

const struct = (op: string, doc: string, fields: readonly Field[]): ParamStruct => ({ op, name: `antkv_${op}_params`, doc, fields });

/** The parameter struct of each op. Fields are only ever appended within an ABI version. */
export const PARAM_STRUCTS: readonly ParamStruct[] = [
  struct('encode', 'K/V rows to coded pages, and the kept rows to anchor pages. A last unit of 16 tokens is filled with code 0 and gain 0; units behind it stay as they were; every bitmap word of a page is written.', ENCODE),
  struct('append', 'One step of a cache, per layer: commits rows of the step before and folds their scores, encodes what leaves the window and chooses its anchors, writes new rows into the ring. Exact recipes: writes the new rows into pages.', APPEND),
  struct('decode', 'Attention of a few query rows over coded pages, anchors and ring.', DECODE),
  struct('combine', 'Merges the splits of decode in a fixed order.', COMBINE),
  struct('score', 'Anchor score of every key, after any attention that returned the LSE.', SCORE),
  struct('select', 'The top budget of the scores, as bitmap and ascending indices.', SELECT),
  struct('unpack', 'A range of coded tokens as rotated exact rows. A token whose bit is set but which has no anchor row is left unwritten.', UNPACK),
  struct('kmeans', 'A step of weighted k-means, of every (head, chunk) at once. All sums are whole numbers: equal inputs give equal bits.', KMEANS),
];

/** Offset of each field and the size of the struct in bytes, by the C rules for natural alignment. */
export function structLayout(s: ParamStruct): { offsets: number[]; bytes: number } {
  let at = 0;
  let align = 1;
  const offsets = s.fields.map(({ type }) => {
    const size = FIELD_BYTES[type];
    align = Math.max(align, size);
    at = Math.ceil(at / size) * size;
    const offset = at;
    at += size;
    return offset;
  });
  return { offsets, bytes: Math.ceil(at / align) * align };
}

/** The parameter struct of `op`. Throws for ops without one. */
export function paramStruct(op: string): ParamStruct {
  const found = PARAM_STRUCTS.find((s) => s.op === op);
  if (!found) throw new Error(`op ${op} has no parameter struct`);
  return found;
}
