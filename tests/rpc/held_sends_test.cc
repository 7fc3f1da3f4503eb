// Sends that wait for their jobs hold no more memory than all attaches together may.
#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <thread>

#include <weft/base/limits.h>

#include "tests/rpc/attached.h"
#include "tests/rpc/job_service_bed.h"
#include "tests/support/store_wrapper.h"

namespace weft::testing {
namespace {

// Has no room for sends until it is open.
class ClosedStore final : public StoreWrapper {
 public:
  using StoreWrapper::StoreWrapper;

  Task<StatusOr<uint64_t>> send(std::string job_id, std::string sender, uint64_t number,
                                std::string value) override {
    if (!open) co_return retry_error(StatusCode::kResourceExhausted, "no room: try again", 1);
    co_return co_await inner->send(std::move(job_id), std::move(sender), number, std::move(value));
  }

  bool open = false;  // the loop's
};

class HeldSendsTest : public JobServiceBed {
 protected:
  HeldSendsTest() : HeldSendsTest(std::make_shared<ClosedStore*>()) {}
  void open_store() {
    on_loop([this] { (*store_)->open = true; });
  }
  // An attach that has read the first chunk of a job of its own.
  std::unique_ptr<Attached> attach() {
    const std::string id = submit("count", R"({"to":1000000000})", v1::STREAM_POLICY_PAUSE);
    auto attached = std::make_unique<Attached>(*stub_, id, 1);
    attached->read(1);
    EXPECT_EQ(attached->got.chunks.size(), 1u);
    return attached;
  }
  // Chunks come only once the server has read what was written before their credit.
  static void read_to(Attached& attached, uint64_t credit) {
    attached.credit(credit);
    attached.read(credit);
    EXPECT_EQ(attached.got.chunks.size(), credit);
  }

 private:
  explicit HeldSendsTest(std::shared_ptr<ClosedStore*> store)
      : JobServiceBed({.server = {},
                       .make_store =
                           [store] {
                             auto closed =
                                 std::make_unique<ClosedStore>(*weft::open_store("memory:"));
                             *store = closed.get();
                             return closed;
                           }}),
        store_(store) {}
  std::shared_ptr<ClosedStore*> store_;
};

TEST_F(HeldSendsTest, BeyondTheBoundNoMoreIsReadUntilThereIsRoom) {
  const std::string value(limits::kSendBytes, 'x');
  constexpr size_t kEach = limits::kUnconsumedSends;
  static_assert(limits::kHeldSendBytes % (kEach * limits::kSendBytes) == 0);
  std::deque<std::unique_ptr<Attached>> full;
  for (size_t held = 0; held < limits::kHeldSendBytes; held += kEach * limits::kSendBytes) {
    full.push_back(attach());
    for (size_t number = 1; number <= kEach; ++number) full.back()->send(number, value);
    read_to(*full.back(), 2);
  }
  // Just the bound is held: one more is taken even of those.
  full.back()->send(kEach + 1, "{}");
  read_to(*full.back(), 3);
  // Now it is passed: no more of one that holds something.
  auto last = attach();
  last->send(1, "{}");
  read_to(*last, 2);
  last->send(2, "{}");
  last->credit(3);
  std::atomic<bool> read = false;
  std::thread reader([&] {
    last->read(3);
    read = true;
  });
  for (int i = 0; i < 300; ++i) submit("echo", "others are served");
  EXPECT_FALSE(read);
  // One that holds nothing yet may hold one send.
  auto another = attach();
  another->send(1, "{}");
  read_to(*another, 2);
  EXPECT_FALSE(read);
  open_store();
  reader.join();
  EXPECT_EQ(last->got.chunks.size(), 3u);
  last->read_accepted(2);
  EXPECT_EQ(last->accepted, 2u);
  for (const auto& attached : full) {
    attached->read_accepted(kEach);
    EXPECT_EQ(attached->accepted, kEach);
  }
}

}  // namespace
}  // namespace weft::testing
