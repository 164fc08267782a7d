// Recognises and loads images.
#include "image.h"

#include <dlfcn.h>
#include <elf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "report.h"

namespace antkv_emu {
namespace {

constexpr int kCudaMachine = 190;  // EM_CUDA
constexpr uint32_t kFatbinMagic = 0xba55ed50, kFatbinWrapperMagic = 0x466243b1;
constexpr const char* kHowTo = "build the kernel's .cu for the emulator with g++ and harness/emulator/entry.cc (harness/emulator/README.md), and pass that .so";

// Never destroyed: consumers may still call from their own exit handlers.
std::set<LoadedImage*>& loaded = *new std::set<LoadedImage*>;

/// Refuses everything but a host ELF; `head` holds at least 64 bytes.
CUresult recognise(const unsigned char* head) {
  uint32_t magic;
  memcpy(&magic, head, 4);
  if (magic == kFatbinMagic || magic == kFatbinWrapperMagic) return fail(CUDA_ERROR_NO_BINARY_FOR_GPU, text("no-binary: the image is a fatbin for a real GPU; %s", kHowTo));
  if (!memcmp(head, ELFMAG, SELFMAG)) {
    Elf64_Ehdr elf;
    memcpy(&elf, head, sizeof elf);
    if (elf.e_machine == kCudaMachine) return fail(CUDA_ERROR_NO_BINARY_FOR_GPU, text("no-binary: the image is a cubin for a real GPU; %s", kHowTo));
    if (elf.e_ident[EI_CLASS] != ELFCLASS64 || elf.e_type != ET_DYN) return fail(CUDA_ERROR_INVALID_IMAGE, text("bad-image: an ELF file, but no 64-bit shared object; %s", kHowTo));
    return CUDA_SUCCESS;
  }
  if (!memcmp(head, "//", 2) || !memcmp(head, ".version", 8)) return fail(CUDA_ERROR_NO_BINARY_FOR_GPU, text("no-binary: the image is PTX text; %s", kHowTo));
  return fail(CUDA_ERROR_INVALID_IMAGE, text("bad-image: neither a shared object nor device code (first bytes %02x %02x %02x %02x); %s", head[0], head[1], head[2], head[3], kHowTo));
}

/// Refuses a recognised image of which `size` bytes are not all: dlopen maps what the headers say, and what lies behind a file's end is a bus error.
CUresult check_whole(const unsigned char* bytes, size_t size) {
  const auto inside = [size](uint64_t at, uint64_t count) { return at <= size && count <= size - at; };
  Elf64_Ehdr elf;
  memcpy(&elf, bytes, sizeof elf);
  bool whole = elf.e_phentsize == sizeof(Elf64_Phdr) && inside(elf.e_phoff, uint64_t(elf.e_phnum) * elf.e_phentsize) && inside(elf.e_shoff, uint64_t(elf.e_shnum) * elf.e_shentsize);
  for (int i = 0; whole && i < elf.e_phnum; i++) {
    Elf64_Phdr part;
    memcpy(&part, bytes + elf.e_phoff + size_t(i) * sizeof part, sizeof part);
    whole = part.p_type == PT_NULL || inside(part.p_offset, part.p_filesz);
  }
  return whole ? CUDA_SUCCESS : fail(CUDA_ERROR_INVALID_IMAGE, text("bad-image: the shared object is cut off: it has %zu bytes, its headers name more; build or copy it anew", size));
}

CUresult open_image(const char* path, int fd, LoadedImage** out) {
  void* handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const std::string why = dlerror();
    if (fd >= 0) close(fd);
    return fail(CUDA_ERROR_INVALID_IMAGE, "bad-image: the shared object does not load (" + why + "); was it built with the sanitizers that this process lacks?");
  }
  const Image* image = static_cast<const Image*>(dlsym(handle, "antkv_emu_image"));
  CUresult bad = CUDA_SUCCESS;
  if (!image) {
    bad = fail(CUDA_ERROR_INVALID_IMAGE, text("bad-image: a shared object without antkv_emu_image; %s", kHowTo));
  } else if (image->machine_version != kMachineVersion) {
    bad = fail(CUDA_ERROR_INVALID_IMAGE, text("bad-image: kernel %s was built for emulator interface %u, this driver has %u; build it again", image->name,
                                              image->machine_version, kMachineVersion));
  }
  if (bad) {
    dlclose(handle);
    if (fd >= 0) close(fd);
    return bad;
  }
  auto* made = new LoadedImage;
  made->handle = handle;
  made->fd = fd;  // kept open: debuggers and sanitizers read symbols through /proc/self/fd
  made->kernel.image = image;
  made->kernel.owner = made;
  loaded.insert(made);
  *out = made;
  return CUDA_SUCCESS;
}

}  // namespace

CUresult load_image(const void* bytes, LoadedImage** out) {
  clear_report();
  const CUresult bad = recognise(static_cast<const unsigned char*>(bytes));
  if (bad) return bad;
  Elf64_Ehdr elf;
  memcpy(&elf, bytes, sizeof elf);
  // Linkers put the section headers last, so their end is the file's.
  const size_t size = elf.e_shoff + size_t(elf.e_shnum) * elf.e_shentsize;
  if (!elf.e_shoff) return fail(CUDA_ERROR_INVALID_IMAGE, "bad-image: the shared object has no section headers, so its length is unknown; load it from its file");
  if (const CUresult cut = check_whole(static_cast<const unsigned char*>(bytes), size)) return cut;
  const int fd = memfd_create("antkv_emu_image", MFD_CLOEXEC);
  if (fd < 0) return fail(CUDA_ERROR_OPERATING_SYSTEM, "memfd_create failed");
  for (size_t done = 0; done < size;) {
    const ssize_t n = write(fd, static_cast<const char*>(bytes) + done, size - done);
    if (n <= 0) {
      close(fd);
      return fail(CUDA_ERROR_OUT_OF_MEMORY, "out-of-memory: no room for a copy of the image");
    }
    done += size_t(n);
  }
  return open_image(("/proc/self/fd/" + std::to_string(fd)).c_str(), fd, out);
}

CUresult load_image_file(const char* path, LoadedImage** out) {
  clear_report();
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(CUDA_ERROR_FILE_NOT_FOUND, text("no-file: %s cannot be read", path));
  const std::string all{std::istreambuf_iterator<char>(file), {}};
  const auto* bytes = reinterpret_cast<const unsigned char*>(all.data());
  CUresult bad = all.size() < 64 ? fail(CUDA_ERROR_INVALID_IMAGE, text("bad-image: %s has only %zu bytes", path, all.size())) : recognise(bytes);
  if (!bad) bad = check_whole(bytes, all.size());
  if (bad) return bad;
  return open_image(strchr(path, '/') ? path : ("./" + std::string(path)).c_str(), -1, out);
}

CUresult unload_image(LoadedImage* image) {
  if (!loaded.erase(image)) return fail(CUDA_ERROR_INVALID_HANDLE, "bad-handle: the module or library is not loaded (unloaded twice?)");
  dlclose(image->handle);
  if (image->fd >= 0) close(image->fd);
  delete image;
  return CUDA_SUCCESS;
}

CUresult find_kernel(LoadedImage* image, const char* name, Kernel** out) {
  if (!known_image(image)) return fail(CUDA_ERROR_INVALID_HANDLE, "bad-handle: the module or library is not loaded");
  if (strcmp(name, image->kernel.image->name)) {
    return fail(CUDA_ERROR_NOT_FOUND, text("not-found: the image has no kernel %s; it has %s", name, image->kernel.image->name));
  }
  *out = &image->kernel;
  return CUDA_SUCCESS;
}

bool known_image(const LoadedImage* image) { return loaded.count(const_cast<LoadedImage*>(image)) != 0; }
bool known_kernel(const Kernel* kernel) {
  for (const LoadedImage* i : loaded) {
    if (&i->kernel == kernel) return true;
  }
  return false;
}

}  // namespace antkv_emu
