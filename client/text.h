// Text that goes into protobuf strings must be UTF-8; checked before the library prints its own
// words.
#pragma once

#include <string_view>

#include <weft/base/status.h>
#include <weft/base/utf8.h>

namespace weft {

// OK, or INVALID_ARGUMENT naming `field`.
Status check_text(std::string_view field, std::string_view text);

}  // namespace weft
