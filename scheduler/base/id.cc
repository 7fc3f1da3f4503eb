// Id making and checking.
#include <algorithm>

#include <weft/base/id.h>

namespace weft {
namespace {

// Digits in ASCII order, so that ids of rising times rise as strings.
constexpr char kDigits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void append_base32(std::string& out, uint64_t value, int digits) {
  for (int i = digits - 1; i >= 0; --i) out += kDigits[(value >> (5 * i)) & 31];
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }

template <typename Allowed>
Status check(std::string_view field, std::string_view text, size_t min, size_t max,
             const char* pattern, Allowed allowed) {
  if (text.size() >= min && text.size() <= max && std::all_of(text.begin(), text.end(), allowed)) {
    return absl::OkStatus();
  }
  std::string shown(text.substr(0, 80));
  for (char& c : shown) {
    if (c < ' ' || c > '~') c = '?';
  }
  return field_error(field, std::string(field) + " '" + shown + "' is not allowed: use " + pattern);
}

}  // namespace

std::string make_job_id(int64_t wall_ms, Random& random) {
  std::string id = "00";
  id.reserve(24);
  append_base32(id, static_cast<uint64_t>(wall_ms), 9);
  append_base32(id, random.next(), 12);
  id += kDigits[random.next() & 31];
  return id;
}

std::string make_incarnation(Random& random) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  out.reserve(32);
  for (int word = 0; word < 2; ++word) {
    const uint64_t bits = random.next();
    for (int i = 15; i >= 0; --i) out += kHex[(bits >> (4 * i)) & 15];
  }
  return out;
}

Status check_job_id(std::string_view field, std::string_view id) {
  return check(field, id, 10, 64, "10 to 64 characters of A-Z a-z 0-9 _ -", [](char c) {
    return is_digit(c) || is_lower(c) || is_upper(c) || c == '_' || c == '-';
  });
}

Status check_queue_name(std::string_view field, std::string_view name) {
  return check(field, name, 1, 64, "1 to 64 characters of a-z 0-9 . _ -", [](char c) {
    return is_digit(c) || is_lower(c) || c == '.' || c == '_' || c == '-';
  });
}

Status check_job_type(std::string_view field, std::string_view type) {
  return check(field, type, 1, 64, "1 to 64 characters of A-Z a-z 0-9 . _ -", [](char c) {
    return is_digit(c) || is_lower(c) || is_upper(c) || c == '.' || c == '_' || c == '-';
  });
}

}  // namespace weft
