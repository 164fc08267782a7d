// kmeans: codebooks of one tensor of a dump.
#pragma once
#include <memory>

#include "bench_gpu.h"
#include "safetensors.h"

namespace runner {

/// Answers requests `kmeans`. Keeps what the last one read on the device: the next may cluster the same rows from another start, or only measure.
class Clusters {
 public:
  explicit Clusters(const Gpu& gpu) : gpu_(gpu) {}
  /// Throws RequestError and DriverError.
  Json cluster(const Json& request);

 private:
  /// The rows of a tensor on the device.
  struct Rows {
    std::string key;  // file, tensor, tokens, weights and how they are spread
    int heads, tokens, head_dim;
    double largest, heaviest;
    std::unique_ptr<DeviceMemory> x, weights;
    double read_ms, upload_ms;
  };
  /// shared_channels: channels of a chunk where chunks are rows of their own, each with the weight of its token; 0: tokens are rows.
  void load(const Json& data, const std::string& weights, int shared_channels);
  const Gpu& gpu_;
  std::unique_ptr<Rows> rows_;
  std::unique_ptr<Safetensors> file_;
  std::string file_path_;
};

}  // namespace runner
