// How a piece's tiles are shared out where the last warps attend to its exact rows first, and so to fewer tiles. Shares depend on the sequence alone, never on what was faster.

/// The first `count` of a warp's tiles are another warp's: they lie `ahead` tiles behind where its own order would have them.
struct tile_detour {
  int count, ahead;
};

/// A guess at a sequence's exact units, for tiles are shared out before its list of anchor pages has been counted. A lane looks at one entry, whatever the list's width:
/// widths may differ from batch to batch, and shares decide the last bits of a result.
struct exact_guess {
  int kv_len;
  bool anchors;  // entry l + l * l / 2 of lane l is there

  template <class P>
  __device__ __forceinline__ void begin(const P& p, int b) {
    const int entry = lane_index() + lane_index() * lane_index() / 2;
    kv_len = load_global(p.kv_len + b);
    anchors = false;
    if (p.segments & 2 && p.anchor_table && entry < p.max_anchor_pages) anchors = load_global(anchor_pages(p, b) + entry) >= 0;
  }
  /// All lanes must call it; all get the answer. The list ends behind entry (n - 1) + (n - 1)^2 / 2, and not behind n + n^2 / 2.
  template <class P>
  __device__ __forceinline__ int units(const P& p, int coded_len) const {
    const uint32_t ended = ~vote_ballot(anchors);
    const int n = ended ? count_bits((ended & (0u - ended)) - 1) : 32;
    return n * (n + 1) / 2 + (p.segments & 4 ? (kv_len - coded_len + 15) / 16 : 0);
  }
};

/// What the warps of exact rows leave to the others. Each has kHelpers of these, which take what it leaves of its tiles, the first ones.
template <class K>
struct tile_shares {
  static constexpr int kOthers = K::kWarps - K::kExactWarps, kHelpers = kOthers / K::kExactWarps;
  static_assert(kHelpers * K::kExactWarps == kOthers, "generator/shared.ts is wrong");
  // Clocks that a unit takes its warp, beside tiles, and those that a tile takes the SM (harness/bench/NOTES.md). With u units all warps end together if each of the others takes
  // u * kUnit / (kWarps * kTile) / kWarps tiles more.
  static constexpr float kUnit = 3000, kTile = 60 + 3.5f * K::kHeadDim / K::Key::kChannels;
  static constexpr float kLeft = kUnit * kHelpers / (K::kWarps * K::kWarps * kTile);

  /// How many of its `count` tiles a warp of exact rows leaves where the piece has `units`.
  static __device__ __forceinline__ int left(int units, int count) {
    const int tiles = min_int(int(float(units) * kLeft + 0.5f), count);
    return K::kKeyTurn ? tiles & ~1 : tiles;  // of turned keys two at a time, as they are scored
  }
  /// The warp of exact rows that this one is, or helps.
  static __device__ __forceinline__ int exact_warp() { return warp_index() < kOthers ? kOthers + warp_index() % K::kExactWarps : warp_index(); }
  /// The first of `left` tiles that helper `helper` does not take.
  static __device__ __forceinline__ int before(int left, int helper) {
    const int tiles = left * helper / kHelpers;
    return K::kKeyTurn ? tiles & ~1 : tiles;
  }
};
