// Where codes and gains lie inside a unit of 16 tokens: the device's codeOffset and gainOffset (generator/layout.ts, which also computes the constants).
// C is the traits struct of one side.

/// What the groups of 4 chunks of a key in row `row` (0 ... 7) are stored turned by: group i lies in place i ^ key_turn(row).
template <class C>
__device__ __forceinline__ constexpr uint32_t key_turn(uint32_t row) {
  return (row & 1) * C::kTurnHigh | (row >> C::kTurnShift & C::kTurnMask);
}

/// The place of group `group` in a row of a key. Groups turn within their part: powers of two from the largest on, so that part and number of groups differ first in the part's bit.
template <class C>
__device__ __forceinline__ constexpr uint32_t key_place(uint32_t row, uint32_t group) {
  constexpr uint32_t kGroups = C::kChunks / 4;
  if constexpr ((kGroups & (kGroups - 1)) == 0) {
    return group ^ key_turn<C>(row);
  } else {
    uint32_t below = (group ^ kGroups) >> 1;  // to all bits below the highest
    below |= below >> 1, below |= below >> 2, below |= below >> 4;
    return group ^ (key_turn<C>(row) & below);
  }
}

/// The byte in which the code of `chunk` of token `token` (0 ... 15) begins, from the start of the side.
template <class C>
__device__ __forceinline__ int code_offset(uint32_t token, uint32_t chunk) {
  if constexpr (!C::kByLane) {
    return int(token * C::kRowBytes + chunk * C::kBits / 8);
  } else {
    constexpr uint32_t kChunks = C::kKeys ? C::kChunks : C::kChunks / 8 * 8, kPiece = C::kPiece;
    uint32_t lane, position;  // position: among the lane's bytes
    if constexpr (C::kKeys) {
      const uint32_t row = token % 8;
      lane = row * 4 + chunk % 4;
      position = token / 8 * (kChunks / 4) + key_place<C>(row, chunk / 4);
    } else {
      // The last four of an odd number of fours: of half of the lanes.
      if (C::kChunks > kChunks && chunk >= kChunks) return int(16 * kChunks + (chunk % 4 * 4 + token % 4) * 4 + token / 4);
      const uint32_t span = chunk / C::kRowSpan;
      lane = (span / (kChunks / 8) * C::kRowSpan + chunk % C::kRowSpan) * 4 + token % 4;
      position = token / 4 * (kChunks / 8) + span % (kChunks / 8);
    }
    return int(position / kPiece * 32 * kPiece + lane * kPiece + position % kPiece);
  }
}

/// The index of token `token`'s gain among the 16 of its unit: a lane that holds tokens g and g + 8 reads one word.
__device__ __forceinline__ int gain_index(int token) { return token % 8 * 2 + token / 8; }
