// bench encode and unpack: rows to pages, and pages to rows. Their checks ask the fp64 reference about one run of tokens of one sequence and KV head.
#include "bench.h"
#include "bench_cache.h"
#include "../reference/pages.h"

namespace runner {
namespace {

/// [rows, kv_heads, d] halves of K and V, and where each sequence begins.
struct Rows {
  size_t k, v, cu;
  int64_t head_bytes, row_bytes, bytes;  // bytes: of one side
  std::vector<int32_t> starts;
};

template <class P>
Rows place_rows(Arena& arena, const BenchShape& s, int d, ArenaParams<P>& p) {
  Rows r;
  r.head_bytes = 2 * d;
  r.row_bytes = s.kv_heads * r.head_bytes;
  r.bytes = s.tokens() * r.row_bytes;
  r.starts.assign(1, 0);
  for (int n : s.kv_len) r.starts.push_back(r.starts.back() + n);
  p.bind(&P::k, arena, r.k = arena.place(size_t(r.bytes)));
  p.bind(&P::v, arena, r.v = arena.place(size_t(r.bytes)));
  p.bind(&P::cu_tokens, arena, r.cu = arena.place(r.starts.size() * 4));
  p->k_head_stride = p->v_head_stride = r.head_bytes;
  p->k_row_stride = p->v_row_stride = r.row_bytes;
  p->max_tokens = s.most_tokens();
  return r;
}

/// A run of tokens to look at: at most `most`, from a multiple of `step` on.
struct Run {
  int b, head, first, count;
};
Run choose_run(Random& random, const BenchShape& s, int step, int most) {
  Run run{random.below(s.batch), random.below(s.kv_heads), 0, 0};
  run.first = random.below(ceil_div(s.kv_len[run.b], step)) * step;
  run.count = std::min(most, s.kv_len[run.b] - run.first);
  return run;
}

/// The rows of a run on the host; column 0 is its KV head.
std::vector<uint8_t> read_run(const Arena& arena, const Rows& r, size_t side, const Run& run) {
  std::vector<uint8_t> rows(size_t(run.count * r.row_bytes));
  arena.read(0, side + size_t((r.starts[run.b] + run.first) * r.row_bytes), rows.data(), rows.size());
  return rows;
}

std::string title(const char* op, const BenchShape& s) { return std::string(op) + " of " + std::to_string(s.batch) + " x " + std::to_string(s.most_tokens()) + " tokens"; }

}  // namespace

Json bench_encode(const Gpu& gpu, const Json& request) {
  using P = antkv_encode_params;
  Bench bench(gpu, request);
  const Kernel kernel = Kernel::read(request.at("kernel"), "encode");
  const BenchShape shape = BenchShape::read(request.at("shape"), kernel.contract, false);
  request.refuse_unread();
  const CUfunction function = gpu.launcher.load(kernel);
  Arena arena(gpu);
  Content content(bench.random);
  BenchCache cache(arena, content, kernel.contract, shape, shape.kv_len);
  const antkv_format& f = cache.format();
  ArenaParams<P> p;
  cache.bind(p);
  const Rows rows = place_rows(arena, shape, f.head_dim, p);
  const bool anchored = cache.max_anchor_pages() > 0;
  const int64_t lists = int64_t(shape.batch) * shape.kv_heads;
  size_t bitmap_at = 0, indices_at = 0;
  if (anchored) {
    p->max_anchors = cache.max_anchor_pages() * ANTKV_ANCHOR_ROWS;
    p->keep_words = int32_t(ceil_div(shape.most_tokens(), 32));
    p.bind(&P::keep_bitmap, arena, bitmap_at = arena.place(size_t(lists * p->keep_words * 4)));
    p.bind(&P::keep_indices, arena, indices_at = arena.place(size_t(lists * p->max_anchors * 4)));
  }
  const std::vector<std::pair<const char*, int64_t>> bytes{{"rows", 2 * rows.bytes}, {"codes", cache.code_bytes()}, {"anchors", cache.anchor_bytes()},
                                                          {"kept", lists * 4 * (p->keep_words + p->max_anchors)}, {"codebooks", cache.codebook_bytes(true)}};
  arena.allocate(copies_for(gpu, total(bytes)), title("encode", shape));
  cache.fill(false);
  for (size_t at : {rows.k, rows.v}) arena.repeat(at, content.gaussian_block(size_t(rows.bytes)), size_t(rows.bytes));
  arena.write(rows.cu, rows.starts);
  if (anchored) {
    std::vector<uint32_t> bitmap(size_t(lists * p->keep_words));
    std::vector<int32_t> indices(size_t(lists * p->max_anchors), -1);
    for (int64_t list = 0; list < lists; list++) {
      const auto& kept = cache.kept(int(list / shape.kv_heads), int(list % shape.kv_heads));
      for (int32_t token : kept) bitmap[size_t(list * p->keep_words + token / 32)] |= 1u << token % 32;
      std::copy(kept.begin(), kept.end(), indices.begin() + list * p->max_anchors);
    }
    arena.write(bitmap_at, bitmap);
    arena.write(indices_at, indices);
  }
  arena.replicate();
  const auto step = [&](int copy) { return std::vector<Launch>{launch_of(kernel, function, p.of(copy))}; };

  // Codes may differ from the reference's where two centroids tie within rounding, which is rare; check_encode.cc looks at each. Garbage agrees in 1 code of 256.
  const auto check = [&](BenchCheck& found) {
    found.kind = "one run";
    const Run run = choose_run(bench.random, shape, shape.page_size, 128);
    CacheSlice slice = cache.slice(run.b, run.head);
    const std::vector<uint8_t> k = read_run(arena, rows, rows.k, run), v = read_run(arena, rows, rows.v, run);
    const int32_t cu[] = {0, run.count};
    P host{};
    slice.bind(host);
    host.anchor_table = nullptr;
    host.k = k.data() + run.head * rows.head_bytes, host.v = v.data() + run.head * rows.head_bytes;
    host.k_row_stride = host.v_row_stride = rows.row_bytes;
    host.cu_tokens = cu;
    host.first_token = &run.first;
    const std::vector<int32_t>& kept = cache.kept(run.b, run.head);
    const antkv_unit u = antkv_unit_layout(f);
    int64_t codes = 0, equal = 0, wrong_bits = 0, wrong_rows = 0;
    for (const auto& t : reference::reference_encode(kernel.contract, host).tokens) {
      const int slot = t.token % shape.page_size;
      const uint8_t* block = slice.pages.data() + t.token / shape.page_size * slice.page_stride;
      const uint8_t* unit = block + slot / ANTKV_UNIT_TOKENS * u.bytes;
      const int n = slot % ANTKV_UNIT_TOKENS;
      for (int i = 0; i < antkv_chunks(f.k, f.head_dim); i++, codes++) equal += antkv_read_code(f, ANTKV_KEYS, unit, n, i) == t.k_code[i];
      for (int i = 0; i < antkv_chunks(f.v, f.head_dim); i++, codes++) equal += antkv_read_code(f, ANTKV_VALUES, unit, n, i) == t.v_code[i];
      const size_t at = size_t(t.token - run.first) * size_t(rows.row_bytes) + size_t(run.head * rows.head_bytes);
      if (f.k.exact) wrong_rows += std::memcmp(unit + n * u.k_row, k.data() + at, size_t(u.k_row)) != 0;
      if (f.v.exact) wrong_rows += std::memcmp(unit + u.v + n * u.v_row, v.data() + at, size_t(u.v_row)) != 0;
      if (!f.k.exact || !f.v.exact) wrong_bits += reference::anchor_bit(f, block, slot, shape.page_size) != std::binary_search(kept.begin(), kept.end(), t.token);
    }
    found.detail.set("codes", codes).set("equal", equal);
    found.fault_unless(double(equal) >= 0.99 * double(codes), std::to_string(codes - equal) + " of " + std::to_string(codes) + " codes are not the nearest centroid's");
    found.fault_unless(wrong_rows == 0, std::to_string(wrong_rows) + " exact rows differ from the input");
    found.fault_unless(wrong_bits == 0, std::to_string(wrong_bits) + " bitmap bits are wrong");
  };
  return bench.run(kernel, shape.json(), arena, bytes, step, check).set("anchors", cache.anchors());
}

Json bench_unpack(const Gpu& gpu, const Json& request) {
  using P = antkv_unpack_params;
  Bench bench(gpu, request);
  const Kernel kernel = Kernel::read(request.at("kernel"), "unpack");
  const BenchShape shape = BenchShape::read(request.at("shape"), kernel.contract, false);
  request.refuse_unread();
  const CUfunction function = gpu.launcher.load(kernel);
  Arena arena(gpu);
  Content content(bench.random);
  BenchCache cache(arena, content, kernel.contract, shape, shape.kv_len);
  const int d = cache.format().head_dim;
  ArenaParams<P> p;
  cache.bind(p);
  const Rows rows = place_rows(arena, shape, d, p);
  const std::vector<std::pair<const char*, int64_t>> bytes{{"codes", cache.code_bytes()}, {"anchors", cache.anchor_bytes()}, {"codebooks", cache.codebook_bytes(false)},
                                                          {"rows", 2 * rows.bytes}};
  arena.allocate(copies_for(gpu, total(bytes)), title("unpack", shape));
  cache.fill(true);
  for (size_t at : {rows.k, rows.v}) arena.fill(at, kPoison, size_t(rows.bytes));
  arena.write(rows.cu, rows.starts);
  arena.replicate();
  const auto step = [&](int copy) { return std::vector<Launch>{launch_of(kernel, function, p.of(copy))}; };

  const auto check = [&](BenchCheck& found) {
    found.kind = "one run";
    const Run run = choose_run(bench.random, shape, ANTKV_UNIT_TOKENS, 1024);
    CacheSlice slice = cache.slice(run.b, run.head);
    const int32_t cu[] = {0, run.count};
    P host{};
    slice.bind(host);
    host.cu_tokens = cu;
    host.first_token = &run.first;
    const reference::Unpacked want = reference::reference_unpack(kernel.contract, host);
    Agreement agreement;
    std::vector<double> got(d);
    for (const auto& [side, values] : {std::pair{rows.k, &want.k}, std::pair{rows.v, &want.v}}) {
      const std::vector<uint8_t> result = read_run(arena, rows, side, run);
      for (int i = 0; i < run.count; i++) {
        reference::read_halves(result.data() + i * rows.row_bytes + run.head * rows.head_bytes, d, got.data());
        agreement.row(got.data(), &(*values)[size_t(i) * d], d);
      }
    }
    found.detail.set("rel_l2", agreement.rel_l2).set("tokens", run.count);
    // Each value is rounded at most twice (check_unpack.cc).
    found.fault_unless(agreement.rel_l2 <= 1e-3 && agreement.bad_values == 0,
                       "relative L2 error " + std::to_string(agreement.rel_l2) + ", " + std::to_string(agreement.bad_values) + " rows not finite");
  };
  return bench.run(kernel, shape.json(), arena, bytes, step, check).set("anchors", cache.anchors());
}

}  // namespace runner
