// Loaded images: an emulated kernel's .so, from bytes or from a file.
#pragma once
#include <string>

#include "antkv_emu_machine.h"
#include "cuda_types.h"

namespace antkv_emu {

struct LoadedImage;

/// A kernel of a loaded image; CUfunction and CUkernel both point to one.
struct Kernel {
  const Image* image = nullptr;
  LoadedImage* owner = nullptr;
  int shared_optin = 0;  // FUNC_MAX_DYNAMIC_SHARED; 0: never set
};

/// CUmodule and CUlibrary both point to one.
struct LoadedImage {
  void* handle = nullptr;
  int fd = -1;
  Kernel kernel;
};

/// From ELF bytes: the length is taken from the ELF header. INVALID_IMAGE, NO_BINARY_FOR_GPU for real device code.
CUresult load_image(const void* bytes, LoadedImage** out);
CUresult load_image_file(const char* path, LoadedImage** out);
/// INVALID_HANDLE for what is not loaded.
CUresult unload_image(LoadedImage*);
CUresult find_kernel(LoadedImage*, const char* name, Kernel** out);
bool known_image(const LoadedImage*);
bool known_kernel(const Kernel*);

}  // namespace antkv_emu
