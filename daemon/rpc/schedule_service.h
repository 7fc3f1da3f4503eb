// ScheduleService: weft.v1.ScheduleService over a store.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <weft/store/store.h>
#include <weft/v1/schedule_service.grpc.pb.h>
#include <weft/worker/schedule_runner.h>

#include "daemon/rpc/method.h"
#include "daemon/rpc/rpc_service.h"

namespace weft {

// Thread: the loop's. Lifetime: outlives the server; store and runner outlive it.
class ScheduleService final : public RpcService {
 public:
  // INVALID_ARGUMENT that names "type" for a job type that nobody can ever run.
  using CheckType = std::function<Status(const std::string& type)>;

  ScheduleService(Store& store, ScheduleRunner& runner, CheckType check_type)
      : store_(store), runner_(runner), check_type_(std::move(check_type)) {}

  grpc::Service& service() override { return service_; }
  std::string name() const override { return "weft.v1.ScheduleService"; }
  void listen(CallDomain& domain) override;
  void close() override { methods_.clear(); }

 private:
  using CreateCall = UnaryCall<v1::CreateScheduleRequest, v1::CreateScheduleResponse>;
  using GetCall = UnaryCall<v1::GetScheduleRequest, v1::Schedule>;
  using ListCall = UnaryCall<v1::ListSchedulesRequest, v1::ListSchedulesResponse>;
  using PauseCall = UnaryCall<v1::PauseScheduleRequest, v1::Schedule>;
  using ResumeCall = UnaryCall<v1::ResumeScheduleRequest, v1::Schedule>;
  using TriggerCall = UnaryCall<v1::TriggerScheduleRequest, v1::TriggerScheduleResponse>;
  using DeleteCall = UnaryCall<v1::DeleteScheduleRequest, v1::DeleteScheduleResponse>;
  // Makes the method NAME, which `serve` answers.
  template <typename Call, typename Request, typename Serve>
  void add(CallDomain& domain, const char* method, Request request, Serve serve);
  // Answers with what `verb` makes of the request, made anew while others are faster.
  template <typename Call, typename Request, typename Response>
  Task<void> change(Call& call, Task<StatusOr<Response>> (ScheduleService::*verb)(Request));

  Task<void> get(GetCall& call);
  Task<void> list(ListCall& call);
  // What the others answer. ABORTED: somebody else has changed the schedule meanwhile.
  Task<StatusOr<v1::CreateScheduleResponse>> create(v1::CreateScheduleRequest request);
  Task<StatusOr<v1::Schedule>> pause(v1::PauseScheduleRequest request);
  Task<StatusOr<v1::Schedule>> resume(v1::ResumeScheduleRequest request);
  Task<StatusOr<v1::TriggerScheduleResponse>> trigger(v1::TriggerScheduleRequest request);
  Task<StatusOr<v1::DeleteScheduleResponse>> remove(v1::DeleteScheduleRequest request);

  // By the store's clock.
  Task<StatusOr<int64_t>> now_ms();
  Task<StatusOr<v1::Schedule>> put(v1::Schedule schedule, uint64_t version, int64_t now);
  Task<StatusOr<bool>> was_triggered(const v1::Schedule& schedule, std::string job_id);

  Store& store_;
  ScheduleRunner& runner_;
  const CheckType check_type_;
  v1::ScheduleService::AsyncService service_;
  std::vector<std::unique_ptr<MethodBase>> methods_;
};

}  // namespace weft
