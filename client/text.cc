// The errors about text.
#include <string>

#include <weft/client/text.h>

namespace weft {

Status check_text(std::string_view field, std::string_view text) {
  if (is_utf8(text)) return absl::OkStatus();
  return field_error(std::string(field),
                     std::string(field) + " is not UTF-8: give it as UTF-8 text");
}

}  // namespace weft
