// Fields: a JSON object read strictly, so that a misspelt or ill-typed field is named, never
// ignored.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace weft::handlers {

// Errors: every member throws std::invalid_argument with one sentence that says what to change.
class Fields {
 public:
  // `what`: what the object is, for messages ("the payload"). `known`: every field there is.
  Fields(std::string what, nlohmann::json object, std::vector<std::string> known);

  std::optional<int64_t> integer(const std::string& name, int64_t min, int64_t max) const;
  std::optional<std::string> text(const std::string& name) const;
  // An array of strings; an object whose values are strings. Absent: empty.
  std::vector<std::string> texts(const std::string& name) const;
  std::map<std::string, std::string> text_map(const std::string& name) const;
  std::optional<bool> boolean(const std::string& name) const;
  // The same for a field that must be there.
  int64_t required_integer(const std::string& name, int64_t min, int64_t max) const;
  std::string required_text(const std::string& name) const;

 private:
  [[noreturn]] void missing(const std::string& name) const;
  std::string list() const;
  std::string what_;
  nlohmann::json object_;
  std::vector<std::string> known_;
};

}  // namespace weft::handlers
