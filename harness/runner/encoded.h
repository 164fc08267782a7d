// Tokens that a kernel encoded into pages, held against the reference: codes, gains, exact rows, bits. For encode and append.
//
// A code may differ from the reference's only where the two centroids tie within rounding. The kernel compares x.c - |c|^2/2 in fp32 (error below 2^-20 of the
// sum of absolute products), with x rounded to a half at most once after un-rotation (2^-11 of the channel pair's size, 2^-10 with the sine's error). Gains are
// computed from the kernel's own codes and may be one step of fp16 off.
#pragma once
#include "../reference/pages.h"
#include "cache.h"
#include "check.h"

namespace runner {

class EncodedCheck {
 public:
  /// `cache` as a kernel left it (Buffer::result); codebooks as the host has them.
  EncodedCheck(Cache& cache, const void* k_codebook, const void* v_codebook);
  void compare(const reference::EncodedToken& t);
  /// A fault per kind of difference, and the counts of codes and ties.
  void report(Report& report) const;
  int bits = 0;  ///< wrong bitmap bits

 private:
  Cache& cache_;
  reference::Codebooks k_, v_;
  int64_t ties_ = 0, codes_ = 0;
  int wrong_codes_ = 0, wrong_gains_ = 0, wrong_rows_ = 0;
  void compare_codes(int side, const reference::EncodedToken& t, const uint8_t* unit);
};

}  // namespace runner
