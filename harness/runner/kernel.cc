// Reading kernel references; loading and launching through the loader that users copy, so that every check is one of the loader too.
#define ANTKV_LOAD_IMPLEMENTATION
#include "kernel.h"

#include <algorithm>
#include <chrono>
#include <fstream>

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
  if (const size_t at = k.name.find("__sm"); at != std::string::npos) k.arch = std::atoi(k.name.c_str() + at + 4);
  antkv_format& f = k.contract.format;
  f.head_dim = int32_t(json.integer("head_dim", 0));
  f.k.exact = f.v.exact = 1;
  for (const auto& [side, codec] : {std::pair{"k", &f.k}, {"v", &f.v}}) {
    const std::string name = json.string(side, "f16");
    if (!antkv_parse_codec(name.c_str(), codec)) throw RequestError("\"" + name + "\" is not a codec");
  }
  const std::string dtype = json.string("dtype", "f16");
  if (dtype != "f16" && dtype != "bf16") throw RequestError("dtype " + dtype + " is neither f16 nor bf16");
  k.contract.element = dtype == "bf16" ? reference::Element::bf16 : reference::Element::f16;
  const std::string key = json.string("key", "post"), gain = json.string("gain", "none"), form = json.string("form", "column");
  if (key != "pre" && key != "post") throw RequestError("key must be pre or post");
  f.pre = key == "pre";
  if (gain != "none" && gain != "k" && gain != "v" && gain != "kv") throw RequestError("gain must be none, k, v or kv");
  f.k_gain = gain[0] == 'k';
  f.v_gain = gain == "v" || gain == "kv";
  const char* const forms[] = {"column", "mass", "massq", "exact", "saliency", "norm"};
  const auto known = std::find(std::begin(forms), std::end(forms), form);
  if (known == std::end(forms)) throw RequestError("form \"" + form + "\" is not column, mass, massq, exact, saliency or norm");
  k.contract.form = reference::Form(known - std::begin(forms));
  k.contract.softcap = json.boolean("softcap", false);
  k.contract.sink = json.boolean("sink", false);
  k.columns = int(json.integer("columns", 0));
  if (op == "decode" && (k.columns < 1 || k.columns > 32)) throw RequestError("columns must be 1 to 32: the query columns of a CTA");
  return k;
}

void Kernel::only_halves() const {
  if (contract.element != reference::Element::f16) throw RequestError(name + " is not of dtype f16: dumps, and the rows of lives, are");
}

antkv_kernel_row Kernel::row() const {
  antkv_kernel_row row{};
  while (row.op < int(std::size(antkv_op_names)) && op != antkv_op_names[row.op]) row.op++;
  if (row.op == int(std::size(antkv_op_names))) throw RequestError("unknown op \"" + op + "\"");
  row.contract = row.symbol = name.c_str();
  row.file = image.c_str();
  row.arch = arch;
  row.threads = threads;
  row.tokens = tokens;
  row.shared_bytes = int32_t(shared);
  row.params_bytes = int32_t(params_bytes);
  const antkv_format& f = contract.format;
  row.head_dim = f.head_dim;
  row.columns = columns;
  if (row.op == ANTKV_OP_DECODE || row.op == ANTKV_OP_ENCODE || row.op == ANTKV_OP_APPEND || row.op == ANTKV_OP_UNPACK) {
    row.unit_bytes = int32_t(antkv_unit_layout(f).bytes);
    row.coded = !f.k.exact || !f.v.exact;
    row.needs = (f.k.exact ? 0 : ANTKV_NEEDS_KEYS) | (f.v.exact ? 0 : ANTKV_NEEDS_VALUES) | (f.pre ? ANTKV_NEEDS_ROPE : 0);
  }
  row.needs |= ANTKV_NEEDS_ALWAYS | (contract.form == reference::Form::exact ? ANTKV_NEEDS_EXACT : 0) | (contract.form == reference::Form::norm ? 0 : ANTKV_NEEDS_ROWS);
  row.needs |= (contract.softcap ? ANTKV_NEEDS_SOFTCAP : 0) | (contract.sink ? ANTKV_NEEDS_SINKS : 0);
  return row;
}

Grid Kernel::grid(const void* params, size_t bytes) const {
  if (bytes != params_bytes)
    throw RequestError(name + " takes a parameter struct of " + std::to_string(params_bytes) + " B, this runner was built with " + std::to_string(bytes) + "; build both from the same antkv.h");
  const antkv_kernel_row row = this->row();
  uint32_t grid[3];
  char why[1024];
  if (antkv_check(&row, params, grid, why, sizeof why) != ANTKV_OK) throw RequestError(name + ": " + why);
  return {grid[0], grid[1], grid[2]};
}

Launcher::Launcher(const Driver& driver, const std::string& path) : driver(driver), library_{} {
  // The library takes the context that `driver` made current. No antkv_open: kernels of requests lie in no generated folder.
  setenv("ANTKV_LIBCUDA", path.c_str(), 1);
  if (antkv_i_open_driver(&library_) != ANTKV_OK || antkv_i_take_context(&library_) != ANTKV_OK) throw DriverError(antkv_last_error(), true);
}

void Launcher::fail(bool driver_failed) {
  std::string message = antkv_last_error();
  if (!driver_failed) throw RequestError(message);
  driver.check(driver.cuCtxSynchronize(), message);  // a lost context says so again
  // The emulator's report may be longer than the loader's text.
  const char* report = driver.emulated() ? driver.emu_last_report() : "";
  if (*report) message = message.substr(0, message.find('\n')) + "\n" + report;
  throw DriverError(message, false);
}

CUfunction Launcher::load(const Kernel& kernel) {
  const std::string key = kernel.image + "\n" + kernel.name;
  if (const auto found = loaded_.find(key); found != loaded_.end()) return found->second;
  if (!std::ifstream(kernel.image)) throw RequestError("cannot read the image " + kernel.image);
  antkv_kernel_row row = kernel.row();
  // The loader puts its folder and "/" before the name.
  const bool absolute = kernel.image[0] == '/';
  std::strcpy(library_.folder, absolute ? "" : ".");
  row.file = kernel.image.c_str() + absolute;
  void *module = nullptr, *function = nullptr;
  if (antkv_i_load(&library_, &row, &module, &function) != ANTKV_OK) {
    if (module) driver.cuModuleUnload(static_cast<CUmodule>(module));
    fail(std::strncmp(antkv_last_error(), "cu", 2) == 0);
  }
  return loaded_[key] = static_cast<CUfunction>(function);
}

double Launcher::launch(const Kernel& kernel, const void* params, size_t bytes) {
  kernel.grid(params, bytes);  // refuses what is wrong before anything is loaded
  const antkv_kernel_row row = kernel.row();
  antkv_kernel loaded{};
  loaded.library = &library_;
  loaded.row = &row;
  loaded.function = load(kernel);
  const auto start = std::chrono::steady_clock::now();
  if (const int status = antkv_launch(&loaded, params, nullptr); status != ANTKV_OK) fail(status == ANTKV_ERROR_CUDA);
  driver.check(driver.cuCtxSynchronize(), "cuCtxSynchronize after " + kernel.name);
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace runner
