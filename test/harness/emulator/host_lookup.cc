// Plain C++ answers to kernels/lookup.h: integer products with wrap-around, dense and sparse, packed halves rounded once, blocks that meet at a counter.
#include "host_numbers.h"

namespace {

/// Element of an unsigned or signed byte matrix, rows of `words` words.
int byte_of(const uint32_t* rows, size_t words, size_t row, size_t column, bool is_signed) {
  const uint32_t byte = rows[row * words + column / 4] >> column % 4 * 8 & 255;
  return is_signed ? int(int8_t(byte)) : int(byte);
}

Case bytes() {
  std::vector<uint32_t> in = random_words(128 + 64 + 128);  // A [16][32], B [column][32] bytes, C [16][8]
  for (size_t i = 0; i < 8; i++) in[i] = 0x80808080u;        // a row of -128
  for (size_t i = 128; i < 136; i++) in[i] = 0xffffffffu;    // a column of 255 or -1
  for (size_t i = 192; i < 200; i++) in[i] = 0x80000001u;    // sums that wrap around, both ways
  for (size_t i = 200; i < 208; i++) in[i] = 0x7fffffffu;
  return {"bytes", 7, {1, 1, 1}, 0, in, 128 * 2, [](size_t i, uint32_t word, const std::vector<uint32_t>& from) {
            const size_t row = i % 128 / 8, n = i % 8;
            int sum = 0;
            for (size_t k = 0; k < 32; k++) sum += byte_of(from.data(), 8, row, k, true) * byte_of(from.data() + 128, 8, n, k, i >= 128);
            return word == from[192 + i % 128] + 3 * uint32_t(sum);  // three steps
          }};
}

Case sparse() {
  const uint32_t pairs[] = {0x4, 0x8, 0xc, 0x9, 0xd, 0xe};          // of four, every ascending two: the second one's place above the first one's
  std::vector<uint32_t> in = random_words(128 + 128 + 128 + 16);     // A [16][32], B [column][64] bytes, C [16][8], a pair per row
  for (size_t i = 0; i < 8; i++) in[i] = 0xffffffffu;                // a row of 255: A is unsigned
  for (size_t i = 128; i < 144; i++) in[i] = 0x80808080u;            // a column of -128 or 128
  for (size_t i = 256; i < 272; i++) in[i] = i % 2 ? 0x80000001u : 0x7fffffffu;
  for (size_t i = 0; i < 16; i++) in[384 + i] = pairs[(i + i / 8) % 6];  // rows g and g + 8 differ
  return {"sparse", 12, {1, 1, 1}, 0, in, 128 * 2, [](size_t i, uint32_t word, const std::vector<uint32_t>& from) {
            const size_t row = i % 128 / 8, n = i % 8;
            int sum = 0;
            for (size_t kept = 0; kept < 32; kept++) {
              const size_t k = kept / 2 * 4 + (from[384 + row] >> kept % 2 * 2 & 3);
              sum += byte_of(from.data(), 8, row, kept, false) * byte_of(from.data() + 128, 16, n, k, i < 128);
            }
            return word == from[256 + i % 128] + 3 * uint32_t(sum);
          }};
}

/// A finite half in units of 2^-24, exactly.
__int128 units(uint16_t h) { return __int128(ldexp(half_value(h), 24)); }

/// The half nearest to a sum in units of 2^-48, not zero: by search, in integers, ties to even.
uint16_t nearest(__int128 sum) {
  const __int128 size = sum < 0 ? -sum : sum, one = 1;
  uint16_t low = 0, high = 0x7c00;
  auto value = [&](uint16_t h) { return h == 0x7c00 ? one << (16 + 48) : units(h) << 24; };
  if (size >= value(high)) return uint16_t(sum < 0 ? 0xfc00 : 0x7c00);
  while (high - low > 1) {
    const uint16_t middle = uint16_t((low + high) / 2);
    (value(middle) <= size ? low : high) = middle;
  }
  const __int128 below = size - value(low), above = value(high) - size;
  return uint16_t((below < above || (below == above && low % 2 == 0) ? low : high) | (sum < 0 ? 0x8000 : 0));
}

bool finite(uint16_t h) { return (h & 0x7c00) != 0x7c00; }

/// a * b + c, rounded once.
uint16_t fused(uint16_t a, uint16_t b, uint16_t c) {
  const double x = half_value(a), y = half_value(b), z = half_value(c);
  if (!finite(a) || !finite(b) || !finite(c)) return nearest_half(x * y + z);  // infinity or NaN: no rounding
  const __int128 sum = units(a) * units(b) + units(c) * (1 << 24);
  return sum ? nearest(sum) : nearest_half(x * y + z);  // the sign of a zero
}

Case packed() {
  std::vector<uint32_t> in;  // a, b, c: two halves each
  auto add = [&](uint32_t a, uint32_t b, uint32_t c) {
    for (const uint32_t x : {a, b, c}) in.push_back(x);
  };
  for (int i = 0; i < 6000; i++) add(random_word(), random_word(), random_word());
  for (int i = 0; i < 6000; i++) {  // c plus about half of its last place: the middle, and a little on either side
    uint32_t a[2], b[2], c[2];
    for (int k = 0; k < 2; k++) {
      c[k] = random_word() % 0xf800;
      if (c[k] >= 0x7c00) c[k] += 0x400;
      const int exponent = std::max(1, int(c[k] >> 10 & 31)) - 26;  // of the last place, halved
      const int split = exponent < -14 ? exponent + 14 : 0;
      a[k] = nearest_half(ldexp(1024 + int(random_word() % 3) - 1, std::max(exponent, -14) - 10));
      b[k] = nearest_half(ldexp(1 + (random_word() % 4 ? 0 : 0x1p-10), split)) | (random_word() & 0x8000);
    }
    add(a[0] | a[1] << 16, b[0] | b[1] << 16, c[0] | c[1] << 16);
  }
  const uint32_t special[] = {0x0000, 0x8000, 0x0001, 0x8001, 0x03ff, 0x0400, 0x3c00, 0xbc00, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e00, 0x3800, 0x1400, 0x6800};
  for (const uint32_t a : special) {
    for (const uint32_t b : special) {
      for (const uint32_t c : special) add(a | b << 16, b | c << 16, c | a << 16);
    }
  }
  const size_t n = in.size() / 3;
  return {"packed", 8, {unsigned(n + 127) / 128, 1, 1}, 0, in, n * 8, [](size_t i, uint32_t word, const std::vector<uint32_t>& from) {
            const uint32_t a = from[i / 8 * 3], b = from[i / 8 * 3 + 1], c = from[i / 8 * 3 + 2];
            uint32_t want = 0;
            for (int k = 0; k < 2; k++) {
              const uint16_t x = uint16_t(a >> 16 * k), y = uint16_t(b >> 16 * k), z = uint16_t(c >> 16 * k);
              uint32_t half = 0;
              if (i % 8 == 0) half = fused(x, 0x3c00, y);
              if (i % 8 == 1) half = isnan(half_value(x) * half_value(y)) ? 0x7fff : fused(x, y, (x ^ y) & 0x8000);  // a product keeps the sign of its zero
              if (i % 8 == 2) half = fused(x, y, z);
              if (i % 8 == 3) half = isnan(half_value(x)) ? word >> 16 * k & 0xffff : x ^ 0x8000u;
              if (i % 8 == 4) half = nearest_half(as_float(k ? b : a));
              want |= half << 16 * k;
            }
            if (i % 8 == 5) {
              want = c;
              for (int k = 0; k < 4; k++) want += (a >> 8 * k & 255) * (b >> 8 * k & 255);
            }
            if (i % 8 == 6) {
              uint8_t from8[8];
              memcpy(from8, &a, 4);
              memcpy(from8 + 4, &b, 4);
              for (int k = 0; k < 4; k++) {
                const uint8_t byte = from8[c >> 4 * k & 7];
                want |= uint32_t(c >> 4 * k & 8 ? (byte & 128 ? 255 : 0) : byte) << 8 * k;
              }
            }
            if (i % 8 == 7) want = a;
            return word == want;
          }};
}

Case merge() {
  std::vector<uint32_t> in = random_words(4 + 4 * 128 * 4);
  in[0] = in[2] = in[3] = 0;  // the counter, and the wide sum
  return {"merge", 9, {4, 1, 1}, 4, in, 5 * 128 + 3, [](size_t i, uint32_t word, const std::vector<uint32_t>& from) {
            auto part = [&](size_t block, size_t thread) {
              const uint32_t* mine = &from[4 + (block * 128 + thread) * 4];
              return mine[0] + 3 * mine[1] + 5 * mine[2] + 7 * mine[3];
            };
            if (i < 512) return word == part(i / 128, i % 128);
            if (i == 640) return word == 0;  // the counter, set back
            if (i > 640) {
              uint64_t wide = 0;
              for (size_t k = 0; k < 512; k++) wide += uint64_t(from[4 + k * 4]) << 8;
              return word == uint32_t(wide >> 32 * (i - 641));
            }
            uint32_t sum = 0;
            for (size_t block = 0; block < 4; block++) sum += part(block, i % 128);
            return word == sum;
          }};
}

Case lookups() {
  return {"lookups", 10, {1, 1, 1}, 32 << 10, {0}, 128, [](size_t thread, uint32_t word, const std::vector<uint32_t>&) {
            uint32_t sum = 0;
            for (uint32_t i = 0; i < 128; i++) {
              const uint32_t codes = (uint32_t(thread) + 1) * 2654435761u * (2 * i + 1);
              for (int k = 0; k < 4; k++) sum += (codes >> 8 * k & 255) * 32 + uint32_t(thread % 32);
            }
            return word == sum;
          }};
}

Case addresses() {
  constexpr size_t table = 8192;  // bytes; then 4 words per thread
  return {"addresses", 11, {1, 1, 1}, 1040 + table, random_words(table / 4 + 128 * 4), 128 * 8, [](size_t i, uint32_t word, const std::vector<uint32_t>& from) {
            const size_t of[] = {0, 1, 2, 2, 3, 3, 3, 3}, first[] = {0, 1, 2, 4};
            const size_t width = of[i % 8], bytes = size_t(2) << width;
            const size_t at = from[table / 4 + i / 8 * 4 + width] % (table / bytes) * bytes + (i % 8 - first[width]) * 4;
            uint32_t want = 0;
            memcpy(&want, reinterpret_cast<const unsigned char*>(from.data()) + at, width ? 4 : 2);
            return word == want;
          }};
}

}  // namespace

std::vector<Case> lookup_cases() { return {bytes(), sparse(), packed(), merge(), lookups(), addresses()}; }
