// SubmitStream: bulk submission, with many messages on their way to the store at once.
//
//   read_specs ─a task each message─▶ store_specs ─channel─▶ write_answers
//
// Answers that are ready together go down as one message.
#include <utility>

#include <weft/base/limits.h>
#include <weft/runtime/channel.h>
#include <weft/runtime/event.h>
#include <weft/runtime/task_group.h>

#include "daemon/rpc/job_service.h"

namespace weft {
namespace {

// Answers that small join those that are ready with them.
constexpr size_t kJoinedBytes = 64 << 10;

// The answers to one message, with what they hold until they are on their way.
class Answered {
 public:
  Answered(v1::SubmitStreamResponse with, size_t of_request, size_t of_answers)
      : response(std::move(with)), request_bytes(of_request), answer_bytes(of_answers) {}
  v1::SubmitStreamResponse response;
  size_t request_bytes;
  size_t answer_bytes;
};

}  // namespace

// What the tasks of one stream share.
struct JobService::Bulk {
  Bulk(SubmitStreamCall& stream, std::unordered_set<Bulk*>& all) : call(stream), bulks(all) {
    bulks.insert(this);
  }
  ~Bulk() { bulks.erase(this); }
  Bulk(const Bulk&) = delete;
  Bulk& operator=(const Bulk&) = delete;

  bool has_room(size_t more_jobs) const {
    // A stream that has nothing under way goes on also when others hold much.
    return jobs == 0 || (jobs + more_jobs <= limits::kSubmitStreamJobs &&
                         bytes < limits::kSubmitStreamBytes && !call.crowded());
  }
  // No more is read; what was is answered, and then the stream ends so.
  void stop_reading(Status status) {
    if (end.ok()) end = std::move(status);
    reading.cancel(CancelReason::kShutdown);
  }

  SubmitStreamCall& call;
  std::unordered_set<Bulk*>& bulks;
  CancelScope reading;
  Status end;
  size_t jobs = 0;                                        // read and not answered
  size_t bytes = 0;                                       // of their messages
  Event room;                                             // either became less
  Channel<Answered> answered{limits::kSubmitStreamJobs};  // each has a job: it is never full
  Event over;
};

void JobService::drain() {
  draining_ = true;
  for (Bulk* bulk : bulks_) bulk->stop_reading(shutting_down_error());
}

Task<void> JobService::submit_stream(SubmitStreamCall& call) {
  if (draining_) {
    call.finish(shutting_down_error());
    co_return;
  }
  Bulk bulk(call, bulks_);
  auto body = [&](TaskGroup& group) -> Task<void> {
    // Cancelling this call, as a server does that shuts down, ends the reading only.
    struct StopReading {
      Bulk& bulk;
      ~StopReading() { bulk.reading.cancel(CancelReason::kShutdown); }
    } at_end{bulk};
    group.start(&JobService::run_bulk, this, &bulk);
    co_await bulk.over.wait();
  };
  co_await with_group(body);
  call.finish(bulk.end);
}

// Shielded: what was taken is stored and answered.
Task<void> JobService::run_bulk(Bulk* bulk) {
  auto answering = [&](TaskGroup& group) -> Task<void> {
    group.start(&JobService::write_answers, this, bulk);
    auto submitting = [&](TaskGroup& stores) -> Task<void> {
      co_await bulk->reading.run(read_specs(bulk, &stores));
    };
    co_await with_group(submitting);
    bulk->answered.close();
  };
  CancelScope shield(CancelScope::Kind::kShielded);
  const bool ended = co_await shield.run(with_group(answering));
  if (ended) bulk->over.set();
}

Task<void> JobService::read_specs(Bulk* bulk, TaskGroup* group) {
  const auto wait_for_room = [](Bulk* waiting, size_t more_jobs) -> Task<void> {
    while (!waiting->has_room(more_jobs)) {
      waiting->room.reset();
      co_await waiting->room.wait();
    }
  };
  for (uint64_t next_index = 0;;) {
    // Not reading on is the flow control of a client that is faster than the store, or that does
    // not read its answers.
    co_await wait_for_room(bulk, 1);
    auto request = co_await bulk->call.read();
    if (!request) {
      if (bulk->end.ok()) bulk->end = bulk->call.read_refused();
      co_return;
    }
    const size_t bytes = bulk->call.take_read_bytes();
    if (Status status = check_batch(request->specs(), bytes); !status.ok()) {
      bulk->end = std::move(status);
      co_return;
    }
    const auto jobs = static_cast<size_t>(request->specs_size());
    co_await wait_for_room(bulk, jobs);
    if (jobs == 0) {
      bulk->call.let_go(bytes);
      continue;
    }
    bulk->jobs += jobs;
    bulk->bytes += bytes;
    group->start(&JobService::store_specs, this, bulk, *std::move(request), next_index, bytes);
    next_index += jobs;
  }
}

Task<void> JobService::store_specs(Bulk* bulk, v1::SubmitStreamRequest request,
                                   uint64_t first_index, size_t bytes) {
  v1::SubmitStreamResponse response;
  *response.mutable_answers() =
      co_await submit_all(std::move(*request.mutable_specs()), first_index);
  const size_t answer_bytes = response.ByteSizeLong();
  // What is stored is answered however much the server holds; but then no more is read.
  if (Status room = bulk->call.hold(answer_bytes); !room.ok()) bulk->stop_reading(std::move(room));
  bulk->answered.try_send(Answered(std::move(response), bytes, answer_bytes));
}

Task<void> JobService::write_answers(Bulk* bulk) {
  for (;;) {
    auto next = co_await bulk->answered.receive();
    if (!next) co_return;
    v1::SubmitStreamResponse response = std::move(next->response);
    size_t request_bytes = next->request_bytes;
    size_t answer_bytes = next->answer_bytes;
    while (answer_bytes < kJoinedBytes) {
      auto more = bulk->answered.try_receive();
      if (!more) break;
      for (v1::SubmitAnswer& answer : *more->response.mutable_answers()) {
        *response.add_answers() = std::move(answer);
      }
      request_bytes += more->request_bytes;
      answer_bytes += more->answer_bytes;
    }
    const auto jobs = static_cast<size_t>(response.answers_size());
    const bool there = co_await bulk->call.write(std::move(response));
    // A client that is gone asks again for what it has no answer to.
    if (!there) bulk->stop_reading(make_status(StatusCode::kCancelled, "the client is gone"));
    bulk->call.let_go(request_bytes + answer_bytes);
    bulk->jobs -= jobs;
    bulk->bytes -= request_bytes;
    bulk->room.set();
  }
}

}  // namespace weft
