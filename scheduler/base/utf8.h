// What text is: protobuf strings, names and keys must be UTF-8.
#pragma once

#include <string_view>

namespace weft {

bool is_utf8(std::string_view bytes);

}  // namespace weft
