// A small strict JSON: one value type, a reader that says where it stumbled, a writer of one line.
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace runner {

/// The request is wrong: the message says which part and what was expected.
struct RequestError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Json {
 public:
  enum class Kind { null, boolean, number, string, array, object };

  Json() = default;
  Json(bool value) : kind_(Kind::boolean), number_(value) {}
  Json(double value) : kind_(Kind::number), number_(value) {}
  Json(int value) : Json(double(value)) {}
  Json(int64_t value) : Json(double(value)) {}
  Json(uint64_t value) : Json(double(value)) {}
  Json(const char* value) : kind_(Kind::string), text_(value) {}
  Json(std::string value) : kind_(Kind::string), text_(std::move(value)) {}
  static Json array() { return Json(Kind::array); }
  static Json object() { return Json(Kind::object); }

  /// Reads one value that fills `text`. Throws RequestError with the column. Numbers are doubles; duplicate keys are refused.
  static Json parse(const std::string& text);
  /// One line. Infinities and NaN, which JSON lacks, become null.
  std::string dump() const;

  Json& push(Json value);
  Json& set(const std::string& key, Json value);

  bool is_null() const { return kind_ == Kind::null; }
  bool has(const std::string& key) const;
  /// The member `key`, which marks it as read. Throws if this is no object or lacks it.
  const Json& at(const std::string& key) const;
  const std::vector<Json>& items() const;
  const std::vector<std::pair<std::string, Json>>& members() const;

  // This value as a C++ one; `what` names it in errors.
  bool boolean(const char* what) const;
  double number(const char* what) const;
  int64_t integer(const char* what) const;
  const std::string& string(const char* what) const;

  // Members, with a default where they are absent or null.
  bool boolean(const std::string& key, bool otherwise) const;
  double number(const std::string& key, double otherwise) const;
  int64_t integer(const std::string& key, int64_t otherwise) const;
  std::string string(const std::string& key, const std::string& otherwise) const;
  /// A list of integers; empty where it is absent or null.
  std::vector<int32_t> integers(const std::string& key) const;

  /// Throws if a member of an object, at any depth, was never read: a mistyped field must not pass for a default.
  void refuse_unread(const std::string& path = "") const;

 private:
  explicit Json(Kind kind) : kind_(kind) {}
  Kind kind_ = Kind::null;
  double number_ = 0;
  std::string text_;
  std::vector<Json> items_;
  std::vector<std::pair<std::string, Json>> members_;
  mutable bool read_ = false;
  friend class JsonReader;
};

}  // namespace runner
