// IEEE half precision in integer arithmetic: exact, the same on every machine, without the compiler's or CPU's f16 support.
#pragma once
#include <stdint.h>
#include <string.h>

namespace antkv_emu {

inline uint32_t bits_of(float x) {
  uint32_t u;
  memcpy(&u, &x, 4);
  return u;
}
inline float float_of(uint32_t u) {
  float x;
  memcpy(&x, &u, 4);
  return x;
}

/// Exact. NaN becomes the canonical NaN, as cvt.f32.f16 does.
inline float half_to_float(uint16_t h) {
  const uint32_t magnitude = h & 0x7fffu;
  const uint32_t sign = uint32_t(h & 0x8000u) << 16;
  if (magnitude > 0x7c00u) return float_of(0x7fffffffu);
  if (magnitude == 0x7c00u) return float_of(sign | 0x7f800000u);
  // The fp32 number with the same fields is 2^-112 times the value, subnormal halves included.
  return float_of(sign | bits_of(float_of(magnitude << 13) * 0x1p112f));
}

/// Nearest, ties to even; from 65520 on infinity; NaN becomes 0x7fff, as cvt.rn.f16.f32 does.
inline uint16_t float_to_half(float x) {
  uint32_t u = bits_of(x);
  const uint32_t sign = (u >> 16) & 0x8000u;
  u &= 0x7fffffffu;
  if (u > 0x7f800000u) return 0x7fff;
  if (u >= 0x47800000u) return uint16_t(sign | 0x7c00u);                                  // 65536 and more
  if (u < 0x38800000u) {                                                                  // below 2^-14: subnormal
    return uint16_t(sign | (bits_of(float_of(u) + 0.5f) - 0x3f000000u));                  // an ulp of 0.5 + x is 2^-24: the adder rounds
  }
  return uint16_t(sign | ((u + 0xc8000fffu + ((u >> 13) & 1)) >> 13));                    // exponent bias 127 -> 15, rounding carries into it
}

/// fp32 to its upper half: nearest, ties to even; NaN becomes 0x7fff, as cvt.rn.bf16.f32 does.
inline uint16_t float_to_bf16(float x) {
  const uint32_t u = bits_of(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return uint16_t((u + 0x7fffu + ((u >> 16) & 1)) >> 16);
}

/// float_to_half from double: for results that fp32 cannot hold exactly, so that they are rounded once.
inline uint16_t double_to_half(double x) {
  uint64_t u;
  memcpy(&u, &x, 8);
  const uint16_t sign = uint16_t(u >> 48 & 0x8000u);
  u &= ~0ull >> 1;
  if (u > 0x7ffull << 52) return 0x7fff;
  if (u >= 1039ull << 52) return uint16_t(sign | 0x7c00u);  // 65536 and more
  if (u < 1009ull << 52) {                                  // below 2^-14: an ulp of 2^28 + x is 2^-24
    double size;
    memcpy(&size, &u, 8);
    size += 0x1p28;
    memcpy(&u, &size, 8);
    return uint16_t(sign | uint16_t(u - (1051ull << 52)));
  }
  return uint16_t(sign | uint16_t((u - (1008ull << 52) + (1ull << 41) - 1 + (u >> 42 & 1)) >> 42));
}

// Products and fused sums of halves, rounded once. Doubles hold sums and products of two halves exactly. a * b + c may need more than 53 bits, but then
// one of the two is so much the smaller that the sum is not near the middle of two halves (or overflows): rounding twice makes no difference.
inline uint16_t multiply_half(uint16_t a, uint16_t b) { return double_to_half(double(half_to_float(a)) * double(half_to_float(b))); }
inline uint16_t fused_multiply_add_half(uint16_t a, uint16_t b, uint16_t c) {
  return double_to_half(double(half_to_float(a)) * double(half_to_float(b)) + double(half_to_float(c)));
}

}  // namespace antkv_emu
