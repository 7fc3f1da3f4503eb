// Submissions and lists on the loop.
#include <utility>

#include <weft/client/async_call.h>
#include <weft/client/async_client.h>
#include <weft/client/job_spec.h>
#include <weft/client/text.h>

namespace weft {
namespace {

using Stub = v1::JobService::Stub;

Task<StatusOr<JobHandle>> submit_job(std::shared_ptr<AsyncCore> core, v1::JobSpec spec) {
  Status status = complete_spec(core->client(), "spec", &spec);
  if (!status.ok()) co_return status;
  v1::SubmitRequest request;
  *request.mutable_spec() = std::move(spec);
  StatusOr<v1::SubmitResponse> response = co_await call_async(
      core, core->client().stub.get(), &Stub::PrepareAsyncSubmit, std::move(request));
  if (!response.ok()) co_return response.status();
  co_return JobHandle(core, std::move(*response->mutable_id()));
}

Task<StatusOr<v1::SubmitBatchResponse>> submit_jobs(std::shared_ptr<AsyncCore> core,
                                                    std::vector<v1::JobSpec> specs) {
  v1::SubmitBatchRequest request;
  for (v1::JobSpec& spec : specs) *request.add_specs() = std::move(spec);
  Status status = complete_batch(core->client(), &request);
  if (!status.ok()) co_return status;
  co_return co_await call_async(core, core->client().stub.get(), &Stub::PrepareAsyncSubmitBatch,
                                std::move(request));
}

Task<StatusOr<v1::ListJobsResponse>> list_jobs(std::shared_ptr<AsyncCore> core,
                                               v1::ListJobsRequest request) {
  Status status = check_list(request);
  if (!status.ok()) co_return status;
  co_return co_await call_async(core, core->client().stub.get(), &Stub::PrepareAsyncList,
                                std::move(request));
}

}  // namespace

AsyncClient::AsyncClient(ClientOptions options) : AsyncClient(std::move(options), Limits()) {}
AsyncClient::AsyncClient(ClientOptions options, Limits limits)
    : core_(std::make_shared<AsyncCore>(std::move(options), limits.calls, limits.streams)) {}
AsyncClient::~AsyncClient() = default;
AsyncClient::AsyncClient(AsyncClient&&) noexcept = default;
AsyncClient& AsyncClient::operator=(AsyncClient&&) noexcept = default;

Task<StatusOr<JobHandle>> AsyncClient::submit(v1::JobSpec spec) {
  return submit_job(core_, std::move(spec));
}
Task<StatusOr<v1::SubmitBatchResponse>> AsyncClient::submit_batch(std::vector<v1::JobSpec> specs) {
  return submit_jobs(core_, std::move(specs));
}
JobHandle AsyncClient::job(std::string id) { return JobHandle(core_, std::move(id)); }
Task<StatusOr<v1::ListJobsResponse>> AsyncClient::list(v1::ListJobsRequest request) {
  return list_jobs(core_, std::move(request));
}

}  // namespace weft
