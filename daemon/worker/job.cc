// What a handler asks of its job, passed on to the attempt's context.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <stdexcept>

#include <weft/base/limits.h>
#include <weft/base/utf8.h>
#include <weft/runtime/plain_work.h>
#include <weft/runtime/sleep.h>
#include <weft/worker/job.h>
#include <weft/worker/job_context.h>

namespace weft {

const std::string& Job::id() const { return context_->token().job_id; }
const std::string& Job::type() const { return context_->record().spec().type(); }
const std::string& Job::queue() const { return context_->record().spec().queue(); }
uint64_t Job::attempt() const { return context_->token().attempt; }
uint32_t Job::failures() const { return context_->record().failures(); }
const google::protobuf::Map<std::string, std::string>& Job::metadata() const {
  return context_->record().spec().metadata();
}
const std::string& Job::payload() const { return context_->record().spec().payload(); }

void Job::bad_payload(const char* fault) const {
  throw Permanent("the payload is " + std::string(fault), "invalid_payload");
}

Task<void> Job::sleep(std::chrono::nanoseconds delay) const {
  PlainWork::refuse("a weft::Job");
  // The handle may end before the sleep does: what is waited for keeps the context.
  auto wait = []([[maybe_unused]] std::shared_ptr<internal::JobContext> context,
                 std::chrono::nanoseconds time) -> Task<void> { co_await sleep_for(time); };
  return context_->parked(wait(context_, delay));
}

Task<void> Job::parked(Task<void> wait) const {
  PlainWork::refuse("a weft::Job");
  return context_->parked(std::move(wait));
}

Task<std::optional<std::string>> Job::receive() const {
  PlainWork::refuse("a weft::Job");
  return [](std::shared_ptr<internal::JobContext> context) -> Task<std::optional<std::string>> {
    co_return co_await context->receive();
  }(context_);
}

void Job::progress(double fraction, std::string_view message) const {
  PlainWork::refuse("a weft::Job");
  v1::Progress progress;
  // Also turns NaN into 0.
  progress.set_fraction(fraction > 0 ? std::min(fraction, 1.0) : 0);
  progress.set_message(clean_utf8(message, limits::kProgressBytes));
  context_->set_progress(std::move(progress));
}

void Job::set_result(std::string bytes) const {
  PlainWork::refuse("a weft::Job");
  context_->result = std::move(bytes);
}

bool Job::cancelled() const { return context_->scope().cancelled(); }
CancelReason Job::cancel_reason() const { return context_->scope().reason(); }

void Job::log(std::string_view message) const {
  spdlog::info("job {}: {}", id(), clean_utf8(message, limits::kErrorMessageBytes));
}

TaskGroup& Job::group() const {
  PlainWork::refuse("a weft::Job");
  TaskGroup* group = context_->group;
  // Once the last task has ended nobody would join another one.
  if (group == nullptr || (context_->handler_ended && group->running() == 0)) {
    throw std::logic_error("job.start() after the end of the job's handler: start tasks before");
  }
  return *group;
}
Executor& Job::executor() const {
  PlainWork::refuse("a weft::Job");
  return context_->host().executor;
}
Executor::Lane& Job::lane() const { return context_->lane(); }

namespace internal {

bool has_room(JobContext& context) {
  return context.producer() != nullptr && context.producer()->has_room();
}

Task<void> wait_for_room(JobContext& context) {
  Producer& producer = *context.producer();
  if (!producer.must_wait()) {
    co_await producer.wait_for_room();  // its turn only
    co_return;
  }
  // A plain handler's slices come to their end by themselves when there is no room.
  co_await context.parked(producer.wait_for_room(), internal::JobContext::Beside::kHelped);
}

TaskMark::TaskMark(std::shared_ptr<JobContext> context) : context_(std::move(context)) {
  context_->task_started();
}
TaskMark::~TaskMark() {
  if (context_ != nullptr) context_->task_ended();
}

void push_chunk(JobContext& context, std::string_view chunk) {
  const Status pushed = context.producer()->push(chunk);
  if (!pushed.ok()) throw Permanent(std::string(from_absl(pushed.message())), "chunk_too_large");
}

bool has_sends(const JobContext& context) { return context.has_sends(); }
std::optional<std::string> take_send(JobContext& context) { return context.take_send(); }

void log_bad_send(JobContext& context, std::string_view fault) {
  spdlog::warn("job {}: a send is ignored because it is {}", context.token().job_id,
               clean_utf8(fault, limits::kErrorMessageBytes));
}

}  // namespace internal
}  // namespace weft
