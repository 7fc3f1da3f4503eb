// JSON in and out.
#include <weft/proto/codec.h>

namespace weft {

nlohmann::json Codec<nlohmann::json>::decode(std::string_view bytes) {
  if (bytes.empty()) throw std::runtime_error("not JSON: it is empty");
  try {
    return nlohmann::json::parse(bytes);
  } catch (const nlohmann::json::exception& error) {
    // The library begins with the name of its own exception, which helps nobody.
    std::string_view fault = error.what();
    if (const size_t end = fault.find("] "); end != std::string_view::npos) {
      fault.remove_prefix(end + 2);
    }
    throw std::runtime_error("not JSON: " + std::string(fault));
  }
}

std::string Codec<nlohmann::json>::encode(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace weft
