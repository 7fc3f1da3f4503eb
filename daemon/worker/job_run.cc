// From a handler's end to the job's.
#include <spdlog/spdlog.h>

#include <chrono>
#include <cstdio>
#include <exception>
#include <optional>
#include <string>

#include <weft/base/limits.h>
#include <weft/runtime/sleep.h>
#include <weft/runtime/task_group.h>
#include <weft/worker/job_run.h>

namespace weft {
namespace {

using internal::JobContext;
using ContextPtr = std::shared_ptr<JobContext>;

constexpr std::chrono::milliseconds kRetry(200);

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
  std::optional<std::chrono::nanoseconds> total_left = context->total_left();
  if (total_left) scope.set_deadline_after(*total_left);
  co_await context->wait_to_start();
  const std::chrono::nanoseconds timeout = timeout_of(context->record().spec());
  if (total_left) total_left = context->total_left();
  if (timeout.count() > 0 && (!total_left || timeout < *total_left)) {
    scope.set_deadline_after(timeout);
  }
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

std::string seconds_text(std::chrono::nanoseconds duration) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g s", std::chrono::duration<double>(duration).count());
  return text;
}

AttemptEnd end_of_deadline(JobContext& context, const RetryPolicy& policy, Random& random) {
  const v1::JobSpec& spec = context.record().spec();
  if (const auto left = context.total_left(); left && left->count() <= 0) {
    const auto& total = spec.total_timeout();
    return AttemptEnd(
        v1::JOB_STATE_DEAD,
        failure("deadline", "the job was not done within its total timeout of " +
                                seconds_text(std::chrono::seconds(total.seconds()) +
                                             std::chrono::nanoseconds(total.nanos()))));
  }
  return end_of_failure(context, policy,
                        failure("deadline", "the attempt ran longer than its timeout of " +
                                                seconds_text(timeout_of(spec))),
                        std::chrono::milliseconds(0), random);
}

AttemptEnd end_of_cancelled(JobContext& context, const RetryPolicy& policy, Random& random) {
  switch (context.scope().own_reason()) {
    case CancelReason::kShutdown:
      return AttemptEnd(AttemptEnd::Verb::kRelease);
    case CancelReason::kLeaseLost:
      return AttemptEnd(AttemptEnd::Verb::kDrop);
    case CancelReason::kConsumerGone:
      return AttemptEnd(
          v1::JOB_STATE_CANCELLED,
          failure("cancelled", "no consumer was attached for as long as the stream policy allows"));
    case CancelReason::kDeadline:
      return end_of_deadline(context, policy, random);
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

AttemptEnd end_of_thrown(JobContext& context, const RetryPolicy& policy,
                         const std::exception_ptr& thrown, Random& random) {
  v1::Outcome failed;
  std::chrono::milliseconds retry_after(0);
  try {
    std::rethrow_exception(thrown);
  } catch (const Snooze& snooze) {
    return end_of_snooze(context, policy, snooze.duration(), random);
  } catch (const Permanent& error) {
    spdlog::info("job {} ({}): {}: {}", context.token().job_id, context.record().spec().type(),
                 error.code(), error.what());
    return AttemptEnd(v1::JOB_STATE_DEAD, failure(error.code(), error.what()));
  } catch (const Transient& error) {
    failed = failure(error.code(), error.what());
    retry_after = error.retry_after();
  } catch (const Cancelled& cancelled) {
    failed = failure("handler_error", "the handler threw a cancellation nobody asked for (" +
                                          std::string(to_string(cancelled.reason())) + ")");
  } catch (const std::exception& error) {
    failed = failure("handler_error", error.what());
  } catch (...) {
    failed = failure("handler_error", "the handler threw something that is not a std::exception");
  }
  return end_of_failure(context, policy, std::move(failed), retry_after, random);
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

AttemptEnd end_of(JobContext& context, const RegisteredHandler* handler, const AttemptRun& run,
                  Random& random) {
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
  const RetryPolicy& policy = handler->options.retry;
  if (context.scope().cancel_called()) return end_of_cancelled(context, policy, random);
  return end_of_thrown(context, policy, run.thrown, random);
}

}  // namespace weft
