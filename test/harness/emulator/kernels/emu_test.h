// Parameters of every emulator test kernel: a case number and a few buffers.
#pragma once
#include <stdint.h>

extern "C" struct emu_test_params {
  uint32_t* out;       // [grid][threads] words, or as the case says
  const uint32_t* in;
  int32_t which;       // case
  int32_t n;           // words in `in`
};
