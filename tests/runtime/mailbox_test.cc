// Mailbox: mail from many threads arrives once, and in each thread's order.
#include <memory>
#include <thread>
#include <vector>

#include <weft/runtime/event.h>
#include <weft/runtime/mailbox.h>

#include "tests/support/coro_test.h"

namespace weft {
namespace {

class Letter final : public Mail {
 public:
  Letter(int sender, int number, std::vector<std::vector<int>>* into)
      : sender_(sender), number_(number), into_(into) {}
  void deliver() override { (*into_)[static_cast<size_t>(sender_)].push_back(number_); }

 private:
  int sender_;
  int number_;
  std::vector<std::vector<int>>* into_;
};

TEST(Mailbox, DeliversInTheOrderPosted) {
  Mailbox mailbox;
  std::vector<std::vector<int>> got(1);
  std::vector<std::unique_ptr<Letter>> letters;
  for (int i = 0; i < 10; ++i) {
    letters.push_back(std::make_unique<Letter>(0, i, &got));
    EXPECT_FALSE(mailbox.post(letters.back().get()));
  }
  EXPECT_TRUE(mailbox.drain());
  EXPECT_FALSE(mailbox.drain());
  EXPECT_EQ(got[0], (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

TEST(Mailbox, OnlyTheFirstPosterWakesASleeper) {
  Mailbox mailbox;
  std::vector<std::vector<int>> got(1);
  Letter a(0, 1, &got), b(0, 2, &got);
  EXPECT_TRUE(mailbox.prepare_sleep());
  EXPECT_TRUE(mailbox.post(&a));
  EXPECT_FALSE(mailbox.post(&b));
  mailbox.end_sleep();
  EXPECT_FALSE(mailbox.prepare_sleep()) << "mail is waiting: do not sleep";
  mailbox.drain();
}

class LastLetter final : public Mail {
 public:
  LastLetter(Event& event, int* open) : event_(event), open_(open) {}
  void deliver() override {
    EventLoop::current()->end_external();
    if (--*open_ == 0) event_.set();
  }

 private:
  Event& event_;
  int* open_;
};

TEST(Mailbox, SeveralThreadsReachASleepingLoop) {
  constexpr int kThreads = 4, kLetters = 5000;
  EventLoop loop;
  std::vector<std::vector<int>> got(kThreads);
  auto main = [&]() -> Task<void> {
    Event all;
    int open = kThreads;
    std::vector<std::thread> threads;
    std::vector<std::vector<std::unique_ptr<Letter>>> letters(kThreads);
    std::vector<std::unique_ptr<LastLetter>> last;
    for (int t = 0; t < kThreads; ++t) {
      for (int i = 0; i < kLetters; ++i) {
        letters[static_cast<size_t>(t)].push_back(std::make_unique<Letter>(t, i, &got));
      }
      last.push_back(std::make_unique<LastLetter>(all, &open));
      loop.begin_external();
    }
    for (size_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (auto& letter : letters[t]) loop.post(*letter);
        loop.post(*last[t]);
      });
    }
    co_await all.wait();
    for (std::thread& thread : threads) thread.join();
  };
  loop.run(main());
  for (const auto& numbers : got) {
    ASSERT_EQ(numbers.size(), static_cast<size_t>(kLetters));
    for (int i = 0; i < kLetters; ++i) ASSERT_EQ(numbers[static_cast<size_t>(i)], i);
  }
}

}  // namespace
}  // namespace weft
