// The driver calls that the test host uses, found by name, and small helpers.
#pragma once
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <string>
#include <vector>

#include "kernels/emu_test.h"

using Ptr = unsigned long long;
using Handle = void*;

struct Driver {
  void* library;
  template <class F>
  F* find(const char* name) {
    void* p = dlsym(library, name);
    if (!p) {
      fprintf(stderr, "no %s in the driver\n", name);
      exit(3);
    }
    return reinterpret_cast<F*>(p);
  }
  explicit Driver(const char* path) {
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
      fprintf(stderr, "%s\n", dlerror());
      exit(3);
    }
#define FIND(member, name) member = find<std::remove_pointer_t<decltype(member)>>(name)
    FIND(init, "cuInit");
    FIND(retain, "cuDevicePrimaryCtxRetain");
    FIND(set_current, "cuCtxSetCurrent");
    FIND(alloc, "cuMemAlloc_v2");
    FIND(free, "cuMemFree_v2");
    FIND(to_device, "cuMemcpyHtoD_v2");
    FIND(to_host, "cuMemcpyDtoH_v2");
    FIND(load, "cuModuleLoadData");
    FIND(load_file, "cuModuleLoad");
    FIND(unload, "cuModuleUnload");
    FIND(get_function, "cuModuleGetFunction");
    FIND(set_attribute, "cuFuncSetAttribute");
    FIND(launch_kernel, "cuLaunchKernel");
#undef FIND
    // Absent on a real driver.
    report = reinterpret_cast<const char* (*)()>(dlsym(library, "antkv_emu_last_report"));
    counters = reinterpret_cast<const char* (*)()>(dlsym(library, "antkv_emu_counters"));
    set = reinterpret_cast<void (*)(const char*, long long)>(dlsym(library, "antkv_emu_set"));
  }
  int (*init)(unsigned);
  int (*retain)(Handle*, int);
  int (*set_current)(Handle);
  int (*alloc)(Ptr*, size_t);
  int (*free)(Ptr);
  int (*to_device)(Ptr, const void*, size_t);
  int (*to_host)(void*, Ptr, size_t);
  int (*load)(Handle*, const void*);
  int (*load_file)(Handle*, const char*);
  int (*unload)(Handle);
  int (*get_function)(Handle*, Handle, const char*);
  int (*set_attribute)(Handle, int, int);
  int (*launch_kernel)(Handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Handle, void**, void**);
  const char* (*report)();
  const char* (*counters)();
  void (*set)(const char*, long long);

  void start() {
    Handle context;
    need(init(0), "cuInit");
    need(retain(&context, 0), "cuDevicePrimaryCtxRetain");
    need(set_current(context), "cuCtxSetCurrent");
  }
  void need(int code, const char* what) {
    if (!code) return;
    fprintf(stderr, "%s: %d %s\n", what, code, report ? report() : "");
    exit(3);
  }
  Handle kernel(const std::string& path, const std::string& name) {
    const std::vector<char> bytes = read(path);
    Handle module, function;
    need(load(&module, bytes.data()), "cuModuleLoadData");
    need(get_function(&function, module, name.c_str()), "cuModuleGetFunction");
    return function;
  }
  int launch(Handle f, const unsigned (&grid)[3], unsigned threads, unsigned shared, emu_test_params& p) {
    void* params[] = {&p};
    return launch_kernel(f, grid[0], grid[1], grid[2], threads, 1, 1, shared, nullptr, params, nullptr);
  }
  int launch(Handle f, unsigned grid, unsigned threads, unsigned shared, emu_test_params& p) { return launch(f, {grid, 1, 1}, threads, shared, p); }
  static std::vector<char> read(const std::string& path) {
    std::vector<char> bytes;
    FILE* f = fopen(path.c_str(), "rb");
    if (!f) {
      fprintf(stderr, "cannot read %s\n", path.c_str());
      exit(3);
    }
    char part[65536];
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;) bytes.insert(bytes.end(), part, part + n);
    fclose(f);
    return bytes;
  }
};

/// A JSON string.
inline std::string quoted(const std::string& s) {
  std::string out = "\"";
  for (const char c : s) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

/// A device buffer of words; freed with its owner.
struct Words {
  Driver& d;
  Ptr at = 0;
  size_t n;
  Words(Driver& driver, const std::vector<uint32_t>& from) : d(driver), n(from.size()) {
    d.need(d.alloc(&at, n * 4), "cuMemAlloc");
    d.need(d.to_device(at, from.data(), n * 4), "cuMemcpyHtoD");
  }
  Words(Driver& driver, size_t words) : d(driver), n(words) { d.need(d.alloc(&at, n * 4), "cuMemAlloc"); }
  Words(const Words&) = delete;
  ~Words() { d.free(at); }
  uint32_t* pointer() const { return reinterpret_cast<uint32_t*>(at); }
  std::vector<uint32_t> read() const {
    std::vector<uint32_t> out(n);
    d.need(d.to_host(out.data(), at, n * 4), "cuMemcpyDtoH");
    return out;
  }
};

int run_launches(Driver&, const std::vector<std::string>& args);
int run_clean(Driver&, const std::vector<std::string>& args);
int run_api(Driver&, const std::vector<std::string>& args);
int run_bench(Driver&, const std::vector<std::string>& args);
