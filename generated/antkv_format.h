// Generated file. Do not edit.
//   template  templates/antkv_format.h
//   remake    npx gen
// Bytes of coded pages, anchor pages, rings and packed codebooks, for whoever allocates, writes or reads them. C11 and C++17, no dependencies.
// The C twin of generator/codec.ts, generator/layout.ts and generator/pack.ts; CACHE.md section "Coded page" says what the parts mean.
#ifndef ANTKV_FORMAT_H
#define ANTKV_FORMAT_H
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The same numbers as in antkv.h: a compiler that sees both headers refuses two definitions that differ. */
#define ANTKV_LAYOUT_VERSION 4 /* of all that follows */
#define ANTKV_UNIT_TOKENS 16 /* every page size is a multiple */
#define ANTKV_ANCHOR_ROWS 16 /* rows of an anchor page */
#define ANTKV_DRAFT_ROWS 16  /* uncommitted rows that a ring holds beyond window + flush block */

#ifdef __cplusplus
extern "C" {
#endif

/* How the channels of one head become bytes: codes of `bits` bits for `channels` channels each, or exact 16-bit rows. */
typedef struct antkv_codec {
  int32_t channels; /* channels of one code; 0 if exact */
  int32_t bits;     /* bits of one code, which means one of 2^bits centroids; 0 if exact */
  int32_t stages;   /* codebooks of a chunk whose entries add up to a centroid; each has an equal share of the bits, the first the lowest; 0 if exact */
  int32_t q8;       /* 1: the codebook is int8 with one fp32 scale per channel; 0: f16 */
  int32_t exact;    /* 1: rows kept as they are */
} antkv_codec;

/* Parts of a page format. The page size is not one of them: one format serves every page size. */
typedef struct antkv_format {
  antkv_codec k, v;
  int32_t head_dim;
  int32_t k_gain, v_gain; /* 1: one fp16 factor per token and KV head */
  int32_t pre;            /* 1: keys are coded before RoPE, and their codes lie in another order */
} antkv_format;

/* A side of the cache. */
enum { ANTKV_KEYS = 0, ANTKV_VALUES = 1 };

/* Byte offsets in one unit of 16 tokens: keys, values, gains (fp16). Equal v_gain and k_gain offsets mean: no K gain. */
typedef struct antkv_unit {
  int64_t k_row, v_row; /* bytes of one token, all its codes or its exact row; the keys start at 0. antkv_code_offset says where codes lie */
  int64_t v, k_gain, v_gain, bytes;
} antkv_unit;

/* Byte offsets in the packed codebook of one side and KV head. */
typedef struct antkv_codebook {
  int64_t scale;     /* [head_dim] fp32, q8 only, else the same as half_norm; the entries, [chunks, stages, entries, channels], start at 0 */
  int64_t half_norm; /* [chunks, 2^bits] fp32, half the squared norm of the centroid that each code means */
  int64_t bytes;
} antkv_codebook;

static inline int64_t antkv_align16(int64_t bytes) { return (bytes + 15) / 16 * 16; }

/* Reads a codec name such as "8c8b", "8c8bq8", "16c6b6b", "f16". Returns 1, or 0 if `name` is not a codec. */
static inline int antkv_parse_codec(const char* name, antkv_codec* out) {
  char* end;
  long bits;
  memset(out, 0, sizeof *out);
  if (strcmp(name, "f16") == 0 || strcmp(name, "bf16") == 0) {
    out->exact = 1;
    return 1;
  }
  if (*name < '1' || *name > '9') return 0;
  out->channels = (int32_t)strtol(name, &end, 10);
  if (*end++ != 'c' || *end < '1' || *end > '9') return 0;
  for (bits = 0; *end >= '1' && *end <= '9'; end++) { /* once for each stage */
    const long stage = strtol(end, &end, 10);
    if (*end != 'b' || stage > 16 || (bits > 0 && stage != bits)) return 0;
    bits = stage;
    out->stages++;
    if (bits * out->stages > 16) return 0;
  }
  out->bits = (int32_t)bits * out->stages;
  out->q8 = strcmp(end, "q8") == 0;
  return (out->q8 || *end == 0) && out->channels <= 256;
}

/* Codes per head vector, 0 if exact. */
static inline int32_t antkv_chunks(antkv_codec c, int32_t head_dim) { return c.exact ? 0 : head_dim / c.channels; }
/* Centroids that the code of one chunk can mean, 0 if exact. */
static inline int32_t antkv_entries(antkv_codec c) { return c.exact ? 0 : 1 << c.bits; }
/* Entries of one stage of a chunk, 0 if exact; and of all that are stored. */
static inline int32_t antkv_stage_entries(antkv_codec c) { return c.exact ? 0 : 1 << c.bits / c.stages; }
static inline int32_t antkv_stored_entries(antkv_codec c) { return c.stages * antkv_stage_entries(c); }
/* Bytes that one token takes of one side of a coded page. */
static inline int64_t antkv_row_bytes(antkv_codec c, int32_t head_dim) {
  return c.exact ? 2 * (int64_t)head_dim : (int64_t)antkv_chunks(c, head_dim) * c.bits / 8;
}

static inline antkv_unit antkv_unit_layout(antkv_format f) {
  antkv_unit u;
  u.k_row = antkv_row_bytes(f.k, f.head_dim);
  u.v_row = antkv_row_bytes(f.v, f.head_dim);
  u.v = u.k_row * ANTKV_UNIT_TOKENS;
  u.k_gain = u.v + u.v_row * ANTKV_UNIT_TOKENS;
  u.v_gain = u.k_gain + (f.k_gain ? 2 * ANTKV_UNIT_TOKENS : 0);
  u.bytes = antkv_align16(u.v_gain + (f.v_gain ? 2 * ANTKV_UNIT_TOKENS : 0));
  return u;
}

/* Offset of the anchor bitmap (uint32 words, token 0 in the lowest bit) in a page of `page_size` tokens: behind the last unit. */
static inline int64_t antkv_bitmap_offset(antkv_format f, int32_t page_size) {
  return page_size / ANTKV_UNIT_TOKENS * antkv_unit_layout(f).bytes;
}
/* Bytes of one coded page of one KV head. Pages of formats with two exact sides have no bitmap. */
static inline int64_t antkv_page_bytes(antkv_format f, int32_t page_size) {
  const int64_t bitmap = f.k.exact && f.v.exact ? 0 : (page_size + 31) / 32 * 4;
  return antkv_align16(antkv_bitmap_offset(f, page_size) + bitmap);
}

/* An anchor page of one KV head: K rows [16, d], V rows [16, d] (16 bit each), token indices [16] int32. */
static inline int64_t antkv_anchor_v_offset(int32_t head_dim) { return (int64_t)ANTKV_ANCHOR_ROWS * head_dim * 2; }
static inline int64_t antkv_anchor_index_offset(int32_t head_dim) { return (int64_t)ANTKV_ANCHOR_ROWS * head_dim * 4; }
static inline int64_t antkv_anchor_page_bytes(int32_t head_dim) {
  return antkv_anchor_index_offset(head_dim) + ANTKV_ANCHOR_ROWS * 4;
}

/* Rows of a sequence's ring, and its bytes, K and V together. */
static inline int32_t antkv_ring_rows(int32_t window, int32_t flush_block) { return window + flush_block + ANTKV_DRAFT_ROWS; }
static inline int64_t antkv_ring_bytes(int32_t head_dim, int32_t kv_heads, int32_t window, int32_t flush_block) {
  return (int64_t)antkv_ring_rows(window, flush_block) * kv_heads * head_dim * 4;
}

static inline antkv_codebook antkv_codebook_layout(antkv_codec c, int32_t head_dim) {
  antkv_codebook l = {0, 0, 0};
  if (c.exact) return l;
  l.scale = (int64_t)head_dim * antkv_stored_entries(c) * (c.q8 ? 1 : 2);
  l.half_norm = l.scale + (c.q8 ? (int64_t)head_dim * 4 : 0);
  l.bytes = l.half_norm + (int64_t)antkv_chunks(c, head_dim) * antkv_entries(c) * 4;
  return l;
}

/* The codec of a side. */
static inline antkv_codec antkv_side_codec(antkv_format f, int side) { return side == ANTKV_KEYS ? f.k : f.v; }
/* Bytes from the start of a unit to that side. */
static inline int64_t antkv_side_offset(antkv_format f, int side) { return side == ANTKV_KEYS ? 0 : antkv_unit_layout(f).v; }

/* 1: the codes of this side lie in the order of a warp's lanes; 0: row by row, packed tightly from the lowest bit on (exact sides too). */
static inline int antkv_by_lane(antkv_format f, int side) {
  const antkv_codec c = antkv_side_codec(f, side);
  const int32_t chunks = antkv_chunks(c, f.head_dim);
  if (c.exact || c.bits != 8 || chunks < 8) return 0;
  if (side != ANTKV_KEYS) return chunks % 8 == 0 || (chunks % 8 == 4 && c.channels == 8);
  return f.pre ? (chunks & (chunks - 1)) == 0 : chunks % 4 == 0;
}

/* The byte of the code of `chunk` of a unit's token `token` (0 ... 15), from the start of the side. antkv_by_lane sides only. CACHE.md, "Order of codes". */
static inline int64_t antkv_code_offset(antkv_format f, int side, int32_t token, int32_t chunk) {
  const antkv_codec c = antkv_side_codec(f, side);
  const int32_t chunks = antkv_chunks(c, f.head_dim), whole = side == ANTKV_KEYS ? chunks : chunks / 8 * 8;
  const int32_t power = whole / 2 & -(whole / 2), piece = power < 16 ? power : 16; /* the largest power of two in a lane's bytes */
  int32_t lane, position; /* position: among the lane's bytes */
  if (side == ANTKV_KEYS) {
    const int32_t row = token % 8;
    int32_t turn, part = chunk / 4 ^ chunks / 4;
    while (part & (part - 1)) part &= part - 1; /* its highest bit: the groups in the chunk's part of them */
    if (f.pre) {
      const int32_t span = c.channels >= 8 ? 2 : c.channels <= 2 ? 8 : 16 / c.channels; /* rows that take turns */
      turn = (row & 1) * (chunks / 8) | (row >> 1 & (span / 2 - 1));
    } else {
      turn = row & 3;
    }
    lane = row * 4 + chunk % 4;
    position = token / 8 * (chunks / 4) + (chunk / 4 ^ (turn & (part - 1)));
  } else {
    const int32_t row_span = c.channels <= 4 ? 8 : 32 / c.channels, span = chunk / row_span;
    if (chunk >= whole) return 16 * whole + (chunk % 4 * 4 + token % 4) * 4 + token / 4;
    lane = (span / (whole / 8) * row_span + chunk % row_span) * 4 + token % 4;
    position = token / 4 * (whole / 8) + span % (whole / 8);
  }
  return (int64_t)(position / piece) * 32 * piece + lane * piece + position % piece;
}

/* The code of `chunk` of token `token` (0 ... 15) of one side of the unit at `unit`. */
static inline uint32_t antkv_read_code(antkv_format f, int side, const uint8_t* unit, int32_t token, int32_t chunk) {
  const antkv_codec c = antkv_side_codec(f, side);
  const uint8_t* from = unit + antkv_side_offset(f, side);
  const int32_t shift = chunk * c.bits & 7;
  uint32_t window = 0; /* the bytes that hold bits of the code: at most 3 */
  int32_t i;
  if (antkv_by_lane(f, side)) return from[antkv_code_offset(f, side, token, chunk)];
  from += token * antkv_row_bytes(c, f.head_dim) + (chunk * c.bits >> 3);
  for (i = 0; i < shift + c.bits; i += 8) window |= (uint32_t)from[i >> 3] << i;
  return window >> shift & ((1u << c.bits) - 1);
}
static inline void antkv_write_code(antkv_format f, int side, uint8_t* unit, int32_t token, int32_t chunk, uint32_t code) {
  const antkv_codec c = antkv_side_codec(f, side);
  uint8_t* to = unit + antkv_side_offset(f, side);
  const int32_t shift = chunk * c.bits & 7;
  const uint32_t mine = ((1u << c.bits) - 1) << shift;
  int32_t i;
  if (antkv_by_lane(f, side)) {
    to[antkv_code_offset(f, side, token, chunk)] = (uint8_t)code;
    return;
  }
  to += token * antkv_row_bytes(c, f.head_dim) + (chunk * c.bits >> 3);
  for (i = 0; i < shift + c.bits; i += 8) to[i >> 3] = (uint8_t)((to[i >> 3] & ~(mine >> i)) | (code << shift & mine) >> i);
}

/* The byte of a unit at which the gain (fp16) of its token `token` lies: tokens n and n + 8 side by side. The format must have that gain. */
static inline int64_t antkv_gain_offset(antkv_format f, int side, int32_t token) {
  const antkv_unit u = antkv_unit_layout(f);
  return (side == ANTKV_KEYS ? u.k_gain : u.v_gain) + 2 * (2 * (token % 8) + token / 8);
}

/* The value of an IEEE half, exact. */
static inline double antkv_half_value(uint16_t h) {
  const int exponent = h >> 10 & 31, fraction = h & 1023;
  double x;
  if (exponent == 31) x = fraction ? NAN : INFINITY;
  else x = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
  return h & 0x8000 ? -x : x;
}

/* Channel number `at` = (chunk * 2^bits + code) * channels + channel of what the codes of one KV head mean: the sum of the stages' halves, itself a half, or
   the sum of their int8 steps * scale in fp32. */
static inline float antkv_centroid(antkv_codec c, const void* entries, const float* scale, int64_t at) {
  const int64_t row = at / c.channels, chunk = row / antkv_entries(c), code = row % antkv_entries(c), channel = at % c.channels;
  const int32_t bits = c.bits / c.stages;
  double sum = 0;
  int32_t stage;
  for (stage = 0; stage < c.stages; stage++) {
    const int64_t entry = (chunk * c.stages + stage) * antkv_stage_entries(c) + (code >> stage * bits & (antkv_stage_entries(c) - 1));
    sum += c.q8 ? ((const int8_t*)entries)[entry * c.channels + channel] : antkv_half_value(((const uint16_t*)entries)[entry * c.channels + channel]);
  }
  return (float)(c.q8 ? sum * (double)scale[chunk * c.channels + channel] : sum);
}

/* Packs the logical codebook of one side for the kernels.
   entries: [kv_heads, chunks, stages, entries, channels] f16 bits (of several stages such that every sum of one entry of each is a half), or int8 for q8 codecs; scale: [kv_heads, head_dim] for q8, else unused (may be null);
   packed: kv_heads * antkv_codebook_layout(codec, head_dim).bytes bytes.
   The half norms are rounded once, from sums in double in channel order, so that every language gets equal bits. */
static inline void antkv_pack_codebook(antkv_codec codec, int32_t head_dim, int32_t kv_heads, const void* entries, const float* scale, void* packed) {
  const antkv_codebook l = antkv_codebook_layout(codec, head_dim);
  const int64_t rows = (int64_t)antkv_chunks(codec, head_dim) * antkv_entries(codec);
  int32_t head, i;
  int64_t row;
  for (head = 0; head < kv_heads; head++) {
    const uint8_t* from = (const uint8_t*)entries + head * l.scale;
    const float* steps = codec.q8 ? scale + (int64_t)head * head_dim : NULL;
    uint8_t* to = (uint8_t*)packed + head * l.bytes;
    memcpy(to, from, (size_t)l.scale);
    if (codec.q8) memcpy(to + l.scale, steps, (size_t)head_dim * 4);
    for (row = 0; row < rows; row++) {
      double sum = 0;
      float half_norm;
      for (i = 0; i < codec.channels; i++) {
        const double x = antkv_centroid(codec, from, steps, row * codec.channels + i);
        sum += x * x; /* exact square of a float: fused into the sum or not, the bits are the same */
      }
      half_norm = (float)(0.5 * sum);
      memcpy(to + l.half_norm + row * 4, &half_norm, 4);
    }
  }
}

#ifdef __cplusplus
}
#endif
#endif
