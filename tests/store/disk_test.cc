// A disk that is full, or nearly: a small tmpfs of this test's own.
#include <errno.h>
#include <gmock/gmock.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <fstream>

#include <weft/base/limits.h>
#include <weft/runtime/sleep.h>

#include "tests/store/store_file.h"

namespace weft::testing {
namespace {

using ::testing::HasSubstr;

constexpr std::chrono::seconds kDeadline(20);
constexpr std::chrono::milliseconds kAskAgain(limits::kFreeDiskCheckMs);

// The store's folder is a disk of 4 MiB.
class SmallDisk : public StoreFile {
 protected:
  void SetUp() override {
    StoreFile::SetUp();
    disk_ = folder_ + "/disk";
    std::filesystem::create_directory(disk_);
    path_ = disk_ + "/weft.db";
    mounted_ = unshare(CLONE_NEWNS) == 0 &&
               mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
               mount("tmpfs", disk_.c_str(), "tmpfs", 0, "size=4m") == 0;
    if (!mounted_) {
      GTEST_SKIP() << "this user may not mount a tmpfs (" << std::strerror(errno)
                   << "): run as root to test a full disk";
    }
    options_.free_disk_bytes = 0;
  }
  void TearDown() override {
    if (mounted_) umount2(disk_.c_str(), MNT_DETACH);
    StoreFile::TearDown();
  }

  // Leaves about `bytes` of room.
  void fill(size_t bytes) {
    std::ofstream ballast(disk_ + "/ballast", std::ios::binary | std::ios::app);
    const std::string block(64 << 10, 'x');
    while (std::filesystem::space(disk_).available > bytes + block.size() && ballast.good()) {
      ballast << block << std::flush;
    }
    if (bytes > 0) return;
    while (ballast.good()) ballast << std::string(512, 'x') << std::flush;
  }
  void free_space() { std::filesystem::remove(disk_ + "/ballast"); }

  std::string disk_;
  bool mounted_ = false;
};

// Lets the store's threads work until `condition()`.
template <typename Condition>
Task<bool> wait_for(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + kDeadline;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) co_return false;
    co_await yield_now();
  }
  co_return true;
}

TEST_F(SmallDisk, AFullDiskRefusesSubmissionsLosesNothingAndMends) {
  session([this](Harness& h) -> Task<void> {
    co_await h.add(Harness::make_spec_with_id("running-job-1"));
    const auto jobs = co_await h.take(1);
    WEFT_ASSERT(jobs.size() == 1);
    co_await h.add(Harness::make_spec_with_id("queued-job-1"));
    EXPECT_TRUE(h.store().stats().health.ok());
    fill(0);
    const auto refused =
        co_await h.submit(Harness::make_spec("default", std::string(1 << 20, 'x')));
    EXPECT_EQ(refused.status().code(), StatusCode::kUnavailable) << refused.status();
    EXPECT_GT(retry_ms_of(refused.status()), 0);
    EXPECT_THAT(std::string(refused.status().message()), HasSubstr("free some space"));
    EXPECT_FALSE(h.store().stats().health.ok());
    EXPECT_EQ(h.store().stats().queued_jobs, 1u);
    EXPECT_EQ(h.store().stats().running_jobs, 1u);
    free_space();
    // Without anybody asking for anything.
    const bool mended = co_await wait_for([&] { return h.store().stats().health.ok(); });
    EXPECT_TRUE(mended);
    co_await h.must(h.settle(Harness::token_of(jobs[0])));
    const auto accepted =
        co_await h.submit(Harness::make_spec("default", std::string(1 << 20, 'x')));
    EXPECT_TRUE(accepted.ok()) << accepted.status();
    EXPECT_EQ(h.told.finished.size(), 1u);
  });
  session([](Harness& h) -> Task<void> {
    const v1::Job settled = co_await h.get("running-job-1");
    EXPECT_EQ(settled.state(), v1::JOB_STATE_SUCCEEDED);
    const auto rest = co_await h.take(5);
    EXPECT_EQ(rest.size(), 2u);
  });
}

TEST_F(SmallDisk, ACommitThatWritesNothingMendsNothing) {
  session([this](Harness& h) -> Task<void> {
    const v1::Job job = co_await h.run_one();
    fill(0);
    const std::string result(64 << 10, 'x');
    const Status settled =
        co_await h.settle(Harness::token_of(job), v1::JOB_STATE_SUCCEEDED, 0, result);
    EXPECT_EQ(settled.code(), StatusCode::kUnavailable) << settled;
    for (int i = 0; i < 5; ++i) {
      const auto swept = co_await h.store().sweep(10);
      EXPECT_EQ(swept.status().code(), StatusCode::kUnavailable) << swept.status();
      EXPECT_GT(retry_ms_of(swept.status()), 0);
      EXPECT_FALSE(h.store().stats().health.ok());
      EXPECT_EQ(h.store().stats().running_jobs, 1u);
    }
    free_space();
    // Asked for at once, not only when the store tries by itself.
    co_await h.must(h.settle(Harness::token_of(job), v1::JOB_STATE_SUCCEEDED, 0, result));
    EXPECT_TRUE(h.store().stats().health.ok());
  });
}

TEST_F(SmallDisk, EverythingAcknowledgedIsThereAfterTheDiskFilledUp) {
  std::vector<std::string> acknowledged;
  session([&](Harness& h) -> Task<void> {
    fill(1 << 20);
    bool full = false;
    for (int i = 0; i < 1000 && !full; ++i) {
      const auto answer = co_await h.submit(Harness::make_spec("q", std::string(20'000, 'x')));
      full = !answer.ok();
      if (answer.ok()) acknowledged.push_back(answer->id);
    }
    EXPECT_TRUE(full);
    EXPECT_FALSE(acknowledged.empty());
    free_space();
    const bool mended = co_await wait_for([&] { return h.store().stats().health.ok(); });
    EXPECT_TRUE(mended);
    size_t settled = 0;
    while (true) {
      const auto jobs = co_await h.take(10);
      if (jobs.empty()) break;
      for (const v1::Job& job : jobs) {
        EXPECT_EQ(job.spec().payload().size(), 20'000u);
        co_await h.must(h.settle(Harness::token_of(job)));
        ++settled;
      }
    }
    EXPECT_EQ(settled, acknowledged.size());
  });
}

TEST_F(SmallDisk, BelowTheFloorNewJobsAreRefusedAndTheRestGoesOn) {
  options_.free_disk_bytes = 2 << 20;
  session([this](Harness& h) -> Task<void> {
    const v1::JobSpec known = Harness::make_spec_with_id("running-job-1");
    const v1::Job job = co_await h.run_one(known);
    fill(1 << 20);
    // Until the disk is asked again: with submissions that write nothing.
    const auto asked = std::chrono::steady_clock::now() + kAskAgain;
    while (std::chrono::steady_clock::now() < asked) co_await h.add(known);
    auto answer = co_await h.submit(Harness::make_spec());
    EXPECT_EQ(answer.status().code(), StatusCode::kResourceExhausted) << answer.status();
    EXPECT_GT(retry_ms_of(answer.status()), 0);
    EXPECT_THAT(std::string(answer.status().message()), HasSubstr("--free-disk"));
    EXPECT_THAT(std::string(answer.status().message()), HasSubstr(disk_));
    EXPECT_TRUE(h.store().stats().health.ok());
    EXPECT_EQ(h.store().stats().admission.code(), StatusCode::kResourceExhausted);
    const auto repeated = co_await h.submit(known);
    EXPECT_TRUE(repeated.ok()) << repeated.status();
    co_await h.must(h.append(Harness::token_of(job), 1, {"a"}));
    co_await h.must(h.settle(Harness::token_of(job), v1::JOB_STATE_SUCCEEDED, 1));
    free_space();
    const auto end = std::chrono::steady_clock::now() + kDeadline;
    while (!answer.ok() && std::chrono::steady_clock::now() < end) {
      answer = co_await h.submit(Harness::make_spec());
    }
    EXPECT_TRUE(answer.ok()) << answer.status();
    EXPECT_TRUE(h.store().stats().admission.ok());
  });
}

using FreeDiskFloor = StoreFile;

TEST_F(FreeDiskFloor, NoDiskHasSoMuchRoom) {
  options_.free_disk_bytes = UINT64_MAX;
  session([](Harness& h) -> Task<void> {
    EXPECT_EQ(h.store().stats().admission.code(), StatusCode::kResourceExhausted);
    const auto refused = co_await h.submit(Harness::make_spec());
    EXPECT_EQ(refused.status().code(), StatusCode::kResourceExhausted) << refused.status();
    EXPECT_GT(retry_ms_of(refused.status()), 0);
  });
}

}  // namespace
}  // namespace weft::testing
