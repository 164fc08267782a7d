// K/V rows to whole coded pages: nearest centroid per chunk, gains, bitmap; kept rows to anchor pages.
// grid (token tiles, then anchor pages; kv_heads; batch). A token tile is a CTA: it holds one side's rows in fp32 at a time, and each warp searches the codebooks of
// its share of the chunks for all of them (nearest.cuh), so that a CTA reads each codebook once.

/// Shared memory of a token tile: one side at a time.
template <class K>
struct encode_memory {
  static constexpr int kStride = K::kHeadDim + 4;  // of rows, in floats: nearest.cuh reads them without bank conflicts
  static constexpr int kSums = K::kKeyGain ? K::kWarps * K::kTokens : 1;
  alignas(16) float rows[K::kTokens * kStride];
  float norm[kSums];      // [warp][token]: |x|^2 of the chunks of a key that the warp has seen
  float estimate[kSums];  // |c|^2 of the centroids found for them
  alignas(16) unsigned char codes[K::kTokens * K::kCodeBytes];  // of 8 bits: units as their pages have them; else [token][chunk] 16-bit words
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

/// Rotates the tile's rows in place, forwards (+1) or backwards (-1), all threads; row r stands at `position` + r.
template <class K, class P>
__device__ __forceinline__ void rotate_tile(const P& p, float* rows, int position, float direction) {
  constexpr int kRun = 8;  // rows from one exact angle to the next: between them the angle grows by inv_freq, and 7 steps lose less than 2e-6
  const float factor = direction > 0 ? p.attention_factor : 1.0f / p.attention_factor;
  const int warp = warp_index();
  for (int i = lane_index(); i < p.rotary_dim / 2; i += 32) {
    const rope_pair pair = rope_channels(p, i);
    const float inv_freq = load_global(p.inv_freq + i);
    float step_sine, step_cosine;
    rope_angle(1, inv_freq, step_sine, step_cosine);
    step_sine *= direction;
    for (int base = warp * kRun; base < K::kTokens; base += K::kWarps * kRun) {
      float sine, cosine;
      rope_angle(position + base, inv_freq, sine, cosine);
      sine *= direction * factor, cosine *= factor;
#pragma unroll
      for (int r = 0; r < kRun; ++r) {
        float* first = rows + (base + r) * encode_memory<K>::kStride + pair.first;
        float* second = rows + (base + r) * encode_memory<K>::kStride + pair.second;
        const float x = load_shared(first), y = load_shared(second);
        store_shared(first, x * cosine - y * sine);
        store_shared(second, x * sine + y * cosine);
        const float next = cosine * step_cosine - sine * step_sine;
        sine = sine * step_cosine + cosine * step_sine;
        cosine = next;
      }
    }
  }
}

/// Loads `count` rows of the tile as fp32, zeros behind them, all threads; row_at(i) is where row i lies, aligned to 8 bytes.
template <class K, class F>
__device__ __forceinline__ void load_tile(float* rows, int count, const F& row_at) {
  constexpr int kPieces = K::kHeadDim / 4, kLanes = kPieces < 32 ? kPieces : 32, kTogether = 32 / kLanes;  // rows that a warp loads at a time
  const int first = warp_index() * kTogether + lane_index() / kLanes;
  if (lane_index() >= kTogether * kLanes) return;
  for (int channel = lane_index() % kLanes * 4; channel < K::kHeadDim; channel += 128)
#pragma unroll 8  // loads under way together
    for (int row = first; row < K::kTokens; row += K::kWarps * kTogether) {
      bytes8 four = {};
      if (row < count) four = load_global(reinterpret_cast<const bytes8*>(row_at(row) + channel * 2));
      bytes16 wide;
#pragma unroll
      for (int i = 0; i < 4; ++i) wide.w[i] = float_bits(to_float(typename K::Element{uint16_t(four.w[i / 2] >> (16 * (i % 2)))}));
      store_shared(reinterpret_cast<bytes16*>(rows + row * encode_memory<K>::kStride + channel), wide);
    }
}

/// Finds the codes of one side of the tile, and of keys that have a gain the norms that it is made of; all threads.
template <class K, class C>
__device__ __forceinline__ void find_codes(encode_memory<K>& mem, const unsigned char* codebook, int count) {
  constexpr bool kSums = C::kKeys && K::kKeyGain;
  const int sums = warp_index() * K::kTokens;  // this warp's
  if constexpr (kSums) {
    for (int token = lane_index(); token < K::kTokens; token += 32) store_shared(mem.norm + sums + token, 0.0f), store_shared(mem.estimate + sums + token, 0.0f);
    warp_barrier();
  }
  find_nearest<K, C, encode_memory<K>::kStride>(mem.rows, codebook, count, [&](int token, int chunk, const nearest_entry& found) {
    const int code = token < count ? found.code : 0;
    if constexpr (C::kBits == 8) store_shared(mem.codes + token / 16 * 16 * C::kRowBytes + code_offset<C>(token % 16, chunk), (unsigned char)code);
    else store_shared(reinterpret_cast<uint16_t*>(mem.codes) + token * C::kChunks + chunk, uint16_t(code));
    if constexpr (kSums) {  // a token's are always the same lane's
      float* norm = mem.norm + sums + token;
      float* estimate = mem.estimate + sums + token;
      store_shared(norm, load_shared(norm) + found.norm);
      store_shared(estimate, load_shared(estimate) + 2.0f * found.half_norm);
    }
  });
}

/// The factor that gives the estimate its true norm: |x| / |x^|, 1 where the estimate is 0, 0 where there is no token.
template <class K>
__device__ __forceinline__ float gain_of(const encode_memory<K>& mem, int token, int count) {
  if (token >= count) return 0;
  float norm = 0, estimate = 0;
#pragma unroll
  for (int warp = 0; warp < K::kWarps; ++warp) {
    norm += load_shared(mem.norm + warp * K::kTokens + token);
    estimate += load_shared(mem.estimate + warp * K::kTokens + token);
  }
  return estimate > 0 ? fminf(square_root(norm / estimate), 65504.0f) : 1.0f;  // finite in f16: inf * 0 is NaN
}

/// The unit of logical token `token` in its page.
template <class K, class P>
__device__ __forceinline__ unsigned char* unit_of(const P& p, int b, int head, int token) {
  return page_block(p, b, head, token) + token % p.page_size / 16 * K::kUnitBytes;
}

/// Writes the keys' gains of the tile's units, from what the keys' store_side left; all threads.
template <class K, class P>
__device__ __forceinline__ void store_gains(const P& p, const encode_memory<K>& mem, int b, int head, int first, int count) {
  for (int token = thread_index(); token < (count + 15) / 16 * 16; token += K::kWarps * 32) {
    unsigned char* gains = unit_of<K>(p, b, head, first + token) + K::kKeyGainOffset;
    store_global(reinterpret_cast<f16*>(gains) + gain_index(token % 16), to_f16(gain_of<K>(mem, token, count)));
  }
}

/// 16 bytes of a unit's side of codes, from byte `at` on; codes of other than 8 bits are packed here, from the lowest bit on.
template <class K, class C>
__device__ __forceinline__ bytes16 code_piece(const encode_memory<K>& mem, int unit, int at) {
  if constexpr (C::kBits == 8) return load_shared(reinterpret_cast<const bytes16*>(mem.codes + unit * 16 * C::kRowBytes + at));
  bytes16 piece = {};
  if constexpr (C::kBits != 8) {
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const int token = unit * 16 + (at + i) / C::kRowBytes, bit = (at + i) % C::kRowBytes * 8, chunk = bit / C::kBits, shift = bit % C::kBits;
      const uint16_t* codes = reinterpret_cast<const uint16_t*>(mem.codes) + token * C::kChunks;
      uint32_t bits = load_shared(codes + chunk) >> shift;
      if (shift + 8 > C::kBits) bits |= uint32_t(load_shared(codes + chunk + 1)) << (C::kBits - shift);
      piece.w[i / 4] |= (bits & 255) << (i % 4 * 8);
    }
  }
  return piece;
}

/// Writes one side of the tile's units: codes, or the exact rows. The tile is `count` tokens from the sequence's logical token `first` on, a multiple of 16; all threads.
template <class K, class C, class P>
__device__ __forceinline__ void store_side(const P& p, encode_memory<K>& mem, const unsigned char* codebook, int b, int head, int first, int count,
                                           int side_offset) {
  using T = typename K::Element;
  if constexpr (!C::kExact) find_codes<K, C>(mem, codebook, count);
  block_barrier();
  constexpr int kPieces = C::kRowBytes;  // of 16 bytes in a unit
  for (int piece = thread_index(); piece < (count + 15) / 16 * kPieces; piece += K::kWarps * 32) {
    const int unit = piece / kPieces, at = piece % kPieces * 16;
    bytes16 bytes;
    if constexpr (C::kExact) {
      const float* from = mem.rows + (unit * 16 + at / C::kRowBytes) * encode_memory<K>::kStride + at % C::kRowBytes / 2;
#pragma unroll
      for (int i = 0; i < 4; ++i) bytes.w[i] = pack(round_to<T>(load_shared(from + 2 * i)), round_to<T>(load_shared(from + 2 * i + 1)));
    } else {
      bytes = code_piece<K, C>(mem, unit, at);
    }
    store_global(reinterpret_cast<bytes16*>(unit_of<K>(p, b, head, first + unit * 16) + side_offset + at), bytes);
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

/// Puts the score of `token` beside anchor row `at`: the mean over the rows that saw it, as the scores that it will compete with are.
template <class P>
__device__ __forceinline__ void freeze_score(const P& p, int b, int head, int at, int token) {
  float score = load_global(p.keep_scores + (int64_t(b) * p.kv_heads + head) * p.score_stride + token);
  if (p.score_rows) score /= float(load_global(p.score_rows + b) - token);
  store_global(p.anchor_score + (int64_t(element_or(p.state_slot, b, b)) * p.kv_heads + head) * p.max_anchor_pages * 16 + at, score);
}

/// Anchor page number `entry` of the sequence: the rows of its 16 kept tokens, exact.
template <class K, class P>
__device__ __forceinline__ void store_anchors(const P& p, int b, int head, int entry, int first_row, int first, int count) {
  using T = typename K::Element;
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
    if (lane_index() == 0 && p.anchor_score) freeze_score(p, b, head, at, token);
    const int64_t from = first_row + token - first;
    const unsigned char* k = byte_pointer(p.k) + from * p.k_row_stride + head * p.k_head_stride;
    const unsigned char* v = byte_pointer(p.v) + from * p.v_row_stride + head * p.v_head_stride;
    float* memory = row_memory + row * encode_memory<K>::kStride;
    for (int channel = lane_index(); channel < K::kHeadDim; channel += 32) {
      store_shared(memory + channel, to_float(load_global(reinterpret_cast<const T*>(k) + channel)));
      store_global(reinterpret_cast<T*>(page) + (16 + row) * K::kHeadDim + channel, load_global(reinterpret_cast<const T*>(v) + channel));
    }
    warp_barrier();
    if (p.keys_unrotated) rotate_row(p, memory, element_or(p.first_pos, b, 0) + token, 1);
    warp_barrier();
    for (int channel = lane_index(); channel < K::kHeadDim; channel += 32)
      store_global(reinterpret_cast<T*>(page) + row * K::kHeadDim + channel, round_to<T>(load_shared(memory + channel)));
    warp_barrier();
  }
}

/// Encodes a tile: `count` tokens from the sequence's logical token `first` on, whose rows lie at key_at(i) and value_at(i). `direction`: which way keys must be rotated
/// to be what is coded, 0: they are. All threads; shared memory is free again behind the caller's next barrier.
template <class K, class P, class F, class G>
__device__ __forceinline__ void encode_tile(const P& p, encode_memory<K>& mem, int b, int head, int first, int count, float direction, const F& key_at, const G& value_at) {
  const unsigned char* k_codebook = byte_pointer(p.k_codebook) + int64_t(head) * K::Key::kCodebookBytes;
  const unsigned char* v_codebook = byte_pointer(p.v_codebook) + int64_t(head) * K::Value::kCodebookBytes;
  load_tile<K>(mem.rows, count, key_at);
  if (direction != 0) {
    block_barrier();
    rotate_tile<K>(p, mem.rows, element_or(p.first_pos, b, 0) + first, direction);
  }
  block_barrier();
  store_side<K, typename K::Key>(p, mem, k_codebook, b, head, first, count, 0);
  if constexpr (K::kKeyGain) store_gains<K>(p, mem, b, head, first, count);
  block_barrier();
  load_tile<K>(mem.rows, count, value_at);
  block_barrier();
  store_side<K, typename K::Value>(p, mem, v_codebook, b, head, first, count, K::kValueOffset);
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
  const int64_t row = first_row + tile;
  const float direction = bool(p.keys_unrotated) != K::kPre ? (K::kPre ? -1.0f : 1.0f) : 0.0f;  // given as the codes do not want them
  encode_tile<K>(p, *reinterpret_cast<encode_memory<K>*>(shared_memory()), b, head, first + tile, mine, direction,
                 [&](int i) { return byte_pointer(p.k) + (row + i) * p.k_row_stride + head * p.k_head_stride; },
                 [&](int i) { return byte_pointer(p.v) + (row + i) * p.v_row_stride + head * p.v_head_stride; });
  if constexpr (K::kCoded) {
    // A page is marked by the tile that holds its first token.
    for (int token = (first + tile + p.page_size - 1) / p.page_size * p.page_size; token < first + tile + mine; token += p.page_size)
      store_bitmap<K>(p, b, head, token, first + count);
  }
}
