// Generated file. Do not edit.
//   template  generator/bindings/kernels.ts
//   remake    npx gen --arch sm80
/* Kernels of this folder, for antkv_load.h: what a launch needs to know of each, and what the loader checks before one. Names in
   `symbol` and `file` change with every tuning; ask for contracts. */
#ifndef ANTKV_KERNELS_H
#define ANTKV_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "antkv.h"

/* The versions that the kernels were generated with. */
#define ANTKV_KERNELS_ABI_VERSION 1
#define ANTKV_KERNELS_LAYOUT_VERSION 1
#define ANTKV_KERNEL_COUNT 22

#define ANTKV_OP_ENCODE 0
#define ANTKV_OP_DECODE 1
#define ANTKV_OP_COMBINE 2
#define ANTKV_OP_SCORE 3
#define ANTKV_OP_SELECT 4
#define ANTKV_OP_UNPACK 5

/* Bits of antkv_kernel_row.needs and antkv_field_row.need. */
#define ANTKV_NEEDS_ALWAYS 1 /* every contract */
#define ANTKV_NEEDS_KEYS 2 /* keys are coded */
#define ANTKV_NEEDS_VALUES 4 /* values are coded */
#define ANTKV_NEEDS_ROPE 8 /* keys are coded before RoPE */
#define ANTKV_NEEDS_EXACT 16 /* score of form "exact" */
#define ANTKV_NEEDS_SINKS 32 /* learned sink logits */

typedef struct antkv_kernel_row {
  const char* contract;
  const char* symbol;
  const char* file;     /* below the folder of this header */
  int32_t op;           /* ANTKV_OP_... */
  int32_t arch;         /* 80: sm_80 */
  int32_t threads;      /* of a block */
  int32_t tokens;       /* that a block takes per step; 0 for ops without */
  int32_t shared_bytes; /* dynamic shared memory of a block */
  int32_t params_bytes; /* sizeof the op's struct */
  int32_t head_dim;     /* 0 for ops without */
  int32_t columns;      /* query rows x query heads per KV head of one block; decode only */
  int32_t unit_bytes;   /* 16 tokens of a coded page; 0 for ops without pages */
  int32_t coded;        /* 1: pages end with an anchor bitmap */
  uint32_t needs;
} antkv_kernel_row;

/* A pointer or a byte stride of a parameter struct. */
typedef struct antkv_field_row {
  uint8_t op;
  uint8_t pointer; /* 0: a stride */
  uint16_t need;   /* not null for kernels that have one of these needs */
  uint16_t offset;
  const char* name;
} antkv_field_row;

/* By contract, then architecture; the first row of a pair is its default. A row of zeros ends the list. */
static const antkv_kernel_row antkv_kernel_rows[ANTKV_KERNEL_COUNT + 1] = {
  {"antkv_combine_d128_f16",
   "antkv_combine_d128_f16__sm80_w4",
   "sm80/antkv_combine_d128_f16__sm80_w4.fatbin",
   ANTKV_OP_COMBINE, 80, 128, 0, 0, 80, 128, 0, 0, 0, 1},
  {"antkv_combine_d64_f16",
   "antkv_combine_d64_f16__sm80_w4",
   "sm80/antkv_combine_d64_f16__sm80_w4.fatbin",
   ANTKV_OP_COMBINE, 80, 128, 0, 0, 80, 64, 0, 0, 0, 1},
  {"antkv_decode_d128_k4c8b_v4c8b_f16_pre_gain",
   "antkv_decode_d128_k4c8b_v4c8b_f16_pre_gain__sm80_w4_t64_s2",
   "sm80/antkv_decode_d128_k4c8b_v4c8b_f16_pre_gain__sm80_w4_t64_s2.fatbin",
   ANTKV_OP_DECODE, 80, 128, 64, 43264, 376, 128, 8, 1056, 1, 15},
  {"antkv_decode_d128_k8c8b_v8c8bq8_f16_gain",
   "antkv_decode_d128_k8c8b_v8c8bq8_f16_gain__sm80_w4_t64_s2",
   "sm80/antkv_decode_d128_k8c8b_v8c8bq8_f16_gain__sm80_w4_t64_s2.fatbin",
   ANTKV_OP_DECODE, 80, 128, 64, 39168, 376, 128, 8, 544, 1, 7},
  {"antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain",
   "antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain__sm80_w4_t64_s2",
   "sm80/antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain__sm80_w4_t64_s2.fatbin",
   ANTKV_OP_DECODE, 80, 128, 64, 39168, 376, 128, 8, 544, 1, 15},
  {"antkv_decode_d128_kf16_vf16_f16",
   "antkv_decode_d128_kf16_vf16_f16__sm80_w4_t64_s2",
   "sm80/antkv_decode_d128_kf16_vf16_f16__sm80_w4_t64_s2.fatbin",
   ANTKV_OP_DECODE, 80, 128, 64, 69632, 376, 128, 8, 8192, 0, 1},
  {"antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain",
   "antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain__sm80_w4_t64_s2",
   "sm80/antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain__sm80_w4_t64_s2.fatbin",
   ANTKV_OP_DECODE, 80, 128, 64, 20736, 376, 64, 8, 288, 1, 15},
  {"antkv_encode_d128_k4c8b_v4c8b_f16_pre_gain",
   "antkv_encode_d128_k4c8b_v4c8b_f16_pre_gain__sm80_w4_t32",
   "sm80/antkv_encode_d128_k4c8b_v4c8b_f16_pre_gain__sm80_w4_t32.fatbin",
   ANTKV_OP_ENCODE, 80, 128, 32, 25728, 256, 128, 0, 1056, 1, 15},
  {"antkv_encode_d128_k8c8b_v8c8bq8_f16_gain",
   "antkv_encode_d128_k8c8b_v8c8bq8_f16_gain__sm80_w4_t32",
   "sm80/antkv_encode_d128_k8c8b_v8c8bq8_f16_gain__sm80_w4_t32.fatbin",
   ANTKV_OP_ENCODE, 80, 128, 32, 21120, 256, 128, 0, 544, 1, 7},
  {"antkv_encode_d128_k8c8b_v8c8bq8_f16_pre_gain",
   "antkv_encode_d128_k8c8b_v8c8bq8_f16_pre_gain__sm80_w4_t32",
   "sm80/antkv_encode_d128_k8c8b_v8c8bq8_f16_pre_gain__sm80_w4_t32.fatbin",
   ANTKV_OP_ENCODE, 80, 128, 32, 21120, 256, 128, 0, 544, 1, 15},
  {"antkv_encode_d128_kf16_vf16_f16",
   "antkv_encode_d128_kf16_vf16_f16__sm80_w4_t32",
   "sm80/antkv_encode_d128_kf16_vf16_f16__sm80_w4_t32.fatbin",
   ANTKV_OP_ENCODE, 80, 128, 32, 16800, 256, 128, 0, 8192, 0, 1},
  {"antkv_encode_d64_k8c8b_v8c8bq8_f16_pre_gain",
   "antkv_encode_d64_k8c8b_v8c8bq8_f16_pre_gain__sm80_w4_t32",
   "sm80/antkv_encode_d64_k8c8b_v8c8bq8_f16_pre_gain__sm80_w4_t32.fatbin",
   ANTKV_OP_ENCODE, 80, 128, 32, 10624, 256, 64, 0, 288, 1, 15},
  {"antkv_score_d128_f16",
   "antkv_score_d128_f16__sm80_w4_t64",
   "sm80/antkv_score_d128_f16__sm80_w4_t64.fatbin",
   ANTKV_OP_SCORE, 80, 128, 64, 34816, 176, 128, 0, 0, 0, 1},
  {"antkv_score_d128_f16_exact",
   "antkv_score_d128_f16_exact__sm80_w4_t64",
   "sm80/antkv_score_d128_f16_exact__sm80_w4_t64.fatbin",
   ANTKV_OP_SCORE, 80, 128, 64, 34816, 176, 128, 0, 0, 0, 17},
  {"antkv_score_d64_f16",
   "antkv_score_d64_f16__sm80_w4_t64",
   "sm80/antkv_score_d64_f16__sm80_w4_t64.fatbin",
   ANTKV_OP_SCORE, 80, 128, 64, 18432, 176, 64, 0, 0, 0, 1},
  {"antkv_score_d64_f16_exact",
   "antkv_score_d64_f16_exact__sm80_w4_t64",
   "sm80/antkv_score_d64_f16_exact__sm80_w4_t64.fatbin",
   ANTKV_OP_SCORE, 80, 128, 64, 18432, 176, 64, 0, 0, 0, 17},
  {"antkv_select",
   "antkv_select__sm80_w8",
   "sm80/antkv_select__sm80_w8.fatbin",
   ANTKV_OP_SELECT, 80, 256, 0, 1096, 80, 0, 0, 0, 0, 1},
  {"antkv_unpack_d128_k4c8b_v4c8b_f16_pre_gain",
   "antkv_unpack_d128_k4c8b_v4c8b_f16_pre_gain__sm80_w4_t32",
   "sm80/antkv_unpack_d128_k4c8b_v4c8b_f16_pre_gain__sm80_w4_t32.fatbin",
   ANTKV_OP_UNPACK, 80, 128, 32, 39040, 248, 128, 0, 1056, 1, 15},
  {"antkv_unpack_d128_k8c8b_v8c8bq8_f16_gain",
   "antkv_unpack_d128_k8c8b_v8c8bq8_f16_gain__sm80_w4_t32",
   "sm80/antkv_unpack_d128_k8c8b_v8c8bq8_f16_gain__sm80_w4_t32.fatbin",
   ANTKV_OP_UNPACK, 80, 128, 32, 36992, 248, 128, 0, 544, 1, 7},
  {"antkv_unpack_d128_k8c8b_v8c8bq8_f16_pre_gain",
   "antkv_unpack_d128_k8c8b_v8c8bq8_f16_pre_gain__sm80_w4_t32",
   "sm80/antkv_unpack_d128_k8c8b_v8c8bq8_f16_pre_gain__sm80_w4_t32.fatbin",
   ANTKV_OP_UNPACK, 80, 128, 32, 36992, 248, 128, 0, 544, 1, 15},
  {"antkv_unpack_d128_kf16_vf16_f16",
   "antkv_unpack_d128_kf16_vf16_f16__sm80_w4_t32",
   "sm80/antkv_unpack_d128_kf16_vf16_f16__sm80_w4_t32.fatbin",
   ANTKV_OP_UNPACK, 80, 128, 32, 67584, 248, 128, 0, 8192, 0, 1},
  {"antkv_unpack_d64_k8c8b_v8c8bq8_f16_pre_gain",
   "antkv_unpack_d64_k8c8b_v8c8bq8_f16_pre_gain__sm80_w4_t32",
   "sm80/antkv_unpack_d64_k8c8b_v8c8bq8_f16_pre_gain__sm80_w4_t32.fatbin",
   ANTKV_OP_UNPACK, 80, 128, 32, 19584, 248, 64, 0, 288, 1, 15},
  {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
};

static const char* const antkv_op_names[] = {"encode", "decode", "combine", "score", "select", "unpack"};

/* By op, in the order of its struct. */
static const antkv_field_row antkv_field_rows[] = {
  {ANTKV_OP_ENCODE, 1, 1, offsetof(antkv_encode_params, k), "k"},
  {ANTKV_OP_ENCODE, 1, 1, offsetof(antkv_encode_params, v), "v"},
  {ANTKV_OP_ENCODE, 1, 1, offsetof(antkv_encode_params, pages), "pages"},
  {ANTKV_OP_ENCODE, 1, 0, offsetof(antkv_encode_params, block_table), "block_table"},
  {ANTKV_OP_ENCODE, 1, 0, offsetof(antkv_encode_params, page_indptr), "page_indptr"},
  {ANTKV_OP_ENCODE, 1, 0, offsetof(antkv_encode_params, page_indices), "page_indices"},
  {ANTKV_OP_ENCODE, 1, 2, offsetof(antkv_encode_params, k_codebook), "k_codebook"},
  {ANTKV_OP_ENCODE, 1, 4, offsetof(antkv_encode_params, v_codebook), "v_codebook"},
  {ANTKV_OP_ENCODE, 1, 8, offsetof(antkv_encode_params, inv_freq), "inv_freq"},
  {ANTKV_OP_ENCODE, 1, 0, offsetof(antkv_encode_params, anchors), "anchors"},
  {ANTKV_OP_ENCODE, 1, 0, offsetof(antkv_encode_params, anchor_table), "anchor_table"},
  {ANTKV_OP_ENCODE, 1, 0, offsetof(antkv_encode_params, state_slot), "state_slot"},
  {ANTKV_OP_ENCODE, 1, 1, offsetof(antkv_encode_params, cu_tokens), "cu_tokens"},
  {ANTKV_OP_ENCODE, 1, 0, offsetof(antkv_encode_params, first_token), "first_token"},
  {ANTKV_OP_ENCODE, 1, 0, offsetof(antkv_encode_params, first_pos), "first_pos"},
  {ANTKV_OP_ENCODE, 1, 0, offsetof(antkv_encode_params, keep_bitmap), "keep_bitmap"},
  {ANTKV_OP_ENCODE, 1, 0, offsetof(antkv_encode_params, keep_indices), "keep_indices"},
  {ANTKV_OP_ENCODE, 0, 0, offsetof(antkv_encode_params, k_row_stride), "k_row_stride"},
  {ANTKV_OP_ENCODE, 0, 0, offsetof(antkv_encode_params, k_head_stride), "k_head_stride"},
  {ANTKV_OP_ENCODE, 0, 0, offsetof(antkv_encode_params, v_row_stride), "v_row_stride"},
  {ANTKV_OP_ENCODE, 0, 0, offsetof(antkv_encode_params, v_head_stride), "v_head_stride"},
  {ANTKV_OP_ENCODE, 0, 0, offsetof(antkv_encode_params, page_stride), "page_stride"},
  {ANTKV_OP_ENCODE, 0, 0, offsetof(antkv_encode_params, page_head_stride), "page_head_stride"},
  {ANTKV_OP_ENCODE, 0, 0, offsetof(antkv_encode_params, anchor_page_stride), "anchor_page_stride"},
  {ANTKV_OP_ENCODE, 0, 0, offsetof(antkv_encode_params, anchor_head_stride), "anchor_head_stride"},
  {ANTKV_OP_DECODE, 1, 0, offsetof(antkv_decode_params, out), "out"},
  {ANTKV_OP_DECODE, 1, 0, offsetof(antkv_decode_params, lse), "lse"},
  {ANTKV_OP_DECODE, 1, 1, offsetof(antkv_decode_params, q), "q"},
  {ANTKV_OP_DECODE, 1, 1, offsetof(antkv_decode_params, pages), "pages"},
  {ANTKV_OP_DECODE, 1, 0, offsetof(antkv_decode_params, block_table), "block_table"},
  {ANTKV_OP_DECODE, 1, 0, offsetof(antkv_decode_params, page_indptr), "page_indptr"},
  {ANTKV_OP_DECODE, 1, 0, offsetof(antkv_decode_params, page_indices), "page_indices"},
  {ANTKV_OP_DECODE, 1, 2, offsetof(antkv_decode_params, k_codebook), "k_codebook"},
  {ANTKV_OP_DECODE, 1, 4, offsetof(antkv_decode_params, v_codebook), "v_codebook"},
  {ANTKV_OP_DECODE, 1, 8, offsetof(antkv_decode_params, inv_freq), "inv_freq"},
  {ANTKV_OP_DECODE, 1, 0, offsetof(antkv_decode_params, anchors), "anchors"},
  {ANTKV_OP_DECODE, 1, 0, offsetof(antkv_decode_params, anchor_table), "anchor_table"},
  {ANTKV_OP_DECODE, 1, 0, offsetof(antkv_decode_params, state_slot), "state_slot"},
  {ANTKV_OP_DECODE, 1, 0, offsetof(antkv_decode_params, ring_k), "ring_k"},
  {ANTKV_OP_DECODE, 1, 0, offsetof(antkv_decode_params, ring_v), "ring_v"},
  {ANTKV_OP_DECODE, 1, 0, offsetof(antkv_decode_params, ring_scores), "ring_scores"},
  {ANTKV_OP_DECODE, 1, 0, offsetof(antkv_decode_params, partial_o), "partial_o"},
  {ANTKV_OP_DECODE, 1, 0, offsetof(antkv_decode_params, partial_lse), "partial_lse"},
  {ANTKV_OP_DECODE, 1, 1, offsetof(antkv_decode_params, coded_len), "coded_len"},
  {ANTKV_OP_DECODE, 1, 1, offsetof(antkv_decode_params, kv_len), "kv_len"},
  {ANTKV_OP_DECODE, 1, 0, offsetof(antkv_decode_params, frozen_len), "frozen_len"},
  {ANTKV_OP_DECODE, 1, 0, offsetof(antkv_decode_params, frozen_anchor_pages), "frozen_anchor_pages"},
  {ANTKV_OP_DECODE, 1, 0, offsetof(antkv_decode_params, first_pos), "first_pos"},
  {ANTKV_OP_DECODE, 1, 0, offsetof(antkv_decode_params, q_pos), "q_pos"},
  {ANTKV_OP_DECODE, 1, 0, offsetof(antkv_decode_params, cu_q), "cu_q"},
  {ANTKV_OP_DECODE, 1, 0, offsetof(antkv_decode_params, tree_mask), "tree_mask"},
  {ANTKV_OP_DECODE, 1, 32, offsetof(antkv_decode_params, sink_logits), "sink_logits"},
  {ANTKV_OP_DECODE, 0, 0, offsetof(antkv_decode_params, q_row_stride), "q_row_stride"},
  {ANTKV_OP_DECODE, 0, 0, offsetof(antkv_decode_params, q_head_stride), "q_head_stride"},
  {ANTKV_OP_DECODE, 0, 0, offsetof(antkv_decode_params, out_row_stride), "out_row_stride"},
  {ANTKV_OP_DECODE, 0, 0, offsetof(antkv_decode_params, out_head_stride), "out_head_stride"},
  {ANTKV_OP_DECODE, 0, 0, offsetof(antkv_decode_params, page_stride), "page_stride"},
  {ANTKV_OP_DECODE, 0, 0, offsetof(antkv_decode_params, page_head_stride), "page_head_stride"},
  {ANTKV_OP_DECODE, 0, 0, offsetof(antkv_decode_params, anchor_page_stride), "anchor_page_stride"},
  {ANTKV_OP_DECODE, 0, 0, offsetof(antkv_decode_params, anchor_head_stride), "anchor_head_stride"},
  {ANTKV_OP_DECODE, 0, 0, offsetof(antkv_decode_params, ring_slot_stride), "ring_slot_stride"},
  {ANTKV_OP_DECODE, 0, 0, offsetof(antkv_decode_params, ring_head_stride), "ring_head_stride"},
  {ANTKV_OP_DECODE, 0, 0, offsetof(antkv_decode_params, ring_row_stride), "ring_row_stride"},
  {ANTKV_OP_COMBINE, 1, 0, offsetof(antkv_combine_params, out), "out"},
  {ANTKV_OP_COMBINE, 1, 0, offsetof(antkv_combine_params, lse), "lse"},
  {ANTKV_OP_COMBINE, 1, 0, offsetof(antkv_combine_params, partial_o), "partial_o"},
  {ANTKV_OP_COMBINE, 1, 0, offsetof(antkv_combine_params, partial_lse), "partial_lse"},
  {ANTKV_OP_COMBINE, 1, 0, offsetof(antkv_combine_params, ring_scores), "ring_scores"},
  {ANTKV_OP_COMBINE, 0, 0, offsetof(antkv_combine_params, out_row_stride), "out_row_stride"},
  {ANTKV_OP_COMBINE, 0, 0, offsetof(antkv_combine_params, out_head_stride), "out_head_stride"},
  {ANTKV_OP_SCORE, 1, 1, offsetof(antkv_score_params, scores), "scores"},
  {ANTKV_OP_SCORE, 1, 1, offsetof(antkv_score_params, q), "q"},
  {ANTKV_OP_SCORE, 1, 1, offsetof(antkv_score_params, k), "k"},
  {ANTKV_OP_SCORE, 1, 16, offsetof(antkv_score_params, v), "v"},
  {ANTKV_OP_SCORE, 1, 16, offsetof(antkv_score_params, o), "o"},
  {ANTKV_OP_SCORE, 1, 1, offsetof(antkv_score_params, lse), "lse"},
  {ANTKV_OP_SCORE, 1, 1, offsetof(antkv_score_params, cu_q), "cu_q"},
  {ANTKV_OP_SCORE, 1, 1, offsetof(antkv_score_params, cu_k), "cu_k"},
  {ANTKV_OP_SCORE, 1, 0, offsetof(antkv_score_params, first_pos), "first_pos"},
  {ANTKV_OP_SCORE, 1, 0, offsetof(antkv_score_params, q_pos), "q_pos"},
  {ANTKV_OP_SCORE, 0, 0, offsetof(antkv_score_params, q_row_stride), "q_row_stride"},
  {ANTKV_OP_SCORE, 0, 0, offsetof(antkv_score_params, q_head_stride), "q_head_stride"},
  {ANTKV_OP_SCORE, 0, 0, offsetof(antkv_score_params, o_row_stride), "o_row_stride"},
  {ANTKV_OP_SCORE, 0, 0, offsetof(antkv_score_params, o_head_stride), "o_head_stride"},
  {ANTKV_OP_SCORE, 0, 0, offsetof(antkv_score_params, k_row_stride), "k_row_stride"},
  {ANTKV_OP_SCORE, 0, 0, offsetof(antkv_score_params, k_head_stride), "k_head_stride"},
  {ANTKV_OP_SCORE, 0, 0, offsetof(antkv_score_params, v_row_stride), "v_row_stride"},
  {ANTKV_OP_SCORE, 0, 0, offsetof(antkv_score_params, v_head_stride), "v_head_stride"},
  {ANTKV_OP_SELECT, 1, 1, offsetof(antkv_select_params, scores), "scores"},
  {ANTKV_OP_SELECT, 1, 1, offsetof(antkv_select_params, keep_bitmap), "keep_bitmap"},
  {ANTKV_OP_SELECT, 1, 1, offsetof(antkv_select_params, keep_indices), "keep_indices"},
  {ANTKV_OP_SELECT, 1, 0, offsetof(antkv_select_params, keep_count), "keep_count"},
  {ANTKV_OP_SELECT, 1, 1, offsetof(antkv_select_params, token_count), "token_count"},
  {ANTKV_OP_UNPACK, 1, 1, offsetof(antkv_unpack_params, k), "k"},
  {ANTKV_OP_UNPACK, 1, 1, offsetof(antkv_unpack_params, v), "v"},
  {ANTKV_OP_UNPACK, 1, 1, offsetof(antkv_unpack_params, pages), "pages"},
  {ANTKV_OP_UNPACK, 1, 0, offsetof(antkv_unpack_params, block_table), "block_table"},
  {ANTKV_OP_UNPACK, 1, 0, offsetof(antkv_unpack_params, page_indptr), "page_indptr"},
  {ANTKV_OP_UNPACK, 1, 0, offsetof(antkv_unpack_params, page_indices), "page_indices"},
  {ANTKV_OP_UNPACK, 1, 2, offsetof(antkv_unpack_params, k_codebook), "k_codebook"},
  {ANTKV_OP_UNPACK, 1, 4, offsetof(antkv_unpack_params, v_codebook), "v_codebook"},
  {ANTKV_OP_UNPACK, 1, 8, offsetof(antkv_unpack_params, inv_freq), "inv_freq"},
  {ANTKV_OP_UNPACK, 1, 0, offsetof(antkv_unpack_params, anchors), "anchors"},
  {ANTKV_OP_UNPACK, 1, 0, offsetof(antkv_unpack_params, anchor_table), "anchor_table"},
  {ANTKV_OP_UNPACK, 1, 0, offsetof(antkv_unpack_params, state_slot), "state_slot"},
  {ANTKV_OP_UNPACK, 1, 0, offsetof(antkv_unpack_params, frozen_len), "frozen_len"},
  {ANTKV_OP_UNPACK, 1, 0, offsetof(antkv_unpack_params, frozen_anchor_pages), "frozen_anchor_pages"},
  {ANTKV_OP_UNPACK, 1, 0, offsetof(antkv_unpack_params, first_token), "first_token"},
  {ANTKV_OP_UNPACK, 1, 1, offsetof(antkv_unpack_params, cu_tokens), "cu_tokens"},
  {ANTKV_OP_UNPACK, 1, 0, offsetof(antkv_unpack_params, first_pos), "first_pos"},
  {ANTKV_OP_UNPACK, 0, 0, offsetof(antkv_unpack_params, k_row_stride), "k_row_stride"},
  {ANTKV_OP_UNPACK, 0, 0, offsetof(antkv_unpack_params, k_head_stride), "k_head_stride"},
  {ANTKV_OP_UNPACK, 0, 0, offsetof(antkv_unpack_params, v_row_stride), "v_row_stride"},
  {ANTKV_OP_UNPACK, 0, 0, offsetof(antkv_unpack_params, v_head_stride), "v_head_stride"},
  {ANTKV_OP_UNPACK, 0, 0, offsetof(antkv_unpack_params, page_stride), "page_stride"},
  {ANTKV_OP_UNPACK, 0, 0, offsetof(antkv_unpack_params, page_head_stride), "page_head_stride"},
  {ANTKV_OP_UNPACK, 0, 0, offsetof(antkv_unpack_params, anchor_page_stride), "anchor_page_stride"},
  {ANTKV_OP_UNPACK, 0, 0, offsetof(antkv_unpack_params, anchor_head_stride), "anchor_head_stride"},
};

#endif
