// Generated file. Do not edit.
//   template  generator/bindings/c.ts
//   remake    npx gen
/* antkv: parameter structs of every op. C11 and C++17, on 64-bit machines; no CUDA types: a stream is a void*.

   Each kernel takes one of these structs by value as its only argument. Set struct_size to sizeof and abi_version to
   ANTKV_ABI_VERSION. Strides count bytes; one is at least what it steps over, so that nothing overlaps, in whatever order the axes lie;
   of an axis of length 1 it is not looked at. Pointers are device pointers, 16-byte aligned; null means "not there" or "not wanted" where
   the field says so. Set every field, or clear the struct first. `tokens` and `warps` of a grid are the kernel's own numbers: manifest.json
   has them, with dynamicShared, the dynamic shared memory. Kernels neither allocate nor synchronise; grids depend on host bounds only. */
#ifndef ANTKV_H
#define ANTKV_H

#include <stddef.h>
#include <stdint.h>

/* Rises when a field of a struct moves, changes or goes. */
#define ANTKV_ABI_VERSION 3
/* Rises when a byte of coded pages, anchor pages, ring or packed codebooks moves. */
#define ANTKV_LAYOUT_VERSION 4
/* Tokens of a unit, rows of an anchor page, uncommitted rows that a ring holds beyond window + flush block. */
#define ANTKV_UNIT_TOKENS 16
#define ANTKV_ANCHOR_ROWS 16
#define ANTKV_DRAFT_ROWS 16
/* Page sizes, in tokens. */
#define ANTKV_PAGE_SIZES 16, 32, 64, 128, 256

#ifdef __cplusplus
#define ANTKV_STATIC_ASSERT(condition, what) static_assert(condition, what)
extern "C" {
#else
#define ANTKV_STATIC_ASSERT(condition, what) _Static_assert(condition, what)
#endif

/* K/V rows to coded pages, and the kept rows to anchor pages. A last unit of 16 tokens is filled with code 0 and gain 0; units behind it stay as they were; every bitmap word of a page is written.
   grid (ceil(max_tokens / tokens) + max_anchor_pages, kv_heads, batch), block (32 * warps, 1, 1) */
typedef struct antkv_encode_params {
  uint32_t struct_size;         /* sizeof this struct */
  uint32_t abi_version;         /* ANTKV_ABI_VERSION */
  const void* k;                /* [input rows, kv_heads, d] keys, dtype of the contract, after RoPE unless keys_unrotated */
  const void* v;                /* [input rows, kv_heads, d] values */
  void* pages;                  /* coded pages; block of (page, KV head) at pages + page * page_stride + head * page_head_stride */
  const int32_t* block_table;   /* [batch, max_pages] page of each page-sized run of tokens; null: use page_indptr and page_indices */
  const int32_t* page_indptr;   /* [batch + 1] CSR offsets into page_indices; null with block_table */
  const int32_t* page_indices;  /* [page_indptr[batch]] pages; null with block_table */
  const void* k_codebook;       /* [kv_heads] packed codebooks of the keys (antkv_pack_codebook); null for exact keys */
  const void* v_codebook;       /* [kv_heads] packed codebooks of the values; null for exact values */
  const float* inv_freq;        /* [rotary_dim / 2] RoPE frequencies in radians per position; null for contracts without "pre" */
  void* anchors;                /* anchor pages of 16 rows; block of (page, KV head) at anchors + page * anchor_page_stride + head * anchor_head_stride */
  const int32_t* anchor_table;  /* [slots, max_anchor_pages] anchor pages of each sequence, -1 ends the list; null: no anchors */
  const int32_t* state_slot;    /* [batch] row of per-sequence state (ring, anchor_table); null: the batch row */
  const int32_t* cu_tokens;     /* [batch + 1] first input row of each sequence */
  const int32_t* first_token;   /* [batch] logical index of the first input row, a multiple of page_size; null: 0 */
  const int32_t* first_pos;     /* [batch] position of logical token 0; null: 0 */
  const uint32_t* keep_bitmap;  /* [batch, kv_heads, keep_words] bit j: logical token j is an anchor; null: none */
  const int32_t* keep_indices;  /* [batch, kv_heads, max_anchors] logical tokens whose rows go to anchor rows 0, 1, ...; -1, or a row beyond max_anchors, is emptied; tokens outside the input keep the row they have; null: none */
  float* anchor_score;          /* [slots, kv_heads, max_anchor_pages * 16] score of each anchor row that is written, for append; null: not wanted */
  const float* keep_scores;     /* [batch, kv_heads, score_stride] scores of the logical tokens, as select had them; null with anchor_score */
  const int32_t* score_rows;    /* [batch] query rows that the scores are sums over, tokens 0 ... score_rows - 1: token j was seen by score_rows - j of them, and the mean is frozen; null: scores are frozen as they are */
  int64_t k_row_stride;         /* bytes */
  int64_t k_head_stride;        /* bytes */
  int64_t v_row_stride;         /* bytes */
  int64_t v_head_stride;        /* bytes */
  int64_t page_stride;          /* bytes from page to page */
  int64_t page_head_stride;     /* bytes from KV head to KV head inside a page */
  int64_t anchor_page_stride;   /* bytes from anchor page to anchor page */
  int64_t anchor_head_stride;   /* bytes from KV head to KV head inside an anchor page */
  int32_t batch;                /* sequences */
  int32_t kv_heads;
  int32_t page_size;            /* tokens per page: 16, 32, 64, 128 or 256 */
  int32_t max_pages;            /* row stride of block_table, in entries */
  int32_t max_anchor_pages;     /* row stride of anchor_table, in entries; 0 without anchors */
  int32_t max_tokens;           /* host bound on input rows per sequence, 1 to 2^30; fixes grid.x */
  int32_t max_anchors;          /* row stride of keep_indices */
  int32_t keep_words;           /* row stride of keep_bitmap */
  int32_t score_stride;         /* row stride of keep_scores, in elements */
  int32_t keys_unrotated;       /* 1: k is given before RoPE; the anchor rows are rotated on the way */
  int32_t rotary_dim;           /* channels that RoPE rotates, even, at most the head dim */
  int32_t rope_interleaved;     /* 0: pairs (i, i + rotary_dim/2); 1: pairs (2i, 2i + 1) */
  float attention_factor;       /* factor on cos and sin (YaRN); 1 without */
} antkv_encode_params;
ANTKV_STATIC_ASSERT(sizeof(antkv_encode_params) == 288, "antkv_encode_params: size");
ANTKV_STATIC_ASSERT(offsetof(antkv_encode_params, attention_factor) == 280, "antkv_encode_params: offset of attention_factor");

/* One step of a cache, per layer: commits rows of the step before and folds their scores, encodes what leaves the window and chooses its anchors, writes new rows into the ring. Exact recipes: writes the new rows into pages.
   grid (kv_heads, batch, 1), block (32 * warps, 1, 1) */
typedef struct antkv_append_params {
  uint32_t struct_size;                /* sizeof this struct */
  uint32_t abi_version;                /* ANTKV_ABI_VERSION */
  const void* k;                       /* [new rows, kv_heads, d] keys after RoPE of the rows that enter */
  const void* v;                       /* [new rows, kv_heads, d] their values */
  void* pages;                         /* coded pages; block of (page, KV head) at pages + page * page_stride + head * page_head_stride */
  const int32_t* block_table;          /* [batch, max_pages] page of each page-sized run of tokens; null: use page_indptr and page_indices */
  const int32_t* page_indptr;          /* [batch + 1] CSR offsets into page_indices; null with block_table */
  const int32_t* page_indices;         /* [page_indptr[batch]] pages; null with block_table */
  const void* k_codebook;              /* [kv_heads] packed codebooks of the keys (antkv_pack_codebook); null for exact keys */
  const void* v_codebook;              /* [kv_heads] packed codebooks of the values; null for exact values */
  const float* inv_freq;               /* [rotary_dim / 2] RoPE frequencies in radians per position; null for contracts without "pre" */
  void* anchors;                       /* anchor pages of 16 rows; block of (page, KV head) at anchors + page * anchor_page_stride + head * anchor_head_stride */
  const int32_t* anchor_table;         /* [slots, max_anchor_pages] anchor pages of each sequence, -1 ends the list; null: no anchors */
  const int32_t* state_slot;           /* [batch] row of per-sequence state (ring, anchor_table); null: the batch row */
  void* ring_k;                        /* [slots, kv_heads, ring_rows, d] exact keys after RoPE, token j in row j mod ring_rows; null for exact recipes */
  void* ring_v;                        /* [slots, kv_heads, ring_rows, d] exact values */
  const float* ring_scores;            /* [rows of the step before, q_heads, ring_rows] what decode left: raw scores, -inf where unseen; with lse null: masses (combine); null: nothing is folded */
  const float* lse;                    /* [rows of the step before, q_heads] natural log-sum-exp; mass is exp(score - lse); null: ring_scores holds masses */
  float* ring_score;                   /* [slots, kv_heads, ring_rows] column sum of each token in the ring; undefined in rows that hold none; null: without anchors */
  int32_t* ring_count;                 /* [slots, kv_heads, ring_rows] query rows that saw each token; null with ring_score */
  float* anchor_score;                 /* [slots, kv_heads, max_anchor_pages * 16] score of each anchor row, frozen when it was chosen; null: without anchors */
  const int32_t* score_row;            /* [batch] first row of ring_scores and lse that is the sequence's, -1: the step before had none of it; null: the batch row */
  const int32_t* seq_len;              /* [batch] committed tokens before this call */
  const int32_t* accepted;             /* [batch] rows of the step before to commit, the first ones; null: 1 each. n = seq_len + accepted */
  const int32_t* coded_len;            /* [batch] tokens in pages before this call; null: the flush rule of CACHE.md for seq_len, at least frozen_len */
  const int32_t* frozen_len;           /* [batch] tokens inherited from a shared prefix; null: 0 */
  const int32_t* frozen_anchor_pages;  /* [batch] leading entries of anchor_table that are inherited and never written; null: 0 */
  const int32_t* first_pos;            /* [batch] position of logical token 0; null: 0 */
  const int32_t* cu_q;                 /* [batch + 1] first new row of each sequence, at most ring_rows - (n - coded tokens after the flush) rows each; null: one row each */
  const float* new_score;              /* [new rows, kv_heads] column sum that a new row starts with; null: 0 */
  const int32_t* new_count;            /* [new rows, kv_heads] rows that saw it already; null: 0 */
  int64_t k_row_stride;                /* bytes */
  int64_t k_head_stride;               /* bytes */
  int64_t v_row_stride;                /* bytes */
  int64_t v_head_stride;               /* bytes */
  int64_t page_stride;                 /* bytes from page to page */
  int64_t page_head_stride;            /* bytes from KV head to KV head inside a page */
  int64_t anchor_page_stride;          /* bytes from anchor page to anchor page */
  int64_t anchor_head_stride;          /* bytes from KV head to KV head inside an anchor page */
  int64_t ring_slot_stride;            /* bytes from sequence to sequence */
  int64_t ring_head_stride;            /* bytes from KV head to KV head */
  int64_t ring_row_stride;             /* bytes from row to row */
  int32_t batch;                       /* sequences; grid.y */
  int32_t q_heads;                     /* a multiple of kv_heads; the GQA ratio is at most 16 */
  int32_t kv_heads;                    /* grid.x */
  int32_t page_size;                   /* tokens per page: 16, 32, 64, 128 or 256 */
  int32_t max_pages;                   /* row stride of block_table, in entries */
  int32_t max_anchor_pages;            /* row stride of anchor_table, in entries; 0 without anchors */
  int32_t ring_rows;                   /* at least window + flush_block + 16; 0 for exact recipes */
  int32_t window;                      /* newest tokens that stay exact */
  int32_t flush_block;                 /* tokens encoded at once, a multiple of page_size */
  int32_t budget_permille;             /* anchors per 1000 coded tokens, rounded down */
  int32_t first_tokens;                /* tokens 0 ... first_tokens - 1 are anchors beside the budget */
  int32_t policy;                      /* score of a token that leaves the window: 0 column (mean mass over the rows that saw it), 1 the smallest key (-|k|), 2 the largest key (|k|), 3 none: first_tokens only */
  int32_t rotary_dim;                  /* channels that RoPE rotates, even, at most the head dim */
  int32_t rope_interleaved;            /* 0: pairs (i, i + rotary_dim/2); 1: pairs (2i, 2i + 1) */
  float attention_factor;              /* factor on cos and sin (YaRN); 1 without */
  int32_t budget_tokens;               /* anchors of a sequence and KV head, however many tokens are coded; 0: budget_permille */
  int32_t extra_tokens;                /* 0: anchors that lose are handed back. Else none is: those that lose stay beside the budget, and when as many as this do no token of a block wins any more */
} antkv_append_params;
ANTKV_STATIC_ASSERT(sizeof(antkv_append_params) == 400, "antkv_append_params: size");
ANTKV_STATIC_ASSERT(offsetof(antkv_append_params, extra_tokens) == 392, "antkv_append_params: offset of extra_tokens");

/* Attention of a few query rows over coded pages, anchors and ring.
   grid (splits, kv_heads * ceil(max_q_len * (q_heads / kv_heads) / columns), spread ? 1 : batch), block (32 * warps, 1, 1) */
typedef struct antkv_decode_params {
  uint32_t struct_size;                /* sizeof this struct */
  uint32_t abi_version;                /* ANTKV_ABI_VERSION */
  void* out;                           /* [rows, q_heads, d] output, dtype of the contract; written when splits is 1 or counters are given */
  float* lse;                          /* [rows, q_heads] natural log-sum-exp, -inf for a row that sees nothing; null: not wanted; written with out */
  const void* q;                       /* [rows, q_heads, d] queries after RoPE, dtype of the contract, all finite: a row with a NaN comes out as one that sees nothing (CACHE.md, "Masking") */
  const void* pages;                   /* coded pages; block of (page, KV head) at pages + page * page_stride + head * page_head_stride. Kernels of algorithm lookup, which tables may choose, read blocks that end at most 2^36 bytes (64 GiB) behind pages; beyond they read others */
  const int32_t* block_table;          /* [batch, max_pages] page of each page-sized run of tokens; null: use page_indptr and page_indices */
  const int32_t* page_indptr;          /* [batch + 1] CSR offsets into page_indices; null with block_table */
  const int32_t* page_indices;         /* [page_indptr[batch]] pages; null with block_table */
  const void* k_codebook;              /* [kv_heads] packed codebooks of the keys (antkv_pack_codebook); null for exact keys */
  const void* v_codebook;              /* [kv_heads] packed codebooks of the values; null for exact values */
  const float* inv_freq;               /* [rotary_dim / 2] RoPE frequencies in radians per position; null for contracts without "pre" */
  const void* anchors;                 /* anchor pages of 16 rows; block of (page, KV head) at anchors + page * anchor_page_stride + head * anchor_head_stride */
  const int32_t* anchor_table;         /* [slots, max_anchor_pages] anchor pages of each sequence, -1 ends the list; null: no anchors */
  const int32_t* state_slot;           /* [batch] row of per-sequence state (ring, anchor_table); null: the batch row */
  const void* ring_k;                  /* [slots, kv_heads, ring_rows, d] exact keys after RoPE, token j in row j mod ring_rows; null: no ring */
  const void* ring_v;                  /* [slots, kv_heads, ring_rows, d] exact values */
  float* ring_scores;                  /* [rows, q_heads, ring_rows] raw scores (natural units) of ring rows seen, -inf in all others: every entry of a used row is written; null: not wanted */
  float* partial_o;                    /* [splits, rows, q_heads, d] normalised output of each split; null when splits is 1 */
  float* partial_lse;                  /* [splits, rows, q_heads] natural log-sum-exp of each split; null when splits is 1 */
  uint32_t* counters;                  /* [batch, grid.y] zero before the first launch; the CTA that arrives last merges the parts, writes out and lse, and sets its counter back; null: partials are left for combine */
  const int32_t* coded_len;            /* [batch] tokens read from pages; at most kv_len */
  const int32_t* kv_len;               /* [batch] tokens stored, this step's rows included: the ring holds coded_len ... kv_len - 1 */
  const int32_t* frozen_len;           /* [batch] tokens inherited from a shared prefix; null: 0 */
  const int32_t* frozen_anchor_pages;  /* [batch] leading entries of anchor_table that are inherited: their rows at or beyond frozen_len are skipped; null: 0 */
  const int32_t* first_pos;            /* [batch] position of logical token 0; null: 0 */
  const int32_t* q_pos;                /* [batch] position of the first query row; null: first_pos + kv_len - query rows */
  const int32_t* cu_q;                 /* [batch + 1] first query row of each sequence; null: one row each */
  const uint16_t* tree_mask;           /* [rows] bit k: this row sees the k-th new row of its sequence; replaces the position rule for new rows; null: causal */
  const float* sink_logits;            /* [q_heads] learned sink logits (natural units), contracts with "sink" only: each is one more key of its head, whose value is 0, and counts in lse; -inf: none */
  int64_t q_row_stride;                /* bytes */
  int64_t q_head_stride;               /* bytes */
  int64_t out_row_stride;              /* bytes */
  int64_t out_head_stride;             /* bytes */
  int64_t page_stride;                 /* bytes from page to page */
  int64_t page_head_stride;            /* bytes from KV head to KV head inside a page */
  int64_t anchor_page_stride;          /* bytes from anchor page to anchor page */
  int64_t anchor_head_stride;          /* bytes from KV head to KV head inside an anchor page */
  int64_t ring_slot_stride;            /* bytes from sequence to sequence */
  int64_t ring_head_stride;            /* bytes from KV head to KV head */
  int64_t ring_row_stride;             /* bytes from row to row */
  int32_t batch;                       /* sequences */
  int32_t q_heads;                     /* a multiple of kv_heads; the GQA ratio is at most 16 */
  int32_t kv_heads;
  int32_t rows;                        /* query rows of all sequences */
  int32_t page_size;                   /* tokens per page: 16, 32, 64, 128 or 256 */
  int32_t max_pages;                   /* row stride of block_table, in entries */
  int32_t max_anchor_pages;            /* row stride of anchor_table, in entries; 0 without anchors */
  int32_t ring_rows;                   /* window + flush block + 16 */
  int32_t segments;                    /* bit 0: coded pages, bit 1: anchors, bit 2: ring */
  int32_t splits;                      /* 1 to 65535: CTAs that share one sequence and KV head, or with spread all sequences of one KV head; grid.x */
  int32_t spread;                      /* 0: each sequence is cut into `splits` shares by its own length alone, grid.z is batch; 1: all sequences, end to end, are cut into `splits` shares of equal work, grid.z is 1 */
  int32_t max_q_len;                   /* host bound on query rows per sequence; fixes grid.y */
  int32_t rotary_dim;                  /* channels that RoPE rotates, even, at most the head dim */
  int32_t rope_interleaved;            /* 0: pairs (i, i + rotary_dim/2); 1: pairs (2i, 2i + 1) */
  float scale;                         /* factor on q.k, natural units, finite and above 0; usually 1/sqrt(d) */
  float attention_factor;              /* factor on cos and sin (YaRN); 1 without */
  float softcap;                       /* contracts with "softcap" only, > 0: a score s (natural units) becomes softcap * tanh(s / softcap), in ring_scores too; else 0 */
} antkv_decode_params;
ANTKV_STATIC_ASSERT(sizeof(antkv_decode_params) == 392, "antkv_decode_params: size");
ANTKV_STATIC_ASSERT(offsetof(antkv_decode_params, softcap) == 384, "antkv_decode_params: offset of softcap");

/* Merges the splits of decode in a fixed order.
   grid (rows, ceil(q_heads / warps), 1), block (32 * warps, 1, 1) */
typedef struct antkv_combine_params {
  uint32_t struct_size;      /* sizeof this struct */
  uint32_t abi_version;      /* ANTKV_ABI_VERSION */
  void* out;                 /* [rows, q_heads, d] output, dtype of the contract */
  float* lse;                /* [rows, q_heads] natural log-sum-exp, read when partial_o is null; null: not wanted */
  const float* partial_o;    /* [splits, rows, q_heads, d]; null: decode had one split or counters and wrote out and lse itself, only ring_scores is wanted */
  const float* partial_lse;  /* [splits, rows, q_heads]; -inf marks a split that saw nothing */
  float* ring_scores;        /* [rows, q_heads, ring_rows] raw scores in, attention mass exp(s - lse) out; null: not wanted */
  int64_t out_row_stride;    /* bytes */
  int64_t out_head_stride;   /* bytes */
  int32_t rows;              /* query rows; grid.x */
  int32_t q_heads;           /* grid.y is q_heads over the warps of a CTA, rounded up */
  int32_t splits;            /* merged in order 0, 1, ... */
  int32_t ring_rows;         /* row stride of ring_scores */
} antkv_combine_params;
ANTKV_STATIC_ASSERT(sizeof(antkv_combine_params) == 80, "antkv_combine_params: size");
ANTKV_STATIC_ASSERT(offsetof(antkv_combine_params, ring_rows) == 76, "antkv_combine_params: offset of ring_rows");

/* Anchor score of every key, after any attention that returned the LSE.
   grid (ceil(max_tokens / tokens), kv_heads, batch), block (32 * warps, 1, 1) */
typedef struct antkv_score_params {
  uint32_t struct_size;         /* sizeof this struct */
  uint32_t abi_version;         /* ANTKV_ABI_VERSION */
  float* scores;                /* [batch, kv_heads, score_stride] anchor score of each key; with accumulate it starts as what is added to (form "norm" writes it all the same) */
  const void* q;                /* [query rows, q_heads, d] queries after RoPE; null for form "norm" */
  const void* k;                /* [key rows, kv_heads, d] keys after RoPE */
  const void* v;                /* [key rows, kv_heads, d] values; form "exact" only */
  const void* o;                /* [query rows, q_heads, d] attention output; form "exact" only */
  const float* lse;             /* [query rows, q_heads] natural log-sum-exp of each row; null for form "norm" */
  const int32_t* cu_q;          /* [batch + 1] first query row of each sequence; null for form "norm" */
  const int32_t* cu_k;          /* [batch + 1] first key row of each sequence */
  const int32_t* first_pos;     /* [batch] position of key 0; null: 0 */
  const int32_t* q_pos;         /* [batch] position of query row 0; null: first_pos + keys - query rows */
  const int32_t* first_key;     /* [batch] place of key 0 in its row of scores; null: 0 */
  const int32_t* cu_sampled;    /* [batch + 1] offsets into sampled_rows; null: all rows count */
  const int32_t* sampled_rows;  /* [cu_sampled[batch]] of each sequence the query rows, ascending, that stand for all older than its newest_rows newest (antkv_sample_rows); each counts (older rows) / (listed rows) times; null with cu_sampled */
  int64_t q_row_stride;         /* bytes */
  int64_t q_head_stride;        /* bytes */
  int64_t o_row_stride;         /* bytes */
  int64_t o_head_stride;        /* bytes */
  int64_t k_row_stride;         /* bytes */
  int64_t k_head_stride;        /* bytes */
  int64_t v_row_stride;         /* bytes */
  int64_t v_head_stride;        /* bytes */
  int32_t batch;                /* sequences; grid.z */
  int32_t q_heads;
  int32_t kv_heads;             /* grid.y */
  int32_t max_tokens;           /* host bound on keys per sequence, 1 to 2^30; fixes grid.x */
  int32_t score_stride;         /* row stride of scores, in elements */
  int32_t newest_rows;          /* query rows at the end of each sequence that count once each, with cu_sampled only */
  int32_t accumulate;           /* 1: adds to scores, so that the chunks of a prompt sum up to its score in one pass; 0: writes them */
  float scale;                  /* factor on q.k, natural units; form "exact" multiplies by it as well; form "norm": factor on |k|, -1 ranks the smallest key first */
  float softcap;                /* contracts with "softcap" only, > 0, as in decode: the softcap of the attention that lse came from; else 0 */
} antkv_score_params;
ANTKV_STATIC_ASSERT(sizeof(antkv_score_params) == 216, "antkv_score_params: size");
ANTKV_STATIC_ASSERT(offsetof(antkv_score_params, softcap) == 208, "antkv_score_params: offset of softcap");

/* The top budget of the scores, as bitmap and ascending indices.
   grid (kv_heads, batch, 1), block (32 * warps, 1, 1) */
typedef struct antkv_select_params {
  uint32_t struct_size;        /* sizeof this struct */
  uint32_t abi_version;        /* ANTKV_ABI_VERSION */
  const float* scores;         /* [batch, kv_heads, score_stride]; NaN and -inf never win */
  uint32_t* keep_bitmap;       /* [batch, kv_heads, keep_words] bit j: token j is kept; all words are written */
  int32_t* keep_indices;       /* [batch, kv_heads, max_anchors] kept tokens ascending, then -1 */
  int32_t* keep_count;         /* [batch, kv_heads] tokens kept; null: not wanted */
  const int32_t* token_count;  /* [batch] candidates 0 ... token_count - 1 */
  int32_t batch;               /* sequences; grid.y */
  int32_t kv_heads;            /* grid.x */
  int32_t score_stride;        /* row stride of scores, in elements */
  int32_t keep_words;          /* row stride of keep_bitmap */
  int32_t max_anchors;         /* row stride of keep_indices; no more are kept */
  int32_t budget_permille;     /* anchors per 1000 tokens, rounded down; used when budget_tokens is -1 */
  int32_t budget_tokens;       /* anchors per sequence and KV head, or -1 */
  int32_t first_tokens;        /* tokens 0 ... first_tokens - 1 are kept beside the budget */
} antkv_select_params;
ANTKV_STATIC_ASSERT(sizeof(antkv_select_params) == 80, "antkv_select_params: size");
ANTKV_STATIC_ASSERT(offsetof(antkv_select_params, first_tokens) == 76, "antkv_select_params: offset of first_tokens");

/* A range of coded tokens as rotated exact rows. A token whose bit is set but which has no anchor row is left unwritten.
   grid (ceil(max_tokens / tokens) + max_anchor_pages, kv_heads, batch), block (32 * warps, 1, 1) */
typedef struct antkv_unpack_params {
  uint32_t struct_size;                /* sizeof this struct */
  uint32_t abi_version;                /* ANTKV_ABI_VERSION */
  void* k;                             /* [output rows, kv_heads, d] keys after RoPE, gain applied, anchors exact */
  void* v;                             /* [output rows, kv_heads, d] values */
  const void* pages;                   /* coded pages; block of (page, KV head) at pages + page * page_stride + head * page_head_stride */
  const int32_t* block_table;          /* [batch, max_pages] page of each page-sized run of tokens; null: use page_indptr and page_indices */
  const int32_t* page_indptr;          /* [batch + 1] CSR offsets into page_indices; null with block_table */
  const int32_t* page_indices;         /* [page_indptr[batch]] pages; null with block_table */
  const void* k_codebook;              /* [kv_heads] packed codebooks of the keys (antkv_pack_codebook); null for exact keys */
  const void* v_codebook;              /* [kv_heads] packed codebooks of the values; null for exact values */
  const float* inv_freq;               /* [rotary_dim / 2] RoPE frequencies in radians per position; null for contracts without "pre" */
  const void* anchors;                 /* anchor pages of 16 rows; block of (page, KV head) at anchors + page * anchor_page_stride + head * anchor_head_stride */
  const int32_t* anchor_table;         /* [slots, max_anchor_pages] anchor pages of each sequence, -1 ends the list; null: no anchors */
  const int32_t* state_slot;           /* [batch] row of per-sequence state (ring, anchor_table); null: the batch row */
  const int32_t* frozen_len;           /* [batch] as in decode; null: 0 */
  const int32_t* frozen_anchor_pages;  /* [batch] as in decode; null: 0 */
  const int32_t* first_token;          /* [batch] first logical token to write, a multiple of 16; null: 0 */
  const int32_t* cu_tokens;            /* [batch + 1] first output row of each sequence; their differences count the tokens */
  const int32_t* first_pos;            /* [batch] position of logical token 0; null: 0 */
  int64_t k_row_stride;                /* bytes */
  int64_t k_head_stride;               /* bytes */
  int64_t v_row_stride;                /* bytes */
  int64_t v_head_stride;               /* bytes */
  int64_t page_stride;                 /* bytes from page to page */
  int64_t page_head_stride;            /* bytes from KV head to KV head inside a page */
  int64_t anchor_page_stride;          /* bytes from anchor page to anchor page */
  int64_t anchor_head_stride;          /* bytes from KV head to KV head inside an anchor page */
  int32_t batch;                       /* sequences; grid.z */
  int32_t kv_heads;                    /* grid.y */
  int32_t page_size;                   /* tokens per page: 16, 32, 64, 128 or 256 */
  int32_t max_pages;                   /* row stride of block_table, in entries */
  int32_t max_anchor_pages;            /* row stride of anchor_table, in entries; 0 without anchors */
  int32_t max_tokens;                  /* host bound on tokens per sequence, 1 to 2^30; fixes grid.x */
  int32_t rotary_dim;                  /* channels that RoPE rotates, even, at most the head dim */
  int32_t rope_interleaved;            /* 0: pairs (i, i + rotary_dim/2); 1: pairs (2i, 2i + 1) */
  float attention_factor;              /* factor on cos and sin (YaRN); 1 without */
} antkv_unpack_params;
ANTKV_STATIC_ASSERT(sizeof(antkv_unpack_params) == 248, "antkv_unpack_params: size");
ANTKV_STATIC_ASSERT(offsetof(antkv_unpack_params, attention_factor) == 240, "antkv_unpack_params: offset of attention_factor");

/* A step of weighted k-means, of every (head, chunk) at once. All sums are whole numbers: equal inputs give equal bits.
   grid (splits, chunks, heads), block (32 * warps, 1, 1) */
typedef struct antkv_kmeans_params {
  uint32_t struct_size;   /* sizeof this struct */
  uint32_t abi_version;   /* ANTKV_ABI_VERSION */
  const void* x;          /* [heads, tokens, chunks * channels] rows, dtype of the contract, all finite */
  const float* weights;   /* [heads, tokens] how much each row counts, finite and at least 0; null: 1 */
  const double* draws;    /* [heads, chunks, entries] numbers from 0 to below 1: step 0 starts by k-means++ with these; null: it takes the centroids as they are */
  float* centroids;       /* [heads, chunks, entries, channels] what is clustered around; halves, but for given ones before the first step 1 */
  void* codebook;         /* [heads, chunks] workspace of (2 * channels + 4) * entries bytes: the centroids as halves, and their |c|^2 / 2, as they are searched */
  uint64_t* row_loss;     /* [heads, chunks, tokens] workspace: w |x - c|^2 of each row, in units of 1 / loss_scale */
  int64_t* sums;          /* [heads, chunks, entries, channels + 1] workspace: sum of w x in units of 1 / value_scale, then of w in units of 1 / weight_scale; step 0 clears it */
  uint64_t* loss;         /* [heads, chunks, max_steps + 1] sum of row_loss by step 1, with the centroids that it began with; the last one is what step 2 measures */
  uint64_t* energy;       /* [heads, chunks] sum of w |x|^2, in units of 1 / loss_scale; written by step 0 */
  int32_t* status;        /* [heads, chunks, 4] steps 1 that were done; clusters that were empty and got the worst row; 1: settled, later steps 1 change nothing; 0 */
  int64_t x_row_stride;   /* bytes */
  int64_t x_head_stride;  /* bytes */
  int32_t heads;          /* grid.z */
  int32_t chunks;         /* codes of a row; grid.y */
  int32_t tokens;         /* rows of a head, at least 1 */
  int32_t splits;         /* CTAs that share the rows of a (head, chunk); grid.x. Results do not depend on it */
  int32_t step;           /* 0: clears, and starts the centroids; 1: a Lloyd iteration; 2: only measures, once after a step 0 */
  int32_t max_steps;      /* bound on steps 1; fixes the row stride of loss */
  float tolerance;        /* a (head, chunk) is settled when a step 1 lowers its loss by no more than this part of it, and re-seeds nothing */
  float value_scale;      /* power of two; tokens * max(w |x|) * value_scale <= 2^62 */
  float weight_scale;     /* power of two; tokens * max(w) * weight_scale <= 2^62 */
  float loss_scale;       /* power of two; tokens * channels * max(w) * max(|x|, |c|)^2 * loss_scale <= 2^60 */
} antkv_kmeans_params;
ANTKV_STATIC_ASSERT(sizeof(antkv_kmeans_params) == 144, "antkv_kmeans_params: size");
ANTKV_STATIC_ASSERT(offsetof(antkv_kmeans_params, loss_scale) == 140, "antkv_kmeans_params: offset of loss_scale");

/* Bytes of a contract's cache, each of one KV head. A ring has ring_rows rows per state slot. */
typedef struct antkv_contract {
  const char* name;
  int32_t head_dim;
  int32_t unit_bytes;        /* 16 tokens of a coded page */
  int32_t page_bytes[5];     /* a coded page of each of ANTKV_PAGE_SIZES */
  int32_t anchor_page_bytes; /* 16 anchor rows with their indices; 0 for exact recipes */
  int32_t ring_row_bytes;    /* K and V of one exact row; 0 for exact recipes */
  int32_t k_codebook_bytes;  /* packed codebook; 0 for exact keys */
  int32_t v_codebook_bytes;
} antkv_contract;

/* Rows for `static const antkv_contract contracts[] = { ANTKV_CONTRACTS };` */
#define ANTKV_CONTRACTS \
  {"antkv_encode_d128_k16c8b_v16c8bq8_f16_gain", 128, 288, {304, 592, 1168, 2320, 4640}, 8256, 512, 73728, 41472}, \
  {"antkv_encode_d128_k2c8bq8_v2c8bq8_f16", 128, 2048, {2064, 4112, 8208, 16400, 32800}, 8256, 512, 98816, 98816}, \
  {"antkv_encode_d128_k4c8b_v4c8bq8_f16_pre_gain", 128, 1056, {1072, 2128, 4240, 8464, 16928}, 8256, 512, 98304, 66048}, \
  {"antkv_encode_d128_k8c8b_v8c8bq8_f16_gain", 128, 544, {560, 1104, 2192, 4368, 8736}, 8256, 512, 81920, 49664}, \
  {"antkv_encode_d128_k8c8b_v8c8bq8_f16_pre_gain", 128, 544, {560, 1104, 2192, 4368, 8736}, 8256, 512, 81920, 49664}, \
  {"antkv_encode_d128_kf16_vf16_f16", 128, 8192, {8192, 16384, 32768, 65536, 131072}, 0, 0, 0, 0}, \
  {"antkv_encode_d64_k8c8b_v8c8bq8_f16_pre_gain", 64, 288, {304, 592, 1168, 2320, 4640}, 4160, 256, 40960, 24832}, \
  {"antkv_append_d128_k16c8b_v16c8bq8_f16_gain", 128, 288, {304, 592, 1168, 2320, 4640}, 8256, 512, 73728, 41472}, \
  {"antkv_append_d128_k2c8bq8_v2c8bq8_f16", 128, 2048, {2064, 4112, 8208, 16400, 32800}, 8256, 512, 98816, 98816}, \
  {"antkv_append_d128_k4c8b_v4c8bq8_f16_pre_gain", 128, 1056, {1072, 2128, 4240, 8464, 16928}, 8256, 512, 98304, 66048}, \
  {"antkv_append_d128_k8c8b_v8c8bq8_f16_gain", 128, 544, {560, 1104, 2192, 4368, 8736}, 8256, 512, 81920, 49664}, \
  {"antkv_append_d128_k8c8b_v8c8bq8_f16_pre_gain", 128, 544, {560, 1104, 2192, 4368, 8736}, 8256, 512, 81920, 49664}, \
  {"antkv_append_d128_kf16_vf16_f16", 128, 8192, {8192, 16384, 32768, 65536, 131072}, 0, 0, 0, 0}, \
  {"antkv_append_d64_k8c8b_v8c8bq8_f16_pre_gain", 64, 288, {304, 592, 1168, 2320, 4640}, 4160, 256, 40960, 24832}, \
  {"antkv_decode_d128_k16c8b_v16c8bq8_f16_gain", 128, 288, {304, 592, 1168, 2320, 4640}, 8256, 512, 73728, 41472}, \
  {"antkv_decode_d128_k16c8b_v16c8bq8_f16_gain_n4", 128, 288, {304, 592, 1168, 2320, 4640}, 8256, 512, 73728, 41472}, \
  {"antkv_decode_d128_k2c8bq8_v2c8bq8_f16", 128, 2048, {2064, 4112, 8208, 16400, 32800}, 8256, 512, 98816, 98816}, \
  {"antkv_decode_d128_k2c8bq8_v2c8bq8_f16_n4", 128, 2048, {2064, 4112, 8208, 16400, 32800}, 8256, 512, 98816, 98816}, \
  {"antkv_decode_d128_k4c8b_v4c8bq8_f16_pre_gain", 128, 1056, {1072, 2128, 4240, 8464, 16928}, 8256, 512, 98304, 66048}, \
  {"antkv_decode_d128_k4c8b_v4c8bq8_f16_pre_gain_n4", 128, 1056, {1072, 2128, 4240, 8464, 16928}, 8256, 512, 98304, 66048}, \
  {"antkv_decode_d128_k8c8b_v8c8bq8_f16_gain", 128, 544, {560, 1104, 2192, 4368, 8736}, 8256, 512, 81920, 49664}, \
  {"antkv_decode_d128_k8c8b_v8c8bq8_f16_gain_n4", 128, 544, {560, 1104, 2192, 4368, 8736}, 8256, 512, 81920, 49664}, \
  {"antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain", 128, 544, {560, 1104, 2192, 4368, 8736}, 8256, 512, 81920, 49664}, \
  {"antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain_n4", 128, 544, {560, 1104, 2192, 4368, 8736}, 8256, 512, 81920, 49664}, \
  {"antkv_decode_d128_kf16_vf16_f16", 128, 8192, {8192, 16384, 32768, 65536, 131072}, 0, 0, 0, 0}, \
  {"antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain", 64, 288, {304, 592, 1168, 2320, 4640}, 4160, 256, 40960, 24832}, \
  {"antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain_n4", 64, 288, {304, 592, 1168, 2320, 4640}, 4160, 256, 40960, 24832}, \
  {"antkv_unpack_d128_k16c8b_v16c8bq8_f16_gain", 128, 288, {304, 592, 1168, 2320, 4640}, 8256, 512, 73728, 41472}, \
  {"antkv_unpack_d128_k2c8bq8_v2c8bq8_f16", 128, 2048, {2064, 4112, 8208, 16400, 32800}, 8256, 512, 98816, 98816}, \
  {"antkv_unpack_d128_k4c8b_v4c8bq8_f16_pre_gain", 128, 1056, {1072, 2128, 4240, 8464, 16928}, 8256, 512, 98304, 66048}, \
  {"antkv_unpack_d128_k8c8b_v8c8bq8_f16_gain", 128, 544, {560, 1104, 2192, 4368, 8736}, 8256, 512, 81920, 49664}, \
  {"antkv_unpack_d128_k8c8b_v8c8bq8_f16_pre_gain", 128, 544, {560, 1104, 2192, 4368, 8736}, 8256, 512, 81920, 49664}, \
  {"antkv_unpack_d128_kf16_vf16_f16", 128, 8192, {8192, 16384, 32768, 65536, 131072}, 0, 0, 0, 0}, \
  {"antkv_unpack_d64_k8c8b_v8c8bq8_f16_pre_gain", 64, 288, {304, 592, 1168, 2320, 4640}, 4160, 256, 40960, 24832}

#ifdef __cplusplus
}
#endif
#endif
