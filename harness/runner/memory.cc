// Copies between the two sides of memory.h.
#include "memory.h"

#include <algorithm>

namespace runner {

namespace {

constexpr size_t kPiece = size_t(64) << 20;

bool poisoned(const std::vector<uint8_t>& bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == kPoison; });
}

}  // namespace

Buffer& Memory::add(const std::string& name, size_t bytes) {
  buffers_.emplace_back();
  Buffer& b = buffers_.back();
  b.name = name;
  b.host.reserve(bytes + 1);  // a buffer of 0 bytes still has an address
  b.host.assign(bytes, kPoison);
  return b;
}

void Memory::upload() {
  const std::vector<uint8_t> guard(kGuard, kPoison);
  for (Buffer& b : buffers_) {
    const size_t bytes = b.host.size();
    if (b.base && b.kept) continue;
    if (!b.base) driver_.check(driver_.cuMemAlloc(&b.base, bytes + 2 * kGuard), "cuMemAlloc of " + std::to_string(bytes) + " B for " + b.name);
    driver_.check(driver_.cuMemcpyHtoD(b.base, guard.data(), kGuard), "cuMemcpyHtoD");
    if (bytes && (poison || !b.workspace)) driver_.check(driver_.cuMemcpyHtoD(b.device(), b.host.data(), bytes), "cuMemcpyHtoD");
    driver_.check(driver_.cuMemcpyHtoD(b.device() + bytes, guard.data(), kGuard), "cuMemcpyHtoD");
  }
}

void Memory::download(std::vector<std::string>& faults) {
  const auto read = [&](std::vector<uint8_t>& to, CUdeviceptr from, size_t bytes) {
    to.resize(bytes);
    if (bytes) driver_.check(driver_.cuMemcpyDtoH(to.data(), from, bytes), "cuMemcpyDtoH");
  };
  std::vector<uint8_t> piece;
  for (Buffer& b : buffers_) {
    const size_t bytes = b.host.size();
    for (const bool front : {true, false}) {
      read(piece, front ? b.base : b.device() + bytes, kGuard);
      if (poisoned(piece)) continue;
      faults.push_back("wrote outside " + b.name + ", " + (front ? "before" : "behind") + " it");
      break;
    }
    if (b.writable.empty()) {
      bool same = true;
      for (size_t at = 0; at < bytes && same; at += kPiece) {
        read(piece, b.device() + at, std::min(kPiece, bytes - at));
        same = std::equal(piece.begin(), piece.end(), b.host.begin() + std::ptrdiff_t(at));
      }
      if (!same) faults.push_back("wrote to the input " + b.name);
      continue;
    }
    if (!poison && b.workspace) continue;
    read(b.result, b.device(), bytes);
    for (size_t i = 0; i < bytes; i++) {
      if (b.result[i] != b.host[i] && !b.writable[i]) {
        faults.push_back("wrote byte " + std::to_string(i) + " of " + b.name + ", which is not its to write");
        break;
      }
    }
  }
}

}  // namespace runner
