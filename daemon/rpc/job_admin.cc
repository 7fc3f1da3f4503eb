// List, Retry and Delete of JobService.
#include <utility>

#include <weft/base/id.h>
#include <weft/base/limits.h>

#include "daemon/rpc/job_filter.h"
#include "daemon/rpc/job_service.h"
#include "daemon/rpc/page_token.h"

namespace weft {
namespace {

StatusOr<size_t> read_page_size(int asked) {
  if (asked < 0 || asked > limits::kPageSizeMax) {
    return field_error("page_size", "page_size is " + std::to_string(asked) + ": use 1 to " +
                                        std::to_string(limits::kPageSizeMax) + ", or 0 for " +
                                        std::to_string(limits::kPageSize));
  }
  return static_cast<size_t>(asked == 0 ? limits::kPageSize : asked);
}

// How many of these jobs one answer holds: at least one, so that every list comes to its end.
size_t jobs_that_fit(const std::vector<v1::Job>& jobs) {
  size_t bytes = 0;
  for (size_t i = 0; i < jobs.size(); ++i) {
    bytes += jobs[i].ByteSizeLong();
    if (bytes > limits::kListBytes && i > 0) return i;
  }
  return jobs.size();
}

}  // namespace

Task<void> JobService::list(ListCall& call) {
  const v1::ListJobsRequest& request = call.request();
  const auto filter = read_filter(request.filter());
  const auto page_size = read_page_size(request.page_size());
  StatusOr<std::string> position = std::string();
  if (filter.ok() && !request.page_token().empty()) {
    position = read_page_token(*filter, request.page_token());
  }
  for (const Status& status : {filter.status(), page_size.status(), position.status()}) {
    if (status.ok()) continue;
    call.finish(status);
    co_return;
  }
  StatusOr<JobPage> page = JobPage();
  for (size_t wanted = *page_size;;) {
    page = co_await store_.list(*filter, *position, wanted);
    if (!page.ok()) {
      const bool of_token = page.status().code() == StatusCode::kInvalidArgument;
      call.finish(of_token ? page_token_error() : page.status());
      co_return;
    }
    const size_t fit = jobs_that_fit(page->jobs);
    if (fit == page->jobs.size()) break;
    wanted = fit;  // asked again, because only the store knows where a shorter page ends
  }
  v1::ListJobsResponse response;
  response.mutable_jobs()->Reserve(static_cast<int>(page->jobs.size()));
  for (v1::Job& job : page->jobs) *response.add_jobs() = std::move(job);
  if (!page->next.empty()) response.set_next_page_token(make_page_token(*filter, page->next));
  if (const Status room = call.hold(response.ByteSizeLong()); !room.ok()) {
    call.finish(room);
    co_return;
  }
  call.finish(std::move(response));
}

Task<void> JobService::retry(RetryCall& call) {
  const std::string& id = call.request().id();
  if (const Status status = check_job_id("id", id); !status.ok()) {
    call.finish(status);
    co_return;
  }
  auto job = co_await store_.retry(id);
  if (job.ok()) hub_.on_retried(*job);
  call.finish(std::move(job));
}

Task<void> JobService::remove(DeleteCall& call) {
  const std::string& id = call.request().id();
  if (const Status status = check_job_id("id", id); !status.ok()) {
    call.finish(status);
    co_return;
  }
  const Status removed = co_await store_.remove(id);
  if (removed.ok()) {
    hub_.on_removed(id);
    call.finish(v1::DeleteResponse());
  } else {
    call.finish(removed);
  }
}

}  // namespace weft
