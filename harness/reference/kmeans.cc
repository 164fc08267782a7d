// Reference of k-means: k-means++ from given draws, Lloyd steps with centroids in halves, empty clusters on the worst rows. All sums in double.
#include <algorithm>
#include <numeric>

#include "numeric.h"
#include "reference.h"

namespace reference {
namespace {

/// The rows of one (head, chunk).
struct Rows {
  int count, channels;
  std::vector<double> x, weight;
  const double* row(int i) const { return &x[size_t(i) * channels]; }
  double distance(int i, const double* c) const {
    double sum = 0;
    for (int k = 0; k < channels; k++) sum += (row(i)[k] - c[k]) * (row(i)[k] - c[k]);
    return sum;
  }
};

Rows rows_of(const antkv_kmeans_params& p, int head, int chunk, int channels) {
  Rows rows{p.tokens, channels, std::vector<double>(size_t(p.tokens) * channels), std::vector<double>(p.tokens, 1)};
  for (int i = 0; i < p.tokens; i++) {
    read_halves(static_cast<const uint8_t*>(p.x) + head * p.x_head_stride + i * p.x_row_stride + chunk * channels * 2, channels, &rows.x[size_t(i) * channels]);
    if (p.weights) rows.weight[i] = p.weights[int64_t(head) * p.tokens + i];
  }
  return rows;
}

/// The first row whose running sum of masses exceeds `draw` times the total.
int draw_row(const std::vector<double>& mass, double draw) {
  const double total = std::accumulate(mass.begin(), mass.end(), 0.0);
  if (!(total > 0)) return int(draw * double(mass.size()));
  double sum = 0;
  int last = 0;
  for (size_t i = 0; i < mass.size() && sum <= draw * total; i++) {
    sum += mass[i];
    if (mass[i] > 0) last = int(i);
  }
  return last;
}

std::vector<double> plus_plus(const Rows& rows, const double* draws, int entries) {
  std::vector<double> centroids, mass = rows.weight;
  for (int e = 0; e < entries; e++) {
    const double* c = rows.row(draw_row(mass, draws[e]));
    centroids.insert(centroids.end(), c, c + rows.channels);
    for (int i = 0; i < rows.count; i++) {
      const double now = rows.weight[i] * rows.distance(i, c);
      mass[i] = e == 0 ? now : std::min(mass[i], now);
    }
  }
  return centroids;
}

/// The entry nearest to each row by the centroids as halves, the lower of equals; what rows lose by `centroids`.
std::vector<int> assign(const Rows& rows, const std::vector<double>& centroids, std::vector<double>& loss, double& margin) {
  const int n = rows.channels, entries = int(centroids.size()) / n;
  std::vector<double> searched(centroids);
  for (double& value : searched) value = from_half(to_half(value));
  std::vector<int> code(rows.count);
  for (int i = 0; i < rows.count; i++) {
    double least = INFINITY, second = INFINITY;
    for (int e = 0; e < entries; e++) {
      const double* c = &searched[size_t(e) * n];
      const double distance = rows.distance(i, c);
      if (distance < least) second = least, least = distance, code[i] = e;
      else if (!std::equal(c, c + n, &searched[size_t(code[i]) * n])) second = std::min(second, distance);  // equal centroids tie exactly
    }
    const double* c = &searched[size_t(code[i]) * n];
    const double size = dot(rows.row(i), rows.row(i), n) + dot(c, c, n);
    if (size > 0) margin = std::min(margin, (second - least) / size);
    loss[i] = rows.weight[i] * rows.distance(i, &centroids[size_t(code[i]) * n]);
  }
  return code;
}

/// Moves centroids to means, and empty ones to the worst rows; returns how many those were.
int move(const Rows& rows, const std::vector<int>& code, const std::vector<double>& loss, std::vector<double>& centroids) {
  const int n = rows.channels, entries = int(centroids.size()) / n;
  std::vector<double> sum(centroids.size()), weight(entries);
  for (int i = 0; i < rows.count; i++) {
    weight[code[i]] += rows.weight[i];
    for (int k = 0; k < n; k++) sum[size_t(code[i]) * n + k] += rows.weight[i] * rows.row(i)[k];
  }
  std::vector<int> worst(rows.count);
  std::iota(worst.begin(), worst.end(), 0);
  std::stable_sort(worst.begin(), worst.end(), [&](int a, int b) { return loss[a] > loss[b]; });
  int filled = 0;
  for (int e = 0; e < entries; e++) {
    for (int k = 0; k < n && weight[e] > 0; k++) centroids[size_t(e) * n + k] = from_half(to_half(float(sum[size_t(e) * n + k] / weight[e])));
    if (weight[e] > 0 || filled == rows.count || !(loss[worst[filled]] > 0)) continue;
    const double* c = rows.row(worst[filled++]);
    std::copy(c, c + n, &centroids[size_t(e) * n]);
  }
  return filled;
}

}  // namespace

std::vector<Clusters> reference_kmeans(const Contract& contract, const antkv_kmeans_params& p, int steps) {
  const int channels = contract.format.k.channels, entries = antkv_entries(contract.format.k);
  std::vector<Clusters> all;
  for (int problem = 0; problem < p.heads * p.chunks; problem++) {
    const Rows rows = rows_of(p, problem / p.chunks, problem % p.chunks, channels);
    Clusters c{{}, {}, 0, 0, false, INFINITY};
    const std::vector<double> origin(channels);
    for (int i = 0; i < rows.count; i++) c.energy += rows.weight[i] * rows.distance(i, origin.data());
    const float* given = p.centroids + int64_t(problem) * entries * channels;
    c.centroids = p.draws ? plus_plus(rows, p.draws + int64_t(problem) * entries, entries) : std::vector<double>(given, given + entries * channels);
    std::vector<double> loss(rows.count);
    for (int step = 0; step <= std::min(steps, p.max_steps); step++) {
      const bool measures = step == std::min(steps, p.max_steps);
      if (c.settled && !measures) continue;
      const std::vector<int> code = assign(rows, c.centroids, loss, c.margin);
      c.losses.push_back(std::accumulate(loss.begin(), loss.end(), 0.0));
      if (measures) break;
      const int filled = move(rows, code, loss, c.centroids);
      c.reseeded += filled;
      const size_t done = c.losses.size();
      c.settled = filled == 0 && done > 1 && c.losses[done - 2] - c.losses[done - 1] <= double(p.tolerance) * c.losses[done - 1];
    }
    all.push_back(std::move(c));
  }
  return all;
}

}  // namespace reference
