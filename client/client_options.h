// ClientOptions: where the server is, and how long a client tries.
#pragma once

#include <cstdint>
#include <string>

namespace weft {

struct ClientOptions {
  std::string server = "127.0.0.1:7070";
  int64_t call_deadline_ms = 10'000;  // of one call, with all its tries; streams have their own
  int64_t retry_for_ms = 2'000;       // a call is tried again while the server cannot be reached
  int64_t reconnect_for_ms = 60'000;  // a stream that lost its server tries to come back
};

}  // namespace weft
