// Copies between the two sides of memory.h.
#include "memory.h"

namespace runner {

Buffer& Memory::add(const std::string& name, size_t bytes) {
  buffers_.emplace_back();
  Buffer& b = buffers_.back();
  b.name = name;
  b.host.assign(bytes, kPoison);
  b.host.reserve(bytes + 1);  // a buffer of 0 bytes still has an address
  return b;
}

void Memory::upload() {
  const std::vector<uint8_t> guard(kGuard, kPoison);
  for (Buffer& b : buffers_) {
    const size_t bytes = b.host.size();
    if (!b.base) driver_.check(driver_.cuMemAlloc(&b.base, bytes + 2 * kGuard), "cuMemAlloc of " + std::to_string(bytes) + " B for " + b.name);
    driver_.check(driver_.cuMemcpyHtoD(b.base, guard.data(), kGuard), "cuMemcpyHtoD");
    if (bytes) driver_.check(driver_.cuMemcpyHtoD(b.device(), b.host.data(), bytes), "cuMemcpyHtoD");
    driver_.check(driver_.cuMemcpyHtoD(b.device() + bytes, guard.data(), kGuard), "cuMemcpyHtoD");
  }
}

void Memory::download(std::vector<std::string>& faults) {
  std::vector<uint8_t> all;
  for (Buffer& b : buffers_) {
    const size_t bytes = b.host.size();
    all.resize(bytes + 2 * kGuard);
    driver_.check(driver_.cuMemcpyDtoH(all.data(), b.base, all.size()), "cuMemcpyDtoH");
    b.result.assign(all.begin() + kGuard, all.begin() + kGuard + bytes);
    for (size_t i = 0; i < kGuard; i++) {
      if (all[i] != kPoison || all[kGuard + bytes + i] != kPoison) {
        faults.push_back("wrote outside " + b.name + ", " + (all[i] != kPoison ? "before" : "behind") + " it");
        break;
      }
    }
    if (b.writable.empty()) {
      if (b.result != b.host) faults.push_back("wrote to the input " + b.name);
      continue;
    }
    for (size_t i = 0; i < bytes; i++) {
      if (b.result[i] != b.host[i] && !b.writable[i]) {
        faults.push_back("wrote byte " + std::to_string(i) + " of " + b.name + ", which is not its to write");
        break;
      }
    }
  }
}

}  // namespace runner
