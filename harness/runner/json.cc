// Reader and writer of json.h.
#include "json.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace runner {

class JsonReader {
 public:
  explicit JsonReader(const std::string& text) : text_(text) {}

  Json whole() {
    Json value = read(0);
    skip();
    if (at_ != text_.size()) fail("end of line");
    return value;
  }

 private:
  static constexpr int kDepth = 64;
  const std::string& text_;
  size_t at_ = 0;

  [[noreturn]] void fail(const char* wanted) const { throw RequestError("not JSON: " + std::string(wanted) + " expected at column " + std::to_string(at_ + 1)); }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\r' || text_[at_] == '\n')) at_++;
  }
  void expect(char c, const char* wanted) {
    skip();
    if (peek() != c) fail(wanted);
    at_++;
  }
  bool word(const char* w) {
    const std::string s(w);
    if (text_.compare(at_, s.size(), s) != 0) return false;
    at_ += s.size();
    return true;
  }

  Json read(int depth) {
    if (depth > kDepth) fail("less nesting");
    skip();
    switch (peek()) {
      case '{': return object(depth);
      case '[': return array(depth);
      case '"': return Json(string());
      case 't': if (word("true")) return Json(true); break;
      case 'f': if (word("false")) return Json(false); break;
      case 'n': if (word("null")) return Json(); break;
      default: return number();
    }
    fail("a value");
  }

  Json object(int depth) {
    Json value = Json::object();
    at_++;
    for (skip(); peek() != '}';) {
      skip();
      if (peek() != '"') fail("a key");
      std::string key = string();
      for (const auto& member : value.members_) {
        if (member.first == key) fail("a new key");
      }
      expect(':', "\":\"");
      value.members_.emplace_back(std::move(key), read(depth + 1));
      skip();
      if (peek() == '}') break;
      expect(',', "\",\" or \"}\"");
      skip();
      if (peek() == '}') fail("a key");
    }
    at_++;
    return value;
  }

  Json array(int depth) {
    Json value = Json::array();
    at_++;
    for (skip(); peek() != ']';) {
      value.items_.push_back(read(depth + 1));
      skip();
      if (peek() == ']') break;
      expect(',', "\",\" or \"]\"");
      skip();
      if (peek() == ']') fail("a value");
    }
    at_++;
    return value;
  }

  Json number() {
    const size_t from = at_;
    const auto digits = [this] {
      const size_t start = at_;
      while (peek() >= '0' && peek() <= '9') at_++;
      if (at_ == start) fail("a value");
    };
    if (peek() == '-') at_++;
    const bool zero = peek() == '0';
    const size_t first = at_;
    digits();
    if (zero && at_ > first + 1) fail("a number without leading zeros");
    if (peek() == '.') at_++, digits();
    if (peek() == 'e' || peek() == 'E') {
      at_++;
      if (peek() == '+' || peek() == '-') at_++;
      digits();
    }
    return Json(std::strtod(text_.substr(from, at_ - from).c_str(), nullptr));
  }

  unsigned hex4() {
    unsigned code = 0;
    for (int i = 0; i < 4; i++, at_++) {
      const char c = peek();
      const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
      if (digit < 0) fail("four hex digits");
      code = code * 16 + unsigned(digit);
    }
    return code;
  }

  static void utf8(std::string& out, unsigned code) {
    if (code < 0x80) return out.push_back(char(code));
    const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    out.push_back(char((0xff00 >> (more + 1) & 0xff) | (code >> 6 * more)));
    for (int i = more - 1; i >= 0; i--) out.push_back(char(0x80 | (code >> 6 * i & 0x3f)));
  }

  std::string string() {
    std::string out;
    for (at_++; peek() != '"'; at_++) {
      if (at_ >= text_.size() || static_cast<unsigned char>(text_[at_]) < 0x20) fail("the end of the string");
      if (text_[at_] != '\\') {
        out.push_back(text_[at_]);
        continue;
      }
      at_++;
      switch (peek()) {
        case '"': case '\\': case '/': out.push_back(peek()); break;
        case 'b': out.push_back('\b'); break;
        case 'f': out.push_back('\f'); break;
        case 'n': out.push_back('\n'); break;
        case 'r': out.push_back('\r'); break;
        case 't': out.push_back('\t'); break;
        case 'u': {
          at_++;
          unsigned code = hex4();
          if (code >= 0xd800 && code < 0xdc00 && word("\\u")) code = 0x10000 + ((code - 0xd800) << 10) + ((hex4() - 0xdc00) & 0x3ff);
          utf8(out, code);
          at_--;
          break;
        }
        default: fail("an escape");
      }
    }
    at_++;
    return out;
  }
};

Json Json::parse(const std::string& text) { return JsonReader(text).whole(); }

namespace {

void quote(std::string& out, const std::string& text) {
  out.push_back('"');
  for (const char c : text) {
    if (c == '"' || c == '\\') out.push_back('\\');
    if (static_cast<unsigned char>(c) >= 0x20) {
      out.push_back(c);
      continue;
    }
    char escape[8];
    std::snprintf(escape, sizeof escape, "\\u%04x", c);
    out += escape;
  }
  out.push_back('"');
}

const char* kind_name(Json::Kind kind) {
  static const char* names[] = {"null", "true or false", "a number", "a string", "an array", "an object"};
  return names[int(kind)];
}

}  // namespace

std::string Json::dump() const {
  std::string out;
  switch (kind_) {
    case Kind::null: return "null";
    case Kind::boolean: return number_ != 0 ? "true" : "false";
    case Kind::number: {
      if (!std::isfinite(number_)) return "null";
      char text[32];
      const bool whole = number_ == std::floor(number_) && std::fabs(number_) < 9e15;
      std::snprintf(text, sizeof text, whole ? "%.0f" : "%.9g", number_);
      return text;
    }
    case Kind::string: quote(out, text_); return out;
    case Kind::array:
      for (const Json& item : items_) out += (out.empty() ? "" : ",") + item.dump();
      return "[" + out + "]";
    case Kind::object:
      for (const auto& [key, value] : members_) {
        if (!out.empty()) out.push_back(',');
        quote(out, key);
        out += ":" + value.dump();
      }
      return "{" + out + "}";
  }
  return out;
}

Json& Json::push(Json value) {
  items_.push_back(std::move(value));
  return *this;
}

Json& Json::set(const std::string& key, Json value) {
  members_.emplace_back(key, std::move(value));
  return *this;
}

bool Json::has(const std::string& key) const {
  for (const auto& [name, value] : members_) {
    if (name == key) return value.read_ = true, !value.is_null();
  }
  return false;
}

const Json& Json::at(const std::string& key) const {
  for (const auto& [name, value] : members_) {
    if (name == key) return value.read_ = true, value;
  }
  throw RequestError("\"" + key + "\" is missing");
}

const std::vector<Json>& Json::items() const {
  if (kind_ != Kind::array) throw RequestError(std::string("an array is expected where ") + kind_name(kind_) + " stands");
  return items_;
}
const std::vector<std::pair<std::string, Json>>& Json::members() const { return members_; }

bool Json::boolean(const char* what) const {
  if (kind_ != Kind::boolean) throw RequestError(std::string(what) + " must be true or false, not " + kind_name(kind_));
  return number_ != 0;
}
double Json::number(const char* what) const {
  if (kind_ != Kind::number) throw RequestError(std::string(what) + " must be a number, not " + kind_name(kind_));
  return number_;
}
int64_t Json::integer(const char* what) const {
  const double x = number(what);
  if (x != std::floor(x) || std::fabs(x) > 9007199254740992.0) throw RequestError(std::string(what) + " must be an integer");
  return int64_t(x);
}
const std::string& Json::string(const char* what) const {
  if (kind_ != Kind::string) throw RequestError(std::string(what) + " must be a string, not " + kind_name(kind_));
  return text_;
}

bool Json::boolean(const std::string& key, bool otherwise) const { return has(key) ? at(key).boolean(key.c_str()) : otherwise; }
double Json::number(const std::string& key, double otherwise) const { return has(key) ? at(key).number(key.c_str()) : otherwise; }
int64_t Json::integer(const std::string& key, int64_t otherwise) const { return has(key) ? at(key).integer(key.c_str()) : otherwise; }
std::string Json::string(const std::string& key, const std::string& otherwise) const { return has(key) ? at(key).string(key.c_str()) : otherwise; }

std::vector<int32_t> Json::integers(const std::string& key) const {
  std::vector<int32_t> out;
  if (!has(key)) return out;
  for (const Json& item : at(key).items()) out.push_back(int32_t(item.integer(key.c_str())));
  return out;
}

void Json::refuse_unread(const std::string& path) const {
  for (const auto& [key, value] : members_) {
    const std::string name = path.empty() ? key : path + "." + key;
    if (!value.read_) throw RequestError("unknown field \"" + name + "\"");
    value.refuse_unread(name);
  }
  for (size_t i = 0; i < items_.size(); i++) items_[i].refuse_unread(path + "[" + std::to_string(i) + "]");
}

}  // namespace runner
