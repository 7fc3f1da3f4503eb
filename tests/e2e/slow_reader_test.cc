// A slow reader slows nobody else. Both rates are taken in turn in one run, and the best of each is
// compared: other work on the machine only ever makes a round slower.
#include <gtest/gtest.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <thread>

#include <weft/base/limits.h>
#include <weft/client/client.h>

#include "tests/support/daemon.h"

namespace weft::testing {
namespace {

constexpr int kReaders = 50;
constexpr uint64_t kCredit = 1024;
constexpr int kRoundsMin = 3;
constexpr int kRoundsMax = 24;
constexpr double kRatio = 0.9;

v1::JobSpec count_job(int to) {
  v1::JobSpec spec;
  spec.set_type("count");
  spec.set_payload("{\"to\":" + std::to_string(to) + "}");
  spec.set_stream_policy(v1::STREAM_POLICY_PAUSE);
  return spec;
}

// One reader with a connection of its own.
class Reader {
 public:
  explicit Reader(const std::string& address) : client_({.server = address}) {}

  void submit(int chunks) {
    const auto answer = client_.submit(count_job(chunks));
    ASSERT_TRUE(answer.ok()) << answer.status();
    id_ = answer->id();
  }
  void use(const std::string& id) { id_ = id; }
  const std::string& id() const { return id_; }
  void attach() {
    attachment_ =
        std::make_unique<Attachment>(client_.attach({.job_id = id_, .credit_ahead = kCredit}));
  }
  void leave() { attachment_ = nullptr; }
  void read_one() {
    const auto event = attachment_->next();
    ASSERT_TRUE(event.ok()) << event.status();
  }
  void read_all(int chunks) {
    int read = 0;
    for (;;) {
      const auto event = attachment_->next();
      ASSERT_TRUE(event.ok()) << event.status();
      if (!event->has_value()) break;
      read += (*event)->chunks().data_size();
    }
    EXPECT_EQ(read, chunks);
  }
  // Its job has not gone past what it gave credit for and the window.
  void expect_held() {
    EXPECT_LE(attachment_->next_sequence(), kCredit + 1);
    const auto job = client_.get(id_);
    ASSERT_TRUE(job.ok()) << job.status();
    EXPECT_EQ(job->state(), v1::JOB_STATE_RUNNING);
    EXPECT_LE(job->last_sequence(), kCredit + limits::kWindowChunks);
  }
  void cancel() { static_cast<void>(client_.cancel(id_, "the round is over")); }

 private:
  Client client_;
  std::string id_;
  std::unique_ptr<Attachment> attachment_;
};

// Seconds until all fast readers have read their streams to the end. With `slow`, one more reader
// has begun to read and then takes nothing.
double round(const std::string& address, int chunks, bool slow, bool one_job) {
  std::vector<std::unique_ptr<Reader>> readers;
  for (int i = 0; i <= kReaders; ++i) readers.push_back(std::make_unique<Reader>(address));
  if (one_job) {
    readers[0]->submit(chunks);
    for (auto& reader : readers) reader->use(readers[0]->id());
  } else {
    for (int i = 0; i < kReaders; ++i) readers[static_cast<size_t>(i)]->submit(chunks);
    // The slow reader's job is longer than its window and its buffers, so that it is really held.
    if (slow) readers.back()->submit(100 * chunks);
  }
  if (slow || one_job) {
    // In both rounds of one job somebody has begun to read, so that the job is as far in both.
    readers.back()->attach();
    readers.back()->read_one();
    if (!slow) readers.back()->leave();
  }
  std::barrier begin(kReaders + 1), end(kReaders + 1);
  std::vector<std::thread> threads;
  for (int i = 0; i < kReaders; ++i) {
    threads.emplace_back([&, i] {
      begin.arrive_and_wait();
      readers[static_cast<size_t>(i)]->attach();
      readers[static_cast<size_t>(i)]->read_all(chunks);
      end.arrive_and_wait();
    });
  }
  begin.arrive_and_wait();
  const auto started = std::chrono::steady_clock::now();
  end.arrive_and_wait();
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  for (std::thread& thread : threads) thread.join();
  if (slow && !one_job) {
    readers.back()->expect_held();
    readers.back()->cancel();
  }
  return seconds;
}

void expect_slow_reader_slows_nobody(int chunks, bool one_job) {
  if (kSanitized) chunks /= 20;
  Daemon daemon;
  double without = 1e9, with = 1e9;
  round(daemon.address(), chunks / 10, false, one_job);  // warm
  for (int i = 0; i < kRoundsMax; ++i) {
    without = std::min(without, round(daemon.address(), chunks, false, one_job));
    with = std::min(with, round(daemon.address(), chunks, true, one_job));
    if (i + 1 >= kRoundsMin && without / with >= kRatio) break;
  }
  std::printf("%d readers: %.0f chunks/s without the slow one, %.0f with it, ratio %.2f\n",
              kReaders, kReaders * chunks / without, kReaders * chunks / with, without / with);
  // A sanitizer's own work drowns the difference; there only correctness counts.
  if (!kSanitized) {
    EXPECT_GE(without / with, kRatio);
  }
}

TEST(SlowReader, FiftyJobsRunOnWhileTheReaderOfAnotherIsSlow) {
  expect_slow_reader_slows_nobody(20'000, false);
}

TEST(SlowReader, FiftyReadersOfOneJobGoOnWhileAnotherIsSlow) {
  expect_slow_reader_slows_nobody(20'000, true);
}

}  // namespace
}  // namespace weft::testing
