// The words that store tests use.
#include "tests/store_contract/harness.h"

namespace weft::testing {

v1::JobSpec Harness::make_spec(std::string queue, std::string payload) {
  v1::JobSpec spec;
  spec.set_queue(std::move(queue));
  spec.set_type("echo");
  spec.set_payload(std::move(payload));
  return spec;
}

v1::JobSpec Harness::make_spec_with_id(std::string id) {
  v1::JobSpec spec = make_spec();
  spec.set_id(std::move(id));
  return spec;
}

Task<StatusOr<Submitted>> Harness::submit(v1::JobSpec spec) {
  std::vector<v1::JobSpec> specs{std::move(spec)};
  auto answers = co_await store_->submit(std::move(specs));
  EXPECT_EQ(answers.size(), 1u);
  co_return std::move(answers[0]);
}

Task<std::string> Harness::add(v1::JobSpec spec) {
  const auto answer = co_await submit(std::move(spec));
  EXPECT_TRUE(answer.ok()) << answer.status();
  co_return answer.ok() ? answer->id : std::string();
}

Task<std::vector<v1::Job>> Harness::take(size_t count, Incarnation worker) {
  std::vector<Settlement> none;
  TakeRequest request{.worker = worker, .worker_name = "tester", .max_jobs = count};
  auto taken = co_await store_->settle_and_take(std::move(none), request);
  EXPECT_TRUE(taken.ok()) << taken.status();
  co_return taken.ok() ? std::move(taken->jobs) : std::vector<v1::Job>();
}

Task<v1::Job> Harness::run_one(v1::JobSpec spec) {
  co_await add(std::move(spec));
  auto jobs = co_await take(1);
  EXPECT_EQ(jobs.size(), 1u);
  co_return jobs.empty() ? v1::Job() : std::move(jobs[0]);
}

Task<Status> Harness::settle(Token token, v1::JobState state, uint64_t last_sequence,
                             std::string result) {
  v1::Outcome outcome;
  outcome.set_result(std::move(result));
  Settlement settlement(std::move(token), state, std::move(outcome), last_sequence);
  co_return co_await settle_as(std::move(settlement));
}

Task<Status> Harness::settle_as(Settlement settlement) {
  std::vector<Settlement> one{std::move(settlement)};
  TakeRequest nothing;
  auto taken = co_await store_->settle_and_take(std::move(one), nothing);
  if (!taken.ok()) co_return taken.status();
  EXPECT_EQ(taken->settled.size(), 1u);
  EXPECT_TRUE(taken->jobs.empty());
  co_return taken->settled[0];
}

Task<Status> Harness::settle_later(Token token, std::chrono::milliseconds pause,
                                   std::string message) {
  v1::Outcome outcome;
  outcome.set_error_code("handler_error");
  outcome.set_error_message(std::move(message));
  Settlement settlement(std::move(token), v1::JOB_STATE_SCHEDULED, std::move(outcome), 0);
  settlement.pause = pause;
  co_return co_await settle_as(std::move(settlement));
}

Task<Status> Harness::snooze(Token token, std::chrono::milliseconds pause) {
  Settlement settlement(std::move(token), v1::JOB_STATE_SCHEDULED, v1::Outcome(), 0);
  settlement.pause = pause;
  settlement.snoozed = true;
  co_return co_await settle_as(std::move(settlement));
}

Task<Promoted> Harness::promote(size_t max_jobs) {
  const auto promoted = co_await store_->promote(max_jobs);
  EXPECT_TRUE(promoted.ok()) << promoted.status();
  co_return promoted.ok() ? *promoted : Promoted();
}

Task<Status> Harness::release(Token token) {
  std::vector<Token> one{std::move(token)};
  auto answers = co_await store_->release(std::move(one));
  EXPECT_EQ(answers.size(), 1u);
  co_return answers[0];
}

Task<Status> Harness::append(Token token, uint64_t first_sequence,
                             std::vector<std::string> chunks) {
  auto block = std::make_shared<ChunkBlock>(first_sequence);
  for (const std::string& chunk : chunks) block->add(chunk);
  std::vector<Append> one;
  one.emplace_back(std::move(token), std::move(block));
  auto answers = co_await store_->append(std::move(one));
  EXPECT_EQ(answers.size(), 1u);
  co_return answers[0];
}

Task<v1::Job> Harness::get(std::string job_id) {
  auto job = co_await store_->get(std::move(job_id), false);
  EXPECT_TRUE(job.ok()) << job.status();
  co_return job.ok() ? *std::move(job) : v1::Job();
}

Task<std::vector<std::string>> Harness::read(std::string job_id, uint64_t from, size_t max_bytes) {
  auto page = co_await store_->read(std::move(job_id), from, max_bytes);
  EXPECT_TRUE(page.ok()) << page.status();
  co_return page.ok() ? to_text(*page) : std::vector<std::string>();
}

std::vector<std::string> to_text(const StreamPage& page) {
  std::vector<std::string> entries;
  for (const ChunkBlockPtr& block : page.blocks) {
    for (size_t i = 0; i < block->count(); ++i) {
      std::string text(block->chunk(i));
      if (block->kind == ChunkBlock::Kind::kAttemptStarted) {
        v1::AttemptStarted entry;
        EXPECT_TRUE(entry.ParseFromString(text));
        EXPECT_EQ(entry.sequence(), block->first_sequence + i);
        text = "attempt " + std::to_string(entry.attempt());
      }
      entries.push_back(std::to_string(block->first_sequence + i) + ":" + text);
    }
  }
  return entries;
}

}  // namespace weft::testing
