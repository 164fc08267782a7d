// Rotary position embedding, in fp32, from data: frequencies, pairing, rotated channels, factor on cos and sin.

/// sin and cos of position * inv_freq, good to about 1e-6 for 0 <= position < 2^23 and inv_freq <= 1.
/// The product keeps its rounding error, and 2 pi is subtracted in two parts (Cody and Waite), because at position
/// 10^6 an fp32 angle alone is off by 0.06 radians.
__device__ __forceinline__ void rope_angle(int position, float inv_freq, float& sine, float& cosine) {
  const float angle = float(position) * inv_freq;
  const float error = fused_multiply_add(float(position), inv_freq, -angle);
  const float turns = round_even(angle * 0.15915494f);                     // 1 / (2 pi)
  float reduced = fused_multiply_add(turns, -6.28318548f, angle);          // 2 pi = 6.28318548 - 1.7484556e-7 + ...
  reduced = fused_multiply_add(turns, 1.7484556e-7f, reduced);
  sine_cosine_fast(reduced + error, sine, cosine);
}

/// The two channels of pair `i`: (i, i + rotary_dim/2), or (2i, 2i + 1) when interleaved.
struct rope_pair {
  int first, second;
};
template <class P>
__device__ __forceinline__ rope_pair rope_channels(const P& p, int i) {
  return p.rope_interleaved ? rope_pair{2 * i, 2 * i + 1} : rope_pair{i, i + p.rotary_dim / 2};
}

/// Rotates `kRows` rows of f16 in shared memory in place, one warp; row r stands at position `position` + r.
/// `scale` holds one factor per channel that the rows still want, or is null.
template <int kRows, int kHeadDim, class P>
__device__ __forceinline__ void rotate_rows(const P& p, f16* rows, int row_stride, int position, const float* scale) {
  for (int i = lane_index(); i < p.rotary_dim / 2; i += 32) {
    const float inv_freq = load_global(p.inv_freq + i);
    const rope_pair pair = rope_channels(p, i);
    const float first_factor = p.attention_factor * (scale ? load_global(scale + pair.first) : 1.0f);
    const float second_factor = p.attention_factor * (scale ? load_global(scale + pair.second) : 1.0f);
    // The angle is taken exactly once per call; from row to row it grows by inv_freq, a rotation of its own. 15 steps lose less than 1e-5.
    float sine, cosine, step_sine, step_cosine;
    rope_angle(position, inv_freq, sine, cosine);
    rope_angle(1, inv_freq, step_sine, step_cosine);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      f16* first = rows + r * row_stride + pair.first;
      f16* second = rows + r * row_stride + pair.second;
      const float x = to_float(load_shared(first)) * first_factor, y = to_float(load_shared(second)) * second_factor;
      store_shared(first, to_f16(x * cosine - y * sine));
      store_shared(second, to_f16(x * sine + y * cosine));
      const float next = cosine * step_cosine - sine * step_sine;
      sine = sine * step_cosine + cosine * step_sine;
      cosine = next;
    }
  }
  if (!scale) return;
  for (int channel = p.rotary_dim + lane_index(); channel < kHeadDim; channel += 32)
    for (int r = 0; r < kRows; ++r) {
      f16* at = rows + r * row_stride + channel;
      store_shared(at, to_f16(to_float(load_shared(at)) * load_global(scale + channel)));
    }
}
