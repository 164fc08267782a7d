// A lane's token on its way to registers: its codes, its gain, and whether anybody sees it.

constexpr int log2_up(int n) { return n <= 1 ? 0 : 1 + log2_up((n + 1) / 2); }

/// How a side's tables lie in shared memory. Book by book, lanes of a look-up meet in banks at random, three to four at the busiest. Where the books are a power of two
/// and a pass has columns enough, numbers lie entry by entry instead, `[entries][kPass][books]`, and a lane goes through the books from its own on: lanes ask different books
/// of their entries, and those that ask the same one add to different columns. So no two tallies lie in one bank, whatever the codes are.
template <class K, class C>
struct tally_order {
  static constexpr int kTables = chunk_stages<C>::kTables, kEntries = chunk_stages<C>::kEntries;
  static constexpr bool kTurned = kTables <= 32 && (kTables & (kTables - 1)) == 0 && kTables * K::kPass >= 32 && kTables * chunk_stages<C>::kBits % 32 == 0;
  static constexpr int kGroups = 32 / kTables;  // of lanes with the same books in the same order, if kTurned: they differ by their columns

  static __device__ __forceinline__ int first_book() { return kTurned ? lane_index() % kTables : 0; }
  /// A table's row of entry `entry` of book `book`.
  static __device__ __forceinline__ int row_of(int book, int entry) { return kTurned ? entry * kTables + book : book * kEntries + entry; }
  /// The place of code `i` of a turned row, in bytes: entries of 2^kEntryPlaces, in them the book's number of kBookBytes.
  template <int kEntryPlaces, int kBookBytes, class Row>
  static __device__ __forceinline__ uint32_t turned_place(const Row& row, int i) {
    return row.template code<kEntryPlaces>(i) | ((uint32_t(lane_index()) * kBookBytes + uint32_t(i) * kBookBytes) & uint32_t((kTables - 1) * kBookBytes));
  }
};

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
  /// Turns the row by whole codes: number `first` becomes number 0, and those before it follow the last. Rows of whole words.
  __device__ __forceinline__ void turn(int first) {
    const int bit = first * chunk_stages<C>::kBits;
    uint32_t was[kWords];
#pragma unroll
    for (int step = 1; step < kWords; step *= 2) {
#pragma unroll
      for (int i = 0; i < kWords; ++i) was[i] = words[i];
#pragma unroll
      for (int i = 0; i < kWords; ++i) words[i] = bit / 32 & step ? was[(i + step) % kWords] : was[i];
    }
#pragma unroll
    for (int i = 0; i < kWords; ++i) was[i] = words[i];
#pragma unroll
    for (int i = 0; i < kWords; ++i) words[i] = uint32_t((uint64_t(was[(i + 1) % kWords]) << 32 | was[i]) >> bit % 32);
  }
  /// Of all codes' shares, in the order of the codebooks, number `i`: an entry of codebook i, times 2^kPlaces.
  template <int kPlaces = 0>
  __device__ __forceinline__ uint32_t code(int i) const {
    constexpr uint32_t kMask = uint32_t(chunk_stages<C>::kEntries - 1) << kPlaces;
    const int bit = i * chunk_stages<C>::kBits - kPlaces, word = bit / 32, shift = bit % 32;
    if (bit < 0) return words[0] << -bit & kMask;
    uint32_t bits = words[word] >> shift;
    if (shift + chunk_stages<C>::kBits + kPlaces > 32 && word + 1 < kWords) bits = uint32_t((uint64_t(words[word + 1]) << 32 | words[word]) >> shift);
    return bits & kMask;
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
    if constexpr (tally_order<K, typename K::Key>::kTurned) codes.key.turn(tally_order<K, typename K::Key>::first_book());
    if constexpr (tally_order<K, typename K::Value>::kTurned) codes.value.turn(tally_order<K, typename K::Value>::first_book());
    return token >= coded_len || (codes.anchors >> place & 1) != 0;
  }
};
