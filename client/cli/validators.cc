// Checks of option values, in words that say what would be right.
#include <cmath>
#include <cstdint>
#include <string>

#include <weft/client/text.h>

#include "client/cli/cli.h"
#include "client/cli/time_text.h"

namespace weft::cli {
namespace {

constexpr double kSecondsMax = 1e9;  // over thirty years

bool is_number(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

CLI::Validator validator(std::function<std::string(std::string&)> check) {
  return CLI::Validator(std::move(check), "");
}

std::string check_seconds(const std::string& value) {
  char* end = nullptr;
  const double number = std::strtod(value.c_str(), &end);
  if (!value.empty() && *end == '\0' && number >= 0.001 && number <= kSecondsMax) return "";
  return "'" + value + "' is not a number of seconds: give one from 0.001 to 1000000000";
}

std::string check_sequence(const std::string& value) {
  // 2^64 has 20 digits; a stream never comes near 19.
  if (is_number(value) && value.size() < 20 && value.find_first_not_of('0') != std::string::npos) {
    return "";
  }
  return "'" + value + "' is not a sequence: give a whole number from 1";
}

std::string check_host_port(const std::string& value) {
  const size_t colon = value.rfind(':');
  if (colon != std::string::npos && colon > 0) {
    const std::string host = value.substr(0, colon);
    const std::string port = value.substr(colon + 1);
    const bool host_fits =
        host.find(':') == std::string::npos || (host.front() == '[' && host.back() == ']');
    if (host_fits && is_number(port) && port.size() <= 5 && std::stol(port) > 0 &&
        std::stol(port) <= 65535) {
      return "";
    }
  }
  return "the server '" + value + "' is not HOST:PORT: write it as in 127.0.0.1:7070";
}

}  // namespace

CLI::Validator text() {
  return validator([](std::string& value) {
    return std::string(is_utf8(value) ? "" : "it is not UTF-8: give it as UTF-8 text");
  });
}
CLI::Validator seconds() {
  return validator([](std::string& value) { return check_seconds(value); });
}
CLI::Validator duration() {
  return validator(
      [](std::string& value) { return std::string(parse_duration(value).status().message()); });
}
CLI::Validator time() {
  return validator(
      [](std::string& value) { return std::string(parse_time(value).status().message()); });
}
CLI::Validator backoff() {
  return validator([](std::string& value) {
    v1::RetryPolicy policy;
    return std::string(parse_backoff(value, &policy).message());
  });
}
CLI::Validator sequence() {
  return validator([](std::string& value) { return check_sequence(value); });
}
CLI::Validator host_port() {
  return validator([](std::string& value) { return check_host_port(value); });
}

int64_t to_ms(double seconds) { return std::llround(seconds * 1000); }

}  // namespace weft::cli
