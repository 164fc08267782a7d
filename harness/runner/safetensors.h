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

class Safetensors {
 public:
  /// Reads the file whole. Throws RequestError if it cannot be read, is truncated, or its header is not JSON.
  explicit Safetensors(const std::string& path);
  bool has(const std::string& name) const { return header_.has(name); }
  /// The tensor `name`, which must be F16 with `rank` dimensions. Throws RequestError that names file, tensor and what is wrong.
  Tensor halves(const std::string& name, size_t rank) const;

 private:
  std::string path_, bytes_;
  Json header_;
  size_t data_ = 0;
};

/// The bytes of a file. Throws RequestError.
std::string read_file(const std::string& path);

}  // namespace runner
