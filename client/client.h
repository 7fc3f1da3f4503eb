// Client: submits, reads, steers and cancels jobs of a weftd over gRPC, with blocking calls.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <weft/base/status.h>
#include <weft/client/attachment.h>
#include <weft/client/client_options.h>
#include <weft/client/job_list.h>
#include <weft/client/result_stream.h>
#include <weft/client/submit_stream.h>
#include <weft/v1/job.pb.h>
#include <weft/v1/job_service.pb.h>
#include <weft/v1/schedule_service.pb.h>
#include <weft/v1/worker_service.pb.h>

namespace weft {

// Every call is safe to repeat, so UNAVAILABLE is tried again within the limits above: submit fills
// in the job's id, its idempotency key (the id, unless one is given) and a send's number before the
// first try, and the server takes each once. A retry or remove whose answer was lost and that finds
// it done, when tried again, is OK.
// Thread: any, several at once. Lifetime: streams may outlive their client.
// Cancellation: stop(). Errors: the server's code and sentence; INVALID_ARGUMENT for text that is
// not UTF-8; UNAVAILABLE when it cannot be reached; DEADLINE_EXCEEDED.
class Client {
 public:
  explicit Client(ClientOptions options = {});
  ~Client();
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;

  // Returns after the server's commit: an acknowledged job is not lost.
  // Errors: INVALID_ARGUMENT for what the server refuses; RESOURCE_EXHAUSTED when the queue is
  // full.
  StatusOr<v1::SubmitResponse> submit(v1::JobSpec spec);
  // One answer for each spec, in their order; a refused one does not keep the others out.
  // Errors: INVALID_ARGUMENT over limits::kBatchJobs or limits::kBatchBytes.
  StatusOr<v1::SubmitBatchResponse> submit_batch(std::vector<v1::JobSpec> specs);
  // Bulk without an end, answered as each is committed. Errors come from its write() and finish().
  SubmitStream submit_stream(SubmitStream::OnAnswer on_answer);
  // Errors: NOT_FOUND.
  StatusOr<v1::Job> get(const std::string& job_id);
  // One page of jobs, newest first. Errors: INVALID_ARGUMENT for a token of another request.
  StatusOr<v1::ListJobsResponse> list(const v1::ListJobsRequest& request);
  // All pages, as a range of jobs. Lifetime: this client outlives it.
  JobList jobs(v1::ListJobsRequest request);
  // Runs a dead job again. Errors: NOT_FOUND; FAILED_PRECONDITION in any other state.
  StatusOr<v1::Job> retry(const std::string& job_id);
  // Forgets a finished job. Errors: NOT_FOUND; FAILED_PRECONDITION before its end.
  Status remove(const std::string& job_id);
  // Cancels, retries or deletes all jobs that match, and tells how far it is page by page; with
  // count_only it only counts. When the connection breaks it goes on with what still matches of the
  // same snapshot: of a retry also what is dead again by then, of a cancel what runs still, which
  // then count twice. Errors: INVALID_ARGUMENT; RESOURCE_EXHAUSTED while the server does this for
  // others.
  using OnChanges = std::function<void(const v1::ChangeJobsProgress&)>;
  StatusOr<v1::ChangeJobsProgress> change_jobs(v1::ChangeJobsRequest request,
                                               const OnChanges& on_progress = nullptr);
  // Gives a running job a value; sends of one client arrive in the order of the calls.
  // Errors: NOT_FOUND; FAILED_PRECONDITION when the job has ended; RESOURCE_EXHAUSTED when it does
  // not look at its sends.
  StatusOr<uint64_t> send(const std::string& job_id, std::string value);
  // Errors: NOT_FOUND.
  StatusOr<v1::CancelResponse> cancel(const std::string& job_id, const std::string& reason);

  // Who runs jobs. Counters are of the moment.
  StatusOr<v1::ListWorkersResponse> workers();
  // Every task of a worker as a tree; "": of the server asked. Errors: NOT_FOUND.
  StatusOr<std::string> dump(const std::string& worker_name = "");

  // The same name with the same schedule is OK; with another one it is ALREADY_EXISTS, unless it
  // may be replaced.
  StatusOr<v1::CreateScheduleResponse> create_schedule(v1::Schedule schedule, bool replace = false);
  // Errors, of all of these: NOT_FOUND.
  StatusOr<v1::Schedule> get_schedule(const std::string& name);
  // One page, by name. Errors: INVALID_ARGUMENT for what is no page token.
  StatusOr<v1::ListSchedulesResponse> list_schedules(const v1::ListSchedulesRequest& request);
  StatusOr<v1::Schedule> pause_schedule(const std::string& name);
  StatusOr<v1::Schedule> resume_schedule(const std::string& name);
  // A job now; its id. Errors: FAILED_PRECONDITION when the overlap policy does not allow it.
  StatusOr<std::string> trigger_schedule(const std::string& name);
  Status remove_schedule(const std::string& name);

  // Ends the calls above, those in progress and later ones, with CANCELLED; what they asked for may
  // have happened. Streams have a stop() of their own. Thread: any.
  void stop();

  // Reads a job's stream; asks the job for nothing. Errors come from its next().
  ResultStream watch(ResultStream::Options options);
  // Reads a job's stream, opens its window and steers it. Errors come from its next().
  Attachment attach(Attachment::Options options);

 private:
  std::shared_ptr<class ClientCore> core_;
};

}  // namespace weft
