// A lane's token on its way to registers: its codes, its gain, and whether anybody sees it.

/// The codes of one side of a token, packed tightly from the lowest bit on. C is the traits struct of the side.
template <class C>
struct token_row {
  static constexpr int kWords = (C::kRowBytes + 3) / 4;
  static constexpr int kAligned = C::kRowBytes & -C::kRowBytes;  // rows lie end to end
  /// Whether whole words are loaded, from the one on in which the row begins: whatever joined bytes or shifted words would wait for them, so that comes when they are used.
  /// Two rows of an odd number of halves are whole words: no row ends before the last of its words does.
  static constexpr bool kWhole = !C::kByLane && kAligned >= 2;
  uint32_t words[kWords];

  /// Starts loading the row of token `token` (0 ... 15) of the unit whose side begins at `side`.
  __device__ __forceinline__ void load(const unsigned char* side, int token) {
    if constexpr (kWhole) {
#pragma unroll
      for (int i = 0; i < kWords; ++i) words[i] = load_global(reinterpret_cast<const uint32_t*>(side + (token * C::kRowBytes & ~3)) + i);
    } else {
#pragma unroll
      for (int i = 0; i < kWords; ++i) words[i] = 0;
#pragma unroll
      for (int at = 0; at < C::kRowBytes; ++at) {
        const uint32_t byte = load_global(side + (C::kByLane ? code_offset<C>(token, at) : token * C::kRowBytes + at));
        words[at / 4] |= byte << at % 4 * 8;
      }
    }
  }
  /// Puts the row of token `token` in its place, before its codes are asked for.
  __device__ __forceinline__ void settle(int token) {
    if constexpr (kWhole && kAligned == 2) {
      const int shift = token % 2 * 16;
#pragma unroll
      for (int i = 0; i + 1 < kWords; ++i) words[i] = uint32_t((uint64_t(words[i + 1]) << 32 | words[i]) >> shift);
      words[kWords - 1] >>= shift;
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

/// What a lane holds of its token of a tile, as it was loaded.
template <class K>
struct token_codes {
  token_row<typename K::Key> key;
  token_row<typename K::Value> value;
  uint32_t gain;     // f16 bits
  uint32_t anchors;  // of the token's unit, a bit each
};

/// A score, or a product, from this size on is no number: an infinite one is neither a weight nor worth a case of its own.
constexpr float kNoNumber = 3e38f;

/// The way to a sequence's tokens. Units are 16 tokens and tiles 32, so that a token's place in its unit is its lane's.
struct token_source {
  const int32_t* pages;       // of the sequence
  const unsigned char* head;  // of the KV head, in page 0
  int coded_len, place;

  template <class P>
  static __device__ __forceinline__ token_source of(const P& p, int b, int kv_head, int coded_len) {
    return {p.block_table ? p.block_table + int64_t(b) * p.max_pages : p.page_indices + load_global(p.page_indptr + b), byte_pointer(p.pages) + kv_head * p.page_head_stride, coded_len, lane_index() % 16};
  }
  /// The number of the page of `token`; beyond the end, of the last one.
  template <class P>
  __device__ __forceinline__ int page_of(const P& p, int token) const {
    const int shift = count_bits(uint32_t(p.page_size - 1));
    return load_global(pages + (min_int(token, coded_len - 1) >> shift));
  }
  /// Starts loading `token`, which lies in page `page`; beyond the end, one of the last unit.
  template <class K, class P>
  __device__ __forceinline__ void load(token_codes<K>& codes, const P& p, int token, int page) const {
    const uint32_t in_page = uint32_t(min_int(token, coded_len - 1)) & uint32_t(p.page_size - 1);
    const unsigned char* block = head + uint64_t(uint32_t(page)) * uint64_t(p.page_stride);
    const unsigned char* unit = block + in_page / 16 * uint32_t(K::kUnitBytes);
    codes.key.load(unit, place);
    codes.value.load(unit + K::kValueOffset, place);
    codes.gain = 0;
    if constexpr (K::kKeyGain) codes.gain = load_global(reinterpret_cast<const uint16_t*>(unit + K::kKeyGainOffset) + gain_index(place));
    codes.anchors = load_global(reinterpret_cast<const uint16_t*>(block + uint32_t(p.page_size) / 16 * K::kUnitBytes) + in_page / 16);
  }
  /// Puts `token`, which was loaded, in its place. Returns whether no one sees it: an anchor, or no token.
  template <class K>
  __device__ __forceinline__ bool settle(token_codes<K>& codes, int token) const {
    codes.key.settle(place), codes.value.settle(place);
    return token >= coded_len || (codes.anchors >> place & 1) != 0;
  }
};
