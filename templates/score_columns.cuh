// Query columns on their way through shared memory. A column is one query head of one row; heads of a row are neighbours, so that a tile is a run of rows.
// A warp copies and prepares its own share of each tile's columns, and all warps multiply all of them.

constexpr float kLog2e = 1.44269504f;
constexpr int kNowhere = 0x7fffffff;  // position of a column that does not exist

/// The tiles of a range of rows, as one lane copies them.
template <class K, class P>
struct column_source {
  static constexpr int kShare = column_tile<K>::kColumns / K::kWarps, kPieces = K::kHeadDim / 8, kAtOnce = 32 / kPieces;  // columns of a warp, 16-byte pieces of each
  static constexpr int kLanes = 32 / kShare;  // that prepare a column
  static constexpr bool kEights = kPieces % 8 == 0;  // a column is whole lines of banks
  static_assert(kLanes <= 8 && kPieces % 4 == 0);
  using Element = typename K::Element;
  const P& p;
  row_range rows;
  int first_row, q_pos, head, ratio;  // first query row of the sequence, its position; first query head
  int share;                          // the warp's first column of a tile
  int place = 0, step = 0;            // where `find` goes on: row of the range * 32 + head, and how far a tile is
  int next = -1;                      // of the next tile, this lane's column (lane < kShare): row * 16 + head, or -1

  /// Starts at column `flat` of the range.
  __device__ __forceinline__ void start(int flat) {
    const int mine = flat + share + lane_index();
    place = mine / ratio * 32 + mine % ratio;
    step = column_tile<K>::kColumns / ratio * 32 + column_tile<K>::kColumns % ratio;
    find();
  }

  /// Finds the next tile's column. Without a division: columns are found for every tile.
  __device__ __forceinline__ void find() {
    next = (place >> 5) < rows.count && lane_index() < kShare ? row_of(rows, place >> 5) * 16 + (place & 31) : -1;
    place += step;
    if ((place & 31) >= ratio) place += 32 - ratio;
  }

  /// Starts copying the columns that `next` says, and finds those of the tile after: their rows have a tile's time to arrive.
  __device__ __forceinline__ void copy(column_tile<K>& tile) {
    const int lane = lane_index(), mine = share + lane;
    // A column beyond the last takes the first row's numbers, and no weight.
    const bool exists = next >= 0;
    const int row = exists ? next / 16 : 0;
    const int64_t at = first_row + row, of = head + (exists ? next % 16 : 0);
    if (lane < kShare) {
      copy_async_word(tile.lse + mine, p.lse + at * p.q_heads + of);
      store_shared(tile.position + mine, exists ? q_pos + row : kNowhere);
    }
    copy_rows(tile.q, byte_pointer(p.q) + at * p.q_row_stride + of * p.q_head_stride);
    if constexpr (K::kTimesDistance) copy_rows(tile.o, byte_pointer(p.o) + at * p.o_row_stride + of * p.o_head_stride);
    find();
  }

  /// A numbering of the warp's share, where columns are no whole lines of banks: `near` of them after one another are columns that begin 8 / near lanes of a line apart.
  static __device__ __forceinline__ int apart(int nth, int near) {
    if constexpr (kEights || kShare < 8) return nth;
    else return nth / 8 * 8 + nth % near * (8 / near) + nth % 8 / near;
  }

  /// Copies the warp's columns; lane i knows where column i lies.
  __device__ __forceinline__ void copy_rows(Element* to, const unsigned char* column) const {
    const int lane = lane_index();
#pragma unroll
    for (int i = 0; i < kShare; i += kAtOnce) {
      const int at = apart(i + lane / kPieces, 2);
      const auto* from = reinterpret_cast<const unsigned char*>(shuffle_address(reinterpret_cast<uint64_t>(column), at));
      if (32 % kPieces == 0 || lane < kAtOnce * kPieces) copy_async(to + column_tile<K>::place(share + at, lane % kPieces), from + lane % kPieces * 16, true);
    }
  }

  static __device__ __forceinline__ uint64_t shuffle_address(uint64_t x, int lane) {
    return uint64_t(shuffle(uint32_t(x >> 32), lane)) << 32 | shuffle(uint32_t(x), lane);
  }

  static constexpr int kNear = 8 / kLanes;  // columns that eight lanes prepare

  /// |x|^2 of the lane's column. Each of the column's lanes reads pieces that lie in other banks than those the seven lanes beside it read.
  __device__ __forceinline__ float norm(const Element* from) const {
    const int lane = lane_index();
    const int column = share + apart(lane / kLanes, kNear), first = lane % kLanes * (kEights ? kNear : 1);
    float sum[2] = {0, 0};  // do not wait for each other
#pragma unroll
    for (int i = 0; i < (kPieces + kLanes - 1) / kLanes; ++i) {
      const int piece = first + (kEights ? i / kNear * 8 + i % kNear : i * kLanes);
      if (kPieces % kLanes != 0 && piece >= kPieces) break;
      const bytes16 x = load_shared(reinterpret_cast<const bytes16*>(from + column_tile<K>::place(column, piece)));
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        const float value = to_float(Element{uint16_t(x.w[j / 2] >> (16 * (j % 2)))});
        sum[j % 2] = fused_multiply_add(value, value, sum[j % 2]);
      }
    }
    float total = sum[0] + sum[1];
#pragma unroll
    for (int far = kLanes / 2; far > 0; far /= 2) total += shuffle_xor(total, far);
    return total;
  }

  /// Turns what this warp copied into what weights are made of. The lane's own copies have arrived; a barrier of the block has yet to come.
  __device__ __forceinline__ void prepare(column_tile<K>& tile) const {
    warp_barrier();  // other lanes' copies
    float q_norm = 1, o_norm = 0;
    if constexpr (K::kTimesQuery) q_norm = norm(tile.q);
    if constexpr (K::kTimesDistance) o_norm = norm(tile.o);
    if (lane_index() % kLanes != 0) return;
    const int mine = share + apart(lane_index() / kLanes, kNear);
    const float lse = load_shared(tile.lse + mine);
    // A row that saw nothing has an lse of -inf and no weight to give, as has a column beyond the last, and for forms with |q| a query that is zero.
    const bool sees = lse != minus_infinity() && load_shared(tile.position + mine) != kNowhere && q_norm > 0;
    const float times = K::kTimesQuery ? 0.5f * log2_fast(K::kTimesDistance ? 2 * p.scale * p.scale * q_norm : q_norm) : 0;
    const float capped = K::kSoftcap ? p.softcap * kLog2e : 0;  // score_scale
    store_shared(tile.offset + mine, sees ? times - lse * kLog2e - capped : minus_infinity());
    if constexpr (K::kTimesDistance) store_shared(tile.factor + mine, -0.5f * o_norm);
    else if constexpr (K::kTimesQuery) store_shared(tile.factor + mine, sees ? -exp2_fast(-times) : 0);
  }
};
