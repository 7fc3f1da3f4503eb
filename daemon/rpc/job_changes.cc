// ChangeJobs of JobService: cancel, retry or delete all that match.
#include <algorithm>
#include <utility>

#include <weft/base/limits.h>
#include <weft/runtime/semaphore.h>

#include "daemon/rpc/job_filter.h"
#include "daemon/rpc/job_service.h"
#include "daemon/rpc/page_token.h"
#include "daemon/rpc/status_map.h"

namespace weft {
namespace {

using Change = v1::ChangeJobsRequest;

constexpr int kBusyMs = 1000;

// The states that a change is possible in.
std::vector<v1::JobState> states_of(Change::Change change) {
  switch (change) {
    case Change::CANCEL:
      return {v1::JOB_STATE_SCHEDULED, v1::JOB_STATE_QUEUED, v1::JOB_STATE_RUNNING};
    case Change::RETRY:
      return {v1::JOB_STATE_DEAD};
    default:
      return {v1::JOB_STATE_SUCCEEDED, v1::JOB_STATE_DEAD, v1::JOB_STATE_CANCELLED,
              v1::JOB_STATE_EXPIRED};
  }
}

Status check_states(Change::Change change, JobFilter& filter) {
  const std::vector<v1::JobState> possible = states_of(change);
  if (filter.states.empty()) filter.states = possible;
  for (const v1::JobState state : filter.states) {
    if (std::find(possible.begin(), possible.end(), state) != possible.end()) continue;
    return field_error(
        "filter.states",
        "jobs cannot be changed so while they are " + v1::JobState_Name(state) +
            ": cancel what has not ended, retry what is dead, delete what has ended");
  }
  return absl::OkStatus();
}

// A snapshot is the token of the page that the changes begin with.
StatusOr<std::string> read_snapshot(const JobFilter& filter, const std::string& snapshot) {
  if (snapshot.empty()) return std::string();
  auto position = read_page_token(filter, snapshot);
  if (position.ok()) return position;
  return field_error("snapshot",
                     "this snapshot was not given for this change and filter: count again");
}

}  // namespace

// What the tasks of one call share.
struct JobService::Changes {
  Change::Change change = Change::CHANGE_UNSPECIFIED;
  std::string reason;
  v1::ChangeJobsProgress progress;
  Status unavailable;  // not OK: the store cannot go on
  Semaphore at_once{limits::kChangesAtOnce};
};

StatusOr<JobFilter> JobService::read_changes(const v1::ChangeJobsRequest& request) {
  if (request.change() == Change::CHANGE_UNSPECIFIED ||
      !v1::ChangeJobsRequest::Change_IsValid(request.change())) {
    return field_error("change", "change " + std::to_string(request.change()) +
                                     " is not known here: use CANCEL, RETRY or REMOVE");
  }
  auto filter = read_filter(request.filter());
  if (!filter.ok()) return filter.status();
  WEFT_RETURN_IF_ERROR(check_states(request.change(), *filter));
  WEFT_RETURN_IF_ERROR(check_reason("reason", request.reason()));
  if (change_calls_ >= limits::kChangeCalls) {
    return retry_error(StatusCode::kResourceExhausted,
                       "this server is changing jobs by filter for as many callers as it does at "
                       "once: try again in a second",
                       kBusyMs);
  }
  return filter;
}

Task<void> JobService::change_jobs(ChangeJobsCall& call) {
  const v1::ChangeJobsRequest& request = call.request();
  auto filter = read_changes(request);
  StatusOr<std::string> position = std::string();
  if (filter.ok()) position = read_snapshot(*filter, request.snapshot());
  for (const Status& status : {filter.status(), position.status()}) {
    if (status.ok()) continue;
    call.finish(status);
    co_return;
  }
  struct Counted {
    size_t& calls;
    explicit Counted(size_t& all) : calls(all) { ++calls; }
    ~Counted() { --calls; }
  } counted(change_calls_);
  Changes changes;
  changes.change = request.change();
  changes.reason = request.reason();
  do {
    auto page = co_await store_.list(*filter, *position, limits::kPageSizeMax);
    if (page.ok()) {
      *position = page->next;
      if (changes.progress.snapshot().empty()) {
        changes.progress.set_snapshot(make_page_token(*filter, page->from));
      }
      changes.progress.set_matched(changes.progress.matched() + page->jobs.size());
      if (!request.count_only()) co_await change_page(changes, *page);
    } else {
      changes.unavailable = page.status();
    }
    changes.progress.set_done(changes.unavailable.ok() && position->empty());
    const bool there = co_await call.write(changes.progress);
    if (!there) co_return;
  } while (changes.unavailable.ok() && !position->empty());
  call.finish(changes.unavailable);
}

Task<void> JobService::change_page(Changes& changes, const JobPage& page) {
  auto all = [&](TaskGroup& group) -> Task<void> {
    for (const v1::Job& job : page.jobs) {
      if (!changes.unavailable.ok()) break;
      auto permit = co_await changes.at_once.acquire(1);
      group.start(
          [this](Changes* of, std::string id, Semaphore::Permit held) {
            return change_one(of, std::move(id), std::move(held));
          },
          &changes, job.spec().id(), std::move(permit));
    }
  };
  co_await with_group(all);
}

Task<void> JobService::change_one(Changes* changes, std::string id, Semaphore::Permit /*permit*/) {
  Status done;
  switch (changes->change) {
    case Change::CANCEL: {
      const auto answer = co_await store_.cancel(id, changes->reason);
      done = answer.status();
      if (answer.ok() && answer->result() == v1::CancelResponse::ALREADY_FINISHED) {
        done = make_status(StatusCode::kFailedPrecondition, "job " + id + " had ended already");
      }
      break;
    }
    case Change::RETRY: {
      const auto job = co_await store_.retry(id);
      done = job.status();
      if (job.ok()) hub_.on_retried(*job);
      break;
    }
    default:
      done = co_await store_.remove(id);
      if (done.ok()) hub_.on_removed(id);
  }
  v1::ChangeJobsProgress& progress = changes->progress;
  if (done.code() == StatusCode::kUnavailable) {
    changes->unavailable = done;  // what was asked for may have happened; it no longer matches then
    co_return;
  }
  if (done.ok()) {
    progress.set_changed(progress.changed() + 1);
    co_return;
  }
  progress.set_left(progress.left() + 1);
  if (!progress.has_first_error()) *progress.mutable_first_error() = to_rpc_status(done);
}

}  // namespace weft
