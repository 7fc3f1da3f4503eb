// Sockets and descriptor watches on the loop, against real descriptors.
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>
#include <vector>

#include <weft/runtime/combinators.h>
#include <weft/runtime/signals.h>
#include <weft/runtime/socket.h>
#include <weft/runtime/task_group.h>

#include "tests/support/coro_test.h"

namespace weft {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct Pair {
  Pair() {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) abort();
    a = std::make_unique<Socket>(fds[0]);
    b = std::make_unique<Socket>(fds[1]);
  }
  std::unique_ptr<Socket> a, b;
};

Task<std::string> read_to_end(Socket* socket) {
  std::string all;
  std::array<char, 4096> buffer;
  for (;;) {
    auto count = co_await socket->read(buffer.data(), buffer.size());
    if (!count.ok() || *count == 0) co_return all;
    all.append(buffer.data(), *count);
  }
}

Task<void> write_and_finish(Socket* socket, std::string data) {
  const Status status = co_await socket->write_all(data);
  EXPECT_TRUE(status.ok()) << status;
  socket->shutdown_write();
}

CORO_TEST(Socket, CarriesMoreThanTheKernelBuffers) {
  Pair pair;
  std::string data(4 << 20, 'x');
  for (size_t i = 0; i < data.size(); i += 1000) data[i] = static_cast<char>('a' + i % 26);
  auto [received, sent] =
      co_await all_of(read_to_end(pair.a.get()), write_and_finish(pair.b.get(), data));
  EXPECT_EQ(received, data);
}

CORO_TEST(Socket, ReadsAndWritesAtTheSameTime) {
  Pair pair;
  const std::string up(1 << 20, 'u'), down(1 << 20, 'd');
  auto results =
      co_await all_of(read_to_end(pair.a.get()), read_to_end(pair.b.get()),
                      write_and_finish(pair.a.get(), up), write_and_finish(pair.b.get(), down));
  EXPECT_EQ(std::get<0>(results), down);
  EXPECT_EQ(std::get<1>(results), up);
}

CORO_TEST(Socket, WritingToAPeerThatLeftIsAnErrorNotASignal) {
  Pair pair;
  pair.b.reset();
  const Status status = co_await pair.a->write_all("anybody there?");
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
}

CORO_TEST(Socket, CancelledReadCanBeRepeated) {
  Pair pair;
  char byte = 0;
  auto read_one = [](Socket* socket, char* out) -> Task<size_t> {
    auto count = co_await socket->read(out, 1);
    co_return count.value();
  };
  const auto nothing = co_await with_timeout(milliseconds(5), read_one(pair.a.get(), &byte));
  EXPECT_FALSE(nothing.has_value());
  const Status status = co_await pair.b->write_all("z");
  EXPECT_TRUE(status.ok());
  const auto count = co_await with_timeout(seconds(5), read_one(pair.a.get(), &byte));
  EXPECT_EQ(count, 1u);
  EXPECT_EQ(byte, 'z');
}

CORO_TEST(Listener, AcceptsOnAFreePort) {
  auto listener = Listener::open("127.0.0.1", 0);
  WEFT_ASSERT(listener.ok());
  EXPECT_GT((*listener)->port(), 0);
  auto serve = [](Listener* from) -> Task<std::string> {
    const int fd = co_await from->accept();
    Socket peer(fd);
    co_return co_await read_to_end(&peer);
  };
  auto call = [](uint16_t port) -> Task<void> {
    auto socket = co_await Socket::connect("127.0.0.1", port);
    EXPECT_TRUE(socket.ok()) << socket.status();
    if (!socket.ok()) co_return;
    co_await write_and_finish(&*socket, "hello");
  };
  auto [heard, said] = co_await all_of(serve(listener->get()), call((*listener)->port()));
  EXPECT_EQ(heard, "hello");
}

CORO_TEST(Listener, ErrorsSayWhatToDo) {
  auto first = Listener::open("127.0.0.1", 0);
  WEFT_ASSERT(first.ok());
  auto second = Listener::open("127.0.0.1", (*first)->port());
  EXPECT_EQ(second.status().code(), StatusCode::kAlreadyExists);
  EXPECT_NE(second.status().ToString().find("choose another port"), std::string::npos);
  auto nonsense = Listener::open("not-an-address", 1);
  EXPECT_EQ(nonsense.status().code(), StatusCode::kInvalidArgument);
  EXPECT_NE(nonsense.status().ToString().find("use one like"), std::string::npos);
  co_return;
}

CORO_TEST(Socket, ConnectingToNobodyFails) {
  uint16_t port = 0;
  {
    auto listener = Listener::open("127.0.0.1", 0);
    WEFT_ASSERT(listener.ok());
    port = (*listener)->port();
  }
  auto socket = co_await Socket::connect("127.0.0.1", port);
  EXPECT_EQ(socket.status().code(), StatusCode::kUnavailable);
  auto named = co_await Socket::connect("localhost", port);
  EXPECT_EQ(named.status().code(), StatusCode::kInvalidArgument);
}

CORO_TEST(FdWatch, WaitingAndCancellingKeepsItUsable) {
  int fds[2];
  WEFT_ASSERT(pipe2(fds, O_NONBLOCK | O_CLOEXEC) == 0);
  {
    FdWatch watch(fds[0]);
    watch.clear_readable();
    auto wait = [](FdWatch* on) -> Task<void> { co_await on->readable(); };
    for (int i = 0; i < 3; ++i) {
      const auto result = co_await with_timeout(milliseconds(1), wait(&watch));
      EXPECT_FALSE(result.has_value());
    }
    const bool written = write(fds[1], "x", 1) == 1;
    EXPECT_TRUE(written);
    const auto result = co_await with_timeout(seconds(1), wait(&watch));
    EXPECT_TRUE(result.has_value());
  }
  close(fds[0]);
  close(fds[1]);
}

CORO_TEST(FdWatch, DestroyedByATaskThatItsOwnBatchMadeReady) {
  // Both watches have an event in one poll; the first task to run destroys the other's watch.
  int pipes[2][2];
  std::array<std::unique_ptr<FdWatch>, 2> watches;
  for (size_t i = 0; i < 2; ++i) {
    WEFT_ASSERT(pipe2(pipes[i], O_NONBLOCK | O_CLOEXEC) == 0);
    watches[i] = std::make_unique<FdWatch>(pipes[i][0]);
    watches[i]->clear_readable();
  }
  auto wait_then_drop = [](FdWatch* on, std::unique_ptr<FdWatch>* other) -> Task<void> {
    co_await on->readable();
    other->reset();
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(wait_then_drop, watches[0].get(), &watches[1]);
    co_await sleep_for(milliseconds(1));
    for (auto& ends : pipes) EXPECT_EQ(write(ends[1], "x", 1), 1);
  };
  co_await with_group(body);
  EXPECT_EQ(watches[1], nullptr);
  watches[0].reset();
  for (auto& ends : pipes) {
    close(ends[0]);
    close(ends[1]);
  }
}

CORO_TEST(SignalSet, SignalsArriveAsValues) {
  SignalSet signals({SIGUSR1, SIGUSR2});
  kill(getpid(), SIGUSR2);
  const int first = co_await signals.next();
  EXPECT_EQ(first, SIGUSR2);
  auto sender = []() -> Task<void> {
    co_await yield_now();
    kill(getpid(), SIGUSR1);
  };
  auto [second, sent] = co_await all_of(signals.next(), sender());
  EXPECT_EQ(second, SIGUSR1);
}

TEST(Poller, WakeEndsAPollFromAnyThread) {
  Poller poller;
  poller.wake();
  EXPECT_GE(poller.poll(-1), 1);
  EXPECT_EQ(poller.poll(0), 0);
  EXPECT_EQ(poller.poll(1000), 0);
}

}  // namespace
}  // namespace weft
