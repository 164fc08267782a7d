// Making large caches on the device.
#include "bench_cache.h"

#include <algorithm>

#include "cache.h"

namespace runner {

using reference::to_half;

constexpr size_t kBlock = 8 * kMiB;  // of random bytes made on the host, which takes tens of milliseconds; the device repeats them

BenchShape BenchShape::read_plain(const Json& shape, bool empty) {
  BenchShape s{};
  s.batch = bounded(shape, "batch", 1, 1, 65535);
  s.kv_heads = bounded(shape, "kv_heads", 8, 1, 1024);
  s.q_heads = bounded(shape, "q_heads", 4 * s.kv_heads, 1, 4096);
  if (s.q_heads % s.kv_heads || s.q_heads / s.kv_heads > 16) throw RequestError("q_heads must be 1 to 16 times kv_heads");
  s.kv_len = per_sequence(shape, "lens", s.batch);
  const int tokens = bounded(shape, "tokens", s.kv_len.empty() ? 0 : s.most_tokens(), 1, 1 << 24);
  if (s.kv_len.empty()) s.kv_len.assign(s.batch, tokens);
  for (int n : s.kv_len) {
    if (n < 0 || n > 1 << 24) throw RequestError("lens must be 0 to 2^24, at least one of them 1 or more");
    if (n == 0 && !empty) throw RequestError("lens must be 1 or more: only decode has sequences of no tokens");
  }
  if (s.tokens() > INT32_MAX) throw RequestError("more than 2^31 tokens in all: row and page indices are int32");
  return s;
}

BenchShape BenchShape::read(const Json& shape, const reference::Contract& contract, bool attends) {
  BenchShape s = read_plain(shape, attends);
  const antkv_format& f = contract.format;
  if (f.head_dim <= 0) throw RequestError("the kernel reference lacks head_dim");
  const bool exact = f.k.exact && f.v.exact;
  s.page_size = bounded(shape, "page_size", 64, 16, 256);
  if (s.page_size & (s.page_size - 1)) throw RequestError("page_size must be 16, 32, 64, 128 or 256");
  s.anchor_permille = bounded(shape, "anchor_permille", exact ? 0 : 10, 0, 1000);
  s.codes = shape.string("codes", "uniform");
  if (attends) {
    s.window = bounded(shape, "window", exact ? 0 : 128, 0, 1 << 16);
    s.q_len = bounded(shape, "q_len", 1, 1, 16);
    s.splits = bounded(shape, "splits", 1, 1, 1024);
    s.spread = shape.boolean("spread", false);
    const std::string merge = shape.string("merge", "combine");
    if (merge != "last" && merge != "combine") throw RequestError("merge must be \"last\" or \"combine\"");
    s.merges = merge == "last";
  }
  if (exact && (s.window || s.anchor_permille)) throw RequestError("exact recipes have neither window nor anchors: leave both out, or 0");
  for (int n : s.kv_len) {
    if (n && n < s.q_len) throw RequestError("a sequence is shorter than q_len");
  }
  return s;
}

int BenchShape::most_tokens() const { return *std::max_element(kv_len.begin(), kv_len.end()); }
int64_t BenchShape::tokens() const { return std::accumulate(kv_len.begin(), kv_len.end(), int64_t(0)); }

Json BenchShape::json() const {
  Json json = Json::object();
  json.set("batch", batch).set("q_heads", q_heads).set("kv_heads", kv_heads).set("tokens", most_tokens());
  if (page_size) json.set("page_size", page_size).set("anchor_permille", anchor_permille).set("codes", codes);
  if (splits) json.set("window", window).set("q_len", q_len).set("splits", splits).set("spread", spread).set("merge", merges ? "last" : "combine");
  if (std::any_of(kv_len.begin(), kv_len.end(), [&](int n) { return n != kv_len[0]; })) {
    Json lens = Json::array();
    for (int n : kv_len) lens.push(n);
    json.set("lens", lens);
  }
  return json;
}

Content::Content(Random& random, reference::Element element) : random(random), elements_(1 << 16) {
  for (auto& e : elements_) e = reference::to_element(element, random.gauss());
}

void Content::gaussian(void* to, size_t bytes) {
  auto* elements = static_cast<uint8_t*>(to);
  uint64_t bits = 0;
  for (size_t i = 0; i < bytes / 2; i++, bits >>= 16) {
    if (i % 4 == 0) bits = random.bits();
    std::memcpy(elements + 2 * i, &elements_[bits & 0xffff], 2);
  }
}

std::vector<uint8_t> Content::gaussian_block(size_t bytes) {
  std::vector<uint8_t> block(std::min(bytes, kBlock));
  gaussian(block.data(), block.size());
  return block;
}

void Content::choose_codes(const std::string& distribution, antkv_codec codec, std::vector<uint16_t>& table) {
  const int entries = antkv_entries(codec);
  table.assign(1 << 16, 0);
  if (codec.exact) return;
  if (distribution == "uniform") {
    for (size_t i = 0; i < table.size(); i++) table[i] = uint16_t(i % entries);
  } else if (distribution == "equal") {
    std::fill(table.begin(), table.end(), uint16_t(random.below(entries)));
  } else if (distribution == "zipf") {
    const std::vector<int32_t> order = random.permutation(entries);
    double total = 0, sum = 0;
    for (int r = 0; r < entries; r++) total += 1.0 / (r + 1);
    for (size_t r = 0, i = 0; i < table.size(); r++) {
      sum += 1.0 / double(r + 1);
      for (; i < table.size() && (double(i) < sum / total * double(table.size()) || int(r) == entries - 1); i++) table[i] = uint16_t(order[r]);
    }
  } else {
    throw RequestError("codes must be \"uniform\", \"zipf\" or \"equal\"");
  }
}

void Content::codes(uint8_t* unit, const antkv_format& f, int side, const std::vector<uint16_t>& table) {
  const antkv_codec codec = antkv_side_codec(f, side);
  const int chunks = antkv_chunks(codec, f.head_dim);
  uint64_t bits = 0;
  for (int at = 0; at < ANTKV_UNIT_TOKENS * chunks; at++, bits >>= 16) {
    if (at % 4 == 0) bits = random.bits();
    const uint16_t code = table[bits & 0xffff];
    // All are drawn alike, so their order in the unit does not matter: no need of the slower antkv_write_code.
    if (codec.bits == 8) unit[antkv_side_offset(f, side) + at] = uint8_t(code);
    else antkv_write_code(f, side, unit, at / chunks, at % chunks, code);
  }
}

BenchCache::BenchCache(Arena& arena, Content& content, const reference::Contract& contract, const BenchShape& shape, std::vector<int32_t> coded_len)
    : arena_(arena), content_(content), contract_(contract), shape_(shape), coded_len_(std::move(coded_len)) {
  const antkv_format& f = contract.format;
  Random& random = content.random;
  head_stride_ = antkv_page_bytes(f, shape.page_size);
  page_stride_ = shape.kv_heads * head_stride_;
  anchor_head_stride_ = antkv_anchor_page_bytes(f.head_dim);
  anchor_stride_ = shape.kv_heads * anchor_head_stride_;

  for (int n : coded_len_) {
    pool_ += int(ceil_div(n, shape.page_size));
    max_pages_ = std::max(max_pages_, int(ceil_div(n, shape.page_size)));
  }
  // Before the host makes long lists for what the device cannot hold.
  require_memory(arena.gpu(), size_t(pool_) * page_stride_, "a cache of " + std::to_string(shape.batch) + " x " + std::to_string(shape.most_tokens()) + " tokens");
  const std::vector<int32_t> order = random.permutation(pool_);
  table_.assign(size_t(shape.batch) * max_pages_, 0);
  for (int b = 0, next = 0; b < shape.batch; b++) {
    for (int i = 0; i < ceil_div(coded_len_[b], shape.page_size); i++) table_[size_t(b) * max_pages_ + i] = order[next++];
  }
  slots_ = random.permutation(shape.batch);
  block_pages_ = int(std::clamp<int64_t>(int64_t(kBlock) / page_stride_, 1, std::max(1, pool_)));
  choose_anchors();

  pages_ = arena.place(size_t(std::max(1, pool_)) * page_stride_);
  block_table_at_ = arena.place(table_.size() * 4);
  state_slot_ = arena.place(slots_.size() * 4);
  k_codebook_ = arena.place(shape.kv_heads * antkv_codebook_layout(f.k, f.head_dim).bytes);
  v_codebook_ = arena.place(shape.kv_heads * antkv_codebook_layout(f.v, f.head_dim).bytes);
  inv_freq_ = arena.place(f.head_dim / 2 * 4);
  if (max_anchor_pages_ > 0) {
    anchors_at_ = arena.place(size_t(anchor_pool_) * anchor_stride_);
    anchor_table_at_ = arena.place(anchor_table_.size() * 4);
  }
}

/// Spreads the budget evenly over the pages of the block, at random slots; every page of the pool repeats the bits of its page of the block.
void BenchCache::choose_anchors() {
  kept_.resize(size_t(shape_.batch) * shape_.kv_heads);
  const int size = shape_.page_size;
  marked_.assign(block_pages_, std::vector<std::vector<int32_t>>(shape_.kv_heads));
  if (shape_.anchor_permille == 0) return;
  for (int page = 0; page < block_pages_; page++) {
    const int64_t before = int64_t(page) * size * shape_.anchor_permille / 1000, after = int64_t(page + 1) * size * shape_.anchor_permille / 1000;
    for (auto& slots : marked_[page]) {
      slots = content_.random.permutation(size);
      slots.resize(after - before);
      std::sort(slots.begin(), slots.end());
    }
  }
  std::vector<int32_t> need(shape_.batch);
  for (int b = 0; b < shape_.batch; b++) {
    for (int head = 0; head < shape_.kv_heads; head++) {
      auto& kept = kept_[size_t(b) * shape_.kv_heads + head];
      for (int i = 0; i < ceil_div(coded_len_[b], size); i++) {
        for (int slot : marked_[table_[size_t(b) * max_pages_ + i] % block_pages_][head]) {
          if (i * size + slot < coded_len_[b]) kept.push_back(i * size + slot);
        }
      }
      need[b] = std::max(need[b], int32_t(ceil_div(int64_t(kept.size()), ANTKV_ANCHOR_ROWS)));
    }
    anchor_pool_ += need[b];
  }
  if (anchor_pool_ == 0) return;  // a budget that rounds down to nothing
  max_anchor_pages_ = *std::max_element(need.begin(), need.end());
  const std::vector<int32_t> order = content_.random.permutation(anchor_pool_);
  anchor_table_.assign(size_t(shape_.batch) * max_anchor_pages_, -1);
  for (int b = 0, next = 0; b < shape_.batch; b++) {
    for (int i = 0; i < need[b]; i++) anchor_table_[size_t(slots_[b]) * max_anchor_pages_ + i] = order[next++];
  }
}

std::vector<uint8_t> BenchCache::make_codebook(antkv_codec codec) {
  const int d = format().head_dim, heads = shape_.kv_heads;
  Random& random = content_.random;
  std::vector<uint8_t> packed(size_t(heads * antkv_codebook_layout(codec, d).bytes));
  if (codec.exact) return packed;
  const size_t count = size_t(heads) * d * antkv_stored_entries(codec);
  std::vector<uint16_t> halves(codec.q8 ? 0 : count);
  std::vector<int8_t> steps(codec.q8 ? count : 0);
  std::vector<float> scale(size_t(heads) * d);
  for (auto& h : halves) h = entry_channel(codec, content_.random);
  for (auto& s : steps) s = int8_t(std::clamp(std::nearbyint(40 * random.gauss()), -127.0, 127.0));
  for (auto& s : scale) s = float((0.8 + 0.4 * random.uniform()) / 40);
  antkv_pack_codebook(codec, d, heads, codec.q8 ? static_cast<void*>(steps.data()) : halves.data(), scale.data(), packed.data());
  return packed;
}

void BenchCache::fill(bool encoded) {
  const int d = format().head_dim;
  if (encoded) {
    fill_pages();
    if (max_anchor_pages_ > 0) fill_anchors();
  }
  arena_.write(block_table_at_, table_);
  arena_.write(state_slot_, slots_);
  arena_.write(k_codebook_, make_codebook(format().k));
  arena_.write(v_codebook_, make_codebook(format().v));
  std::vector<float> frequencies(d / 2);
  for (size_t i = 0; i < frequencies.size(); i++) frequencies[i] = float(std::pow(10000.0, -2.0 * double(i) / d));
  arena_.write(inv_freq_, frequencies);
  if (max_anchor_pages_ > 0) arena_.write(anchor_table_at_, anchor_table_);
}

void BenchCache::poison() {
  arena_.fill_all(pages_, kPoison, size_t(pool_) * page_stride_);
  if (max_anchor_pages_ > 0) arena_.fill_all(anchors_at_, kPoison, size_t(anchor_pool_) * anchor_stride_);
}

void BenchCache::fill_pages() {
  const antkv_format& f = format();
  const antkv_unit u = antkv_unit_layout(f);
  std::vector<uint8_t> block(size_t(block_pages_) * page_stride_);
  std::vector<uint16_t> k_codes, v_codes, gains(1 << 10);
  content_.choose_codes(shape_.codes, f.k, k_codes);
  content_.choose_codes(shape_.codes, f.v, v_codes);
  for (auto& gain : gains) gain = to_half(1 + 0.1 * content_.random.gauss());
  const auto fill = [&](uint8_t* unit, int side, const std::vector<uint16_t>& table) {
    const antkv_codec codec = antkv_side_codec(f, side);
    if (codec.exact) content_.gaussian(unit + antkv_side_offset(f, side), ANTKV_UNIT_TOKENS * size_t(antkv_row_bytes(codec, f.head_dim)));
    else content_.codes(unit, f, side, table);
    for (int i = 0; i < ANTKV_UNIT_TOKENS && (side == ANTKV_KEYS ? f.k_gain : f.v_gain); i++)
      std::memcpy(unit + antkv_gain_offset(f, side, i), &gains[content_.random.bits() % gains.size()], 2);
  };
  for (int page = 0; page < block_pages_; page++) {
    for (int head = 0; head < shape_.kv_heads; head++) {
      uint8_t* at = block.data() + page * page_stride_ + head * head_stride_;
      for (int unit = 0; unit < shape_.page_size / ANTKV_UNIT_TOKENS; unit++) {
        fill(at + unit * u.bytes, ANTKV_KEYS, k_codes);
        fill(at + unit * u.bytes, ANTKV_VALUES, v_codes);
      }
      for (int slot : marked_[page][head]) at[antkv_bitmap_offset(f, shape_.page_size) + slot / 8] |= uint8_t(1 << slot % 8);
    }
  }
  arena_.repeat(pages_, block, size_t(pool_) * page_stride_);
}

/// Gaussian rows repeat; the indices are each page's own.
void BenchCache::fill_anchors() {
  const int d = format().head_dim;
  std::vector<std::pair<int, int>> owner(anchor_pool_);  // sequence and entry in its list
  for (int b = 0; b < shape_.batch; b++) {
    for (int i = 0; i < max_anchor_pages_; i++) {
      const int page = anchor_table_[size_t(slots_[b]) * max_anchor_pages_ + i];
      if (page >= 0) owner[page] = {b, i};
    }
  }
  const int at_once = int(std::clamp<int64_t>(int64_t(kBlock) / anchor_stride_, 1, anchor_pool_));
  std::vector<uint8_t> chunk(size_t(at_once) * anchor_stride_);
  content_.gaussian(chunk.data(), chunk.size());
  for (int page = 0; page < anchor_pool_; page += at_once) {
    const int count = std::min(at_once, anchor_pool_ - page);
    for (int i = 0; i < count * shape_.kv_heads; i++) {
      const auto [b, entry] = owner[page + i / shape_.kv_heads];
      const std::vector<int32_t>& tokens = kept(b, i % shape_.kv_heads);
      for (int row = 0; row < ANTKV_ANCHOR_ROWS; row++) {
        const size_t at = size_t(entry) * ANTKV_ANCHOR_ROWS + row;
        const int32_t token = at < tokens.size() ? tokens[at] : -1;
        std::memcpy(chunk.data() + i * anchor_head_stride_ + antkv_anchor_index_offset(d) + 4 * row, &token, 4);
      }
    }
    arena_.write(anchors_at_ + size_t(page) * anchor_stride_, chunk.data(), size_t(count) * anchor_stride_);
  }
}

CacheSlice BenchCache::slice(int b, int head) const {
  const antkv_format& f = format();
  CacheSlice s{};
  s.page_stride = head_stride_;
  s.anchor_stride = anchor_head_stride_;
  s.page_size = shape_.page_size;
  s.head_dim = f.head_dim;
  s.coded_len = coded_len_[b];
  const int count = int(ceil_div(s.coded_len, s.page_size));
  s.pages.resize(size_t(count) * head_stride_);
  s.table.assign(std::max(1, count), 0);
  std::iota(s.table.begin(), s.table.end(), 0);
  for (int i = 0; i < count; i++)
    arena_.read(0, pages_ + size_t(table_[size_t(b) * max_pages_ + i]) * page_stride_ + size_t(head) * head_stride_, s.pages.data() + i * head_stride_, size_t(head_stride_));
  for (int i = 0; i < max_anchor_pages_; i++) {
    const int page = anchor_table_[size_t(slots_[b]) * max_anchor_pages_ + i];
    s.anchor_table.push_back(page < 0 ? -1 : i);
    if (page < 0) break;
    s.anchors.resize(s.anchors.size() + size_t(anchor_head_stride_));
    arena_.read(0, anchors_at_ + size_t(page) * anchor_stride_ + size_t(head) * anchor_head_stride_, s.anchors.data() + i * anchor_head_stride_, size_t(anchor_head_stride_));
  }
  for (const auto& [codec, at, to] : {std::tuple{f.k, k_codebook_, &s.k_codebook}, std::tuple{f.v, v_codebook_, &s.v_codebook}}) {
    const int64_t bytes = antkv_codebook_layout(codec, f.head_dim).bytes;
    to->resize(size_t(bytes));
    arena_.read(0, at + size_t(head) * bytes, to->data(), size_t(bytes));
  }
  s.inv_freq.resize(f.head_dim / 2);
  arena_.read(0, inv_freq_, s.inv_freq.data(), s.inv_freq.size() * 4);
  return s;
}

int64_t BenchCache::code_bytes() const {
  const antkv_format& f = format();
  const antkv_unit u = antkv_unit_layout(f);
  int64_t bytes = 0;
  for (int n : coded_len_) {
    bytes += n * (u.k_row + u.v_row + 2 * (f.k_gain + f.v_gain));
    if (!f.k.exact || !f.v.exact) bytes += ceil_div(n, 32) * 4;
  }
  return bytes * shape_.kv_heads;
}

int64_t BenchCache::anchors() const {
  int64_t count = 0;
  for (const auto& tokens : kept_) count += int64_t(tokens.size());
  return count;
}

int64_t BenchCache::anchor_bytes() const { return anchors() * (4 * int64_t(format().head_dim) + 4); }

int64_t BenchCache::codebook_bytes(bool half_norms) const {
  int64_t bytes = 0;
  for (const antkv_codec codec : {format().k, format().v}) {
    const antkv_codebook l = antkv_codebook_layout(codec, format().head_dim);
    bytes += half_norms ? l.bytes : l.half_norm;
  }
  return bytes * shape_.kv_heads;
}

}  // namespace runner
