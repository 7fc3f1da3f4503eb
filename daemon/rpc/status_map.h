// From our errors to what gRPC clients see: canonical codes, with details that programs can read.
#pragma once

#include <google/rpc/status.pb.h>
#include <grpcpp/grpcpp.h>

#include <exception>
#include <string_view>

#include <weft/base/status.h>
#include <weft/runtime/cancellation.h>

namespace weft {

// The same code and message. What field_error() and retry_error() attached becomes BadRequest and
// RetryInfo; RESOURCE_EXHAUSTED gets a QuotaFailure. All as a google.rpc.Status in the trailer
// grpc-status-details-bin. Thread: any.
grpc::Status to_grpc(const Status& status);
// The same as a message, for errors of one item among many.
google::rpc::Status to_rpc_status(const Status& status);

// What a call is answered with when its handler was cancelled for `reason`.
Status cancelled_error(CancelReason reason);
// INTERNAL, for a handler that threw; logs what it threw.
Status failed_error(const std::exception& failure);
// UNAVAILABLE: another try soon reaches the server that comes after this one.
Status shutting_down_error();

}  // namespace weft
