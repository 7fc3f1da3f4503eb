// From a handler's end to the job's.
#include <spdlog/spdlog.h>

#include <chrono>
#include <cstdio>
#include <exception>
#include <string>

#include <weft/base/limits.h>
#include <weft/base/utf8.h>
#include <weft/runtime/sleep.h>
#include <weft/runtime/task_group.h>
#include <weft/worker/job_run.h>

namespace weft {
namespace {

using internal::JobContext;
using ContextPtr = std::shared_ptr<JobContext>;

constexpr std::chrono::milliseconds kRetry(200);

v1::Outcome failure(std::string code, std::string_view message) {
  v1::Outcome outcome;
  outcome.set_error_code(std::move(code));
  outcome.set_error_message(clean_utf8(message, limits::kErrorMessageBytes));
  return outcome;
}

std::chrono::nanoseconds timeout_of(const v1::JobSpec& spec) {
  const auto& timeout = spec.attempt_timeout();
  return std::chrono::seconds(timeout.seconds()) + std::chrono::nanoseconds(timeout.nanos());
}

Task<void> load_sends(JobContext& context) {
  for (;;) {
    Task<Status> load = context.load_sends();
    const Status loaded = co_await load;
    if (loaded.ok()) co_return;
    if (loaded.code() != StatusCode::kUnavailable) {
      throw Permanent(
          "the values sent to this job cannot be read: " + std::string(from_absl(loaded.message())),
          "store_error");
    }
    co_await sleep_for(kRetry);
  }
}

// The handler with the tasks it starts: they end with it.
Task<void> execute(ContextPtr context, const Handler* handler) {
  CancelScope& scope = context->scope();
  if (scope.cancelled()) throw Cancelled(scope.reason());
  co_await context->wait_to_start();
  const std::chrono::nanoseconds timeout = timeout_of(context->record().spec());
  if (timeout.count() > 0) scope.set_deadline_after(timeout);
  if (context->sends_stored) co_await load_sends(*context);
  std::exception_ptr error;
  // Tasks that are still to be joined may take one more step, and start others in it.
  struct InUse {
    JobContext& context;
    ~InUse() { context.group = nullptr; }
  } in_use(*context);
  auto body = [&](TaskGroup& group) -> Task<void> {
    context->group = &group;
    try {
      co_await handler->run(Job(context));
    } catch (...) {
      error = std::current_exception();
    }
    context->handler_ended = true;
    group.cancel(CancelReason::kSiblingFailed);
  };
  co_await with_group(body);  // throws what one of the tasks threw, which came first
  if (error) std::rethrow_exception(error);
}

AttemptEnd end_of_cancelled(JobContext& context) {
  switch (context.scope().own_reason()) {
    case CancelReason::kShutdown:
      return AttemptEnd(AttemptEnd::Verb::kRelease);
    case CancelReason::kLeaseLost:
      return AttemptEnd(AttemptEnd::Verb::kDrop);
    case CancelReason::kConsumerGone:
      return AttemptEnd(
          v1::JOB_STATE_CANCELLED,
          failure("cancelled", "no consumer was attached for as long as the stream policy allows"));
    case CancelReason::kDeadline: {
      const std::chrono::duration<double> timeout = timeout_of(context.record().spec());
      char text[32];
      std::snprintf(text, sizeof(text), "%g", timeout.count());
      return AttemptEnd(v1::JOB_STATE_DEAD,
                        failure("deadline", "the attempt ran longer than its timeout of " +
                                                std::string(text) + " s"));
    }
    default:
      return AttemptEnd(v1::JOB_STATE_CANCELLED, failure("cancelled", context.cancel_reason.empty()
                                                                          ? "cancelled on request"
                                                                          : context.cancel_reason));
  }
}

AttemptEnd end_of_returned(JobContext& context) {
  if (context.result.size() > limits::kResultBytes) {
    return AttemptEnd(
        v1::JOB_STATE_DEAD,
        failure("result_too_large", "the result of " + std::to_string(context.result.size()) +
                                        " bytes is over the limit of " +
                                        std::to_string(limits::kResultBytes) +
                                        ": yield it as chunks, or store it elsewhere"));
  }
  v1::Outcome outcome;
  outcome.set_result(std::move(context.result));
  return AttemptEnd(v1::JOB_STATE_SUCCEEDED, std::move(outcome));
}

v1::Outcome failure_of(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Cancelled& cancelled) {
    return failure("handler_error", "the handler threw a cancellation nobody asked for (" +
                                        std::string(to_string(cancelled.reason())) + ")");
  } catch (const Permanent& error) {
    return failure(error.code(), error.what());
  } catch (const std::exception& error) {
    return failure("handler_error", error.what());
  } catch (...) {
    return failure("handler_error", "the handler threw something that is not a std::exception");
  }
}

}  // namespace

Task<AttemptRun> run_attempt(ContextPtr context, const RegisteredHandler* handler) {
  AttemptRun run;
  if (handler == nullptr) co_return run;
  try {
    Task<bool> whole = context->scope().run(execute(context, &handler->handler));
    run.returned = co_await whole;
  } catch (const Cancelled&) {
    if (EventLoop::current()->context()->scope()->cancelled()) throw;
    run.thrown = std::current_exception();
  } catch (...) {
    run.thrown = std::current_exception();
  }
  Task<Status> flush = context->producer()->flush();
  run.stored = co_await flush;
  co_return run;
}

AttemptEnd end_of(JobContext& context, const RegisteredHandler* handler, const AttemptRun& run) {
  if (handler == nullptr) {
    return AttemptEnd(
        v1::JOB_STATE_DEAD,
        failure("no_handler", "no handler is registered for type '" +
                                  context.record().spec().type() +
                                  "': submit a type this daemon has, or start one that has it"));
  }
  if (run.stored.code() == StatusCode::kAborted || run.stored.code() == StatusCode::kNotFound) {
    return AttemptEnd(AttemptEnd::Verb::kDrop);
  }
  if (run.stored.code() == StatusCode::kDataLoss) {
    return AttemptEnd(v1::JOB_STATE_DEAD, failure("store_error", from_absl(run.stored.message())));
  }
  // The job is still ours, but what is stored of it does not fit what this attempt yielded.
  if (!run.stored.ok()) return AttemptEnd(AttemptEnd::Verb::kRelease);
  if (run.returned) return end_of_returned(context);
  const Status& stream = context.producer()->failed();
  if (!stream.ok()) {
    return AttemptEnd(v1::JOB_STATE_DEAD, failure("store_error", from_absl(stream.message())));
  }
  if (context.scope().cancel_called()) return end_of_cancelled(context);
  v1::Outcome failed = failure_of(run.thrown);
  spdlog::info("job {} ({}): {}: {}", context.token().job_id, context.record().spec().type(),
               failed.error_code(), failed.error_message());
  return AttemptEnd(v1::JOB_STATE_DEAD, std::move(failed));
}

}  // namespace weft
