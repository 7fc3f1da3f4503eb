// Laziness end to end: a job that could yield 10^9 chunks computes what was asked for and a window.
#include <gtest/gtest.h>

#include <cstdio>

#include <weft/base/limits.h>
#include <weft/client/client.h>

#include "tests/support/daemon.h"

namespace weft::testing {
namespace {

constexpr size_t kFlatBytes = 32 << 20;

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

TEST(Lazy, ABillionChunksReadForTenComputeTenAndAWindow) {
  Daemon daemon;
  Client client({.server = daemon.address()});
  // The daemon's first job, so that what it needs once is there before memory is measured.
  EXPECT_EQ(daemon.weft({"run", "count", "-p", R"({"to":10000})"}).exit_code, 0);
  const size_t rss_before = daemon.process().rss_bytes();

  const std::string id =
      daemon.submit("count", R"({"to":1000000000})", {"--stream-policy", "pause"});
  Attachment attachment = client.attach({.job_id = id, .credit_ahead = 0, .deadline_ms = 120'000});
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

  // A longer read, to see that memory does not follow the stream.
  for (uint64_t to = 20'000; to <= 400'000; to += 20'000) {
    attachment.grant(to);
    ASSERT_NO_FATAL_FAILURE(read_to(attachment, to));
  }
  const size_t rss_after = daemon.process().rss_bytes();
  std::printf("resident: %zu MiB before, %zu MiB after 400,000 chunks\n", rss_before >> 20,
              rss_after >> 20);
  if (!kSanitized) {
    EXPECT_LT(rss_after, rss_before + kFlatBytes);
  }
  const auto cancelled = client.cancel(id, "enough");
  EXPECT_TRUE(cancelled.ok()) << cancelled.status();
}

}  // namespace
}  // namespace weft::testing
