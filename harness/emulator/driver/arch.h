// Limits and attributes of the GPUs that the emulator can claim to be (CUDA C++ Programming Guide, "Compute Capabilities"; data sheets).
#pragma once

namespace antkv_emu {

struct Arch {
  int cc;              // 10 * major + minor
  int sms;
  int shared_optin;    // bytes per block, with opt-in
  int shared_per_sm;   // bytes, 1024 of them reserved for each block
  int threads_per_sm, blocks_per_sm;
  int l2_bytes;
  int clock_khz, memory_khz, bus_bits;
};

constexpr int kSharedDefault = 48 << 10;  // per block without opt-in, on every arch
constexpr int kSharedReserved = 1 << 10;
constexpr int kMaxThreads = 1024;
constexpr int kMaxGridYZ = 65535;

constexpr Arch kArchs[] = {
    {80, 108, 163 << 10, 164 << 10, 2048, 32, 40 << 20, 1410000, 1593000, 5120},   // A100 80GB
    {86, 84, 99 << 10, 100 << 10, 1536, 16, 6 << 20, 1800000, 8001000, 384},       // RTX A6000
    {89, 142, 99 << 10, 100 << 10, 1536, 24, 96 << 20, 2520000, 9001000, 384},     // L40S
    {90, 132, 227 << 10, 228 << 10, 2048, 32, 50 << 20, 1980000, 2619000, 5120},   // H100 SXM
};

/// The arch named by ANTKV_EMU_ARCH (80, 86, 89, 90; also sm_80, sm80), 80 without; null: unknown name.
const Arch* chosen_arch();

}  // namespace antkv_emu
