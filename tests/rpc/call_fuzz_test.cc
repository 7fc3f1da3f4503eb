// Bidi calls that end in every way at any moment: each one is closed exactly once.
#include <gtest/gtest.h>

#include <weft/base/random.h>
#include <weft/runtime/sleep.h>

#include "tests/rpc/test_server.h"

namespace weft::testing {
namespace {

using AttachCall = ScriptedService::AttachCall;

std::atomic<uint64_t> handlers_started{0};
std::atomic<uint64_t> handlers_ended{0};

class Counted {
 public:
  Counted() { ++handlers_started; }
  ~Counted() { ++handlers_ended; }
};

// Echoes, answers in a flood, ends first, or ends with an error, as the request's credit says.
Task<void> misbehave(AttachCall& call) {
  const Counted counted;
  for (;;) {
    auto request = co_await call.read();
    if (!request) break;
    v1::Event event;
    event.mutable_chunks()->add_data(request->send().value());
    switch (request->credit() % 5) {
      case 1:
        for (int i = 0; i < 100; ++i) {
          const bool there = co_await call.write(event);
          if (!there) co_return;
        }
        break;
      case 2:
        call.finish(absl::OkStatus());
        co_return;
      case 3:
        co_await sleep_for(std::chrono::microseconds(200));
        break;
      case 4:
        call.finish(make_status(StatusCode::kAborted, "first"));
        break;  // and goes on reading
      default:
        co_await call.write(event);
    }
  }
  call.finish(absl::OkStatus());
}

void run_client(TestServer& server, uint64_t seed, int calls) {
  Random random(seed);
  auto channel = server.channel();
  for (int i = 0; i < calls; ++i) {
    auto stub = v1::JobService::NewStub(channel);
    grpc::ClientContext context;
    const uint64_t ending = random.below(6);
    if (ending == 0) {
      context.set_deadline(std::chrono::system_clock::now() +
                           std::chrono::microseconds(random.below(5000)));
    }
    auto stream = stub->Attach(&context);
    v1::AttachRequest request;
    for (uint64_t n = random.below(20); n > 0; --n) {
      if (random.below(2) == 0) {
        request.set_credit(random.below(100));
      } else {
        request.mutable_send()->set_value(std::string(random.below(6000), 'x'));
      }
      if (!stream->Write(request)) break;
    }
    v1::Event event;
    switch (ending) {
      case 1:
        context.TryCancel();
        break;
      case 2:  // half-closed first: a server that waits for more would never answer
        stream->WritesDone();
        stream->Read(&event);
        context.TryCancel();
        break;
      case 3: {  // cancelled by another thread while this one reads
        std::thread other([&] { context.TryCancel(); });
        while (stream->Read(&event)) {
        }
        other.join();
        break;
      }
      case 4:  // the connection goes away too
        context.TryCancel();
        stream->Finish();
        channel = server.channel();
        continue;
      default:
        stream->WritesDone();
        while (stream->Read(&event)) {
        }
    }
    stream->Finish();
  }
}

TEST(BidiCallFuzz, EveryCallIsClosedOnceHoweverItEnds) {
  handlers_started = handlers_ended = 0;
  ScriptedService service;
  service.attach = misbehave;
  TestServer server(service);
  std::vector<std::thread> clients;
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    clients.emplace_back([&server, seed] { run_client(server, seed, 400); });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_TRUE(server.wait_for([&] { return server.server().stats().calls == 0; }));
  const RpcServerStats stats = server.stats();
  EXPECT_GT(stats.calls_arrived, 500u);
  EXPECT_EQ(handlers_started.load(), handlers_ended.load());
  EXPECT_LE(handlers_started.load(), stats.calls_arrived);
}

TEST(BidiCallFuzz, ShutdownInTheMiddleOfEverything) {
  for (uint64_t round = 1; round <= 5; ++round) {
    handlers_started = handlers_ended = 0;
    ScriptedService service;
    service.attach = misbehave;
    TestServer server(service);
    std::vector<std::thread> clients;
    for (uint64_t seed = 1; seed <= 3; ++seed) {
      clients.emplace_back([&server, seed, round] { run_client(server, seed + 10 * round, 60); });
    }
    ASSERT_TRUE(server.wait_for([&] { return handlers_started > 10 * round; }));
    server.begin_stop(std::chrono::milliseconds(50));
    for (std::thread& client : clients) client.join();
    server.stop();
    EXPECT_EQ(handlers_started.load(), handlers_ended.load());
  }
}

}  // namespace
}  // namespace weft::testing
