// A warp's tiles of 32 coded tokens: where they lie, and their codes' way to registers.

/// The first kCount of a lane's words of one side of a unit, kPiece bytes of each lane after the other's; `side` is where its first ones lie. Pieces of 2 bytes stay words of their own.
template <int kPiece, int kCount, int kWords>
__device__ __forceinline__ void load_codes(uint32_t (&words)[kWords], const unsigned char* side) {
  constexpr int kEach = kPiece < 4 ? 1 : kPiece / 4;
#pragma unroll
  for (int piece = 0; piece < kCount / kEach; ++piece) {
    const unsigned char* const from = side + piece * 32 * kPiece;
    if constexpr (kPiece == 2) {
      words[piece] = load_global_once(reinterpret_cast<const uint16_t*>(from));
    } else if constexpr (kPiece == 4) {
      words[piece] = load_global_once(reinterpret_cast<const uint32_t*>(from));
    } else if constexpr (kPiece == 8) {
      const bytes8 x = load_global_once(reinterpret_cast<const bytes8*>(from));
      words[2 * piece] = x.w[0], words[2 * piece + 1] = x.w[1];
    } else {
      const bytes16 x = load_global_once(reinterpret_cast<const bytes16*>(from));
#pragma unroll
      for (int i = 0; i < kEach; ++i) words[kEach * piece + i] = x.w[i];
    }
  }
}

/// As `opaque` (antkv_device.cuh): the sum that leads to the pointer stays done.
__device__ __forceinline__ const unsigned char* hold_pointer(const unsigned char* p, uint32_t zero) {
  const uint64_t at = reinterpret_cast<uint64_t>(p);
  return reinterpret_cast<const unsigned char*>(uint64_t(opaque(uint32_t(at >> 32), zero)) << 32 | opaque(uint32_t(at), zero));
}

/// The key side of a tile.
template <class Keys>
struct key_codes {
  uint32_t words[2][Keys::kCodeWords];
  uint32_t gains[2][Keys::kGainWords];
};

/// Where a warp's tiles lie, in shared memory: for each of 32, two batches of 16, its first unit, its second unit, and what nobody sees of it. Units are given
/// in 16 bytes from the begin of the pool, which may therefore have 64 GB.
struct tile_places {
  bytes16 tile[32];
};

/// A warp's own: the places, which its loop needs, then its result, unless that has no room beside the tables.
template <class K, bool kResult = !K::kResultsOverTables>
union warp_memory {
  warp_result<K> result;
  tile_places places;
  bytes16 bytes[K::kWarpBytes / 16];
};
template <class K>
union warp_memory<K, false> {
  tile_places places;
  bytes16 bytes[K::kWarpBytes / 16];
};
/// Where this warp's result goes. Over the tables every warp must be done with them.
template <class K>
__device__ __forceinline__ warp_result<K>& result_of(warp_memory<K>& memory) {
  if constexpr (K::kResultsOverTables) return reinterpret_cast<warp_result<K>*>(shared_memory())[warp_index()];
  else return memory.result;
}

/// Codes that a warp has in registers, a set of them per stage: a tile's keys (kStages 1), or of two tiles in turn, values' codes included.
template <class K, class Keys>
struct code_sets {
  key_codes<Keys> keys[K::kStages];
  uint32_t values[K::kStages == 2 ? 2 : 1][2][value_table<K>::kCodeWords];
};

/// A warp's tiles of a piece, tile i being tokens 32 * (first + i * warps) and the next 31, and the way to them. Page numbers are loaded two batches ahead, what
/// depends on them (bitmaps) one batch ahead, codes one tile, of 16 warps two. What lies beyond the last tile is that one again: no branches round the loads.
template <class K, class Keys>
struct tile_stream {
  using Values = value_table<K>;
  static constexpr int kKeyPiece = K::Key::kPiece, kValuePiece = K::Value::kPiece;  // bytes of a lane that lie together
  static constexpr bool kSameLanes = kKeyPiece == kValuePiece && Keys::kCodeWords == Values::kCodeWords;

  int first, count;
  int coded_len;
  const int32_t* pages;     // of the sequence
  int64_t head;             // of the KV head, in a page
  uint32_t next, hidden;    // lane 2 n + u: unit u of tile n of the next batch
  int page;                 // ... of the batch after that
  const unsigned char *key_codes_at, *value_codes_at, *gains;  // of this lane, in the first unit of the pool
  const unsigned char* last_codes_at;                         // the same of values' codes that two rows share
  bool paired;  // tiles 2 n and 2 n + 1 are neighbours; only of keys that are turned

  /// How many of a warp's tiles lie less than `tiles` behind its first; none unless `some`, which says whether `tiles` is positive.
  __device__ __forceinline__ int tiles_before(bool some, int tiles) const {
    if constexpr (!K::kKeyTurn) return some ? (tiles + K::kWarps - 1) / K::kWarps : 0;
    const int together = paired ? 2 : 1, round = K::kWarps * together;
    return some ? tiles / round * together + min_int(tiles % round, together) : 0;
  }
  __device__ __forceinline__ int token_of(int i) const {
    const int tile = min_int(i, count - 1);
    if constexpr (!K::kKeyTurn) return (first + tile * K::kWarps) * 32;
    return (first + (paired ? tile / 2 * (2 * K::kWarps) + tile % 2 : tile * K::kWarps)) * 32;
  }
  __device__ __forceinline__ int unit_token(int i) const { return token_of(i + lane_index() / 2) + lane_index() % 2 * 16; }

  /// The first loads, at whose end page numbers will be.
  template <class P>
  __device__ __forceinline__ void begin(const P& p, const piece& w, int kv_head) {
    coded_len = load_global(p.coded_len + w.b);
    pages = p.block_table ? p.block_table + int64_t(w.b) * p.max_pages : p.page_indices + load_global(p.page_indptr + w.b);
    head = kv_head * p.page_head_stride;
  }
  template <class P>
  __device__ __forceinline__ int page_at(const P& p, int i) const {
    const int shift = count_bits(uint32_t(p.page_size - 1));
    return load_global(pages + min_int(unit_token(i) >> shift, (coded_len - 1) >> shift));
  }
  template <class P>
  __device__ __forceinline__ void find_pages(const P& p, const piece& w, int& page_now) {
    int from, to;
    cut(w, p.segments & 1 ? (coded_len + 31) / 32 : 0, from, to);
    // Neighbours save work (lookup_turn.cuh), but a short piece would leave warps idle.
    paired = false;
    if constexpr (K::kKeyTurn) paired = Keys::kInPairs && uniform(to - from) >= 8 * K::kWarps;
    first = from + (paired ? 2 : 1) * warp_index();
    count = tiles_before(to > first, to - first);
    first = uniform(first), count = uniform(count);  // without it the loop over tiles counts as one that lanes leave one by one: every vote and shuffle in it tests for that
    page_now = 0, page = 0;
    if (count == 0) return;
    page_now = page_at(p, 0);
    page = page_at(p, 16);
  }
  /// From the number of the page to the unit's place, for the batch that begins with tile `i`. Nothing here waits for the bitmap.
  template <class P>
  __device__ __forceinline__ void place(const P& p, int i, int page_now) {
    const int in_page = unit_token(i) & (p.page_size - 1);
    const int64_t block = int64_t(page_now) * p.page_stride + head;
    next = uint32_t(block >> 4) + in_page / 16 * (K::kUnitBytes / 16);
    hidden = load_global(reinterpret_cast<const uint16_t*>(byte_pointer(p.pages) + block + (p.page_size / 16) * K::kUnitBytes) + in_page / 16);
  }
  __device__ __forceinline__ void store_places(tile_places& places, int i) const { store_shared(places.tile[(i + lane_index() / 2) % 32].w + lane_index() % 2, next); }
  __device__ __forceinline__ void store_hidden(tile_places& places, int i) const {
    const int tokens = coded_len - unit_token(i);
    const uint32_t unseen = hidden | (tokens <= 0 ? 0xffffu : tokens < 16 ? 0xffffu << tokens & 0xffffu : 0), both = unseen | shuffle_xor(unseen, 1) << 16;
    if (lane_index() % 2 == 0) store_shared(places.tile[(i + lane_index() / 2) % 32].w + 2, both);
  }

  /// Starts the way of the first tiles' bitmaps, and with them the translation of addresses in their pages.
  template <class P>
  __device__ __forceinline__ void ask_first(const P& p, int page_now) {
    if (count > 0) place(p, 0, page_now);
  }
  /// Starts the way of the first tiles' codes; first_hidden() ends what was left open.
  template <class P>
  __device__ __forceinline__ void start_first(const P& p, tile_places& places, code_sets<K, Keys>& codes) {
    const uint32_t zero = uint32_t(p.batch) >> 31;
    const unsigned char* const pool = byte_pointer(p.pages);
    key_codes_at = hold_pointer(pool + lane_index() * kKeyPiece, zero);
    value_codes_at = kSameLanes ? key_codes_at : hold_pointer(pool + lane_index() * kValuePiece, zero);
    last_codes_at = Values::kHalved ? hold_pointer(pool + lane_index() % 16 * 4, zero) : nullptr;
    gains = K::kKeyGain ? hold_pointer(Keys::gains_at(pool) + K::kKeyGainOffset, zero) : nullptr;
    if (count == 0) return;
    store_places(places, 0);
    warp_barrier();
#pragma unroll
    for (int i = 0; i < (K::kWarps >= 16 ? K::kStages : 1); ++i) {
      load_keys(codes.keys[i], units_of(places, i));
      if constexpr (K::kStages == 2) load_values(codes.values[i], units_of(places, i));
    }
    if constexpr (K::kStages == 1) prefetch(p, places, 0);
    if constexpr (K::kStages == 1 || K::kWarps < 16) prefetch(p, places, 1);
  }
  template <class P>
  __device__ __forceinline__ void first_hidden(const P& p, tile_places& places) {
    if (count == 0) return;
    store_hidden(places, 0);
    place(p, 16, page);
    page = page_at(p, 32);
    warp_barrier();
  }
  /// Makes the places of the batch of tile `i` known. Some tile of the batch before must still be to come.
  template <class P>
  __device__ __forceinline__ void find(const P& p, tile_places& places, int i) {
    warp_barrier();  // the batch before the last has been read
    store_places(places, i);
    store_hidden(places, i);
    place(p, i + 16, page);
    page = page_at(p, i + 32);
    warp_barrier();
  }

  static __device__ __forceinline__ uint32_t hidden_of(const tile_places& places, int i) { return load_shared(places.tile[i % 32].w + 2); }
  /// Asks for a tile's lines.
  template <class P>
  static __device__ __forceinline__ void prefetch(const P& p, const tile_places& places, int i) {
    const unsigned char* unit = byte_pointer(p.pages) + uint64_t(load_shared(places.tile[i % 32].w + lane_index() / 16)) * 16;
#pragma unroll
    for (int at = lane_index() % 16 * 128; at < K::kUnitBytes + 127; at += 16 * 128) prefetch_global(unit + min_int(at, K::kUnitBytes - 1));
  }
  /// Offsets of tile `i`'s units in the pool. `there`: 0, made of what must have arrived before anything is asked for at them.
  struct tile_units {
    uint64_t at[2];
  };
  static __device__ __forceinline__ tile_units units_of(const tile_places& places, int i, uint32_t there = 0) {
    const bytes8 at = load_shared(reinterpret_cast<const bytes8*>(&places.tile[i % 32]));
    return {{uint64_t(at.w[0] | there) * 16, uint64_t(at.w[1] | there) * 16}};
  }
  __device__ __forceinline__ void load_keys(key_codes<Keys>& codes, const tile_units& u) const {
#pragma unroll
    for (int unit = 0; unit < 2; ++unit) {
      load_codes<kKeyPiece, Keys::kCodeWords>(codes.words[unit], key_codes_at + u.at[unit]);
      if constexpr (K::kKeyGain) Keys::load_gains(codes.gains[unit], gains + u.at[unit]);
    }
  }
  __device__ __forceinline__ void load_values(uint32_t (&words)[2][Values::kCodeWords], const tile_units& u) const {
#pragma unroll
    for (int unit = 0; unit < 2; ++unit) {
      load_codes<kValuePiece, Values::kOwnWords>(words[unit], value_codes_at + u.at[unit] + K::kValueOffset);
      if constexpr (Values::kHalved)
        words[unit][Values::kOwnWords] = load_global_once(reinterpret_cast<const uint32_t*>(last_codes_at + u.at[unit] + K::kValueOffset + 32 * 4 * Values::kOwnWords));
    }
  }
};
