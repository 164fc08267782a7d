// One problem's device memory in as many copies as it takes to keep L2 cold, and parameter structs that point into it.
#pragma once
#include <cstring>

#include "bench_gpu.h"

namespace runner {

/// Equal copies of one block of device memory. First place() everything, then allocate(), write copy 0, replicate().
class Arena {
 public:
  explicit Arena(const Gpu& gpu) : gpu_(gpu) {}

  /// The offset of `bytes` bytes, 256-byte aligned as cuMemAlloc would give.
  size_t place(size_t bytes) {
    const size_t at = size_;
    size_ = (size_ + bytes + 255) / 256 * 256;
    return at;
  }
  /// Throws RequestError if the device has too little memory; `what` says for what.
  void allocate(int copies, const std::string& what) {
    copies_ = copies;
    memory_ = std::make_unique<DeviceMemory>(gpu_, size_ * size_t(copies), what);
  }
  size_t bytes() const { return size_; }
  int copies() const { return copies_; }
  CUdeviceptr at(int copy, size_t offset) const { return memory_->at() + size_t(copy) * size_ + offset; }

  void write(size_t offset, const void* from, size_t bytes) {
    if (bytes) gpu_.check(gpu_.driver.cuMemcpyHtoD(at(0, offset), from, bytes), "cuMemcpyHtoD");
  }
  template <class T>
  void write(size_t offset, const std::vector<T>& from) { write(offset, from.data(), from.size() * sizeof(T)); }
  void read(int copy, size_t offset, void* to, size_t bytes) const {
    if (bytes) gpu_.check(gpu_.driver.cuMemcpyDtoH(to, at(copy, offset), bytes), "cuMemcpyDtoH");
  }
  void fill(size_t offset, uint8_t value, size_t bytes) { gpu_.fill(at(0, offset), value, bytes); }
  /// The same in every copy.
  void fill_all(size_t offset, uint8_t value, size_t bytes) {
    for (int i = 0; i < copies_; i++) gpu_.fill(at(i, offset), value, bytes);
  }
  /// Writes `block` again and again until `bytes` are full.
  void repeat(size_t offset, const std::vector<uint8_t>& block, size_t bytes) {
    write(offset, block.data(), std::min(block.size(), bytes));
    // Whole blocks double with each copy, so that the period stays the block's.
    for (size_t done = block.size(); done < bytes; done *= 2) gpu_.copy(at(0, offset + done), at(0, offset), std::min(done, bytes - done));
  }
  /// Makes the other copies equal to copy 0, and waits.
  void replicate() {
    for (int i = 1; i < copies_; i++) gpu_.copy(at(i, 0), at(0, 0), size_);
    gpu_.synchronize();
  }
  /// True if `bytes` bytes at `offset` are the same in all copies.
  bool copies_agree(size_t offset, size_t bytes) const {
    std::vector<uint8_t> first(bytes), other(bytes);
    read(0, offset, first.data(), bytes);
    for (int i = 1; i < copies_; i++) {
      read(i, offset, other.data(), bytes);
      if (other != first) return false;
    }
    return true;
  }
  const Gpu& gpu() const { return gpu_; }

 private:
  const Gpu& gpu_;
  size_t size_ = 0;
  int copies_ = 0;
  std::unique_ptr<DeviceMemory> memory_;
};

/// A parameter struct whose pointers follow the copy.
template <class P>
class ArenaParams {
 public:
  P fields{};
  ArenaParams() {
    fields.struct_size = sizeof(P);
    fields.abi_version = ANTKV_ABI_VERSION;
  }
  P* operator->() { return &fields; }
  const P* operator->() const { return &fields; }
  /// Points `field` to `offset` of each copy of `arena`; `shared`: of copy 0 always.
  template <class T>
  void bind(T* P::* field, const Arena& arena, size_t offset, bool shared = false) {
    const size_t at = size_t(reinterpret_cast<const uint8_t*>(&(fields.*field)) - reinterpret_cast<const uint8_t*>(&fields));
    bindings_.push_back({at, &arena, offset, shared});
  }
  P of(int copy) const {
    P p = fields;
    for (const auto& b : bindings_) {
      const uint64_t address = b.arena->at(b.shared ? 0 : copy, b.offset);
      std::memcpy(reinterpret_cast<uint8_t*>(&p) + b.field, &address, sizeof address);
    }
    return p;
  }

 private:
  struct Binding {
    size_t field;
    const Arena* arena;
    size_t offset;
    bool shared;
  };
  std::vector<Binding> bindings_;
};

}  // namespace runner
