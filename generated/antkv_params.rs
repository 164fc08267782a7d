// Generated file. Do not edit.
//   template  generator/bindings/rust.ts
//   remake    npx gen
//! Parameter structs of antkv kernels. Each kernel takes one by value as its only argument. Pointers are device pointers (CUdeviceptr),
//! 0 is null; strides count bytes. With cudarc, add `unsafe impl cudarc::driver::DeviceRepr` for the structs that you launch with.

pub const ABI_VERSION: u32 = 3;
pub const LAYOUT_VERSION: u32 = 4;

/// K/V rows to coded pages, and the kept rows to anchor pages. A last unit of 16 tokens is filled with code 0 and gain 0; units behind it stay as they were; every bitmap word of a page is written.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EncodeParams {
    /// sizeof this struct
    pub struct_size: u32,
    /// ANTKV_ABI_VERSION
    pub abi_version: u32,
    /// `const void*`: \[input rows, kv_heads, d\] keys, dtype of the contract, after RoPE unless keys_unrotated
    pub k: u64,
    /// `const void*`: \[input rows, kv_heads, d\] values
    pub v: u64,
    /// `void*`: coded pages; block of (page, KV head) at pages + page * page_stride + head * page_head_stride
    pub pages: u64,
    /// `const int32_t*`: \[batch, max_pages\] page of each page-sized run of tokens; null: use page_indptr and page_indices
    pub block_table: u64,
    /// `const int32_t*`: \[batch + 1\] CSR offsets into page_indices; null with block_table
    pub page_indptr: u64,
    /// `const int32_t*`: \[page_indptr\[batch\]\] pages; null with block_table
    pub page_indices: u64,
    /// `const void*`: \[kv_heads\] packed codebooks of the keys (antkv_pack_codebook); null for exact keys
    pub k_codebook: u64,
    /// `const void*`: \[kv_heads\] packed codebooks of the values; null for exact values
    pub v_codebook: u64,
    /// `const float*`: \[rotary_dim / 2\] RoPE frequencies in radians per position; null for contracts without "pre"
    pub inv_freq: u64,
    /// `void*`: anchor pages of 16 rows; block of (page, KV head) at anchors + page * anchor_page_stride + head * anchor_head_stride
    pub anchors: u64,
    /// `const int32_t*`: \[slots, max_anchor_pages\] anchor pages of each sequence, -1 ends the list; null: no anchors
    pub anchor_table: u64,
    /// `const int32_t*`: \[batch\] row of per-sequence state (ring, anchor_table); null: the batch row
    pub state_slot: u64,
    /// `const int32_t*`: \[batch + 1\] first input row of each sequence
    pub cu_tokens: u64,
    /// `const int32_t*`: \[batch\] logical index of the first input row, a multiple of page_size; null: 0
    pub first_token: u64,
    /// `const int32_t*`: \[batch\] position of logical token 0; null: 0
    pub first_pos: u64,
    /// `const uint32_t*`: \[batch, kv_heads, keep_words\] bit j: logical token j is an anchor; null: none
    pub keep_bitmap: u64,
    /// `const int32_t*`: \[batch, kv_heads, max_anchors\] logical tokens whose rows go to anchor rows 0, 1, ...; -1, or a row beyond max_anchors, is emptied; tokens outside the input keep the row they have; null: none
    pub keep_indices: u64,
    /// `float*`: \[slots, kv_heads, max_anchor_pages * 16\] score of each anchor row that is written, for append; null: not wanted
    pub anchor_score: u64,
    /// `const float*`: \[batch, kv_heads, score_stride\] scores of the logical tokens, as select had them; null with anchor_score
    pub keep_scores: u64,
    /// `const int32_t*`: \[batch\] query rows that the scores are sums over, tokens 0 ... score_rows - 1: token j was seen by score_rows - j of them, and the mean is frozen; null: scores are frozen as they are
    pub score_rows: u64,
    /// bytes
    pub k_row_stride: i64,
    /// bytes
    pub k_head_stride: i64,
    /// bytes
    pub v_row_stride: i64,
    /// bytes
    pub v_head_stride: i64,
    /// bytes from page to page
    pub page_stride: i64,
    /// bytes from KV head to KV head inside a page
    pub page_head_stride: i64,
    /// bytes from anchor page to anchor page
    pub anchor_page_stride: i64,
    /// bytes from KV head to KV head inside an anchor page
    pub anchor_head_stride: i64,
    /// sequences
    pub batch: i32,
    pub kv_heads: i32,
    /// tokens per page: 16, 32, 64, 128 or 256
    pub page_size: i32,
    /// row stride of block_table, in entries
    pub max_pages: i32,
    /// row stride of anchor_table, in entries; 0 without anchors
    pub max_anchor_pages: i32,
    /// host bound on input rows per sequence, 1 to 2^30; fixes grid.x
    pub max_tokens: i32,
    /// row stride of keep_indices
    pub max_anchors: i32,
    /// row stride of keep_bitmap
    pub keep_words: i32,
    /// row stride of keep_scores, in elements
    pub score_stride: i32,
    /// 1: k is given before RoPE; the anchor rows are rotated on the way
    pub keys_unrotated: i32,
    /// channels that RoPE rotates, even, at most the head dim
    pub rotary_dim: i32,
    /// 0: pairs (i, i + rotary_dim/2); 1: pairs (2i, 2i + 1)
    pub rope_interleaved: i32,
    /// factor on cos and sin (YaRN); 1 without
    pub attention_factor: f32,
}

impl EncodeParams {
    /// All zero, all pointers null, with size and version filled in.
    pub fn new() -> Self {
        Self { struct_size: core::mem::size_of::<Self>() as u32, abi_version: ABI_VERSION, ..Default::default() }
    }
}

const _: () = assert!(core::mem::size_of::<EncodeParams>() == 288);
const _: () = assert!(core::mem::offset_of!(EncodeParams, attention_factor) == 280);

/// One step of a cache, per layer: commits rows of the step before and folds their scores, encodes what leaves the window and chooses its anchors, writes new rows into the ring. Exact recipes: writes the new rows into pages.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AppendParams {
    /// sizeof this struct
    pub struct_size: u32,
    /// ANTKV_ABI_VERSION
    pub abi_version: u32,
    /// `const void*`: \[new rows, kv_heads, d\] keys after RoPE of the rows that enter
    pub k: u64,
    /// `const void*`: \[new rows, kv_heads, d\] their values
    pub v: u64,
    /// `void*`: coded pages; block of (page, KV head) at pages + page * page_stride + head * page_head_stride
    pub pages: u64,
    /// `const int32_t*`: \[batch, max_pages\] page of each page-sized run of tokens; null: use page_indptr and page_indices
    pub block_table: u64,
    /// `const int32_t*`: \[batch + 1\] CSR offsets into page_indices; null with block_table
    pub page_indptr: u64,
    /// `const int32_t*`: \[page_indptr\[batch\]\] pages; null with block_table
    pub page_indices: u64,
    /// `const void*`: \[kv_heads\] packed codebooks of the keys (antkv_pack_codebook); null for exact keys
    pub k_codebook: u64,
    /// `const void*`: \[kv_heads\] packed codebooks of the values; null for exact values
    pub v_codebook: u64,
    /// `const float*`: \[rotary_dim / 2\] RoPE frequencies in radians per position; null for contracts without "pre"
    pub inv_freq: u64,
    /// `void*`: anchor pages of 16 rows; block of (page, KV head) at anchors + page * anchor_page_stride + head * anchor_head_stride
    pub anchors: u64,
    /// `const int32_t*`: \[slots, max_anchor_pages\] anchor pages of each sequence, -1 ends the list; null: no anchors
    pub anchor_table: u64,
    /// `const int32_t*`: \[batch\] row of per-sequence state (ring, anchor_table); null: the batch row
    pub state_slot: u64,
    /// `void*`: \[slots, kv_heads, ring_rows, d\] exact keys after RoPE, token j in row j mod ring_rows; null for exact recipes
    pub ring_k: u64,
    /// `void*`: \[slots, kv_heads, ring_rows, d\] exact values
    pub ring_v: u64,
    /// `const float*`: \[rows of the step before, q_heads, ring_rows\] what decode left: raw scores, -inf where unseen; with lse null: masses (combine); null: nothing is folded
    pub ring_scores: u64,
    /// `const float*`: \[rows of the step before, q_heads\] natural log-sum-exp; mass is exp(score - lse); null: ring_scores holds masses
    pub lse: u64,
    /// `float*`: \[slots, kv_heads, ring_rows\] column sum of each token in the ring; undefined in rows that hold none; null: without anchors
    pub ring_score: u64,
    /// `int32_t*`: \[slots, kv_heads, ring_rows\] query rows that saw each token; null with ring_score
    pub ring_count: u64,
    /// `float*`: \[slots, kv_heads, max_anchor_pages * 16\] score of each anchor row, frozen when it was chosen; null: without anchors
    pub anchor_score: u64,
    /// `const int32_t*`: \[batch\] first row of ring_scores and lse that is the sequence's, -1: the step before had none of it; null: the batch row
    pub score_row: u64,
    /// `const int32_t*`: \[batch\] committed tokens before this call
    pub seq_len: u64,
    /// `const int32_t*`: \[batch\] rows of the step before to commit, the first ones; null: 1 each. n = seq_len + accepted
    pub accepted: u64,
    /// `const int32_t*`: \[batch\] tokens in pages before this call; null: the flush rule of CACHE.md for seq_len, at least frozen_len
    pub coded_len: u64,
    /// `const int32_t*`: \[batch\] tokens inherited from a shared prefix; null: 0
    pub frozen_len: u64,
    /// `const int32_t*`: \[batch\] leading entries of anchor_table that are inherited and never written; null: 0
    pub frozen_anchor_pages: u64,
    /// `const int32_t*`: \[batch\] position of logical token 0; null: 0
    pub first_pos: u64,
    /// `const int32_t*`: \[batch + 1\] first new row of each sequence, at most ring_rows - (n - coded tokens after the flush) rows each; null: one row each
    pub cu_q: u64,
    /// `const float*`: \[new rows, kv_heads\] column sum that a new row starts with; null: 0
    pub new_score: u64,
    /// `const int32_t*`: \[new rows, kv_heads\] rows that saw it already; null: 0
    pub new_count: u64,
    /// bytes
    pub k_row_stride: i64,
    /// bytes
    pub k_head_stride: i64,
    /// bytes
    pub v_row_stride: i64,
    /// bytes
    pub v_head_stride: i64,
    /// bytes from page to page
    pub page_stride: i64,
    /// bytes from KV head to KV head inside a page
    pub page_head_stride: i64,
    /// bytes from anchor page to anchor page
    pub anchor_page_stride: i64,
    /// bytes from KV head to KV head inside an anchor page
    pub anchor_head_stride: i64,
    /// bytes from sequence to sequence
    pub ring_slot_stride: i64,
    /// bytes from KV head to KV head
    pub ring_head_stride: i64,
    /// bytes from row to row
    pub ring_row_stride: i64,
    /// sequences; grid.y
    pub batch: i32,
    /// a multiple of kv_heads; the GQA ratio is at most 16
    pub q_heads: i32,
    /// grid.x
    pub kv_heads: i32,
    /// tokens per page: 16, 32, 64, 128 or 256
    pub page_size: i32,
    /// row stride of block_table, in entries
    pub max_pages: i32,
    /// row stride of anchor_table, in entries; 0 without anchors
    pub max_anchor_pages: i32,
    /// at least window + flush_block + 16; 0 for exact recipes
    pub ring_rows: i32,
    /// newest tokens that stay exact
    pub window: i32,
    /// tokens encoded at once, a multiple of page_size
    pub flush_block: i32,
    /// anchors per 1000 coded tokens, rounded down
    pub budget_permille: i32,
    /// tokens 0 ... first_tokens - 1 are anchors beside the budget
    pub first_tokens: i32,
    /// score of a token that leaves the window: 0 column (mean mass over the rows that saw it), 1 the smallest key (-|k|), 2 the largest key (|k|), 3 none: first_tokens only
    pub policy: i32,
    /// channels that RoPE rotates, even, at most the head dim
    pub rotary_dim: i32,
    /// 0: pairs (i, i + rotary_dim/2); 1: pairs (2i, 2i + 1)
    pub rope_interleaved: i32,
    /// factor on cos and sin (YaRN); 1 without
    pub attention_factor: f32,
    /// anchors of a sequence and KV head, however many tokens are coded; 0: budget_permille
    pub budget_tokens: i32,
    /// 0: anchors that lose are handed back. Else none is: those that lose stay beside the budget, and when as many as this do no token of a block wins any more
    pub extra_tokens: i32,
}

impl AppendParams {
    /// All zero, all pointers null, with size and version filled in.
    pub fn new() -> Self {
        Self { struct_size: core::mem::size_of::<Self>() as u32, abi_version: ABI_VERSION, ..Default::default() }
    }
}

const _: () = assert!(core::mem::size_of::<AppendParams>() == 400);
const _: () = assert!(core::mem::offset_of!(AppendParams, extra_tokens) == 392);

/// Attention of a few query rows over coded pages, anchors and ring.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DecodeParams {
    /// sizeof this struct
    pub struct_size: u32,
    /// ANTKV_ABI_VERSION
    pub abi_version: u32,
    /// `void*`: \[rows, q_heads, d\] output, dtype of the contract; written when splits is 1 or counters are given
    pub out: u64,
    /// `float*`: \[rows, q_heads\] natural log-sum-exp, -inf for a row that sees nothing; null: not wanted; written with out
    pub lse: u64,
    /// `const void*`: \[rows, q_heads, d\] queries after RoPE, dtype of the contract, all finite: a row with a NaN comes out as one that sees nothing (CACHE.md, "Masking")
    pub q: u64,
    /// `const void*`: coded pages; block of (page, KV head) at pages + page * page_stride + head * page_head_stride. Kernels of algorithm lookup, which tables may choose, read blocks that end at most 2^36 bytes (64 GiB) behind pages; beyond they read others
    pub pages: u64,
    /// `const int32_t*`: \[batch, max_pages\] page of each page-sized run of tokens; null: use page_indptr and page_indices
    pub block_table: u64,
    /// `const int32_t*`: \[batch + 1\] CSR offsets into page_indices; null with block_table
    pub page_indptr: u64,
    /// `const int32_t*`: \[page_indptr\[batch\]\] pages; null with block_table
    pub page_indices: u64,
    /// `const void*`: \[kv_heads\] packed codebooks of the keys (antkv_pack_codebook); null for exact keys
    pub k_codebook: u64,
    /// `const void*`: \[kv_heads\] packed codebooks of the values; null for exact values
    pub v_codebook: u64,
    /// `const float*`: \[rotary_dim / 2\] RoPE frequencies in radians per position; null for contracts without "pre"
    pub inv_freq: u64,
    /// `const void*`: anchor pages of 16 rows; block of (page, KV head) at anchors + page * anchor_page_stride + head * anchor_head_stride
    pub anchors: u64,
    /// `const int32_t*`: \[slots, max_anchor_pages\] anchor pages of each sequence, -1 ends the list; null: no anchors
    pub anchor_table: u64,
    /// `const int32_t*`: \[batch\] row of per-sequence state (ring, anchor_table); null: the batch row
    pub state_slot: u64,
    /// `const void*`: \[slots, kv_heads, ring_rows, d\] exact keys after RoPE, token j in row j mod ring_rows; null: no ring
    pub ring_k: u64,
    /// `const void*`: \[slots, kv_heads, ring_rows, d\] exact values
    pub ring_v: u64,
    /// `float*`: \[rows, q_heads, ring_rows\] raw scores (natural units) of ring rows seen, -inf in all others: every entry of a used row is written; null: not wanted
    pub ring_scores: u64,
    /// `float*`: \[splits, rows, q_heads, d\] normalised output of each split; null when splits is 1
    pub partial_o: u64,
    /// `float*`: \[splits, rows, q_heads\] natural log-sum-exp of each split; null when splits is 1
    pub partial_lse: u64,
    /// `uint32_t*`: \[batch, grid.y\] zero before the first launch; the CTA that arrives last merges the parts, writes out and lse, and sets its counter back; null: partials are left for combine
    pub counters: u64,
    /// `const int32_t*`: \[batch\] tokens read from pages; at most kv_len
    pub coded_len: u64,
    /// `const int32_t*`: \[batch\] tokens stored, this step's rows included: the ring holds coded_len ... kv_len - 1
    pub kv_len: u64,
    /// `const int32_t*`: \[batch\] tokens inherited from a shared prefix; null: 0
    pub frozen_len: u64,
    /// `const int32_t*`: \[batch\] leading entries of anchor_table that are inherited: their rows at or beyond frozen_len are skipped; null: 0
    pub frozen_anchor_pages: u64,
    /// `const int32_t*`: \[batch\] position of logical token 0; null: 0
    pub first_pos: u64,
    /// `const int32_t*`: \[batch\] position of the first query row; null: first_pos + kv_len - query rows
    pub q_pos: u64,
    /// `const int32_t*`: \[batch + 1\] first query row of each sequence; null: one row each
    pub cu_q: u64,
    /// `const uint16_t*`: \[rows\] bit k: this row sees the k-th new row of its sequence; replaces the position rule for new rows; null: causal
    pub tree_mask: u64,
    /// `const float*`: \[q_heads\] learned sink logits (natural units), contracts with "sink" only: each is one more key of its head, whose value is 0, and counts in lse; -inf: none
    pub sink_logits: u64,
    /// bytes
    pub q_row_stride: i64,
    /// bytes
    pub q_head_stride: i64,
    /// bytes
    pub out_row_stride: i64,
    /// bytes
    pub out_head_stride: i64,
    /// bytes from page to page
    pub page_stride: i64,
    /// bytes from KV head to KV head inside a page
    pub page_head_stride: i64,
    /// bytes from anchor page to anchor page
    pub anchor_page_stride: i64,
    /// bytes from KV head to KV head inside an anchor page
    pub anchor_head_stride: i64,
    /// bytes from sequence to sequence
    pub ring_slot_stride: i64,
    /// bytes from KV head to KV head
    pub ring_head_stride: i64,
    /// bytes from row to row
    pub ring_row_stride: i64,
    /// sequences
    pub batch: i32,
    /// a multiple of kv_heads; the GQA ratio is at most 16
    pub q_heads: i32,
    pub kv_heads: i32,
    /// query rows of all sequences
    pub rows: i32,
    /// tokens per page: 16, 32, 64, 128 or 256
    pub page_size: i32,
    /// row stride of block_table, in entries
    pub max_pages: i32,
    /// row stride of anchor_table, in entries; 0 without anchors
    pub max_anchor_pages: i32,
    /// window + flush block + 16
    pub ring_rows: i32,
    /// bit 0: coded pages, bit 1: anchors, bit 2: ring
    pub segments: i32,
    /// 1 to 65535: CTAs that share one sequence and KV head, or with spread all sequences of one KV head; grid.x
    pub splits: i32,
    /// 0: each sequence is cut into `splits` shares by its own length alone, grid.z is batch; 1: all sequences, end to end, are cut into `splits` shares of equal work, grid.z is 1
    pub spread: i32,
    /// host bound on query rows per sequence; fixes grid.y
    pub max_q_len: i32,
    /// channels that RoPE rotates, even, at most the head dim
    pub rotary_dim: i32,
    /// 0: pairs (i, i + rotary_dim/2); 1: pairs (2i, 2i + 1)
    pub rope_interleaved: i32,
    /// factor on q.k, natural units, finite and above 0; usually 1/sqrt(d)
    pub scale: f32,
    /// factor on cos and sin (YaRN); 1 without
    pub attention_factor: f32,
    /// contracts with "softcap" only, > 0: a score s (natural units) becomes softcap * tanh(s / softcap), in ring_scores too; else 0
    pub softcap: f32,
}

impl DecodeParams {
    /// All zero, all pointers null, with size and version filled in.
    pub fn new() -> Self {
        Self { struct_size: core::mem::size_of::<Self>() as u32, abi_version: ABI_VERSION, ..Default::default() }
    }
}

const _: () = assert!(core::mem::size_of::<DecodeParams>() == 392);
const _: () = assert!(core::mem::offset_of!(DecodeParams, softcap) == 384);

/// Merges the splits of decode in a fixed order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CombineParams {
    /// sizeof this struct
    pub struct_size: u32,
    /// ANTKV_ABI_VERSION
    pub abi_version: u32,
    /// `void*`: \[rows, q_heads, d\] output, dtype of the contract
    pub out: u64,
    /// `float*`: \[rows, q_heads\] natural log-sum-exp, read when partial_o is null; null: not wanted
    pub lse: u64,
    /// `const float*`: \[splits, rows, q_heads, d\]; null: decode had one split or counters and wrote out and lse itself, only ring_scores is wanted
    pub partial_o: u64,
    /// `const float*`: \[splits, rows, q_heads\]; -inf marks a split that saw nothing
    pub partial_lse: u64,
    /// `float*`: \[rows, q_heads, ring_rows\] raw scores in, attention mass exp(s - lse) out; null: not wanted
    pub ring_scores: u64,
    /// bytes
    pub out_row_stride: i64,
    /// bytes
    pub out_head_stride: i64,
    /// query rows; grid.x
    pub rows: i32,
    /// grid.y is q_heads over the warps of a CTA, rounded up
    pub q_heads: i32,
    /// merged in order 0, 1, ...
    pub splits: i32,
    /// row stride of ring_scores
    pub ring_rows: i32,
}

impl CombineParams {
    /// All zero, all pointers null, with size and version filled in.
    pub fn new() -> Self {
        Self { struct_size: core::mem::size_of::<Self>() as u32, abi_version: ABI_VERSION, ..Default::default() }
    }
}

const _: () = assert!(core::mem::size_of::<CombineParams>() == 80);
const _: () = assert!(core::mem::offset_of!(CombineParams, ring_rows) == 76);

/// Anchor score of every key, after any attention that returned the LSE.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ScoreParams {
    /// sizeof this struct
    pub struct_size: u32,
    /// ANTKV_ABI_VERSION
    pub abi_version: u32,
    /// `float*`: \[batch, kv_heads, score_stride\] anchor score of each key; with accumulate it starts as what is added to (form "norm" writes it all the same)
    pub scores: u64,
    /// `const void*`: \[query rows, q_heads, d\] queries after RoPE; null for form "norm"
    pub q: u64,
    /// `const void*`: \[key rows, kv_heads, d\] keys after RoPE
    pub k: u64,
    /// `const void*`: \[key rows, kv_heads, d\] values; form "exact" only
    pub v: u64,
    /// `const void*`: \[query rows, q_heads, d\] attention output; form "exact" only
    pub o: u64,
    /// `const float*`: \[query rows, q_heads\] natural log-sum-exp of each row; null for form "norm"
    pub lse: u64,
    /// `const int32_t*`: \[batch + 1\] first query row of each sequence; null for form "norm"
    pub cu_q: u64,
    /// `const int32_t*`: \[batch + 1\] first key row of each sequence
    pub cu_k: u64,
    /// `const int32_t*`: \[batch\] position of key 0; null: 0
    pub first_pos: u64,
    /// `const int32_t*`: \[batch\] position of query row 0; null: first_pos + keys - query rows
    pub q_pos: u64,
    /// `const int32_t*`: \[batch\] place of key 0 in its row of scores; null: 0
    pub first_key: u64,
    /// `const int32_t*`: \[batch + 1\] offsets into sampled_rows; null: all rows count
    pub cu_sampled: u64,
    /// `const int32_t*`: \[cu_sampled\[batch\]\] of each sequence the query rows, ascending, that stand for all older than its newest_rows newest (antkv_sample_rows); each counts (older rows) / (listed rows) times; null with cu_sampled
    pub sampled_rows: u64,
    /// bytes
    pub q_row_stride: i64,
    /// bytes
    pub q_head_stride: i64,
    /// bytes
    pub o_row_stride: i64,
    /// bytes
    pub o_head_stride: i64,
    /// bytes
    pub k_row_stride: i64,
    /// bytes
    pub k_head_stride: i64,
    /// bytes
    pub v_row_stride: i64,
    /// bytes
    pub v_head_stride: i64,
    /// sequences; grid.z
    pub batch: i32,
    pub q_heads: i32,
    /// grid.y
    pub kv_heads: i32,
    /// host bound on keys per sequence, 1 to 2^30; fixes grid.x
    pub max_tokens: i32,
    /// row stride of scores, in elements
    pub score_stride: i32,
    /// query rows at the end of each sequence that count once each, with cu_sampled only
    pub newest_rows: i32,
    /// 1: adds to scores, so that the chunks of a prompt sum up to its score in one pass; 0: writes them
    pub accumulate: i32,
    /// factor on q.k, natural units; form "exact" multiplies by it as well; form "norm": factor on |k|, -1 ranks the smallest key first
    pub scale: f32,
    /// contracts with "softcap" only, > 0, as in decode: the softcap of the attention that lse came from; else 0
    pub softcap: f32,
}

impl ScoreParams {
    /// All zero, all pointers null, with size and version filled in.
    pub fn new() -> Self {
        Self { struct_size: core::mem::size_of::<Self>() as u32, abi_version: ABI_VERSION, ..Default::default() }
    }
}

const _: () = assert!(core::mem::size_of::<ScoreParams>() == 216);
const _: () = assert!(core::mem::offset_of!(ScoreParams, softcap) == 208);

/// The top budget of the scores, as bitmap and ascending indices.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SelectParams {
    /// sizeof this struct
    pub struct_size: u32,
    /// ANTKV_ABI_VERSION
    pub abi_version: u32,
    /// `const float*`: \[batch, kv_heads, score_stride\]; NaN and -inf never win
    pub scores: u64,
    /// `uint32_t*`: \[batch, kv_heads, keep_words\] bit j: token j is kept; all words are written
    pub keep_bitmap: u64,
    /// `int32_t*`: \[batch, kv_heads, max_anchors\] kept tokens ascending, then -1
    pub keep_indices: u64,
    /// `int32_t*`: \[batch, kv_heads\] tokens kept; null: not wanted
    pub keep_count: u64,
    /// `const int32_t*`: \[batch\] candidates 0 ... token_count - 1
    pub token_count: u64,
    /// sequences; grid.y
    pub batch: i32,
    /// grid.x
    pub kv_heads: i32,
    /// row stride of scores, in elements
    pub score_stride: i32,
    /// row stride of keep_bitmap
    pub keep_words: i32,
    /// row stride of keep_indices; no more are kept
    pub max_anchors: i32,
    /// anchors per 1000 tokens, rounded down; used when budget_tokens is -1
    pub budget_permille: i32,
    /// anchors per sequence and KV head, or -1
    pub budget_tokens: i32,
    /// tokens 0 ... first_tokens - 1 are kept beside the budget
    pub first_tokens: i32,
}

impl SelectParams {
    /// All zero, all pointers null, with size and version filled in.
    pub fn new() -> Self {
        Self { struct_size: core::mem::size_of::<Self>() as u32, abi_version: ABI_VERSION, ..Default::default() }
    }
}

const _: () = assert!(core::mem::size_of::<SelectParams>() == 80);
const _: () = assert!(core::mem::offset_of!(SelectParams, first_tokens) == 76);

/// A range of coded tokens as rotated exact rows. A token whose bit is set but which has no anchor row is left unwritten.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct UnpackParams {
    /// sizeof this struct
    pub struct_size: u32,
    /// ANTKV_ABI_VERSION
    pub abi_version: u32,
    /// `void*`: \[output rows, kv_heads, d\] keys after RoPE, gain applied, anchors exact
    pub k: u64,
    /// `void*`: \[output rows, kv_heads, d\] values
    pub v: u64,
    /// `const void*`: coded pages; block of (page, KV head) at pages + page * page_stride + head * page_head_stride
    pub pages: u64,
    /// `const int32_t*`: \[batch, max_pages\] page of each page-sized run of tokens; null: use page_indptr and page_indices
    pub block_table: u64,
    /// `const int32_t*`: \[batch + 1\] CSR offsets into page_indices; null with block_table
    pub page_indptr: u64,
    /// `const int32_t*`: \[page_indptr\[batch\]\] pages; null with block_table
    pub page_indices: u64,
    /// `const void*`: \[kv_heads\] packed codebooks of the keys (antkv_pack_codebook); null for exact keys
    pub k_codebook: u64,
    /// `const void*`: \[kv_heads\] packed codebooks of the values; null for exact values
    pub v_codebook: u64,
    /// `const float*`: \[rotary_dim / 2\] RoPE frequencies in radians per position; null for contracts without "pre"
    pub inv_freq: u64,
    /// `const void*`: anchor pages of 16 rows; block of (page, KV head) at anchors + page * anchor_page_stride + head * anchor_head_stride
    pub anchors: u64,
    /// `const int32_t*`: \[slots, max_anchor_pages\] anchor pages of each sequence, -1 ends the list; null: no anchors
    pub anchor_table: u64,
    /// `const int32_t*`: \[batch\] row of per-sequence state (ring, anchor_table); null: the batch row
    pub state_slot: u64,
    /// `const int32_t*`: \[batch\] as in decode; null: 0
    pub frozen_len: u64,
    /// `const int32_t*`: \[batch\] as in decode; null: 0
    pub frozen_anchor_pages: u64,
    /// `const int32_t*`: \[batch\] first logical token to write, a multiple of 16; null: 0
    pub first_token: u64,
    /// `const int32_t*`: \[batch + 1\] first output row of each sequence; their differences count the tokens
    pub cu_tokens: u64,
    /// `const int32_t*`: \[batch\] position of logical token 0; null: 0
    pub first_pos: u64,
    /// bytes
    pub k_row_stride: i64,
    /// bytes
    pub k_head_stride: i64,
    /// bytes
    pub v_row_stride: i64,
    /// bytes
    pub v_head_stride: i64,
    /// bytes from page to page
    pub page_stride: i64,
    /// bytes from KV head to KV head inside a page
    pub page_head_stride: i64,
    /// bytes from anchor page to anchor page
    pub anchor_page_stride: i64,
    /// bytes from KV head to KV head inside an anchor page
    pub anchor_head_stride: i64,
    /// sequences; grid.z
    pub batch: i32,
    /// grid.y
    pub kv_heads: i32,
    /// tokens per page: 16, 32, 64, 128 or 256
    pub page_size: i32,
    /// row stride of block_table, in entries
    pub max_pages: i32,
    /// row stride of anchor_table, in entries; 0 without anchors
    pub max_anchor_pages: i32,
    /// host bound on tokens per sequence, 1 to 2^30; fixes grid.x
    pub max_tokens: i32,
    /// channels that RoPE rotates, even, at most the head dim
    pub rotary_dim: i32,
    /// 0: pairs (i, i + rotary_dim/2); 1: pairs (2i, 2i + 1)
    pub rope_interleaved: i32,
    /// factor on cos and sin (YaRN); 1 without
    pub attention_factor: f32,
}

impl UnpackParams {
    /// All zero, all pointers null, with size and version filled in.
    pub fn new() -> Self {
        Self { struct_size: core::mem::size_of::<Self>() as u32, abi_version: ABI_VERSION, ..Default::default() }
    }
}

const _: () = assert!(core::mem::size_of::<UnpackParams>() == 248);
const _: () = assert!(core::mem::offset_of!(UnpackParams, attention_factor) == 240);

/// A step of weighted k-means, of every (head, chunk) at once. All sums are whole numbers: equal inputs give equal bits.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KmeansParams {
    /// sizeof this struct
    pub struct_size: u32,
    /// ANTKV_ABI_VERSION
    pub abi_version: u32,
    /// `const void*`: \[heads, tokens, chunks * channels\] rows, dtype of the contract, all finite
    pub x: u64,
    /// `const float*`: \[heads, tokens\] how much each row counts, finite and at least 0; null: 1
    pub weights: u64,
    /// `const double*`: \[heads, chunks, entries\] numbers from 0 to below 1: step 0 starts by k-means++ with these; null: it takes the centroids as they are
    pub draws: u64,
    /// `float*`: \[heads, chunks, entries, channels\] what is clustered around; halves, but for given ones before the first step 1
    pub centroids: u64,
    /// `void*`: \[heads, chunks\] workspace of (2 * channels + 4) * entries bytes: the centroids as halves, and their |c|^2 / 2, as they are searched
    pub codebook: u64,
    /// `uint64_t*`: \[heads, chunks, tokens\] workspace: w |x - c|^2 of each row, in units of 1 / loss_scale
    pub row_loss: u64,
    /// `int64_t*`: \[heads, chunks, entries, channels + 1\] workspace: sum of w x in units of 1 / value_scale, then of w in units of 1 / weight_scale; step 0 clears it
    pub sums: u64,
    /// `uint64_t*`: \[heads, chunks, max_steps + 1\] sum of row_loss by step 1, with the centroids that it began with; the last one is what step 2 measures
    pub loss: u64,
    /// `uint64_t*`: \[heads, chunks\] sum of w |x|^2, in units of 1 / loss_scale; written by step 0
    pub energy: u64,
    /// `int32_t*`: \[heads, chunks, 4\] steps 1 that were done; clusters that were empty and got the worst row; 1: settled, later steps 1 change nothing; 0
    pub status: u64,
    /// bytes
    pub x_row_stride: i64,
    /// bytes
    pub x_head_stride: i64,
    /// grid.z
    pub heads: i32,
    /// codes of a row; grid.y
    pub chunks: i32,
    /// rows of a head, at least 1
    pub tokens: i32,
    /// CTAs that share the rows of a (head, chunk); grid.x. Results do not depend on it
    pub splits: i32,
    /// 0: clears, and starts the centroids; 1: a Lloyd iteration; 2: only measures, once after a step 0
    pub step: i32,
    /// bound on steps 1; fixes the row stride of loss
    pub max_steps: i32,
    /// a (head, chunk) is settled when a step 1 lowers its loss by no more than this part of it, and re-seeds nothing
    pub tolerance: f32,
    /// power of two; tokens * max(w |x|) * value_scale <= 2^62
    pub value_scale: f32,
    /// power of two; tokens * max(w) * weight_scale <= 2^62
    pub weight_scale: f32,
    /// power of two; tokens * channels * max(w) * max(|x|, |c|)^2 * loss_scale <= 2^60
    pub loss_scale: f32,
}

impl KmeansParams {
    /// All zero, all pointers null, with size and version filled in.
    pub fn new() -> Self {
        Self { struct_size: core::mem::size_of::<Self>() as u32, abi_version: ABI_VERSION, ..Default::default() }
    }
}

const _: () = assert!(core::mem::size_of::<KmeansParams>() == 144);
const _: () = assert!(core::mem::offset_of!(KmeansParams, loss_scale) == 140);
