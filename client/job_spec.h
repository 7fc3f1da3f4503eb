// What requests get before their first try: checks, and names that make repeating them safe.
#pragma once

#include <string>
#include <string_view>

#include <weft/base/status.h>
#include <weft/client/client_core.h>
#include <weft/v1/job.pb.h>
#include <weft/v1/job_service.pb.h>

namespace weft {

// Every text of a spec is UTF-8: protobuf itself would only print to standard error. Thread: any.
// Errors: INVALID_ARGUMENT that names the field, with `field` before it.
Status check_spec_texts(const std::string& field, const v1::JobSpec& spec);

// Gives `spec` an id of the client's and an idempotency key, the id, where it has none. `field`
// names the spec in errors. Thread: any.
// Errors: INVALID_ARGUMENT for what protobuf or gRPC would refuse in words of their own: text that
// is not UTF-8, a payload over limits::kPayloadBytes.
Status complete_spec(ClientCore& core, std::string_view field, v1::JobSpec* spec);

// The same for each spec of a batch. Errors: also INVALID_ARGUMENT over limits::kBatchJobs or
// limits::kBatchBytes.
Status complete_batch(ClientCore& core, v1::SubmitBatchRequest* request);

// Errors: INVALID_ARGUMENT for text that is not UTF-8.
Status check_list(const v1::ListJobsRequest& request);
Status check_filter(const v1::JobFilter& filter);

}  // namespace weft
