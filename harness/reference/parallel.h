// One loop over independent parts, by all cores.
#pragma once
#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace reference {

/// Calls part(i) for every i below `count`, in any order, from any thread; parts must not write to the same place. `operations` in all: small loops are done before threads are up.
template <class F>
void for_each_part(int count, double operations, const F& part) {
  std::atomic<int> next{0};
  const auto work = [&] {
    for (int at; (at = next++) < count;) part(at);
  };
  const unsigned cores = operations > 2e6 ? std::min(std::thread::hardware_concurrency(), unsigned(count)) : 1;
  std::vector<std::thread> others;
  for (unsigned i = 1; i < cores; i++) others.emplace_back(work);
  work();
  for (std::thread& other : others) other.join();
}

}  // namespace reference
