// The query columns of a CTA of "rows", in groups of eight, the width of the matrix instruction. Those of one group lie in registers; of several groups they lie in shared
// memory, where all warps read them, and a unit that was fetched once is multiplied by all of them.

template <class K>
constexpr bool kMany = K::kColumns > 8;
template <class K>
constexpr int column_groups = kMany<K> ? K::kColumns / 8 : 1;

/// Shared memory while the loop runs.
template <class K, bool = kMany<K>>
struct block_columns {
  warp_memory<K> warps[K::kWarps];
};

/// Of several groups: queries as ldmatrix reads them, rows padded by 16 bytes so that the eight of one phase lie in different banks; and what each column may see.
template <class K>
struct block_columns<K, true> {
  struct sight {
    int position;  // kSeesNothing of a column that does not exist
    uint32_t new_rows;
  };
  static constexpr int kStride = K::kHeadDim + 8, kSeesNothing = -0x7fffffff - 1;
  static constexpr bool kRounds = !unit_row<K, typename K::Key>::kElements;  // queries for keys that were codes are others
  warp_memory<K> warps[K::kWarps];
  alignas(16) typename K::Element q[K::kColumns * kStride];
  f16 decoded_q[kRounds ? K::kColumns * kStride : 8];
  sight sights[K::kColumns];
  int places[K::kColumns];  // row and head in [rows, q_heads]
};

/// Fills q, decoded_q, sights and places; `column_at`: column_of() of a column's number in the CTA. All threads, and a block barrier after it.
template <class K, class P, class Column>
__device__ __forceinline__ void store_columns(block_columns<K, true>& to, const P& p, const Column& column_at) {
  using memory = block_columns<K, true>;
  constexpr int kPieces = K::kHeadDim / 8, kTasks = K::kColumns * kPieces;
#pragma unroll 1
  for (int task = thread_index(); task < kTasks; task += K::kWarps * 32) {
    const int nth = task / kPieces, piece = task % kPieces;
    const column c = column_at(nth);
    // Columns that do not exist are zeros, and see nothing.
    copy_async(to.q + nth * memory::kStride + piece * 8, byte_pointer(p.q) + c.row * p.q_row_stride + c.head * p.q_head_stride + piece * 16, c.valid);
    if (piece > 0) continue;
    store_shared(&to.sights[nth].position, c.valid ? c.position : memory::kSeesNothing);
    store_shared(&to.sights[nth].new_rows, c.valid ? c.new_rows : 0u);
    store_shared(to.places + nth, c.row * p.q_heads + c.head);
  }
  copy_async_commit();
  copy_async_wait<0>();
  if constexpr (memory::kRounds) {
#pragma unroll 1
    for (int task = thread_index(); task < kTasks; task += K::kWarps * 32) {  // what this thread copied
      const int at = task / kPieces * memory::kStride + task % kPieces * 8;
      bytes16 x = load_shared(reinterpret_cast<const bytes16*>(to.q + at));
#pragma unroll
      for (int i = 0; i < 4; ++i) x.w[i] = halves_of_query<typename K::Element>(x.w[i]);
      store_shared(reinterpret_cast<bytes16*>(to.decoded_q + at), x);
    }
  }
}

/// Columns 2t and 2t + 1 of a group, without rows and heads: place_of knows those.
struct column_pair {
  column of[2];
};
template <class K>
__device__ __forceinline__ column_pair load_pair(const block_columns<K, true>& from, int group) {
  const bytes16 pair = load_shared(reinterpret_cast<const bytes16*>(from.sights + group * 8 + lane_index() % 4 * 2));
  column_pair to;
#pragma unroll
  for (int c = 0; c < 2; ++c) {
    const int position = int(pair.w[2 * c]);
    to.of[c] = {position != block_columns<K, true>::kSeesNothing, 0, 0, position, pair.w[2 * c + 1]};
  }
  return to;
}

/// Where the scores of `c`, this lane's column `which` (0 or 1) of a group, lie in [rows, q_heads]. Divisions would be unrolled with the loop over columns.
template <class K, class P>
__device__ __forceinline__ int64_t place_of(const P& p, const block_columns<K>& block, const column& c, int group, int which) {
  if constexpr (kMany<K>) return load_shared(block.places + group * 8 + lane_index() % 4 * 2 + which);
  else return int64_t(c.row) * p.q_heads + c.head;
}

/// d[group][token][column] = rows . columns; `rows`: 16 rows in shared memory, elements, or f16 that were codes; `one`: the columns, if they are one group.
template <class K, class T, class Memory, int kSteps>
__device__ __forceinline__ void multiply_groups(float (&d)[column_groups<K>][4], const T* rows, const Memory& block, const uint32_t (&one)[kSteps][2]) {
  constexpr int kStride = K::kHeadDim + 8;
  if constexpr (!kMany<K>) {
    multiply_rows<K::kHeadDim>(d[0], rows, kStride, one);
  } else {
    const int lane = lane_index();
    const T* from = rows + lane % 16 * kStride + lane / 16 * 8;
    const T* columns;
    if constexpr (kIsBf16<T> == kIsBf16<typename K::Element>) columns = block.q;
    else columns = block.decoded_q;
    columns += lane % 8 * kStride + lane / 8 * 8;
#pragma unroll
    for (int step = 0; step < K::kHeadDim / 16; step += 2) {
      uint32_t a[2][4];
      load_matrix_x4(a[0], from + step * 16);
      load_matrix_x4(a[1], from + step * 16 + 16);
#pragma unroll
      for (int group = 0; group < column_groups<K>; ++group) {
        uint32_t b[4];
        load_matrix_x4(b, columns + group * 8 * kStride + step * 16);
        multiply_add<T>(d[group], a[0], {b[0], b[1]});
        multiply_add<T>(d[group], a[1], {b[2], b[3]});
      }
    }
  }
}

/// o[group][channel][column] += rows^T . weights, as accumulate_rows.
template <class K, class T, class State>
__device__ __forceinline__ void accumulate_groups(State (&state)[column_groups<K>], const T* rows, const float (&weights)[column_groups<K>][K::kWarpUnits][4], int u) {
  constexpr int kStride = K::kHeadDim + 8;
  if constexpr (!kMany<K>) {
    accumulate_rows<K::kHeadDim>(state[0].o, rows, kStride, weights[0][u]);
  } else {
    const int lane = lane_index();
    const T* from = rows + (lane % 8 + lane / 16 * 8) * kStride + lane / 8 % 2 * 8;
    uint32_t b[column_groups<K>][2];
#pragma unroll
    for (int group = 0; group < column_groups<K>; ++group) transpose_weights<T>(b[group], weights[group][u]);
#pragma unroll
    for (int tile = 0; tile < K::kHeadDim / 16; ++tile) {
      uint32_t a[4];
      load_matrix_x4_transposed(a, from + tile * 16);
#pragma unroll
      for (int group = 0; group < column_groups<K>; ++group) multiply_add<T>(state[group].o[tile], a, b[group]);
    }
  }
}
