// Harness: a store with its listener, and short words for what tests do with it.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <weft/store/store.h>

#include "tests/support/coro_test.h"

namespace weft::testing {

// Writes down what the listener is told, in order: "work", "finished ID STATE"…
class Recorder final : public StoreListener {
 public:
  void on_work() override { events.push_back("work"); }
  void on_scheduled(std::chrono::milliseconds in) override { scheduled.push_back(in); }
  void on_cancel_requested(const std::string& job_id, const std::string& reason) override {
    events.push_back("cancel " + job_id + " " + reason);
  }
  void on_finished(const v1::Job& job) override {
    events.push_back("finished " + job.spec().id() + " " + v1::JobState_Name(job.state()));
    finished.push_back(job);
  }
  void on_send(const std::string& job_id, uint64_t number, const std::string& value) override {
    events.push_back("send " + job_id + " " + std::to_string(number) + " " + value);
  }
  std::vector<std::string> events;
  std::vector<v1::Job> finished;
  std::vector<std::chrono::milliseconds> scheduled;  // aside: a server's clock is not quite ours
};

// A store with its listener, and short words for what tests do with it. Failures of a helper are
// failures of the test.
class Harness {
 public:
  explicit Harness(std::unique_ptr<Store> opened) : store_(std::move(opened)) {
    store_->set_listener(&told);
  }
  Store& store() { return *store_; }

  Task<StatusOr<Submitted>> submit(v1::JobSpec spec);
  // Submits a job that must be accepted; its id.
  Task<std::string> add(v1::JobSpec spec);
  Task<std::vector<v1::Job>> take(size_t count, Incarnation worker = kWorker);
  // Submits one job and takes it.
  Task<v1::Job> run_one() { return run_one(make_spec()); }
  Task<v1::Job> run_one(v1::JobSpec spec);
  Task<Status> settle(Token token, v1::JobState state = v1::JOB_STATE_SUCCEEDED,
                      uint64_t last_sequence = 0, std::string result = "");
  // The attempt failed with that error, or snoozed, and is to be followed by another.
  Task<Status> settle_later(Token token, std::chrono::milliseconds pause,
                            std::string message = "no such picture");
  Task<Status> snooze(Token token, std::chrono::milliseconds pause);
  // Settles as it says, and takes nothing.
  Task<Status> settle_as(Settlement settlement);
  Task<Promoted> promote(size_t max_jobs = 100);
  Task<Status> release(Token token);
  // Awaits a verb that must succeed.
  Task<void> must(Task<Status> verb) {
    const Status status = co_await verb;
    EXPECT_TRUE(status.ok()) << status;
  }
  template <typename T>
  Task<void> must(Task<StatusOr<T>> verb) {
    const auto answer = co_await verb;
    EXPECT_TRUE(answer.ok()) << answer.status();
  }
  Task<Status> append(Token token, uint64_t first_sequence, std::vector<std::string> chunks);
  Task<v1::Job> get(std::string job_id);
  // All entries of a page as text, "SEQUENCE:CHUNK" or "SEQUENCE:attempt N".
  Task<std::vector<std::string>> read(std::string job_id, uint64_t from = 0,
                                      size_t max_bytes = 1 << 20);

  static v1::JobSpec make_spec(std::string queue = "default", std::string payload = "payload");
  static v1::JobSpec make_spec_with_id(std::string id);
  static Token token_of(const v1::Job& job, Incarnation worker = kWorker) {
    return Token(job.spec().id(), job.attempt(), worker);
  }
  static constexpr Incarnation kWorker{1, 2};
  static constexpr Incarnation kOtherWorker{3, 4};

  Recorder told;

 private:
  std::unique_ptr<Store> store_;
};

// The entries of a page as read() shows them.
std::vector<std::string> to_text(const StreamPage& page);

}  // namespace weft::testing
