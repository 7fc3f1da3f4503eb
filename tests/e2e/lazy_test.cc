// Laziness end to end: a job that could yield 10^9 chunks computes what was asked for and a window.
#include <gtest/gtest.h>

#include <cstdio>

#include <weft/base/limits.h>
#include <weft/client/client.h>

#include "tests/support/daemon.h"

namespace weft::testing {
namespace {

constexpr uint64_t kStep = 20'000;  // chunks granted at a time
constexpr uint64_t kSettled = 1'500'000;
constexpr uint64_t kEnd = 4'000'000;
// What an allocator gives back late comes and goes by some MB. Keeping 8 bytes of each chunk read
// between the two looks would already be 20 MB more, and the chunks themselves beyond 100 MB.
constexpr size_t kFlatBytes = 20 << 20;

uint64_t last_sequence(Client& client, const std::string& id) {
  const auto job = client.get(id);
  EXPECT_TRUE(job.ok()) << job.status();
  return job.ok() ? job->last_sequence() : 0;
}

// Reads until the chunk `sequence` has come.
void read_to(Attachment& attachment, uint64_t sequence) {
  while (attachment.next_sequence() <= sequence) {
    const auto event = attachment.next();
    ASSERT_TRUE(event.ok()) << event.status();
    ASSERT_TRUE(event->has_value());
    ASSERT_FALSE((*event)->has_finished());
  }
}

void expect_lazy_and_flat(const std::string& store) {
  Daemon daemon({.store = store, .listen = "127.0.0.1:0", .arguments = {}});
  Client client({.server = daemon.address()});
  const std::string id =
      daemon.submit("count", R"({"to":1000000000})", {"--stream-policy", "pause"});
  Attachment attachment = client.attach({.job_id = id, .credit_ahead = 0, .deadline_ms = 240'000});
  attachment.grant(10);
  constexpr uint64_t kMost = 10 + limits::kWindowChunks;
  ASSERT_NO_FATAL_FAILURE(read_to(attachment, 10));
  // The window fills, and then nothing more comes: each answer of the daemon is a turn of its loop
  // in which the job could have gone on.
  uint64_t computed = 0;
  for (int same = 0; same < 300; ++same) {
    const uint64_t now = last_sequence(client, id);
    ASSERT_LE(now, kMost);
    if (now != computed) same = 0;
    computed = now;
  }
  EXPECT_GE(computed, 10u);
  std::printf("computed %llu of at most %llu\n", static_cast<unsigned long long>(computed),
              static_cast<unsigned long long>(kMost));

  // Memory may grow until the stream is as long as it is ever kept; from there on it must not
  // follow the stream.
  const auto read_on = [&](uint64_t from, uint64_t to) {
    for (uint64_t next = from + kStep; next <= to; next += kStep) {
      attachment.grant(next);
      ASSERT_NO_FATAL_FAILURE(read_to(attachment, next));
    }
  };
  const uint64_t settled = kSanitized ? 2 * kStep : kSettled;
  const uint64_t end = kSanitized ? 4 * kStep : kEnd;
  ASSERT_NO_FATAL_FAILURE(read_on(0, settled));
  const size_t rss_before = daemon.process().rss_bytes();
  ASSERT_NO_FATAL_FAILURE(read_on(settled, end));
  const size_t rss_after = daemon.process().rss_bytes();
  std::printf("resident: %zu KiB after %llu chunks, %zu KiB after %llu\n", rss_before >> 10,
              static_cast<unsigned long long>(settled), rss_after >> 10,
              static_cast<unsigned long long>(end));
  if (!kSanitized) {
    EXPECT_LT(rss_after, rss_before + kFlatBytes);
  }
  const auto cancelled = client.cancel(id, "enough");
  EXPECT_TRUE(cancelled.ok()) << cancelled.status();
}

TEST(Lazy, ABillionChunksReadForTenComputeTenAndAWindow) { expect_lazy_and_flat("memory:"); }

TEST(Lazy, ABillionChunksReadForTenComputeTenAndAWindowOnSqlite) {
  const TempDir dir;
  expect_lazy_and_flat("sqlite:" + dir.file("weft.db"));
}

}  // namespace
}  // namespace weft::testing
