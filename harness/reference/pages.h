// Coded pages, codebooks and anchor pages as values: where a token lies and what it says.
#pragma once
#include <algorithm>
#include <initializer_list>
#include <vector>

#include "antkv_format.h"
#include "numeric.h"

namespace reference {

/// Coded pages and their index, out of any parameter struct that has them.
struct Pages {
  const uint8_t* base;
  const int32_t *block_table, *indptr, *indices;
  int64_t page_stride, head_stride;
  int page_size, max_pages;

  /// The page that holds token `token` of sequence `b`.
  int page_of(int b, int token) const {
    const int at = token / page_size;
    return block_table ? block_table[int64_t(b) * max_pages + at] : indices[indptr[b] + at];
  }
  /// The block of that page and KV head.
  const uint8_t* block(int b, int head, int token) const {
    return base + page_of(b, token) * page_stride + head * head_stride;
  }
};

template <class Params>
Pages pages_of(const Params& p) {
  return {static_cast<const uint8_t*>(p.pages), p.block_table, p.page_indptr, p.page_indices, p.page_stride, p.page_head_stride, p.page_size, p.max_pages};
}

/// True if token `token`'s bit is set in its page's bitmap. Formats with two exact sides have none.
inline bool anchor_bit(const antkv_format& f, const uint8_t* block, int slot, int page_size) {
  if (f.k.exact && f.v.exact) return false;
  uint32_t word;
  std::memcpy(&word, block + antkv_bitmap_offset(f, page_size) + slot / 32 * 4, 4);
  return word >> slot % 32 & 1;
}

/// The centroids of one side, all KV heads, as doubles: [kv_heads][chunks][entries][channels].
struct Codebooks {
  antkv_codec codec;
  int head_dim;
  std::vector<double> values;

  Codebooks(antkv_codec codec, int head_dim, int kv_heads, const void* packed) : codec(codec), head_dim(head_dim) {
    if (codec.exact) return;
    const antkv_codebook layout = antkv_codebook_layout(codec, head_dim);
    const int64_t count = int64_t(head_dim) * antkv_entries(codec);
    values.resize(kv_heads * count);
    for (int head = 0; head < kv_heads; head++) {
      const uint8_t* blob = static_cast<const uint8_t*>(packed) + head * layout.bytes;
      const auto* scale = reinterpret_cast<const float*>(blob + layout.scale);
      for (int64_t i = 0; i < count; i++) values[head * count + i] = antkv_centroid(codec, blob, scale, i);
    }
  }
  int chunks() const { return antkv_chunks(codec, head_dim); }
  int entries() const { return antkv_entries(codec); }
  /// [channels]
  const double* centroid(int head, int chunk, uint32_t entry) const {
    return &values[((int64_t(head) * chunks() + chunk) * entries() + entry) * codec.channels];
  }
};

/// The entry nearest to each chunk of x, ties to the lower entry.
inline std::vector<uint32_t> nearest(const Codebooks& book, int head, const std::vector<double>& x) {
  std::vector<uint32_t> codes(book.chunks());
  for (int chunk = 0; chunk < book.chunks(); chunk++) {
    double least = INFINITY;
    for (int entry = 0; entry < book.entries(); entry++) {
      const double* c = book.centroid(head, chunk, entry);
      double distance = 0;
      for (int i = 0; i < book.codec.channels; i++) {
        const double difference = x[chunk * book.codec.channels + i] - c[i];
        distance += difference * difference;
      }
      if (distance < least) {
        least = distance;
        codes[chunk] = entry;
      }
    }
  }
  return codes;
}

/// One side of token `i` (0 ... 15) of the unit at `unit` as a head vector: looked up, or exact elements; no gain.
inline void stored_row(const antkv_format& f, Element e, int side, const Codebooks& book, const uint8_t* unit, int i, int head, double* out) {
  const int channels = book.codec.channels;
  if (book.codec.exact) return read_elements(e, unit + antkv_side_offset(f, side) + i * antkv_row_bytes(book.codec, f.head_dim), f.head_dim, out);
  for (int chunk = 0; chunk < book.chunks(); chunk++) {
    const double* c = book.centroid(head, chunk, antkv_read_code(f, side, unit, i, chunk));
    std::copy(c, c + channels, out + chunk * channels);
  }
}

/// The gain of token `i` of the unit at `unit`, 1 if that side of the format has none.
inline double stored_gain(const antkv_format& f, int side, const uint8_t* unit, int i) {
  double gain = 1;
  if (side == ANTKV_KEYS ? f.k_gain : f.v_gain) read_halves(unit + antkv_gain_offset(f, side, i), 1, &gain);
  return gain;
}

/// K and V of token slot `slot` of a page block, gains applied, K not rotated.
inline void coded_token(const antkv_format& f, Element e, const Codebooks& kb, const Codebooks& vb, const uint8_t* block, int head, int slot, double* k, double* v) {
  const uint8_t* unit = block + slot / ANTKV_UNIT_TOKENS * antkv_unit_layout(f).bytes;
  const int i = slot % ANTKV_UNIT_TOKENS;
  for (const int side : {ANTKV_KEYS, ANTKV_VALUES}) {
    double* row = side == ANTKV_KEYS ? k : v;
    stored_row(f, e, side, side == ANTKV_KEYS ? kb : vb, unit, i, head, row);
    const double gain = stored_gain(f, side, unit, i);
    for (int c = 0; c < f.head_dim; c++) row[c] *= gain;
  }
}

/// One used row of an anchor page.
struct Anchor {
  int token;
  const uint8_t *k, *v;  // halves
};

/// The anchor rows of sequence `b` and KV head `head` that hold a token below `end`: empty rows, and inherited rows at or beyond frozen_len, are left out.
template <class Params>
std::vector<Anchor> anchors_of(const Params& p, int head_dim, int b, int head, int end) {
  std::vector<Anchor> found;
  if (!p.anchor_table) return found;
  const int slot = value_or(p.state_slot, b, b);
  const int frozen_len = value_or(p.frozen_len, b, 0), frozen_pages = value_or(p.frozen_anchor_pages, b, 0);
  for (int i = 0; i < p.max_anchor_pages; i++) {
    const int page = p.anchor_table[int64_t(slot) * p.max_anchor_pages + i];
    if (page < 0) break;
    const uint8_t* block = static_cast<const uint8_t*>(p.anchors) + page * p.anchor_page_stride + head * p.anchor_head_stride;
    for (int row = 0; row < ANTKV_ANCHOR_ROWS; row++) {
      int32_t token;
      std::memcpy(&token, block + antkv_anchor_index_offset(head_dim) + 4 * row, 4);
      if (token < 0 || token >= end || (i < frozen_pages && token >= frozen_len)) continue;
      found.push_back({token, block + row * 2 * head_dim, block + antkv_anchor_v_offset(head_dim) + row * 2 * head_dim});
    }
  }
  return found;
}

}  // namespace reference
