// What a command prints with -o jsonl, line by line.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace weft::testing {

inline std::vector<nlohmann::json> json_lines(const std::string& text) {
  std::vector<nlohmann::json> lines;
  for (size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos;
       begin = end + 1) {
    lines.push_back(nlohmann::json::parse(text.substr(begin, end - begin)));
  }
  return lines;
}

}  // namespace weft::testing
