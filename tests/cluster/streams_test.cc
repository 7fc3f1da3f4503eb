// A stream whose job runs in one process and whose reader is at another: in order, without a gap or
// a repetition, also when the reader's front end dies; and its credit, sends and cancel arrive.
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include <weft/base/limits.h>
#include <weft/client/client.h>

#include "tests/cluster/cluster.h"
#include "tests/support/redis_server.h"

namespace weft::testing {
namespace {

class Streams : public ::testing::Test {
 protected:
  Streams() : cluster_(redis_.url()) {
    worker_ = &cluster_.add("worker");
    b_ = &cluster_.add("frontend");
    c_ = &cluster_.add("frontend");
  }
  // Its address does not come back: a reader at it gives up at once.
  static Client client_of(const Node& node) {
    return Client({.server = node.address(), .retry_for_ms = 0, .reconnect_for_ms = 0});
  }
  static std::string submit(Client& client, const std::string& payload, v1::StreamPolicy policy) {
    v1::JobSpec spec;
    spec.set_type("count");
    spec.set_payload(payload);
    spec.set_stream_policy(policy);
    const auto answer = client.submit(spec);
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() ? answer->id() : "";
  }
  struct Counts {
    int missing = 0;
    int twice = 0;  // or in another order
  };
  // Reads chunks, which count on from `next`, until there are so many in all or the stream breaks.
  template <typename Reader>
  void read(Reader& reader, int until, int* next) {
    while (*next <= until) {
      const auto event = reader.next();
      if (!event.ok() || !event->has_value()) return;
      for (const std::string& chunk : (*event)->chunks().data()) count(std::stoi(chunk), next);
    }
  }
  void count(int chunk, int* next) {
    if (chunk < *next) {
      ++counts_.twice;
      return;
    }
    counts_.missing += chunk - *next;
    *next = chunk + 1;
  }
  void expect_all_once() {
    EXPECT_EQ(counts_.missing, 0);
    EXPECT_EQ(counts_.twice, 0);
  }

  Counts counts_;
  RedisProcess redis_;
  Cluster cluster_;
  Node* worker_;
  Node* b_;
  Node* c_;
};

TEST_F(Streams, AreReadThroughFrontEndsThatDie) {
  constexpr int kChunks = 400;  // of which most are still to come, for seconds, at the kill
  Client to_b = client_of(*b_);
  Client to_c = client_of(*c_);
  const std::string id = submit(to_b, "{\"to\":" + std::to_string(kChunks) + ",\"delay_ms\":10}",
                                v1::STREAM_POLICY_RUN);
  int next = 1;
  ResultStream first = to_b.watch({.job_id = id});
  read(first, kChunks / 8, &next);
  EXPECT_GT(next, kChunks / 8);
  cluster_.kill(*b_);
  read(first, kChunks, &next);  // what was under way
  const int at_b = next - 1;
  EXPECT_LT(at_b, kChunks) << "it was killed too late";
  ResultStream second = to_c.watch({.job_id = id, .from_sequence = first.next_sequence()});
  read(second, kChunks, &next);
  EXPECT_EQ(next, kChunks + 1);
  const auto end = second.next();
  ASSERT_TRUE(end.ok()) << end.status();
  ASSERT_TRUE(end->has_value());
  EXPECT_EQ((*end)->finished().state(), v1::JOB_STATE_SUCCEEDED);
  const auto job = to_c.get(id);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->attempt(), 1u);
  std::printf(
      "counts: %d chunks through B, %d through C after the kill of B; missing %d, twice %d\n", at_b,
      next - 1 - at_b, counts_.missing, counts_.twice);
  expect_all_once();
}

// Nobody leads this reader: its client knows both addresses.
TEST_F(Streams, AReaderThatKnowsTwoFrontEndsLosesNothingWhenTheyDieInTurn) {
  constexpr int kChunks = 400;
  Client client({.server = "ipv4:" + b_->address() + "," + c_->address()});
  const std::string id = submit(client, "{\"to\":" + std::to_string(kChunks) + ",\"delay_ms\":10}",
                                v1::STREAM_POLICY_RUN);
  int next = 1;
  ResultStream stream = client.watch({.job_id = id});
  read(stream, kChunks / 4, &next);
  cluster_.kill(*b_);
  read(stream, kChunks / 2, &next);
  b_->start();
  cluster_.kill(*c_);
  read(stream, kChunks, &next);
  EXPECT_EQ(next, kChunks + 1);
  const auto end = stream.next();
  ASSERT_TRUE(end.ok() && end->has_value()) << end.status();
  EXPECT_EQ((*end)->finished().state(), v1::JOB_STATE_SUCCEEDED);
  std::printf("counts: %d chunks through two front ends, each killed once; missing %d, twice %d\n",
              next - 1, counts_.missing, counts_.twice);
  expect_all_once();
}

TEST_F(Streams, WeftWatchWaitsForItsFrontEndAndRepeatsNothing) {
  constexpr int kChunks = 300;
  Client client = client_of(*c_);
  const std::string id = submit(client, "{\"to\":" + std::to_string(kChunks) + ",\"delay_ms\":10}",
                                v1::STREAM_POLICY_RUN);
  Process watch = b_->daemon().start_weft({"watch", id});
  int next = 1;
  const auto read_lines = [&](int until) {
    while (next <= until) {
      const auto line = watch.read_line();
      if (!line) return;
      count(std::stoi(*line), &next);
    }
  };
  read_lines(kChunks / 8);
  cluster_.kill(*b_);
  b_->start();
  read_lines(kChunks);
  EXPECT_EQ(next, kChunks + 1);
  const Ended ended = watch.wait();
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_EQ(ended.out, "");
  expect_all_once();
}

// The worker dies, not the front end: the reader stays and is told of the next attempt.
TEST_F(Streams, GoOnWithTheNextAttemptWhenTheirWorkerDies) {
  constexpr int kChunks = 300;  // 3 s long
  Client client = client_of(*b_);
  const std::string id = submit(client, "{\"to\":" + std::to_string(kChunks) + ",\"delay_ms\":10}",
                                v1::STREAM_POLICY_RUN);
  int next = 1;
  ResultStream stream = client.watch({.job_id = id});
  read(stream, kChunks / 8, &next);
  // Killed first: until the other one is up its lease goes on, and the stream could end.
  cluster_.kill(*worker_);
  cluster_.add("worker");
  uint64_t attempt = 1;
  bool ended = false;
  while (!ended) {
    const auto event = stream.next();
    ASSERT_TRUE(event.ok() && event->has_value()) << event.status();
    if ((*event)->has_attempt_started()) {
      attempt = (*event)->attempt_started().attempt();
      next = 1;
    }
    for (const std::string& chunk : (*event)->chunks().data()) count(std::stoi(chunk), &next);
    ended = (*event)->has_finished();
  }
  EXPECT_EQ(attempt, 2u);
  EXPECT_EQ(next, kChunks + 1);
  expect_all_once();
}

TEST_F(Streams, CreditSendsAndCancelReachTheWorkerFromAnyFrontEnd) {
  constexpr uint64_t kCredit = 16;
  constexpr int kRead = 3000;
  Client to_b = client_of(*b_);
  Client to_c = client_of(*c_);
  const std::string id = submit(to_b, "{\"to\":1000000000}", v1::STREAM_POLICY_PAUSE);
  int next = 1;
  uint64_t from = 0;
  {
    Attachment first = to_b.attach({.job_id = id, .credit_ahead = kCredit});
    read(first, kRead, &next);
    from = first.next_sequence();
    cluster_.kill(*b_);
  }
  // It computes nothing that nobody has asked for.
  const auto bound = [&] { return static_cast<uint64_t>(next) + kCredit + limits::kWindowChunks; };
  const auto held = to_c.get(id);
  ASSERT_TRUE(held.ok()) << held.status();
  EXPECT_EQ(held->state(), v1::JOB_STATE_RUNNING);
  EXPECT_LE(held->last_sequence(), bound());
  Attachment second = to_c.attach({.job_id = id, .from_sequence = from, .credit_ahead = kCredit});
  read(second, 2 * kRead, &next);
  const auto computed = to_c.get(id);
  ASSERT_TRUE(computed.ok()) << computed.status();
  EXPECT_LE(computed->last_sequence(), bound());
  expect_all_once();
  std::printf("figure: %d chunks read of a billion through two front ends, %llu computed\n",
              next - 1, static_cast<unsigned long long>(computed->last_sequence()));
  // A send changes what it yields next.
  const auto sent = to_c.send(id, R"({"step":1000})");
  ASSERT_TRUE(sent.ok()) << sent.status();
  bool steered = false;
  long long last = next - 1;
  for (int read = 0; !steered && read < 50'000;) {
    const auto event = second.next();
    ASSERT_TRUE(event.ok() && event->has_value()) << event.status();
    for (const std::string& chunk : (*event)->chunks().data()) {
      ++read;
      steered = steered || std::stoll(chunk) - last == 1000;
      last = std::stoll(chunk);
    }
  }
  EXPECT_TRUE(steered);
  const auto cancelled = to_c.cancel(id, "enough");
  ASSERT_TRUE(cancelled.ok()) << cancelled.status();
  EXPECT_TRUE(eventually([&] {
    const auto job = to_c.get(id);
    return job.ok() && job->state() == v1::JOB_STATE_CANCELLED;
  }));
  EXPECT_TRUE(eventually([&] { return worker_->metric("weft_resident_jobs") == 0; }));
}

}  // namespace
}  // namespace weft::testing
