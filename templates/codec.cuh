// From codes to channels: one codebook entry becomes the f16 channels of one chunk. C is the traits struct of one side.

/// The code of `chunk` in a token's row of codes.
template <class C>
__device__ __forceinline__ int code_at(const unsigned char* row, int chunk) {
  static_assert(C::kBits == 8, "codes of whole bytes");
  return load_shared(row + chunk);
}

/// Bytes of one codebook entry, and how many of them move at once.
template <class C>
struct entry_bytes {
  static constexpr int kAll = C::kChannels * (C::kQ8 ? 1 : 2);
  static constexpr int kPiece = kAll < 16 ? kAll : 16;
  static constexpr int kPieces = kAll / kPiece;
};

/// Loads the entry at `entry` (global) as 32-bit words.
template <class C>
__device__ __forceinline__ void load_entry(uint32_t (&words)[entry_bytes<C>::kAll / 4], const unsigned char* entry) {
  using E = entry_bytes<C>;
#pragma unroll
  for (int i = 0; i < E::kPieces; ++i) {
    if constexpr (E::kPiece == 4) {
      words[i] = load_global(reinterpret_cast<const uint32_t*>(entry) + i);
    } else if constexpr (E::kPiece == 8) {
      const bytes8 piece = load_global(reinterpret_cast<const bytes8*>(entry) + i);
      words[2 * i] = piece.w[0], words[2 * i + 1] = piece.w[1];
    } else {
      const bytes16 piece = load_global(reinterpret_cast<const bytes16*>(entry) + i);
#pragma unroll
      for (int j = 0; j < 4; ++j) words[4 * i + j] = piece.w[j];
    }
  }
}

/// Channel `i` of a loaded entry as stored: the f16 centroid, or the int8 step count.
template <class C>
__device__ __forceinline__ float entry_channel(const uint32_t (&words)[entry_bytes<C>::kAll / 4], int i) {
  if constexpr (C::kQ8) return float(int8_t(words[i / 4] >> (8 * (i % 4)) & 0xff));
  return to_float(f16{uint16_t(words[i / 2] >> (16 * (i % 2)))});
}

/// Expands 16 rows of codes in shared memory to 16 rows of f16 in shared memory, one warp.
/// `codebook` is the packed codebook of this KV head (global).
template <class C, int kHeadDim>
__device__ __forceinline__ void expand_rows(f16* rows, int row_stride, const unsigned char* codes, const unsigned char* codebook) {
  constexpr int kChunks = kHeadDim / C::kChannels;
  for (int task = lane_index(); task < 16 * kChunks; task += 32) {
    const int row = task / kChunks, chunk = task % kChunks;
    const int code = code_at<C>(codes + row * C::kRowBytes, chunk);
    uint32_t words[entry_bytes<C>::kAll / 4];
    load_entry<C>(words, codebook + (int64_t(chunk) * C::kEntries + code) * entry_bytes<C>::kAll);
    f16* to = rows + row * row_stride + chunk * C::kChannels;
    const float* scale = reinterpret_cast<const float*>(codebook + C::kScaleOffset) + chunk * C::kChannels;
#pragma unroll
    for (int i = 0; i < C::kChannels; i += 2) {
      uint32_t two;
      if constexpr (C::kQ8) {
        two = pack(to_f16(entry_channel<C>(words, i) * load_global(scale + i)), to_f16(entry_channel<C>(words, i + 1) * load_global(scale + i + 1)));
      } else {
        two = words[i / 2];
      }
      store_shared(reinterpret_cast<uint32_t*>(to + i), two);
    }
  }
}

/// Copies 16 exact rows inside shared memory, zeros from row `valid` on (they were never written: 0 * NaN is NaN), one warp.
template <int kHeadDim>
__device__ __forceinline__ void copy_rows(f16* rows, int row_stride, const unsigned char* from, int valid) {
  constexpr int kPieces = kHeadDim / 8;
  for (int task = lane_index(); task < 16 * kPieces; task += 32) {
    const int row = task / kPieces, piece = task % kPieces;
    bytes16 value = {};
    if (row < valid) value = load_shared(reinterpret_cast<const bytes16*>(from) + task);
    store_shared(reinterpret_cast<bytes16*>(rows + row * row_stride + piece * 8), value);
  }
}
