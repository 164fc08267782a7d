# Generated file. Do not edit.
#   template  generator/bindings/python.ts
#   remake    npx gen
"""Parameter structs of antkv kernels for ctypes. Each kernel takes one by value as its only argument; strides count bytes."""

import ctypes
from typing import NamedTuple

ABI_VERSION = 3
LAYOUT_VERSION = 4


class _Params(ctypes.Structure):
    """Fills struct_size and abi_version; all other fields start at 0, and pointers at null."""

    def __init__(self, **fields):
        unknown = set(fields) - {name for name, _ in self._fields_}
        if unknown:
            raise TypeError(f"{type(self).__name__} has no field {', '.join(sorted(unknown))}")
        super().__init__(**{"struct_size": ctypes.sizeof(self), "abi_version": ABI_VERSION, **fields})


class EncodeParams(_Params):
    """K/V rows to coded pages, and the kept rows to anchor pages. A last unit of 16 tokens is filled with code 0 and gain 0; units behind it stay as they were; every bitmap word of a page is written."""

    _fields_ = [
        ("struct_size", ctypes.c_uint32),  # sizeof this struct
        ("abi_version", ctypes.c_uint32),  # ANTKV_ABI_VERSION
        ("k", ctypes.c_void_p),  # [input rows, kv_heads, d] keys, dtype of the contract, after RoPE unless keys_unrotated
        ("v", ctypes.c_void_p),  # [input rows, kv_heads, d] values
        ("pages", ctypes.c_void_p),  # coded pages; block of (page, KV head) at pages + page * page_stride + head * page_head_stride
        ("block_table", ctypes.c_void_p),  # [batch, max_pages] page of each page-sized run of tokens; null: use page_indptr and page_indices
        ("page_indptr", ctypes.c_void_p),  # [batch + 1] CSR offsets into page_indices; null with block_table
        ("page_indices", ctypes.c_void_p),  # [page_indptr[batch]] pages; null with block_table
        ("k_codebook", ctypes.c_void_p),  # [kv_heads] packed codebooks of the keys (antkv_pack_codebook); null for exact keys
        ("v_codebook", ctypes.c_void_p),  # [kv_heads] packed codebooks of the values; null for exact values
        ("inv_freq", ctypes.c_void_p),  # [rotary_dim / 2] RoPE frequencies in radians per position; null for contracts without "pre"
        ("anchors", ctypes.c_void_p),  # anchor pages of 16 rows; block of (page, KV head) at anchors + page * anchor_page_stride + head * anchor_head_stride
        ("anchor_table", ctypes.c_void_p),  # [slots, max_anchor_pages] anchor pages of each sequence, -1 ends the list; null: no anchors
        ("state_slot", ctypes.c_void_p),  # [batch] row of per-sequence state (ring, anchor_table); null: the batch row
        ("cu_tokens", ctypes.c_void_p),  # [batch + 1] first input row of each sequence
        ("first_token", ctypes.c_void_p),  # [batch] logical index of the first input row, a multiple of page_size; null: 0
        ("first_pos", ctypes.c_void_p),  # [batch] position of logical token 0; null: 0
        ("keep_bitmap", ctypes.c_void_p),  # [batch, kv_heads, keep_words] bit j: logical token j is an anchor; null: none
        ("keep_indices", ctypes.c_void_p),  # [batch, kv_heads, max_anchors] logical tokens whose rows go to anchor rows 0, 1, ...; -1, or a row beyond max_anchors, is emptied; tokens outside the input keep the row they have; null: none
        ("anchor_score", ctypes.c_void_p),  # [slots, kv_heads, max_anchor_pages * 16] score of each anchor row that is written, for append; null: not wanted
        ("keep_scores", ctypes.c_void_p),  # [batch, kv_heads, score_stride] scores of the logical tokens, as select had them; null with anchor_score
        ("score_rows", ctypes.c_void_p),  # [batch] query rows that the scores are sums over, tokens 0 ... score_rows - 1: token j was seen by score_rows - j of them, and the mean is frozen; null: scores are frozen as they are
        ("k_row_stride", ctypes.c_int64),  # bytes
        ("k_head_stride", ctypes.c_int64),  # bytes
        ("v_row_stride", ctypes.c_int64),  # bytes
        ("v_head_stride", ctypes.c_int64),  # bytes
        ("page_stride", ctypes.c_int64),  # bytes from page to page
        ("page_head_stride", ctypes.c_int64),  # bytes from KV head to KV head inside a page
        ("anchor_page_stride", ctypes.c_int64),  # bytes from anchor page to anchor page
        ("anchor_head_stride", ctypes.c_int64),  # bytes from KV head to KV head inside an anchor page
        ("batch", ctypes.c_int32),  # sequences
        ("kv_heads", ctypes.c_int32),
        ("page_size", ctypes.c_int32),  # tokens per page: 16, 32, 64, 128 or 256
        ("max_pages", ctypes.c_int32),  # row stride of block_table, in entries
        ("max_anchor_pages", ctypes.c_int32),  # row stride of anchor_table, in entries; 0 without anchors
        ("max_tokens", ctypes.c_int32),  # host bound on input rows per sequence, 1 to 2^30; fixes grid.x
        ("max_anchors", ctypes.c_int32),  # row stride of keep_indices
        ("keep_words", ctypes.c_int32),  # row stride of keep_bitmap
        ("score_stride", ctypes.c_int32),  # row stride of keep_scores, in elements
        ("keys_unrotated", ctypes.c_int32),  # 1: k is given before RoPE; the anchor rows are rotated on the way
        ("rotary_dim", ctypes.c_int32),  # channels that RoPE rotates, even, at most the head dim
        ("rope_interleaved", ctypes.c_int32),  # 0: pairs (i, i + rotary_dim/2); 1: pairs (2i, 2i + 1)
        ("attention_factor", ctypes.c_float),  # factor on cos and sin (YaRN); 1 without
    ]


assert ctypes.sizeof(EncodeParams) == 288 and EncodeParams.attention_factor.offset == 280


class AppendParams(_Params):
    """One step of a cache, per layer: commits rows of the step before and folds their scores, encodes what leaves the window and chooses its anchors, writes new rows into the ring. Exact recipes: writes the new rows into pages."""

    _fields_ = [
        ("struct_size", ctypes.c_uint32),  # sizeof this struct
        ("abi_version", ctypes.c_uint32),  # ANTKV_ABI_VERSION
        ("k", ctypes.c_void_p),  # [new rows, kv_heads, d] keys after RoPE of the rows that enter
        ("v", ctypes.c_void_p),  # [new rows, kv_heads, d] their values
        ("pages", ctypes.c_void_p),  # coded pages; block of (page, KV head) at pages + page * page_stride + head * page_head_stride
        ("block_table", ctypes.c_void_p),  # [batch, max_pages] page of each page-sized run of tokens; null: use page_indptr and page_indices
        ("page_indptr", ctypes.c_void_p),  # [batch + 1] CSR offsets into page_indices; null with block_table
        ("page_indices", ctypes.c_void_p),  # [page_indptr[batch]] pages; null with block_table
        ("k_codebook", ctypes.c_void_p),  # [kv_heads] packed codebooks of the keys (antkv_pack_codebook); null for exact keys
        ("v_codebook", ctypes.c_void_p),  # [kv_heads] packed codebooks of the values; null for exact values
        ("inv_freq", ctypes.c_void_p),  # [rotary_dim / 2] RoPE frequencies in radians per position; null for contracts without "pre"
        ("anchors", ctypes.c_void_p),  # anchor pages of 16 rows; block of (page, KV head) at anchors + page * anchor_page_stride + head * anchor_head_stride
        ("anchor_table", ctypes.c_void_p),  # [slots, max_anchor_pages] anchor pages of each sequence, -1 ends the list; null: no anchors
        ("state_slot", ctypes.c_void_p),  # [batch] row of per-sequence state (ring, anchor_table); null: the batch row
        ("ring_k", ctypes.c_void_p),  # [slots, kv_heads, ring_rows, d] exact keys after RoPE, token j in row j mod ring_rows; null for exact recipes
        ("ring_v", ctypes.c_void_p),  # [slots, kv_heads, ring_rows, d] exact values
        ("ring_scores", ctypes.c_void_p),  # [rows of the step before, q_heads, ring_rows] what decode left: raw scores, -inf where unseen; with lse null: masses (combine); null: nothing is folded
        ("lse", ctypes.c_void_p),  # [rows of the step before, q_heads] natural log-sum-exp; mass is exp(score - lse); null: ring_scores holds masses
        ("ring_score", ctypes.c_void_p),  # [slots, kv_heads, ring_rows] column sum of each token in the ring; undefined in rows that hold none; null: without anchors
        ("ring_count", ctypes.c_void_p),  # [slots, kv_heads, ring_rows] query rows that saw each token; null with ring_score
        ("anchor_score", ctypes.c_void_p),  # [slots, kv_heads, max_anchor_pages * 16] score of each anchor row, frozen when it was chosen; null: without anchors
        ("score_row", ctypes.c_void_p),  # [batch] first row of ring_scores and lse that is the sequence's, -1: the step before had none of it; null: the batch row
        ("seq_len", ctypes.c_void_p),  # [batch] committed tokens before this call
        ("accepted", ctypes.c_void_p),  # [batch] rows of the step before to commit, the first ones; null: 1 each. n = seq_len + accepted
        ("coded_len", ctypes.c_void_p),  # [batch] tokens in pages before this call; null: the flush rule of CACHE.md for seq_len, at least frozen_len
        ("frozen_len", ctypes.c_void_p),  # [batch] tokens inherited from a shared prefix; null: 0
        ("frozen_anchor_pages", ctypes.c_void_p),  # [batch] leading entries of anchor_table that are inherited and never written; null: 0
        ("first_pos", ctypes.c_void_p),  # [batch] position of logical token 0; null: 0
        ("cu_q", ctypes.c_void_p),  # [batch + 1] first new row of each sequence, at most ring_rows - (n - coded tokens after the flush) rows each; null: one row each
        ("new_score", ctypes.c_void_p),  # [new rows, kv_heads] column sum that a new row starts with; null: 0
        ("new_count", ctypes.c_void_p),  # [new rows, kv_heads] rows that saw it already; null: 0
        ("k_row_stride", ctypes.c_int64),  # bytes
        ("k_head_stride", ctypes.c_int64),  # bytes
        ("v_row_stride", ctypes.c_int64),  # bytes
        ("v_head_stride", ctypes.c_int64),  # bytes
        ("page_stride", ctypes.c_int64),  # bytes from page to page
        ("page_head_stride", ctypes.c_int64),  # bytes from KV head to KV head inside a page
        ("anchor_page_stride", ctypes.c_int64),  # bytes from anchor page to anchor page
        ("anchor_head_stride", ctypes.c_int64),  # bytes from KV head to KV head inside an anchor page
        ("ring_slot_stride", ctypes.c_int64),  # bytes from sequence to sequence
        ("ring_head_stride", ctypes.c_int64),  # bytes from KV head to KV head
        ("ring_row_stride", ctypes.c_int64),  # bytes from row to row
        ("batch", ctypes.c_int32),  # sequences; grid.y
        ("q_heads", ctypes.c_int32),  # a multiple of kv_heads; the GQA ratio is at most 16
        ("kv_heads", ctypes.c_int32),  # grid.x
        ("page_size", ctypes.c_int32),  # tokens per page: 16, 32, 64, 128 or 256
        ("max_pages", ctypes.c_int32),  # row stride of block_table, in entries
        ("max_anchor_pages", ctypes.c_int32),  # row stride of anchor_table, in entries; 0 without anchors
        ("ring_rows", ctypes.c_int32),  # at least window + flush_block + 16; 0 for exact recipes
        ("window", ctypes.c_int32),  # newest tokens that stay exact
        ("flush_block", ctypes.c_int32),  # tokens encoded at once, a multiple of page_size
        ("budget_permille", ctypes.c_int32),  # anchors per 1000 coded tokens, rounded down
        ("first_tokens", ctypes.c_int32),  # tokens 0 ... first_tokens - 1 are anchors beside the budget
        ("policy", ctypes.c_int32),  # score of a token that leaves the window: 0 column (mean mass over the rows that saw it), 1 the smallest key (-|k|), 2 the largest key (|k|), 3 none: first_tokens only
        ("rotary_dim", ctypes.c_int32),  # channels that RoPE rotates, even, at most the head dim
        ("rope_interleaved", ctypes.c_int32),  # 0: pairs (i, i + rotary_dim/2); 1: pairs (2i, 2i + 1)
        ("attention_factor", ctypes.c_float),  # factor on cos and sin (YaRN); 1 without
        ("budget_tokens", ctypes.c_int32),  # anchors of a sequence and KV head, however many tokens are coded; 0: budget_permille
        ("extra_tokens", ctypes.c_int32),  # 0: anchors that lose are handed back. Else none is: those that lose stay beside the budget, and when as many as this do no token of a block wins any more
    ]


assert ctypes.sizeof(AppendParams) == 400 and AppendParams.extra_tokens.offset == 392


class DecodeParams(_Params):
    """Attention of a few query rows over coded pages, anchors and ring."""

    _fields_ = [
        ("struct_size", ctypes.c_uint32),  # sizeof this struct
        ("abi_version", ctypes.c_uint32),  # ANTKV_ABI_VERSION
        ("out", ctypes.c_void_p),  # [rows, q_heads, d] output, dtype of the contract; written when splits is 1 or counters are given
        ("lse", ctypes.c_void_p),  # [rows, q_heads] natural log-sum-exp, -inf for a row that sees nothing; null: not wanted; written with out
        ("q", ctypes.c_void_p),  # [rows, q_heads, d] queries after RoPE, dtype of the contract, all finite: a row with a NaN comes out as one that sees nothing (CACHE.md, "Masking")
        ("pages", ctypes.c_void_p),  # coded pages; block of (page, KV head) at pages + page * page_stride + head * page_head_stride. Kernels of algorithm lookup, which tables may choose, read blocks that end at most 2^36 bytes (64 GiB) behind pages; beyond they read others
        ("block_table", ctypes.c_void_p),  # [batch, max_pages] page of each page-sized run of tokens; null: use page_indptr and page_indices
        ("page_indptr", ctypes.c_void_p),  # [batch + 1] CSR offsets into page_indices; null with block_table
        ("page_indices", ctypes.c_void_p),  # [page_indptr[batch]] pages; null with block_table
        ("k_codebook", ctypes.c_void_p),  # [kv_heads] packed codebooks of the keys (antkv_pack_codebook); null for exact keys
        ("v_codebook", ctypes.c_void_p),  # [kv_heads] packed codebooks of the values; null for exact values
        ("inv_freq", ctypes.c_void_p),  # [rotary_dim / 2] RoPE frequencies in radians per position; null for contracts without "pre"
        ("anchors", ctypes.c_void_p),  # anchor pages of 16 rows; block of (page, KV head) at anchors + page * anchor_page_stride + head * anchor_head_stride
        ("anchor_table", ctypes.c_void_p),  # [slots, max_anchor_pages] anchor pages of each sequence, -1 ends the list; null: no anchors
        ("state_slot", ctypes.c_void_p),  # [batch] row of per-sequence state (ring, anchor_table); null: the batch row
        ("ring_k", ctypes.c_void_p),  # [slots, kv_heads, ring_rows, d] exact keys after RoPE, token j in row j mod ring_rows; null: no ring
        ("ring_v", ctypes.c_void_p),  # [slots, kv_heads, ring_rows, d] exact values
        ("ring_scores", ctypes.c_void_p),  # [rows, q_heads, ring_rows] raw scores (natural units) of ring rows seen, -inf in all others: every entry of a used row is written; null: not wanted
        ("partial_o", ctypes.c_void_p),  # [splits, rows, q_heads, d] normalised output of each split; null when splits is 1
        ("partial_lse", ctypes.c_void_p),  # [splits, rows, q_heads] natural log-sum-exp of each split; null when splits is 1
        ("counters", ctypes.c_void_p),  # [batch, grid.y] zero before the first launch; the CTA that arrives last merges the parts, writes out and lse, and sets its counter back; null: partials are left for combine
        ("coded_len", ctypes.c_void_p),  # [batch] tokens read from pages; at most kv_len
        ("kv_len", ctypes.c_void_p),  # [batch] tokens stored, this step's rows included: the ring holds coded_len ... kv_len - 1
        ("frozen_len", ctypes.c_void_p),  # [batch] tokens inherited from a shared prefix; null: 0
        ("frozen_anchor_pages", ctypes.c_void_p),  # [batch] leading entries of anchor_table that are inherited: their rows at or beyond frozen_len are skipped; null: 0
        ("first_pos", ctypes.c_void_p),  # [batch] position of logical token 0; null: 0
        ("q_pos", ctypes.c_void_p),  # [batch] position of the first query row; null: first_pos + kv_len - query rows
        ("cu_q", ctypes.c_void_p),  # [batch + 1] first query row of each sequence; null: one row each
        ("tree_mask", ctypes.c_void_p),  # [rows] bit k: this row sees the k-th new row of its sequence; replaces the position rule for new rows; null: causal
        ("sink_logits", ctypes.c_void_p),  # [q_heads] learned sink logits (natural units), contracts with "sink" only: each is one more key of its head, whose value is 0, and counts in lse; -inf: none
        ("q_row_stride", ctypes.c_int64),  # bytes
        ("q_head_stride", ctypes.c_int64),  # bytes
        ("out_row_stride", ctypes.c_int64),  # bytes
        ("out_head_stride", ctypes.c_int64),  # bytes
        ("page_stride", ctypes.c_int64),  # bytes from page to page
        ("page_head_stride", ctypes.c_int64),  # bytes from KV head to KV head inside a page
        ("anchor_page_stride", ctypes.c_int64),  # bytes from anchor page to anchor page
        ("anchor_head_stride", ctypes.c_int64),  # bytes from KV head to KV head inside an anchor page
        ("ring_slot_stride", ctypes.c_int64),  # bytes from sequence to sequence
        ("ring_head_stride", ctypes.c_int64),  # bytes from KV head to KV head
        ("ring_row_stride", ctypes.c_int64),  # bytes from row to row
        ("batch", ctypes.c_int32),  # sequences
        ("q_heads", ctypes.c_int32),  # a multiple of kv_heads; the GQA ratio is at most 16
        ("kv_heads", ctypes.c_int32),
        ("rows", ctypes.c_int32),  # query rows of all sequences
        ("page_size", ctypes.c_int32),  # tokens per page: 16, 32, 64, 128 or 256
        ("max_pages", ctypes.c_int32),  # row stride of block_table, in entries
        ("max_anchor_pages", ctypes.c_int32),  # row stride of anchor_table, in entries; 0 without anchors
        ("ring_rows", ctypes.c_int32),  # window + flush block + 16
        ("segments", ctypes.c_int32),  # bit 0: coded pages, bit 1: anchors, bit 2: ring
        ("splits", ctypes.c_int32),  # 1 to 65535: CTAs that share one sequence and KV head, or with spread all sequences of one KV head; grid.x
        ("spread", ctypes.c_int32),  # 0: each sequence is cut into `splits` shares by its own length alone, grid.z is batch; 1: all sequences, end to end, are cut into `splits` shares of equal work, grid.z is 1
        ("max_q_len", ctypes.c_int32),  # host bound on query rows per sequence; fixes grid.y
        ("rotary_dim", ctypes.c_int32),  # channels that RoPE rotates, even, at most the head dim
        ("rope_interleaved", ctypes.c_int32),  # 0: pairs (i, i + rotary_dim/2); 1: pairs (2i, 2i + 1)
        ("scale", ctypes.c_float),  # factor on q.k, natural units, finite and above 0; usually 1/sqrt(d)
        ("attention_factor", ctypes.c_float),  # factor on cos and sin (YaRN); 1 without
        ("softcap", ctypes.c_float),  # contracts with "softcap" only, > 0: a score s (natural units) becomes softcap * tanh(s / softcap), in ring_scores too; else 0
    ]


assert ctypes.sizeof(DecodeParams) == 392 and DecodeParams.softcap.offset == 384


class CombineParams(_Params):
    """Merges the splits of decode in a fixed order."""

    _fields_ = [
        ("struct_size", ctypes.c_uint32),  # sizeof this struct
        ("abi_version", ctypes.c_uint32),  # ANTKV_ABI_VERSION
        ("out", ctypes.c_void_p),  # [rows, q_heads, d] output, dtype of the contract
        ("lse", ctypes.c_void_p),  # [rows, q_heads] natural log-sum-exp, read when partial_o is null; null: not wanted
        ("partial_o", ctypes.c_void_p),  # [splits, rows, q_heads, d]; null: decode had one split or counters and wrote out and lse itself, only ring_scores is wanted
        ("partial_lse", ctypes.c_void_p),  # [splits, rows, q_heads]; -inf marks a split that saw nothing
        ("ring_scores", ctypes.c_void_p),  # [rows, q_heads, ring_rows] raw scores in, attention mass exp(s - lse) out; null: not wanted
        ("out_row_stride", ctypes.c_int64),  # bytes
        ("out_head_stride", ctypes.c_int64),  # bytes
        ("rows", ctypes.c_int32),  # query rows; grid.x
        ("q_heads", ctypes.c_int32),  # grid.y is q_heads over the warps of a CTA, rounded up
        ("splits", ctypes.c_int32),  # merged in order 0, 1, ...
        ("ring_rows", ctypes.c_int32),  # row stride of ring_scores
    ]


assert ctypes.sizeof(CombineParams) == 80 and CombineParams.ring_rows.offset == 76


class ScoreParams(_Params):
    """Anchor score of every key, after any attention that returned the LSE."""

    _fields_ = [
        ("struct_size", ctypes.c_uint32),  # sizeof this struct
        ("abi_version", ctypes.c_uint32),  # ANTKV_ABI_VERSION
        ("scores", ctypes.c_void_p),  # [batch, kv_heads, score_stride] anchor score of each key; with accumulate it starts as what is added to (form "norm" writes it all the same)
        ("q", ctypes.c_void_p),  # [query rows, q_heads, d] queries after RoPE; null for form "norm"
        ("k", ctypes.c_void_p),  # [key rows, kv_heads, d] keys after RoPE
        ("v", ctypes.c_void_p),  # [key rows, kv_heads, d] values; form "exact" only
        ("o", ctypes.c_void_p),  # [query rows, q_heads, d] attention output; form "exact" only
        ("lse", ctypes.c_void_p),  # [query rows, q_heads] natural log-sum-exp of each row; null for form "norm"
        ("cu_q", ctypes.c_void_p),  # [batch + 1] first query row of each sequence; null for form "norm"
        ("cu_k", ctypes.c_void_p),  # [batch + 1] first key row of each sequence
        ("first_pos", ctypes.c_void_p),  # [batch] position of key 0; null: 0
        ("q_pos", ctypes.c_void_p),  # [batch] position of query row 0; null: first_pos + keys - query rows
        ("first_key", ctypes.c_void_p),  # [batch] place of key 0 in its row of scores; null: 0
        ("cu_sampled", ctypes.c_void_p),  # [batch + 1] offsets into sampled_rows; null: all rows count
        ("sampled_rows", ctypes.c_void_p),  # [cu_sampled[batch]] of each sequence the query rows, ascending, that stand for all older than its newest_rows newest (antkv_sample_rows); each counts (older rows) / (listed rows) times; null with cu_sampled
        ("q_row_stride", ctypes.c_int64),  # bytes
        ("q_head_stride", ctypes.c_int64),  # bytes
        ("o_row_stride", ctypes.c_int64),  # bytes
        ("o_head_stride", ctypes.c_int64),  # bytes
        ("k_row_stride", ctypes.c_int64),  # bytes
        ("k_head_stride", ctypes.c_int64),  # bytes
        ("v_row_stride", ctypes.c_int64),  # bytes
        ("v_head_stride", ctypes.c_int64),  # bytes
        ("batch", ctypes.c_int32),  # sequences; grid.z
        ("q_heads", ctypes.c_int32),
        ("kv_heads", ctypes.c_int32),  # grid.y
        ("max_tokens", ctypes.c_int32),  # host bound on keys per sequence, 1 to 2^30; fixes grid.x
        ("score_stride", ctypes.c_int32),  # row stride of scores, in elements
        ("newest_rows", ctypes.c_int32),  # query rows at the end of each sequence that count once each, with cu_sampled only
        ("accumulate", ctypes.c_int32),  # 1: adds to scores, so that the chunks of a prompt sum up to its score in one pass; 0: writes them
        ("scale", ctypes.c_float),  # factor on q.k, natural units; form "exact" multiplies by it as well; form "norm": factor on |k|, -1 ranks the smallest key first
        ("softcap", ctypes.c_float),  # contracts with "softcap" only, > 0, as in decode: the softcap of the attention that lse came from; else 0
    ]


assert ctypes.sizeof(ScoreParams) == 216 and ScoreParams.softcap.offset == 208


class SelectParams(_Params):
    """The top budget of the scores, as bitmap and ascending indices."""

    _fields_ = [
        ("struct_size", ctypes.c_uint32),  # sizeof this struct
        ("abi_version", ctypes.c_uint32),  # ANTKV_ABI_VERSION
        ("scores", ctypes.c_void_p),  # [batch, kv_heads, score_stride]; NaN and -inf never win
        ("keep_bitmap", ctypes.c_void_p),  # [batch, kv_heads, keep_words] bit j: token j is kept; all words are written
        ("keep_indices", ctypes.c_void_p),  # [batch, kv_heads, max_anchors] kept tokens ascending, then -1
        ("keep_count", ctypes.c_void_p),  # [batch, kv_heads] tokens kept; null: not wanted
        ("token_count", ctypes.c_void_p),  # [batch] candidates 0 ... token_count - 1
        ("batch", ctypes.c_int32),  # sequences; grid.y
        ("kv_heads", ctypes.c_int32),  # grid.x
        ("score_stride", ctypes.c_int32),  # row stride of scores, in elements
        ("keep_words", ctypes.c_int32),  # row stride of keep_bitmap
        ("max_anchors", ctypes.c_int32),  # row stride of keep_indices; no more are kept
        ("budget_permille", ctypes.c_int32),  # anchors per 1000 tokens, rounded down; used when budget_tokens is -1
        ("budget_tokens", ctypes.c_int32),  # anchors per sequence and KV head, or -1
        ("first_tokens", ctypes.c_int32),  # tokens 0 ... first_tokens - 1 are kept beside the budget
    ]


assert ctypes.sizeof(SelectParams) == 80 and SelectParams.first_tokens.offset == 76


class UnpackParams(_Params):
    """A range of coded tokens as rotated exact rows. A token whose bit is set but which has no anchor row is left unwritten."""

    _fields_ = [
        ("struct_size", ctypes.c_uint32),  # sizeof this struct
        ("abi_version", ctypes.c_uint32),  # ANTKV_ABI_VERSION
        ("k", ctypes.c_void_p),  # [output rows, kv_heads, d] keys after RoPE, gain applied, anchors exact
        ("v", ctypes.c_void_p),  # [output rows, kv_heads, d] values
        ("pages", ctypes.c_void_p),  # coded pages; block of (page, KV head) at pages + page * page_stride + head * page_head_stride
        ("block_table", ctypes.c_void_p),  # [batch, max_pages] page of each page-sized run of tokens; null: use page_indptr and page_indices
        ("page_indptr", ctypes.c_void_p),  # [batch + 1] CSR offsets into page_indices; null with block_table
        ("page_indices", ctypes.c_void_p),  # [page_indptr[batch]] pages; null with block_table
        ("k_codebook", ctypes.c_void_p),  # [kv_heads] packed codebooks of the keys (antkv_pack_codebook); null for exact keys
        ("v_codebook", ctypes.c_void_p),  # [kv_heads] packed codebooks of the values; null for exact values
        ("inv_freq", ctypes.c_void_p),  # [rotary_dim / 2] RoPE frequencies in radians per position; null for contracts without "pre"
        ("anchors", ctypes.c_void_p),  # anchor pages of 16 rows; block of (page, KV head) at anchors + page * anchor_page_stride + head * anchor_head_stride
        ("anchor_table", ctypes.c_void_p),  # [slots, max_anchor_pages] anchor pages of each sequence, -1 ends the list; null: no anchors
        ("state_slot", ctypes.c_void_p),  # [batch] row of per-sequence state (ring, anchor_table); null: the batch row
        ("frozen_len", ctypes.c_void_p),  # [batch] as in decode; null: 0
        ("frozen_anchor_pages", ctypes.c_void_p),  # [batch] as in decode; null: 0
        ("first_token", ctypes.c_void_p),  # [batch] first logical token to write, a multiple of 16; null: 0
        ("cu_tokens", ctypes.c_void_p),  # [batch + 1] first output row of each sequence; their differences count the tokens
        ("first_pos", ctypes.c_void_p),  # [batch] position of logical token 0; null: 0
        ("k_row_stride", ctypes.c_int64),  # bytes
        ("k_head_stride", ctypes.c_int64),  # bytes
        ("v_row_stride", ctypes.c_int64),  # bytes
        ("v_head_stride", ctypes.c_int64),  # bytes
        ("page_stride", ctypes.c_int64),  # bytes from page to page
        ("page_head_stride", ctypes.c_int64),  # bytes from KV head to KV head inside a page
        ("anchor_page_stride", ctypes.c_int64),  # bytes from anchor page to anchor page
        ("anchor_head_stride", ctypes.c_int64),  # bytes from KV head to KV head inside an anchor page
        ("batch", ctypes.c_int32),  # sequences; grid.z
        ("kv_heads", ctypes.c_int32),  # grid.y
        ("page_size", ctypes.c_int32),  # tokens per page: 16, 32, 64, 128 or 256
        ("max_pages", ctypes.c_int32),  # row stride of block_table, in entries
        ("max_anchor_pages", ctypes.c_int32),  # row stride of anchor_table, in entries; 0 without anchors
        ("max_tokens", ctypes.c_int32),  # host bound on tokens per sequence, 1 to 2^30; fixes grid.x
        ("rotary_dim", ctypes.c_int32),  # channels that RoPE rotates, even, at most the head dim
        ("rope_interleaved", ctypes.c_int32),  # 0: pairs (i, i + rotary_dim/2); 1: pairs (2i, 2i + 1)
        ("attention_factor", ctypes.c_float),  # factor on cos and sin (YaRN); 1 without
    ]


assert ctypes.sizeof(UnpackParams) == 248 and UnpackParams.attention_factor.offset == 240


class KmeansParams(_Params):
    """A step of weighted k-means, of every (head, chunk) at once. All sums are whole numbers: equal inputs give equal bits."""

    _fields_ = [
        ("struct_size", ctypes.c_uint32),  # sizeof this struct
        ("abi_version", ctypes.c_uint32),  # ANTKV_ABI_VERSION
        ("x", ctypes.c_void_p),  # [heads, tokens, chunks * channels] rows, dtype of the contract, all finite
        ("weights", ctypes.c_void_p),  # [heads, tokens] how much each row counts, finite and at least 0; null: 1
        ("draws", ctypes.c_void_p),  # [heads, chunks, entries] numbers from 0 to below 1: step 0 starts by k-means++ with these; null: it takes the centroids as they are
        ("centroids", ctypes.c_void_p),  # [heads, chunks, entries, channels] what is clustered around; halves, but for given ones before the first step 1
        ("codebook", ctypes.c_void_p),  # [heads, chunks] workspace of (2 * channels + 4) * entries bytes: the centroids as halves, and their |c|^2 / 2, as they are searched
        ("row_loss", ctypes.c_void_p),  # [heads, chunks, tokens] workspace: w |x - c|^2 of each row, in units of 1 / loss_scale
        ("sums", ctypes.c_void_p),  # [heads, chunks, entries, channels + 1] workspace: sum of w x in units of 1 / value_scale, then of w in units of 1 / weight_scale; step 0 clears it
        ("loss", ctypes.c_void_p),  # [heads, chunks, max_steps + 1] sum of row_loss by step 1, with the centroids that it began with; the last one is what step 2 measures
        ("energy", ctypes.c_void_p),  # [heads, chunks] sum of w |x|^2, in units of 1 / loss_scale; written by step 0
        ("status", ctypes.c_void_p),  # [heads, chunks, 4] steps 1 that were done; clusters that were empty and got the worst row; 1: settled, later steps 1 change nothing; 0
        ("x_row_stride", ctypes.c_int64),  # bytes
        ("x_head_stride", ctypes.c_int64),  # bytes
        ("heads", ctypes.c_int32),  # grid.z
        ("chunks", ctypes.c_int32),  # codes of a row; grid.y
        ("tokens", ctypes.c_int32),  # rows of a head, at least 1
        ("splits", ctypes.c_int32),  # CTAs that share the rows of a (head, chunk); grid.x. Results do not depend on it
        ("step", ctypes.c_int32),  # 0: clears, and starts the centroids; 1: a Lloyd iteration; 2: only measures, once after a step 0
        ("max_steps", ctypes.c_int32),  # bound on steps 1; fixes the row stride of loss
        ("tolerance", ctypes.c_float),  # a (head, chunk) is settled when a step 1 lowers its loss by no more than this part of it, and re-seeds nothing
        ("value_scale", ctypes.c_float),  # power of two; tokens * max(w |x|) * value_scale <= 2^62
        ("weight_scale", ctypes.c_float),  # power of two; tokens * max(w) * weight_scale <= 2^62
        ("loss_scale", ctypes.c_float),  # power of two; tokens * channels * max(w) * max(|x|, |c|)^2 * loss_scale <= 2^60
    ]


assert ctypes.sizeof(KmeansParams) == 144 and KmeansParams.loss_scale.offset == 140


class Array(NamedTuple):
    """What a pointer of a struct points to."""

    element: str  # C's name; "void": the dtype of the contract where the last axis is d, else bytes
    written: bool  # by the kernel
    need: str  # must not be null for contracts that have this need (manifest.json); "": null is allowed, or it depends on other fields
    axes: tuple  # in names of fields and of CACHE.md; () for blocks of bytes, whose place strides say


ARRAYS = {
    "encode": {
        "k": Array("void", False, "always", ("input rows", "kv_heads", "d")),
        "v": Array("void", False, "always", ("input rows", "kv_heads", "d")),
        "pages": Array("void", True, "always", ()),
        "block_table": Array("int32_t", False, "", ("batch", "max_pages")),
        "page_indptr": Array("int32_t", False, "", ("batch + 1",)),
        "page_indices": Array("int32_t", False, "", ("page_indptr[batch]",)),
        "k_codebook": Array("void", False, "keys", ("kv_heads",)),
        "v_codebook": Array("void", False, "values", ("kv_heads",)),
        "inv_freq": Array("float", False, "rope", ("rotary_dim / 2",)),
        "anchors": Array("void", True, "", ()),
        "anchor_table": Array("int32_t", False, "", ("slots", "max_anchor_pages")),
        "state_slot": Array("int32_t", False, "", ("batch",)),
        "cu_tokens": Array("int32_t", False, "always", ("batch + 1",)),
        "first_token": Array("int32_t", False, "", ("batch",)),
        "first_pos": Array("int32_t", False, "", ("batch",)),
        "keep_bitmap": Array("uint32_t", False, "", ("batch", "kv_heads", "keep_words")),
        "keep_indices": Array("int32_t", False, "", ("batch", "kv_heads", "max_anchors")),
        "anchor_score": Array("float", True, "", ("slots", "kv_heads", "max_anchor_pages * 16")),
        "keep_scores": Array("float", False, "", ("batch", "kv_heads", "score_stride")),
        "score_rows": Array("int32_t", False, "", ("batch",)),
    },
    "append": {
        "k": Array("void", False, "always", ("new rows", "kv_heads", "d")),
        "v": Array("void", False, "always", ("new rows", "kv_heads", "d")),
        "pages": Array("void", True, "always", ()),
        "block_table": Array("int32_t", False, "", ("batch", "max_pages")),
        "page_indptr": Array("int32_t", False, "", ("batch + 1",)),
        "page_indices": Array("int32_t", False, "", ("page_indptr[batch]",)),
        "k_codebook": Array("void", False, "keys", ("kv_heads",)),
        "v_codebook": Array("void", False, "values", ("kv_heads",)),
        "inv_freq": Array("float", False, "rope", ("rotary_dim / 2",)),
        "anchors": Array("void", True, "", ()),
        "anchor_table": Array("int32_t", False, "", ("slots", "max_anchor_pages")),
        "state_slot": Array("int32_t", False, "", ("batch",)),
        "ring_k": Array("void", True, "", ("slots", "kv_heads", "ring_rows", "d")),
        "ring_v": Array("void", True, "", ("slots", "kv_heads", "ring_rows", "d")),
        "ring_scores": Array("float", False, "", ("rows of the step before", "q_heads", "ring_rows")),
        "lse": Array("float", False, "", ("rows of the step before", "q_heads")),
        "ring_score": Array("float", True, "", ("slots", "kv_heads", "ring_rows")),
        "ring_count": Array("int32_t", True, "", ("slots", "kv_heads", "ring_rows")),
        "anchor_score": Array("float", True, "", ("slots", "kv_heads", "max_anchor_pages * 16")),
        "score_row": Array("int32_t", False, "", ("batch",)),
        "seq_len": Array("int32_t", False, "always", ("batch",)),
        "accepted": Array("int32_t", False, "", ("batch",)),
        "coded_len": Array("int32_t", False, "", ("batch",)),
        "frozen_len": Array("int32_t", False, "", ("batch",)),
        "frozen_anchor_pages": Array("int32_t", False, "", ("batch",)),
        "first_pos": Array("int32_t", False, "", ("batch",)),
        "cu_q": Array("int32_t", False, "", ("batch + 1",)),
        "new_score": Array("float", False, "", ("new rows", "kv_heads")),
        "new_count": Array("int32_t", False, "", ("new rows", "kv_heads")),
    },
    "decode": {
        "out": Array("void", True, "", ("rows", "q_heads", "d")),
        "lse": Array("float", True, "", ("rows", "q_heads")),
        "q": Array("void", False, "always", ("rows", "q_heads", "d")),
        "pages": Array("void", False, "always", ()),
        "block_table": Array("int32_t", False, "", ("batch", "max_pages")),
        "page_indptr": Array("int32_t", False, "", ("batch + 1",)),
        "page_indices": Array("int32_t", False, "", ("page_indptr[batch]",)),
        "k_codebook": Array("void", False, "keys", ("kv_heads",)),
        "v_codebook": Array("void", False, "values", ("kv_heads",)),
        "inv_freq": Array("float", False, "rope", ("rotary_dim / 2",)),
        "anchors": Array("void", False, "", ()),
        "anchor_table": Array("int32_t", False, "", ("slots", "max_anchor_pages")),
        "state_slot": Array("int32_t", False, "", ("batch",)),
        "ring_k": Array("void", False, "", ("slots", "kv_heads", "ring_rows", "d")),
        "ring_v": Array("void", False, "", ("slots", "kv_heads", "ring_rows", "d")),
        "ring_scores": Array("float", True, "", ("rows", "q_heads", "ring_rows")),
        "partial_o": Array("float", True, "", ("splits", "rows", "q_heads", "d")),
        "partial_lse": Array("float", True, "", ("splits", "rows", "q_heads")),
        "counters": Array("uint32_t", True, "", ("batch", "grid.y")),
        "coded_len": Array("int32_t", False, "always", ("batch",)),
        "kv_len": Array("int32_t", False, "always", ("batch",)),
        "frozen_len": Array("int32_t", False, "", ("batch",)),
        "frozen_anchor_pages": Array("int32_t", False, "", ("batch",)),
        "first_pos": Array("int32_t", False, "", ("batch",)),
        "q_pos": Array("int32_t", False, "", ("batch",)),
        "cu_q": Array("int32_t", False, "", ("batch + 1",)),
        "tree_mask": Array("uint16_t", False, "", ("rows",)),
        "sink_logits": Array("float", False, "sinks", ("q_heads",)),
    },
    "combine": {
        "out": Array("void", True, "", ("rows", "q_heads", "d")),
        "lse": Array("float", True, "", ("rows", "q_heads")),
        "partial_o": Array("float", False, "", ("splits", "rows", "q_heads", "d")),
        "partial_lse": Array("float", False, "", ("splits", "rows", "q_heads")),
        "ring_scores": Array("float", True, "", ("rows", "q_heads", "ring_rows")),
    },
    "score": {
        "scores": Array("float", True, "always", ("batch", "kv_heads", "score_stride")),
        "q": Array("void", False, "rows", ("query rows", "q_heads", "d")),
        "k": Array("void", False, "always", ("key rows", "kv_heads", "d")),
        "v": Array("void", False, "exact", ("key rows", "kv_heads", "d")),
        "o": Array("void", False, "exact", ("query rows", "q_heads", "d")),
        "lse": Array("float", False, "rows", ("query rows", "q_heads")),
        "cu_q": Array("int32_t", False, "rows", ("batch + 1",)),
        "cu_k": Array("int32_t", False, "always", ("batch + 1",)),
        "first_pos": Array("int32_t", False, "", ("batch",)),
        "q_pos": Array("int32_t", False, "", ("batch",)),
        "first_key": Array("int32_t", False, "", ("batch",)),
        "cu_sampled": Array("int32_t", False, "", ("batch + 1",)),
        "sampled_rows": Array("int32_t", False, "", ("cu_sampled[batch]",)),
    },
    "select": {
        "scores": Array("float", False, "always", ("batch", "kv_heads", "score_stride")),
        "keep_bitmap": Array("uint32_t", True, "always", ("batch", "kv_heads", "keep_words")),
        "keep_indices": Array("int32_t", True, "always", ("batch", "kv_heads", "max_anchors")),
        "keep_count": Array("int32_t", True, "", ("batch", "kv_heads")),
        "token_count": Array("int32_t", False, "always", ("batch",)),
    },
    "unpack": {
        "k": Array("void", True, "always", ("output rows", "kv_heads", "d")),
        "v": Array("void", True, "always", ("output rows", "kv_heads", "d")),
        "pages": Array("void", False, "always", ()),
        "block_table": Array("int32_t", False, "", ("batch", "max_pages")),
        "page_indptr": Array("int32_t", False, "", ("batch + 1",)),
        "page_indices": Array("int32_t", False, "", ("page_indptr[batch]",)),
        "k_codebook": Array("void", False, "keys", ("kv_heads",)),
        "v_codebook": Array("void", False, "values", ("kv_heads",)),
        "inv_freq": Array("float", False, "rope", ("rotary_dim / 2",)),
        "anchors": Array("void", False, "", ()),
        "anchor_table": Array("int32_t", False, "", ("slots", "max_anchor_pages")),
        "state_slot": Array("int32_t", False, "", ("batch",)),
        "frozen_len": Array("int32_t", False, "", ("batch",)),
        "frozen_anchor_pages": Array("int32_t", False, "", ("batch",)),
        "first_token": Array("int32_t", False, "", ("batch",)),
        "cu_tokens": Array("int32_t", False, "always", ("batch + 1",)),
        "first_pos": Array("int32_t", False, "", ("batch",)),
    },
    "kmeans": {
        "x": Array("void", False, "always", ("heads", "tokens", "chunks * channels")),
        "weights": Array("float", False, "", ("heads", "tokens")),
        "draws": Array("double", False, "", ("heads", "chunks", "entries")),
        "centroids": Array("float", True, "always", ("heads", "chunks", "entries", "channels")),
        "codebook": Array("void", True, "always", ("heads", "chunks")),
        "row_loss": Array("uint64_t", True, "always", ("heads", "chunks", "tokens")),
        "sums": Array("int64_t", True, "always", ("heads", "chunks", "entries", "channels + 1")),
        "loss": Array("uint64_t", True, "always", ("heads", "chunks", "max_steps + 1")),
        "energy": Array("uint64_t", True, "always", ("heads", "chunks")),
        "status": Array("int32_t", True, "always", ("heads", "chunks", "4")),
    },
}

# x, y, z of a launch. p: the op's struct; k: columns of the contract, tokens and warps of the tile
GRIDS = {
    "encode": lambda p, k: (-(-(p.max_tokens) // k.tokens) + p.max_anchor_pages, p.kv_heads, p.batch),
    "append": lambda p, k: (p.kv_heads, p.batch, 1),
    "decode": lambda p, k: (p.splits, p.kv_heads * -(-(p.max_q_len * (p.q_heads // p.kv_heads)) // k.columns), 1 if p.spread else p.batch),
    "combine": lambda p, k: (p.rows, -(-(p.q_heads) // k.warps), 1),
    "score": lambda p, k: (-(-(p.max_tokens) // k.tokens), p.kv_heads, p.batch),
    "select": lambda p, k: (p.kv_heads, p.batch, 1),
    "unpack": lambda p, k: (-(-(p.max_tokens) // k.tokens) + p.max_anchor_pages, p.kv_heads, p.batch),
    "kmeans": lambda p, k: (p.splits, p.chunks, p.heads),
}

PARAMS = {"encode": EncodeParams, "append": AppendParams, "decode": DecodeParams, "combine": CombineParams, "score": ScoreParams, "select": SelectParams, "unpack": UnpackParams, "kmeans": KmeansParams}
