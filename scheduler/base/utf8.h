// What text is: protobuf strings, names and keys must be UTF-8.
#pragma once

#include <string>
#include <string_view>

namespace weft {

bool is_utf8(std::string_view bytes);

// Valid UTF-8 of at most `max_bytes`: what is not UTF-8 becomes U+FFFD, and no character is cut.
std::string clean_utf8(std::string_view text, size_t max_bytes);

}  // namespace weft
