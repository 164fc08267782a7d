// The 16-bit types for the host: exact reading, one correct rounding when writing.
#pragma once
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "antkv_format.h"

namespace reference {

/// The value of a half. A table: references read millions.
inline double from_half(uint16_t bits) {
  static const std::array<float, 65536> table = [] {
    std::array<float, 65536> t{};
    for (int i = 0; i < 65536; i++) t[i] = float(antkv_half_value(uint16_t(i)));
    return t;
  }();
  return table[bits];
}

/// The half nearest to x, ties to even, in one rounding from double; beyond 65520 infinity.
inline uint16_t to_half(double x) {
  if (std::isnan(x)) return 0x7e00;
  const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  const double size = std::fabs(x);
  if (size >= 65520) return sign | 0x7c00;
  if (size < std::ldexp(1.0, -14)) return sign | uint16_t(std::nearbyint(std::ldexp(size, 24)));
  int exponent;
  const double mantissa = std::frexp(size, &exponent);  // size = mantissa * 2^exponent, mantissa in [0.5, 1)
  // A mantissa of 2048 carries into the exponent, as it should.
  return sign | uint16_t(((exponent + 14) << 10) + int(std::nearbyint(std::ldexp(mantissa, 11))) - 1024);
}

/// The type of queries, exact rows and output: a contract's dtype. Gains and codebooks are halves whatever it is.
enum class Element { f16, bf16 };

/// The bf16 nearest to x, ties to even, in one rounding from double; beyond the largest infinity.
inline uint16_t to_bf16(double x) {
  if (std::isnan(x)) return 0x7fc0;
  const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  const double size = std::fabs(x);
  if (size >= 0x1.ffp127) return sign | 0x7f80;
  int exponent;
  std::frexp(size, &exponent);
  if (exponent < -125 || size == 0) exponent = -125;  // subnormal numbers have the least exponent
  return sign | uint16_t(((exponent + 125) << 7) + int(std::nearbyint(std::ldexp(size, 8 - exponent))));
}
inline double from_bf16(uint16_t bits) {
  const uint32_t wide = uint32_t(bits) << 16;
  float x;
  std::memcpy(&x, &wide, 4);
  return x;
}
inline uint16_t to_element(Element e, double x) { return e == Element::bf16 ? to_bf16(x) : to_half(x); }
inline double from_element(Element e, uint16_t bits) { return e == Element::bf16 ? from_bf16(bits) : from_half(bits); }

/// `count` elements at `from` as doubles.
inline void read_elements(Element e, const void* from, int count, double* to) {
  for (int i = 0; i < count; i++) {
    uint16_t bits;
    std::memcpy(&bits, static_cast<const uint8_t*>(from) + 2 * i, 2);
    to[i] = from_element(e, bits);
  }
}
inline void read_halves(const void* from, int count, double* to) { read_elements(Element::f16, from, count, to); }

/// Four sums side by side: an addition need not wait for the one before.
inline double dot(const double* a, const double* b, int count) {
  double sums[4] = {};
  int i = 0;
  for (; i + 4 <= count; i += 4) {
    for (int lane = 0; lane < 4; lane++) sums[lane] += a[i + lane] * b[i + lane];
  }
  for (; i < count; i++) sums[0] += a[i] * b[i];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

inline double norm(const double* a, int count) { return std::sqrt(dot(a, a, count)); }

/// Element `at` of an optional array; `otherwise` when the array is null.
inline int value_or(const int32_t* array, int at, int otherwise) { return array ? array[at] : otherwise; }

}  // namespace reference
