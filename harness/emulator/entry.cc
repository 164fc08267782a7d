// Turns one kernel source into an image that the emulated driver loads. Compiled once per kernel with
//   -DANTKV_EMU_SOURCE='"path/to/kernel.cu"' -DANTKV_EMU_KERNEL=name -DANTKV_EMU_PARAMS=antkv_decode_params
#include ANTKV_EMU_SOURCE

#include "antkv_device.cuh"

// The kernel may lie in a namespace; extern "C" makes this the same function.
extern "C" void ANTKV_EMU_KERNEL(const ANTKV_EMU_PARAMS);

namespace antkv_emu {
Machine* machine = nullptr;
static void bind(Machine* m) { machine = m; }
static void call(const void* params) { ::ANTKV_EMU_KERNEL(*static_cast<const ANTKV_EMU_PARAMS*>(params)); }
}  // namespace antkv_emu

#define ANTKV_EMU_QUOTE_(x) #x
#define ANTKV_EMU_QUOTE(x) ANTKV_EMU_QUOTE_(x)
extern "C" __attribute__((visibility("default"))) const antkv_emu::Image antkv_emu_image = {
    antkv_emu::kMachineVersion, sizeof(ANTKV_EMU_PARAMS), ANTKV_EMU_QUOTE(ANTKV_EMU_KERNEL), antkv_emu::bind, antkv_emu::call,
};
