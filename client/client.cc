// Blocking calls with retries.
#include <chrono>
#include <thread>
#include <utility>

#include <weft/base/clock.h>
#include <weft/base/id.h>
#include <weft/base/limits.h>
#include <weft/client/client.h>
#include <weft/client/client_core.h>
#include <weft/client/event_reader.h>
#include <weft/client/reconnect.h>
#include <weft/client/rpc_status.h>
#include <weft/client/text.h>

namespace weft {
namespace {

std::shared_ptr<grpc::Channel> open_channel(const std::string& server) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(limits::kMessageBytes);
  arguments.SetMaxSendMessageSize(limits::kMessageBytes);
  // A proxy from the environment must not come between a client and its own machine.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // One client, one connection: a reader that stalls must not slow the calls of another client.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // A server that stopped answering shows nothing else.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, limits::kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, limits::kKeepaliveTimeoutMs);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // gRPC waits 1 s to 2 min by default; after a restart a stream should be back at once.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 20);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2'000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  return grpc::CreateCustomChannel(server, grpc::InsecureChannelCredentials(), arguments);
}

Status stopped_status() {
  return make_status(StatusCode::kCancelled, "the client was stopped: make another one to go on");
}

template <typename Request, typename Response>
Status call(ClientCore& core,
            grpc::Status (v1::JobService::Stub::*method)(grpc::ClientContext*, const Request&,
                                                         Response*),
            const Request& request, Response* response) {
  const auto deadline =
      std::chrono::system_clock::now() + std::chrono::milliseconds(core.options.call_deadline_ms);
  Backoff backoff(core.random());
  bool reached = false;
  for (;;) {
    grpc::ClientContext context;
    context.set_deadline(deadline);
    if (!core.begin_call(&context)) return stopped_status();
    const grpc::Status answer = ((*core.stub).*method)(&context, request, response);
    core.end_call(&context);
    Status status = status_from_grpc(answer, core.options.server);
    if (!answer.ok() && core.stopped()) return stopped_status();
    if (status.code() != StatusCode::kUnavailable) return status;
    reached = reached || !is_connect_failure(answer);
    const auto pause = backoff.next(core.options.retry_for_ms);
    if (!pause || std::chrono::system_clock::now() + *pause >= deadline) {
      if (!reached) mark_unreached(&status);
      return status;
    }
    core.wait_to_reconnect(*pause);
  }
}

// Every text of a spec: protobuf itself would only print to standard error.
Status check_texts(const v1::JobSpec& spec) {
  WEFT_RETURN_IF_ERROR(check_text("spec.id", spec.id()));
  WEFT_RETURN_IF_ERROR(check_text("spec.queue", spec.queue()));
  WEFT_RETURN_IF_ERROR(check_text("spec.type", spec.type()));
  WEFT_RETURN_IF_ERROR(check_text("spec.content_type", spec.content_type()));
  for (const auto& [key, value] : spec.metadata()) {
    WEFT_RETURN_IF_ERROR(check_text("spec.metadata", key));
    WEFT_RETURN_IF_ERROR(check_text("spec.metadata", value));
  }
  return absl::OkStatus();
}

}  // namespace

ClientCore::ClientCore(ClientOptions client_options)
    : options(std::move(client_options)),
      channel(open_channel(options.server)),
      stub(v1::JobService::NewStub(channel)),
      sender([] {
        Random random = Random::from_system();
        return make_incarnation(random);
      }()) {}

std::string ClientCore::new_job_id() {
  std::lock_guard lock(mutex_);
  return make_job_id(RealClock::instance().wall_ns() / 1'000'000, random_);
}

uint64_t ClientCore::random() {
  std::lock_guard lock(mutex_);
  return random_.next();
}

void ClientCore::wait_to_reconnect(std::chrono::milliseconds duration) {
  if (channel->GetState(/*try_to_connect=*/true) == GRPC_CHANNEL_READY) {
    std::this_thread::sleep_for(duration);  // connected: it is the server that asks for patience
  } else {
    channel->WaitForConnected(std::chrono::system_clock::now() + duration);
  }
}

bool ClientCore::begin_call(grpc::ClientContext* context) {
  std::lock_guard lock(mutex_);
  if (stopped_) return false;
  calls_.push_back(context);
  return true;
}

void ClientCore::end_call(grpc::ClientContext* context) {
  std::lock_guard lock(mutex_);
  std::erase(calls_, context);
}

void ClientCore::stop() {
  std::lock_guard lock(mutex_);
  stopped_ = true;
  for (grpc::ClientContext* context : calls_) context->TryCancel();
}

bool ClientCore::stopped() {
  std::lock_guard lock(mutex_);
  return stopped_;
}

Client::Client(ClientOptions options) : core_(std::make_shared<ClientCore>(std::move(options))) {}
Client::~Client() = default;
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;

StatusOr<v1::SubmitResponse> Client::submit(v1::JobSpec spec) {
  // Checked here too: gRPC would refuse a message far over the limit in words of its own.
  if (spec.payload().size() > limits::kPayloadBytes) {
    return field_error("spec.payload", "the payload has " + std::to_string(spec.payload().size()) +
                                           " bytes and the limit is " +
                                           std::to_string(limits::kPayloadBytes) +
                                           ": put large input in a file and send its path");
  }
  WEFT_RETURN_IF_ERROR(check_texts(spec));
  if (spec.id().empty()) spec.set_id(core_->new_job_id());
  v1::SubmitRequest request;
  *request.mutable_spec() = std::move(spec);
  v1::SubmitResponse response;
  WEFT_RETURN_IF_ERROR(call(*core_, &v1::JobService::Stub::Submit, request, &response));
  return response;
}

StatusOr<v1::Job> Client::get(const std::string& job_id) {
  WEFT_RETURN_IF_ERROR(check_text("id", job_id));
  v1::GetRequest request;
  request.set_id(job_id);
  v1::Job job;
  WEFT_RETURN_IF_ERROR(call(*core_, &v1::JobService::Stub::Get, request, &job));
  return job;
}

StatusOr<uint64_t> Client::send(const std::string& job_id, std::string value) {
  WEFT_RETURN_IF_ERROR(check_text("id", job_id));
  std::lock_guard lock(core_->send_mutex);
  v1::SendRequest request;
  request.set_id(job_id);
  request.set_value(std::move(value));
  request.set_sender(core_->sender);
  request.set_number(++core_->sends);
  v1::SendResponse response;
  WEFT_RETURN_IF_ERROR(call(*core_, &v1::JobService::Stub::Send, request, &response));
  return response.number();
}

StatusOr<v1::CancelResponse> Client::cancel(const std::string& job_id, const std::string& reason) {
  WEFT_RETURN_IF_ERROR(check_text("id", job_id));
  WEFT_RETURN_IF_ERROR(check_text("reason", reason));
  v1::CancelRequest request;
  request.set_id(job_id);
  request.set_reason(reason);
  v1::CancelResponse response;
  WEFT_RETURN_IF_ERROR(call(*core_, &v1::JobService::Stub::Cancel, request, &response));
  return response;
}

void Client::stop() { core_->stop(); }

ResultStream Client::watch(ResultStream::Options options) {
  return ResultStream(open_watch(core_, std::move(options)));
}

Attachment Client::attach(Attachment::Options options) {
  return open_attachment(core_, std::move(options));
}

}  // namespace weft
