// What went wrong, in words: the text behind antkv_emu_last_report.
#pragma once
#include <stdarg.h>
#include <string>

#include "cuda_types.h"

namespace antkv_emu {

/// printf into a std::string.
std::string text(const char* format, ...) __attribute__((format(printf, 1, 2)));

/// Sets the last report and returns `code`: `return fail(CUDA_ERROR_…, "kind: what; what to do")`.
CUresult fail(CUresult code, const std::string& report);

const std::string& last_report();
void clear_report();

}  // namespace antkv_emu
