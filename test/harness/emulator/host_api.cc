// `api`: calls that must fail, and what they must answer. Prints {"call", "code", "want", "report"} for each.
#include <sys/mman.h>
#include <unistd.h>

#include "host.h"

namespace {
void expect(Driver& d, const char* call, int want, int code, const char* kind = "") {
  const std::string report = d.report();
  printf("{\"call\":\"%s\",\"code\":%d,\"want\":%d,\"kind\":\"%s\",\"report\":%s}\n", call, code, want, kind, quoted(code ? report : "").c_str());
}
}  // namespace

/// KERNEL NAME
int run_api(Driver& d, const std::vector<std::string>& args) {
  auto* attribute = d.find<int(int*, int, int)>("cuDeviceGetAttribute");
  auto* memory_info = d.find<int(size_t*, size_t*)>("cuMemGetInfo_v2");
  auto* set32 = d.find<int(Ptr, unsigned, size_t)>("cuMemsetD32_v2");
  auto* stream_create = d.find<int(Handle*, unsigned)>("cuStreamCreate");
  auto* stream_sync = d.find<int(Handle)>("cuStreamSynchronize");
  auto* stream_destroy = d.find<int(Handle)>("cuStreamDestroy_v2");
  auto* begin = d.find<int(Handle, int)>("cuStreamBeginCapture_v2");
  auto* end = d.find<int(Handle, Handle*)>("cuStreamEndCapture");
  auto* instantiate = d.find<int(Handle*, Handle, unsigned long long)>("cuGraphInstantiateWithFlags");
  auto* graph_launch = d.find<int(Handle, Handle)>("cuGraphLaunch");
  auto* occupancy = d.find<int(int*, Handle, int, size_t)>("cuOccupancyMaxActiveBlocksPerMultiprocessor");
  auto* get_proc = d.find<int(const char*, void**, int, uint64_t, int*)>("cuGetProcAddress_v2");
  auto* library_load = d.find<int(Handle*, const void*, void*, void*, unsigned, void*, void*, unsigned)>("cuLibraryLoadData");
  auto* library_file = d.find<int(Handle*, const char*, void*, void*, unsigned, void*, void*, unsigned)>("cuLibraryLoadFromFile");
  auto* library_kernel = d.find<int(Handle*, Handle, const char*)>("cuLibraryGetKernel");
  auto* kernel_function = d.find<int(Handle*, Handle)>("cuKernelGetFunction");
  auto* error_name = d.find<int(int, const char**)>("cuGetErrorName");

  Ptr p = 0;
  int value = 0;
  expect(d, "alloc before init", 3, d.alloc(&p, 4), "not-initialised");
  d.need(d.init(0), "cuInit");
  expect(d, "alloc without context", 201, d.alloc(&p, 4), "no-context");
  expect(d, "second device", 101, attribute(&value, 75, 1), "bad-device");
  d.start();

  char text[128] = "// PTX";
  Handle module = nullptr, function = nullptr;
  expect(d, "load PTX", 209, d.load(&module, text), "no-binary");
  memcpy(text, "\x50\xed\x55\xba", 4);
  expect(d, "load fatbin", 209, d.load(&module, text), "no-binary");
  strcpy(text, "garbage");
  expect(d, "load garbage", 200, d.load(&module, text), "bad-image");
  expect(d, "load missing file", 301, d.load_file(&module, "/nonexistent/x.so"), "no-file");
  Dl_info self;
  dladdr(reinterpret_cast<void*>(d.init), &self);
  expect(d, "load a .so that is no kernel", 200, d.load_file(&module, self.dli_fname), "bad-image");
  const auto image = Driver::read(args[0]);
  const int file = memfd_create("cut", MFD_CLOEXEC);
  const std::string cut = "/proc/self/fd/" + std::to_string(file);
  for (const size_t size : {size_t(70), image.size() / 8, image.size() / 2, image.size() - 1}) {
    if (ftruncate(file, 0) || pwrite(file, image.data(), size, 0) != ssize_t(size)) exit(3);
    expect(d, "load a file that is cut off", 200, d.load_file(&module, cut.c_str()), "bad-image");
  }
  close(file);
  auto part = image;  // a segment that reaches beyond the end
  const uint64_t far = 1 << 30;
  memcpy(part.data() + 64 + 32, &far, sizeof far);  // p_filesz of the first program header
  expect(d, "load an image of which a part is missing", 200, d.load(&module, part.data()), "bad-image");

  expect(d, "load", 0, d.load(&module, Driver::read(args[0]).data()));
  expect(d, "unknown kernel", 500, d.get_function(&function, module, "nobody"), "not-found");
  expect(d, "known kernel", 0, d.get_function(&function, module, args[1].c_str()));

  Words out(d, size_t(64)), in(d, std::vector<uint32_t>(64, 7));
  emu_test_params params{out.pointer(), in.pointer(), 99, 64};
  expect(d, "launch", 0, d.launch(function, 1, 64, 48 << 10, params));
  expect(d, "49 KB without opt-in", 1, d.launch(function, 1, 64, 49 << 10, params), "shared-optin");
  expect(d, "opt in", 0, d.set_attribute(function, 8, 49 << 10));
  expect(d, "49 KB with opt-in", 0, d.launch(function, 1, 64, 49 << 10, params));
  expect(d, "opt in past the arch", 1, d.set_attribute(function, 8, 164 << 10), "shared-limit");
  expect(d, "launch past the arch", 1, d.launch(function, 1, 64, 164 << 10, params), "shared-limit");
  expect(d, "1056 threads", 1, d.launch(function, 1, 1056, 0, params), "thread-limit");
  expect(d, "empty grid", 1, d.launch(function, 0, 64, 0, params), "bad-launch");
  expect(d, "grid.y too large", 1, d.launch(function, {1, 65536, 1}, 64, 0, params), "bad-launch");
  expect(d, "no parameters", 1, d.launch_kernel(function, 1, 1, 1, 64, 1, 1, 0, nullptr, nullptr, nullptr), "bad-launch");
  size_t small = sizeof params - 8;
  void* extra[] = {reinterpret_cast<void*>(1), &params, reinterpret_cast<void*>(2), &small, nullptr};
  expect(d, "too few parameter bytes", 1, d.launch_kernel(function, 1, 1, 1, 64, 1, 1, 0, nullptr, nullptr, extra), "bad-launch");
  small = sizeof params;
  expect(d, "parameters as a buffer", 0, d.launch_kernel(function, 1, 1, 1, 64, 1, 1, 0, nullptr, nullptr, extra));
  d.set("smem_limit", 32 << 10);
  expect(d, "smem_limit", 1, d.launch(function, 1, 64, 33 << 10, params), "shared-limit");
  d.set("smem_limit", 0);
  d.set("odrer", 1);
  printf("{\"call\":\"unknown setting\",\"code\":%d,\"want\":1,\"kind\":\"\",\"report\":%s}\n", strstr(d.report(), "bad-setting") ? 1 : 0, quoted(d.report()).c_str());

  expect(d, "occupancy", 0, occupancy(&value, function, 128, 80 << 10));
  printf("{\"call\":\"occupancy of 80 KB\",\"code\":%d,\"want\":2,\"kind\":\"\",\"report\":\"\"}\n", value);
  const char* name = "";
  error_name(719, &name);
  printf("{\"call\":\"error name\",\"code\":%d,\"want\":0,\"kind\":\"\",\"report\":\"%s\"}\n", strcmp(name, "CUDA_ERROR_LAUNCH_FAILED"), name);
  void* found = nullptr;
  expect(d, "entry point by base name", 0, get_proc("cuMemAlloc", &found, 12040, 0, nullptr));
  printf("{\"call\":\"newest version\",\"code\":%d,\"want\":0,\"kind\":\"\",\"report\":\"\"}\n", found == reinterpret_cast<void*>(d.alloc) ? 0 : 1);
  expect(d, "unknown entry point", 500, get_proc("cuNothing", &found, 12040, 0, nullptr), "not-found");

  size_t free_bytes = 0, total = 0;
  memory_info(&free_bytes, &total);
  expect(d, "alloc of everything and more", 2, d.alloc(&p, total + 1), "out-of-memory");
  expect(d, "alloc of nothing", 1, d.alloc(&p, 0));
  expect(d, "alloc", 0, d.alloc(&p, 1000));
  std::vector<uint32_t> host(251);
  expect(d, "fresh memory is NaN", 0, d.to_host(host.data(), p, 1000));
  printf("{\"call\":\"poison\",\"code\":%d,\"want\":0,\"kind\":\"\",\"report\":\"\"}\n", host[0] == ~0u && host[249] == ~0u && p % 512 == 256 ? 0 : 1);
  expect(d, "copy past the end", 1, d.to_host(host.data(), p, 1001), "global-out-of-bounds");
  expect(d, "copy to a host address", 1, d.to_device(Ptr(host.data()), host.data(), 4), "host-pointer");
  expect(d, "copy from a device address", 1, d.to_device(p, reinterpret_cast<void*>(p), 4), "bad-host-pointer");
  expect(d, "memset of a misaligned word", 1, set32(p + 2, 0, 1), "misaligned");
  expect(d, "free inside", 1, d.free(p + 16), "bad-free");
  expect(d, "free", 0, d.free(p));
  expect(d, "double free", 1, d.free(p), "double-free");
  expect(d, "copy after free", 1, d.to_host(host.data(), p, 4), "use-after-free");

  Handle stream = nullptr, graph = nullptr, exec = nullptr;
  expect(d, "stream", 0, stream_create(&stream, 1));
  expect(d, "begin capture", 0, begin(stream, 0));
  params.which = 43;  // good_uneven
  void* one[] = {&params};
  expect(d, "captured launch", 0, d.launch_kernel(function, 1, 1, 1, 64, 1, 1, 0, stream, one, nullptr));
  expect(d, "alloc while capturing", 900, d.alloc(&p, 4), "capture");
  expect(d, "sync while capturing", 900, stream_sync(stream), "capture");
  const bool untouched = out.d.to_host(host.data(), out.at, 4) == 900;
  expect(d, "end capture", 0, end(stream, &graph));
  expect(d, "instantiate", 0, instantiate(&exec, graph, 0));
  params.which = 99;  // the graph holds its own copy
  d.to_host(host.data(), out.at, 8);
  const bool before = host[1] == ~0u;
  expect(d, "graph launch", 0, graph_launch(exec, stream));
  d.to_host(host.data(), out.at, 8);
  printf("{\"call\":\"the graph ran once\",\"code\":%d,\"want\":0,\"kind\":\"\",\"report\":\"\"}\n", untouched && before && host[1] == 1 * 3 + 7 ? 0 : 1);
  expect(d, "destroy stream", 0, stream_destroy(stream));
  expect(d, "destroy stream twice", 400, stream_destroy(stream), "bad-handle");

  Handle library = nullptr, kernel = nullptr;
  expect(d, "library", 0, library_load(&library, Driver::read(args[0]).data(), nullptr, nullptr, 0, nullptr, nullptr, 0));
  expect(d, "library kernel", 0, library_kernel(&kernel, library, args[1].c_str()));
  expect(d, "library function", 0, kernel_function(&function, kernel));
  expect(d, "launch from library", 0, d.launch(function, 1, 64, 0, params));
  expect(d, "library from file", 0, library_file(&library, args[0].c_str(), nullptr, nullptr, 0, nullptr, nullptr, 0));
  expect(d, "unload", 0, d.unload(module));
  expect(d, "unload twice", 400, d.unload(module), "bad-handle");
  expect(d, "launch of the other copy", 0, d.launch(function, 1, 64, 0, params));
  return 0;
}
