// Turns what gRPC reports into the server's own sentence, or into one that says what to do when
// there was no server to write it.
#pragma once

#include <grpcpp/support/status.h>

#include <string>

#include <weft/base/status.h>

namespace weft {

// `server` is the address that was called.
Status status_from_grpc(const grpc::Status& status, const std::string& server);

// No connection was made: the call has not reached a server.
bool is_connect_failure(const grpc::Status& status);

// Marks a failure of a call that never reached a server: nothing of it can have happened.
void mark_unreached(Status* status);
bool is_unreached(const Status& status);

// The canonical name: "INVALID_ARGUMENT".
std::string code_name(StatusCode code);

}  // namespace weft
