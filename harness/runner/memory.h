// Buffers that exist twice, on host and device, with guard zones; and parameter structs that point into them.
#pragma once
#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include "driver.h"

namespace runner {

/// Bytes before and behind each buffer that no kernel may write. NaN in every type, so that a read beyond the end shows too.
constexpr size_t kGuard = 256;
constexpr uint8_t kPoison = 0xff;

/// One allocation. `host` is what it holds before the launch (and what references read), `result` what the device held after it, empty for an input.
struct Buffer {
  std::string name;
  std::vector<uint8_t> host, result;
  CUdeviceptr base = 0;  // of the front guard
  /// host and result where the kernel may write; elsewhere every byte must stay.
  std::vector<bool> writable;
  bool workspace = false;  // what one kernel leaves for the next
  bool kept = false;       // uploaded before the first launch only: every launch leaves it as it found it

  CUdeviceptr device() const { return base + kGuard; }
  template <class T>
  T* as() { return reinterpret_cast<T*>(host.data()); }
  template <class T>
  const T* result_as() const { return reinterpret_cast<const T*>(result.data()); }
  /// Says that the kernel may write these bytes.
  void allow(size_t offset, size_t bytes) {
    if (writable.empty()) writable.assign(host.size(), false);
    for (size_t i = offset; i < offset + bytes; i++) writable[i] = true;
  }
  void allow_all() { allow(0, host.size()); }
};

/// The buffers of one problem. Freed with it.
class Memory {
 public:
  explicit Memory(const Driver& driver) : driver_(driver) {}
  Memory(const Memory&) = delete;
  ~Memory() {
    for (Buffer& b : buffers_) {
      if (b.base) driver_.cuMemFree(b.base);
    }
  }

  /// A buffer of `bytes`, poisoned. It stays where it is: parameter structs may point into `host`.
  Buffer& add(const std::string& name, size_t bytes);
  template <class T>
  Buffer& add(const std::string& name, const std::vector<T>& content) {
    Buffer& b = add(name, content.size() * sizeof(T));
    if (!content.empty()) std::memcpy(b.host.data(), content.data(), content.size() * sizeof(T));
    return b;
  }
  /// Allocates what is not yet there, and writes `host` and guards to the device.
  void upload();
  /// Reads every buffer that may be written into `result`, and holds the inputs against `host` (they may be gigabytes: no second copy). Appends a line to `faults` per buffer whose guards or unwritable bytes changed.
  void download(std::vector<std::string>& faults);
  std::deque<Buffer>& buffers() { return buffers_; }
  /// False: workspaces stay as they were allocated, and are not read back; compute-sanitizer then sees who reads what no one wrote.
  bool poison = true;

 private:
  const Driver& driver_;
  std::deque<Buffer> buffers_;
};

/// A parameter struct for the host, whose pointers can be turned into device pointers.
template <class P>
class Params {
 public:
  P host{};
  Params(uint32_t abi_version) {
    host.struct_size = sizeof(P);
    host.abi_version = abi_version;
  }
  P* operator->() { return &host; }
  const P* operator->() const { return &host; }
  /// Points `field` to `buffer`.
  template <class T>
  void bind(T* P::* field, Buffer& buffer) {
    host.*field = reinterpret_cast<T*>(buffer.host.data());
    const size_t offset = reinterpret_cast<const uint8_t*>(&(host.*field)) - reinterpret_cast<const uint8_t*>(&host);
    bindings_.push_back({offset, &buffer});
  }
  /// Whether `other` would launch the same, but for where its buffers lie.
  bool same_fields(const Params& other) const {
    const P mine = without_addresses(), theirs = other.without_addresses();
    return std::memcmp(&mine, &theirs, sizeof(P)) == 0;
  }
  P device() const {
    P p = host;
    for (const auto& [offset, buffer] : bindings_) {
      const uint64_t address = buffer->device();
      std::memcpy(reinterpret_cast<uint8_t*>(&p) + offset, &address, sizeof address);
    }
    return p;
  }

 private:
  P without_addresses() const {
    P p = host;
    const uint64_t bound = 1;
    for (const auto& [offset, buffer] : bindings_) std::memcpy(reinterpret_cast<uint8_t*>(&p) + offset, &bound, sizeof bound);
    return p;
  }
  struct Binding {
    size_t offset;
    Buffer* buffer;
  };
  std::vector<Binding> bindings_;
};

}  // namespace runner
