// Numbers for the answers of host_clean.cc and host_lookup.cc: random words, halves by their definition, and what a case is.
#pragma once
#include <math.h>

#include <functional>

#include "host.h"

inline uint32_t seed = 1;
inline uint32_t random_word() {
  seed = seed * 1664525u + 1013904223u;
  return seed ^ seed >> 15;
}
inline std::vector<uint32_t> random_words(size_t n) {
  std::vector<uint32_t> w(n);
  for (uint32_t& x : w) x = random_word();
  return w;
}
inline float as_float(uint32_t u) {
  float x;
  memcpy(&x, &u, 4);
  return x;
}
inline uint32_t as_bits(float x) {
  uint32_t u;
  memcpy(&u, &x, 4);
  return u;
}

/// Value of a half by its definition.
inline double half_value(uint16_t h) {
  const int exponent = h >> 10 & 31, mantissa = h & 1023;
  const double size = exponent == 31 ? (mantissa ? NAN : INFINITY) : exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
  return h & 0x8000 ? -size : size;
}
/// The nearest half by search: the definition of rounding, ties to even.
inline uint16_t nearest_half(double x) {
  if (isnan(x)) return 0x7fff;
  const uint16_t sign = signbit(x) ? 0x8000 : 0;
  const double size = fabs(x);
  if (size >= 65520) return uint16_t(sign | 0x7c00);
  uint16_t low = 0, high = 0x7c00;  // half_value(low) <= size < half_value(high)
  while (high - low > 1) {
    const uint16_t middle = uint16_t((low + high) / 2);
    (half_value(middle) <= size ? low : high) = middle;
  }
  const double up = high == 0x7c00 ? 65536 : half_value(high);
  const double below = size - half_value(low), above = up - size;
  const bool take_low = below < above || (below == above && low % 2 == 0);
  return uint16_t(sign | (take_low ? low : high));
}

struct Case {
  const char* name;
  int which;
  unsigned grid[3];
  unsigned shared;
  std::vector<uint32_t> in;
  size_t out_words;
  std::function<bool(size_t, uint32_t, const std::vector<uint32_t>&)> right;  // (index, word, in)
};

/// The cases of kernels/lookup.h: bytes on the matrix unit, also sparse, packed halves, blocks that merge.
std::vector<Case> lookup_cases();
