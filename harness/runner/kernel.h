// A kernel as a request names it, and its launch.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "../reference/reference.h"
#include "driver.h"
#include "json.h"
#include "memory.h"

namespace runner {

/// The fields of a kernel reference (README.md).
struct Kernel {
  std::string name, image, op;
  int threads = 0, tokens = 0;
  size_t shared = 0, params_bytes = 0;
  reference::Contract contract;

  int warps() const { return threads / 32; }
  /// Reads a kernel reference of `op`. Throws RequestError.
  static Kernel read(const Json& json, const std::string& op);
};

struct Grid {
  int64_t x, y, z;
};

/// Launches kernels; keeps the images that it loaded.
class Launcher {
 public:
  explicit Launcher(const Driver& driver) : driver(driver) {}

  /// Launches and waits. Returns wall milliseconds. Throws RequestError (image unreadable, struct size) and DriverError.
  template <class P>
  double launch(const Kernel& kernel, Grid grid, const Params<P>& params) {
    P device = params.device();
    return launch(kernel, grid, &device, sizeof device);
  }
  const Driver& driver;

 private:
  double launch(const Kernel& kernel, Grid grid, void* params, size_t bytes);
  CUfunction load(const Kernel& kernel);
  std::map<std::string, CUfunction> loaded_;  // by image and name; images are content-addressed
};

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace runner
