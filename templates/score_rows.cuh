// Which query rows of a sequence score its keys, and where those that see a key begin.

/// Rows in ascending order: list[0 ... count - 1], or without a list first, first + 1, ...
struct row_range {
  const int32_t* list;
  int first, count;
};

/// Row `i` of the range, counted in the sequence.
__device__ __forceinline__ int row_of(const row_range& rows, int i) { return rows.list ? load_global(rows.list + i) : rows.first + i; }

/// How many rows of the range are before row `least`. All lanes must call it; all get the answer.
__device__ __forceinline__ int rows_before(const row_range& rows, int least) {
  int low = 0, high = rows.count;
  if (!rows.list) return least <= rows.first ? 0 : least - rows.first < high ? least - rows.first : high;
  while (low < high) {  // 32 places at once: a list of 2^20 rows takes four loads in turn
    const int step = (high - low + 31) / 32;
    const int probe = low + lane_index() * step;
    const int before = count_bits(vote_ballot(probe < high && row_of(rows, probe < high ? probe : low) < least));
    if (before == 0) return low;
    if (low + before * step < high) high = low + before * step;
    low += (before - 1) * step + 1;
  }
  return low;
}
