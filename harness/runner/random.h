// Seeded random numbers, the same on every machine.
#pragma once
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

namespace runner {

/// splitmix64 (Steele, Lea, Flood 2014).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t bits() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }
  /// 0 ... n - 1
  int below(int64_t n) { return int(bits() % uint64_t(n)); }
  double uniform() { return double(bits() >> 11) * 0x1p-53; }
  double gauss() {  // Box and Muller
    const double radius = std::sqrt(-2 * std::log(1 - uniform()));
    return radius * std::cos(6.283185307179586 * uniform());
  }
  /// 0 ... n - 1 in random order.
  std::vector<int32_t> permutation(int n) {
    std::vector<int32_t> order(n);
    std::iota(order.begin(), order.end(), 0);
    for (int i = n - 1; i > 0; i--) std::swap(order[i], order[below(i + 1)]);
    return order;
  }

 private:
  uint64_t state_;
};

}  // namespace runner
