// K/V rows to whole coded pages: nearest centroid per chunk, gains, bitmap; kept rows to anchor pages.
// grid (token tiles, then anchor pages; kv_heads; batch). A token tile is a CTA, and inside it a thread finds one code at a time:
// consecutive threads hold consecutive tokens of the same chunk, so a warp reads each centroid once.

/// Shared memory of a token tile: one side at a time.
template <class K>
struct encode_memory {
  static constexpr int kStride = K::kHeadDim + 1;  // consecutive tokens in consecutive banks
  static constexpr int kMaxChunks = K::kMaxChunks;
  float rows[K::kTokens * kStride];
  float norm[K::kTokens * kMaxChunks];      // |x|^2 of each chunk
  float estimate[K::kTokens * kMaxChunks];  // |c|^2 of the centroid chosen for it
  alignas(16) unsigned char codes[K::kTokens * K::kMaxRowBytes];  // units as their pages have them
};

/// Rotates one row of fp32 channels in place, forwards (+1) or backwards (-1), by the threads of one warp.
template <class P>
__device__ __forceinline__ void rotate_row(const P& p, float* row, int position, float direction) {
  const float factor = direction > 0 ? p.attention_factor : 1.0f / p.attention_factor;
  for (int i = lane_index(); i < p.rotary_dim / 2; i += 32) {
    const rope_pair pair = rope_channels(p, i);
    float sine, cosine;
    rope_angle(position, load_global(p.inv_freq + i), sine, cosine);
    sine *= direction;
    const float x = load_shared(row + pair.first), y = load_shared(row + pair.second);
    store_shared(row + pair.first, (x * cosine - y * sine) * factor);
    store_shared(row + pair.second, (x * sine + y * cosine) * factor);
  }
}

/// Loads `count` rows of the tile as fp32, zeros behind them, one row per warp and turn.
template <class K>
__device__ __forceinline__ void load_tile(float* rows, const unsigned char* from, int64_t row_stride, int count) {
  for (int row = warp_index(); row < K::kTokens; row += K::kWarps)
    for (int channel = lane_index() * 2; channel < K::kHeadDim; channel += 64) {
      uint32_t two = 0;
      if (row < count) two = load_global(reinterpret_cast<const uint32_t*>(from + row * row_stride + channel * 2));
      store_shared(rows + row * encode_memory<K>::kStride + channel, to_float(f16{uint16_t(two)}));
      store_shared(rows + row * encode_memory<K>::kStride + channel + 1, to_float(f16{uint16_t(two >> 16)}));
    }
}

/// Finds the nearest centroid of every chunk of the tile: the largest x.c - |c|^2/2, the lower entry on a tie.
template <class K, class C>
__device__ __forceinline__ void find_codes(encode_memory<K>& mem, const unsigned char* codebook, int count) {
  constexpr int kChunks = K::kHeadDim / C::kChannels;
  const float* half_norms = reinterpret_cast<const float*>(codebook + C::kHalfNormOffset);
  for (int task = thread_index(); task < K::kTokens * kChunks; task += K::kWarps * 32) {
    const int token = task % K::kTokens, chunk = task / K::kTokens;
    float x[C::kChannels], scaled[C::kChannels];
    float norm = 0;
#pragma unroll
    for (int i = 0; i < C::kChannels; ++i) {
      x[i] = load_shared(mem.rows + token * encode_memory<K>::kStride + chunk * C::kChannels + i);
      norm += x[i] * x[i];
      scaled[i] = x[i];
      if constexpr (C::kQ8) scaled[i] *= load_global(reinterpret_cast<const float*>(codebook + C::kScaleOffset) + chunk * C::kChannels + i);
    }
    float best = minus_infinity();
    int code = 0;
    for (int entry = 0; entry < C::kEntries; ++entry) {
      uint32_t words[entry_bytes<C>::kWords];
      load_entry<C>(words, codebook + (int64_t(chunk) * C::kEntries + entry) * entry_bytes<C>::kAll);
      float closeness = -load_global(half_norms + chunk * C::kEntries + entry);
#pragma unroll
      for (int i = 0; i < C::kChannels; ++i) closeness += scaled[i] * entry_channel<C>(words, i);
      if (closeness > best) best = closeness, code = entry;
    }
    if (token >= count) code = 0;
    store_shared(mem.codes + token / 16 * 16 * C::kRowBytes + code_offset<C>(token % 16, chunk), (unsigned char)code);
    store_shared(mem.norm + token * K::kMaxChunks + chunk, norm);
    store_shared(mem.estimate + token * K::kMaxChunks + chunk, 2.0f * load_global(half_norms + chunk * C::kEntries + code));
  }
}

/// The factor that gives the estimate its true norm: |x| / |x^|, 1 where the estimate is 0, 0 where there is no token.
template <class K, int kChunks>
__device__ __forceinline__ float gain_of(const encode_memory<K>& mem, int token, int count) {
  if (token >= count) return 0;
  float norm = 0, estimate = 0;
  for (int chunk = 0; chunk < kChunks; ++chunk) {
    norm += load_shared(mem.norm + token * K::kMaxChunks + chunk);
    estimate += load_shared(mem.estimate + token * K::kMaxChunks + chunk);
  }
  return estimate > 0 ? fminf(square_root(norm / estimate), 65504.0f) : 1.0f;  // finite in f16: inf * 0 is NaN
}

/// Writes one side of the tile's units: codes, or the exact rows.
template <class K, class C, class P>
__device__ __forceinline__ void store_side(const P& p, encode_memory<K>& mem, const unsigned char* codebook, int b, int head, int first, int count,
                                           int side_offset) {
  if constexpr (!C::kExact) {
    find_codes<K, C>(mem, codebook, count);
  }
  block_barrier();
  for (int unit = 0; unit * 16 < count; ++unit) {
    unsigned char* to = page_block(p, b, head, first + unit * 16) + (first + unit * 16) % p.page_size / 16 * K::kUnitBytes + side_offset;
    for (int at = thread_index() * 16; at < 16 * C::kRowBytes; at += K::kWarps * 32 * 16) {
      bytes16 piece;
      if constexpr (C::kExact) {
        const float* from = mem.rows + (unit * 16 + at / C::kRowBytes) * encode_memory<K>::kStride + at % C::kRowBytes / 2;
#pragma unroll
        for (int i = 0; i < 4; ++i) piece.w[i] = pack(to_f16(load_shared(from + 2 * i)), to_f16(load_shared(from + 2 * i + 1)));
      } else {
        piece = load_shared(reinterpret_cast<const bytes16*>(mem.codes + unit * 16 * C::kRowBytes + at));
      }
      store_global(reinterpret_cast<bytes16*>(to + at), piece);
    }
  }
}

/// The anchor bitmap of the page whose first logical token is `first`: all its words, whatever a page held before.
template <class K, class P>
__device__ __forceinline__ void store_bitmap(const P& p, int b, int head, int first, int end) {
  uint32_t* bitmap = reinterpret_cast<uint32_t*>(page_block(p, b, head, first) + p.page_size / 16 * K::kUnitBytes);
  const uint32_t* keep = p.keep_bitmap ? p.keep_bitmap + (int64_t(b) * p.kv_heads + head) * p.keep_words : nullptr;
  for (int word = thread_index(); word * 32 < p.page_size; word += K::kWarps * 32) {
    uint32_t bits = 0;
    for (int half = 0; half < 2 && keep; ++half) {
      // By halves: a page of 16 tokens may begin in the middle of a word of keep_bitmap.
      const int token = first + word * 32 + half * 16;
      if (word * 32 + half * 16 >= p.page_size || token >= end) break;
      uint32_t sixteen = load_global(keep + token / 32) >> token % 32 & 0xffff;
      if (end - token < 16) sixteen &= (1u << (end - token)) - 1;
      bits |= sixteen << (16 * half);
    }
    store_global(bitmap + word, bits);
  }
}

/// Anchor page number `entry` of the sequence: the rows of its 16 kept tokens, exact.
template <class K, class P>
__device__ __forceinline__ void store_anchors(const P& p, int b, int head, int entry, int first_row, int first, int count) {
  if (!p.keep_indices || !p.anchor_table) return;
  const int32_t* list = anchor_pages(p, b);
  if (entry >= count_anchor_pages(list, p.max_anchor_pages)) return;  // what follows the list's -1 is no one's
  const int number = load_global(list + entry);
  unsigned char* page = anchor_block(p, number, head);
  float* row_memory = reinterpret_cast<encode_memory<K>*>(shared_memory())->rows;
  for (int row = warp_index(); row < 16; row += K::kWarps) {
    const int at = entry * 16 + row;
    const int token = at < p.max_anchors ? load_global(p.keep_indices + (int64_t(b) * p.kv_heads + head) * p.max_anchors + at) : -1;
    if (token >= 0 && (token < first || token >= first + count)) continue;  // stored by an earlier chunk of the prompt
    if (lane_index() == 0) store_global(reinterpret_cast<int32_t*>(page + 16 * K::kHeadDim * 2 * 2) + row, token);
    if (token < 0) continue;
    const int64_t from = first_row + token - first;
    const unsigned char* k = byte_pointer(p.k) + from * p.k_row_stride + head * p.k_head_stride;
    const unsigned char* v = byte_pointer(p.v) + from * p.v_row_stride + head * p.v_head_stride;
    float* memory = row_memory + row * encode_memory<K>::kStride;
    for (int channel = lane_index(); channel < K::kHeadDim; channel += 32) {
      store_shared(memory + channel, to_float(load_global(reinterpret_cast<const f16*>(k) + channel)));
      store_global(reinterpret_cast<f16*>(page) + (16 + row) * K::kHeadDim + channel, load_global(reinterpret_cast<const f16*>(v) + channel));
    }
    warp_barrier();
    if (p.keys_unrotated) rotate_row(p, memory, element_or(p.first_pos, b, 0) + token, 1);
    warp_barrier();
    for (int channel = lane_index(); channel < K::kHeadDim; channel += 32)
      store_global(reinterpret_cast<f16*>(page) + row * K::kHeadDim + channel, to_f16(load_shared(memory + channel)));
    warp_barrier();
  }
}

template <class K, class P>
__device__ __forceinline__ void encode(const P& p) {
  static_assert(sizeof(encode_memory<K>) <= K::kSharedBytes && K::kTokens >= 16, "generator/shared.ts is wrong");
  const index3 block = block_index();
  const int head = block.y, b = block.z;
  const int first_row = load_global(p.cu_tokens + b), count = load_global(p.cu_tokens + b + 1) - first_row;
  const int first = element_or(p.first_token, b, 0);
  const int tiles = (p.max_tokens + K::kTokens - 1) / K::kTokens;
  if (block.x >= tiles) {
    if constexpr (K::kCoded) store_anchors<K>(p, b, head, block.x - tiles, first_row, first, count);
    return;
  }

  const int tile = block.x * K::kTokens;  // of this call's rows
  if (tile >= count) return;
  const int mine = count - tile < K::kTokens ? count - tile : K::kTokens;
  auto& mem = *reinterpret_cast<encode_memory<K>*>(shared_memory());
  const unsigned char* k_codebook = byte_pointer(p.k_codebook) + int64_t(head) * K::Key::kCodebookBytes;
  const unsigned char* v_codebook = byte_pointer(p.v_codebook) + int64_t(head) * K::Value::kCodebookBytes;

  load_tile<K>(mem.rows, byte_pointer(p.k) + int64_t(first_row + tile) * p.k_row_stride + head * p.k_head_stride, p.k_row_stride, mine);
  const bool rotated = !p.keys_unrotated;
  if (rotated == K::kPre) {  // given as the codes do not want them
    block_barrier();
    for (int row = warp_index(); row < mine; row += K::kWarps)
      rotate_row(p, mem.rows + row * encode_memory<K>::kStride, element_or(p.first_pos, b, 0) + first + tile + row, rotated ? -1.0f : 1.0f);
  }
  block_barrier();
  store_side<K, typename K::Key>(p, mem, k_codebook, b, head, first + tile, mine, 0);
  if constexpr (K::kKeyGain) {
    for (int token = thread_index(); token < (mine + 15) / 16 * 16; token += K::kWarps * 32) {
      const int logical = first + tile + token;
      unsigned char* unit = page_block(p, b, head, logical) + logical % p.page_size / 16 * K::kUnitBytes;
      store_global(reinterpret_cast<f16*>(unit + K::kKeyGainOffset) + gain_index(logical % 16), to_f16(gain_of<K, K::kHeadDim / K::Key::kChannels>(mem, token, mine)));
    }
  }
  block_barrier();

  load_tile<K>(mem.rows, byte_pointer(p.v) + int64_t(first_row + tile) * p.v_row_stride + head * p.v_head_stride, p.v_row_stride, mine);
  block_barrier();
  store_side<K, typename K::Value>(p, mem, v_codebook, b, head, first + tile, mine, K::kValueOffset);

  if constexpr (K::kCoded) {
    // A page is marked by the tile that holds its first token.
    for (int token = (first + tile + p.page_size - 1) / p.page_size * p.page_size; token < first + tile + mine; token += p.page_size)
      store_bitmap<K>(p, b, head, token, first + count);
  }
}
