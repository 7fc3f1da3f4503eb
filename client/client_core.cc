// The channel to a server, and what its calls have in common.
#include <thread>
#include <utility>

#include <weft/base/clock.h>
#include <weft/base/id.h>
#include <weft/base/limits.h>
#include <weft/client/client_core.h>

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

}  // namespace

ClientCore::ClientCore(ClientOptions client_options)
    : options(std::move(client_options)),
      channel(open_channel(options.server)),
      stub(v1::JobService::NewStub(channel)),
      worker_stub(v1::WorkerService::NewStub(channel)),
      schedule_stub(v1::ScheduleService::NewStub(channel)),
      sender(new_sender()) {}

std::string ClientCore::new_job_id() {
  std::lock_guard lock(mutex_);
  return make_job_id(RealClock::instance().wall_ns() / 1'000'000, random_);
}

std::string ClientCore::new_sender() {
  Random random = Random::from_system();
  return make_incarnation(random);
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

}  // namespace weft
