// closest(): the known word a person probably meant, for errors about unknown ones.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace weft {

// The word with the fewest edits to `typed`, or nothing when even that one is not similar.
std::string closest(std::string_view typed, const std::vector<std::string>& words);

}  // namespace weft
