// The client library against a server that fails in chosen ways.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <future>

#include <weft/base/id.h>
#include <weft/base/limits.h>
#include <weft/client/client.h>
#include <weft/client/rpc_status.h>
#include <weft/client/text.h>

#include "tests/client/fake_server.h"

namespace weft {
namespace {

using testing::attempt_event;
using testing::chunks_event;
using ::testing::ElementsAre;
using testing::FakeServer;
using testing::finished_event;
using ::testing::HasSubstr;
using testing::restarting;

// An address that nobody listens on, and that nobody else gets.
class Nowhere {
 public:
  Nowhere() {
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(name);
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&name), length), 0);
    EXPECT_EQ(getsockname(fd_, reinterpret_cast<sockaddr*>(&name), &length), 0);
    address_ = "127.0.0.1:" + std::to_string(ntohs(name.sin_port));
  }
  ~Nowhere() { close(fd_); }
  const std::string& address() const { return address_; }

 private:
  int fd_;
  std::string address_;
};

Client client_of(const FakeServer& server) {
  return Client({.server = server.address(), .retry_for_ms = 60'000, .reconnect_for_ms = 60'000});
}

TEST(Client, RepeatsASubmissionUnderTheIdItMadeBeforeTheFirstTry) {
  std::vector<std::string> ids;
  FakeServer server;
  server.on_submit = [&](const v1::SubmitRequest& request, v1::SubmitResponse* response) {
    ids.push_back(request.spec().id());
    if (ids.size() < 3) return restarting();
    response->set_id(request.spec().id());
    return grpc::Status::OK;
  };
  Client client = client_of(server);
  v1::JobSpec spec;
  spec.set_type("echo");
  const auto answer = client.submit(spec);
  ASSERT_TRUE(answer.ok()) << answer.status();
  ASSERT_EQ(ids.size(), 3u);
  EXPECT_EQ(ids[0], ids[1]);
  EXPECT_EQ(ids[1], ids[2]);
  EXPECT_TRUE(check_job_id("id", ids[0]).ok()) << ids[0];
}

TEST(Client, DoesNotRepeatWhatTheServerRefused) {
  int calls = 0;
  FakeServer server;
  server.on_submit = [&](const v1::SubmitRequest&, v1::SubmitResponse*) {
    ++calls;
    return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "queue 'A' is not allowed");
  };
  const auto answer = client_of(server).submit({});
  EXPECT_EQ(answer.status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(answer.status().message(), "queue 'A' is not allowed");
  EXPECT_EQ(calls, 1);
}

TEST(Client, SaysWhatToDoWhenNoServerAnswers) {
  const Nowhere nowhere;
  Client client({.server = nowhere.address(), .call_deadline_ms = 600'000, .retry_for_ms = 200});
  const auto begin = std::chrono::steady_clock::now();
  const auto answer = client.get("0123456789");
  EXPECT_EQ(answer.status().code(), StatusCode::kUnavailable);
  EXPECT_THAT(std::string(answer.status().message()), HasSubstr("no weftd answers at"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
}

TEST(Client, RefusesAPayloadOverTheLimitByItself) {
  v1::JobSpec spec;
  spec.set_payload(std::string(limits::kPayloadBytes + 1, 'x'));
  const Nowhere nowhere;
  const auto answer = Client({.server = nowhere.address()}).submit(spec);
  EXPECT_EQ(answer.status().code(), StatusCode::kInvalidArgument);
}

TEST(Client, NumbersItsSendsSoThatARepeatedOneIsTakenOnce) {
  std::vector<std::pair<std::string, uint64_t>> sends;
  FakeServer server;
  server.on_send = [&](const v1::SendRequest& request, v1::SendResponse* response) {
    sends.emplace_back(request.sender(), request.number());
    if (sends.size() == 1) return restarting();
    response->set_number(request.number());
    return grpc::Status::OK;
  };
  Client client = client_of(server);
  ASSERT_TRUE(client.send("0123456789", "a").ok());
  ASSERT_TRUE(client.send("0123456789", "b").ok());
  ASSERT_EQ(sends.size(), 3u);
  EXPECT_EQ(sends[0], sends[1]);
  EXPECT_EQ(sends[2].first, sends[0].first);
  EXPECT_EQ(sends[2].second, 2u);
  EXPECT_FALSE(sends[0].first.empty());
}

TEST(ResultStream, ComesBackAfterALossWithNoGapAndNoRepeat) {
  std::vector<uint64_t> asked;
  FakeServer server;
  server.on_watch = [&](grpc::ServerContext&, const v1::WatchRequest& request,
                        FakeServer::WatchWriter& writer) {
    asked.push_back(request.from_sequence());
    switch (asked.size()) {
      case 1:
        writer.Write(chunks_event(1, {"1", "2"}));
        return restarting();
      case 2:
        return restarting();
      case 3:  // repeats what the client has
        writer.Write(chunks_event(2, {"2", "3"}));
        return grpc::Status::OK;  // ends without Finished: as a loss
      default:
        writer.Write(attempt_event(2, 4));
        writer.Write(chunks_event(5, {"1"}));
        writer.Write(finished_event(v1::JOB_STATE_SUCCEEDED, 5));
        return grpc::Status::OK;
    }
  };
  Client client = client_of(server);
  ResultStream stream = client.watch({.job_id = "0123456789"});
  std::vector<std::string> seen;
  for (const Chunk& chunk : stream) {
    seen.push_back(std::to_string(chunk.sequence) + "=" + chunk.bytes);
  }
  EXPECT_THAT(seen, ElementsAre("1=1", "2=2", "3=3", "5=1"));
  EXPECT_THAT(asked, ElementsAre(0, 3, 3, 4));
  EXPECT_TRUE(stream.status().ok()) << stream.status();
  ASSERT_TRUE(stream.finished().has_value());
  EXPECT_EQ(stream.finished()->state(), v1::JOB_STATE_SUCCEEDED);
}

TEST(ResultStream, ShowsTheOutcomeAndWhatIsMissingOfAJobThatIsNotKept) {
  FakeServer server;
  server.on_watch = [&](grpc::ServerContext&, const v1::WatchRequest&,
                        FakeServer::WatchWriter& writer) {
    writer.Write(chunks_event(1, {"1", "2"}));
    writer.Write(finished_event(v1::JOB_STATE_SUCCEEDED, 5));
    return grpc::Status::OK;
  };
  ResultStream stream = client_of(server).watch({.job_id = "0123456789"});
  size_t chunks = 0;
  for ([[maybe_unused]] const Chunk& chunk : stream) ++chunks;
  EXPECT_EQ(chunks, 2u);
  EXPECT_TRUE(stream.status().ok()) << stream.status();
  ASSERT_TRUE(stream.finished().has_value());
  EXPECT_EQ(stream.finished()->state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_GE(stream.finished()->last_sequence(), stream.next_sequence());
}

TEST(ResultStream, ComesBackWhenTheServerProcessIsReplaced) {
  auto first = std::make_unique<FakeServer>();
  const std::string address = first->address();
  first->on_watch = [](grpc::ServerContext&, const v1::WatchRequest&,
                       FakeServer::WatchWriter& writer) {
    writer.Write(chunks_event(1, {"1"}));
    return restarting();
  };
  Client client({.server = address, .reconnect_for_ms = 300});
  ResultStream stream = client.watch({.job_id = "0123456789"});
  const auto event = stream.next();
  ASSERT_TRUE(event.ok()) << event.status();
  first.reset();
  const auto lost = stream.next();
  EXPECT_EQ(lost.status().code(), StatusCode::kUnavailable) << "it gives up after its limit";
  EXPECT_EQ(stream.next().status().code(), StatusCode::kUnavailable) << "and stays ended";
}

TEST(ResultStream, StopEndsAReadThatWaits) {
  std::promise<void> reading;
  FakeServer server;
  server.on_watch = [&](grpc::ServerContext& context, const v1::WatchRequest&,
                        FakeServer::WatchWriter& writer) {
    writer.Write(chunks_event(1, {"1"}));
    reading.get_future().wait();
    while (!context.IsCancelled()) std::this_thread::yield();
    return grpc::Status::OK;
  };
  ResultStream stream = client_of(server).watch({.job_id = "0123456789"});
  ASSERT_TRUE(stream.next().ok());
  auto rest = std::async(std::launch::async, [&] { return stream.next(); });
  reading.set_value();
  stream.stop();
  EXPECT_EQ(rest.get().status().code(), StatusCode::kCancelled);
}

TEST(ResultStream, ItsDeadlineReachesTheServer) {
  std::atomic<bool> has_deadline = false;
  FakeServer server;
  server.on_watch = [&](grpc::ServerContext& context, const v1::WatchRequest&,
                        FakeServer::WatchWriter&) {
    has_deadline = context.deadline() < std::chrono::system_clock::now() + std::chrono::hours(1);
    while (!context.IsCancelled()) std::this_thread::yield();
    return grpc::Status::OK;
  };
  // A busy machine may take longer than that to get a call to the server.
  for (int64_t ms = 100; ms < 60'000 && !has_deadline; ms *= 4) {
    ResultStream stream = client_of(server).watch({.job_id = "0123456789", .deadline_ms = ms});
    EXPECT_EQ(stream.next().status().code(), StatusCode::kDeadlineExceeded);
  }
  EXPECT_TRUE(has_deadline);
}

TEST(ResultStream, ALastingRefusalIsNotRepeated) {
  int calls = 0;
  FakeServer server;
  server.on_watch = [&](grpc::ServerContext&, const v1::WatchRequest&, FakeServer::WatchWriter&) {
    ++calls;
    return grpc::Status(grpc::StatusCode::NOT_FOUND, "there is no job 0123456789");
  };
  ResultStream stream = client_of(server).watch({.job_id = "0123456789"});
  EXPECT_EQ(stream.next().status().code(), StatusCode::kNotFound);
  EXPECT_EQ(calls, 1);
}

TEST(Attachment, GrantsCreditAsItConsumes) {
  FakeServer server;
  server.on_attach = [&](grpc::ServerContext&, FakeServer::AttachStream& stream) {
    v1::AttachRequest request;
    uint64_t credit = 0, sent = 0;
    while (sent < 50 && stream.Read(&request)) {
      credit = std::max({credit, request.open().credit(), request.credit()});
      while (sent < std::min<uint64_t>(credit, 50)) {
        ++sent;
        stream.Write(chunks_event(sent, {std::to_string(sent)}));
      }
    }
    stream.Write(finished_event(v1::JOB_STATE_SUCCEEDED, sent));
    return grpc::Status::OK;
  };
  Attachment attachment = client_of(server).attach({.job_id = "0123456789", .credit_ahead = 8});
  uint64_t chunks = 0;
  for (;;) {
    auto event = attachment.next();
    ASSERT_TRUE(event.ok()) << event.status();
    if (!event->has_value()) break;
    chunks += static_cast<uint64_t>((*event)->chunks().data_size());
  }
  EXPECT_EQ(chunks, 50u);
}

TEST(Attachment, RepeatsItsSendsAndItsCancelAfterALoss) {
  std::vector<std::string> seen;
  std::vector<std::string> senders;
  int calls = 0;
  FakeServer server;
  server.on_attach = [&](grpc::ServerContext&, FakeServer::AttachStream& stream) {
    v1::AttachRequest request;
    ++calls;
    stream.Read(&request);
    senders.push_back(request.open().sender());
    seen.push_back("open " + std::to_string(request.open().from_sequence()));
    if (calls == 1) stream.Write(chunks_event(1, {"1"}));
    for (int i = 0; i < 2; ++i) {
      do {
        if (!stream.Read(&request)) return restarting();
      } while (request.has_credit());
      seen.push_back(request.has_send() ? "send " + std::to_string(request.send().number()) + " " +
                                              request.send().value()
                                        : "cancel " + request.cancel().reason());
    }
    if (calls == 1) return restarting();
    stream.Write(finished_event(v1::JOB_STATE_CANCELLED, 1));
    return grpc::Status::OK;
  };
  Attachment attachment = client_of(server).attach({.job_id = "0123456789", .credit_ahead = 0});
  auto event = attachment.next();
  ASSERT_TRUE(event.ok()) << event.status();
  ASSERT_TRUE(attachment.send("five").ok());
  attachment.cancel("enough");
  event = attachment.next();
  ASSERT_TRUE(event.ok()) << event.status();
  EXPECT_TRUE((*event)->has_finished());
  EXPECT_THAT(seen, ElementsAre("open 0", "send 1 five", "cancel enough", "open 2", "send 1 five",
                                "cancel enough"));
  EXPECT_EQ(senders.at(0), senders.at(1));
  EXPECT_EQ(attachment.send("late").code(), StatusCode::kFailedPrecondition);
}

// Takes the sends of one attachment, each once, and says so.
class SendTaker {
 public:
  // Reads until `sends` of them are taken, or fails.
  bool take(FakeServer::AttachStream& stream, size_t sends) {
    v1::AttachRequest request;
    while (values.size() < sends) {
      if (!stream.Read(&request)) return false;
      if (!request.has_send()) continue;
      in_flight = std::max<uint64_t>(in_flight, request.send().number() - values.size());
      if (request.send().number() == values.size() + 1) values.push_back(request.send().value());
      v1::Event event;
      event.mutable_sends_accepted()->set_number(values.size());
      stream.Write(event);
    }
    return true;
  }

  std::vector<std::string> values;
  uint64_t in_flight = 0;  // the most sends beyond those taken
};

TEST(Attachment, LosesNoneOfManySendsWhenTheConnectionBreaksAmongThem) {
  constexpr size_t kSends = 1'000;
  SendTaker taker;
  int calls = 0;
  FakeServer server;
  server.on_attach = [&](grpc::ServerContext&, FakeServer::AttachStream& stream) {
    if (++calls <= 3) {  // breaks with sends under way that nothing has taken
      taker.take(stream, 300 * static_cast<size_t>(calls));
      return restarting();
    }
    taker.take(stream, kSends);
    stream.Write(finished_event(v1::JOB_STATE_SUCCEEDED, 0));
    return grpc::Status::OK;
  };
  Attachment attachment = client_of(server).attach({.job_id = "0123456789"});
  // Before the first call is open, too.
  auto sending = std::async(std::launch::async, [&] {
    for (size_t i = 1; i <= kSends; ++i) {
      if (!attachment.send(std::to_string(i)).ok()) return i;
    }
    return size_t{0};
  });
  const auto event = attachment.next();
  ASSERT_TRUE(event.ok()) << event.status();
  EXPECT_TRUE((*event)->has_finished());
  EXPECT_EQ(sending.get(), 0u);
  ASSERT_EQ(taker.values.size(), kSends);
  for (size_t i = 0; i < kSends; ++i) ASSERT_EQ(taker.values[i], std::to_string(i + 1));
  EXPECT_LE(taker.in_flight, limits::kUnconsumedSends);
  EXPECT_EQ(attachment.pending_sends(), 0u);
  EXPECT_GE(calls, 4);
}

TEST(Attachment, ASendThatWaitsForRoomEndsWithTheAttachment) {
  std::promise<void> end;
  FakeServer server;
  server.on_attach = [&](grpc::ServerContext&, FakeServer::AttachStream& stream) {
    end.get_future().wait();
    stream.Write(finished_event(v1::JOB_STATE_SUCCEEDED, 0));
    return grpc::Status::OK;
  };
  Attachment attachment = client_of(server).attach({.job_id = "0123456789"});
  for (size_t i = 0; i < limits::kUnconsumedSends; ++i) ASSERT_TRUE(attachment.send("x").ok());
  auto waiting = std::async(std::launch::async, [&] { return attachment.send("one too many"); });
  end.set_value();
  const auto event = attachment.next();
  ASSERT_TRUE(event.ok()) << event.status();
  EXPECT_EQ(waiting.get().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(attachment.pending_sends(), limits::kUnconsumedSends) << "nobody has taken them";
}

TEST(Attachment, CreditGoesOutWhileTheServerTakesNoSends) {
  FakeServer server;
  server.on_attach = [&](grpc::ServerContext&, FakeServer::AttachStream& stream) {
    // Reads nothing for as long as the client's reader goes on by itself.
    for (uint64_t i = 1; i <= 100; ++i) stream.Write(chunks_event(i, {"x"}));
    stream.Write(finished_event(v1::JOB_STATE_SUCCEEDED, 100));
    return grpc::Status::OK;
  };
  Attachment attachment = client_of(server).attach({.job_id = "0123456789", .credit_ahead = 2});
  for (size_t i = 0; i < limits::kUnconsumedSends; ++i) {
    ASSERT_TRUE(attachment.send(std::string(limits::kSendBytes, 'x')).ok());
  }
  uint64_t chunks = 0;
  for (;;) {
    const auto event = attachment.next();
    ASSERT_TRUE(event.ok()) << event.status();
    if (!event->has_value()) break;
    chunks += static_cast<uint64_t>((*event)->chunks().data_size());
  }
  EXPECT_EQ(chunks, 100u);
}

TEST(Client, StopEndsACallThatWaitsAndLaterOnes) {
  std::promise<void> called, stopped;
  FakeServer server;
  server.on_submit = [&](const v1::SubmitRequest&, v1::SubmitResponse*) {
    called.set_value();
    stopped.get_future().wait();
    return grpc::Status::OK;
  };
  Client client = client_of(server);
  auto answer = std::async(std::launch::async, [&] { return client.submit({}); });
  called.get_future().wait();
  client.stop();
  EXPECT_EQ(answer.get().status().code(), StatusCode::kCancelled);
  stopped.set_value();
  EXPECT_EQ(client.get("0123456789").status().code(), StatusCode::kCancelled);
}

TEST(Client, SaysWhetherAFailedCallMayHaveReachedAServer) {
  const Nowhere nowhere;
  Client alone({.server = nowhere.address(), .retry_for_ms = 100});
  EXPECT_TRUE(is_unreached(alone.submit({}).status()));
  FakeServer server;
  server.on_submit = [&](const v1::SubmitRequest&, v1::SubmitResponse*) { return restarting(); };
  Client client({.server = server.address(), .retry_for_ms = 100});
  const auto answer = client.submit({});
  EXPECT_EQ(answer.status().code(), StatusCode::kUnavailable);
  EXPECT_FALSE(is_unreached(answer.status()));
}

TEST(Client, RefusesTextThatIsNotUtf8) {
  for (const char* text :
       {"\xff", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc3", "a\x80"}) {
    EXPECT_FALSE(is_utf8(text));
  }
  for (const char* text : {"", "a", "\u00fc", "\u20ac", "\U0001f9f5"}) EXPECT_TRUE(is_utf8(text));
  const Nowhere nowhere;
  Client client({.server = nowhere.address()});
  v1::JobSpec spec;
  (*spec.mutable_metadata())["name"] = "\xff";
  EXPECT_EQ(client.submit(spec).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(client.get("\xff").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(client.cancel("0123456789", "\xff").status().code(), StatusCode::kInvalidArgument);
  ResultStream stream = client.watch({.job_id = "\xff"});
  EXPECT_EQ(stream.next().status().code(), StatusCode::kInvalidArgument);
}

TEST(Attachment, RefusesASendOverTheLimit) {
  FakeServer server;
  server.on_attach = [](grpc::ServerContext&, FakeServer::AttachStream&) { return restarting(); };
  Attachment attachment = client_of(server).attach({.job_id = "0123456789"});
  EXPECT_EQ(attachment.send(std::string(limits::kSendBytes + 1, 'x')).code(),
            StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace weft
