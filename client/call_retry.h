// CallRetry: what a failed try of a call means, and how long to wait before the next.
#pragma once

#include <grpcpp/support/status.h>

#include <chrono>
#include <optional>

#include <weft/base/status.h>
#include <weft/client/client_options.h>
#include <weft/client/reconnect.h>

namespace weft {

// Pure: the caller makes the calls and waits. One call with all its tries.
class CallRetry {
 public:
  CallRetry(const ClientOptions& options, uint64_t seed);

  // Of every try.
  std::chrono::system_clock::time_point deadline() const { return deadline_; }
  // Nothing: `status` is the answer. Else: wait so long and try again.
  std::optional<std::chrono::milliseconds> after(const grpc::Status& answer, Status* status);
  // An earlier try may have reached a server that did what it asked and could not say so.
  bool maybe_done() const { return reached_; }

 private:
  const ClientOptions& options_;
  const std::chrono::system_clock::time_point deadline_;
  Backoff backoff_;
  bool reached_ = false;
};

}  // namespace weft
