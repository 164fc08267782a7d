// Generated file. Do not edit.
//   template  templates/antkv_launch.h
//   remake    npx gen
// What a launch of each op needs: checks of its parameter struct, and its grid. Pure host code, no CUDA; antkv_load.h calls it before every launch.
#ifndef ANTKV_LAUNCH_H
#define ANTKV_LAUNCH_H

#include <float.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "antkv.h"
#include "antkv_kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Status of every call of antkv_load.h; antkv_check returns 0 and those marked *. */
enum {
  ANTKV_OK = 0,
  ANTKV_ERROR_DRIVER = 1,      /* no CUDA driver, one that is too old, or one that does not start */
  ANTKV_ERROR_DEVICE = 2,      /* no device, no such device, or one that no kernel is for */
  ANTKV_ERROR_FOLDER = 3,      /* not a generated folder */
  ANTKV_ERROR_VERSION = 4,     /* struct (*) of another ABI version, or folder of other kernels than the headers */
  ANTKV_ERROR_CONTRACT = 5,    /* no kernel of that contract */
  ANTKV_ERROR_IMAGE = 6,       /* a kernel's file is missing, broken, or refused by the driver */
  ANTKV_ERROR_SHAPE = 7,       /* antkv_shape does not describe a problem */
  ANTKV_ERROR_STRUCT = 8,      /* * struct_size: another struct, or ANTKV_INIT was forgotten */
  ANTKV_ERROR_NULL = 9,        /* * a pointer that is needed is null */
  ANTKV_ERROR_ALIGNMENT = 10,  /* * a pointer or stride is no multiple of 16 bytes */
  ANTKV_ERROR_VALUE = 11,      /* * a number is out of range, or contradicts another */
  ANTKV_ERROR_CUDA = 12,       /* a driver call failed */
  ANTKV_ERROR_KERNEL = 13      /* antkv_kernel is empty, or of an op that has no such thing */
};

/* A check under way: the kernel, and where the text of a refusal goes. */
typedef struct antkv_i_call {
  const antkv_kernel_row* row;
  char* text;
  size_t bytes;
} antkv_i_call;

__attribute__((format(printf, 3, 4))) static inline int antkv_i_refuse(const antkv_i_call* call, int status, const char* format, ...) {
  int n = snprintf(call->text, call->bytes, "%s: ", antkv_op_names[call->row->op]);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(call->text + n, call->bytes - (size_t)n, format, arguments);
  va_end(arguments);
  return status;
}
/* Each text names a field, its value, and what it should be. */
#define ANTKV_I_NEED(condition, status, ...) \
  do { \
    if (!(condition)) return antkv_i_refuse(call, status, __VA_ARGS__); \
  } while (0)
#define ANTKV_I_RANGE(field, least, most, why) \
  ANTKV_I_NEED(p->field >= (least) && p->field <= (most), ANTKV_ERROR_VALUE, #field " is %lld; %s", (long long)p->field, why)

static inline int antkv_i_is_positive(float x) { return x > 0 && x <= FLT_MAX; } /* and finite */

/* An axis of an array whose place in memory strides say. count: its length; 2 stands for any length above 1, 0 for one that only device memory knows. */
typedef struct {
  const char* name; /* of the field */
  int64_t stride, count;
} antkv_i_axis;

/* Axes in any order, over elements of `bytes`: no two elements may overlap. A stride steps over all axes with smaller strides; of an axis of length 1 it may be anything.
   An axis of unknown length counts as one where others step over it, and where its stride equals another's: a tensor with one row may have such strides. */
static inline int antkv_i_check_strides(const antkv_i_call* call, int64_t bytes, const antkv_i_axis* axes, int count) {
  const antkv_i_axis* wrong = NULL; /* of several the innermost: it may be what is wrong with the others */
  double wanted = 0;
  int i, j;
  for (i = 0; i < count; i++) {
    double least = (double)bytes; /* no product of these numbers overflows it */
    if (axes[i].count == 1) continue;
    for (j = 0; j < count; j++) {
      if (axes[j].stride < axes[i].stride || (axes[j].stride == axes[i].stride && j > i && axes[i].count))
        if (axes[j].count > 1) least += (double)(axes[j].count - 1) * (double)axes[j].stride;
    }
    if ((double)axes[i].stride < least && (!wrong || axes[i].stride < wrong->stride)) wrong = &axes[i], wanted = least;
  }
  ANTKV_I_NEED(!wrong, ANTKV_ERROR_VALUE, "%s is %lld bytes, but what it steps over has %.0f", wrong->name, (long long)wrong->stride, wanted);
  return ANTKV_OK;
}
#define ANTKV_I_STRIDES(bytes, ...) \
  do { \
    const antkv_i_axis axes[] = {__VA_ARGS__}; \
    const int strides = antkv_i_check_strides(call, bytes, axes, (int)(sizeof axes / sizeof *axes)); \
    if (strides) return strides; \
  } while (0)
#define ANTKV_I_AXIS(field, count) {#field, p->field, (count)}
/* [rows, heads, d] of the contract's dtype. */
#define ANTKV_I_ROWS(name, rows, heads) ANTKV_I_STRIDES(2 * (int64_t)call->row->head_dim, ANTKV_I_AXIS(name##_row_stride, rows), ANTKV_I_AXIS(name##_head_stride, heads))
/* The count of rows of which `tokens` bounds those of each sequence. */
#define ANTKV_I_SEVERAL(tokens) ((int64_t)p->batch * (tokens) > 1 ? 2 : 1)
/* The ring of slots that only device memory names, unless there is no state_slot. */
#define ANTKV_I_RING() \
  ANTKV_I_STRIDES(2 * (int64_t)call->row->head_dim, ANTKV_I_AXIS(ring_slot_stride, p->state_slot ? 2 : p->batch), ANTKV_I_AXIS(ring_head_stride, p->kv_heads), \
                  ANTKV_I_AXIS(ring_row_stride, p->ring_rows))

/* What encode, append, decode and unpack have in common, under the names of their structs. */
typedef struct {
  const void *block_table, *page_indptr, *page_indices, *anchors, *anchor_table;
  int64_t page_stride, page_head_stride, anchor_page_stride, anchor_head_stride;
  int32_t batch, kv_heads, page_size, max_pages, max_anchor_pages, rotary_dim, rope_interleaved;
  float attention_factor;
} antkv_i_cache;
#define ANTKV_I_CACHE(p) \
  {(p)->block_table, (p)->page_indptr, (p)->page_indices, (p)->anchors, (p)->anchor_table, (p)->page_stride, (p)->page_head_stride, \
   (p)->anchor_page_stride, (p)->anchor_head_stride, (p)->batch, (p)->kv_heads, (p)->page_size, (p)->max_pages, (p)->max_anchor_pages, \
   (p)->rotary_dim, (p)->rope_interleaved, (p)->attention_factor}
#define ANTKV_I_TEXT_(...) #__VA_ARGS__
#define ANTKV_I_TEXT(...) ANTKV_I_TEXT_(__VA_ARGS__)

static inline int antkv_i_check_cache(const antkv_i_call* call, const antkv_i_cache* p, int rotates) {
  const int32_t sizes[] = {ANTKV_PAGE_SIZES};
  int64_t page_bytes, anchor_bytes = ANTKV_ANCHOR_ROWS * (4 * (int64_t)call->row->head_dim + 4);
  size_t i = 0;
  ANTKV_I_RANGE(batch, 1, ANTKV_MAX_GRID, "it is 1 to " ANTKV_I_TEXT(ANTKV_MAX_GRID));
  ANTKV_I_RANGE(kv_heads, 1, ANTKV_MAX_GRID, "1 to " ANTKV_I_TEXT(ANTKV_MAX_GRID));
  while (i < sizeof sizes / sizeof *sizes && sizes[i] != p->page_size) i++;
  ANTKV_I_NEED(i < sizeof sizes / sizeof *sizes, ANTKV_ERROR_VALUE, "page_size is %d; it is one of " ANTKV_I_TEXT(ANTKV_PAGE_SIZES), p->page_size);
  page_bytes = (p->page_size / ANTKV_UNIT_TOKENS * (int64_t)call->row->unit_bytes + (call->row->coded ? (p->page_size + 31) / 32 * 4 : 0) + 15) / 16 * 16;
  ANTKV_I_STRIDES(page_bytes, ANTKV_I_AXIS(page_stride, 2), ANTKV_I_AXIS(page_head_stride, p->kv_heads));
  if (p->block_table) {
    ANTKV_I_NEED(!p->page_indptr && !p->page_indices, ANTKV_ERROR_VALUE, "block_table and page_indptr are both given; set one form of page index to null");
    ANTKV_I_RANGE(max_pages, 1, INT32_MAX, "it is the row stride of block_table");
  } else {
    ANTKV_I_NEED(p->page_indptr && p->page_indices, ANTKV_ERROR_NULL, "there is no page index; give block_table, or page_indptr with page_indices");
  }
  ANTKV_I_NEED(!p->anchor_table || p->anchors, ANTKV_ERROR_NULL, "anchor_table is given but anchors is null; give both, or none");
  ANTKV_I_RANGE(max_anchor_pages, p->anchor_table ? 1 : 0, INT32_MAX, "it is the row stride of anchor_table; 0 without anchors");
  if (p->anchor_table) ANTKV_I_STRIDES(anchor_bytes, ANTKV_I_AXIS(anchor_page_stride, 2), ANTKV_I_AXIS(anchor_head_stride, p->kv_heads));
  if (rotates) {
    ANTKV_I_RANGE(rotary_dim, 2, call->row->head_dim, "2 to the head dim");
    ANTKV_I_NEED(p->rotary_dim % 2 == 0, ANTKV_ERROR_VALUE, "rotary_dim is %d; it is even", p->rotary_dim);
    ANTKV_I_RANGE(rope_interleaved, 0, 1, "0 or 1");
    ANTKV_I_NEED(antkv_i_is_positive(p->attention_factor), ANTKV_ERROR_VALUE, "attention_factor is %g; it is 1 for RoPE without YaRN", (double)p->attention_factor);
  }
  return ANTKV_OK;
}

#define ANTKV_I_HEADS() \
  ANTKV_I_NEED(p->kv_heads > 0 && p->q_heads >= p->kv_heads && p->q_heads % p->kv_heads == 0 && p->q_heads / p->kv_heads <= ANTKV_MAX_RATIO, ANTKV_ERROR_VALUE, \
               "q_heads %d is not 1 to 16 times kv_heads %d", p->q_heads, p->kv_heads)

#define ANTKV_I_SOFTCAP() \
  if (call->row->needs & ANTKV_NEEDS_SOFTCAP) ANTKV_I_NEED(antkv_i_is_positive(p->softcap), ANTKV_ERROR_VALUE, "softcap is %g; it is finite, and scores become softcap * tanh(score / softcap)", (double)p->softcap); \
  else ANTKV_I_NEED(p->softcap == 0, ANTKV_ERROR_VALUE, "softcap is %g, but %s has none: leave it 0", (double)p->softcap, call->row->contract)

static inline int antkv_i_check_decode(const antkv_i_call* call, const antkv_decode_params* p) {
  const antkv_i_cache cache = ANTKV_I_CACHE(p);
  const int status = antkv_i_check_cache(call, &cache, call->row->needs & ANTKV_NEEDS_ROPE);
  if (status) return status;
  ANTKV_I_HEADS();
  ANTKV_I_RANGE(max_q_len, 1, ANTKV_MAX_Q_LEN, "1 to 16; longer queries go through unpack");
  ANTKV_I_RANGE(rows, 1, (int64_t)p->batch * p->max_q_len, "1 to batch * max_q_len");
  ANTKV_I_NEED(p->cu_q || p->rows == p->batch, ANTKV_ERROR_NULL, "cu_q is null, so each sequence has one row, but rows is %d and batch %d", p->rows, p->batch);
  ANTKV_I_RANGE(segments, 0, 7, "0 to 7: coded pages 1 + anchors 2 + ring 4");
  ANTKV_I_RANGE(splits, 1, ANTKV_MAX_GRID, "use antkv_kernel.splits; they are 1 to " ANTKV_I_TEXT(ANTKV_MAX_GRID));
  ANTKV_I_RANGE(spread, 0, 1, "0 or 1");
  ANTKV_I_NEED(p->out || (p->splits > 1 && !p->counters), ANTKV_ERROR_NULL, "out is null; with one split, or with counters, decode writes it");
  ANTKV_I_NEED(p->splits == 1 || (p->partial_o && p->partial_lse), ANTKV_ERROR_NULL, "splits is %d but partial_o or partial_lse is null; antkv_workspace says their bytes", p->splits);
  ANTKV_I_NEED(!(p->segments & 4) || (p->ring_k && p->ring_v), ANTKV_ERROR_NULL, "segments is %d but ring_k or ring_v is null; without a ring clear bit 2", p->segments);
  ANTKV_I_NEED(p->ring_rows > 0 || !(p->segments & 4 || p->ring_scores), ANTKV_ERROR_VALUE, "ring_rows is %d; it is window + flush block + 16", p->ring_rows);
  ANTKV_I_ROWS(q, p->rows, p->q_heads);
  if (p->out) ANTKV_I_ROWS(out, p->rows, p->q_heads);
  if (p->segments & 4) ANTKV_I_RING();
  ANTKV_I_NEED(antkv_i_is_positive(p->scale), ANTKV_ERROR_VALUE, "scale is %g; it is finite and above 0, usually 1 / sqrt(head dim)", (double)p->scale);
  ANTKV_I_SOFTCAP();
  ANTKV_I_NEED(!p->sink_logits || call->row->needs & ANTKV_NEEDS_SINKS, ANTKV_ERROR_VALUE, "sink_logits is given, but %s has none: leave it null", call->row->contract);
  return ANTKV_OK;
}

static inline int antkv_i_check_encode(const antkv_i_call* call, const antkv_encode_params* p) {
  const antkv_i_cache cache = ANTKV_I_CACHE(p);
  const int status = antkv_i_check_cache(call, &cache, call->row->needs & ANTKV_NEEDS_ROPE || p->keys_unrotated);
  if (status) return status;
  ANTKV_I_RANGE(max_tokens, 1, ANTKV_MAX_TOKENS, "it is the host bound on input rows per sequence, 1 to 2^30");
  ANTKV_I_ROWS(k, ANTKV_I_SEVERAL(p->max_tokens), p->kv_heads);
  ANTKV_I_ROWS(v, ANTKV_I_SEVERAL(p->max_tokens), p->kv_heads);
  ANTKV_I_RANGE(keys_unrotated, 0, 1, "0 or 1");
  ANTKV_I_NEED(p->inv_freq || !p->keys_unrotated, ANTKV_ERROR_NULL, "keys_unrotated is 1 but inv_freq is null");
  ANTKV_I_RANGE(max_anchors, p->keep_indices ? 1 : 0, INT32_MAX, "it is the row stride of keep_indices");
  ANTKV_I_NEED(!p->keep_indices || p->anchor_table, ANTKV_ERROR_NULL, "keep_indices is given but anchor_table is null; the kept rows need anchor pages");
  ANTKV_I_NEED(!p->keep_indices || p->max_anchors <= ANTKV_ANCHOR_ROWS * (int64_t)p->max_anchor_pages, ANTKV_ERROR_VALUE, "max_anchors is %d; %d anchor pages hold %lld", p->max_anchors,
               p->max_anchor_pages, (long long)ANTKV_ANCHOR_ROWS * p->max_anchor_pages);
  ANTKV_I_NEED(!p->anchor_score == !p->keep_scores, ANTKV_ERROR_NULL, "of anchor_score and keep_scores one is null; give both, or none");
  ANTKV_I_NEED(!p->anchor_score || p->keep_indices, ANTKV_ERROR_NULL, "anchor_score is given but keep_indices is null; it names the rows that have scores");
  ANTKV_I_NEED(!p->score_rows || p->keep_scores, ANTKV_ERROR_NULL, "score_rows is given but keep_scores is null");
  ANTKV_I_RANGE(score_stride, p->keep_scores ? 1 : 0, INT32_MAX, "it is the row stride of keep_scores");
  ANTKV_I_RANGE(keep_words, p->keep_bitmap ? 1 : 0, INT32_MAX, "it is the row stride of keep_bitmap");
  ANTKV_I_NEED(!p->keep_bitmap || p->keep_words * (int64_t)32 >= p->max_tokens, ANTKV_ERROR_VALUE, "keep_words is %d; its bits do not reach max_tokens, %d", p->keep_words, p->max_tokens);
  return ANTKV_OK;
}

static inline int antkv_i_check_append(const antkv_i_call* call, const antkv_append_params* p) {
  const antkv_i_cache cache = ANTKV_I_CACHE(p);
  const int status = antkv_i_check_cache(call, &cache, call->row->needs & ANTKV_NEEDS_ROPE);
  if (status) return status;
  ANTKV_I_HEADS();
  ANTKV_I_ROWS(k, p->cu_q ? 0 : p->batch, p->kv_heads);
  ANTKV_I_ROWS(v, p->cu_q ? 0 : p->batch, p->kv_heads);
  if (!call->row->coded) {
    ANTKV_I_NEED(!p->ring_k && !p->ring_v && !p->ring_score && !p->ring_count && !p->anchor_table, ANTKV_ERROR_VALUE, "ring_k, ring_v, ring_score, ring_count or anchor_table is given, but exact recipes have no ring and no anchors: leave them null");
    return ANTKV_OK;
  }
  ANTKV_I_NEED(p->ring_k && p->ring_v, ANTKV_ERROR_NULL, "ring_k or ring_v is null; coded recipes keep their newest tokens there");
  ANTKV_I_RANGE(window, 0, 1 << 24, "it is the newest tokens that stay exact");
  ANTKV_I_RANGE(flush_block, 1, 1 << 24, "it is a multiple of page_size");
  ANTKV_I_NEED(p->flush_block % p->page_size == 0, ANTKV_ERROR_VALUE, "flush_block is %d; it is a multiple of page_size, %d", p->flush_block, p->page_size);
  ANTKV_I_RANGE(ring_rows, p->window + p->flush_block + ANTKV_DRAFT_ROWS, INT32_MAX, "it is at least window + flush_block + " ANTKV_I_TEXT(ANTKV_DRAFT_ROWS));
  ANTKV_I_RING();
  ANTKV_I_RANGE(budget_permille, 0, 1000, "0 to 1000");
  ANTKV_I_RANGE(first_tokens, 0, INT32_MAX, "0 or more");
  ANTKV_I_RANGE(budget_tokens, 0, INT32_MAX, "tokens, or 0 for budget_permille");
  ANTKV_I_RANGE(extra_tokens, 0, INT32_MAX, "0 or more");
  ANTKV_I_RANGE(policy, 0, 3, "0 column, 1 smallest key, 2 largest key, 3 none");
  ANTKV_I_NEED(!p->ring_score == !p->ring_count, ANTKV_ERROR_NULL, "one of ring_score and ring_count is null; give both, or none");
  ANTKV_I_NEED(!p->anchor_table || (p->ring_score && p->anchor_score), ANTKV_ERROR_NULL, "anchor_table is given but ring_score or anchor_score is null; candidates are ranked by them");
  ANTKV_I_NEED(!p->ring_scores || p->ring_score, ANTKV_ERROR_NULL, "ring_scores is given but ring_score is null; that is where they are added");
  return ANTKV_OK;
}

static inline int antkv_i_check_unpack(const antkv_i_call* call, const antkv_unpack_params* p) {
  const antkv_i_cache cache = ANTKV_I_CACHE(p);
  const int status = antkv_i_check_cache(call, &cache, call->row->needs & ANTKV_NEEDS_ROPE);
  if (status) return status;
  ANTKV_I_RANGE(max_tokens, 1, ANTKV_MAX_TOKENS, "it is the host bound on tokens per sequence, 1 to 2^30");
  ANTKV_I_ROWS(k, ANTKV_I_SEVERAL(p->max_tokens), p->kv_heads);
  ANTKV_I_ROWS(v, ANTKV_I_SEVERAL(p->max_tokens), p->kv_heads);
  return ANTKV_OK;
}

static inline int antkv_i_check_combine(const antkv_i_call* call, const antkv_combine_params* p) {
  ANTKV_I_RANGE(rows, 1, INT32_MAX, "at least 1");
  ANTKV_I_RANGE(q_heads, 1, INT32_MAX, "at least 1");
  ANTKV_I_RANGE(splits, 1, ANTKV_MAX_GRID, "the same as decode's, 1 to " ANTKV_I_TEXT(ANTKV_MAX_GRID));
  ANTKV_I_NEED(!p->partial_o || (p->partial_lse && p->out), ANTKV_ERROR_NULL, "partial_o is given but partial_lse or out is null");
  ANTKV_I_NEED(p->partial_o || (p->lse && p->ring_scores), ANTKV_ERROR_NULL, "partial_o is null: there is nothing to merge; only ring_scores with lse would do without");
  ANTKV_I_RANGE(ring_rows, p->ring_scores ? 1 : 0, INT32_MAX, "it is the row stride of ring_scores");
  if (p->partial_o) ANTKV_I_ROWS(out, p->rows, p->q_heads);
  return ANTKV_OK;
}

/* A sample of `count` of the rows 0 ... older - 1, ascending, for sampled_rows of score; every set of as many rows is as likely, by `seed`. Fills `rows` and returns
   how many: all of them if there are fewer. Row r is taken, as Knuth's algorithm S does, if its draw of 24 bits, a hash of seed and r, falls below
   (rows still wanted) / (rows still there). generator/sample.ts is its twin. `older` is below 2^28. */
static inline uint32_t antkv_i_hash(uint32_t x) { /* Wellons, lowbias32 */
  x = (x ^ x >> 16) * 0x7feb352du;
  x = (x ^ x >> 15) * 0x846ca68bu;
  return x ^ x >> 16;
}
static inline int32_t antkv_sample_rows(uint32_t seed, int32_t older, int32_t count, int32_t* rows) {
  const uint32_t key = antkv_i_hash(seed);
  int32_t taken = 0, row;
  for (row = 0; row < older && taken < count; row++) {
    const uint64_t draw = antkv_i_hash(key + (uint32_t)row) >> 8;
    if (draw * (uint64_t)(older - row) < (uint64_t)(count - taken) << 24) rows[taken++] = row;
  }
  return taken;
}

static inline int antkv_i_check_score(const antkv_i_call* call, const antkv_score_params* p) {
  ANTKV_I_HEADS();
  ANTKV_I_RANGE(max_tokens, 1, ANTKV_MAX_TOKENS, "it is the host bound on keys per sequence, 1 to 2^30");
  ANTKV_I_RANGE(score_stride, p->max_tokens, INT32_MAX, "it is at least max_tokens");
  ANTKV_I_RANGE(accumulate, 0, 1, "0 or 1");
  ANTKV_I_NEED(!p->cu_sampled || p->sampled_rows, ANTKV_ERROR_NULL, "cu_sampled is given but sampled_rows is null; give both, or none");
  ANTKV_I_RANGE(newest_rows, 0, p->cu_sampled ? INT32_MAX : 0, p->cu_sampled ? "0 or more" : "without cu_sampled all rows count: leave it 0");
  ANTKV_I_ROWS(k, ANTKV_I_SEVERAL(p->max_tokens), p->kv_heads);
  if (call->row->needs & ANTKV_NEEDS_ROWS) ANTKV_I_ROWS(q, 0, p->q_heads);
  if (call->row->needs & ANTKV_NEEDS_EXACT) ANTKV_I_ROWS(v, ANTKV_I_SEVERAL(p->max_tokens), p->kv_heads);
  if (call->row->needs & ANTKV_NEEDS_EXACT) ANTKV_I_ROWS(o, 0, p->q_heads);
  ANTKV_I_NEED(antkv_i_is_positive(p->scale) || (antkv_i_is_positive(-p->scale) && !(call->row->needs & ANTKV_NEEDS_ROWS)), ANTKV_ERROR_VALUE, "scale is %g; it is finite, usually 1 / sqrt(head dim), of form \"norm\" 1, or -1 for the smallest keys",
               (double)p->scale);
  ANTKV_I_SOFTCAP();
  return ANTKV_OK;
}

static inline int antkv_i_check_select(const antkv_i_call* call, const antkv_select_params* p) {
  ANTKV_I_RANGE(keep_words, 1, INT32_MAX, "it is the row stride of keep_bitmap, a word for 32 tokens");
  ANTKV_I_RANGE(max_anchors, 0, INT32_MAX, "it is the row stride of keep_indices");
  ANTKV_I_RANGE(score_stride, 1, INT32_MAX, "it is the row stride of scores");
  ANTKV_I_RANGE(budget_tokens, -1, INT32_MAX, "tokens, or -1 for budget_permille");
  ANTKV_I_RANGE(budget_permille, 0, 1000, "0 to 1000");
  ANTKV_I_RANGE(first_tokens, 0, INT32_MAX, "0 or more");
  return ANTKV_OK;
}

static inline int antkv_i_check_kmeans(const antkv_i_call* call, const antkv_kmeans_params* p) {
  ANTKV_I_RANGE(tokens, 1, 1 << 30, "1 to 2^30 rows of a head");
  ANTKV_I_RANGE(step, 0, 2, "0 starts, 1 iterates, 2 measures");
  ANTKV_I_RANGE(max_steps, 1, 1 << 20, "it bounds the steps 1, and is one less than the row stride of loss");
  ANTKV_I_STRIDES(2 * (int64_t)p->chunks * call->row->head_dim, ANTKV_I_AXIS(x_head_stride, p->heads), ANTKV_I_AXIS(x_row_stride, p->tokens));
  ANTKV_I_NEED(p->tolerance >= 0, ANTKV_ERROR_VALUE, "tolerance is %g; 0 or more, a part of the loss", (double)p->tolerance);
  ANTKV_I_NEED(p->value_scale > 0 && p->weight_scale > 0 && p->loss_scale > 0, ANTKV_ERROR_VALUE, "value_scale %g, weight_scale %g, loss_scale %g: each is a power of two (antkv.h)",
               (double)p->value_scale, (double)p->weight_scale, (double)p->loss_scale);
  return ANTKV_OK;
}

/* Every pointer and stride of the struct, by the rows of antkv_kernels.h. */
static inline int antkv_i_check_fields(const antkv_i_call* call, const void* params) {
  size_t i;
  for (i = 0; i < sizeof antkv_field_rows / sizeof *antkv_field_rows; i++) {
    const antkv_field_row* field = &antkv_field_rows[i];
    int64_t value;
    if (field->op != call->row->op) continue;
    memcpy(&value, (const char*)params + field->offset, sizeof value);
    ANTKV_I_NEED(value || !(field->need & call->row->needs), ANTKV_ERROR_NULL, "%s is null; antkv.h says what it points to", field->name);
    ANTKV_I_NEED(value % 16 == 0 || !field->pointer, ANTKV_ERROR_ALIGNMENT, "%s is 0x%llx; start the array at a multiple of 16 bytes", field->name, (unsigned long long)value);
    ANTKV_I_NEED(value % 16 == 0, ANTKV_ERROR_ALIGNMENT, "%s is %lld bytes; pad to a multiple of 16", field->name, (long long)value);
  }
  return ANTKV_OK;
}

static inline int64_t antkv_i_ceil(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* Checks `params`, the struct of the kernel's op, and computes the grid of its launch. Returns ANTKV_OK, or a status with one line of text in
   why[0 ... why_bytes - 1] (at least 64 bytes). It cannot see what device memory holds: lengths, page numbers and anchor lists are the caller's. */
static inline int antkv_check(const antkv_kernel_row* row, const void* params, uint32_t grid[3], char* why, size_t why_bytes) {
  const antkv_i_call checked = {row, why, why_bytes};
  const antkv_i_call* call = &checked;
  const uint32_t* head = (const uint32_t*)params;
  int64_t g[3] = {0, 0, 0};
  int status, i;
  ANTKV_I_NEED(params, ANTKV_ERROR_NULL, "params is null");
  ANTKV_I_NEED(head[0] == (uint32_t)row->params_bytes, ANTKV_ERROR_STRUCT, "struct_size is %u, antkv_%s_params has %d bytes; set it with ANTKV_INIT, and pass the struct of the kernel's op",
               head[0], antkv_op_names[row->op], row->params_bytes);
  ANTKV_I_NEED(head[1] == ANTKV_ABI_VERSION, ANTKV_ERROR_VERSION, "abi_version is %u, the kernels are of %d; compile with the antkv.h of their folder, and set it with ANTKV_INIT",
               head[1], ANTKV_ABI_VERSION);
  status = antkv_i_check_fields(call, params);
  if (status) return status;
#define ANTKV_I_OP(OP, op, x, y, z) \
  case ANTKV_OP_##OP: { \
    const antkv_##op##_params* p = (const antkv_##op##_params*)params; \
    status = antkv_i_check_##op(call, p); \
    if (status) return status; \
    g[0] = (x), g[1] = (y), g[2] = (z); \
    break; \
  }
  switch (row->op) { /* generator/launch.ts, and the comments of antkv.h */
    ANTKV_I_OP(ENCODE, encode, antkv_i_ceil(p->max_tokens, row->tokens) + p->max_anchor_pages, p->kv_heads, p->batch)
    ANTKV_I_OP(APPEND, append, p->kv_heads, p->batch, 1)
    ANTKV_I_OP(DECODE, decode, p->splits, (int64_t)p->kv_heads * antkv_i_ceil((int64_t)p->max_q_len * (p->q_heads / p->kv_heads), row->columns), p->spread ? 1 : p->batch)
    ANTKV_I_OP(COMBINE, combine, p->rows, antkv_i_ceil(p->q_heads, row->threads / 32), 1)
    ANTKV_I_OP(SCORE, score, antkv_i_ceil(p->max_tokens, row->tokens), p->kv_heads, p->batch)
    ANTKV_I_OP(SELECT, select, p->kv_heads, p->batch, 1)
    ANTKV_I_OP(UNPACK, unpack, antkv_i_ceil(p->max_tokens, row->tokens) + p->max_anchor_pages, p->kv_heads, p->batch)
    ANTKV_I_OP(KMEANS, kmeans, p->splits, p->chunks, p->heads)
  }
  for (i = 0; i < 3; i++) {
    ANTKV_I_NEED(g[i] >= 1 && g[i] <= (i ? ANTKV_MAX_GRID : INT32_MAX), ANTKV_ERROR_VALUE, "grid.%c would be %lld, not 1 to %d; antkv.h says which fields it comes from", "xyz"[i], (long long)g[i],
                 i ? ANTKV_MAX_GRID : INT32_MAX);
    grid[i] = (uint32_t)g[i];
  }
  return ANTKV_OK;
}

#undef ANTKV_I_OP
#ifdef __cplusplus
}
#endif
#endif
