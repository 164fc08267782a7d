// From codes to channels: one codebook entry, or the sum of one of each stage, becomes the f16 channels of one chunk. C is the traits struct of one side.

/// The code of `chunk` of token `token` (0 ... 15); `codes` is one side of a unit in shared memory.
template <class C>
__device__ __forceinline__ int code_at(const unsigned char* codes, int token, int chunk) {
  const unsigned char* from = codes + code_offset<C>(token, chunk);
  if constexpr (C::kBits == 8) {
    return load_shared(from);
  } else {
    // A code begins at a multiple of its lowest power of two: 10 bits at the latest at bit 6 of a byte, 12 bits at bit 4.
    static_assert(C::kBits > 8 && 8 - (C::kBits & -C::kBits) + C::kBits <= 16, "codes that two bytes hold");
    return (load_shared(from) | load_shared(from + 1) << 8) >> chunk * C::kBits % 8 & (C::kEntries - 1);
  }
}

/// Bytes of one codebook entry, how many of them move at once, and the 32-bit words that hold them.
template <class C>
struct entry_bytes {
  static constexpr int kAll = C::kChannels * (C::kQ8 ? 1 : 2);
  static constexpr int kPiece = kAll < 16 ? kAll : 16;
  static constexpr int kPieces = kAll / kPiece;
  static constexpr int kWords = (kAll + 3) / 4;
};

/// The codebooks of a chunk: one for each stage, end to end, and an equal share of a code's bits for each.
template <class C>
struct chunk_stages {
  static constexpr int kBits = C::kBits / C::kCodeStages, kEntries = 1 << kBits;
  static constexpr int kStored = C::kCodeStages * kEntries;   // entries of the chunk
  static constexpr int kTables = C::kChunks * C::kCodeStages;  // of the row: the codebooks of its chunks, end to end, as the shares of its codes are
  static_assert(C::kBits % C::kCodeStages == 0, "equal shares");

  /// Where the entry lies that `code` names in stage `stage`: bytes from the beginning of the chunk's codebooks.
  static __device__ __forceinline__ int offset(int code, int stage) {
    if constexpr (C::kCodeStages == 1) return code * entry_bytes<C>::kAll;
    else return (stage * kEntries + (code >> stage * kBits & (kEntries - 1))) * entry_bytes<C>::kAll;
  }
};

/// Loads the entry at `entry` (global) as 32-bit words.
template <class C>
__device__ __forceinline__ void load_entry(uint32_t (&words)[entry_bytes<C>::kWords], const unsigned char* entry) {
  using E = entry_bytes<C>;
#pragma unroll
  for (int i = 0; i < E::kPieces; ++i) {
    if constexpr (E::kPiece == 2) {  // 2 channels of 8 bits
      words[i] = load_global(reinterpret_cast<const uint16_t*>(entry));
    } else if constexpr (E::kPiece == 4) {
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
__device__ __forceinline__ float entry_channel(const uint32_t (&words)[entry_bytes<C>::kWords], int i) {
  if constexpr (C::kQ8) return float(int8_t(words[i / 4] >> (8 * (i % 4)) & 0xff));
  return to_float(f16{uint16_t(words[i / 2] >> (16 * (i % 2)))});
}

/// Bytes `kFirst` and kFirst + 1 of `steps`, int8, as two halves: whole numbers, exact in f16.
template <int kFirst>
__device__ __forceinline__ uint32_t halves_of_steps(uint32_t steps) {
  // A byte u behind 0x64 is the half 1024 + u; with its sign bit turned, u is the step + 128.
  return fused_multiply_add_halves(permute_bytes(steps ^ 0x80808080u, 0x64646464u, kFirst ? 0x4342u : 0x4140u), 0x3c003c00u, 0xe480e480u);
}

/// Pairs of halves added: of stages exactly, as their sums are halves.
__device__ __forceinline__ uint32_t add_halves(uint32_t a, uint32_t b) { return fused_multiply_add_halves(a, 0x3c003c00u, b); }

/// Stores `kWords` pairs of channels in shared memory, in as few stores as their alignment allows.
template <int kWords>
__device__ __forceinline__ void store_channels(f16* to, const uint32_t (&words)[kWords]) {
  if constexpr (kWords == 1) {
    store_shared(reinterpret_cast<uint32_t*>(to), words[0]);
  } else if constexpr (kWords == 2) {
    store_shared(reinterpret_cast<bytes8*>(to), bytes8{{words[0], words[1]}});
  } else {
#pragma unroll
    for (int i = 0; i < kWords; i += 4)
      store_shared(reinterpret_cast<bytes16*>(to) + i / 4, bytes16{{words[i], words[i + 1], words[i + 2], words[i + 3]}});
  }
}

/// The factors of an int8 codebook's channels, null for an f16 codebook.
template <class C>
__device__ __forceinline__ const float* channel_scales(const unsigned char* codebook) {
  return C::kQ8 ? reinterpret_cast<const float*>(codebook + C::kScaleOffset) : nullptr;
}

/// Expands 16 rows of codes in shared memory to 16 rows of f16 in shared memory, one warp.
/// `codes` is one side of a unit, `codebook` the packed codebook of this KV head (global). Without kScaled an int8 codebook's rows keep their whole
/// numbers, exact in f16, and whoever reads them next applies channel_scales: one rounding instead of two.
template <class C, int kHeadDim, bool kScaled>
__device__ __forceinline__ void expand_rows(f16* rows, int row_stride, const unsigned char* codes, const unsigned char* codebook) {
  constexpr int kChunks = kHeadDim / C::kChannels;
  // A lane keeps its chunk, so that scales are loaded once; its gathers for several rows are under way together.
  constexpr int kLanes = kChunks < 32 ? kChunks : 32, kRowsAtOnce = 32 / kLanes;
  const int lane = lane_index(), first_row = lane / kLanes;
  if (first_row >= kRowsAtOnce) return;
  for (int chunk = lane % kLanes; chunk < kChunks; chunk += kLanes) {
    const unsigned char* entries = codebook + int64_t(chunk) * chunk_stages<C>::kStored * entry_bytes<C>::kAll;
    float scale[C::kChannels];
    if constexpr (C::kQ8 && kScaled) {
#pragma unroll
      for (int i = 0; i < C::kChannels; ++i) scale[i] = load_global(channel_scales<C>(codebook) + chunk * C::kChannels + i);
    }
#pragma unroll
    for (int row = first_row; row < 16; row += kRowsAtOnce) {
      uint32_t words[entry_bytes<C>::kWords], later[C::kCodeStages][entry_bytes<C>::kWords];  // the first stage's place of the later ones is empty
      const int code = code_at<C>(codes, row, chunk);
      load_entry<C>(words, entries + chunk_stages<C>::offset(code, 0));
#pragma unroll
      for (int stage = 1; stage < C::kCodeStages; ++stage) load_entry<C>(later[stage], entries + chunk_stages<C>::offset(code, stage));
      uint32_t channels[C::kChannels / 2];
#pragma unroll
      for (int i = 0; i < C::kChannels; i += 2) {
        if constexpr (C::kQ8) {
          float x = entry_channel<C>(words, i), y = entry_channel<C>(words, i + 1);
#pragma unroll
          for (int stage = 1; stage < C::kCodeStages; ++stage) x += entry_channel<C>(later[stage], i), y += entry_channel<C>(later[stage], i + 1);
          if constexpr (kScaled) x *= scale[i], y *= scale[i + 1];
          channels[i / 2] = pack(to_f16(x), to_f16(y));
        } else {
          channels[i / 2] = words[i / 2];
#pragma unroll
          for (int stage = 1; stage < C::kCodeStages; ++stage) channels[i / 2] = add_halves(channels[i / 2], later[stage][i / 2]);
        }
      }
      store_channels<C::kChannels / 2>(rows + row * row_stride + chunk * C::kChannels, channels);
    }
  }
}

/// Copies 16 exact rows inside shared memory, zeros from row `valid` on (they were never written: 0 * NaN is NaN), one warp.
template <int kHeadDim, class T>
__device__ __forceinline__ void copy_rows(T* rows, int row_stride, const unsigned char* from, int valid) {
  constexpr int kPieces = kHeadDim / 8;
  for (int task = lane_index(); task < 16 * kPieces; task += 32) {
    const int row = task / kPieces, piece = task % kPieces;
    bytes16 value = {};
    if (row < valid) value = load_shared(reinterpret_cast<const bytes16*>(from) + task);
    store_shared(reinterpret_cast<bytes16*>(rows + row * row_stride + piece * 8), value);
  }
}
