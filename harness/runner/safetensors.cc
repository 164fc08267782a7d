// The checks and copies of safetensors.h.
#include "safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <iterator>

namespace runner {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(file), {}};
  if (!file) throw RequestError("cannot read " + path);
  return bytes;
}

MappedFile::MappedFile(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat about {};
  if (file < 0 || fstat(file, &about) != 0 || !S_ISREG(about.st_mode)) {
    if (file >= 0) close(file);
    throw RequestError("cannot read " + path);
  }
  size_ = size_t(about.st_size);
  void* at = size_ ? mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0) : nullptr;
  close(file);  // the mapping stays
  if (at == MAP_FAILED) throw RequestError("cannot map " + path);
  data_ = static_cast<const uint8_t*>(at);
}

MappedFile::~MappedFile() {
  if (size_) munmap(const_cast<uint8_t*>(data_), size_);
}

Safetensors::Safetensors(const std::string& path) : path_(path), file_(path) {
  uint64_t length = 0;
  if (file_.size() < 8) throw RequestError(path + " is truncated: it lacks the 8 bytes of its header's length");
  std::memcpy(&length, file_.data(), 8);  // little endian, as every host that runs CUDA
  if (length > file_.size() - 8) throw RequestError(path + " is truncated, or no safetensors file: its header should have " + std::to_string(length) + " B");
  data_ = 8 + size_t(length);
  try {
    header_ = Json::parse(std::string(reinterpret_cast<const char*>(file_.data()) + 8, size_t(length)));
  } catch (const RequestError& error) {
    throw RequestError(path + " has a broken header: " + error.what());
  }
}

TensorView Safetensors::view(const std::string& name, size_t rank) const {
  const std::string where = path_ + ", tensor \"" + name + "\": ";
  if (!header_.has(name)) throw RequestError(where + "not in the file");
  try {
    const Json& entry = header_.at(name);
    const std::string& dtype = entry.at("dtype").string("dtype");
    if (dtype != "F16") throw RequestError("dtype is " + dtype + ", F16 is needed");
    TensorView t;
    int64_t count = 1;
    for (const Json& extent : entry.at("shape").items()) {
      t.shape.push_back(extent.integer("shape"));
      if (t.shape.back() < 1 || t.shape.back() > int64_t(file_.size())) throw RequestError("a dimension of " + std::to_string(t.shape.back()));
      count *= t.shape.back();
      if (count > int64_t(file_.size())) throw RequestError("its shape is larger than the file");
    }
    if (t.shape.size() != rank) throw RequestError("it has " + std::to_string(t.shape.size()) + " dimensions, " + std::to_string(rank) + " are needed");
    const auto& offsets = entry.at("data_offsets").items();
    if (offsets.size() != 2) throw RequestError("data_offsets must be two numbers");
    const int64_t begin = offsets[0].integer("data_offsets"), end = offsets[1].integer("data_offsets");
    if (begin < 0 || end - begin != 2 * count) throw RequestError("data_offsets do not fit its shape");
    if (uint64_t(end) > file_.size() - data_) throw RequestError("the file is truncated: it ends before the tensor does");
    t.bytes = file_.data() + data_ + begin;
    t.count = count;
    return t;
  } catch (const RequestError& error) {
    throw RequestError(where + error.what());
  }
}

Tensor Safetensors::halves(const std::string& name, size_t rank) const {
  const TensorView there = view(name, rank);
  Tensor t{there.shape, std::vector<uint16_t>(size_t(there.count))};
  std::memcpy(t.halves.data(), there.bytes, size_t(2 * there.count));
  for (const uint16_t h : t.halves) {
    if ((h & 0x7c00) == 0x7c00) throw RequestError(path_ + ", tensor \"" + name + "\": it holds NaN or infinity");
  }
  return t;
}

}  // namespace runner
