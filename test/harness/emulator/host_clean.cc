// Plain C++ answers to kernels/clean.cu, under each fibre order given. On a real driver (no antkv_emu_set) they must hold as well.
#include "host_numbers.h"

namespace {

uint16_t element(const std::vector<uint32_t>& rows, size_t row, size_t column) {  // rows of 8 halves
  return uint16_t(rows[row * 4 + column / 2] >> column % 2 * 16);
}

Case halves() {
  std::vector<uint32_t> in;
  for (uint32_t i = 0; i < 65536; i++) in.push_back(i);                       // every half; as fp32 bits, the smallest subnormals
  for (uint32_t h = 0; h < 0x7c00; h++) {                                     // between neighbours: the middle and its neighbours in fp32
    const float middle = float((half_value(uint16_t(h)) + (h == 0x7bff ? 65536 : half_value(uint16_t(h + 1)))) / 2);
    for (const int32_t step : {-1, 0, 1}) in.push_back((as_bits(middle) + uint32_t(step)) | h << 31);
  }
  for (const uint32_t u : {0x7f800000u, 0xff800000u, 0x7f800001u, 0xffc00000u, 0x7f7fffffu, 0x477fefffu, 0x477ff000u, 0x33000000u, 0x33000001u, 0x80000000u}) in.push_back(u);
  const size_t n = in.size();
  return {"halves", 0, {unsigned(n + 127) / 128, 1, 1}, 0, in, n * 3, [](size_t i, uint32_t word, const std::vector<uint32_t>& from) {
            const uint32_t bits = from[i / 3];
            const uint16_t h = uint16_t(bits);
            const double value = half_value(h);
            if (i % 3 == 0) return isnan(value) ? isnan(as_float(word)) : word == as_bits(float(value));
            if (i % 3 == 1) return word == (isnan(value) ? 0x7fffu : h);
            return word == nearest_half(as_float(bits));
          }};
}

Case matrix() {
  std::vector<uint32_t> in;
  for (int i = 0; i < 192; i++) {
    uint32_t word = 0;
    for (int k = 0; k < 2; k++) word |= uint32_t(nearest_half(float(int(random_word() % 33) - 16))) << 16 * k;  // sums stay exact
    in.push_back(word);
  }
  return {"matrix", 1, {1, 1, 1}, 0, in, 128 * 4, [](size_t i, uint32_t word, const std::vector<uint32_t>& from) {
            const size_t row = i % 128 / 8, n = i % 8;
            double sum = double(row * 8 + n);
            for (size_t k = 0; k < 16; k++) sum += (k < 8 ? 3 : 2) * half_value(element(from, row * 2 + k / 8, k % 8)) * half_value(uint16_t(from[128 + k / 2 * 8 + n] >> k % 2 * 16));
            return as_float(word) == float(sum);
          }};
}

Case fragments() {
  return {"fragments", 2, {1, 1, 1}, 4 * 512, random_words(4 * 128), 128 * 12, [](size_t i, uint32_t word, const std::vector<uint32_t>& from) {
            const size_t thread = i / 12, warp = thread / 32, lane = thread % 32, g = lane / 4, t = lane % 4, m = i % 4;
            const size_t first = warp * 32 + m * 8;
            const bool transposed = i % 12 >= 4;
            const uint16_t lo = transposed ? element(from, first + 2 * t, g) : element(from, first + g, 2 * t);
            const uint16_t hi = transposed ? element(from, first + 2 * t + 1, g) : element(from, first + g, 2 * t + 1);
            return word == (uint32_t(lo) | uint32_t(hi) << 16);
          }};
}

Case votes() {
  return {"votes", 3, {1, 1, 1}, 0, random_words(128), 128 * 14, [](size_t i, uint32_t word, const std::vector<uint32_t>& from) {
            const size_t thread = i / 14, lane = thread % 32;
            const uint32_t* warp = from.data() + thread / 32 * 32;
            uint32_t ballot = 0, sum = 0, scan = 0;
            int32_t most = int32_t(warp[0]);
            for (size_t k = 0; k < 32; k++) {
              ballot |= (warp[k] & 1) << k;
              sum += warp[k];
              most = std::max(most, int32_t(warp[k]));
              if (k <= lane) scan += warp[k];
            }
            const uint32_t answers[] = {warp[5], warp[lane ^ 31], warp[lane ^ 9], warp[lane < 3 ? lane : lane - 3], ballot, sum, scan, uint32_t(__builtin_popcount(warp[lane])),
                                        warp[lane + 3 < 32 ? lane + 3 : lane], thread / 32 == 2, 1, uint32_t(thread), sum, uint32_t(most)};
            return word == answers[i % 14];
          }};
}

Case pipeline() {
  return {"pipeline", 4, {1, 1, 1}, 2 * 128 * 16, random_words(6 * 128 * 4), 128, [](size_t i, uint32_t word, const std::vector<uint32_t>& from) {
            uint32_t sum = 0;
            for (size_t tile = 0; tile < 8; tile++) {
              for (size_t k = 0; k < 4; k++) sum = sum * 31 + (tile < 6 ? from[(tile * 128 + (i + 1) % 128) * 4 + k] : 0);
            }
            return word == sum;
          }};
}

Case widths() {
  return {"widths", 5, {3, 2, 2}, 16 + 27 * 128, {0}, 12 * 128, [](size_t i, uint32_t word, const std::vector<uint32_t>&) {
            const uint32_t thread = i % 128, other = 127 - thread;
            return word == uint32_t(uint8_t(other * 3)) + other + other + 4 + (32 * (thread % 4) + 4 * (31 * 32 / 2));
          }};
}

Case arithmetic() {
  std::vector<uint32_t> in;
  for (int i = 0; i < 128; i++) in.push_back(as_bits(float(i - 40) * 0.0781f));
  in[0] = as_bits(-INFINITY);
  return {"arithmetic", 6, {1, 1, 1}, 0, in, 128 * 9, [](size_t i, uint32_t word, const std::vector<uint32_t>& from) {
            const double x = as_float(from[i / 9]), y = as_float(word);
            auto near = [&](double want, double error) { return isnan(want) ? isnan(y) : y == want || fabs(y - want) <= error; };
            switch (i % 9) {
              case 0: return near(exp2(x), exp2(x) * 0x1p-21);
              case 1: return near(log2(x), 0x1p-20 + fabs(log2(x)) * 0x1p-20);
              case 2: return near(double(float(x * x - 1)), 0);
              case 3: return near(nearbyint(x), 0);
              case 4: return near(double(sqrtf(float(x))), 0);
              case 5: return fabs(x) > 3.14 || near(sin(x), 0x1p-20);
              case 6: return fabs(x) > 3.14 || near(cos(x), 0x1p-20);
              case 7: return y == -INFINITY;
              default: return near(1 / x, fabs(1 / x) * 0x1p-22);  // 1 / 0 too
            }
          }};
}

}  // namespace

int run_clean(Driver& d, const std::vector<std::string>& args) {
  d.start();
  const Handle f = d.kernel(args[0], "emu_clean");
  std::vector<long long> orders;
  for (size_t i = 1; i < args.size(); i++) orders.push_back(atoll(args[i].c_str()));
  if (orders.empty()) orders.push_back(0);
  std::vector<Case> cases = {halves(), matrix(), fragments(), votes(), pipeline(), widths(), arithmetic()};
  for (Case& c : lookup_cases()) cases.push_back(std::move(c));
  for (const long long order : orders) {
    if (d.set) d.set("order", order);
    for (const Case& c : cases) {
      Words in(d, c.in), out(d, c.out_words);
      emu_test_params p{out.pointer(), in.pointer(), c.which, int32_t(c.in.size())};
      const int code = d.launch(f, c.grid, 128, c.shared, p);
      size_t wrong = 0, first = 0;
      uint32_t got = 0;
      if (!code) {
        const std::vector<uint32_t> words = out.read();
        for (size_t i = words.size(); i-- > 0;) {
          if (c.right(i, words[i], c.in)) continue;
          wrong++;
          first = i;
          got = words[i];
        }
      }
      printf("{\"case\":\"%s\",\"order\":%lld,\"code\":%d,\"words\":%zu,\"wrong\":%zu,\"first\":%zu,\"got\":\"%08x\",\"report\":%s}\n", c.name, order, code, c.out_words, wrong,
             first, got, quoted(d.report ? d.report() : "").c_str());
    }
  }
  return 0;
}
