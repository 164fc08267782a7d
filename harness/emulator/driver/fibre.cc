// Context switches for fibre.h.
#include "fibre.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define ANTKV_ASAN 1
#endif

#if defined(ANTKV_UCONTEXT) || (!defined(__x86_64__) && !defined(__aarch64__))
#include <ucontext.h>
#undef ANTKV_UCONTEXT  // -DANTKV_UCONTEXT forces it, to try it out
#define ANTKV_UCONTEXT 1
#endif

#ifndef ANTKV_UCONTEXT
extern "C" void antkv_emu_switch(void** save, void* to);
#endif

// Only what the C ABI lets a callee keep; the floating-point control words never change in a kernel.
#if defined(ANTKV_UCONTEXT)
#elif defined(__x86_64__)
__asm__(R"(
  .text
  .p2align 4
  .type antkv_emu_switch, @function
  .hidden antkv_emu_switch
antkv_emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size antkv_emu_switch, .-antkv_emu_switch
)");
#elif defined(__aarch64__)
__asm__(R"(
  .text
  .p2align 4
  .type antkv_emu_switch, %function
  .hidden antkv_emu_switch
antkv_emu_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
  .size antkv_emu_switch, .-antkv_emu_switch
)");
#endif

namespace antkv_emu {
namespace {

// Sanitizers make frames several times larger.
#if defined(ANTKV_ASAN)
constexpr size_t kStack = 512 << 10;
#else
constexpr size_t kStack = 128 << 10;
#endif
constexpr int kMost = 1024;
size_t page_bytes() {
  static const size_t bytes = size_t(sysconf(_SC_PAGESIZE));  // a system library's call: too slow for every fibre
  return bytes;
}

char* stacks = nullptr;
int ready = 0;
#if defined(ANTKV_ASAN)
Fibre* leaving = nullptr;  // set before a switch, so that the other side learns the main stack's bounds
Fibre* arriving = nullptr;
#endif

}  // namespace

bool reserve_stacks(int count) {
  const size_t each = kStack + page_bytes();
  if (!stacks) {
    void* p = mmap(nullptr, kMost * each, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return false;
    stacks = static_cast<char*>(p);
  }
  for (; ready < count; ready++) {
    if (mprotect(stacks + ready * each + page_bytes(), kStack, PROT_READ | PROT_WRITE)) return false;
  }
  return true;
}

void prepare_fibre(Fibre& f, int index, void (*entry)()) {
  f.stack = stacks + index * (kStack + page_bytes()) + page_bytes();
  f.stack_bytes = kStack;
  f.fake_stack = nullptr;
#if defined(ANTKV_ASAN)
  __asan_unpoison_memory_region(f.stack, kStack);  // an abandoned launch leaves its frames poisoned
#endif
  // All stacks have the same offset in a page: without a stagger the tops of a warp's stacks share a few cache sets.
  char* top = f.stack + kStack - size_t(index % 32) * 320 - 256;
  top -= uintptr_t(top) % 16;
#if defined(ANTKV_UCONTEXT)
  static ucontext_t contexts[kMost];
  ucontext_t& u = contexts[index];
  getcontext(&u);
  u.uc_stack.ss_sp = f.stack;
  u.uc_stack.ss_size = size_t(top - f.stack);
  u.uc_link = nullptr;
  makecontext(&u, entry, 0);
  f.sp = &u;
#elif defined(__x86_64__)
  void** frame = reinterpret_cast<void**>(top) - 8;  // six registers, the address to `ret` to, a null return address for `entry`
  memset(frame, 0, 8 * sizeof(void*));
  frame[6] = reinterpret_cast<void*>(entry);
  f.sp = frame;
#else
  char* frame = top - 160;
  memset(frame, 0, 160);
  memcpy(frame + 88, &entry, sizeof entry);  // x30
  f.sp = frame;
#endif
}

void switch_fibre(Fibre& from, Fibre& to, bool forever) {
#if defined(ANTKV_ASAN)
  leaving = &from;
  arriving = &to;
  __sanitizer_start_switch_fiber(forever ? nullptr : &from.fake_stack, to.stack, to.stack_bytes);
#else
  (void)forever;
#endif
#if defined(ANTKV_UCONTEXT)
  static ucontext_t main_context;
  if (!from.sp) from.sp = &main_context;
  swapcontext(static_cast<ucontext_t*>(from.sp), static_cast<ucontext_t*>(to.sp));
#else
  antkv_emu_switch(&from.sp, to.sp);
#endif
#if defined(ANTKV_ASAN)
  fibre_started();
#endif
}

void fibre_started() {
#if defined(ANTKV_ASAN)
  const void* bottom = nullptr;
  size_t bytes = 0;
  __sanitizer_finish_switch_fiber(arriving->fake_stack, &bottom, &bytes);
  if (!leaving->stack_bytes) {  // the main stack's bounds are known only once it was left
    leaving->stack = static_cast<char*>(const_cast<void*>(bottom));
    leaving->stack_bytes = bytes;
  }
#endif
}

}  // namespace antkv_emu
