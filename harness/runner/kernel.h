// A kernel as a request names it; loading and launching it as users do, by antkv_load.h.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "../antkv_load.h"
#include "../reference/reference.h"
#include "driver.h"
#include "json.h"
#include "memory.h"

namespace runner {

struct Grid {
  int64_t x, y, z;
};

/// The fields of a kernel reference (README.md).
struct Kernel {
  std::string name, image, op;
  int threads = 0, tokens = 0, arch = 0, columns = 0;
  size_t shared = 0, params_bytes = 0;
  reference::Contract contract;

  /// What antkv_load.h knows of a kernel; its strings are this object's.
  antkv_kernel_row row() const;
  /// The grid for `params`, the op's struct as the device gets it. Throws RequestError if antkv_check refuses the struct.
  Grid grid(const void* params, size_t bytes) const;
  /// Throws RequestError unless queries and exact rows are f16, as those of dumps and lives are.
  void only_halves() const;
  /// Reads a kernel reference of `op`. Throws RequestError.
  static Kernel read(const Json& json, const std::string& op);
};

/// Launches kernels; keeps the images that it loaded.
class Launcher {
 public:
  /// `path`: the driver library that `driver` has open. Throws DriverError.
  Launcher(const Driver& driver, const std::string& path);
  Launcher(const Launcher&) = delete;

  /// Launches and waits. Returns wall milliseconds. Throws RequestError (image unreadable, struct that antkv_check refuses) and DriverError.
  template <class P>
  double launch(const Kernel& kernel, const Params<P>& params) {
    const P device = params.device();
    return launch(kernel, &device, sizeof device);
  }
  /// The kernel, allowed its dynamic shared memory. Throws RequestError if the image cannot be read, runs fewer threads or takes another parameter struct than the
  /// reference says, DriverError if the driver refuses it.
  CUfunction load(const Kernel& kernel);
  const Driver& driver;

 private:
  double launch(const Kernel& kernel, const void* params, size_t bytes);
  /// Throws the loader's last error.
  [[noreturn]] void fail(bool driver_failed);
  antkv_library library_;
  std::map<std::string, CUfunction> loaded_;  // by image and name; images are content-addressed
};

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace runner
