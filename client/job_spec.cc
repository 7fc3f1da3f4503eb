// Checks that spare a round trip, and the names that make it safe to repeat one.
#include <string>

#include <weft/base/limits.h>
#include <weft/client/job_spec.h>
#include <weft/client/text.h>

namespace weft {

Status check_spec_texts(const std::string& field, const v1::JobSpec& spec) {
  WEFT_RETURN_IF_ERROR(check_text(field + ".id", spec.id()));
  WEFT_RETURN_IF_ERROR(check_text(field + ".queue", spec.queue()));
  WEFT_RETURN_IF_ERROR(check_text(field + ".type", spec.type()));
  WEFT_RETURN_IF_ERROR(check_text(field + ".content_type", spec.content_type()));
  WEFT_RETURN_IF_ERROR(check_text(field + ".idempotency_key", spec.idempotency_key()));
  for (const auto& [key, value] : spec.metadata()) {
    WEFT_RETURN_IF_ERROR(check_text(field + ".metadata", key));
    WEFT_RETURN_IF_ERROR(check_text(field + ".metadata", value));
  }
  return absl::OkStatus();
}

Status complete_spec(ClientCore& core, std::string_view field, v1::JobSpec* spec) {
  if (spec->payload().size() > limits::kPayloadBytes) {
    return field_error(std::string(field) + ".payload",
                       "the payload has " + std::to_string(spec->payload().size()) +
                           " bytes and the limit is " + std::to_string(limits::kPayloadBytes) +
                           ": put large input in a file and send its path");
  }
  WEFT_RETURN_IF_ERROR(check_spec_texts(std::string(field), *spec));
  if (spec->id().empty()) spec->set_id(core.new_job_id());
  if (spec->idempotency_key().empty()) spec->set_idempotency_key(spec->id());
  return absl::OkStatus();
}

Status complete_batch(ClientCore& core, v1::SubmitBatchRequest* request) {
  const auto jobs = static_cast<size_t>(request->specs_size());
  if (jobs > limits::kBatchJobs) {
    return field_error("specs", "the batch has " + std::to_string(jobs) +
                                    " jobs and the limit is " + std::to_string(limits::kBatchJobs) +
                                    ": send several batches, or use a submit stream");
  }
  for (int i = 0; i < request->specs_size(); ++i) {
    const std::string field = "specs[" + std::to_string(i) + "]";
    WEFT_RETURN_IF_ERROR(complete_spec(core, field, request->mutable_specs(i)));
  }
  const size_t bytes = request->ByteSizeLong();
  if (bytes > limits::kBatchBytes) {
    return field_error("specs", "the batch has " + std::to_string(bytes) +
                                    " bytes and the limit is " +
                                    std::to_string(limits::kBatchBytes) +
                                    ": send several batches, or use a submit stream");
  }
  return absl::OkStatus();
}

Status check_list(const v1::ListJobsRequest& request) {
  WEFT_RETURN_IF_ERROR(check_filter(request.filter()));
  return check_text("page_token", request.page_token());
}

Status check_filter(const v1::JobFilter& filter) {
  WEFT_RETURN_IF_ERROR(check_text("filter.queue", filter.queue()));
  WEFT_RETURN_IF_ERROR(check_text("filter.type", filter.type()));
  WEFT_RETURN_IF_ERROR(check_text("filter.idempotency_key", filter.idempotency_key()));
  return check_text("filter.error", filter.error());
}

}  // namespace weft
