// What a submission asks for, in 16 bytes: kept after the job itself is gone.
#pragma once

#include <string>

#include <weft/v1/job.pb.h>

namespace weft {

// Of queue, type, payload and options, but not of the id. The same in every build and process:
// stores keep it. (`spec` is the same afterwards; nothing large is copied.)
std::string fingerprint(v1::JobSpec& spec);

}  // namespace weft
