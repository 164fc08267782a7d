// Attention's two products on the matrix unit, for 16 tokens and 8 query columns. Lane = 4 * g + t throughout.

/// The 8 columns of a row-major operand with `kHeadDim` channels as B fragments: column g of this lane at `column`, or zeros.
template <int kHeadDim>
__device__ __forceinline__ void load_columns(uint32_t (&fragment)[kHeadDim / 16][2], const void* column, bool valid) {
  const uint32_t* words = static_cast<const uint32_t*>(column) + lane_index() % 4;
#pragma unroll
  for (int step = 0; step < kHeadDim / 16; ++step) {
    fragment[step][0] = valid ? load_global(words + step * 8) : 0;
    fragment[step][1] = valid ? load_global(words + step * 8 + 4) : 0;
  }
}

/// Columns of T as halves.
template <class T, int kSteps>
__device__ __forceinline__ void round_columns(uint32_t (&to)[kSteps][2], const uint32_t (&from)[kSteps][2]) {
#pragma unroll
  for (int i = 0; i < kSteps * 2; ++i) to[i / 2][i % 2] = halves_of_query<T>(from[i / 2][i % 2]);
}

/// d[token][column] = rows . columns over all channels; `rows` are 16 rows in shared memory.
template <int kHeadDim, class T>
__device__ __forceinline__ void multiply_rows(float (&d)[4], const T* rows, int row_stride, const uint32_t (&columns)[kHeadDim / 16][2]) {
  const int lane = lane_index();
  const T* from = rows + (lane % 16) * row_stride + lane / 16 * 8;
#pragma unroll
  for (int step = 0; step < kHeadDim / 16; ++step) {
    uint32_t a[4];
    load_matrix_x4(a, from + step * 16);
    multiply_add<T>(d, a, columns[step]);
  }
}

/// Weights as a B operand. A product's result has its tokens on rows; as B operand the tokens belong on pairs of registers: one transpose per 8 x 8 block.
template <class T>
__device__ __forceinline__ void transpose_weights(uint32_t (&b)[2], const float (&weights)[4]) {
  b[0] = transpose_matrix(pack(round_to<T>(weights[0]), round_to<T>(weights[1])));
  b[1] = transpose_matrix(pack(round_to<T>(weights[2]), round_to<T>(weights[3])));
}

/// d[channel][column] += rows^T . weights; `weights` holds token g (d[0], d[1]) and g + 8 (d[2], d[3]) of columns 2t, 2t + 1.
template <int kHeadDim, class T>
__device__ __forceinline__ void accumulate_rows(float (&d)[kHeadDim / 16][4], const T* rows, int row_stride, const float (&weights)[4]) {
  const int lane = lane_index();
  const T* from = rows + (lane % 8 + lane / 16 * 8) * row_stride + lane / 8 % 2 * 8;
  uint32_t b[2];
  transpose_weights<T>(b, weights);
#pragma unroll
  for (int tile = 0; tile < kHeadDim / 16; ++tile) {
    uint32_t a[4];
    load_matrix_x4_transposed(a, from + tile * 16);
    multiply_add<T>(d[tile], a, b);
  }
}
