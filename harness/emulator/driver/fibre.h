// Fibres: one small stack per CUDA thread, switched without the kernel's help (a few instructions; ucontext on other machines).
#pragma once
#include <stddef.h>

namespace antkv_emu {

/// Where a suspended fibre continues. The main one belongs to the OS thread that launched the kernel.
struct Fibre {
  void* sp = nullptr;      // saved stack pointer, or a ucontext_t*
  char* stack = nullptr;   // lowest usable address; null for the main fibre
  size_t stack_bytes = 0;
  void* fake_stack = nullptr;  // AddressSanitizer's
};

/// Stacks for `count` fibres, kept for the life of the process; each ends in a page that faults. False: no memory.
bool reserve_stacks(int count);

/// Makes `f`, the index-th fibre, start in `entry` when it is first switched to. `entry` never returns.
void prepare_fibre(Fibre& f, int index, void (*entry)());

/// Suspends `from` and continues `to`. With `forever`, `from` never continues and its stack may be reused.
void switch_fibre(Fibre& from, Fibre& to, bool forever = false);

/// First thing in a fibre's entry: tells AddressSanitizer that the switch is over.
void fibre_started();

}  // namespace antkv_emu
