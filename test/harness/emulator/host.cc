// Drives the emulated driver for the tests: loads it as any consumer would, by dlopen and names, and prints one JSON object per line.
//   host DRIVER launch KERNEL.so NAME WHICH GRID THREADS SHARED WORDS [key=value ...]   once per order=..., or once
//   host DRIVER clean KERNEL.so [order ...]      every accessor against plain C++ answers
//   host DRIVER api KERNEL.so NAME               error codes
//   host DRIVER bench KERNEL.so NAME             speed
#include "host.h"

#include <stdlib.h>

int main(int argc, char** argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: host DRIVER launch|clean|api|bench KERNEL.so ...\n");
    return 2;
  }
  Driver d(argv[1]);
  const std::string what = argv[2];
  std::vector<std::string> rest(argv + 3, argv + argc);
  if (what == "launch") return run_launches(d, rest);
  if (what == "clean") return run_clean(d, rest);
  if (what == "api") return run_api(d, rest);
  if (what == "bench") return run_bench(d, rest);
  fprintf(stderr, "unknown command %s\n", what.c_str());
  return 2;
}
