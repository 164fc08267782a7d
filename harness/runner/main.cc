// antkv-runner [--driver libcuda.so.1]: one JSON request per line on stdin, one JSON record per line on stdout. README.md defines both.
#include <cstdio>
#include <algorithm>
#include <iostream>

#include "bench.h"
#include "check.h"
#include "kmeans.h"

namespace runner {
namespace {

Json info(const Gpu& gpu) {
  const Driver& driver = gpu.driver;
  const Nvml nvml(gpu);
  int version = 0;
  char name[256] = "";
  size_t memory = 0;
  driver.check(driver.cuDriverGetVersion(&version), "cuDriverGetVersion");
  driver.check(driver.cuDeviceGetName(name, sizeof name, driver.device()), "cuDeviceGetName");
  driver.check(driver.cuDeviceTotalMem(&memory, driver.device()), "cuDeviceTotalMem");
  Json record = Json::object();
  record.set("device", name).set("emulated", driver.emulated()).set("driver_version", version).set("memory_bytes", uint64_t(memory));
  record.set("cc", driver.attribute(kAttributeComputeMajor) * 10 + driver.attribute(kAttributeComputeMinor));
  record.set("multiprocessors", driver.attribute(kAttributeMultiprocessors)).set("shared_per_block", driver.attribute(kAttributeSharedOptin));
  record.set("l2_bytes", gpu.l2_bytes()).set("bus_bits", driver.attribute(kAttributeBusBits));
  record.set("memory_mhz", std::max(1, driver.attribute(kAttributeMemoryKhz) / 1000));  // as antkv_open has it, by which tables know the device
  record.set("power_w", nvml.power_limit()).set("uuid", nvml.uuid()).set("driver", nvml.driver_version());
  return record.set("abi_version", ANTKV_ABI_VERSION);
}

Json check(Launcher& launcher, const Json& request) {
  const std::string op = request.at("op").string("op");
  if (op == "decode") return check_decode(launcher, request);
  if (op == "combine") return check_combine(launcher, request);
  if (op == "encode") return check_encode(launcher, request);
  if (op == "append") return check_append(launcher, request);
  if (op == "score") return check_score(launcher, request);
  if (op == "select") return check_select(launcher, request);
  if (op == "unpack") return check_unpack(launcher, request);
  if (op == "kmeans") return check_kmeans(launcher, request);
  throw RequestError("unknown op \"" + op + "\"");
}

Json answer(Launcher& launcher, Races& races, std::unique_ptr<Clusters>& clusters, const Json& request) {
  const std::string command = request.at("cmd").string("cmd");
  // Settings of the emulated driver; they stay until set again, and mean nothing on a real one.
  if (request.has("emulator")) {
    for (const auto& [key, value] : request.at("emulator").members()) {
      const int64_t setting = request.at("emulator").at(key).integer(key.c_str());
      if (launcher.driver.emu_set) launcher.driver.emu_set(key.c_str(), setting);
    }
  }
  if (command == "info") {
    request.refuse_unread();
    return info(races.gpu());
  }
  if (command == "check") return check(launcher, request);
  if (command == "race") return races.race(request);
  if (command == "probe") return probe(races.gpu(), request);
  races.forget();  // what follows may need all of the memory
  if (command == "kmeans") {
    if (!clusters) clusters = std::make_unique<Clusters>(races.gpu());
    return clusters->cluster(request);
  }
  clusters.reset();
  if (command == "attend") return attend(launcher, request);
  if (command == "life") return life(races.gpu(), request);
  if (command == "ceilings") return ceilings(races.gpu(), request);
  if (command == "bench") return bench(races.gpu(), request);
  throw RequestError("unknown cmd \"" + command + "\"; known: info, check, attend, life, ceilings, bench, race, probe, kmeans");
}

int serve(const std::string& path) {
  const Driver driver(path);
  Launcher launcher(driver, path);
  Races races(launcher, path);
  std::unique_ptr<Clusters> clusters;
  for (std::string line; std::getline(std::cin, line);) {
    if (line.empty()) continue;
    Json record = Json::object(), id;
    const auto failed = [&](const std::exception& error, const char* kind, bool fatal) {
      record = Json::object().set("id", id).set("error", error.what()).set("kind", kind).set("fatal", fatal);
      if (const int arm = races.failed_arm(); arm >= 0) record.set("arm", arm);
    };
    try {
      const Json request = Json::parse(line);
      if (request.has("id")) id = request.at("id");
      record.set("id", id);
      const Json result = answer(launcher, races, clusters, request);
      for (const auto& [key, value] : result.members()) record.set(key, value);
    } catch (const DriverError& error) {
      failed(error, "driver", error.fatal);
    } catch (const RequestError& error) {
      failed(error, "request", false);
    } catch (const std::exception& error) {  // out of memory and the like
      failed(error, "runner", false);
    }
    std::cout << record.dump() << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace runner

int main(int count, char** arguments) {
  std::string driver = "libcuda.so.1";
  if (count == 3 && std::string(arguments[1]) == "--driver") {
    driver = arguments[2];
  } else if (count != 1) {
    std::fprintf(stderr, "usage: antkv-runner [--driver libcuda.so.1]\nreads one JSON request per line, see harness/runner/README.md\n");
    return 2;
  }
  try {
    return runner::serve(driver);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "antkv-runner: %s\n", error.what());
    return 3;
  }
}
