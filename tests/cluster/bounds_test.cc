// Streams that are longer than what may be kept of them, and readers that stand still: what is
// held in Redis stays bounded, and the reader gets every chunk.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <thread>

#include <weft/base/limits.h>
#include <weft/client/client.h>

#include "tests/cluster/cluster.h"
#include "tests/support/redis_server.h"

namespace weft::testing {
namespace {

std::string submit_count(Client& client, const std::string& payload) {
  v1::JobSpec spec;
  spec.set_type("count");
  spec.set_payload(payload);
  const auto answer = client.submit(spec);
  EXPECT_TRUE(answer.ok()) << answer.status();
  return answer.ok() ? answer->id() : "";
}

uint64_t last_sequence(Client& client, const std::string& id) {
  const auto job = client.get(id);
  EXPECT_TRUE(job.ok()) << job.status();
  return job.ok() ? job->last_sequence() : 0;
}

// Where the job stands when it has not moved for a while.
uint64_t where_it_waits(Client& client, const std::string& id) {
  uint64_t last = 0;
  int quiet = 0;
  eventually(
      [&] {
        const uint64_t now = last_sequence(client, id);
        quiet = now > 0 && now == last ? quiet + 1 : 0;
        last = now;
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        return quiet == 30;
      },
      std::chrono::seconds(20));  // or where it is then: its reader may not stand still for long
  return last;
}

// Counts on from `next`; false at the end.
bool read_some(ResultStream& stream, uint64_t* next) {
  const auto event = stream.next();
  EXPECT_TRUE(event.ok()) << event.status();
  if (!event.ok() || !event->has_value()) return false;
  for (const std::string& chunk : (*event)->chunks().data()) {
    EXPECT_EQ(std::stoull(chunk), *next);
    *next = std::stoull(chunk) + 1;
  }
  return true;
}

TEST(Bounds, AStreamLongerThanItsLogWaitsForASlowReaderElsewhere) {
  constexpr uint64_t kBytes = 100'000;
  constexpr uint64_t kChunks = 2 * limits::kStreamBytes / kBytes;
  RedisProcess redis;
  Cluster cluster(redis.url());
  Node& worker = cluster.add("worker");
  Node& front = cluster.add("frontend");
  Client client({.server = front.address(), .call_deadline_ms = 60'000});
  const std::string id = submit_count(
      client, "{\"to\":" + std::to_string(kChunks) + ",\"bytes\":" + std::to_string(kBytes) + "}");
  const std::string log = "{weft:00}:chunks:" + id;
  ResultStream stream = client.watch({.job_id = id});
  uint64_t next = 1;
  while (next < 10) ASSERT_TRUE(read_some(stream, &next));

  const uint64_t held = where_it_waits(client, id);
  // What is on its way to the reader, in gRPC and the kernel, was read.
  constexpr uint64_t kUnderWay = 32 << 20;
  EXPECT_LE(held * kBytes, limits::kStreamBytes + kUnderWay);
  uint64_t kept = 0, most_bytes = 0, most_entries = 0;
  const auto look = [&] {
    const auto job = client.get(id);
    ASSERT_TRUE(job.ok()) << job.status();
    kept = std::max(kept, (job->last_sequence() + 1 - job->first_sequence()) * kBytes);
    const std::string bytes = redis.command({"MEMORY", "USAGE", log, "SAMPLES", "0"});
    most_bytes = std::max<uint64_t>(most_bytes, std::stoull("0" + bytes));
    most_entries = std::max<uint64_t>(most_entries, std::stoull(redis.command({"XLEN", log})));
  };
  look();
  for (uint64_t looked = next; read_some(stream, &next);) {
    if (next < looked + kChunks / 50) continue;
    looked = next;
    look();
  }
  EXPECT_EQ(next, kChunks + 1);
  std::printf(
      "figure: of %llu MB in a stream at most %.1f MB were kept (limit %.1f MB), in %llu entries "
      "of %.1f MB in Redis; the job stood still at %.1f MB while its reader did\n",
      static_cast<unsigned long long>(kChunks * kBytes / 1'000'000),
      static_cast<double>(kept) / 1e6, static_cast<double>(limits::kStreamBytes) / 1e6,
      static_cast<unsigned long long>(most_entries), static_cast<double>(most_bytes) / 1e6,
      static_cast<double>(held * kBytes) / 1e6);
  EXPECT_LE(kept, limits::kStreamBytes + limits::kWindowBytes);
  // Redis' allocator rounds up, by a quarter at most.
  EXPECT_LE(most_bytes, (limits::kStreamBytes + limits::kWindowBytes) / 4 * 5);
  EXPECT_TRUE(eventually([&] { return worker.metric("weft_resident_jobs") == 0; }));
}

// Redis keeps what is pushed to a process that does not read only to a limit, and then closes its
// connection.
TEST(Bounds, AFrontEndThatStandsStillMissesNewsButNoChunk) {
  constexpr uint64_t kChunks = 1500;
  RedisProcess redis({.arguments = {"--client-output-buffer-limit", "pubsub 256kb 256kb 1"}});
  Cluster cluster(redis.url());
  cluster.add("worker");
  Node& front = cluster.add("frontend");
  Node& other = cluster.add("frontend");
  const auto listeners = [&] {
    const std::string all = redis.command({"CLIENT", "LIST", "TYPE", "pubsub"});
    return std::count(all.begin(), all.end(), '\n');
  };
  ASSERT_TRUE(eventually([&] { return listeners() == 3; }));
  Client client({.server = front.address(), .call_deadline_ms = 60'000});
  Client meanwhile({.server = other.address(), .call_deadline_ms = 60'000});
  // Little at a time, so that it is pushed; what is much has to be read from the log in any case.
  const std::string id = submit_count(
      client, "{\"to\":" + std::to_string(kChunks) + ",\"bytes\":2000,\"delay_ms\":1}");
  ResultStream stream = client.watch({.job_id = id});
  uint64_t next = 1;
  ASSERT_TRUE(read_some(stream, &next));
  front.pause();
  EXPECT_TRUE(eventually([&] { return last_sequence(meanwhile, id) == kChunks; }));
  EXPECT_EQ(listeners(), 2) << "Redis keeps all that nobody reads";
  front.resume();
  while (read_some(stream, &next)) {
  }
  EXPECT_EQ(next, kChunks + 1);
  EXPECT_TRUE(eventually([&] { return listeners() == 3; }));
}

}  // namespace
}  // namespace weft::testing
