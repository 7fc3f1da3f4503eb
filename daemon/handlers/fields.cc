// Which field is wrong, and what it should be.
#include "daemon/handlers/fields.h"

#include <algorithm>

namespace weft::handlers {

Fields::Fields(std::string what, nlohmann::json object, std::vector<std::string> known)
    : what_(std::move(what)), object_(std::move(object)), known_(std::move(known)) {
  if (!object_.is_object()) {
    throw std::invalid_argument(what_ + " must be a JSON object with " + list() + ", not " +
                                object_.type_name());
  }
  for (const auto& item : object_.items()) {
    if (std::find(known_.begin(), known_.end(), item.key()) == known_.end()) {
      throw std::invalid_argument(what_ + " has the unknown field '" + item.key() + "': use " +
                                  list());
    }
  }
}

std::string Fields::list() const {
  std::string names;
  for (const std::string& name : known_) names += (names.empty() ? "" : ", ") + name;
  return names;
}

void Fields::missing(const std::string& name) const {
  throw std::invalid_argument(what_ + " needs the field '" + name + "'");
}

std::optional<int64_t> Fields::integer(const std::string& name, int64_t min, int64_t max) const {
  const auto field = object_.find(name);
  if (field == object_.end()) return std::nullopt;
  const bool fits = field->is_number_integer() &&
                    (!field->is_number_unsigned() || field->get<uint64_t>() <= INT64_MAX) &&
                    field->get<int64_t>() >= min && field->get<int64_t>() <= max;
  if (!fits) {
    throw std::invalid_argument(what_ + " has a bad field '" + name +
                                "': it must be a whole number from " + std::to_string(min) +
                                " to " + std::to_string(max));
  }
  return field->get<int64_t>();
}

std::optional<std::string> Fields::text(const std::string& name) const {
  const auto field = object_.find(name);
  if (field == object_.end()) return std::nullopt;
  if (!field->is_string()) {
    throw std::invalid_argument(what_ + " has a bad field '" + name +
                                "': it must be a string, not " + field->type_name());
  }
  return field->get<std::string>();
}

std::vector<std::string> Fields::texts(const std::string& name) const {
  std::vector<std::string> values;
  const auto field = object_.find(name);
  if (field == object_.end()) return values;
  bool good = field->is_array();
  for (size_t i = 0; good && i < field->size(); ++i) {
    good = (*field)[i].is_string();
    if (good) values.push_back((*field)[i].get<std::string>());
  }
  if (!good) {
    throw std::invalid_argument(what_ + " has a bad field '" + name +
                                "': it must be an array of strings");
  }
  return values;
}

std::map<std::string, std::string> Fields::text_map(const std::string& name) const {
  std::map<std::string, std::string> values;
  const auto field = object_.find(name);
  if (field == object_.end()) return values;
  bool good = field->is_object();
  if (good) {
    for (const auto& item : field->items()) {
      good = good && item.value().is_string();
      if (good) values.emplace(item.key(), item.value().get<std::string>());
    }
  }
  if (!good) {
    throw std::invalid_argument(what_ + " has a bad field '" + name +
                                "': it must be an object whose values are strings");
  }
  return values;
}

std::optional<bool> Fields::boolean(const std::string& name) const {
  const auto field = object_.find(name);
  if (field == object_.end()) return std::nullopt;
  if (!field->is_boolean()) {
    throw std::invalid_argument(what_ + " has a bad field '" + name +
                                "': it must be true or false");
  }
  return field->get<bool>();
}

int64_t Fields::required_integer(const std::string& name, int64_t min, int64_t max) const {
  const std::optional<int64_t> value = integer(name, min, max);
  if (!value) missing(name);
  return *value;
}

std::string Fields::required_text(const std::string& name) const {
  const std::optional<std::string> value = text(name);
  if (!value) missing(name);
  return *value;
}

}  // namespace weft::handlers
