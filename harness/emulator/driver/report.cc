// The last report, its helpers, and the choice of arch.
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch.h"

namespace antkv_emu {
namespace {
std::string last;
}

std::string text(const char* format, ...) {
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  std::string s(size_t(vsnprintf(nullptr, 0, format, args)) + 1, '\0');
  vsnprintf(s.data(), s.size(), format, again);
  va_end(args);
  va_end(again);
  s.pop_back();
  return s;
}

CUresult fail(CUresult code, const std::string& report) {
  last = "antkv emulator: " + report;
  return code;
}

const std::string& last_report() { return last; }
void clear_report() { last.clear(); }

const Arch* chosen_arch() {
  const char* name = getenv("ANTKV_EMU_ARCH");
  if (!name || !*name) return &kArchs[0];
  if (!strncmp(name, "sm", 2)) name += 2;
  if (*name == '_') name++;
  for (const Arch& a : kArchs) {
    if (std::to_string(a.cc) == name) return &a;
  }
  return nullptr;
}

}  // namespace antkv_emu
