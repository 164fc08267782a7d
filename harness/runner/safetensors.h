// Reads half-precision tensors of a safetensors file (https://github.com/huggingface/safetensors, "Format"): 8 bytes of header length, a JSON header, the data.
#pragma once
#include <string>
#include <vector>

#include "json.h"

namespace runner {

struct Tensor {
  std::vector<int64_t> shape;
  std::vector<uint16_t> halves;
};

/// A tensor as it lies in its file, while the Safetensors is there.
struct TensorView {
  std::vector<int64_t> shape;
  const uint8_t* bytes;  ///< little-endian halves; aligned to 1 byte only
  int64_t count;
};

/// A file mapped into memory: its pages are read when they are touched, and may be dropped again, so that it may exceed the memory.
class MappedFile {
 public:
  /// Throws RequestError.
  explicit MappedFile(const std::string& path);
  MappedFile(const MappedFile&) = delete;
  ~MappedFile();
  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

class Safetensors {
 public:
  /// Maps the file and reads its header. Throws RequestError if it cannot be read, is truncated, or its header is not JSON.
  explicit Safetensors(const std::string& path);
  bool has(const std::string& name) const { return header_.has(name); }
  /// The tensor `name`, which must be F16 with `rank` dimensions. Throws RequestError that names file, tensor and what is wrong.
  Tensor halves(const std::string& name, size_t rank) const;
  /// The same, in place and not read yet: it may hold NaN.
  TensorView view(const std::string& name, size_t rank) const;

 private:
  std::string path_;
  MappedFile file_;
  Json header_;
  size_t data_ = 0;
};

/// The bytes of a file. Throws RequestError.
std::string read_file(const std::string& path);

}  // namespace runner
