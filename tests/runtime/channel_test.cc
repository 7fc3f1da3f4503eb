// Channel: bounded, in order, fair, and honest about its end.
#include <memory>
#include <string>
#include <vector>

#include <weft/runtime/channel.h>
#include <weft/runtime/combinators.h>
#include <weft/runtime/task_group.h>

#include "tests/support/coro_test.h"

namespace weft {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Task<void> send_range(Channel<int>* channel, int from, int to, int* sent) {
  for (int i = from; i < to; ++i) {
    if (!co_await channel->send(i)) co_return;
    ++*sent;
  }
}

CORO_TEST(Channel, OneMoreThanItsCapacityWaits) {
  Channel<int> channel(3);
  int sent = 0;
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(send_range, &channel, 0, 10, &sent);
    co_await sleep_for(seconds(1));
    EXPECT_EQ(sent, 3);
    EXPECT_EQ(channel.size(), 3u);
    EXPECT_FALSE(channel.try_send(99));
    const auto first = co_await channel.receive();
    EXPECT_EQ(*first, 0);
    co_await sleep_for(seconds(1));
    EXPECT_EQ(sent, 4);
    EXPECT_EQ(channel.size(), 3u);
    for (int i = 1; i < 10; ++i) {
      const auto value = co_await channel.receive();
      EXPECT_EQ(*value, i);
    }
  };
  co_await with_group(body);
  EXPECT_EQ(sent, 10);
}

CORO_TEST(Channel, CapacityZeroHandsOverDirectly) {
  Channel<int> channel(0);
  int sent = 0;
  auto body = [&](TaskGroup& group) -> Task<void> {
    EXPECT_FALSE(channel.try_send(1));
    group.start(send_range, &channel, 0, 3, &sent);
    co_await sleep_for(seconds(1));
    EXPECT_EQ(sent, 0);
    for (int i = 0; i < 3; ++i) {
      const auto value = co_await channel.receive();
      EXPECT_EQ(*value, i);
    }
  };
  co_await with_group(body);
  EXPECT_EQ(sent, 3);
}

CORO_TEST(Channel, CloseLetsReceiversFinishWhatIsBuffered) {
  Channel<int> channel(4);
  channel.try_send(1);
  channel.try_send(2);
  channel.close();
  const auto one = co_await channel.receive();
  const auto two = co_await channel.receive();
  const auto end = co_await channel.receive();
  const auto still = co_await channel.receive();
  EXPECT_EQ(one, 1);
  EXPECT_EQ(two, 2);
  EXPECT_FALSE(end.has_value());
  EXPECT_FALSE(still.has_value());
  const bool sent = co_await channel.send(3);
  EXPECT_FALSE(sent);
  EXPECT_FALSE(channel.try_send(3));
}

CORO_TEST(Channel, CloseWakesWaitingSendersAndReceivers) {
  Channel<int> full(1), empty(1);
  full.try_send(0);
  int ended = 0;
  auto sender = [](Channel<int>* channel, int* count) -> Task<void> {
    const bool sent = co_await channel->send(1);
    if (!sent) ++*count;
  };
  auto receiver = [](Channel<int>* channel, int* count) -> Task<void> {
    const auto value = co_await channel->receive();
    if (!value) ++*count;
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (int i = 0; i < 3; ++i) {
      group.start(sender, &full, &ended);
      group.start(receiver, &empty, &ended);
    }
    co_await sleep_for(milliseconds(1));
    full.close();
    empty.close();
  };
  co_await with_group(body);
  EXPECT_EQ(ended, 6);
}

CORO_TEST(Channel, ReceiversAreServedInTheOrderTheyCame) {
  Channel<int> channel(4);
  std::vector<int> order;
  auto receiver = [](Channel<int>* from, int id, std::vector<int>* out) -> Task<void> {
    co_await from->receive();
    out->push_back(id);
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (int i = 0; i < 5; ++i) {
      group.start(receiver, &channel, i, &order);
      co_await sleep_for(milliseconds(1));
    }
    for (int i = 0; i < 5; ++i) channel.try_send(i);
  };
  co_await with_group(body);
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
}

CORO_TEST_SEEDED(Channel, NoSenderStarvesAnother, 5) {
  Channel<int> channel(2);
  std::vector<int> received(4, 0);
  auto sender = [](Channel<int>* to, int id) -> Task<void> {
    while (co_await to->send(id)) {
    }
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (int i = 0; i < 4; ++i) group.start(sender, &channel, i);
    for (int i = 0; i < 4000; ++i) {
      const auto id = co_await channel.receive();
      ++received[static_cast<size_t>(*id)];
    }
    channel.close();
  };
  co_await with_group(body);
  for (int count : received) EXPECT_GT(count, 400);
}

CORO_TEST(Channel, CarriesMoveOnlyValues) {
  Channel<std::unique_ptr<std::string>> channel(1);
  co_await channel.send(std::make_unique<std::string>("moved"));
  auto refused = std::make_unique<std::string>("kept");
  EXPECT_FALSE(channel.try_send(refused));
  EXPECT_EQ(*refused, "kept") << "a refused value stays with the caller";
  const auto value = co_await channel.receive();
  EXPECT_EQ(**value, "moved");
}

CORO_TEST(Channel, CancelledSenderSendsNothing) {
  Channel<int> channel(1);
  channel.try_send(0);
  auto sender = [](Channel<int>* to) -> Task<void> { co_await to->send(1); };
  const auto result = co_await with_timeout(seconds(1), sender(&channel));
  EXPECT_FALSE(result.has_value());
  EXPECT_EQ(channel.try_receive(), 0);
  EXPECT_FALSE(channel.try_receive().has_value());
}

}  // namespace
}  // namespace weft
