// Generated file. Do not edit.
//   template  generator/bindings/typescript.ts
//   remake    npx gen
/** Goes into abi_version of every struct. */
export const ABI_VERSION = 3;
/** Version of coded pages, anchor pages, ring and packed codebooks. */
export const LAYOUT_VERSION = 4;

/** How a field is written; a ptr is a 64-bit device pointer. */
export type FieldType = 'u32' | 'i32' | 'i64' | 'f32' | 'ptr';

/** Where a field lies in its struct, in bytes. */
export interface Field {
  readonly offset: number;
  readonly type: FieldType;
}

/** Parameter struct of each op. Little-endian; strides count bytes. */
export const PARAMS = {
  /** K/V rows to coded pages, and the kept rows to anchor pages. A last unit of 16 tokens is filled with code 0 and gain 0; units behind it stay as they were; every bitmap word of a page is written. */
  encode: {
    bytes: 288,
    fields: {
      /** sizeof this struct */
      struct_size: { offset: 0, type: 'u32' },
      /** ANTKV_ABI_VERSION */
      abi_version: { offset: 4, type: 'u32' },
      /** [input rows, kv_heads, d] keys, dtype of the contract, after RoPE unless keys_unrotated */
      k: { offset: 8, type: 'ptr' },
      /** [input rows, kv_heads, d] values */
      v: { offset: 16, type: 'ptr' },
      /** coded pages; block of (page, KV head) at pages + page * page_stride + head * page_head_stride */
      pages: { offset: 24, type: 'ptr' },
      /** [batch, max_pages] page of each page-sized run of tokens; null: use page_indptr and page_indices */
      block_table: { offset: 32, type: 'ptr' },
      /** [batch + 1] CSR offsets into page_indices; null with block_table */
      page_indptr: { offset: 40, type: 'ptr' },
      /** [page_indptr[batch]] pages; null with block_table */
      page_indices: { offset: 48, type: 'ptr' },
      /** [kv_heads] packed codebooks of the keys (antkv_pack_codebook); null for exact keys */
      k_codebook: { offset: 56, type: 'ptr' },
      /** [kv_heads] packed codebooks of the values; null for exact values */
      v_codebook: { offset: 64, type: 'ptr' },
      /** [rotary_dim / 2] RoPE frequencies in radians per position; null for contracts without "pre" */
      inv_freq: { offset: 72, type: 'ptr' },
      /** anchor pages of 16 rows; block of (page, KV head) at anchors + page * anchor_page_stride + head * anchor_head_stride */
      anchors: { offset: 80, type: 'ptr' },
      /** [slots, max_anchor_pages] anchor pages of each sequence, -1 ends the list; null: no anchors */
      anchor_table: { offset: 88, type: 'ptr' },
      /** [batch] row of per-sequence state (ring, anchor_table); null: the batch row */
      state_slot: { offset: 96, type: 'ptr' },
      /** [batch + 1] first input row of each sequence */
      cu_tokens: { offset: 104, type: 'ptr' },
      /** [batch] logical index of the first input row, a multiple of page_size; null: 0 */
      first_token: { offset: 112, type: 'ptr' },
      /** [batch] position of logical token 0; null: 0 */
      first_pos: { offset: 120, type: 'ptr' },
      /** [batch, kv_heads, keep_words] bit j: logical token j is an anchor; null: none */
      keep_bitmap: { offset: 128, type: 'ptr' },
      /** [batch, kv_heads, max_anchors] logical tokens whose rows go to anchor rows 0, 1, ...; -1, or a row beyond max_anchors, is emptied; tokens outside the input keep the row they have; null: none */
      keep_indices: { offset: 136, type: 'ptr' },
      /** [slots, kv_heads, max_anchor_pages * 16] score of each anchor row that is written, for append; null: not wanted */
      anchor_score: { offset: 144, type: 'ptr' },
      /** [batch, kv_heads, score_stride] scores of the logical tokens, as select had them; null with anchor_score */
      keep_scores: { offset: 152, type: 'ptr' },
      /** [batch] query rows that the scores are sums over, tokens 0 ... score_rows - 1: token j was seen by score_rows - j of them, and the mean is frozen; null: scores are frozen as they are */
      score_rows: { offset: 160, type: 'ptr' },
      /** bytes */
      k_row_stride: { offset: 168, type: 'i64' },
      /** bytes */
      k_head_stride: { offset: 176, type: 'i64' },
      /** bytes */
      v_row_stride: { offset: 184, type: 'i64' },
      /** bytes */
      v_head_stride: { offset: 192, type: 'i64' },
      /** bytes from page to page */
      page_stride: { offset: 200, type: 'i64' },
      /** bytes from KV head to KV head inside a page */
      page_head_stride: { offset: 208, type: 'i64' },
      /** bytes from anchor page to anchor page */
      anchor_page_stride: { offset: 216, type: 'i64' },
      /** bytes from KV head to KV head inside an anchor page */
      anchor_head_stride: { offset: 224, type: 'i64' },
      /** sequences */
      batch: { offset: 232, type: 'i32' },
      kv_heads: { offset: 236, type: 'i32' },
      /** tokens per page: 16, 32, 64, 128 or 256 */
      page_size: { offset: 240, type: 'i32' },
      /** row stride of block_table, in entries */
      max_pages: { offset: 244, type: 'i32' },
      /** row stride of anchor_table, in entries; 0 without anchors */
      max_anchor_pages: { offset: 248, type: 'i32' },
      /** host bound on input rows per sequence, 1 to 2^30; fixes grid.x */
      max_tokens: { offset: 252, type: 'i32' },
      /** row stride of keep_indices */
      max_anchors: { offset: 256, type: 'i32' },
      /** row stride of keep_bitmap */
      keep_words: { offset: 260, type: 'i32' },
      /** row stride of keep_scores, in elements */
      score_stride: { offset: 264, type: 'i32' },
      /** 1: k is given before RoPE; the anchor rows are rotated on the way */
      keys_unrotated: { offset: 268, type: 'i32' },
      /** channels that RoPE rotates, even, at most the head dim */
      rotary_dim: { offset: 272, type: 'i32' },
      /** 0: pairs (i, i + rotary_dim/2); 1: pairs (2i, 2i + 1) */
      rope_interleaved: { offset: 276, type: 'i32' },
      /** factor on cos and sin (YaRN); 1 without */
      attention_factor: { offset: 280, type: 'f32' },
    },
  },
  /** One step of a cache, per layer: commits rows of the step before and folds their scores, encodes what leaves the window and chooses its anchors, writes new rows into the ring. Exact recipes: writes the new rows into pages. */
  append: {
    bytes: 400,
    fields: {
      /** sizeof this struct */
      struct_size: { offset: 0, type: 'u32' },
      /** ANTKV_ABI_VERSION */
      abi_version: { offset: 4, type: 'u32' },
      /** [new rows, kv_heads, d] keys after RoPE of the rows that enter */
      k: { offset: 8, type: 'ptr' },
      /** [new rows, kv_heads, d] their values */
      v: { offset: 16, type: 'ptr' },
      /** coded pages; block of (page, KV head) at pages + page * page_stride + head * page_head_stride */
      pages: { offset: 24, type: 'ptr' },
      /** [batch, max_pages] page of each page-sized run of tokens; null: use page_indptr and page_indices */
      block_table: { offset: 32, type: 'ptr' },
      /** [batch + 1] CSR offsets into page_indices; null with block_table */
      page_indptr: { offset: 40, type: 'ptr' },
      /** [page_indptr[batch]] pages; null with block_table */
      page_indices: { offset: 48, type: 'ptr' },
      /** [kv_heads] packed codebooks of the keys (antkv_pack_codebook); null for exact keys */
      k_codebook: { offset: 56, type: 'ptr' },
      /** [kv_heads] packed codebooks of the values; null for exact values */
      v_codebook: { offset: 64, type: 'ptr' },
      /** [rotary_dim / 2] RoPE frequencies in radians per position; null for contracts without "pre" */
      inv_freq: { offset: 72, type: 'ptr' },
      /** anchor pages of 16 rows; block of (page, KV head) at anchors + page * anchor_page_stride + head * anchor_head_stride */
      anchors: { offset: 80, type: 'ptr' },
      /** [slots, max_anchor_pages] anchor pages of each sequence, -1 ends the list; null: no anchors */
      anchor_table: { offset: 88, type: 'ptr' },
      /** [batch] row of per-sequence state (ring, anchor_table); null: the batch row */
      state_slot: { offset: 96, type: 'ptr' },
      /** [slots, kv_heads, ring_rows, d] exact keys after RoPE, token j in row j mod ring_rows; null for exact recipes */
      ring_k: { offset: 104, type: 'ptr' },
      /** [slots, kv_heads, ring_rows, d] exact values */
      ring_v: { offset: 112, type: 'ptr' },
      /** [rows of the step before, q_heads, ring_rows] what decode left: raw scores, -inf where unseen; with lse null: masses (combine); null: nothing is folded */
      ring_scores: { offset: 120, type: 'ptr' },
      /** [rows of the step before, q_heads] natural log-sum-exp; mass is exp(score - lse); null: ring_scores holds masses */
      lse: { offset: 128, type: 'ptr' },
      /** [slots, kv_heads, ring_rows] column sum of each token in the ring; undefined in rows that hold none; null: without anchors */
      ring_score: { offset: 136, type: 'ptr' },
      /** [slots, kv_heads, ring_rows] query rows that saw each token; null with ring_score */
      ring_count: { offset: 144, type: 'ptr' },
      /** [slots, kv_heads, max_anchor_pages * 16] score of each anchor row, frozen when it was chosen; null: without anchors */
      anchor_score: { offset: 152, type: 'ptr' },
      /** [batch] first row of ring_scores and lse that is the sequence's, -1: the step before had none of it; null: the batch row */
      score_row: { offset: 160, type: 'ptr' },
      /** [batch] committed tokens before this call */
      seq_len: { offset: 168, type: 'ptr' },
      /** [batch] rows of the step before to commit, the first ones; null: 1 each. n = seq_len + accepted */
      accepted: { offset: 176, type: 'ptr' },
      /** [batch] tokens in pages before this call; null: the flush rule of CACHE.md for seq_len, at least frozen_len */
      coded_len: { offset: 184, type: 'ptr' },
      /** [batch] tokens inherited from a shared prefix; null: 0 */
      frozen_len: { offset: 192, type: 'ptr' },
      /** [batch] leading entries of anchor_table that are inherited and never written; null: 0 */
      frozen_anchor_pages: { offset: 200, type: 'ptr' },
      /** [batch] position of logical token 0; null: 0 */
      first_pos: { offset: 208, type: 'ptr' },
      /** [batch + 1] first new row of each sequence, at most ring_rows - (n - coded tokens after the flush) rows each; null: one row each */
      cu_q: { offset: 216, type: 'ptr' },
      /** [new rows, kv_heads] column sum that a new row starts with; null: 0 */
      new_score: { offset: 224, type: 'ptr' },
      /** [new rows, kv_heads] rows that saw it already; null: 0 */
      new_count: { offset: 232, type: 'ptr' },
      /** bytes */
      k_row_stride: { offset: 240, type: 'i64' },
      /** bytes */
      k_head_stride: { offset: 248, type: 'i64' },
      /** bytes */
      v_row_stride: { offset: 256, type: 'i64' },
      /** bytes */
      v_head_stride: { offset: 264, type: 'i64' },
      /** bytes from page to page */
      page_stride: { offset: 272, type: 'i64' },
      /** bytes from KV head to KV head inside a page */
      page_head_stride: { offset: 280, type: 'i64' },
      /** bytes from anchor page to anchor page */
      anchor_page_stride: { offset: 288, type: 'i64' },
      /** bytes from KV head to KV head inside an anchor page */
      anchor_head_stride: { offset: 296, type: 'i64' },
      /** bytes from sequence to sequence */
      ring_slot_stride: { offset: 304, type: 'i64' },
      /** bytes from KV head to KV head */
      ring_head_stride: { offset: 312, type: 'i64' },
      /** bytes from row to row */
      ring_row_stride: { offset: 320, type: 'i64' },
      /** sequences; grid.y */
      batch: { offset: 328, type: 'i32' },
      /** a multiple of kv_heads; the GQA ratio is at most 16 */
      q_heads: { offset: 332, type: 'i32' },
      /** grid.x */
      kv_heads: { offset: 336, type: 'i32' },
      /** tokens per page: 16, 32, 64, 128 or 256 */
      page_size: { offset: 340, type: 'i32' },
      /** row stride of block_table, in entries */
      max_pages: { offset: 344, type: 'i32' },
      /** row stride of anchor_table, in entries; 0 without anchors */
      max_anchor_pages: { offset: 348, type: 'i32' },
      /** at least window + flush_block + 16; 0 for exact recipes */
      ring_rows: { offset: 352, type: 'i32' },
      /** newest tokens that stay exact */
      window: { offset: 356, type: 'i32' },
      /** tokens encoded at once, a multiple of page_size */
      flush_block: { offset: 360, type: 'i32' },
      /** anchors per 1000 coded tokens, rounded down */
      budget_permille: { offset: 364, type: 'i32' },
      /** tokens 0 ... first_tokens - 1 are anchors beside the budget */
      first_tokens: { offset: 368, type: 'i32' },
      /** score of a token that leaves the window: 0 column (mean mass over the rows that saw it), 1 the smallest key (-|k|), 2 the largest key (|k|), 3 none: first_tokens only */
      policy: { offset: 372, type: 'i32' },
      /** channels that RoPE rotates, even, at most the head dim */
      rotary_dim: { offset: 376, type: 'i32' },
      /** 0: pairs (i, i + rotary_dim/2); 1: pairs (2i, 2i + 1) */
      rope_interleaved: { offset: 380, type: 'i32' },
      /** factor on cos and sin (YaRN); 1 without */
      attention_factor: { offset: 384, type: 'f32' },
      /** anchors of a sequence and KV head, however many tokens are coded; 0: budget_permille */
      budget_tokens: { offset: 388, type: 'i32' },
      /** 0: anchors that lose are handed back. Else none is: those that lose stay beside the budget, and when as many as this do no token of a block wins any more */
      extra_tokens: { offset: 392, type: 'i32' },
    },
  },
  /** Attention of a few query rows over coded pages, anchors and ring. */
  decode: {
    bytes: 392,
    fields: {
      /** sizeof this struct */
      struct_size: { offset: 0, type: 'u32' },
      /** ANTKV_ABI_VERSION */
      abi_version: { offset: 4, type: 'u32' },
      /** [rows, q_heads, d] output, dtype of the contract; written when splits is 1 or counters are given */
      out: { offset: 8, type: 'ptr' },
      /** [rows, q_heads] natural log-sum-exp, -inf for a row that sees nothing; null: not wanted; written with out */
      lse: { offset: 16, type: 'ptr' },
      /** [rows, q_heads, d] queries after RoPE, dtype of the contract, all finite: a row with a NaN comes out as one that sees nothing (CACHE.md, "Masking") */
      q: { offset: 24, type: 'ptr' },
      /** coded pages; block of (page, KV head) at pages + page * page_stride + head * page_head_stride. Kernels of algorithm lookup, which tables may choose, read blocks that end at most 2^36 bytes (64 GiB) behind pages; beyond they read others */
      pages: { offset: 32, type: 'ptr' },
      /** [batch, max_pages] page of each page-sized run of tokens; null: use page_indptr and page_indices */
      block_table: { offset: 40, type: 'ptr' },
      /** [batch + 1] CSR offsets into page_indices; null with block_table */
      page_indptr: { offset: 48, type: 'ptr' },
      /** [page_indptr[batch]] pages; null with block_table */
      page_indices: { offset: 56, type: 'ptr' },
      /** [kv_heads] packed codebooks of the keys (antkv_pack_codebook); null for exact keys */
      k_codebook: { offset: 64, type: 'ptr' },
      /** [kv_heads] packed codebooks of the values; null for exact values */
      v_codebook: { offset: 72, type: 'ptr' },
      /** [rotary_dim / 2] RoPE frequencies in radians per position; null for contracts without "pre" */
      inv_freq: { offset: 80, type: 'ptr' },
      /** anchor pages of 16 rows; block of (page, KV head) at anchors + page * anchor_page_stride + head * anchor_head_stride */
      anchors: { offset: 88, type: 'ptr' },
      /** [slots, max_anchor_pages] anchor pages of each sequence, -1 ends the list; null: no anchors */
      anchor_table: { offset: 96, type: 'ptr' },
      /** [batch] row of per-sequence state (ring, anchor_table); null: the batch row */
      state_slot: { offset: 104, type: 'ptr' },
      /** [slots, kv_heads, ring_rows, d] exact keys after RoPE, token j in row j mod ring_rows; null: no ring */
      ring_k: { offset: 112, type: 'ptr' },
      /** [slots, kv_heads, ring_rows, d] exact values */
      ring_v: { offset: 120, type: 'ptr' },
      /** [rows, q_heads, ring_rows] raw scores (natural units) of ring rows seen, -inf in all others: every entry of a used row is written; null: not wanted */
      ring_scores: { offset: 128, type: 'ptr' },
      /** [splits, rows, q_heads, d] normalised output of each split; null when splits is 1 */
      partial_o: { offset: 136, type: 'ptr' },
      /** [splits, rows, q_heads] natural log-sum-exp of each split; null when splits is 1 */
      partial_lse: { offset: 144, type: 'ptr' },
      /** [batch, grid.y] zero before the first launch; the CTA that arrives last merges the parts, writes out and lse, and sets its counter back; null: partials are left for combine */
      counters: { offset: 152, type: 'ptr' },
      /** [batch] tokens read from pages; at most kv_len */
      coded_len: { offset: 160, type: 'ptr' },
      /** [batch] tokens stored, this step's rows included: the ring holds coded_len ... kv_len - 1 */
      kv_len: { offset: 168, type: 'ptr' },
      /** [batch] tokens inherited from a shared prefix; null: 0 */
      frozen_len: { offset: 176, type: 'ptr' },
      /** [batch] leading entries of anchor_table that are inherited: their rows at or beyond frozen_len are skipped; null: 0 */
      frozen_anchor_pages: { offset: 184, type: 'ptr' },
      /** [batch] position of logical token 0; null: 0 */
      first_pos: { offset: 192, type: 'ptr' },
      /** [batch] position of the first query row; null: first_pos + kv_len - query rows */
      q_pos: { offset: 200, type: 'ptr' },
      /** [batch + 1] first query row of each sequence; null: one row each */
      cu_q: { offset: 208, type: 'ptr' },
      /** [rows] bit k: this row sees the k-th new row of its sequence; replaces the position rule for new rows; null: causal */
      tree_mask: { offset: 216, type: 'ptr' },
      /** [q_heads] learned sink logits (natural units), contracts with "sink" only: each is one more key of its head, whose value is 0, and counts in lse; -inf: none */
      sink_logits: { offset: 224, type: 'ptr' },
      /** bytes */
      q_row_stride: { offset: 232, type: 'i64' },
      /** bytes */
      q_head_stride: { offset: 240, type: 'i64' },
      /** bytes */
      out_row_stride: { offset: 248, type: 'i64' },
      /** bytes */
      out_head_stride: { offset: 256, type: 'i64' },
      /** bytes from page to page */
      page_stride: { offset: 264, type: 'i64' },
      /** bytes from KV head to KV head inside a page */
      page_head_stride: { offset: 272, type: 'i64' },
      /** bytes from anchor page to anchor page */
      anchor_page_stride: { offset: 280, type: 'i64' },
      /** bytes from KV head to KV head inside an anchor page */
      anchor_head_stride: { offset: 288, type: 'i64' },
      /** bytes from sequence to sequence */
      ring_slot_stride: { offset: 296, type: 'i64' },
      /** bytes from KV head to KV head */
      ring_head_stride: { offset: 304, type: 'i64' },
      /** bytes from row to row */
      ring_row_stride: { offset: 312, type: 'i64' },
      /** sequences */
      batch: { offset: 320, type: 'i32' },
      /** a multiple of kv_heads; the GQA ratio is at most 16 */
      q_heads: { offset: 324, type: 'i32' },
      kv_heads: { offset: 328, type: 'i32' },
      /** query rows of all sequences */
      rows: { offset: 332, type: 'i32' },
      /** tokens per page: 16, 32, 64, 128 or 256 */
      page_size: { offset: 336, type: 'i32' },
      /** row stride of block_table, in entries */
      max_pages: { offset: 340, type: 'i32' },
      /** row stride of anchor_table, in entries; 0 without anchors */
      max_anchor_pages: { offset: 344, type: 'i32' },
      /** window + flush block + 16 */
      ring_rows: { offset: 348, type: 'i32' },
      /** bit 0: coded pages, bit 1: anchors, bit 2: ring */
      segments: { offset: 352, type: 'i32' },
      /** 1 to 65535: CTAs that share one sequence and KV head, or with spread all sequences of one KV head; grid.x */
      splits: { offset: 356, type: 'i32' },
      /** 0: each sequence is cut into `splits` shares by its own length alone, grid.z is batch; 1: all sequences, end to end, are cut into `splits` shares of equal work, grid.z is 1 */
      spread: { offset: 360, type: 'i32' },
      /** host bound on query rows per sequence; fixes grid.y */
      max_q_len: { offset: 364, type: 'i32' },
      /** channels that RoPE rotates, even, at most the head dim */
      rotary_dim: { offset: 368, type: 'i32' },
      /** 0: pairs (i, i + rotary_dim/2); 1: pairs (2i, 2i + 1) */
      rope_interleaved: { offset: 372, type: 'i32' },
      /** factor on q.k, natural units, finite and above 0; usually 1/sqrt(d) */
      scale: { offset: 376, type: 'f32' },
      /** factor on cos and sin (YaRN); 1 without */
      attention_factor: { offset: 380, type: 'f32' },
      /** contracts with "softcap" only, > 0: a score s (natural units) becomes softcap * tanh(s / softcap), in ring_scores too; else 0 */
      softcap: { offset: 384, type: 'f32' },
    },
  },
  /** Merges the splits of decode in a fixed order. */
  combine: {
    bytes: 80,
    fields: {
      /** sizeof this struct */
      struct_size: { offset: 0, type: 'u32' },
      /** ANTKV_ABI_VERSION */
      abi_version: { offset: 4, type: 'u32' },
      /** [rows, q_heads, d] output, dtype of the contract */
      out: { offset: 8, type: 'ptr' },
      /** [rows, q_heads] natural log-sum-exp, read when partial_o is null; null: not wanted */
      lse: { offset: 16, type: 'ptr' },
      /** [splits, rows, q_heads, d]; null: decode had one split or counters and wrote out and lse itself, only ring_scores is wanted */
      partial_o: { offset: 24, type: 'ptr' },
      /** [splits, rows, q_heads]; -inf marks a split that saw nothing */
      partial_lse: { offset: 32, type: 'ptr' },
      /** [rows, q_heads, ring_rows] raw scores in, attention mass exp(s - lse) out; null: not wanted */
      ring_scores: { offset: 40, type: 'ptr' },
      /** bytes */
      out_row_stride: { offset: 48, type: 'i64' },
      /** bytes */
      out_head_stride: { offset: 56, type: 'i64' },
      /** query rows; grid.x */
      rows: { offset: 64, type: 'i32' },
      /** grid.y is q_heads over the warps of a CTA, rounded up */
      q_heads: { offset: 68, type: 'i32' },
      /** merged in order 0, 1, ... */
      splits: { offset: 72, type: 'i32' },
      /** row stride of ring_scores */
      ring_rows: { offset: 76, type: 'i32' },
    },
  },
  /** Anchor score of every key, after any attention that returned the LSE. */
  score: {
    bytes: 216,
    fields: {
      /** sizeof this struct */
      struct_size: { offset: 0, type: 'u32' },
      /** ANTKV_ABI_VERSION */
      abi_version: { offset: 4, type: 'u32' },
      /** [batch, kv_heads, score_stride] anchor score of each key; with accumulate it starts as what is added to (form "norm" writes it all the same) */
      scores: { offset: 8, type: 'ptr' },
      /** [query rows, q_heads, d] queries after RoPE; null for form "norm" */
      q: { offset: 16, type: 'ptr' },
      /** [key rows, kv_heads, d] keys after RoPE */
      k: { offset: 24, type: 'ptr' },
      /** [key rows, kv_heads, d] values; form "exact" only */
      v: { offset: 32, type: 'ptr' },
      /** [query rows, q_heads, d] attention output; form "exact" only */
      o: { offset: 40, type: 'ptr' },
      /** [query rows, q_heads] natural log-sum-exp of each row; null for form "norm" */
      lse: { offset: 48, type: 'ptr' },
      /** [batch + 1] first query row of each sequence; null for form "norm" */
      cu_q: { offset: 56, type: 'ptr' },
      /** [batch + 1] first key row of each sequence */
      cu_k: { offset: 64, type: 'ptr' },
      /** [batch] position of key 0; null: 0 */
      first_pos: { offset: 72, type: 'ptr' },
      /** [batch] position of query row 0; null: first_pos + keys - query rows */
      q_pos: { offset: 80, type: 'ptr' },
      /** [batch] place of key 0 in its row of scores; null: 0 */
      first_key: { offset: 88, type: 'ptr' },
      /** [batch + 1] offsets into sampled_rows; null: all rows count */
      cu_sampled: { offset: 96, type: 'ptr' },
      /** [cu_sampled[batch]] of each sequence the query rows, ascending, that stand for all older than its newest_rows newest (antkv_sample_rows); each counts (older rows) / (listed rows) times; null with cu_sampled */
      sampled_rows: { offset: 104, type: 'ptr' },
      /** bytes */
      q_row_stride: { offset: 112, type: 'i64' },
      /** bytes */
      q_head_stride: { offset: 120, type: 'i64' },
      /** bytes */
      o_row_stride: { offset: 128, type: 'i64' },
      /** bytes */
      o_head_stride: { offset: 136, type: 'i64' },
      /** bytes */
      k_row_stride: { offset: 144, type: 'i64' },
      /** bytes */
      k_head_stride: { offset: 152, type: 'i64' },
      /** bytes */
      v_row_stride: { offset: 160, type: 'i64' },
      /** bytes */
      v_head_stride: { offset: 168, type: 'i64' },
      /** sequences; grid.z */
      batch: { offset: 176, type: 'i32' },
      q_heads: { offset: 180, type: 'i32' },
      /** grid.y */
      kv_heads: { offset: 184, type: 'i32' },
      /** host bound on keys per sequence, 1 to 2^30; fixes grid.x */
      max_tokens: { offset: 188, type: 'i32' },
      /** row stride of scores, in elements */
      score_stride: { offset: 192, type: 'i32' },
      /** query rows at the end of each sequence that count once each, with cu_sampled only */
      newest_rows: { offset: 196, type: 'i32' },
      /** 1: adds to scores, so that the chunks of a prompt sum up to its score in one pass; 0: writes them */
      accumulate: { offset: 200, type: 'i32' },
      /** factor on q.k, natural units; form "exact" multiplies by it as well; form "norm": factor on |k|, -1 ranks the smallest key first */
      scale: { offset: 204, type: 'f32' },
      /** contracts with "softcap" only, > 0, as in decode: the softcap of the attention that lse came from; else 0 */
      softcap: { offset: 208, type: 'f32' },
    },
  },
  /** The top budget of the scores, as bitmap and ascending indices. */
  select: {
    bytes: 80,
    fields: {
      /** sizeof this struct */
      struct_size: { offset: 0, type: 'u32' },
      /** ANTKV_ABI_VERSION */
      abi_version: { offset: 4, type: 'u32' },
      /** [batch, kv_heads, score_stride]; NaN and -inf never win */
      scores: { offset: 8, type: 'ptr' },
      /** [batch, kv_heads, keep_words] bit j: token j is kept; all words are written */
      keep_bitmap: { offset: 16, type: 'ptr' },
      /** [batch, kv_heads, max_anchors] kept tokens ascending, then -1 */
      keep_indices: { offset: 24, type: 'ptr' },
      /** [batch, kv_heads] tokens kept; null: not wanted */
      keep_count: { offset: 32, type: 'ptr' },
      /** [batch] candidates 0 ... token_count - 1 */
      token_count: { offset: 40, type: 'ptr' },
      /** sequences; grid.y */
      batch: { offset: 48, type: 'i32' },
      /** grid.x */
      kv_heads: { offset: 52, type: 'i32' },
      /** row stride of scores, in elements */
      score_stride: { offset: 56, type: 'i32' },
      /** row stride of keep_bitmap */
      keep_words: { offset: 60, type: 'i32' },
      /** row stride of keep_indices; no more are kept */
      max_anchors: { offset: 64, type: 'i32' },
      /** anchors per 1000 tokens, rounded down; used when budget_tokens is -1 */
      budget_permille: { offset: 68, type: 'i32' },
      /** anchors per sequence and KV head, or -1 */
      budget_tokens: { offset: 72, type: 'i32' },
      /** tokens 0 ... first_tokens - 1 are kept beside the budget */
      first_tokens: { offset: 76, type: 'i32' },
    },
  },
  /** A range of coded tokens as rotated exact rows. A token whose bit is set but which has no anchor row is left unwritten. */
  unpack: {
    bytes: 248,
    fields: {
      /** sizeof this struct */
      struct_size: { offset: 0, type: 'u32' },
      /** ANTKV_ABI_VERSION */
      abi_version: { offset: 4, type: 'u32' },
      /** [output rows, kv_heads, d] keys after RoPE, gain applied, anchors exact */
      k: { offset: 8, type: 'ptr' },
      /** [output rows, kv_heads, d] values */
      v: { offset: 16, type: 'ptr' },
      /** coded pages; block of (page, KV head) at pages + page * page_stride + head * page_head_stride */
      pages: { offset: 24, type: 'ptr' },
      /** [batch, max_pages] page of each page-sized run of tokens; null: use page_indptr and page_indices */
      block_table: { offset: 32, type: 'ptr' },
      /** [batch + 1] CSR offsets into page_indices; null with block_table */
      page_indptr: { offset: 40, type: 'ptr' },
      /** [page_indptr[batch]] pages; null with block_table */
      page_indices: { offset: 48, type: 'ptr' },
      /** [kv_heads] packed codebooks of the keys (antkv_pack_codebook); null for exact keys */
      k_codebook: { offset: 56, type: 'ptr' },
      /** [kv_heads] packed codebooks of the values; null for exact values */
      v_codebook: { offset: 64, type: 'ptr' },
      /** [rotary_dim / 2] RoPE frequencies in radians per position; null for contracts without "pre" */
      inv_freq: { offset: 72, type: 'ptr' },
      /** anchor pages of 16 rows; block of (page, KV head) at anchors + page * anchor_page_stride + head * anchor_head_stride */
      anchors: { offset: 80, type: 'ptr' },
      /** [slots, max_anchor_pages] anchor pages of each sequence, -1 ends the list; null: no anchors */
      anchor_table: { offset: 88, type: 'ptr' },
      /** [batch] row of per-sequence state (ring, anchor_table); null: the batch row */
      state_slot: { offset: 96, type: 'ptr' },
      /** [batch] as in decode; null: 0 */
      frozen_len: { offset: 104, type: 'ptr' },
      /** [batch] as in decode; null: 0 */
      frozen_anchor_pages: { offset: 112, type: 'ptr' },
      /** [batch] first logical token to write, a multiple of 16; null: 0 */
      first_token: { offset: 120, type: 'ptr' },
      /** [batch + 1] first output row of each sequence; their differences count the tokens */
      cu_tokens: { offset: 128, type: 'ptr' },
      /** [batch] position of logical token 0; null: 0 */
      first_pos: { offset: 136, type: 'ptr' },
      /** bytes */
      k_row_stride: { offset: 144, type: 'i64' },
      /** bytes */
      k_head_stride: { offset: 152, type: 'i64' },
      /** bytes */
      v_row_stride: { offset: 160, type: 'i64' },
      /** bytes */
      v_head_stride: { offset: 168, type: 'i64' },
      /** bytes from page to page */
      page_stride: { offset: 176, type: 'i64' },
      /** bytes from KV head to KV head inside a page */
      page_head_stride: { offset: 184, type: 'i64' },
      /** bytes from anchor page to anchor page */
      anchor_page_stride: { offset: 192, type: 'i64' },
      /** bytes from KV head to KV head inside an anchor page */
      anchor_head_stride: { offset: 200, type: 'i64' },
      /** sequences; grid.z */
      batch: { offset: 208, type: 'i32' },
      /** grid.y */
      kv_heads: { offset: 212, type: 'i32' },
      /** tokens per page: 16, 32, 64, 128 or 256 */
      page_size: { offset: 216, type: 'i32' },
      /** row stride of block_table, in entries */
      max_pages: { offset: 220, type: 'i32' },
      /** row stride of anchor_table, in entries; 0 without anchors */
      max_anchor_pages: { offset: 224, type: 'i32' },
      /** host bound on tokens per sequence, 1 to 2^30; fixes grid.x */
      max_tokens: { offset: 228, type: 'i32' },
      /** channels that RoPE rotates, even, at most the head dim */
      rotary_dim: { offset: 232, type: 'i32' },
      /** 0: pairs (i, i + rotary_dim/2); 1: pairs (2i, 2i + 1) */
      rope_interleaved: { offset: 236, type: 'i32' },
      /** factor on cos and sin (YaRN); 1 without */
      attention_factor: { offset: 240, type: 'f32' },
    },
  },
  /** A step of weighted k-means, of every (head, chunk) at once. All sums are whole numbers: equal inputs give equal bits. */
  kmeans: {
    bytes: 144,
    fields: {
      /** sizeof this struct */
      struct_size: { offset: 0, type: 'u32' },
      /** ANTKV_ABI_VERSION */
      abi_version: { offset: 4, type: 'u32' },
      /** [heads, tokens, chunks * channels] rows, dtype of the contract, all finite */
      x: { offset: 8, type: 'ptr' },
      /** [heads, tokens] how much each row counts, finite and at least 0; null: 1 */
      weights: { offset: 16, type: 'ptr' },
      /** [heads, chunks, entries] numbers from 0 to below 1: step 0 starts by k-means++ with these; null: it takes the centroids as they are */
      draws: { offset: 24, type: 'ptr' },
      /** [heads, chunks, entries, channels] what is clustered around; halves, but for given ones before the first step 1 */
      centroids: { offset: 32, type: 'ptr' },
      /** [heads, chunks] workspace of (2 * channels + 4) * entries bytes: the centroids as halves, and their |c|^2 / 2, as they are searched */
      codebook: { offset: 40, type: 'ptr' },
      /** [heads, chunks, tokens] workspace: w |x - c|^2 of each row, in units of 1 / loss_scale */
      row_loss: { offset: 48, type: 'ptr' },
      /** [heads, chunks, entries, channels + 1] workspace: sum of w x in units of 1 / value_scale, then of w in units of 1 / weight_scale; step 0 clears it */
      sums: { offset: 56, type: 'ptr' },
      /** [heads, chunks, max_steps + 1] sum of row_loss by step 1, with the centroids that it began with; the last one is what step 2 measures */
      loss: { offset: 64, type: 'ptr' },
      /** [heads, chunks] sum of w |x|^2, in units of 1 / loss_scale; written by step 0 */
      energy: { offset: 72, type: 'ptr' },
      /** [heads, chunks, 4] steps 1 that were done; clusters that were empty and got the worst row; 1: settled, later steps 1 change nothing; 0 */
      status: { offset: 80, type: 'ptr' },
      /** bytes */
      x_row_stride: { offset: 88, type: 'i64' },
      /** bytes */
      x_head_stride: { offset: 96, type: 'i64' },
      /** grid.z */
      heads: { offset: 104, type: 'i32' },
      /** codes of a row; grid.y */
      chunks: { offset: 108, type: 'i32' },
      /** rows of a head, at least 1 */
      tokens: { offset: 112, type: 'i32' },
      /** CTAs that share the rows of a (head, chunk); grid.x. Results do not depend on it */
      splits: { offset: 116, type: 'i32' },
      /** 0: clears, and starts the centroids; 1: a Lloyd iteration; 2: only measures, once after a step 0 */
      step: { offset: 120, type: 'i32' },
      /** bound on steps 1; fixes the row stride of loss */
      max_steps: { offset: 124, type: 'i32' },
      /** a (head, chunk) is settled when a step 1 lowers its loss by no more than this part of it, and re-seeds nothing */
      tolerance: { offset: 128, type: 'f32' },
      /** power of two; tokens * max(w |x|) * value_scale <= 2^62 */
      value_scale: { offset: 132, type: 'f32' },
      /** power of two; tokens * max(w) * weight_scale <= 2^62 */
      weight_scale: { offset: 136, type: 'f32' },
      /** power of two; tokens * channels * max(w) * max(|x|, |c|)^2 * loss_scale <= 2^60 */
      loss_scale: { offset: 140, type: 'f32' },
    },
  },
} as const satisfies Record<string, { bytes: number; fields: Record<string, Field> }>;

/** An op with a parameter struct. */
export type Op = keyof typeof PARAMS;

/** The contracts of this release, and the op of each. Names are stable; kernels behind them are not. */
export const CONTRACTS = {
  antkv_append_d128_k16c8b_v16c8bq8_f16_gain: 'append',
  antkv_append_d128_k2c8bq8_v2c8bq8_f16: 'append',
  antkv_append_d128_k4c8b_v4c8bq8_f16_pre_gain: 'append',
  antkv_append_d128_k8c8b_v8c8bq8_f16_gain: 'append',
  antkv_append_d128_k8c8b_v8c8bq8_f16_pre_gain: 'append',
  antkv_append_d128_kf16_vf16_f16: 'append',
  antkv_append_d64_k8c8b_v8c8bq8_f16_pre_gain: 'append',
  antkv_combine_d128_f16: 'combine',
  antkv_combine_d64_f16: 'combine',
  antkv_decode_d128_k16c8b_v16c8bq8_f16_gain: 'decode',
  antkv_decode_d128_k16c8b_v16c8bq8_f16_gain_n4: 'decode',
  antkv_decode_d128_k2c8bq8_v2c8bq8_f16: 'decode',
  antkv_decode_d128_k2c8bq8_v2c8bq8_f16_n4: 'decode',
  antkv_decode_d128_k4c8b_v4c8bq8_f16_pre_gain: 'decode',
  antkv_decode_d128_k4c8b_v4c8bq8_f16_pre_gain_n4: 'decode',
  antkv_decode_d128_k8c8b_v8c8bq8_f16_gain: 'decode',
  antkv_decode_d128_k8c8b_v8c8bq8_f16_gain_n4: 'decode',
  antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain: 'decode',
  antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain_n4: 'decode',
  antkv_decode_d128_kf16_vf16_f16: 'decode',
  antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain: 'decode',
  antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain_n4: 'decode',
  antkv_encode_d128_k16c8b_v16c8bq8_f16_gain: 'encode',
  antkv_encode_d128_k2c8bq8_v2c8bq8_f16: 'encode',
  antkv_encode_d128_k4c8b_v4c8bq8_f16_pre_gain: 'encode',
  antkv_encode_d128_k8c8b_v8c8bq8_f16_gain: 'encode',
  antkv_encode_d128_k8c8b_v8c8bq8_f16_pre_gain: 'encode',
  antkv_encode_d128_kf16_vf16_f16: 'encode',
  antkv_encode_d64_k8c8b_v8c8bq8_f16_pre_gain: 'encode',
  antkv_kmeans_k16c8b_f16: 'kmeans',
  antkv_kmeans_k2c8b_f16: 'kmeans',
  antkv_kmeans_k4c8b_f16: 'kmeans',
  antkv_kmeans_k8c8b_f16: 'kmeans',
  antkv_score_d128_f16: 'score',
  antkv_score_d128_f16_exact: 'score',
  antkv_score_d64_f16: 'score',
  antkv_score_d64_f16_exact: 'score',
  antkv_select: 'select',
  antkv_unpack_d128_k16c8b_v16c8bq8_f16_gain: 'unpack',
  antkv_unpack_d128_k2c8bq8_v2c8bq8_f16: 'unpack',
  antkv_unpack_d128_k4c8b_v4c8bq8_f16_pre_gain: 'unpack',
  antkv_unpack_d128_k8c8b_v8c8bq8_f16_gain: 'unpack',
  antkv_unpack_d128_k8c8b_v8c8bq8_f16_pre_gain: 'unpack',
  antkv_unpack_d128_kf16_vf16_f16: 'unpack',
  antkv_unpack_d64_k8c8b_v8c8bq8_f16_pre_gain: 'unpack',
} as const satisfies Record<string, Op>;

/** The name of a contract. */
export type Contract = keyof typeof CONTRACTS;
/** The op of a contract, from its name. */
export type OpOf<C extends Contract> = (typeof CONTRACTS)[C];
/** The fields of an op's struct. */
export type FieldOf<O extends Op> = Extract<keyof (typeof PARAMS)[O]["fields"], string>;
