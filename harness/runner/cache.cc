// Making random caches.
#include "cache.h"

#include <algorithm>

namespace runner {

using reference::to_half;

// An index that no one may follow: it lies far outside every pool.
constexpr int32_t kWild = 0x40000000;

std::vector<int32_t> per_sequence(const Json& shape, const char* key, int batch) {
  std::vector<int32_t> list = shape.integers(key);
  if (!list.empty() && int(list.size()) != batch) throw RequestError(std::string(key) + " has " + std::to_string(list.size()) + " elements for " + std::to_string(batch) + " sequences");
  return list;
}

int bounded(const Json& shape, const char* key, int64_t otherwise, int64_t least, int64_t most) {
  const int64_t value = shape.integer(key, otherwise);
  if (value < least || value > most) throw RequestError(std::string(key) + " is " + std::to_string(value) + ", not " + std::to_string(least) + " to " + std::to_string(most));
  return int(value);
}

CacheShape CacheShape::read(const Json& shape, const reference::Contract& contract, const char* tokens_key) {
  CacheShape s;
  s.tokens = shape.integers(tokens_key);
  s.batch = int(s.tokens.size());
  if (s.batch == 0) throw RequestError(std::string("\"") + tokens_key + "\" is needed, one number per sequence");
  for (int n : s.tokens) {
    if (n < 0 || n > 1 << 24) throw RequestError(std::string(tokens_key) + " must be 0 to 2^24");
  }
  s.kv_heads = bounded(shape, "kv_heads", 1, 1, 1024);
  s.page_size = bounded(shape, "page_size", 64, 16, 256);
  if (s.page_size & (s.page_size - 1)) throw RequestError("page_size must be 16, 32, 64, 128 or 256");
  s.pad = bounded(shape, "pad", 0, 0, 4096);
  if (s.pad % 16) throw RequestError("pad must be a multiple of 16 bytes");
  const std::string index = shape.string("index", "table");
  if (index != "table" && index != "csr") throw RequestError("index must be \"table\" or \"csr\"");
  s.csr = index == "csr";
  s.first_pos = per_sequence(shape, "first_pos", s.batch);
  s.anchor_permille = bounded(shape, "anchor_permille", -1, -1, 1000);
  s.frozen_len = per_sequence(shape, "frozen_len", s.batch);
  s.frozen_anchor_pages = per_sequence(shape, "frozen_anchor_pages", s.batch);
  s.shared_prefix = std::string(tokens_key) == "coded_len" ? bounded(shape, "shared_prefix", 0, 0, 1 << 24) : 0;  // encode writes its pages: it shares none
  if (s.shared_prefix % s.page_size) throw RequestError("shared_prefix must be whole pages");
  for (int n : s.tokens) {
    if (n < s.shared_prefix) throw RequestError(std::string(tokens_key) + " must be at least shared_prefix");
  }
  if (s.shared_prefix && !(s.frozen_len.empty() && s.frozen_anchor_pages.empty())) throw RequestError("shared_prefix says what frozen_len and frozen_anchor_pages would");
  s.state_slot = shape.boolean("state_slot", true);
  s.spare_pages = bounded(shape, "spare_pages", 3, 0, 1 << 24);
  const Json none = Json::object();
  const Json& rope = shape.has("rope") ? shape.at("rope") : none;
  s.rotary_dim = bounded(rope, "rotary_dim", contract.format.head_dim, 2, contract.format.head_dim);
  s.interleaved = rope.boolean("interleaved", false);
  s.theta = rope.number("theta", 10000);
  s.factor = rope.number("factor", 1);
  if (contract.format.head_dim <= 0) throw RequestError("the kernel reference lacks head_dim");
  if (contract.format.k.exact && contract.format.v.exact && s.anchor_permille >= 0) throw RequestError("exact recipes have no anchors");
  return s;
}

void gaussian_elements(Random& random, reference::Element element, void* to, int count, double size) {
  auto* elements = static_cast<uint16_t*>(to);
  for (int i = 0; i < count; i++) elements[i] = reference::to_element(element, size * random.gauss());
}

std::vector<std::vector<bool>> choose_anchors(Random& random, const CacheShape& shape) {
  std::vector<std::vector<bool>> kept;
  for (int b = 0; b < shape.batch; b++) {
    for (int head = 0; head < shape.kv_heads; head++) {
      std::vector<bool> chosen(shape.tokens[b]);
      for (size_t t = 0; t < chosen.size(); t++) chosen[t] = random.below(1000) < shape.anchor_permille;
      if (b > 0) std::copy_n(kept[head].begin(), shape.shared_prefix, chosen.begin());
      kept.push_back(std::move(chosen));
    }
  }
  return kept;
}

std::vector<int32_t> anchor_rows_of(const CacheShape& shape, const std::vector<std::vector<bool>>& kept) {
  std::vector<int32_t> rows(shape.batch, 3);
  for (size_t i = 0; i < kept.size(); i++) {
    int32_t& most = rows[i / shape.kv_heads];
    const auto own = kept[i].begin() + (int(i) < shape.kv_heads ? 0 : shape.shared_prefix);
    most = std::max(most, int32_t(std::count(own, kept[i].end(), true)) + 3);
  }
  return rows;
}

uint16_t entry_channel(antkv_codec codec, Random& random) {
  const double x = random.gauss();
  return to_half(codec.stages > 1 ? std::clamp(std::nearbyint(256 * x), -1023.0, 1023.0) / 256 : x);
}

Buffer* make_codebook(Memory& memory, Random& random, const char* name, antkv_codec codec, int head_dim, int kv_heads) {
  if (codec.exact) return nullptr;
  const size_t count = size_t(kv_heads) * head_dim * antkv_stored_entries(codec);
  std::vector<uint16_t> halves(codec.q8 ? 0 : count);
  std::vector<int8_t> steps(codec.q8 ? count : 0);
  std::vector<float> scale(codec.q8 ? size_t(kv_heads) * head_dim : 0);
  for (auto& h : halves) h = entry_channel(codec, random);
  for (auto& s : steps) s = int8_t(std::clamp(std::nearbyint(40 * random.gauss()), -127.0, 127.0));
  for (auto& s : scale) s = float((0.8 + 0.4 * random.uniform()) / 40);
  Buffer& packed = memory.add(name, kv_heads * antkv_codebook_layout(codec, head_dim).bytes);
  antkv_pack_codebook(codec, head_dim, kv_heads, codec.q8 ? static_cast<void*>(steps.data()) : halves.data(), scale.data(), packed.host.data());
  return &packed;
}

namespace {

/// Deals the items of a pool of `extra` more than needed to the sequences, in random order.
void deal(Random& random, const std::vector<int32_t>& need, int extra, std::vector<int32_t>& list, std::vector<int32_t>& start) {
  start.assign(1, 0);
  for (int n : need) start.push_back(start.back() + n);
  list = random.permutation(start.back() + extra);
}

}  // namespace

Cache::Cache(Memory& memory, Random& random, const reference::Contract& contract, const CacheShape& shape, const std::vector<int32_t>& anchor_rows)
    : shape(shape), contract(contract), slots(shape.batch + 2) {
  const antkv_format& f = contract.format;
  slot_of = random.permutation(slots);
  slot_of.resize(shape.batch);
  if (!shape.state_slot) std::iota(slot_of.begin(), slot_of.end(), 0);
  else state_slot = &memory.add("state_slot", slot_of);
  k_codebook = make_codebook(memory, random, "k_codebook", f.k, f.head_dim, shape.kv_heads);
  v_codebook = make_codebook(memory, random, "v_codebook", f.v, f.head_dim, shape.kv_heads);
  if (contract.format.pre) {
    std::vector<float> frequencies(shape.rotary_dim / 2);
    for (size_t i = 0; i < frequencies.size(); i++) frequencies[i] = float(std::pow(shape.theta, -2.0 * double(i) / shape.rotary_dim));
    inv_freq = &memory.add("inv_freq", frequencies);
  }
  if (!shape.first_pos.empty()) first_pos = &memory.add("first_pos", shape.first_pos);
  make_pages(memory, random);
  anchor_head_stride = antkv_anchor_page_bytes(f.head_dim) + shape.pad;
  anchor_page_stride = shape.kv_heads * anchor_head_stride + shape.pad;
  if (shape.anchor_permille >= 0) make_anchors(memory, random, anchor_rows);
}

void Cache::make_pages(Memory& memory, Random& random) {
  const antkv_format& f = contract.format;
  std::vector<int32_t> need;
  const int shared = shape.shared_prefix / shape.page_size;
  for (int n : shape.tokens) need.push_back(int32_t(ceil_div(n, shape.page_size)) - (need.empty() ? 0 : shared));
  deal(random, need, shape.spare_pages, page_list, page_start);
  const int pool = int(page_list.size());
  if (shared > 0) {
    const std::vector<int32_t> own = page_list, own_start = page_start;
    page_list.clear();
    for (int b = 0; b < shape.batch; b++) {
      page_start[b] = int32_t(page_list.size());
      if (b > 0) page_list.insert(page_list.end(), own.begin(), own.begin() + shared), need[b] += shared;
      page_list.insert(page_list.end(), own.begin() + own_start[b], own.begin() + own_start[b + 1]);
    }
    page_start[shape.batch] = int32_t(page_list.size());
  }
  if (shape.csr) {
    page_indptr = &memory.add("page_indptr", page_start);
    page_indices = &memory.add("page_indices", std::vector<int32_t>(page_list.begin(), page_list.begin() + page_start.back()));
  } else {
    max_pages = *std::max_element(need.begin(), need.end()) + 1;
    std::vector<int32_t> table(size_t(shape.batch) * max_pages, kWild);
    for (int b = 0; b < shape.batch; b++) std::copy(page_list.begin() + page_start[b], page_list.begin() + page_start[b + 1], table.begin() + size_t(b) * max_pages);
    block_table = &memory.add("block_table", table);
  }
  page_head_stride = antkv_page_bytes(f, shape.page_size) + shape.pad;
  page_stride = shape.kv_heads * page_head_stride + shape.pad;
  pages = &memory.add("pages", size_t(pool * page_stride));
  // Garbage: any codes, any anchor bits; exact rows and gains stay NaN.
  const antkv_unit u = antkv_unit_layout(f);
  const auto garbage = [&](uint8_t* at, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i++) at[i] = uint8_t(random.bits());
  };
  for (int page = 0; page < pool; page++) {
    for (int head = 0; head < shape.kv_heads; head++) {
      uint8_t* block = pages->host.data() + page * page_stride + head * page_head_stride;
      for (int unit = 0; unit < shape.page_size / ANTKV_UNIT_TOKENS; unit++) {
        if (!f.k.exact) garbage(block + unit * u.bytes, u.v);
        if (!f.v.exact) garbage(block + unit * u.bytes + u.v, u.k_gain - u.v);
      }
      if (!f.k.exact || !f.v.exact) garbage(block + antkv_bitmap_offset(f, shape.page_size), (shape.page_size + 31) / 32 * 4);
    }
  }
}

void Cache::make_anchors(Memory& memory, Random& random, const std::vector<int32_t>& rows) {
  std::vector<int32_t> need;
  for (int n : rows) need.push_back(int32_t(ceil_div(n, ANTKV_ANCHOR_ROWS)));
  deal(random, need, 2, anchor_list, anchor_start);
  // A sequence that shares a prefix inherits all anchor pages of the first; their rows at or beyond the prefix are to be skipped.
  const int inherited = shape.shared_prefix ? need[0] : 0;
  max_anchor_pages = 1;
  for (int b = 0; b < shape.batch; b++) max_anchor_pages = std::max(max_anchor_pages, need[b] += b ? inherited : 0);
  std::vector<int32_t> table(size_t(slots) * max_anchor_pages, kWild);
  for (int b = 0; b < shape.batch; b++) {
    const auto row = table.begin() + size_t(slot_of[b]) * max_anchor_pages;
    std::copy_n(anchor_list.begin(), b ? inherited : 0, row);
    std::copy(anchor_list.begin() + anchor_start[b], anchor_list.begin() + anchor_start[b + 1], row + (b ? inherited : 0));
    if (need[b] < max_anchor_pages) row[need[b]] = -1;  // what follows the end is wild
  }
  anchor_table = &memory.add("anchor_table", table);
  anchors = &memory.add("anchors", anchor_list.size() * anchor_page_stride);
  if (inherited) {
    shape.frozen_len.assign(shape.batch, shape.shared_prefix), shape.frozen_anchor_pages.assign(shape.batch, inherited);
    shape.frozen_len[0] = shape.frozen_anchor_pages[0] = 0;
  }
  if (!shape.frozen_len.empty()) frozen_len = &memory.add("frozen_len", shape.frozen_len);
  if (!shape.frozen_anchor_pages.empty()) frozen_anchor_pages = &memory.add("frozen_anchor_pages", shape.frozen_anchor_pages);
}

void Cache::fill(Random& random, const std::vector<std::vector<bool>>& kept) {
  const antkv_format& f = contract.format;
  const antkv_unit u = antkv_unit_layout(f);
  const int d = f.head_dim;
  // Drawing billions of values would take minutes: beyond some millions, a row is a random stretch of one list of them.
  const int64_t values = (f.k.exact + f.v.exact) * int64_t(d) * shape.kv_heads * std::accumulate(shape.tokens.begin(), shape.tokens.end(), int64_t(0));
  std::vector<uint16_t> drawn(values > 1 << 24 ? 1 << 20 : 0);
  gaussian_elements(random, contract.element, drawn.data(), int(drawn.size()));
  const auto row = [&](uint8_t* unit, int side, int token) {
    const antkv_codec codec = antkv_side_codec(f, side);
    const int i = token % ANTKV_UNIT_TOKENS;
    uint8_t* exact = unit + antkv_side_offset(f, side) + i * antkv_row_bytes(codec, d);
    if (codec.exact && !drawn.empty()) std::memcpy(exact, &drawn[size_t(random.below(int64_t(drawn.size()) - d))], 2 * size_t(d));
    else if (codec.exact) gaussian_elements(random, contract.element, exact, d);
    if (codec.exact) return;
    for (int chunk = 0; chunk < antkv_chunks(codec, d); chunk++) {
      // Both ends of the range are always there.
      const uint32_t code = token == 0 ? (chunk % 2 ? antkv_entries(codec) - 1 : 0) : uint32_t(random.below(antkv_entries(codec)));
      antkv_write_code(f, side, unit, i, chunk, code);
    }
  };
  for (int b = 0; b < shape.batch; b++) {
    for (int head = 0; head < shape.kv_heads; head++) {
      const std::vector<bool>& chosen = kept[size_t(b) * shape.kv_heads + head];
      const int own = b ? shape.shared_prefix : 0;
      for (int token = own; token < shape.tokens[b]; token++) {
        uint8_t* block = this->block(b, head, token);
        const int slot = token % shape.page_size, i = slot % ANTKV_UNIT_TOKENS;
        uint8_t* unit = block + slot / ANTKV_UNIT_TOKENS * u.bytes;
        row(unit, ANTKV_KEYS, token);
        row(unit, ANTKV_VALUES, token);
        const uint16_t gains[] = {to_half(1 + 0.1 * random.gauss()), to_half(1 + 0.1 * random.gauss())};
        if (f.k_gain) std::memcpy(unit + antkv_gain_offset(f, ANTKV_KEYS, i), &gains[0], 2);
        if (f.v_gain) std::memcpy(unit + antkv_gain_offset(f, ANTKV_VALUES, i), &gains[1], 2);
        if (f.k.exact && f.v.exact) continue;
        uint8_t& bits = block[antkv_bitmap_offset(f, shape.page_size) + slot / 8];
        bits = uint8_t((bits & ~(1 << slot % 8)) | chosen[token] << slot % 8);
      }
      if (!anchors) continue;
      std::vector<int32_t> rows;
      for (int token = own; token < shape.tokens[b]; token++) {
        if (chosen[token]) rows.push_back(token);
      }
      for (int i = 0; i < 3; i++) rows.push_back(shape.tokens[b] + 7 * i);  // rows of tokens that are not coded: skipped
      const std::vector<int32_t> places = random.permutation((anchor_start[b + 1] - anchor_start[b]) * ANTKV_ANCHOR_ROWS);
      for (size_t i = 0; i < places.size(); i++) {
        uint8_t* block = anchor_block(b, head, places[i] / ANTKV_ANCHOR_ROWS);
        const int at = places[i] % ANTKV_ANCHOR_ROWS;
        const int32_t token = i < rows.size() ? rows[i] : -1;
        std::memcpy(block + antkv_anchor_index_offset(d) + 4 * at, &token, 4);
        if (token < 0) continue;  // the empty row stays NaN
        gaussian_elements(random, contract.element, block + at * 2 * d, d);
        gaussian_elements(random, contract.element, block + antkv_anchor_v_offset(d) + at * 2 * d, d);
      }
    }
  }
}

}  // namespace runner
