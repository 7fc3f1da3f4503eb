// A version, a fingerprint of query and position, the position; as URL-safe base64.
#include "daemon/rpc/page_token.h"

#include <absl/strings/escaping.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

namespace weft {
namespace {

constexpr char kVersion = 2;
constexpr size_t kFingerprintBytes = 8;
constexpr size_t kTokenBytes = 1024;  // far more than any store's position takes

// FNV-1a: the same in every process, unlike std::hash. It guards against mistakes, not malice:
// whoever may list may list from anywhere.
class Fingerprint {
 public:
  void add(std::string_view bytes) {
    add_byte(bytes.size());
    for (const char byte : bytes) add_byte(static_cast<unsigned char>(byte));
  }
  void add_byte(uint64_t byte) { hash_ = (hash_ ^ byte) * 0x100000001b3; }
  std::string bytes() const {
    std::string text;
    for (size_t i = 0; i < kFingerprintBytes; ++i) {
      text.push_back(static_cast<char>(hash_ >> (8 * i)));
    }
    return text;
  }

 private:
  uint64_t hash_ = 0xcbf29ce484222325;
};

std::string fingerprint(const JobFilter& filter, std::string_view position) {
  std::vector<v1::JobState> states = filter.states;
  std::sort(states.begin(), states.end());
  states.erase(std::unique(states.begin(), states.end()), states.end());
  Fingerprint print;
  print.add_byte(states.size());
  for (const v1::JobState state : states) print.add_byte(static_cast<uint64_t>(state));
  print.add(filter.queue);
  print.add(filter.type);
  print.add(std::to_string(filter.submitted_from_ns));
  print.add(std::to_string(filter.submitted_before_ns));
  print.add(filter.idempotency_key);
  print.add(filter.error);
  print.add(position);
  return print.bytes();
}

}  // namespace

std::string make_page_token(const JobFilter& filter, const std::string& position) {
  const std::string bytes = kVersion + fingerprint(filter, position) + position;
  return absl::WebSafeBase64Escape(to_absl(bytes));
}

StatusOr<std::string> read_page_token(const JobFilter& filter, const std::string& token) {
  std::string bytes;
  const bool readable = token.size() <= kTokenBytes &&
                        absl::WebSafeBase64Unescape(to_absl(token), &bytes) &&
                        bytes.size() > kFingerprintBytes && bytes.front() == kVersion;
  if (!readable) return page_token_error();
  std::string position = bytes.substr(1 + kFingerprintBytes);
  if (bytes.substr(1, kFingerprintBytes) != fingerprint(filter, position)) {
    return page_token_error();
  }
  return position;
}

Status page_token_error() {
  return field_error("page_token",
                     "this page_token was not given for this query: repeat the filter of the "
                     "request before it, or leave it empty to begin with the newest");
}

}  // namespace weft
