// A lane's token on its way to registers: its codes, its gain, and whether anybody sees it.

/// The codes of one side of a token, packed tightly from the lowest bit on. C is the traits struct of the side.
template <class C>
struct token_row {
  static constexpr int kWords = (C::kRowBytes + 3) / 4;
  static constexpr int kAligned = C::kRowBytes & -C::kRowBytes;  // rows lie end to end
  static constexpr int kPiece = C::kByLane ? 1 : kAligned < 4 ? kAligned : 4;
  uint32_t words[kWords];

  /// Loads the row of token `token` (0 ... 15) of the unit whose side begins at `side`.
  __device__ __forceinline__ void load(const unsigned char* side, int token) {
#pragma unroll
    for (int i = 0; i < kWords; ++i) words[i] = 0;
#pragma unroll
    for (int at = 0; at < C::kRowBytes; at += kPiece) {
      uint32_t piece;
      if constexpr (C::kByLane) {
        piece = load_global(side + code_offset<C>(token, at));
      } else if constexpr (kPiece == 1) {
        piece = load_global(side + token * C::kRowBytes + at);
      } else if constexpr (kPiece == 2) {
        piece = load_global(reinterpret_cast<const uint16_t*>(side + token * C::kRowBytes + at));
      } else {
        piece = load_global(reinterpret_cast<const uint32_t*>(side + token * C::kRowBytes + at));
      }
      words[at / 4] |= piece << at % 4 * 8;
    }
  }
  /// Of all codes' shares, in the order of the codebooks, number `i`: an entry of codebook i.
  __device__ __forceinline__ uint32_t code(int i) const {
    const int bit = i * chunk_stages<C>::kBits, word = bit / 32, shift = bit % 32;
    uint32_t bits = words[word] >> shift;
    if (shift + chunk_stages<C>::kBits > 32) bits |= words[word + 1] << (32 - shift);
    return bits & (chunk_stages<C>::kEntries - 1);
  }
};

/// What a lane holds of its token of a tile.
template <class K>
struct token_codes {
  token_row<typename K::Key> key;
  token_row<typename K::Value> value;
  uint32_t gain;    // f16 bits
  uint32_t hidden;  // 1: an anchor, or no token
};

/// A score, or a product, from this size on is no number: an infinite one is neither a weight nor worth a case of its own.
constexpr float kNoNumber = 3e38f;

/// The way to a sequence's tokens.
struct token_source {
  const int32_t* pages;  // of the sequence
  int64_t head;          // of the KV head, in a page
  int coded_len;

  template <class P>
  static __device__ __forceinline__ token_source of(const P& p, int b, int kv_head, int coded_len) {
    return {p.block_table ? p.block_table + int64_t(b) * p.max_pages : p.page_indices + load_global(p.page_indptr + b), kv_head * p.page_head_stride, coded_len};
  }
  /// The number of the page of `token`; beyond the end, of the last one.
  template <class P>
  __device__ __forceinline__ int page_of(const P& p, int token) const {
    const int shift = count_bits(uint32_t(p.page_size - 1));
    return load_global(pages + (min_int(token, coded_len - 1) >> shift));
  }
  /// Starts loading `token`, which lies in page `page`.
  template <class K, class P>
  __device__ __forceinline__ void load(token_codes<K>& codes, const P& p, int token, int page) const {
    const int mine = min_int(token, coded_len - 1), in_page = mine & (p.page_size - 1), row = in_page % 16;
    const unsigned char* block = byte_pointer(p.pages) + int64_t(page) * p.page_stride + head;
    const unsigned char* unit = block + in_page / 16 * K::kUnitBytes;
    codes.key.load(unit, row);
    codes.value.load(unit + K::kValueOffset, row);
    codes.gain = 0;
    if constexpr (K::kKeyGain) codes.gain = load_global(reinterpret_cast<const uint16_t*>(unit + K::kKeyGainOffset) + gain_index(row));
    const uint32_t anchored = load_global(reinterpret_cast<const uint16_t*>(block + p.page_size / 16 * K::kUnitBytes) + in_page / 16);
    codes.hidden = token < coded_len ? anchored >> row & 1 : 1;
  }
};
