// The request kmeans: rows go from the mapped file to the device, all steps run there, centroids come back.
#include "kmeans.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <thread>

#include "cache.h"
#include "kmeans_scales.h"

namespace runner {
namespace {

using P = antkv_kmeans_params;

double now_ms() { return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// The largest magnitude of `count` halves, as bits: from 0x7c00 on one is no number. Reading is what brings the file's pages into memory, so all cores read.
uint16_t largest_half(const uint8_t* bytes, int64_t count) {
  const int threads = int(std::clamp<int64_t>(count >> 20, 1, std::max(1u, std::thread::hardware_concurrency())));
  std::vector<uint16_t> largest(threads);
  std::vector<std::thread> all;
  for (int t = 0; t < threads; t++)
    all.emplace_back([&, t] {
      uint16_t most = 0;
      for (int64_t i = count * t / threads; i < count * (t + 1) / threads; i++) {
        uint16_t h;
        std::memcpy(&h, bytes + 2 * i, 2);
        most = std::max(most, uint16_t(h & 0x7fff));
      }
      largest[t] = most;
    });
  for (std::thread& thread : all) thread.join();
  return *std::max_element(largest.begin(), largest.end());
}

/// Bytes from a row to the next where rows are chunks: a stride is a multiple of 16 (antkv_launch.h).
int padded(int channels) { return (channels * 2 + 15) / 16 * 16; }

/// Chunks of `channels` halves, back to back, each padded.
std::vector<uint8_t> pad_chunks(const uint8_t* bytes, int64_t chunks, int channels) {
  std::vector<uint8_t> out(size_t(chunks) * padded(channels));
  for (int64_t i = 0; i < chunks; i++) std::memcpy(out.data() + i * padded(channels), bytes + i * channels * 2, size_t(channels) * 2);
  return out;
}

/// `count` values of type T at the start of a file that holds nothing else.
template <class T>
std::vector<T> read_values(const std::string& path, size_t count) {
  const std::string bytes = read_file(path);
  if (bytes.size() != count * sizeof(T)) throw RequestError(path + " has " + std::to_string(bytes.size()) + " B, not " + std::to_string(count * sizeof(T)));
  std::vector<T> values(count);
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

/// Asks for the pages of a tensor that is wanted next, if it is of the same file, and does not wait.
void prefetch(const Safetensors& file, const std::string& path, const Json& next) {
  const std::string tensor = next.at("tensor").string("tensor");
  if (next.at("file").string("file") != path) return;
  const TensorView t = file.view(tensor, 3);
  const uintptr_t page = 4096, from = uintptr_t(t.bytes) / page * page;
  madvise(reinterpret_cast<void*>(from), uintptr_t(t.bytes) + size_t(t.count) * 2 - from, MADV_WILLNEED);
}

/// What shares one codebook: the rows of a chunk; every chunk of a head is a row of one codebook; every chunk of all heads.
enum class Scope { chunk, head, layer };

Scope scope_of(const std::string& word) {
  if (word == "chunk") return Scope::chunk;
  if (word == "head") return Scope::head;
  if (word == "layer") return Scope::layer;
  throw RequestError("\"scope\" is \"" + word + "\", not chunk, head or layer");
}

/// Rows [heads, tokens, head_dim], back to back, or chunks each padded, as the kernel clusters them.
P shape_of(Scope scope, int heads, int tokens, int head_dim, int channels) {
  const int chunks = head_dim / channels;
  const int64_t rows = int64_t(tokens) * (scope == Scope::chunk ? 1 : chunks) * (scope == Scope::layer ? heads : 1);
  if (rows > 1 << 30) throw RequestError(std::to_string(rows) + " rows share a codebook; at most 2^30 can");
  P p{};
  p.struct_size = sizeof(P), p.abi_version = ANTKV_ABI_VERSION;
  p.heads = scope == Scope::layer ? 1 : heads, p.chunks = scope == Scope::chunk ? chunks : 1, p.tokens = int(rows);
  p.x_row_stride = scope == Scope::chunk ? head_dim * 2 : padded(channels), p.x_head_stride = rows * p.x_row_stride;
  return p;
}

/// All arrays of a run, in one block of device memory.
class Run {
 public:
  Run(const Gpu& gpu, const P& shape, int entries, int channels)
      : gpu_(gpu), p_(shape), problems_(size_t(shape.heads) * shape.chunks), entries_(entries), channels_(channels) {
    const size_t sizes[] = {per() * 8, per() * 4, problems_ * entries * (2 * channels + 4), problems_ * shape.tokens * 8, problems_ * entries * (channels + 1) * 8, losses() * 8, problems_ * 8, problems_ * 16};
    size_t bytes = 0, at[8];
    for (int i = 0; i < 8; i++) at[i] = bytes, bytes += (sizes[i] + 255) / 256 * 256;
    memory_ = std::make_unique<DeviceMemory>(gpu, bytes, "clustering " + std::to_string(problems_) + " chunks of " + std::to_string(shape.tokens) + " rows");
    const auto place = [&](auto& field, int i) { field = reinterpret_cast<std::decay_t<decltype(field)>>(memory_->at() + at[i]); };
    place(p_.draws, 0), place(p_.centroids, 1), place(p_.codebook, 2), place(p_.row_loss, 3), place(p_.sums, 4), place(p_.loss, 5), place(p_.energy, 6), place(p_.status, 7);
  }
  P& params() { return p_; }
  size_t problems() const { return problems_; }
  size_t per() const { return problems_ * entries_ * channels_; }
  size_t losses() const { return problems_ * (size_t(p_.max_steps) + 1); }
  template <class T>
  void write(const T* to, const std::vector<T>& values) {
    gpu_.check(gpu_.driver.cuMemcpyHtoD(CUdeviceptr(to), values.data(), values.size() * sizeof(T)), "cuMemcpyHtoD");
  }
  template <class T>
  std::vector<T> read(const T* from, size_t count) const {
    std::vector<T> values(count);
    gpu_.check(gpu_.driver.cuMemcpyDtoH(values.data(), CUdeviceptr(from), count * sizeof(T)), "cuMemcpyDtoH");
    return values;
  }

 private:
  const Gpu& gpu_;
  P p_;
  size_t problems_;
  int entries_, channels_;
  std::unique_ptr<DeviceMemory> memory_;
};

Json record_of(const Run& run, P p) {
  const auto loss = run.read(p.loss, run.losses());
  const auto energy = run.read(p.energy, run.problems());
  const auto status = run.read(p.status, 4 * run.problems());
  Json losses = Json::array(), energies = Json::array(), steps = Json::array(), reseeded = Json::array(), settled = Json::array(), history = Json::array();  // of each (head, chunk)
  const size_t stride = size_t(p.max_steps) + 1;
  for (size_t i = 0; i < run.problems(); i++) {
    losses.push(double(loss[i * stride + p.max_steps]) / p.loss_scale);
    energies.push(double(energy[i]) / p.loss_scale);
    steps.push(status[4 * i]), reseeded.push(status[4 * i + 1]), settled.push(status[4 * i + 2] != 0);
    Json mine = Json::array();
    for (int step = 0; step < status[4 * i]; step++) mine.push(double(loss[i * stride + step]) / p.loss_scale);
    history.push(mine);
  }
  return Json::object().set("loss", losses).set("energy", energies).set("steps", steps).set("reseeded", reseeded).set("settled", settled).set("losses", history);
}

}  // namespace

void Clusters::load(const Json& data, const std::string& weights, int shared_channels) {
  const std::string path = data.at("file").string("file"), name = data.at("tensor").string("tensor");
  const int64_t wanted = data.integer("tokens", 0);
  const std::string key = path + "\n" + name + "\n" + std::to_string(wanted) + "\n" + weights + "\n" + std::to_string(shared_channels);
  if (rows_ && rows_->key == key) {
    rows_->read_ms = rows_->upload_ms = 0;
    return;
  }
  rows_.reset();
  if (file_path_ != path) file_ = std::make_unique<Safetensors>(path), file_path_ = path;
  const TensorView t = file_->view(name, 3);
  if (wanted < 0 || wanted > t.shape[1]) throw RequestError("\"tokens\" is " + std::to_string(wanted) + ", the tensor has " + std::to_string(t.shape[1]));
  auto rows = std::make_unique<Rows>();
  rows->key = key;
  rows->heads = int(t.shape[0]), rows->tokens = int(wanted ? wanted : t.shape[1]), rows->head_dim = int(t.shape[2]);
  const int64_t per_head = int64_t(rows->tokens) * rows->head_dim, stride = t.shape[1] * t.shape[2] * 2;
  const bool pads = shared_channels && padded(shared_channels) != shared_channels * 2;
  const int64_t on_device = pads ? per_head / shared_channels * padded(shared_channels) : per_head * 2;  // bytes of a head
  rows->x = std::make_unique<DeviceMemory>(gpu_, size_t(rows->heads * on_device), "rows of " + name);
  uint16_t largest = 0;
  const double start = now_ms();
  for (int head = 0; head < rows->heads; head++) largest = std::max(largest, largest_half(t.bytes + head * stride, per_head));
  if (largest >= 0x7c00) throw RequestError(path + ", tensor \"" + name + "\": it holds NaN or infinity");
  rows->largest = reference::from_half(largest);
  const double read = now_ms();
  for (int head = 0; head < rows->heads; head++) {
    const uint8_t* from = t.bytes + head * stride;
    std::vector<uint8_t> spread;
    if (pads) spread = pad_chunks(from, per_head / shared_channels, shared_channels), from = spread.data();
    gpu_.check(gpu_.driver.cuMemcpyHtoD(rows->x->at() + head * on_device, from, size_t(on_device)), "cuMemcpyHtoD of rows");
  }
  rows->heaviest = 1;
  if (!weights.empty()) {
    const auto values = read_values<float>(weights, size_t(rows->heads) * rows->tokens);
    rows->heaviest = 0;
    for (float w : values) {
      if (!(w >= 0 && std::isfinite(w))) throw RequestError(weights + " holds a weight that is negative or no number");
      rows->heaviest = std::max(rows->heaviest, double(w));
    }
    // A token's weight is that of each of its chunks, where those are rows.
    const size_t times = shared_channels ? rows->head_dim / shared_channels : 1;
    std::vector<float> each;
    each.reserve(values.size() * times);
    for (float w : values) each.insert(each.end(), times, w);
    rows->weights = std::make_unique<DeviceMemory>(gpu_, each.size() * 4, "weights");
    gpu_.check(gpu_.driver.cuMemcpyHtoD(rows->weights->at(), each.data(), each.size() * 4), "cuMemcpyHtoD of weights");
  }
  rows->read_ms = read - start, rows->upload_ms = now_ms() - read;
  rows_ = std::move(rows);
}

Json Clusters::cluster(const Json& request) {
  const Kernel kernel = Kernel::read(request.at("kernel"), "kmeans");
  const antkv_codec codec = kernel.contract.format.k;
  const int entries = antkv_entries(codec);
  const Scope scope = scope_of(request.string("scope", "chunk"));
  load(request.at("data"), request.string("weights", ""), scope == Scope::chunk ? 0 : codec.channels);
  const Rows& rows = *rows_;
  if (rows.head_dim % codec.channels || rows.head_dim % 8) throw RequestError("rows of " + std::to_string(rows.head_dim) + " channels do not part into chunks of " + std::to_string(codec.channels));
  P shape = shape_of(scope, rows.heads, rows.tokens, rows.head_dim, codec.channels);
  const int steps = bounded(request, "steps", 25, 0, 1 << 16);
  shape.max_steps = std::max(1, steps);
  shape.tolerance = float(request.number("tolerance", 5e-4));
  Run run(gpu_, shape, entries, codec.channels);
  P& p = run.params();
  p.x = reinterpret_cast<const void*>(rows.x->at());
  p.weights = rows.weights ? reinterpret_cast<const float*>(rows.weights->at()) : nullptr;
  double largest = rows.largest;
  if (request.has("centroids")) {
    const auto given = read_values<float>(request.at("centroids").string("centroids"), run.per());
    for (float c : given) largest = std::max(largest, double(std::fabs(c)));
    if (!(largest < 65520)) throw RequestError("a given centroid is not in the range of halves");
    run.write(p.centroids, given);
    p.draws = nullptr;
  } else {
    run.write(p.draws, read_values<double>(request.at("draws").string("draws"), run.problems() * entries));
  }
  set_scales(p, codec.channels, largest, rows.heaviest);
  const std::string out = request.string("out", "");
  if (request.has("next")) prefetch(*file_, file_path_, request.at("next"));
  request.refuse_unread();

  // A few CTAs for each multiprocessor, of at least a step's rows each.
  const int step_rows = 2 * kernel.threads, want = 8 * gpu_.driver.attribute(kAttributeMultiprocessors);
  p.splits = int(std::clamp<int64_t>(want / int64_t(run.problems()), 1, ceil_div(p.tokens, step_rows)));
  const CUfunction function = gpu_.launcher.load(kernel);
  double ms[3] = {};
  for (int step = 0; step < 3; step++) {
    const double start = now_ms();
    p.step = step;
    const Launch launch = launch_of(kernel, function, p);
    for (int i = 0; i < (step == 1 ? steps : 1); i++) enqueue(gpu_, launch);
    gpu_.synchronize();
    ms[step] = now_ms() - start;
  }
  Json record = record_of(run, p);
  if (!out.empty()) {
    const auto centroids = run.read(p.centroids, run.per());
    std::ofstream file(out, std::ios::binary);
    file.write(reinterpret_cast<const char*>(centroids.data()), std::streamsize(centroids.size() * 4));
    if (!file.flush()) throw RequestError("cannot write " + out);
  }
  record.set("heads", p.heads).set("chunks", p.chunks).set("tokens", p.tokens).set("emulated", gpu_.driver.emulated());
  return record.set("ms", Json::object().set("read", rows.read_ms).set("upload", rows.upload_ms).set("start", ms[0]).set("steps", ms[1]).set("measure", ms[2]));
}

}  // namespace runner
