// The keeper against real threads and real time: handlers that hold the loop are named.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include <weft/runtime/event_loop.h>
#include <weft/runtime/sleep.h>
#include <weft/runtime/task_group.h>
#include <weft/worker/keeper.h>

namespace weft {
namespace {

using ::std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

// Longer than anything takes on a loaded machine.
constexpr std::chrono::seconds kPatience(60);

// What was logged, for any thread to look at and wait for.
class LogLines final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  std::vector<std::string> all() {
    std::lock_guard lock(lines_mutex_);
    return lines_;
  }
  // The first line with `words` in it.
  std::string with(const std::string& words) {
    for (const std::string& line : all()) {
      if (line.find(words) != std::string::npos) return line;
    }
    return "";
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    std::lock_guard lock(lines_mutex_);
    lines_.emplace_back(message.payload.data(), message.payload.size());
  }
  void flush_() override {}

 private:
  std::mutex lines_mutex_;
  std::vector<std::string> lines_;
};

class KeeperTest : public ::testing::Test {
 protected:
  KeeperTest() : old_(spdlog::default_logger()) {
    spdlog::set_default_logger(std::make_shared<spdlog::logger>("test", lines_));
  }
  ~KeeperTest() override { spdlog::set_default_logger(old_); }

  const std::shared_ptr<LogLines> lines_ = std::make_shared<LogLines>();
  const std::shared_ptr<spdlog::logger> old_;
};

// Holds the thread until `enough`; false: it took too long.
bool hold_until(const std::function<bool()>& enough) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!enough()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
  }
  return true;
}

Task<void> hold(std::string name, std::function<bool()> enough, bool* held) {
  set_task_name(std::move(name));
  *held = hold_until(enough);
  co_return;
}

TEST_F(KeeperTest, NamesTheTaskThatHoldsTheLoopAndTellsWhenItIsOver) {
  EventLoop loop;
  Keeper keeper(loop, {.stall_ms = 30});
  bool held = false;
  auto body = [&](TaskGroup& group) -> Task<void> {
    const std::string words = "by job 0a1b (resize)";
    group.start(&hold, std::string("job 0a1b (resize)"),
                std::function<bool()>([this, words] { return !lines_->with(words).empty(); }),
                &held);
    co_return;
  };
  loop.run(with_group(body));
  EXPECT_TRUE(held) << ::testing::PrintToString(lines_->all());
  auto wait_for_end = [this]() -> Task<void> {
    for (int i = 0; i < 6000 && lines_->with("goes on").empty(); ++i) {
      co_await sleep_for(milliseconds(10));
    }
  };
  loop.run(wait_for_end());
  EXPECT_THAT(lines_->with("job 0a1b"),
              MatchesRegex("the loop is held for [0-9]+ ms by job 0a1b .resize.[:,] .*"));
  EXPECT_THAT(lines_->with("goes on"), MatchesRegex("the loop goes on after [0-9]+ ms"));
  EXPECT_GE(keeper.stats().stalls, 1u);
  EXPECT_GE(keeper.stats().longest_stall_ns, 30'000'000);
}

// Tasks of a job have no names of their own.
TEST_F(KeeperTest, NamesTheJobAroundATaskWithoutAName) {
  EventLoop loop;
  Keeper keeper(loop, {.stall_ms = 30});
  bool held = false;
  auto job = [](std::function<bool()> enough, bool* done) -> Task<void> {
    set_task_name("job 7 (index)");
    auto body = [&](TaskGroup& group) -> Task<void> {
      auto child = [](std::function<bool()> until, bool* out) -> Task<void> {
        *out = hold_until(until);
        co_return;
      };
      group.start(child, enough, done);
      co_return;
    };
    co_await with_group(body);
  };
  loop.run(job([this] { return !lines_->with("by job 7 (index)").empty(); }, &held));
  EXPECT_TRUE(held) << "what was logged: " << ::testing::PrintToString(lines_->all());
}

TEST_F(KeeperTest, ABlockingCallIsCalledOne) {
  EventLoop loop;
  Keeper keeper(loop, {.stall_ms = 30});
  std::mutex mutex;
  std::condition_variable wake;
  bool named = false;
  auto body = [&]() -> Task<void> {
    set_task_name("job 8 (fetch)");
    std::unique_lock lock(mutex);
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (!named && std::chrono::steady_clock::now() < deadline) {
      wake.wait_for(lock, milliseconds(500));
      named = !lines_->with("by job 8 (fetch), which waits in a blocking call").empty();
    }
    co_return;
  };
  loop.run(body());
  EXPECT_TRUE(named) << ::testing::PrintToString(lines_->all());
}

TEST_F(KeeperTest, ALoopThatWaitsIsNotHeld) {
  EventLoop loop;
  std::atomic<int> fed{0};
  Keeper keeper(loop, {.stall_ms = 100'000, .watchdog_ms = 60, .feed_watchdog = [&] { ++fed; }});
  auto body = [&]() -> Task<void> {
    while (fed < 5) co_await sleep_for(milliseconds(5));
  };
  loop.run(body());
  EXPECT_EQ(keeper.stats().stalls, 0u);
  EXPECT_TRUE(lines_->all().empty()) << ::testing::PrintToString(lines_->all());
}

TEST_F(KeeperTest, TheWatchdogIsFedWhileTheLoopBeatsAndNotWhileItHangs) {
  EventLoop loop;
  std::atomic<int> fed{0};
  KeeperOptions options;
  options.stall_ms = 20;
  options.hung_ms = 60;
  options.watchdog_ms = 12;
  options.feed_watchdog = [&] { ++fed; };
  Keeper keeper(loop, std::move(options));
  bool beating = false, hung = false;
  int fed_while_held = 0;
  auto body = [&]() -> Task<void> {
    while (fed < 3) co_await sleep_for(milliseconds(1));
    beating = true;
    const int before = fed;
    const auto begin = std::chrono::steady_clock::now();
    hung = hold_until([&] {
      return std::chrono::steady_clock::now() - begin > milliseconds(400) &&
             !lines_->with("the loop hangs").empty();
    });
    fed_while_held = fed - before;
    while (fed == before + fed_while_held) co_await sleep_for(milliseconds(1));  // and feeds again
  };
  loop.run(body());
  EXPECT_TRUE(beating);
  EXPECT_TRUE(hung);
  // Every 4 ms of its first 60, and once more by a look that began before; not a hundred times.
  EXPECT_LE(fed_while_held, 17);
  EXPECT_THAT(lines_->with("the loop hangs"),
              HasSubstr("the service watchdog is not fed any more"));
}

TEST_F(KeeperTest, LinesAboutStallsAreFew) {
  EventLoop loop;
  Keeper keeper(loop, {.stall_ms = 4});
  auto body = [&]() -> Task<void> {
    // Many short stalls within the time of one line.
    const auto until = std::chrono::steady_clock::now() + milliseconds(limits::kStallLogMs);
    size_t stalls = 0;
    while (stalls < 5 && std::chrono::steady_clock::now() < until) {
      hold_until([&] { return keeper.stats().stalls > stalls; });
      stalls = keeper.stats().stalls;
      co_await sleep_for(milliseconds(2));
    }
  };
  loop.run(body());
  size_t held = 0;
  for (const std::string& line : lines_->all()) held += line.find("goes on") == std::string::npos;
  EXPECT_LE(held, 3u) << ::testing::PrintToString(lines_->all());
}

TEST_F(KeeperTest, TheLeaseOfAHeldLoopIsRenewedForABoundedTime) {
  EventLoop loop;
  std::atomic<int> renewed{0}, looked{0};
  KeeperOptions options;
  options.stall_ms = 20;
  options.renew_ms = 40;
  options.renew_limit_ms = 300;
  options.lease = [&](bool renew) {
    ++(renew ? renewed : looked);
    return LeaseState::kHeld;
  };
  options.give_up_lease = [] { ADD_FAILURE() << "it was held all the time"; };
  Keeper keeper(loop, std::move(options));
  int renewed_in_time = 0;
  auto body = [&]() -> Task<void> {
    for (int i = 0; i < 10; ++i) co_await sleep_for(milliseconds(5));
    // The loop does that itself, unless the machine has held it.
    const int unasked = renewed + looked;
    EXPECT_TRUE(unasked == 0 || keeper.stats().stalls > 0);
    // A keeper that gets no CPU in all that time renews nothing: then once more.
    for (int round = 0; round < 20 && renewed_in_time == 0; ++round) {
      co_await sleep_for(milliseconds(1));
      const int before = renewed, looked_before = looked;
      hold_until([&] { return looked >= looked_before + 2; });
      renewed_in_time = renewed - before;
    }
    EXPECT_EQ(keeper.stats().renewals, static_cast<uint64_t>(renewed));
    co_await sleep_for(milliseconds(1));
  };
  loop.run(body());
  EXPECT_GE(renewed_in_time, 1);
  EXPECT_LE(renewed_in_time, 8);  // 300 ms are over then
  EXPECT_THAT(lines_->with("lease is not renewed any more"), HasSubstr("the loop is held for"));
}

TEST_F(KeeperTest, ARenewalThatWasNotAnsweredIsTriedAgainWithinTheLease) {
  EventLoop loop;
  constexpr int64_t kRenew_ns = 2'000'000'000;
  std::atomic<int64_t> asked_ns{0}, again_ns{0};
  KeeperOptions options;
  options.stall_ms = 20;
  options.renew_ms = kRenew_ns / 1'000'000;
  options.lease = [&](bool) {
    const int64_t now_ns = RealClock::instance().monotonic_ns();
    if (asked_ns == 0) {
      asked_ns = now_ns;
      return LeaseState::kUnknown;
    }
    if (again_ns == 0) again_ns = now_ns;
    return LeaseState::kHeld;
  };
  options.give_up_lease = [] { ADD_FAILURE() << "nobody says that it is gone"; };
  Keeper keeper(loop, std::move(options));
  auto body = [&]() -> Task<void> {
    hold_until([&] { return again_ns != 0; });
    co_return;
  };
  loop.run(body());
  EXPECT_GT(again_ns, asked_ns);
  EXPECT_LT(again_ns - asked_ns, kRenew_ns);
}

TEST_F(KeeperTest, ALeaseThatIsGoneIsGivenUpBeforeAnotherTaskGoesOn) {
  EventLoop loop;
  bool given_up = false, before_others = false, held = false;
  std::atomic<bool> told{false};
  KeeperOptions options;
  options.stall_ms = 20;
  options.renew_ms = 40;
  options.lease = [&](bool) {
    told = true;
    return LeaseState::kGone;
  };
  options.give_up_lease = [&] { given_up = true; };
  Keeper keeper(loop, std::move(options));
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start([&]() -> Task<void> {
      // Once it was told, the keeper has posted it when it looks again.
      held = hold_until([&] { return told.load(); });
      const int64_t stall_ns = keeper.stats().longest_stall_ns;
      held = held && hold_until([&] { return keeper.stats().longest_stall_ns > stall_ns; });
      co_return;
    });
    // Ready already, and in the same turn as the one that holds the loop.
    group.start([&]() -> Task<void> {
      before_others = given_up;
      co_return;
    });
    co_return;
  };
  loop.run(with_group(body));
  EXPECT_TRUE(held);
  EXPECT_TRUE(before_others);
}

}  // namespace
}  // namespace weft
