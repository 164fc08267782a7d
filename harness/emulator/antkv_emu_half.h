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

}  // namespace antkv_emu
