// What every stock handler does with its payload: JSON, strictly.
#pragma once

#include <string>
#include <vector>

#include <weft/worker/job.h>

#include "daemon/handlers/fields.h"

namespace weft::handlers {

// Errors: throws Permanent (invalid_payload).
template <typename Read>
auto read_payload(const Job& job, std::vector<std::string> known, Read read) {
  nlohmann::json payload = job.payload_as<nlohmann::json>();
  try {
    return read(Fields("the payload", std::move(payload), std::move(known)));
  } catch (const std::invalid_argument& error) {
    throw Permanent(error.what(), "invalid_payload");
  }
}

}  // namespace weft::handlers
