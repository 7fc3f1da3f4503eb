// From the completion queue's thread to the loop, and the end of calls.
#include <weft/client/async_core.h>

namespace weft {

AsyncCall::AsyncCall(AsyncCore& core, Semaphore::Permit permit)
    : core_(core), permit_(std::move(permit)) {
  core.live_.push_back(*this);
}

void AsyncCall::ChangeWaiter::await_suspend(std::coroutine_handle<> handle) noexcept {
  park(handle);
  call_.waiter_ = this;
  call_.core_.loop().begin_external();
}

bool AsyncCall::ChangeWaiter::cancel() noexcept {
  call_.waiter_ = nullptr;
  call_.core_.loop().end_external();
  return true;
}

void AsyncCall::abandon() {
  abandoned_ = true;
  context.TryCancel();
  after_operation();
}

void AsyncCall::after_operation() {
  if (abandoned_) {
    if (operations_ > 0) return;
    if (finished()) {
      delete this;
    } else {
      finish();
    }
  } else if (waiter_ != nullptr) {
    core_.loop().end_external();
    std::exchange(waiter_, nullptr)->complete();
  }
}

AsyncCore::AsyncCore(ClientOptions options, size_t calls_max, size_t streams_max)
    : calls(calls_max),
      streams(streams_max),
      loop_(*EventLoop::current()),
      client_(std::move(options)),
      thread_([this] { run_queue(); }) {}

AsyncCore::~AsyncCore() {
  live_.for_each([](AsyncCall& call) { call.abandon(); });
  while (!live_.empty()) {
    {
      std::unique_lock lock(mutex_);
      came_.wait(lock, [this] { return !ended_.empty(); });
    }
    take_ended();
  }
  queue_.Shutdown();
  thread_.join();
  if (arrival_ != nullptr) arrival_->core = nullptr;  // still on its way to the loop
}

void AsyncCore::run_queue() {
  void* tag;
  bool ok;
  while (queue_.Next(&tag, &ok)) {
    Arrival* post = nullptr;
    {
      std::lock_guard lock(mutex_);
      ended_.push_back({static_cast<AsyncCall::Tag*>(tag), ok});
      if (arrival_ == nullptr) post = arrival_ = new Arrival(this);
      came_.notify_one();
    }
    if (post != nullptr) loop_.post(*post);  // one for all that come until it is delivered
  }
}

void AsyncCore::Arrival::deliver() {
  const std::unique_ptr<Arrival> self(this);
  if (core == nullptr) return;
  {
    std::lock_guard lock(core->mutex_);
    core->arrival_ = nullptr;
  }
  core->take_ended();
}

void AsyncCore::take_ended() {
  std::vector<Ended> ended;
  {
    std::lock_guard lock(mutex_);
    ended.swap(ended_);
  }
  for (const Ended& operation : ended) operation.tag->on_end(operation.ok);
}

}  // namespace weft
