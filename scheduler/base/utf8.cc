// UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing over U+10FFFF.
#include <weft/base/utf8.h>

namespace weft {

bool is_utf8(std::string_view bytes) {
  size_t at = 0;
  while (at < bytes.size()) {
    const auto first = static_cast<unsigned char>(bytes[at]);
    if (first < 0x80) {
      ++at;
      continue;
    }
    const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || bytes.size() - at < length) return false;
    for (size_t i = 1; i < length; ++i) {
      const auto next = static_cast<unsigned char>(bytes[at + i]);
      unsigned char low = 0x80, high = 0xbf;
      if (i == 1 && first == 0xe0) low = 0xa0;
      if (i == 1 && first == 0xed) high = 0x9f;
      if (i == 1 && first == 0xf0) low = 0x90;
      if (i == 1 && first == 0xf4) high = 0x8f;
      if (next < low || next > high) return false;
    }
    at += length;
  }
  return true;
}

}  // namespace weft
