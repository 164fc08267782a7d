// check kmeans: a whole run of steps on random rows, against the reference's run.
#include "check.h"
#include "cache.h"
#include "kmeans_scales.h"

namespace runner {
namespace {

using P = antkv_kmeans_params;

/// Nearest centroids that are nearer by less than this are not told apart reliably: rows are split into two halves on the device, good to some 2^-21.
constexpr double kDoubt = 1e-6;

/// Draws the chunk of a row after a pattern, and returns its largest magnitude. "gauss" (with a few clusters in it), "alike" (few different rows: clusters stay empty), "zeros", "large" (near the end of f16).
double draw_rows(Random& random, const std::string& pattern, uint8_t* to, int channels) {
  std::vector<uint16_t> row(channels);
  const double centre = 3 * (random.below(5) - 2);
  const int which = random.below(7);
  double largest = 0;
  for (int i = 0; i < channels; i++) {
    double value = random.gauss() + centre;
    if (pattern == "alike") value = (which * (i + 3)) % 11 - 5;
    else if (pattern == "zeros") value = 0;
    else if (pattern == "large") value *= 5000;
    else if (pattern != "gauss") throw RequestError("pattern \"" + pattern + "\" is not gauss, alike, zeros or large");
    row[i] = reference::to_half(value);
    largest = std::max(largest, std::fabs(reference::from_half(row[i])));
  }
  std::memcpy(to, row.data(), row.size() * 2);
  return largest;
}

struct Problem {
  Memory memory;
  Params<P> p{ANTKV_ABI_VERSION};
  Buffer *centroids, *sums, *loss, *energy, *status;
  explicit Problem(const Driver& driver) : memory(driver) {}
};

void make_weights(Problem& x, Random& random, double& heaviest) {
  std::vector<float> weights(size_t(x.p->heads) * x.p->tokens);
  heaviest = 0;
  for (float& w : weights) w = random.below(9) == 0 ? 0 : float(std::exp(3 * random.gauss())), heaviest = std::max(heaviest, double(w));
  x.p.bind(&P::weights, x.memory.add("weights", weights));
}

std::unique_ptr<Problem> make_problem(const Driver& driver, const Kernel& kernel, const Json& shape, uint64_t seed) {
  auto x = std::make_unique<Problem>(driver);
  Random random(seed);
  P& p = x->p.host;
  const antkv_codec codec = kernel.contract.format.k;
  const int channels = codec.channels, entries = antkv_entries(codec);
  p.heads = bounded(shape, "heads", 1, 1, 1024);
  p.chunks = bounded(shape, "chunks", 2, 1, 1024);
  p.tokens = bounded(shape, "tokens", 300, 1, 1 << 20);
  p.splits = bounded(shape, "splits", 1, 1, 1024);
  p.max_steps = bounded(shape, "max_steps", 4, 1, 1024);
  p.tolerance = float(shape.number("tolerance", 5e-4));
  const int pad = bounded(shape, "pad", 0, 0, 1024), problems = p.heads * p.chunks;
  if (pad % 16) throw RequestError("pad must be a multiple of 16");
  p.x_row_stride = (2 * channels * p.chunks + 15) / 16 * 16 + pad;
  p.x_head_stride = p.tokens * p.x_row_stride + pad;
  Buffer& rows = x->memory.add("x", size_t(p.heads * p.x_head_stride));
  const std::string pattern = shape.string("pattern", "gauss");
  double largest = 0, heaviest = 1;
  for (int head = 0; head < p.heads; head++)
    for (int token = 0; token < p.tokens; token++)
      for (int chunk = 0; chunk < p.chunks; chunk++)
        largest = std::max(largest, draw_rows(random, pattern, rows.host.data() + head * p.x_head_stride + token * p.x_row_stride + chunk * channels * 2, channels));
  x->p.bind(&P::x, rows);
  if (shape.boolean("weights", false)) make_weights(*x, random, heaviest);
  std::vector<float> centroids(size_t(problems) * entries * channels, 0);
  if (shape.boolean("given", false)) {  // not halves, and many equal: some are left without rows
    for (size_t i = 0; i < centroids.size(); i++) centroids[i] = i / channels % entries < 3 ? float(random.gauss()) : 0.3f;
  } else {
    std::vector<double> draws(size_t(problems) * entries);
    for (double& draw : draws) draw = random.uniform();
    x->p.bind(&P::draws, x->memory.add("draws", draws));
  }
  for (float c : centroids) largest = std::max(largest, double(std::fabs(c)));
  set_scales(p, channels, largest, heaviest);
  x->centroids = &x->memory.add("centroids", centroids);
  x->p.bind(&P::centroids, *x->centroids);
  Buffer& codebook = x->memory.add("codebook", size_t(problems) * entries * (2 * channels + 4));
  Buffer& row_loss = x->memory.add("row_loss", size_t(problems) * p.tokens * 8);
  x->sums = &x->memory.add("sums", size_t(problems) * entries * (channels + 1) * 8);
  x->loss = &x->memory.add("loss", size_t(problems) * (p.max_steps + 1) * 8);
  x->energy = &x->memory.add("energy", size_t(problems) * 8);
  x->status = &x->memory.add("status", size_t(problems) * 16);
  codebook.workspace = row_loss.workspace = true;
  for (Buffer* b : {x->centroids, &codebook, &row_loss, x->sums, x->loss, x->energy, x->status}) b->allow_all();
  x->p.bind(&P::codebook, codebook);
  x->p.bind(&P::row_loss, row_loss);
  x->p.bind(&P::sums, *x->sums);
  x->p.bind(&P::loss, *x->loss);
  x->p.bind(&P::energy, *x->energy);
  x->p.bind(&P::status, *x->status);
  return x;
}

bool near(double got, double want, double least) { return std::fabs(got - want) <= 1e-6 * std::fabs(want) + least; }

void compare(const Problem& x, const std::vector<reference::Clusters>& all, int per_problem, Report& report) {
  const P& p = x.p.host;
  int moved = 0, lost = 0, states = 0;
  int64_t reseeded = 0;
  for (size_t i = 0; i < all.size(); i++) {
    const reference::Clusters& want = all[i];
    const float* c = x.centroids->result_as<float>() + i * per_problem;
    // A mean that lies half-way between two halves may come out as either.
    for (int k = 0; k < per_problem; k++) moved += !(std::fabs(c[k] - want.centroids[k]) <= std::ldexp(std::fabs(want.centroids[k]), -10));
    const uint64_t* loss = x.loss->result_as<uint64_t>() + i * (p.max_steps + 1);
    const int steps = int(want.losses.size()) - 1;
    const double unit = 1.0 / p.loss_scale, least = p.tokens * unit + 1e-12 * want.energy;
    for (int step = 0; step < steps; step++) lost += !near(double(loss[step]) * unit, want.losses[step], least);
    lost += !near(double(loss[p.max_steps]) * unit, want.losses[steps], least);
    for (int step = steps; step < p.max_steps; step++) lost += loss[step] != 0;
    lost += !near(double(x.energy->result_as<uint64_t>()[i]) * unit, want.energy, least);
    const int32_t* status = x.status->result_as<int32_t>() + 4 * i;
    states += status[0] != steps || status[1] != want.reseeded || status[2] != want.settled || status[3] != 0;
    reseeded += want.reseeded;
  }
  const uint64_t* sums = x.sums->result_as<uint64_t>();
  const bool clear = std::all_of(sums, sums + x.sums->result.size() / 8, [](uint64_t sum) { return sum == 0; });
  report.fault_unless(moved == 0, std::to_string(moved) + " channels of centroids are elsewhere");
  report.fault_unless(lost == 0, std::to_string(lost) + " wrong losses");
  report.fault_unless(states == 0, std::to_string(states) + " wrong states");
  report.fault_unless(clear, "sums are left behind");
  report.extra.set("reseeded", reseeded);
}

}  // namespace

Json check_kmeans(Launcher& launcher, const Json& request) {
  const Kernel kernel = Kernel::read(request.at("kernel"), "kmeans");
  const Json& shape = request.at("shape");
  const uint64_t seed = uint64_t(request.integer("seed", 1));
  Report report("kmeans", request);
  std::unique_ptr<Problem> x;
  std::vector<reference::Clusters> want;
  for (int again = 0; again < 20; again++) {  // until rounding decides nothing
    x = make_problem(launcher.driver, kernel, shape, seed + 1000 * again);
    want = reference::reference_kmeans(kernel.contract, x->p.host, x->p->max_steps);
    if (std::all_of(want.begin(), want.end(), [](const auto& c) { return c.margin > kDoubt; })) break;
    if (again == 19) throw RequestError("centroids tie in every problem of this shape: give fewer rows");
  }
  request.refuse_unread();
  report.run_twice(x->memory, [&] {
    double ms = 0;
    for (int step = 0; step < x->p->max_steps + 2; step++) {
      x->p->step = step == 0 ? 0 : step <= x->p->max_steps ? 1 : 2;
      ms += launcher.launch(kernel, x->p);
    }
    return ms;
  });
  compare(*x, want, antkv_entries(kernel.contract.format.k) * kernel.contract.format.k.channels, report);
  return report.record(launcher.driver);
}

}  // namespace runner
