// Text from handlers and clients, made fit for protobuf strings and for logs.
#pragma once

#include <string>
#include <string_view>

namespace weft {

// Valid UTF-8 of at most `max_bytes`: what is not UTF-8 becomes U+FFFD, and no character is cut.
std::string clean_utf8(std::string_view text, size_t max_bytes);

}  // namespace weft
