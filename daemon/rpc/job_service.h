// JobService: weft.v1.JobService over the store, the stream hub and the registry.
#pragma once

#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include <weft/base/random.h>
#include <weft/runtime/semaphore.h>
#include <weft/store/store.h>
#include <weft/stream/stream_hub.h>
#include <weft/v1/job_service.grpc.pb.h>
#include <weft/worker/registry.h>

#include "daemon/rpc/method.h"
#include "daemon/rpc/rpc_service.h"

namespace weft {

// Thread: the loop's. Lifetime: outlives the server; store, hub and registry outlive it.
// Errors: canonical codes with details, see status_map.h.
class JobService final : public RpcService {
 public:
  // `registry`: the types that are accepted. Null: any, for jobs that run elsewhere.
  JobService(Store& store, StreamHub& hub, const Registry* registry, Random random)
      : store_(store), hub_(hub), registry_(registry), random_(random) {}

  // New submissions are refused from now on (UNAVAILABLE, another daemon may take them), and bulk
  // streams end once what they brought is answered; everything else goes on until the server is
  // shut down.
  void drain();
  // OK for a type that is accepted; else INVALID_ARGUMENT that names "type".
  Status check_type(const std::string& type) const;
  // Returns when no job that has ended has a reader to whom something of it is still owed, or after
  // limits::kQuietMsMax.
  Task<void> wait_until_quiet();

  grpc::Service& service() override { return service_; }
  std::string name() const override { return "weft.v1.JobService"; }
  void listen(CallDomain& domain) override;
  void close() override { methods_.clear(); }

 private:
  using SubmitCall = UnaryCall<v1::SubmitRequest, v1::SubmitResponse>;
  using SubmitBatchCall = UnaryCall<v1::SubmitBatchRequest, v1::SubmitBatchResponse>;
  using SubmitStreamCall = BidiCall<v1::SubmitStreamRequest, v1::SubmitStreamResponse>;
  using GetCall = UnaryCall<v1::GetRequest, v1::Job>;
  using ListCall = UnaryCall<v1::ListJobsRequest, v1::ListJobsResponse>;
  using RetryCall = UnaryCall<v1::RetryRequest, v1::Job>;
  using ChangeJobsCall = ServerStreamCall<v1::ChangeJobsRequest, v1::ChangeJobsProgress>;
  using DeleteCall = UnaryCall<v1::DeleteRequest, v1::DeleteResponse>;
  using SendCall = UnaryCall<v1::SendRequest, v1::SendResponse>;
  using CancelCall = UnaryCall<v1::CancelRequest, v1::CancelResponse>;
  using WatchCall = ServerStreamCall<v1::WatchRequest, v1::Event>;
  using AttachCall = BidiCall<v1::AttachRequest, v1::Event>;

  Task<void> submit(SubmitCall& call);
  Task<void> submit_batch(SubmitBatchCall& call);
  Task<void> submit_stream(SubmitStreamCall& call);
  Task<void> get(GetCall& call);
  Task<void> list(ListCall& call);
  Task<void> retry(RetryCall& call);
  Task<void> remove(DeleteCall& call);
  // Of all jobs that match a filter, a page at a time.
  struct Changes;
  Task<void> change_jobs(ChangeJobsCall& call);
  StatusOr<JobFilter> read_changes(const v1::ChangeJobsRequest& request);
  Task<void> change_page(Changes& changes, const JobPage& page);
  Task<void> change_one(Changes* changes, std::string id, Semaphore::Permit permit);
  Task<void> send(SendCall& call);
  Task<void> cancel(CancelCall& call);
  Task<void> watch(WatchCall& call);
  Task<void> attach(AttachCall& call);
  // The tasks of an attach: events down; credit and cancel up; sends to the store. The one that has
  // a reason to end it ends all. They take pointers: TaskGroup copies references.
  struct Attachment;
  Task<void> pump_events(Attachment* attachment);
  Task<void> steer(Attachment* attachment);
  Task<Status> steer_once(v1::AttachRequest request, Attachment* attachment);
  Task<void> store_sends(Attachment* attachment);
  Task<Status> store_send(Attachment* attachment, const v1::AttachRequest::Send* send);
  static Task<bool> write_event(Attachment* attachment, v1::Event event);
  template <typename Write>
  Task<Status> copy_events(Subscription& subscription, Write write);

  using Specs = google::protobuf::RepeatedPtrField<v1::JobSpec>;
  using Answers = google::protobuf::RepeatedPtrField<v1::SubmitAnswer>;
  // Stores the good ones in one transaction and answers all, in their order, counted from
  // `first_index`.
  Task<Answers> submit_all(Specs specs, uint64_t first_index);
  // The tasks of one SubmitStream: one that reads, one for each message, one that answers.
  struct Bulk;
  Task<void> run_bulk(Bulk* bulk);
  Task<void> read_specs(Bulk* bulk, TaskGroup* group);
  Task<void> store_specs(Bulk* bulk, v1::SubmitStreamRequest request, uint64_t first_index,
                         size_t bytes);
  Task<void> write_answers(Bulk* bulk);

  // The bounds of a batch, and of one message of a SubmitStream; `bytes` are those of all of it.
  static Status check_batch(const Specs& specs, size_t bytes);
  // Names fields of the spec.
  Status check(v1::JobSpec& spec) const;
  static Status check_send(std::string_view field, const std::string& value,
                           std::string_view sender_field, const std::string& sender);
  static Status check_reason(std::string_view field, const std::string& reason);

  Store& store_;
  StreamHub& hub_;
  const Registry* registry_;
  Random random_;
  bool draining_ = false;
  std::unordered_set<const Subscription*> readers_;
  std::unordered_set<Bulk*> bulks_;
  size_t held_send_bytes_ = 0;
  size_t change_calls_ = 0;
  v1::JobService::AsyncService service_;
  std::vector<std::unique_ptr<MethodBase>> methods_;
};

}  // namespace weft
