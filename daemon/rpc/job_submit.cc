// Submissions of one job and of a batch.
#include <algorithm>
#include <utility>

#include <weft/base/limits.h>
#include <weft/base/suggest.h>
#include <weft/runtime/event_loop.h>
#include <weft/store/check_spec.h>

#include "daemon/rpc/job_service.h"

namespace weft {
namespace {

// The same error, with the field's place in the request.
Status in_field(const std::string& place, Status status) {
  const std::string field = field_of(status);
  if (field.empty()) return status;
  return field_error(place + "." + field, from_absl(status.message()));
}

}  // namespace

Status JobService::check_batch(const Specs& specs, size_t bytes) {
  if (const auto jobs = static_cast<size_t>(specs.size()); jobs > limits::kBatchJobs) {
    return field_error("specs", "a batch holds at most " + std::to_string(limits::kBatchJobs) +
                                    " jobs and this one has " + std::to_string(jobs) +
                                    ": send it in several");
  }
  if (bytes > limits::kBatchBytes) {
    return field_error("specs", "a batch has at most " + std::to_string(limits::kBatchBytes) +
                                    " bytes and this one has " + std::to_string(bytes) +
                                    ": send it in several, and a job near this size by Submit");
  }
  return absl::OkStatus();
}

Status JobService::check_type(const std::string& type) const {
  if (registry_ == nullptr || registry_->find(type) != nullptr) return absl::OkStatus();
  const std::vector<std::string> types = registry_->types();
  std::string message = "this daemon has no handler for job type '" + type + "'";
  if (const std::string close = closest(type, types); !close.empty()) {
    message += ": did you mean '" + close + "'?";
  }
  message += message.back() == '?' ? " It has" : ": it has";
  for (size_t i = 0; i < std::min(types.size(), limits::kTypesListed); ++i) {
    message += (i == 0 ? " " : ", ") + types[i];
  }
  if (types.size() > limits::kTypesListed) message += ", …";
  return field_error("type", message);
}

Status JobService::check(v1::JobSpec& spec) const {
  WEFT_RETURN_IF_ERROR(check_spec(spec, EventLoop::current()->wall_ns()));
  return check_type(spec.type());
}

// Many submissions of one turn become one transaction: the store commits them as a group.
Task<void> JobService::submit(SubmitCall& call) {
  if (draining_) {
    call.finish(shutting_down_error());
    co_return;
  }
  std::vector<v1::JobSpec> specs;
  specs.push_back(std::move(*call.request().mutable_spec()));
  if (Status checked = check(specs.front()); !checked.ok()) {
    call.finish(in_field("spec", std::move(checked)));
    co_return;
  }
  const auto answers = co_await store_.submit(std::move(specs));
  const StatusOr<Submitted>& answer = answers.front();
  if (!answer.ok()) {
    call.finish(in_field("spec", answer.status()));
    co_return;
  }
  v1::SubmitResponse response;
  response.set_id(answer->id);
  response.set_existing(answer->existing);
  call.finish(std::move(response));
}

Task<void> JobService::submit_batch(SubmitBatchCall& call) {
  v1::SubmitBatchRequest& request = call.request();
  Status status =
      draining_ ? shutting_down_error() : check_batch(request.specs(), request.ByteSizeLong());
  if (!status.ok()) {
    call.finish(status);
    co_return;
  }
  v1::SubmitBatchResponse response;
  *response.mutable_answers() = co_await submit_all(std::move(*request.mutable_specs()), 0);
  // What is stored is acknowledged, however much the server holds; it then takes less of others.
  status = call.hold(response.ByteSizeLong());
  call.finish(std::move(response));
}

Task<JobService::Answers> JobService::submit_all(Specs specs, uint64_t first_index) {
  Answers answers;
  answers.Reserve(specs.size());
  std::vector<v1::JobSpec> good;
  good.reserve(static_cast<size_t>(specs.size()));
  std::vector<int> places;  // of the good ones
  places.reserve(good.capacity());
  const auto refuse = [&answers](int place, Status status) {
    const std::string field = "specs[" + std::to_string(place) + "]";
    *answers.Mutable(place)->mutable_refused() = to_rpc_status(in_field(field, std::move(status)));
  };
  for (int place = 0; place < specs.size(); ++place) {
    answers.Add()->set_index(first_index + static_cast<uint64_t>(place));
    v1::JobSpec& spec = *specs.Mutable(place);
    if (Status checked = check(spec); !checked.ok()) {
      refuse(place, std::move(checked));
      continue;
    }
    good.push_back(std::move(spec));
    places.push_back(place);
  }
  if (good.empty()) co_return answers;
  const auto stored = co_await store_.submit(std::move(good));
  for (size_t i = 0; i < stored.size(); ++i) {
    if (!stored[i].ok()) {
      refuse(places[i], stored[i].status());
      continue;
    }
    v1::SubmitResponse& accepted = *answers.Mutable(places[i])->mutable_accepted();
    accepted.set_id(stored[i]->id);
    accepted.set_existing(stored[i]->existing);
  }
  co_return answers;
}

}  // namespace weft
