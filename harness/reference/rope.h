// Rotary position embedding in double, angles included.
#pragma once
#include <cmath>

namespace reference {

/// RoPE as data: pairs (i, i + rotary_dim/2), or (2i, 2i + 1) when interleaved, turn by position * inv_freq[i]; `factor` (YaRN) scales cos and sin.
struct Rope {
  const float* inv_freq = nullptr;
  int rotary_dim = 0;
  bool interleaved = false;
  double factor = 1;

  /// Rotates the head vector x in place. Channels from rotary_dim on stay.
  void rotate(double* x, double position) const { turn(x, position, 1, factor); }
  /// The inverse of rotate.
  void unrotate(double* x, double position) const { turn(x, position, -1, 1 / factor); }

 private:
  void turn(double* x, double position, double direction, double size) const {
    for (int i = 0; i < rotary_dim / 2; i++) {
      const int a = interleaved ? 2 * i : i, b = interleaved ? 2 * i + 1 : i + rotary_dim / 2;
      const double angle = position * double(inv_freq[i]);
      const double cosine = size * std::cos(angle), sine = direction * size * std::sin(angle);
      const double xa = x[a], xb = x[b];
      x[a] = xa * cosine - xb * sine;
      x[b] = xa * sine + xb * cosine;
    }
  }
};

/// The RoPE fields of a parameter struct.
template <class Params>
Rope rope_of(const Params& p) {
  return {p.inv_freq, p.rotary_dim, p.rope_interleaved != 0, double(p.attention_factor)};
}

}  // namespace reference
