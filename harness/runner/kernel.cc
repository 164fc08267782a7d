// Reading kernel references, loading images, launching.
#include "kernel.h"

#include <chrono>
#include <fstream>
#include <iterator>

namespace runner {

Kernel Kernel::read(const Json& json, const std::string& op) {
  Kernel k;
  k.name = json.at("name").string("name");
  k.image = json.at("image").string("image");
  k.op = json.at("op").string("op");
  if (k.op != op) throw RequestError("a kernel of op \"" + op + "\" is needed, " + k.name + " is of \"" + k.op + "\"");
  k.threads = int(json.at("threads").integer("threads"));
  if (k.threads < 32 || k.threads > 1024 || k.threads % 32) throw RequestError("threads must be a multiple of 32 from 32 to 1024");
  k.tokens = int(json.integer("tokens", 0));
  k.shared = size_t(json.at("shared").integer("shared"));
  k.params_bytes = size_t(json.at("params_bytes").integer("params_bytes"));
  antkv_format& f = k.contract.format;
  f.head_dim = int32_t(json.integer("head_dim", 0));
  f.k.exact = f.v.exact = 1;
  for (const auto& [side, codec] : {std::pair{"k", &f.k}, {"v", &f.v}}) {
    const std::string name = json.string(side, "f16");
    if (!antkv_parse_codec(name.c_str(), codec)) throw RequestError("\"" + name + "\" is not a codec");
  }
  const std::string dtype = json.string("dtype", "f16");
  if (dtype != "f16") throw RequestError("dtype " + dtype + ": the runner knows f16 only");
  const std::string key = json.string("key", "post"), gain = json.string("gain", "none"), form = json.string("form", "column");
  if (key != "pre" && key != "post") throw RequestError("key must be pre or post");
  k.contract.pre = key == "pre";
  if (gain != "none" && gain != "k" && gain != "v" && gain != "kv") throw RequestError("gain must be none, k, v or kv");
  f.k_gain = gain[0] == 'k';
  f.v_gain = gain == "v" || gain == "kv";
  if (form != "column" && form != "exact") throw RequestError("form \"" + form + "\" has no reference yet");
  k.contract.exact_form = form == "exact";
  return k;
}

CUfunction Launcher::load(const Kernel& kernel) {
  const std::string key = kernel.image + "\n" + kernel.name;
  if (const auto found = loaded_.find(key); found != loaded_.end()) return found->second;
  std::ifstream file(kernel.image, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  if (!file) throw RequestError("cannot read the image " + kernel.image);
  CUmodule module = nullptr;
  CUfunction function = nullptr;
  driver.check(driver.cuModuleLoadData(&module, bytes.c_str()), "cuModuleLoadData(" + kernel.image + ")");
  driver.check(driver.cuModuleGetFunction(&function, module, kernel.name.c_str()), "cuModuleGetFunction(" + kernel.name + ")");
  // Above 48 KiB dynamic shared memory must be asked for (CUDA C++ Programming Guide, shared memory).
  driver.check(driver.cuFuncSetAttribute(function, kFunctionDynamicShared, int(kernel.shared)), "cuFuncSetAttribute(" + kernel.name + ", dynamic shared memory, " + std::to_string(kernel.shared) + ")");
  int most = 0;
  driver.check(driver.cuFuncGetAttribute(&most, kFunctionMaxThreads, function), "cuFuncGetAttribute(" + kernel.name + ")");
  if (most < kernel.threads) throw RequestError(kernel.name + " runs at most " + std::to_string(most) + " threads, not " + std::to_string(kernel.threads));
  size_t offset = 0, size = 0;
  if (driver.cuFuncGetParamInfo && driver.cuFuncGetParamInfo(function, 0, &offset, &size) == 0 && size != kernel.params_bytes)
    throw RequestError(kernel.name + " takes a parameter struct of " + std::to_string(size) + " B, the request says " + std::to_string(kernel.params_bytes) + "; compile it again");
  return loaded_[key] = function;
}

double Launcher::launch(const Kernel& kernel, Grid grid, void* params, size_t bytes) {
  if (bytes != kernel.params_bytes)
    throw RequestError(kernel.name + " takes a parameter struct of " + std::to_string(kernel.params_bytes) + " B, this runner was built with " + std::to_string(bytes) + "; build both from the same antkv.h");
  const CUfunction function = load(kernel);
  void* arguments[] = {params};
  const auto start = std::chrono::steady_clock::now();
  driver.check(driver.cuLaunchKernel(function, unsigned(grid.x), unsigned(grid.y), unsigned(grid.z), unsigned(kernel.threads), 1, 1, unsigned(kernel.shared), nullptr, arguments, nullptr),
               "cuLaunchKernel(" + kernel.name + ")");
  driver.check(driver.cuCtxSynchronize(), "cuCtxSynchronize after " + kernel.name);
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace runner
